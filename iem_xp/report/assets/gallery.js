// gallery.js: an image as a card, and as the larger view: its pictures, figures and marks.

const CAPTIONS = {
  image: "image",
  mask: "mask",
  cutout: "cut-out",
  inpainted: "inpainting",
  refined: "refined mask",
  truth: "truth",
};

const VEILS = ["mask", "refined", "truth"]; // lie over the image, so that they can be faded

// One picture of an image: a window on its strip.
function panel(row, name) {
  const box = make("div", { class: "panel" });
  box.style.aspectRatio = `${row.panel[0]} / ${row.panel[1]}`;
  if (has(row, name)) {
    const veiled = VEILS.includes(name) && has(row, "image");
    if (veiled) box.append(picture(row, "image", ""));
    const top = picture(row, name, `${CAPTIONS[name]} of ${row.name}`);
    if (veiled) top.classList.add("veil");
    box.append(top);
  } else {
    box.append(make("span", { class: "absent" }, "not there"));
  }
  return make("figure", {}, box, make("figcaption", {}, CAPTIONS[name]));
}

function has(row, name) {
  return row.has[data.panels.indexOf(name)] === "1";
}

function picture(row, name, alt) {
  const image = make("img", { alt, loading: "lazy", decoding: "async", draggable: "false" });
  image.style.width = `${100 * data.panels.length}%`;
  image.style.left = `${-100 * data.panels.indexOf(name)}%`;
  image.src = row.strip;
  return image;
}

function figures(row, quiet = false) {
  return numbers
    .filter(({ key, quiet: isQuiet }) => row[key] != null && (quiet || !isQuiet))
    .map(({ key, label, title, show }) => ({ label: quiet ? (title ?? label) : label, title, value: show(row[key]) }));
}

// The two buttons that mark an image.
function markButtons(row, mark) {
  return ["good", "bad"].map((kind) => {
    const pressed = marks.get(row) === kind;
    const button = make("button", { type: "button", class: `mark ${kind}`, "aria-pressed": String(pressed) }, kind === "good" ? "✓ good" : "✗ bad");
    button.setAttribute("aria-label", `${kind}: ${row.name}`);
    button.addEventListener("click", () => mark(row, kind));
    return button;
  });
}

// A card of the gallery. `actions` has `open(row)` and `mark(row, kind)`; its button of the name takes the focus.
function card(row, panels, actions) {
  const name = make("button", { type: "button", class: "name", title: pathOf(row) }, row.name || pathOf(row));
  name.addEventListener("click", () => actions.open(row));
  const head = make("header", {}, name, make("span", { class: "buttons marks" }, ...markButtons(row, actions.mark)));
  const box = make("article", { class: "card", "aria-label": row.name }, head);
  box.dataset.index = row.index;
  setMark(box, row);
  if (row.status === "done") {
    const pictures = make("div", { class: "panels" }, ...panels.map((one) => panel(row, one)));
    pictures.addEventListener("click", () => actions.open(row));
    box.append(pictures);
    box.append(
      make("ul", { class: "figures" }, ...figures(row).map(({ label, title, value }) => make("li", { title }, `${label} `, make("b", {}, value)))),
    );
  }
  for (const text of [row.problem, row.notes]) {
    if (text) box.append(make("p", { class: text === row.problem ? "problem" : "quiet note" }, text));
  }
  return box;
}

function setMark(box, row) {
  box.classList.toggle("is-good", marks.get(row) === "good");
  box.classList.toggle("is-bad", marks.get(row) === "bad");
}

// Put an image into the larger view.
function fillView(row, place, mark) {
  const $ = (id) => document.getElementById(id);
  $("view-title").textContent = row.name;
  $("view-title").title = pathOf(row);
  $("view-panels").replaceChildren(...(row.status === "done" ? data.panels.map((one) => panel(row, one)) : []));
  $("view-marks").replaceChildren(...markButtons(row, mark));
  $("view-place").textContent = place;
  $("view-problem").textContent = row.problem ?? "";
  const facts = [
    ...figures(row, true),
    ...(row.width ? [{ label: "size", value: `${row.width} × ${row.height}` }] : []),
    ...(row.notes ? [{ label: "notes", value: row.notes }] : []),
    { label: "file", value: pathOf(row) },
  ];
  $("view-facts").replaceChildren(...facts.map(({ label, value }) => make("div", {}, make("dt", {}, label), make("dd", {}, String(value)))));
}

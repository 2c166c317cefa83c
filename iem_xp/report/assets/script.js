// script.js: the page itself: its controls, keys and pages.

const $ = (id) => document.getElementById(id);
const panelsShown = new Set(data.panels);
let shown = []; // the rows that the controls ask for
let page = 0;
let descending = false;
let cards = new Map(); // of the rows on the page
let current = null; // the row that was last in focus
let viewed = null; // the row of the larger view
let moveLine = null;

// ---- What is shown

function query() {
  const ranges = {};
  for (const box of document.querySelectorAll("#ranges .range")) {
    const [least, most] = [...box.querySelectorAll("input")].map((input) => (input.value === "" ? null : Number(input.value) / box.dataset.scale));
    if (least != null || most != null) ranges[box.dataset.key] = [least ?? -Infinity, most ?? Infinity];
  }
  return {
    text: $("search").value.trim(),
    status: $("status").value,
    marked: $("marked").value,
    side: $("side").value,
    sort: $("sort").value,
    descending,
    top: top(),
    ranges,
  };
}

function top() {
  const value = Math.floor(Number($("top").value));
  return value >= 1 ? value : data.top;
}

function update() {
  shown = select(query());
  page = 0;
  draw();
}

function pages() {
  return Math.max(1, Math.ceil(shown.length / size()));
}

function size() {
  return Number($("size").value);
}

function draw() {
  page = Math.min(Math.max(page, 0), pages() - 1);
  const panels = data.panels.filter((name) => panelsShown.has(name));
  $("gallery").style.setProperty("--panels", Math.max(1, panels.length));
  const from = page * size();
  const there = [...cards.keys()];
  const wanted = shown.slice(from, from + size());
  if (!wanted.length || there.length !== wanted.length || there.some((row, i) => row !== wanted[i])) {
    cards = new Map(wanted.map((row) => [row, cards.get(row) ?? card(row, panels, { open, mark })]));
    $("gallery").replaceChildren(...cards.values());
  }
  if (!shown.length) $("gallery").append(make("p", { class: "quiet" }, rows.length ? "No image is like that." : "This run has no image yet."));
  $("page").textContent = `${page + 1} of ${pages()}`;
  $("previous").disabled = page === 0;
  $("next").disabled = page === pages() - 1;
  const scored = shown.filter((row) => row.iou != null);
  const said = scored.length ? `, mean IoU ${percent(mean(scored.map((row) => row.iou)))}` : "";
  $("count").textContent = `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} images${said}`;
}

function turn(step) {
  page += step;
  draw();
  current = null;
  const [pressed, other] = step > 0 ? ["next", "previous"] : ["previous", "next"];
  if ($(pressed).disabled) $(other).focus(); // a button that is disabled loses the focus
  if ($("gallery").getBoundingClientRect().top < 0) $("gallery").scrollIntoView();
}

function cardOf(row) {
  return cards.get(row);
}

// ---- One image: focus, larger view, marks

function go(step) {
  if (!shown.length) return;
  const at = current ? shown.indexOf(current) : -1;
  const next = at < 0 ? page * size() : Math.min(Math.max(at + step, 0), shown.length - 1);
  current = shown[next];
  const wanted = Math.floor(next / size());
  if (wanted !== page) {
    page = wanted;
    draw();
  }
  if ($("view").open) fill();
  else cardOf(current).querySelector(".name").focus();
}

function open(row) {
  current = row;
  fill();
  if (!$("view").open) $("view").showModal();
  $("view-title").focus();
}

function fill() {
  viewed = current;
  fillView(viewed, `${shown.indexOf(current) + 1} of ${shown.length}`, mark);
}

function mark(row, kind) {
  const chosen = marks.get(row) === kind ? null : kind;
  marks.set(row, chosen);
  keep(`${row.name}: ${chosen ?? "not marked"}`);
  const focus = document.activeElement?.classList?.contains(kind);
  const box = cardOf(row);
  if (box) {
    setMark(box, row);
    box.querySelector(".marks").replaceChildren(...markButtons(row, mark));
    if (focus && !$("view").open) box.querySelector(`.mark.${kind}`).focus();
  }
  if ($("view").open) {
    fill();
    if (focus) $("view-marks").querySelector(`.mark.${kind}`).focus();
  }
  countMarks();
}

function keep(done) {
  say(marks.keep() ? done : `${done}. This browser keeps nothing for this page: save the lists before it is closed.`);
}

function countMarks() {
  const [good, bad] = ["good", "bad"].map((kind) => marks.of(kind).length);
  $("marks-said").textContent = `Marked: ${good} good, ${bad} bad; lists to save and load`;
  $("save-good").disabled = !good;
  $("save-bad").disabled = !bad;
  $("clear").disabled = !marks.known.size;
}

// ---- Lists

function save(listed, title) {
  const { text, count, refused } = toList(listed, title);
  const link = make("a", { download: `${title}.txt` });
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  const names = refused.slice(0, 3).map((row) => JSON.stringify(row.name.toWellFormed())).join(", ");
  const left = `${refused.length} left out, whose names cannot be lines of a list: ${names}${refused.length > 3 ? ", ..." : ""}`;
  say(`${title}.txt: ${many(count, "image")}${refused.length ? `; ${left}` : ""}`);
}

async function load(file) {
  const { mark: kind, found, unknown } = fromList(await file.text());
  for (const row of found) marks.set(row, kind ?? $("load-as").value);
  cards.clear();
  update();
  countMarks();
  keep(`${file.name}: ${many(found.length, "image")} marked ${kind ?? $("load-as").value}${unknown ? `; no image of this page: ${many(unknown, "line")}` : ""}`);
}

let silence;
function say(text) {
  $("said").hidePopover();
  $("said").showPopover(); // again, to be above a view that was opened since
  $("said").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => $("said").hidePopover(), 6000);
}

// ---- The mask over the image

function veil(value) {
  document.documentElement.style.setProperty("--veil", value / 100);
  $("veil").value = $("view-veil").value = value;
}

// ---- The page around the gallery

function fillSummary() {
  const name = data.run.split(/[\\/]/).filter(Boolean).at(-1) ?? data.run;
  $("title").textContent = name;
  document.title = `${name}: iem-xp report`;
  $("where").textContent = `${data.run}, iem-xp ${data.version}${data.truth ? `, truth: ${data.truth}` : ""}`;
  const { done: masks, failed, waiting } = data.counts;
  const listed = rows.length - done.length;
  const tile = (value, label, kind) => make("li", { class: kind }, make("b", {}, value), ` ${label}`);
  const means = ["information", "error", "iou", "refined_iou", "agreement"].flatMap((key) => {
    const number = numbers.find((one) => one.key === key);
    const values = number ? done.map((row) => row[key]).filter((value) => value != null) : [];
    return values.length ? [tile(number.show(mean(values)), `mean ${number.label}`)] : [];
  });
  $("summary").append(
    tile(masks.toLocaleString("en"), "masks"),
    ...(failed ? [tile(failed.toLocaleString("en"), "failed", "bad")] : []),
    ...(waiting ? [tile(waiting.toLocaleString("en"), "waiting")] : []),
    ...means,
  );
  const remarks = [];
  if (waiting) remarks.push(`${many(waiting, "image")} without a mask yet: the run is not finished, and its command continues it.`);
  if (done.length < masks) remarks.push(`${done.length.toLocaleString("en")} of ${masks.toLocaleString("en")} masks are shown, evenly from the best to the worst; the means are theirs.`);
  if (listed < failed) remarks.push(`${listed.toLocaleString("en")} of ${many(failed, "failure")} are listed.`);
  $("limited").textContent = remarks.join(" ");
  $("limited").hidden = !remarks.length;
}

function fillRanking() {
  const { label } = NUMBERS.find(({ key }) => key === data.ranked_by);
  const ranked = done.filter((row) => row[data.ranked_by] != null);
  $("top").max = Math.max(1, data.counts.done);
  $("top").value = Math.min(data.top, $("top").max);
  if (!ranked.length) return;
  $("ranking-title").textContent = `Masks by ${label}`;
  $("ranking").hidden = false;
  moveLine = histogram($("histogram"), ranked.map((row) => row[data.ranked_by]), label);
  drawLine();
}

function drawLine() {
  if (!moveLine) return;
  const labels = done.filter((row) => isLabel(row, top()));
  const least = labels.at(-1)?.[data.ranked_by] ?? Infinity;
  const label = NUMBERS.find(({ key }) => key === data.ranked_by).label;
  const scored = labels.filter((row) => row.iou != null);
  const iou = scored.length ? `, mean IoU ${percent(mean(scored.map((row) => row.iou)))}` : "";
  const said = labels.length ? `of ${label} ${least.toFixed(4)} or more${iou}` : "none is to be had";
  $("top-said").textContent = said;
  moveLine(least, `The best ${top()} are ${said}.`);
}

function fillFailures() {
  const failures = rows.filter((row) => row.status === "failed");
  if (!failures.length) return;
  const total = data.counts.failed;
  $("failures").hidden = false;
  $("failures").querySelector("summary").textContent = `${total.toLocaleString("en")} failed`;
  const listed = failures.slice(0, 100).map((row) => make("li", {}, row.problem ?? row.name));
  if (total > listed.length) listed.push(make("li", { class: "quiet" }, `and ${total - listed.length} more; the images below can be filtered by "failed"`));
  $("failures").querySelector("ul").append(...listed);
}

function fillFacts() {
  // With spaces, at which long values can be broken.
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 1).replace(/\n\s*/g, " "));
  for (const [title, values] of Object.entries(data.facts)) {
    const entries = values && typeof values === "object" && !Array.isArray(values) ? Object.entries(values) : [[title, values]];
    const lines = entries.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, text(value))));
    $("facts").querySelector(".facts").append(make("section", {}, make("h3", {}, title.replaceAll("_", " ")), make("table", {}, ...lines)));
  }
  if (data.networks.length) {
    $("training").hidden = false;
    $("curves").append(...data.networks.map(curves));
  }
}

function fillControls() {
  const option = (value, label) => make("option", { value }, label);
  $("sort").append(...numbers.map(({ key, title, label }) => option(key, title ?? label)), option("name", "name"));
  const sides = [...new Set(done.map((row) => row.side))].sort((a, b) => a - b);
  $("side").append(...sides.map((side) => option(side, side || "none")));
  $("side-label").hidden = sides.length < 2;
  for (const { key, label, title, plain, show } of numbers.filter((one) => !one.plain && !one.quiet)) {
    const scale = show === percent ? 100 : 1;
    const input = (which) => make("input", { type: "number", step: "any", "aria-label": `${which} ${title ?? label}`, placeholder: which });
    const box = make("div", { class: "range", "data-key": key, "data-scale": scale }, make("span", {}, scale === 100 ? `${title ?? label}, %` : (title ?? label)), input("least"), input("most"));
    $("ranges").append(box);
  }
  for (const name of data.panels) {
    const box = make("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      if (box.checked) panelsShown.add(name);
      else panelsShown.delete(name);
      cards.clear();
      draw();
    });
    $("panels").append(make("label", {}, box, ` ${CAPTIONS[name]}`));
  }
}

function setDirection(down) {
  descending = down;
  $("direction").textContent = descending ? "↓ descending" : "↑ ascending";
}

// ---- Light and dark: as the system has it until it is chosen

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  $("theme").textContent = isDark() ? "Light" : "Dark";
}

// ---- Keys

function isTyping(target) {
  return target.matches("input:not([type=checkbox]), select, textarea");
}

const KEYS = {
  ArrowRight: () => go(1),
  ArrowLeft: () => go(-1),
  g: () => markCurrent("good"),
  b: () => markCurrent("bad"),
  m: () => veil(Number($("veil").value) ? 0 : 100),
  "/": () => {
    $("view").close();
    $("search").focus();
    $("search").select();
  },
  "?": () => !$("help").open && $("help").showModal(),
};

function markCurrent(kind) {
  if (current) mark(current, kind);
  else say("No image is in focus: the arrow keys choose one.");
}

function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    if (isTyping(event.target) || $("help").open) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  $("gallery").addEventListener("focusin", (event) => {
    const box = event.target.closest("[data-index]");
    if (box) current = rows[box.dataset.index];
  });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("controls").addEventListener("reset", () => setTimeout(() => {
    setDirection(false);
    data.panels.forEach((name) => panelsShown.add(name));
    cards.clear();
    $("top").value = Math.min(data.top, $("top").max);
    drawLine();
    update();
  }));
  $("sort").addEventListener("input", () => setDirection(!["rank", "name"].includes($("sort").value)));
  for (const id of ["search", "sort", "status", "marked", "side"]) $(id).addEventListener("input", update);
  $("ranges").addEventListener("input", update);
  $("direction").addEventListener("click", () => {
    setDirection(!descending);
    update();
  });
  $("top").addEventListener("input", () => {
    drawLine();
    if (["labels", "rest"].includes($("status").value)) update();
  });
  $("size").addEventListener("input", draw);
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  for (const id of ["veil", "view-veil"]) $(id).addEventListener("input", () => veil($(id).value));
  $("view-previous").addEventListener("click", () => go(-1));
  $("view-next").addEventListener("click", () => go(1));
  $("view-close").addEventListener("click", () => $("view").close());
  $("view").addEventListener("close", () => {
    // The browser has given the focus back to where it was; the larger view may have gone on since.
    if (document.activeElement !== $("search")) cardOf(viewed)?.querySelector(".name").focus();
  });
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("help-close").addEventListener("click", () => $("help").close());
  $("save-good").addEventListener("click", () => save(marks.of("good"), "good"));
  $("save-bad").addEventListener("click", () => save(marks.of("bad"), "bad"));
  $("save-shown").addEventListener("click", () => save(shown, "shown"));
  $("load").addEventListener("change", async () => {
    if ($("load").files[0]) await load($("load").files[0]);
    $("load").value = ""; // the same list can be loaded again
  });
  $("clear").addEventListener("click", () => {
    if (!confirm(`Take back ${many(marks.known.size, "mark")}?`)) return;
    marks.known.clear();
    keep("No image is marked");
    cards.clear();
    update();
    countMarks();
  });
  $("theme").addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    store.set("theme", theme);
    setTheme(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme());
}

const theme = store.get("theme");
setTheme(["light", "dark"].includes(theme) ? theme : undefined);
fillSummary();
fillRanking();
fillFailures();
fillFacts();
fillControls();
listen();
countMarks();
veil(100);
update();

// charts.js: the histogram of what masks are ranked by, and the curves of trainings; each with its text.

// An element with attributes and children; strings become text.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value != null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Counts of sorted values in bins of one width; of values that are all the same, in one bin.
function toBins(sorted) {
  const [least, most] = [sorted[0], sorted.at(-1)];
  const count = most > least ? 40 : 1;
  const width = (most - least) / count;
  const bins = Array.from({ length: count }, (_, i) => ({ from: least + i * width, to: least + (i + 1) * width, count: 0 }));
  for (const value of sorted) bins[Math.min(count - 1, Math.floor((value - least) / (width || 1)))].count += 1;
  return bins;
}

// A histogram; `move(threshold)` puts the line, and colours what lies above it.
function histogram(place, values, label) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  const bins = toBins(sorted);
  const highest = Math.max(...bins.map((bin) => bin.count));
  const [first, last] = [bins[0].from, bins.at(-1).to];
  const bars = bins.map((bin) => {
    const bar = make("span", { class: "column" });
    bar.style.height = `${(100 * bin.count) / highest}%`;
    return bar;
  });
  const line = make("span", { class: "line" });
  const plot = make("div", { class: "plot", role: "img" }, ...bars, line);
  const scale = (bins.length > 1 ? [0, 0.25, 0.5, 0.75, 1] : [0]).map((at) => make("span", {}, (first + at * (last - first)).toFixed(3)));
  const table = make(
    "table",
    {},
    make("tr", {}, make("th", { scope: "col" }, label), make("th", { scope: "col" }, "masks")),
    ...bins
      .filter((bin) => bin.count)
      .map((bin) => make("tr", {}, make("td", {}, `${bin.from.toFixed(4)} to ${bin.to.toFixed(4)}`), make("td", {}, String(bin.count)))),
  );
  place.replaceChildren(
    plot,
    make("div", { class: "scale", "aria-hidden": "true" }, ...scale),
    make("details", {}, make("summary", {}, "As a table"), make("div", { class: "scroll" }, table)),
  );
  return function move(threshold, said) {
    bars.forEach((bar, i) => bar.classList.toggle("above", (bins[i].from + bins[i].to) / 2 >= threshold));
    line.style.left = `${(100 * (threshold - first)) / (last - first || 1)}%`;
    plot.setAttribute(
      "aria-label",
      `Histogram of ${label}: ${values.length} masks from ${first.toFixed(3)} to ${sorted.at(-1).toFixed(3)}, median ${middle.toFixed(3)}. ${said}`,
    );
  };
}

// The figures of a training, one small chart for each: a line over the epochs.
function curves(network) {
  const box = make("div", { class: "network" }, make("h3", {}, network.name));
  const { history = [] } = network;
  if (network.problem || !history.length) {
    const said = network.problem ?? (network.trained ? "no figures were kept" : "the training is not finished");
    box.append(make("p", { class: network.problem ? "problem" : "quiet" }, said));
    return box;
  }
  for (const name of Object.keys(history[0])) {
    const values = history.map((figures) => figures[name]);
    const finite = values.filter((value) => value != null);
    if (!finite.length) continue;
    box.append(curve(name, values, Math.min(...finite), Math.max(...finite)));
  }
  return box;
}

function curve(name, values, least, most) {
  const shown = (value) => (value == null ? "not finite" : Number(value.toPrecision(4)).toString());
  const at = (i) => (values.length > 1 ? (100 * i) / (values.length - 1) : 50);
  const points = values.flatMap((value, i) => (value == null ? [] : [`${at(i)},${100 - (100 * (value - least)) / (most - least || 1)}`]));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS(svg.namespaceURI, "polyline");
  line.setAttribute("points", points.length > 1 ? points.join(" ") : `0,${points[0].split(",")[1]} 100,${points[0].split(",")[1]}`);
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const said = `${values.length} epochs, from ${shown(values[0])} to ${shown(values.at(-1))}, least ${shown(least)}, most ${shown(most)}`;
  svg.setAttribute("aria-label", `${name}: ${said}`);
  svg.append(line);
  return make(
    "figure",
    { class: "curve" },
    make("figcaption", {}, make("strong", {}, name), ` ${shown(values.at(-1))}`, make("span", { class: "quiet" }, ` after ${values.length} epochs`)),
    svg,
    make("div", { class: "scale", "aria-hidden": "true" }, make("span", {}, "1"), make("span", {}, String(values.length))),
  );
}

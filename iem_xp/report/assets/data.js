// data.js: the rows of the report, which of them are shown in what order, and the marks that people give them.
// What comes from the run is data to the very end: it is only ever set as text, never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);

// Numbers that a row may have, in the order in which they are shown; `none`: a value that means that there is none.
const NUMBERS = [
  { key: "rank", label: "rank", show: (value) => `#${value}`, plain: true },
  { key: "information", label: "information", show: (value) => value.toFixed(3), none: 0 },
  { key: "error", label: "inpainting error", show: (value) => value.toFixed(3) },
  { key: "share", label: "foreground", title: "foreground share", show: percent },
  { key: "side", label: "square", title: "initial square", show: (value) => value || "none", none: 0, plain: true },
  { key: "iou", label: "IoU", show: percent },
  { key: "either", label: "IoU, either polarity", show: percent, quiet: true },
  { key: "refined_iou", label: "refined IoU", show: percent },
  { key: "refined_either", label: "refined IoU, either polarity", show: percent, quiet: true },
  { key: "agreement", label: "agreement", title: "IoU of mask and refined mask", show: percent },
  { key: "updates", label: "updates", show: String, none: 0, quiet: true },
];

const rows = toRows(data.rows);
const done = rows.filter((row) => row.status === "done"); // from the best, as they come
const numbers = NUMBERS.filter(({ key, none }) => done.some((row) => row[key] != null && row[key] !== none)); // others say nothing here

function toRows(columns) {
  const names = Object.keys(columns);
  const count = names.length ? columns[names[0]].length : 0;
  return Array.from({ length: count }, (_, index) => {
    const row = { index };
    for (const name of names) row[name] = columns[name][index];
    row.folded = row.name.toLowerCase();
    return row;
  });
}

function pathOf(row) {
  return data.root + row.name;
}

function percent(value) {
  return `${(100 * value).toFixed(1)} %`;
}

function many(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

// Whether a mask is among the labels that would be exported: the best `top` that colours say something of.
function isLabel(row, top) {
  return row.status === "done" && row.rank <= top && !(data.ranked_by === "information" && !row.information);
}

// The rows that a query asks for, in its order; rows that lack what they are sorted by come last.
function select(query) {
  const text = query.text.toLowerCase();
  const ranges = Object.entries(query.ranges);
  const chosen = rows.filter(
    (row) =>
      (!text || row.folded.includes(text)) &&
      hasStatus(row, query) &&
      (!query.side || String(row.side) === query.side) &&
      (!query.marked || (marks.get(row) ?? "none") === query.marked) &&
      ranges.every(([key, [least, most]]) => row[key] != null && row[key] >= least && row[key] <= most),
  );
  const sign = query.descending ? -1 : 1;
  const key = query.sort;
  return chosen.sort((one, other) => {
    const [a, b] = [one[key], other[key]];
    if (a == null || b == null) return (a == null) - (b == null) || one.index - other.index;
    return a < b ? -sign : a > b ? sign : one.index - other.index;
  });
}

function hasStatus(row, { status, top }) {
  switch (status) {
    case "done":
    case "failed":
      return row.status === status;
    case "labels":
      return isLabel(row, top);
    case "rest":
      return row.status === "done" && !isLabel(row, top);
    case "problem":
      return row.status === "done" && Boolean(row.problem);
    case "notes":
      return Boolean(row.notes);
    default:
      return true;
  }
}

// What this browser keeps for this run; where it keeps nothing, marks last as long as the page.
const store = {
  key: (name) => `iem-xp report: ${name}: ${data.run}`,
  get(name) {
    try {
      return localStorage.getItem(this.key(name));
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(this.key(name), value);
      return true;
    } catch {
      return false;
    }
  },
};

// Good and bad images, by their paths.
const marks = {
  known: readMarks(),
  get: (row) => marks.known.get(pathOf(row)),
  set(row, mark) {
    if (mark) this.known.set(pathOf(row), mark);
    else this.known.delete(pathOf(row));
  },
  keep() {
    return store.set("marks", JSON.stringify([...this.known]));
  },
  of: (mark) => rows.filter((row) => marks.get(row) === mark),
};

function readMarks() {
  try {
    const kept = JSON.parse(store.get("marks") ?? "[]");
    return new Map(kept.filter(([path, mark]) => typeof path === "string" && ["good", "bad"].includes(mark)));
  } catch {
    return new Map();
  }
}

// A list of images as export-labels takes it, and the rows whose paths can be no line of one.
function toList(listed, title) {
  const refused = listed.filter((row) => !isLine(pathOf(row)));
  const lines = listed.map(pathOf).filter(isLine);
  const run = data.run.replace(/[\r\n]/g, " ").toWellFormed();
  return { text: [`# iem-xp report: ${title}`, `# of ${run}`, ...lines, ""].join("\n"), count: lines.length, refused };
}

function isLine(path) {
  return path.isWellFormed() && !/[\r\n]/.test(path) && !path.startsWith("#") && path.trim() !== "";
}

// The rows that a list names, as what it says that they are, and how many of its lines name none.
function fromList(text) {
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  const mark = lines[0].match(/^# iem-xp report: (good|bad)$/)?.[1];
  const paths = lines.filter((line) => line.trim() && !line.startsWith("#"));
  const byPath = new Map(rows.map((row) => [pathOf(row), row]));
  const found = paths.map((path) => byPath.get(path)).filter(Boolean);
  return { mark, found, unknown: paths.length - found.length };
}

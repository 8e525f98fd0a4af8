import { coverage, directionOf, download, drawCurves, drawMatrix, element, exportPng, exportSvg, svgElement } from "./drawing.js";
import { fillTrees } from "./tree.js";

const BATCH = 200; // rows of the list that are added at a time
const CACHED_PARTS = 20;
const MAX_TABS = 8; // more views are a list
const COUNTERPARTS = 5; // words that are listed for the selected one
const COLUMNS = [
  ["number", "#", "number of the line, from 0"],
  ["text", "sentence", "source and translation"],
  ["score", "score", "log-probability, normalized by length"],
  ["chrf", "chrF", "sentence chrF against the reference"],
  ["confidence", "conf.", "confidence from attention, in percent"],
  ["coverage", "CDP", "coverage deviation penalty; 0 is best"],
  ["output", "AP out", "absentmindedness of target words; 0 is best"],
  ["input", "AP in", "absentmindedness of source words; 0 is best"],
  ["unaligned", "unal. %", "source words to which no target word attends most, in percent"],
];

const $ = (id) => document.getElementById(id);
const settings = JSON.parse(document.body.dataset.settings);
const state = { row: null, target: 0, view: 0, minus: -1, level: "words", t: null, s: null };
let rows = [];
let shown = []; // filtered and sorted
let sorting = { key: "number", descending: false };
let sentence = null; // the data of the selected sentence
let current = null; // its translation, or its reference as the model reads it
let drawn = { matrices: [], sources: [], targets: [], curves: null };

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

// Parts of the details, loaded when they are needed.

const parts = new Map();
const waiting = new Map();

window.receivePart = (number, text) => waiting.get(number)?.(text);

function loadPart(number) {
  if (!settings.directory) {
    return Promise.resolve(document.querySelectorAll("script.part")[number].textContent);
  }
  return new Promise((resolve, reject) => {
    waiting.set(number, resolve);
    const script = document.createElement("script");
    script.src = `${settings.directory}/${number}.js`;
    const fail = (reason) => () => reject(new Error(`${script.src} ${reason}`));
    script.onerror = fail("cannot be loaded; keep it beside this page, and select the sentence again");
    script.onload = fail("is damaged; write the report again"); // unless it has called receivePart
    document.head.append(script);
  });
}

async function loadDetail(position) {
  const number = Math.floor(position / settings.partSentences);
  if (!parts.has(number)) {
    const part = loadPart(number).then(inflate);
    part.catch(() => parts.delete(number)); // so that the next selection tries again
    parts.set(number, part);
    if (parts.size > CACHED_PARTS) parts.delete(parts.keys().next().value);
  }
  return (await parts.get(number))[position % settings.partSentences];
}

// The list.

function fillColumns() {
  const used = COLUMNS.filter(([key]) => key === "text" || rows.some((row) => row[key] !== undefined));
  for (const [key, name, title] of used) {
    const button = element("button", { type: "button", title }, name);
    const head = element("th", { scope: "col" }, button);
    head.dataset.key = key;
    if (key === "text") head.classList.add("text");
    button.onclick = () => {
      sorting = { key, descending: sorting.key === key ? !sorting.descending : false };
      fillList();
    };
    $("columns").append(head);
  }
}

const textOf = (row) => `${row.source}\n${row.target}\n${row.reference ?? ""}`.toLowerCase();

function compareRows(first, second) {
  const key = sorting.key === "text" ? "source" : sorting.key;
  const [a, b] = [first[key], second[key]];
  // Sentences without a value, such as empty ones, are always last.
  if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
  const order = typeof a === "string" ? a.localeCompare(b) : a - b;
  return (sorting.descending ? -order : order) || first.number - second.number;
}

function fillList() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  shown = rows.filter((row) => words.every((word) => textOf(row).includes(word))).sort(compareRows);
  $("count").value = `${shown.length} of ${rows.length}`;
  for (const head of $("columns").children) {
    const order = sorting.descending ? "descending" : "ascending";
    head.setAttribute("aria-sort", head.dataset.key === sorting.key ? order : "none");
  }
  $("rows").replaceChildren();
  appendRows();
}

function appendRows(needed = 0) {
  const keys = [...$("columns").children].map((head) => head.dataset.key);
  const start = $("rows").children.length;
  const end = Math.max(start + BATCH, needed);
  $("rows").append(...shown.slice(start, end).map((row) => {
    const line = element("tr", {}, ...keys.map((key) => {
      if (key !== "text") return element("td", {}, String(row[key] ?? ""));
      const link = element("a", { href: `#${row.number}`, tabindex: "-1" });
      link.append(element("bdi", { dir: "auto" }, row.source), element("bdi", { dir: "auto" }, row.target));
      return element("td", { class: "text" }, link);
    }));
    line.dataset.number = row.number;
    line.onclick = () => open(row);
    return line;
  }));
  markRow();
}

function markRow() {
  for (const line of $("rows").children) {
    if (state.row && line.dataset.number === String(state.row.number)) line.setAttribute("aria-current", "true");
    else line.removeAttribute("aria-current");
  }
}

function move(step) {
  const position = shown.indexOf(state.row) + step;
  if (position < 0 || position >= shown.length) return;
  if (position >= $("rows").children.length) appendRows(position + 1);
  open(shown[position]);
}

// The selected sentence.

async function open(row) {
  state.row = row;
  Object.assign(state, { t: null, s: null });
  markRow();
  document.querySelector("tr[aria-current]")?.scrollIntoView({ block: "nearest" });
  // A frame of a notebook has no address of its own.
  if (location.protocol !== "about:") history.replaceState(null, "", `#${row.number}`);
  let detail;
  try {
    detail = await loadDetail(row.position);
  } catch (error) {
    if (state.row === row) showFailure(error.message);
    return;
  }
  if (state.row !== row) return; // another one was selected meanwhile
  sentence = detail;
  $("heading").textContent = `Sentence ${row.number}${row.finished ? "" : " (reached the maximum length)"}`;
  const values = COLUMNS.slice(2).filter(([key]) => row[key] !== undefined);
  $("metrics").replaceChildren(...values.map(([key, name, title]) =>
    element("div", { title }, element("dt", {}, name), element("dd", {}, String(row[key])))));
  $("reference").textContent = row.reference ?? "";
  $("reference").hidden = row.reference === undefined;
  fillControls();
  fillTrees($("tree"), sentence, row.target);
  draw();
}

function showFailure(message) {
  sentence = current = null;
  $("heading").textContent = message;
  for (const id of ["metrics", "targets", "views", "text", "figures", "info", "tree"]) $(id).replaceChildren();
  for (const id of ["reference", "controls", "legend"]) $(id).hidden = true;
}

function tab(name, isOn, onSelect) {
  const button = element("button", { type: "button", "aria-pressed": String(isOn) }, name);
  button.onclick = () => {
    onSelect();
    fillControls();
    draw();
  };
  return button;
}

function fillControls() {
  const { targets } = sentence;
  state.target = Math.min(state.target, targets.length - 1);
  current = targets[state.target];
  $("targets").replaceChildren(...(targets.length > 1 ? targets : []).map(({ name }, number) =>
    tab(name, number === state.target, () => Object.assign(state, { target: number, t: null, s: null }))));
  const { views } = current;
  state.view = Math.min(state.view, Math.max(views.length - 1, 0));
  if (state.minus >= views.length) state.minus = -1;
  const isList = views.length > MAX_TABS;
  $("views").replaceChildren(...(views.length > 1 && !isList ? views : []).map(({ name }, number) =>
    tab(name, number === state.view, () => { state.view = number; })));
  fillOptions($("view"), views.map(({ name }) => name), 0, state.view);
  $("view").hidden = !isList;
  const names = ["—", ...views.map((view) => view.name)];
  fillOptions($("compare"), names, -1, state.minus);
  $("compare-label").hidden = $("together-label").hidden = views.length < 2;
  $("level-label").hidden = Object.keys(current.levels ?? {}).length < 2;
  $("controls").hidden = $("figures").hidden = $("legend").hidden = !views.length;
}

function fillOptions(node, names, first, selected) {
  node.replaceChildren(...names.map((name, number) => element("option", { value: String(first + number) }, name)));
  node.value = String(selected);
}

function levelOf(view) {
  const wanted = state.level in current.levels ? state.level : Object.keys(current.levels)[0];
  return wanted in view ? wanted : wanted === "words" ? "pieces" : "words";
}

const scaled = (weights) => weights.map((row) => row.map((weight) => weight / settings.levels));

// The weights of a view, or their difference from another one.
function weightsOf(number) {
  const view = current.views[number];
  const level = levelOf(view);
  const weights = scaled(view[level]);
  const other = current.views[state.minus]?.[level];
  if (!other || state.minus === number) return { level, weights };
  const others = scaled(other);
  return { level, weights: weights.map((row, t) => row.map((weight, s) => weight - others[t][s])) };
}

function draw() {
  $("figures").replaceChildren();
  $("text").replaceChildren();
  $("info").replaceChildren();
  drawn = { matrices: [], sources: [], targets: [], curves: null };
  if (!current) return; // still loading, or failed to
  if (!current.views.length) {
    for (const key of ["source", "target"]) $("text").append(element("p", { dir: "auto" }, key === "source" ? state.row.source : current.text));
    drawSteps(current.steps.map((_, number) => number));
    return;
  }
  const { level, weights } = weightsOf(state.view);
  const tokens = current.levels[level];
  drawText(tokens, weights);
  if (current.grid) {
    $("controls").hidden = $("legend").hidden = true;
    return;
  }
  const together = $("together").checked && current.views.length > 1;
  $("figures").classList.toggle("together", together);
  const numbers = together ? current.views.keys() : [state.view];
  for (const number of numbers) drawFigure(number, together);
  select(state.t ?? 0, null);
}

function drawFigure(number, together) {
  const { level, weights } = weightsOf(number);
  const { source, target } = current.levels[level];
  const available = $("figures").clientWidth;
  const data = {
    source, target, weights,
    threshold: Number($("threshold").value),
    width: together ? Math.max(320, available / 2 - 16) : available,
    gold: level === "words" ? current.gold : undefined,
  };
  const matrix = drawMatrix(data, select);
  const other = current.views[state.minus];
  const name = current.views[number].name + (other && state.minus !== number ? ` minus ${other.name}` : "");
  const caption = current.views.length > 1 ? [element("figcaption", {}, name)] : [];
  $("figures").append(element("figure", {}, ...caption, matrix));
  drawn.matrices.push(matrix);
}

function drawText({ source, target }, weights) {
  const isImage = Boolean(current.grid);
  const { sourceFlags, targetFlags } = isImage ? { targetFlags: [] } : coverage(weights, source, target);
  $("text").classList.toggle("image", isImage);
  if (isImage) $("text").append(drawPicture());
  else drawn.sources = drawWords("source", source, sourceFlags, (s) => select(null, s));
  drawn.targets = drawWords("target", target, targetFlags, (t) => select(t, null));
  drawn.targets.forEach((word, t) => describe(word, target[t], weights[t], source));
  drawn.sources.forEach((word, s) => describe(word, source[s], weights.map((row) => row[s]), target));
  if (isImage) return;
  drawn.curves = svgElement("svg");
  $("text").append(drawn.curves);
}

function drawWords(side, words, flags, onSelect) {
  const line = element("div", { class: `words ${side}`, dir: directionOf(words.join("")), role: "group", "aria-label": side });
  const spans = words.map((word, number) => {
    const span = element("span", { class: `word ${flags[number] ?? ""}`, role: "button", tabindex: number ? "-1" : "0" });
    span.append(element("bdi", {}, word));
    span.onpointerenter = span.onclick = () => onSelect(number);
    span.onfocus = () => {
      line.querySelectorAll("[tabindex='0']").forEach((other) => other.setAttribute("tabindex", "-1"));
      span.setAttribute("tabindex", "0");
      onSelect(number);
    };
    return span;
  });
  line.append(...spans);
  line.onkeydown = (event) => {
    const forward = line.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key] && (event.key === forward ? 1 : -1);
    const other = { ArrowUp: drawn.sources, ArrowDown: drawn.targets }[event.key];
    if (step) spans[spans.indexOf(document.activeElement) + step]?.focus();
    else if (other) (other.find((word) => word.classList.contains("selected")) ?? other[0])?.focus();
    else return;
    event.preventDefault();
  };
  $("text").append(line);
  return spans;
}

function drawPicture() {
  const [height, width] = current.grid;
  const image = element("img", { alt: state.row.source });
  image.src = current.image;
  const regions = element("div", { class: "regions" });
  regions.style.setProperty("grid-template", `repeat(${height}, 1fr) / repeat(${width}, 1fr)`);
  regions.append(...Array.from({ length: height * width }, () => element("span")));
  drawn.sources = [...regions.children];
  return element("div", { id: "picture" }, image, regions);
}

// Counterparts with weights, for a screen reader and for the list below the text.
function counterparts(weights, words) {
  return weights.map((weight, number) => ({ weight, number, word: words[number] }))
    .filter(({ weight }) => Math.abs(weight) >= Math.max(0.005, Number($("threshold").value)))
    .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, COUNTERPARTS);
}

function describe(node, word, weights, words) {
  if (current.grid) return;
  const list = counterparts(weights, words).map((one) => `${one.word} ${one.weight.toFixed(2)}`);
  node.setAttribute("aria-label", `${word}: ${list.join(", ") || "no attention"}`);
}

// Select a target word, a source word, or a cell.
function select(t, s) {
  Object.assign(state, { t, s });
  const { level, weights } = weightsOf(state.view);
  const { source, target, steps } = current.levels[level];
  const shade = (nodes, weight) => nodes.forEach((node, number) =>
    node.style.setProperty("--weight", Math.abs(weight(number)).toFixed(3)));
  if (current.grid) {
    const largest = Math.max(...weights[t]) || 1; // relative to the word's greatest weight
    shade(drawn.sources, (number) => weights[t][number] / largest);
  } else {
    shade(drawn.sources, (number) => (t === null ? 0 : weights[t][number]));
    shade(drawn.targets, (number) => (s === null || t !== null ? 0 : weights[number][s]));
    const threshold = Number($("threshold").value);
    const isMarked = (row, column) => (t === null || row === t) && (s === null || column === s);
    drawCurves(drawn.curves, drawn.sources, drawn.targets, weights, threshold, isMarked);
  }
  drawn.targets.forEach((node, number) => node.classList.toggle("selected", number === t));
  if (!current.grid) drawn.sources.forEach((node, number) => node.classList.toggle("selected", number === s));
  drawn.matrices.forEach((matrix) => matrix.mark(t, s));
  $("info").replaceChildren();
  if (!current.grid) {
    const [word, list] = t === null
      ? [source[s], counterparts(weights.map((row) => row[s]), target)]
      : [target[t], counterparts(weights[t], source)];
    const cell = t !== null && s !== null ? ` · ${source[s]}: ${weights[t][s].toFixed(3)}` : "";
    const items = list.map((one) => item(one.word, one.weight));
    addInfo(`attention of `, word, cell, items.length ? items : [element("li", {}, "none")]);
  }
  if (t !== null) drawSteps(steps[t]);
}

function item(word, value, className = "") {
  const line = element("li", { class: className }, element("bdi", {}, word), element("output", {}, value.toFixed(3)));
  line.style.setProperty("--weight", Math.abs(value).toFixed(3));
  return line;
}

function addInfo(before, word, after, items) {
  const heading = element("h3", {}, before, element("bdi", {}, word), after);
  $("info").append(element("section", {}, heading, element("ol", {}, ...items)));
}

// The probability of the token of each step, and of its alternatives.
function drawSteps(numbers) {
  for (const number of numbers) {
    const step = current.steps[number];
    if (!step) continue;
    const others = (step.alternatives ?? []).map(([token, probability]) => item(token, probability));
    addInfo("probability of ", step.token, "", [item(step.token, step.probability, "chosen"), ...others]);
  }
}

// Controls.

$("filter").oninput = fillList;
$("filter").form.onsubmit = (event) => event.preventDefault();
document.querySelector(".scroll").onscroll = ({ target }) => {
  const isEnd = target.scrollTop + target.clientHeight > target.scrollHeight - 400;
  if (isEnd && $("rows").children.length < shown.length) appendRows();
};
$("threshold").oninput = () => {
  $("threshold-value").value = Number($("threshold").value).toFixed(2);
  draw();
};
$("level").onchange = () => {
  state.level = $("level").checked ? "pieces" : "words";
  Object.assign(state, { t: null, s: null });
  draw();
};
$("together").onchange = draw;
$("view").onchange = () => { state.view = Number($("view").value); draw(); };
$("compare").onchange = () => { state.minus = Number($("compare").value); draw(); };
const fileName = (suffix) => `attention-${state.row.number}.${suffix}`;
$("svg").onclick = () => download(fileName("svg"), new Blob([exportSvg(drawn.matrices[0])], { type: "image/svg+xml" }));
$("png").onclick = async () => download(fileName("png"), await exportPng(drawn.matrices[0]));

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input[type=search], select");
  if (event.key === "Escape" && isTyping) event.target.blur();
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
  else if (event.key === "w" && !$("level-label").hidden) $("level").click();
  else if (event.key === "/" && rows.length > 1) $("filter").focus();
  else return;
  event.preventDefault();
});

let resizing;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(draw, 100);
});

function openLink() {
  const number = Number(location.hash.slice(1) || NaN);
  const row = rows.find((one) => one.number === number) ?? shown[0];
  if (row && row !== state.row) open(row);
}

addEventListener("hashchange", openLink);

const blocks = await Promise.all([...document.querySelectorAll("script.index")].map((block) => inflate(block.textContent)));
rows = blocks.flat();
rows.forEach((row, position) => { row.position = position; });
document.body.classList.toggle("single", rows.length === 1);
fillColumns();
fillList();
openLink();

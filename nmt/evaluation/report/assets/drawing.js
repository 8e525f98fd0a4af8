// Attention as SVG: a matrix with coverage, and curves between two rows of words.

const SVG = "http://www.w3.org/2000/svg";
const RIGHT_TO_LEFT =
  /^[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]/u;
const MAX_LABEL = 24; // characters
const MAX_CELL = 40; // pixels
const BAR = 36; // pixels of a coverage bar
const SLANT = 50; // degrees of the labels of columns, which then read alike in every script

// Coverage of a source word below LITTLE suggests an omission, above MUCH a repetition; a target
// word whose weights on source words are all below LITTLE is not supported by the source.
export const LITTLE = 0.2;
export const MUCH = 2;

export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

export function svgElement(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// The direction of a text by its first letter, as dir="auto" decides it.
export function directionOf(text) {
  const letter = text.match(/\p{L}/u);
  return letter && RIGHT_TO_LEFT.test(letter[0]) ? "rtl" : "ltr";
}

// Return coverage and flag of every source and target word of weights from 0 to 1.
export function coverage(weights, source, target) {
  // A source word is attended to this often if the translation has more words than the source.
  const expected = Math.max(1, target.length / source.length);
  const isWord = source.map((word) => word !== "</s>");
  const columns = source.map((_, s) => weights.reduce((sum, row) => sum + row[s], 0));
  const rows = weights.map((row) => row.reduce((sum, weight, s) => sum + weight * isWord[s], 0));
  const largest = weights.map((row) => Math.max(0, ...row.filter((_, s) => isWord[s])));
  return {
    columns,
    rows,
    sourceFlags: columns.map((sum, s) =>
      !isWord[s] ? "" : sum < LITTLE ? "omitted" : sum > MUCH * expected ? "repeated" : ""),
    targetFlags: largest.map((weight, t) =>
      target[t] !== "</s>" && weight < LITTLE ? "unsupported" : ""),
  };
}

export function measure(labels, size) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = `bold ${size}px system-ui, sans-serif`;
  return Math.max(0, ...labels.map((label) => context.measureText(label).width));
}

export function shorten(label) {
  const characters = Array.from(label);
  return characters.length > MAX_LABEL ? characters.slice(0, MAX_LABEL - 1).join("") + "…" : label;
}

// A label that grows from its anchor to the right (side 1) or to the left (side -1). The anchor of
// SVG text depends on its direction, which is that of the label: </s> in Arabic is not mirrored.
function label(text, side, attributes) {
  const direction = directionOf(text);
  const anchor = (side > 0) === (direction === "ltr") ? "start" : "end";
  const style = { direction, "unicode-bidi": "isolate", "text-anchor": anchor };
  return svgElement("text", { ...attributes, ...style }, shorten(text));
}

// Draw a matrix: one column per source word, one row per target word. Columns of a text that is
// written from right to left are in its order. Negative weights, of a difference, have another color.
//
// data: source, target, weights, threshold, width in pixels, and optionally gold {sure, possible}
// onPoint(t, s): called for the cell under the pointer
export function drawMatrix({ source, target, weights, threshold, width, gold }, onPoint) {
  const isReversed = directionOf(source.join("")) === "rtl";
  const nominal = Math.min(MAX_CELL, (width - BAR - 120) / Math.max(source.length, 1));
  const font = Math.max(7, Math.min(13, nominal * 0.75));
  const rowLabels = measure(target.map(shorten), font) + 10;
  const columnLabels = measure(source.map(shorten), font);
  const slant = (SLANT * Math.PI) / 180;
  const beyond = columnLabels * Math.cos(slant); // of the last column's label
  const room = width - rowLabels - BAR - 24 - Math.max(0, beyond - BAR - 24);
  const cell = Math.max(7, Math.min(MAX_CELL, room / Math.max(source.length, 1)));
  const top = columnLabels * Math.sin(slant) + font + 4;
  const sides = Math.max(BAR + 16, beyond);
  const left = isReversed ? sides : rowLabels;
  const size = { width: cell * source.length, height: cell * target.length };
  const total = { width: rowLabels + size.width + sides, height: top + size.height + BAR + 16 };
  const x = (s) => left + cell * (isReversed ? source.length - 1 - s : s);
  const y = (t) => top + cell * t;
  const svg = svgElement("svg", {
    class: "matrix",
    ...total,
    viewBox: `0 0 ${total.width} ${total.height}`,
    role: "img",
    "aria-label": `attention weights: ${target.length} target by ${source.length} source words`,
  });
  svg.style.fontSize = `${font}px`;
  const bands = [svgElement("rect", { class: "band" }), svgElement("rect", { class: "band" })];
  svg.append(...bands);
  const columnTexts = source.map((word, s) => {
    const anchor = `translate(${x(s) + cell / 2 + font / 4} ${top - 4}) rotate(${-SLANT})`;
    return label(word, 1, { transform: anchor });
  });
  const rowTexts = target.map((word, t) =>
    label(word, isReversed ? 1 : -1, {
      x: isReversed ? left + size.width + 6 : left - 6,
      y: y(t) + cell / 2 + font / 3,
    }));
  svg.append(...columnTexts, ...rowTexts);
  const lines = source.map((_, s) => `M${x(s)} ${top}v${size.height}`)
    .concat(target.map((_, t) => `M${left} ${y(t)}h${size.width}`));
  svg.append(svgElement("path", { class: "grid", d: lines.join("") }));
  svg.append(svgElement("rect", { class: "grid", x: left, y: top, ...size }));
  weights.forEach((row, t) => row.forEach((weight, s) => {
    if (Math.abs(weight) < Math.max(threshold, 1e-9)) return;
    const box = { x: x(s) + 0.5, y: y(t) + 0.5, width: cell - 1, height: cell - 1 };
    const color = weight < 0 ? { class: "minus" } : { fill: "currentColor" };
    svg.append(svgElement("rect", { ...box, ...color, "fill-opacity": Math.abs(weight).toFixed(3) }));
  }));
  for (const [kind, links] of Object.entries(gold ?? {})) {
    for (const [s, t] of links) {
      if (s >= source.length || t >= target.length) continue;
      const ring = { cx: x(s) + cell / 2, cy: y(t) + cell / 2, r: cell / 2 - 2 };
      svg.append(svgElement("circle", { class: `gold ${kind}`, ...ring }));
    }
  }
  drawCoverage(svg, coverage(weights, source, target), { x, y, cell, left, top, size, isReversed });
  // The cell under a pointer, or null.
  svg.cellAt = (event) => {
    const frame = svg.getBoundingClientRect();
    const scale = total.width / frame.width;
    const column = Math.floor(((event.clientX - frame.left) * scale - left) / cell);
    const t = Math.floor(((event.clientY - frame.top) * scale - top) / cell);
    if (column < 0 || column >= source.length || t < 0 || t >= target.length) return null;
    return { t, s: isReversed ? source.length - 1 - column : column };
  };
  svg.addEventListener("pointermove", (event) => {
    const under = svg.cellAt(event);
    if (under) onPoint(under.t, under.s);
  });
  // Draw a frame around cells of a row, and return it.
  svg.frame = (kind, t, first, last) => {
    const box = { x: Math.min(x(first), x(last)), y: y(t), width: cell * (last - first + 1), height: cell };
    const node = svgElement("rect", { class: `frame ${kind}`, ...box });
    svg.append(node);
    return node;
  };
  svg.mark = (t, s) => {
    const row = t === null ? {} : { x: 0, y: y(t), width: total.width, height: cell };
    const column = s === null ? {} : { x: x(s), y: 0, width: cell, height: total.height };
    [row, column].forEach((box, number) => {
      for (const key of ["x", "y", "width", "height"]) bands[number].setAttribute(key, box[key] ?? 0);
    });
    rowTexts.forEach((text, number) => text.classList.toggle("on", number === t));
    columnTexts.forEach((text, number) => text.classList.toggle("on", number === s));
  };
  return svg;
}

// Draw bars below the columns and beside the rows; the line marks a coverage of 1.
function drawCoverage(svg, { columns, rows, sourceFlags, targetFlags }, place) {
  const { x, y, cell, left, top, size, isReversed } = place;
  const length = (sum) => (Math.min(Math.abs(sum), MUCH) / MUCH) * BAR;
  const bottom = top + size.height + 6;
  const side = isReversed ? left - 6 : left + size.width + 6;
  columns.forEach((sum, s) => {
    const box = { x: x(s) + cell * 0.2, y: bottom, width: cell * 0.6, height: length(sum) };
    svg.append(svgElement("rect", bar(box, sum, sourceFlags[s])));
  });
  rows.forEach((sum, t) => {
    const start = isReversed ? side - length(sum) : side;
    const box = { x: start, y: y(t) + cell * 0.2, width: length(sum), height: cell * 0.6 };
    svg.append(svgElement("rect", bar(box, sum, targetFlags[t])));
  });
  const one = isReversed ? side - BAR / MUCH : side + BAR / MUCH;
  const path = `M${left} ${bottom + BAR / MUCH}h${size.width}M${one} ${top}v${size.height}`;
  svg.append(svgElement("path", { class: "grid", "stroke-dasharray": "2 3", d: path }));
}

function bar(box, sum, flag) {
  const color = flag || sum < 0 ? { class: "flag" } : { fill: "currentColor" };
  return { ...box, ...color, "fill-opacity": 0.6 };
}

// Draw a curve per weight between two rows of elements; the width of a curve is its weight.
export function drawCurves(svg, sources, targets, weights, threshold, isMarked) {
  const frame = svg.parentElement;
  const origin = frame.getBoundingClientRect();
  svg.setAttribute("width", frame.scrollWidth);
  svg.setAttribute("height", frame.scrollHeight);
  const center = (node) => {
    const box = node.getBoundingClientRect();
    const middle = box.left + box.width / 2 - origin.left + frame.scrollLeft;
    return { x: middle, top: box.top - origin.top, bottom: box.bottom - origin.top };
  };
  const from = sources.map(center);
  const to = targets.map(center);
  svg.replaceChildren();
  weights.forEach((row, t) => row.forEach((weight, s) => {
    const size = Math.abs(weight);
    if (size < Math.max(threshold, 0.01)) return;
    const [start, end] = [from[s].bottom, to[t].top];
    const middle = (start + end) / 2;
    const d = `M${from[s].x} ${start}C${from[s].x} ${middle} ${to[t].x} ${middle} ${to[t].x} ${end}`;
    const opacity = isMarked(t, s) ? 0.85 : 0.2;
    svg.append(svgElement("path", { d, "stroke-width": 6 * size, "stroke-opacity": opacity }));
  }));
}

// Return a matrix as a file of its own: the style of the page becomes attributes, in light colors.
export function exportSvg(svg) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("xmlns", SVG);
  copy.querySelectorAll(".band").forEach((band) => band.remove());
  const style = svgElement("style", {}, `
    svg { fill: #1c1c1e; color: #1e64dc; font-family: system-ui, sans-serif; background: white; }
    .minus, .flag { fill: #c2410c; }
    .gold { fill: none; stroke: #b8860b; stroke-width: 2px; }
    .gold.possible { stroke-dasharray: 3 2; }
    .grid { fill: none; stroke: #8884; }`);
  copy.prepend(style);
  return new XMLSerializer().serializeToString(copy);
}

// Return the matrix as PNG, with twice as many pixels as on the screen.
export async function exportPng(svg) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(exportSvg(svg))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = 2 * image.width;
  canvas.height = 2 * image.height;
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

export function download(name, content) {
  const link = element("a", { download: name });
  link.href = URL.createObjectURL(content);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

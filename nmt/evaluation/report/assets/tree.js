// Trees of hypotheses: the n best translations, and all hypotheses that were in the beam.

import { directionOf, element, measure, shorten, svgElement } from "./drawing.js";

const FONT = 13; // pixels
const BOX = 22; // height of a token
const LANE = 30; // height of a lane
const GAP = 30; // between two steps, for the edges
const AXIS = 22; // height of the numbers of the steps
const STATES = {
  extended: "continued",
  finished: "complete",
  pruned: "left the beam",
  active: "in the beam when the search ended",
};

const spaced = (pieces) => pieces.some((piece) => /[▁Ġ]/.test(piece));

// Pieces as text. Those of a vocabulary of words have no mark of a space.
function toText(pieces, isSpaced) {
  return (isSpaced ? pieces.join("").replace(/[▁Ġ]/g, " ") : pieces.join(" ")).trim();
}

// Draw both trees of a sentence in a section of the page.
export function fillTrees(section, { hypotheses, beam }, text) {
  section.replaceChildren();
  if (hypotheses.length > 1) {
    const heading = element("h2", {}, `${hypotheses.length} best translations`);
    const dir = directionOf(text);
    section.append(heading, element("ul", { dir }, ...branches(commonPrefixes(hypotheses))));
  }
  if (beam?.pieces.length) drawBeam(section, beam, text);
}

// Nodes of lists have a text, a title, children, and at the end of a hypothesis a note.
function commonPrefixes(hypotheses) {
  const root = { children: [] };
  for (const { pieces, probabilities, score } of hypotheses) {
    let node = root;
    pieces.forEach((piece, number) => {
      let next = node.children.find((child) => child.piece === piece);
      if (!next) {
        const title = `probability ${probabilities[number].toFixed(3)}`;
        next = { piece, text: piece.replaceAll("▁", " "), title, children: [] };
        node.children.push(next);
      }
      node = next;
    });
    node.note = score.toFixed(3);
  }
  return root.children;
}

// Return an item of a list per node; nodes without siblings are in the item of their parent.
function branches(nodes) {
  return nodes.map((node) => {
    const line = element("li");
    let last = node;
    for (;;) {
      line.append(element("span", { title: last.title }, last.text));
      if (last.children.length !== 1 || last.note !== undefined) break;
      [last] = last.children;
    }
    if (last.note !== undefined) line.append(element("small", { dir: "ltr" }, last.note));
    if (last.children.length) line.append(element("ul", {}, ...branches(last.children)));
    return line;
  });
}

// The beam.

function readNodes(beam) {
  const isSpaced = spaced(beam.pieces);
  const nodes = beam.pieces.map((piece, number) => ({
    piece,
    label: shorten(toText([piece], isSpaced) || "␣"),
    // The state says that a text is complete; </s> would be mirrored between Arabic words.
    text: beam.states[number] === "finished" ? "" : isSpaced ? piece.replace(/[▁Ġ]/g, " ") : ` ${piece}`,
    step: beam.steps[number],
    state: beam.states[number],
    tokenLogProb: beam.piece_scores[number],
    logProb: beam.log_probs[number],
    score: beam.scores[number],
    children: [],
    rank: Infinity, // of the best translation that begins with these tokens
  }));
  nodes.forEach((node, number) => {
    node.parent = nodes[beam.parents[number]];
    node.parent?.children.push(node);
  });
  beam.n_best.forEach((number, rank) => {
    nodes[number].place = rank + 1;
    pathOf(nodes[number]).forEach((node) => { node.rank = Math.min(node.rank, rank); });
  });
  // Children are after their parents.
  for (const node of [...nodes].reverse()) {
    node.end = Math.max(node.step, ...node.children.map((child) => child.end));
    const isOpen = node.state === "finished" || node.state === "active";
    node.isMuted = !isOpen && node.rank === Infinity && node.children.every((child) => child.isMuted);
    node.children.sort((a, b) => a.rank - b.rank || a.isMuted - b.isMuted || b.end - a.end);
    node.title = `log-probability ${node.tokenLogProb.toFixed(3)}, cumulative ${node.logProb.toFixed(3)}, score ${node.score.toFixed(3)}`;
    if (node.state !== "extended") {
      const place = node.place ? `translation ${node.place}, ` : "";
      node.note = `${place}${STATES[node.state]}, score ${node.score.toFixed(3)}`;
    }
  }
  return nodes;
}

function pathOf(node) {
  const path = [];
  for (let one = node; one; one = one.parent) path.unshift(one);
  return path;
}

// Place each branch in the first lane that is free from its first step to its last. A branch goes on
// with the first child. The best translation is the first lane, which holds nothing else.
function placeLanes(nodes) {
  const roots = nodes.filter((node) => !node.parent);
  const isHead = (node) => node.parent ? node.parent.children[0] !== node : true;
  const heads = nodes.filter(isHead).sort((a, b) => a.rank - b.rank || a.step - b.step || a.isMuted - b.isMuted);
  const taken = []; // per lane, the steps
  for (const head of heads) {
    const branch = [head];
    while (branch.at(-1).children.length) branch.push(branch.at(-1).children[0]);
    let lane = 0;
    while (lane < taken.length && (taken[lane].isBest || branch.some(({ step }) => taken[lane].has(step)))) lane += 1;
    taken[lane] ??= Object.assign(new Set(), { isBest: head.rank === 0 });
    branch.forEach((node) => {
      node.lane = lane;
      taken[lane].add(node.step);
    });
  }
  return { roots, lanes: taken.length };
}

function drawBeam(section, beam, text) {
  const nodes = readNodes(beam);
  const { roots, lanes } = placeLanes(nodes);
  // A text is read in the direction of its script, whichever token is generated first.
  const isMirrored = (directionOf(text) === "rtl") !== beam.right_to_left;
  const steps = Math.max(...nodes.map(({ step }) => step));
  const columns = Array.from({ length: steps }, () => []);
  nodes.forEach((node) => columns[node.step - 1].push(node.place ? `${node.label} #${node.place}` : node.label));
  const widths = columns.map((labels) => Math.max(24, measure(labels, FONT) + 14));
  const starts = widths.reduce((sums, width) => [...sums, sums.at(-1) + width + GAP], [4]);
  const size = { width: starts.at(-1) - GAP + 4, height: AXIS + lanes * LANE + 4 };
  const left = (step) => {
    const start = starts[step - 1];
    return isMirrored ? size.width - start - widths[step - 1] : start;
  };
  const svg = svgElement("svg", { class: "beam", ...size, viewBox: `0 0 ${size.width} ${size.height}`, role: "group" });
  svg.setAttribute("aria-label", "beam of the search; arrow keys move between its hypotheses");
  widths.forEach((width, number) => {
    const place = { class: "step", x: left(number + 1) + width / 2, y: 14, "aria-hidden": "true" };
    svg.append(svgElement("text", place, String(number + 1)));
  });
  const layout = { left, widths, isMirrored };
  const edges = nodes.filter((node) => node.parent).map((node) => drawEdge(node, layout));
  const boxes = nodes.map((node) => drawNode(node, layout));
  svg.append(...edges, ...boxes);
  const info = element("div", { class: "hypothesis" });
  const select = selector(nodes, info, spaced(beam.pieces), beam.right_to_left);
  addKeys(svg, nodes, isMirrored, select);
  const counts = `${nodes.length} hypotheses in ${steps} steps`;
  section.append(
    element("h2", {}, `Beam: ${counts}`),
    element("p", { class: "note" }, "bold: the best translation · solid frames: complete hypotheses, with the rank of the n best · dashed: left the beam · shade: probability of the token"),
    element("div", { class: "canvas", dir: isMirrored ? "rtl" : "ltr" }, svg),
    info,
    element("details", {}, element("summary", {}, "Beam as a list"), element("ul", { dir: directionOf(text) }, ...branches(roots))),
  );
  select(nodes[beam.n_best[0]] ?? nodes[0]);
}

function classOf(node) {
  const best = node.rank === 0 ? "best" : node.rank < Infinity ? "listed" : "";
  return `${best} ${node.state} ${node.isMuted ? "muted" : ""}`;
}

function drawEdge(node, { left, widths, isMirrored }) {
  const { parent } = node;
  const [before, after] = [left(parent.step), left(node.step)];
  const from = isMirrored ? before : before + widths[parent.step - 1];
  const to = isMirrored ? after + widths[node.step - 1] : after;
  const y = (lane) => AXIS + lane * LANE + BOX / 2;
  const middle = (from + to) / 2;
  const d = `M${from} ${y(parent.lane)}C${middle} ${y(parent.lane)} ${middle} ${y(node.lane)} ${to} ${y(node.lane)}`;
  node.edge = svgElement("path", { class: `edge ${classOf(node)}`, d });
  return node.edge;
}

function drawNode(node, { left, widths }) {
  const [x, y, width] = [left(node.step), AXIS + node.lane * LANE, widths[node.step - 1]];
  const frame = svgElement("rect", { x, y, width, height: BOX, rx: 5 });
  frame.style.setProperty("--weight", Math.exp(node.tokenLogProb).toFixed(3));
  const middle = { x: x + width / 2, y: y + BOX / 2 + FONT / 3, direction: directionOf(node.label) };
  const label = svgElement("text", middle, node.label);
  if (node.place) label.append(svgElement("tspan", { class: "place" }, ` #${node.place}`));
  node.box = svgElement("g", { class: `node ${classOf(node)}`, role: "button", tabindex: "-1" });
  node.box.setAttribute("aria-label", `${node.label}: ${node.title}, step ${node.step}, ${STATES[node.state]}`);
  node.box.append(svgElement("title", {}, node.title), frame, label);
  return node.box;
}

// Return the function that marks a hypothesis and shows its text and its scores.
function selector(nodes, info, isSpaced, isReversed) {
  return (selected) => {
    const path = new Set(pathOf(selected));
    for (const node of nodes) {
      node.box.classList.toggle("on", path.has(node));
      node.edge?.classList.toggle("on", path.has(node));
      node.box.setAttribute("aria-pressed", String(node === selected));
      node.box.setAttribute("tabindex", node === selected ? "0" : "-1");
    }
    const tokens = [...path].filter(({ text }) => text);
    const ordered = isReversed ? tokens.reverse() : tokens;
    const words = ordered.map((node) => {
      const word = element("span", { title: node.title }, node.text);
      word.style.setProperty("--weight", Math.exp(node.tokenLogProb).toFixed(3));
      return word;
    });
    const text = element("p", { dir: directionOf(toText(ordered.map(({ piece }) => piece), isSpaced)) }, ...words);
    const place = selected.place ? `translation ${selected.place} · ` : "";
    const scores = `step ${selected.step} · ${place}${STATES[selected.state]} · ${selected.title}`;
    info.replaceChildren(text, element("p", { class: "note" }, scores));
  };
}

function addKeys(svg, nodes, isMirrored, select) {
  nodes.forEach((node) => {
    node.box.onpointerenter = node.box.onfocus = node.box.onclick = () => select(node);
  });
  svg.onkeydown = (event) => {
    const node = nodes.find(({ box }) => box === document.activeElement);
    if (!node) return;
    const column = nodes.filter(({ step }) => step === node.step).sort((a, b) => a.lane - b.lane);
    const position = column.indexOf(node);
    const [forward, back] = isMirrored ? ["ArrowLeft", "ArrowRight"] : ["ArrowRight", "ArrowLeft"];
    const moves = {
      [forward]: node.children[0],
      [back]: node.parent,
      ArrowUp: column[position - 1],
      ArrowDown: column[position + 1],
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    moves[event.key]?.box.focus();
  };
}

// The translation by one model: its words, their alternatives, and its attention.

import { directionOf, drawCurves, drawMatrix, element } from "./drawing.js";
import {
  UNCHANGED, isChanged, matrixOf, requestOf, stepOf, termOf, weightsOn, withAttention, withLock,
  withPiece, withShare, withText,
} from "./sentence.js";

const SMALLEST = 0.02; // weights below are not drawn
const DIGITS = "123456789";

const percent = (share) => (share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`);
const probability = (score) => Math.exp(Math.min(score, 0));

export class View {
  // root: section of the page; translate(model, requests, signal): returns their translations;
  // say(message): reports an error or a result to the user, "" for none
  constructor(root, translate, say) {
    const part = (name) => root.querySelector(`.${name}`);
    Object.assign(this, { root, translate, say, model: null, segments: [], level: "words" });
    Object.assign(this, { at: 0, t: null, s: null, waiting: null, previewing: null, rounds: 0 });
    this.text = part("translation");
    this.panel = part("panel");
    this.curves = part("curves");
    this.figure = part("figure");
    this.buttons = { undo: part("undo"), reset: part("reset"), copy: part("copy"), level: part("level") };
    this.buttons.undo.onclick = () => this.undo();
    this.buttons.reset.onclick = () => this.apply(UNCHANGED);
    this.buttons.copy.onclick = () => navigator.clipboard?.writeText(this.text.textContent);
    this.buttons.level.onclick = () => {
      this.level = this.level === "words" ? "pieces" : "words";
      Object.assign(this, { t: null, s: null });
      this.render();
    };
    this.text.addEventListener("keydown", (event) => this.press(event));
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.select(this.at, null);
      this.focusWord();
    });
    // Drawing changes the height, which is no reason to draw again.
    let width = 0;
    new ResizeObserver(() => {
      if (root.clientWidth && root.clientWidth !== width) this.drawAttention();
      width = root.clientWidth;
    }).observe(root);
  }

  get segment() {
    return this.segments[this.at];
  }

  get matrix() {
    return this.segment?.matrix;
  }

  // Show another text, or the same by another model. A sentence that was there before keeps its
  // changes, and an edited one its locked words.
  async show(model, sentences) {
    const before = model === this.model ? this.segments : [];
    this.model = model;
    this.segments = sentences.map(({ before: space, text }, number) => {
      const same = before[number]?.text === text ? before[number] : before.find((one) => one.text === text);
      const locked = before[number]?.change.locked ?? {};
      return same
        ? { ...same, space }
        : { space, text, change: { ...UNCHANGED, locked }, history: [], sentence: null, matrix: null };
    });
    this.at = Math.min(this.at, Math.max(0, this.segments.filter((one) => one.text).length - 1));
    if (!before.some((one) => one.text === this.segment?.text)) Object.assign(this, { t: null, s: null });
    await this.update();
  }

  // Translate the sentences that have no translation yet, or another change.
  async update() {
    this.waiting?.abort();
    this.previewing?.abort(); // makes room for this request
    this.waiting = new AbortController();
    const round = ++this.rounds;
    this.root.ariaBusy = "true";
    const segments = this.segments.filter((one) => one.text && (one.tried || !one.sentence));
    try {
      const requests = segments.map((one) => requestOf(one.text, one.change));
      const found = await this.translate(this.model, requests, this.waiting.signal);
      if (round !== this.rounds) return;
      segments.forEach((one, number) => this.receive(one, found[number]));
    } catch (error) {
      if (error.name === "AbortError" || round !== this.rounds) return;
      // A change that the service refuses is taken back.
      segments.filter((one) => one.tried).forEach(takeBack);
      this.say(error.message, error.retryAfter);
      if (![400, 422].includes(error.status)) return;
    } finally {
      if (round === this.rounds) this.root.ariaBusy = "false";
    }
    this.render();
  }

  receive(segment, sentence) {
    if (!sentence.finished && !sentence.pieces.length && isChanged(segment.change)) {
      this.say("No translation satisfies these changes; the last one is taken back.");
      if (segment.tried) takeBack(segment);
      else segment.change = UNCHANGED;
      if (!segment.sentence) this.update();
      return;
    }
    segment.tried = false;
    segment.sentence = sentence;
  }

  async apply(change) {
    const { segment } = this;
    segment.history.push(segment.change);
    Object.assign(segment, { change, tried: true });
    this.say("");
    await this.update();
    // A screen reader speaks the new translation, unless the change was taken back.
    if (segment.change === change && !segment.tried) this.say(segment.sentence.translation, null, "quiet");
  }

  async undo() {
    const change = this.segment?.history.pop();
    if (!change) return;
    Object.assign(this.segment, { change, tried: true });
    await this.update();
  }

  // Drawing.

  render() {
    const hadFocus = [this.text, this.panel].some((part) => part.contains(document.activeElement));
    for (const one of this.segments) one.matrix = one.sentence && matrixOf(one.sentence, this.level);
    if (this.t !== null && this.t >= (this.matrix?.target.length ?? 0)) this.t = null;
    this.text.replaceChildren(...this.segments.flatMap((one, at) => [one.space, this.drawSentence(one, at)]));
    // Not "auto", which ignores isolated sentences.
    this.text.dir = directionOf(this.text.textContent);
    const score = this.segment?.sentence?.score;
    this.root.querySelector(".score").textContent = score === undefined ? "" : `score ${score.toFixed(3)}`;
    this.buttons.undo.disabled = !this.segment?.history.length;
    this.buttons.reset.disabled = !this.segment || !isChanged(this.segment.change);
    this.buttons.level.setAttribute("aria-pressed", this.level === "pieces");
    this.drawPanel();
    this.drawAttention();
    if (hadFocus) this.focusWord();
  }

  drawSentence(segment, at) {
    const { sentence, matrix, change } = segment;
    const span = element("bdi", { class: "sentence", dir: "auto" });
    span.classList.toggle("current", at === this.at && this.segments.length > 1);
    if (!sentence) return span;
    const characters = Array.from(sentence.translation);
    const fixed = change.pieces.length;
    let end = 0;
    matrix.target.forEach((unit, t) => {
      if (unit.start === unit.end) return;
      span.append(characters.slice(end, unit.start).join(""));
      end = unit.end;
      const isSelected = at === this.at && t === this.t;
      const isLocked = termOf(unit) in change.locked;
      const word = element("span", {
        class: "word",
        role: "button",
        tabindex: isSelected || (at === this.at && this.t === null && t === 0) ? "0" : "-1",
        "aria-pressed": String(isSelected),
      }, characters.slice(unit.start, unit.end).join(""));
      if (isLocked) word.setAttribute("aria-description", "locked");
      word.classList.toggle("locked", isLocked);
      word.classList.toggle("fixed", unit.pieces.every((piece) => piece < fixed));
      word.classList.toggle("set", unit.pieces.some((piece) => piece in change.attention));
      const prob = probability(sentence.piece_scores[stepOf(sentence, unit)]);
      word.classList.toggle("doubtful", prob < 0.5);
      word.title = `probability ${percent(prob)}`;
      word.onclick = () => {
        this.select(at, t);
        this.focusWord();
      };
      word.onpointerenter = () => at === this.at && this.mark(t, null);
      word.onpointerleave = () => this.mark(this.t, this.s);
      Object.assign(word.dataset, { at, t });
      span.append(word);
    });
    span.append(characters.slice(end).join(""));
    return span;
  }

  focusWord() {
    const selected = `[data-at="${this.at}"][data-t="${this.t ?? 0}"]`;
    this.text.querySelector(selected)?.focus({ preventScroll: true });
  }

  // Select a target word, whose alternatives are shown; null for none.
  select(at, t) {
    Object.assign(this, { at, t, s: null });
    this.render();
  }

  drawPanel() {
    this.previewing?.abort();
    this.panel.hidden = this.t === null || !this.segment?.sentence;
    if (this.panel.hidden) return;
    const { segment, t } = this;
    const { sentence, matrix } = segment;
    const unit = matrix.target[t];
    const step = stepOf(sentence, unit);
    const choices = [[sentence.pieces[step] ?? "</s>", sentence.piece_scores[step]]]
      .concat((sentence.alternatives[step] ?? []).map((other) => [other.piece, other.score]));
    const items = choices.map(([piece, score], number) => {
      const share = probability(score);
      const button = element("button", { type: "button", disabled: number === 0 },
        element("kbd", {}, number ? DIGITS[number - 1] ?? "" : ""),
        element("bdi", {}, number ? piece : unit.text),
        element("output", {}, percent(share)),
        element("bdi", { class: "rest" }));
      button.style.setProperty("--weight", share);
      button.onclick = () => this.apply(withPiece(segment.change, sentence, step, piece));
      return element("li", {}, button);
    });
    const other = element("form", { class: "other" },
      element("input", { "aria-label": "another beginning of the rest", placeholder: "other words", size: "12" }),
      element("button", {}, "Use"));
    other.onsubmit = (event) => {
      event.preventDefault();
      const text = other.firstChild.value.trim();
      if (text) this.apply(withText(segment.change, sentence, unit, text));
    };
    const lock = element("button", { type: "button", "aria-pressed": String(termOf(unit) in segment.change.locked) },
      element("kbd", {}, "L"), " keep this word");
    lock.disabled = !termOf(unit);
    lock.onclick = () => this.lock();
    this.panel.replaceChildren(
      element("ol", { "aria-label": "alternatives" }, ...items),
      element("div", { class: "tools" }, lock, other, ...this.drawSlider(unit)));
    this.preview(choices, items, step);
  }

  // Show the words that follow each alternative.
  async preview(choices, items, step) {
    const { segment, model } = this;
    const requests = choices.slice(1).map(([piece]) =>
      requestOf(segment.text, withPiece(segment.change, segment.sentence, step, piece)));
    if (!requests.length) return;
    this.previewing = new AbortController();
    const found = await this.translate(model, requests, this.previewing.signal).catch(() => []);
    found.forEach((sentence, number) => {
      const unit = matrixOf(sentence, this.level).target.find((one) => one.pieces.includes(step));
      if (!unit) return;
      const [, word, , rest] = items[number + 1].firstChild.children;
      word.textContent = unit.text;
      rest.textContent = Array.from(sentence.translation).slice(unit.end).join("");
    });
  }

  // A slider for the attention of a target word to one source word.
  drawSlider(unit) {
    const { segment, matrix, t } = this;
    if (!matrix.weights.length) return [];
    const largest = matrix.weights[t].indexOf(Math.max(...matrix.weights[t]));
    const chosen = this.s ?? largest;
    const list = element("select", { "aria-label": "source word" },
      ...matrix.source.map((one, s) => element("option", { value: String(s) }, one.text)));
    const range = element("input", { type: "range", min: "0", max: "100", "aria-label": "attention in percent" });
    const shown = element("output");
    const show = (s) => {
      list.value = String(s);
      range.value = String(Math.round(100 * matrix.weights[t][s]));
      shown.value = `${range.value} %`;
    };
    show(chosen);
    list.onchange = () => {
      this.s = Number(list.value);
      show(this.s);
      this.mark(t, this.s);
    };
    range.oninput = () => (shown.value = `${range.value} %`);
    range.onchange = () => {
      this.s = Number(list.value);
      const weights = withShare(segment.sentence, unit, matrix.source[this.s], range.value / 100);
      this.apply(withAttention(segment.change, segment.sentence, unit, weights));
    };
    return [element("div", { class: "slider" }, "attends to ", list, range, shown)];
  }

  // Keep the selected word in later translations of the sentence; this one contains it.
  lock() {
    const { segment, matrix, t } = this;
    if (t === null) return;
    segment.history.push(segment.change);
    segment.change = withLock(segment.change, matrix.target, matrix.target[t]);
    this.render();
  }

  drawAttention() {
    const { matrix, segment } = this;
    const isDrawn = Boolean(matrix?.weights.length);
    this.curves.hidden = this.figure.hidden = !isDrawn;
    this.drawn = null;
    if (!isDrawn) return;
    const row = (units, side, kind) => {
      const nodes = units.map((unit, number) => {
        const node = element("bdi", { class: "unit" }, unit.text);
        node.onpointerenter = () => (side === "target" ? this.mark(number, null) : this.mark(null, number));
        node.onpointerleave = () => this.mark(this.t, this.s);
        node.onclick = () => (side === "target" ? this.select(this.at, number) : this.attendTo(number));
        return node;
      });
      const dir = directionOf(side === "target" ? segment.sentence.translation : segment.text);
      return [nodes, element("div", { class: `units ${kind}`, dir }, ...nodes)];
    };
    const [sources, sourceRow] = row(matrix.source, "source", "above");
    const [targets, targetRow] = row(matrix.target, "target", "below");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("aria-hidden", "true");
    this.curves.replaceChildren(sourceRow, targetRow, svg);
    const sides = { source: matrix.source.map((one) => one.text), target: matrix.target.map((one) => one.text) };
    const drawing = drawMatrix(
      { ...sides, weights: matrix.weights, threshold: SMALLEST, width: this.figure.clientWidth },
      (t, s) => !this.painting && this.mark(t, s));
    drawing.onpointerleave = () => !this.painting && this.mark(this.t, this.s);
    this.figure.replaceChildren(drawing);
    this.drawn = { svg, sources, targets, drawing };
    this.markChanges(drawing);
    this.enablePainting(drawing);
    this.mark(this.t, this.s);
  }

  // Frame the rows whose attention was set.
  markChanges(drawing) {
    const { segment, matrix } = this;
    matrix.target.forEach((unit, t) => {
      if (!unit.pieces.some((piece) => piece in segment.change.attention)) return;
      drawing.frame("set", t, 0, matrix.source.length - 1);
    });
  }

  // Dragging along a row of the matrix sets its attention to the words that the pointer crosses.
  enablePainting(drawing) {
    const { matrix } = this;
    let from = null;
    let to = null;
    let painted = null;
    drawing.onpointerdown = (event) => {
      from = to = drawing.cellAt(event);
      if (!from || event.button > 0) return;
      this.painting = true;
      drawing.setPointerCapture(event.pointerId);
      event.preventDefault();
    };
    drawing.addEventListener("pointermove", (event) => {
      const cell = this.painting && drawing.cellAt(event);
      if (!cell) return;
      to = cell;
      this.mark(from.t, null);
      painted?.remove();
      painted = drawing.frame("painted", from.t, Math.min(from.s, to.s), Math.max(from.s, to.s));
    });
    const stop = (isDone) => {
      if (!this.painting) return;
      this.painting = false;
      painted?.remove();
      if (!isDone) return this.mark(this.t, this.s);
      Object.assign(this, { t: from.t, s: from.s });
      if (from.s === to.s) return this.render(); // a click selects, and the panel has a slider
      const units = matrix.source.slice(Math.min(from.s, to.s), Math.max(from.s, to.s) + 1);
      this.attend(units);
    };
    drawing.onpointerup = () => stop(true);
    drawing.onpointercancel = () => stop(false);
  }

  // Set the attention of the selected target word to a source word.
  attendTo(s) {
    if (this.t === null) return this.mark(null, s);
    this.s = s;
    this.attend([this.matrix.source[s]]);
  }

  attend(units) {
    const { segment, matrix, t } = this;
    const weights = weightsOn(segment.sentence, units);
    this.apply(withAttention(segment.change, segment.sentence, matrix.target[t], weights));
  }

  // Emphasize a target word, a source word, or both with their weights.
  mark(t, s) {
    if (!this.drawn) return;
    const { weights } = this.matrix;
    const { svg, sources, targets, drawing } = this.drawn;
    const weightOf = (row, column) => weights[row][column];
    sources.forEach((node, number) => {
      node.classList.toggle("selected", number === s);
      node.style.setProperty("--weight", t === null ? 0 : weightOf(t, number));
    });
    targets.forEach((node, number) => {
      node.classList.toggle("selected", number === t);
      node.style.setProperty("--weight", s === null || t !== null ? 0 : weightOf(number, s));
    });
    drawing.mark(t, s);
    drawCurves(svg, sources, targets, weights, SMALLEST, (row, column) => (t === null ? column === s : row === t));
  }

  // The keyboard, on a word of the translation.
  press(event) {
    const number = DIGITS.indexOf(event.key);
    if (event.ctrlKey || event.metaKey || event.altKey) {
      if (event.key === "z" && !event.shiftKey && !event.altKey) {
        event.preventDefault();
        this.undo();
      }
      return;
    }
    const words = [...this.text.querySelectorAll(".word")];
    const position = words.indexOf(document.activeElement);
    const forward = getComputedStyle(event.target).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key] * (forward === "ArrowRight" ? 1 : -1);
    if (step && words[position + step]) {
      const { at, t } = words[position + step].dataset;
      this.select(Number(at), Number(t));
    } else if (event.key === "Enter" || event.key === " " || event.key === "ArrowDown") {
      if (this.t === null && position >= 0) document.activeElement.click();
      else this.panel.querySelector("button:enabled")?.focus();
    } else if (event.key === "Escape") {
      this.select(this.at, null);
    } else if (event.key.toLowerCase() === "l") {
      this.lock();
    } else if (number >= 0 && this.t !== null) {
      this.panel.querySelectorAll("ol button")[number + 1]?.click();
    } else {
      return;
    }
    event.preventDefault();
    if (!this.panel.contains(document.activeElement)) this.focusWord();
  }
}

function takeBack(segment) {
  segment.change = segment.history.pop() ?? UNCHANGED;
  segment.tried = false;
}

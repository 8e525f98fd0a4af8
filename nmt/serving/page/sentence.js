// A translated sentence as data: its words, and the changes that a user makes to it.
//
// A sentence is an object of /v1/translate: source, translation, pieces, spans, attention, ...
// A change is {pieces, prefix, attention, locked}: first pieces, or text, of the translation;
// attention weights by step; and words that it keeps, each with the number of its occurrences.

export const UNCHANGED = Object.freeze({ pieces: [], prefix: "", attention: {}, locked: {} });
const END = "</s>";

// Return the units of one side: words at white space, or pieces. Each has its text, the characters
// it covers and its pieces. Languages without spaces have pieces only.
export function unitsOf(text, spans, pieces, level) {
  const characters = Array.from(text); // spans count code points
  const bySpan = pieces.map((piece, number) => {
    const [start, end] = spans[number] ?? [0, 0];
    return { text: characters.slice(start, end).join("") || piece, start, end, pieces: [number] };
  });
  if (level === "pieces") return bySpan;
  const words = [];
  let start = null;
  characters.concat(" ").forEach((character, position) => {
    const isSpace = /\s/u.test(character);
    if (!isSpace && start === null) start = position;
    if (isSpace && start !== null) {
      const word = characters.slice(start, position).join("");
      words.push({ text: word, start, end: position, pieces: [] });
      start = null;
    }
  });
  if (words.length < 2) return bySpan;
  // A piece without characters, such as a space of its own, belongs to the word after it.
  for (const { start: first, end, pieces: [number] } of bySpan) {
    const word = words.find((one) => (first === end ? one.end > first : one.start < end && first < one.end));
    (word ?? words.at(-1)).pieces.push(number);
  }
  return words.filter((word) => word.pieces.length);
}

// Return both sides of a sentence at a level, </s> included, and the weights between their units.
export function matrixOf(sentence, level) {
  const source = unitsOf(sentence.source, sentence.source_spans, sentence.source_pieces, level);
  const target = unitsOf(sentence.translation, sentence.spans, sentence.pieces, level);
  const isWords = level === "words" && source.length > 1 && target.length > 1;
  if (level === "words" && !isWords) return matrixOf(sentence, "pieces");
  const weights = sentence.attention ?? [];
  addEnd(source, sentence.source_pieces.length, weights[0]?.length ?? 0);
  addEnd(target, sentence.pieces.length, sentence.piece_scores.length);
  return {
    source,
    target,
    // A target word attends as its pieces do on average, to all pieces of a source word.
    weights: weights.length === 0 ? [] : target.map((unit) => source.map((other) =>
      sum(unit.pieces.map((t) => sum(other.pieces.map((s) => weights[t][s])))) / unit.pieces.length)),
  };
}

function addEnd(units, pieces, positions) {
  if (positions <= pieces) return;
  const end = units.at(-1)?.end ?? 0;
  units.push({ text: END, start: end, end, pieces: [pieces] });
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

// The step at which a unit is decided: that of its first piece with characters.
export function stepOf(sentence, unit) {
  const visible = unit.pieces.find((number) => {
    const [start, end] = sentence.spans[number] ?? [0, 1];
    return end > start;
  });
  return visible ?? unit.pieces[0];
}

// Return the change that puts a piece in place of that of a step; the rest is translated anew.
export function withPiece(change, sentence, step, piece) {
  return {
    ...change,
    prefix: "",
    pieces: [...sentence.pieces.slice(0, step), piece],
    attention: before(change.attention, step),
  };
}

// Return the change that puts a text in place of a unit and all that follows it.
export function withText(change, sentence, unit, text) {
  const start = Array.from(sentence.translation).slice(0, unit.start).join("");
  return { ...change, prefix: start + text, pieces: [], attention: {} };
}

// Return the change that sets the attention of a unit, given the weight of each source piece. The
// pieces before it stay.
export function withAttention(change, sentence, unit, weights) {
  const [first] = unit.pieces;
  const attention = before(change.attention, first);
  for (const step of unit.pieces) attention[step] = weights;
  return { ...change, prefix: "", pieces: sentence.pieces.slice(0, first), attention };
}

function before(attention, step) {
  return Object.fromEntries(Object.entries(attention).filter(([other]) => other < step));
}

// Return the weight of each source piece if a unit attends equally to some source units.
export function weightsOn(sentence, units) {
  const weights = Array(sentence.attention[0].length).fill(0);
  for (const unit of units) {
    for (const piece of unit.pieces) weights[piece] = 1 / units.length / unit.pieces.length;
  }
  return weights;
}

// Return the weights of a unit, of which the given share is on one source unit, and the rest is
// divided as before.
export function withShare(sentence, unit, source, share) {
  const rows = unit.pieces.map((step) => sentence.attention[step]);
  const mean = rows[0].map((_, s) => sum(rows.map((row) => row[s])) / rows.length);
  const inside = sum(source.pieces.map((s) => mean[s]));
  const outside = sum(mean) - inside;
  const others = mean.length - source.pieces.length;
  return mean.map((weight, s) => {
    const isInside = source.pieces.includes(s);
    const [total, count, part] = isInside
      ? [inside, source.pieces.length, share] : [outside, others, 1 - share];
    return total > 1e-6 ? (weight / total) * part : part / count;
  });
}

// The word of a unit as a term: without punctuation, which belongs to the sentence.
export function termOf(unit) {
  return unit.text.trim().replace(/^[\p{P}\p{S}]+|[\p{P}\p{S}]+$/gu, "");
}

// Return the change with a word locked in all its occurrences, or free again.
export function withLock(change, units, unit) {
  const term = termOf(unit);
  const locked = { ...change.locked };
  if (term in locked) delete locked[term];
  else if (term && term !== END) locked[term] = units.filter((one) => termOf(one) === term).length;
  return { ...change, locked };
}

export function isChanged(change) {
  return change.pieces.length > 0 || change.prefix !== "" || Object.keys(change.attention).length > 0
    || Object.keys(change.locked).length > 0;
}

// Return a change as the fields of a request.
export function requestOf(text, change) {
  const request = { text };
  if (change.prefix) request.prefix = change.prefix;
  if (change.pieces.length) request.pieces = change.pieces;
  if (Object.keys(change.attention).length) request.attention = change.attention;
  const terms = Object.entries(change.locked).flatMap(([term, count]) => Array(count).fill(term));
  if (terms.length) request.terms = terms;
  return request;
}

// A sentence of more than 500 characters is divided at spaces, as the service accepts no longer ones.
const PARTS = /.{1,500}(?:\s+|$)|.{1,500}/gsu;

// Return the sentences of a text and the white space before each; the last one may be empty.
export function sentencesOf(text, language) {
  const segmenter = segmenterOf(language);
  const found = [];
  let between = "";
  for (const line of text.split(/(\r?\n)/u)) {
    const segments = Array.from(segmenter.segment(line), (one) => one.segment);
    for (const part of segments.flatMap((one) => one.match(PARTS))) {
      const sentence = part.trim();
      const start = part.indexOf(sentence);
      if (sentence) found.push({ before: between + part.slice(0, start), text: sentence });
      between = sentence ? part.slice(start + sentence.length) : between + part;
    }
  }
  return between ? [...found, { before: between, text: "" }] : found;
}

// The suffix of a training file need not be the code of a language.
function segmenterOf(language) {
  try {
    return new Intl.Segmenter(language || undefined, { granularity: "sentence" });
  } catch {
    return new Intl.Segmenter(undefined, { granularity: "sentence" });
  }
}

// The sentences of two systems side by side. All texts are set as text, never as HTML.
const PAGE = 50;
const { systems, sentences } = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const [first, second] = [element("first"), element("second")];
const length = (row) => row[0].split(/\s+/).length;
let found = [];

function create(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Words that no reference has, as many times as they are missing.
function marked(text, references) {
  const line = create("dd");
  line.dir = "auto";
  const counts = references.map((reference) => {
    const count = new Map();
    for (const word of reference.split(/\s+/)) count.set(word, (count.get(word) ?? 0) + 1);
    return count;
  });
  for (const part of text.split(/(\s+)/)) {
    let known = !part.trim();
    for (const count of counts) {
      const left = count.get(part) ?? 0;
      known ||= left > 0;
      count.set(part, left - 1);
    }
    line.append(known ? part : create("u", part));
  }
  return line;
}

function entry([number, row]) {
  const [source, references, texts, scores] = row;
  const item = create("li"), list = create("dl");
  const add = (name, value, className) => list.append(create("dt", name, className), value);
  const plain = (text) => Object.assign(create("dd", text), { dir: "auto" });
  add(String(number + 1), plain(source));
  for (const reference of references) add("reference", plain(reference));
  for (const [select, other, name] of [[first, second, "first"], [second, first, "second"]]) {
    const score = scores[select.value];
    const better = score > scores[other.value] ? "better" : "";
    const label = `${name === "first" ? "A" : "B"} ${score.toFixed(1)}`;
    add(label, marked(texts[select.value], references), `${name} ${better}`);
  }
  item.append(list);
  return item;
}

function more() {
  const list = element("sentences");
  list.append(...found.slice(list.children.length, list.children.length + PAGE).map(entry));
  element("more").hidden = list.children.length >= found.length;
}

function update() {
  const [a, b] = [first.value, second.value];
  const wanted = element("filter").value.toLowerCase();
  const difference = ([, row]) => row[3][a] - row[3][b];
  const tests = {
    all: () => true,
    differ: ([, row]) => row[2][a] !== row[2][b],
    first: (one) => difference(one) > 0,
    second: (one) => difference(one) < 0,
    tie: (one) => difference(one) === 0,
  };
  const orders = {
    text: (one, other) => one[0] - other[0],
    difference: (one, other) => Math.abs(difference(other)) - Math.abs(difference(one)),
    short: (one, other) => length(one[1]) - length(other[1]),
    long: (one, other) => length(other[1]) - length(one[1]),
    worst: (one, other) => one[1][3][a] - other[1][3][a],
  };
  const contains = ([, [source, references, texts]]) =>
    [source, ...references, texts[a], texts[b]].some((text) => text.toLowerCase().includes(wanted));
  const all = [...sentences.entries()].filter(contains);
  found = all.filter(tests[element("show").value]);
  found.sort((one, other) => orders[element("order").value](one, other) || one[0] - other[0]);
  const count = (name) => all.filter(tests[name]).length;
  element("counts").textContent =
    `A is better in ${count("first")} sentences, B in ${count("second")}; ` +
    `${count("tie")} have equal scores. Shown: ${found.length}.`;
  element("sentences").replaceChildren();
  more();
}

systems.forEach((name, number) => {
  first.append(new Option(name, number));
  second.append(new Option(name, number));
});
second.value = String(Math.min(1, systems.length - 1));
element("controls").addEventListener("input", update);
element("controls").addEventListener("submit", (event) => event.preventDefault());
element("more").addEventListener("click", more);
update();

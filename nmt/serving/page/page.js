// The page of nmt-serve: a text, and its translation by one or two models.

import { loadModels, loadSettings, translate } from "./api.js";
import { element } from "./drawing.js";
import { sentencesOf } from "./sentence.js";
import { View } from "./view.js";

const PAUSE = 250; // milliseconds without a key before a text is translated
const $ = (id) => document.getElementById(id);

let models = [];
let limit = Infinity; // characters
let timer = 0;
const views = [addView(), addView()];

function addView() {
  const section = $("view").content.cloneNode(true).firstElementChild;
  $("views").append(section);
  const send = (model, requests, signal) => translate(model, requests, $("key").value, signal);
  return new View(section, send, say);
}

// Show a message. After a refusal for lack of room the text is sent again; "quiet" is only spoken.
function say(message, retryAfter = null, kind = "") {
  $("message").textContent = message;
  $("message").className = kind;
  clearTimeout(timer);
  if (retryAfter) timer = setTimeout(showText, 1000 * retryAfter);
}

function language(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
  } catch {
    return code;
  }
}

function showText() {
  const text = $("text").value;
  const length = Array.from(text).length;
  $("count").value = Number.isFinite(limit) ? `${length} of ${limit}` : "";
  $("count").classList.toggle("over", length > limit);
  if (length > limit) return say(`The text is longer than ${limit} characters.`);
  say("");
  const chosen = [$("model").value, $("other").value];
  views.forEach((view, number) => {
    const model = models.find((one) => one.name === chosen[number]);
    view.root.hidden = !model;
    if (!model) return;
    view.root.querySelector(".name").textContent = model.name;
    view.text.lang = model.target;
    view.show(model.name, sentencesOf(text, model.source));
  });
  $("text").lang = models.find((one) => one.name === chosen[0])?.source ?? "";
}

// Only models from the same language can be compared.
function fillOthers() {
  const first = models.find((one) => one.name === $("model").value);
  const others = models.filter((one) => one !== first && one.source === first.source);
  const before = $("other").value;
  $("other").replaceChildren(element("option", { value: "" }, "none"), ...others.map(option));
  $("other").value = others.some((one) => one.name === before) ? before : "";
  $("comparing").hidden = !others.length;
}

const option = (one) =>
  element("option", { value: one.name }, `${one.name}: ${language(one.source)} to ${language(one.target)}`);

async function start() {
  try {
    let settings;
    [models, settings] = await Promise.all([loadModels(), loadSettings()]);
    limit = settings.charLimit ?? Infinity;
    $("locked").hidden = !settings.keyRequired;
  } catch (error) {
    return say(error.message);
  }
  $("model").replaceChildren(...models.map(option));
  fillOthers();
  $("model").onchange = () => {
    fillOthers();
    showText();
  };
  $("other").onchange = showText;
  $("key").onchange = showText;
  $("text").oninput = () => {
    clearTimeout(timer);
    timer = setTimeout(showText, PAUSE);
  };
  showText();
}

start();

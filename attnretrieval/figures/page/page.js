"use strict";
/* The page of an explanation. explanation.py says what is in the data; all of its texts are written as text, never as HTML.
   The words of the page itself stand in words.json and are called by their key: `say("hint")`.

   An item is a word or a region. A view says how a map A is read: its rows are items of the kind `rows`, its columns of the
   kind `columns`. A chosen item lights its row ("looks at"), or its column where it is one ("is looked at by"). */

const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const say = (key, parts = {}) => data.say[key].replace(/\{(\w+)\}/g, (_, name) => parts[name]);

const LAYERS = [
  {
    name: say("layer_cross"),
    note: say("note_cross"),
    views: [
      {name: say("text_to_image"), map: "A_t2v", rows: "word", columns: "region"},
      {name: say("image_to_text"), map: "A_v2t", rows: "region", columns: "word"},
    ],
  },
  {
    name: say("layer_text"),
    note: say("note_text"),
    views: [
      {name: say("looks"), map: "A_t", rows: "word", columns: "word"},
      {name: say("looked_at"), map: "A_t", rows: "word", columns: "word", byColumn: true},
    ],
  },
  {
    name: say("layer_image"),
    note: say("note_image"),
    views: [
      {name: say("looks"), map: "A_v", rows: "region", columns: "region"},
      {name: say("looked_at"), map: "A_v", rows: "region", columns: "region", byColumn: true},
    ],
  },
].filter(layer => layer.views[0].map in data.maps);

const LISTED = 3;                       // items that the sentence names
const CROWDED = 18;                     // from this end of the scale on, 0 and 1 would stand on each other

let layer = LAYERS[0], view = layer.views[0], head = data.head;
let chosen = null;                      // {kind, index}, or null
const buttons = {word: [], region: []};
const labels = {word: data.words.map(word => `“${word}”`), region: data.regions};

// ---- what lights up ----------------------------------------------------------------------------------------------------

const matrix = () => data.maps[view.map].heads[head];

/** What the item lights: which kind, their weights in times uniform, by its row or its column; null if it takes no part. */
function lightOf(item) {
  const A = matrix(), columns = A[0].length;
  if (item.kind === view.rows && !view.byColumn)
    return {kind: view.columns, by: "row", weights: A[item.index].map(a => a * columns)};
  if (item.kind === view.columns)
    return {kind: view.rows, by: "column", weights: A.map(row => row[item.index] * columns)};
  return null;
}

const limitOf = () => data.maps[view.map].limits[head];

function colourOf(weight) {
  const last = data.colours.length - 1;
  const place = Math.round(last * Math.min(1, weight / limitOf()));
  const [r, g, b] = [1, 3, 5].map(i => parseInt(data.colours[place].slice(i, i + 2), 16));
  return {r, g, b, opacity: data.opacity[place]};
}

/** Black or white, whichever is easier to read on this colour over white. */
function inkOn({r, g, b, opacity}) {
  const [R, G, B] = [r, g, b].map(c => ((opacity * c + (1 - opacity) * 255) / 255) ** 2.2);
  return 0.2126 * R + 0.7152 * G + 0.0722 * B > 0.18 ? "black" : "white";
}

const rounded = weight => weight.toFixed(weight < 9.95 ? 1 : 0);
const times = weight => `${rounded(weight)}×`;

function show() {
  const light = chosen && lightOf(chosen);
  for (const kind of ["word", "region"]) {
    const lit = light && light.kind === kind, weights = lit ? light.weights : null;
    const most = lit ? weights.indexOf(Math.max(...weights)) : -1;
    buttons[kind].forEach((button, i) => {
      const colour = lit ? colourOf(weights[i]) : null;
      const paint = colour && `rgba(${colour.r}, ${colour.g}, ${colour.b}, ${colour.opacity})`;
      button.style.background = !paint ? "" : kind === "word" ? `linear-gradient(${paint}, ${paint}), white` : paint;
      if (kind === "word") {
        button.style.color = colour ? inkOn(colour) : "";
        button.lastChild.textContent = lit ? times(weights[i]) : "";
      }
      button.classList.toggle("most", i === most);
      button.classList.toggle("chosen", Boolean(light) && chosen.kind === kind && chosen.index === i);
    });
  }
  $("picture").classList.toggle("lit", Boolean(light) && light.kind === "region");
  announce(light);
  markTable(light);
}

function announce(light) {
  const lines = [];
  if (light) {
    const order = light.weights.map((weight, i) => i).sort((i, j) => light.weights[j] - light.weights[i]).slice(0, LISTED);
    const name = labels[chosen.kind][chosen.index];
    const sentence = document.createElement("div"), list = document.createElement("ol");
    const spoken = say(light.by === "row" ? "item_looks" : "item_looked_at", {item: name});
    sentence.textContent = spoken[0].toUpperCase() + spoken.slice(1);
    for (const i of order) {
      const entry = document.createElement("li");
      entry.textContent = say("weight", {item: labels[light.kind][i], weight: rounded(light.weights[i])});
      list.append(entry);
    }
    lines.push(sentence, list);
  } else {
    lines.push(say("hint"));
  }
  $("says").replaceChildren(...lines);
}

// ---- words and regions as buttons --------------------------------------------------------------------------------------

function addButtons() {
  const picture = $("picture"), image = document.createElement("img");
  image.src = data.image;
  image.alt = data.title;
  picture.append(image);
  document.documentElement.style.setProperty("--ratio", data.width / data.height);
  data.boxes.forEach(([x0, y0, x1, y1], i) => {
    const button = addButton(picture, "region", i, say("region_label", {region: data.regions[i]}));
    Object.assign(button.style, {
      left: `${100 * x0}%`, top: `${100 * y0}%`, width: `${100 * (x1 - x0)}%`, height: `${100 * (y1 - y0)}%`,
    });
  });
  $("words").lang = data.text_language;
  data.words.forEach((word, i) => {
    const label = say("word_label", {word, number: i + 1, count: data.words.length});
    const button = addButton($("words"), "word", i, label);
    const text = document.createElement("span");
    text.textContent = word;
    button.append(text, document.createElement("small"));
  });
  // the gap between two words is not left dark: only what leaves them all puts the light out
  for (const left of [$("words"), ...buttons.region]) left.addEventListener("pointerleave", () => choose(focused()));
}

function addButton(parent, kind, index, label) {
  const button = document.createElement("button"), item = {kind, index};
  button.type = "button";
  button.tabIndex = index === 0 ? 0 : -1;
  button.setAttribute("aria-label", label);
  button.addEventListener("pointerenter", () => choose(item));
  button.addEventListener("focus", () => { keepTabStop(kind, index); choose(item); });
  button.addEventListener("blur", () => choose(null));
  button.addEventListener("click", () => button.focus());         // not every browser focuses what is clicked
  button.addEventListener("keydown", event => move(event, kind, index));
  parent.append(button);
  buttons[kind].push(button);
  return button;
}

function choose(item) {
  chosen = item;
  show();
}

function focused() {
  for (const kind of ["word", "region"]) {
    const index = buttons[kind].indexOf(document.activeElement);
    if (index >= 0) return {kind, index};
  }
  return null;
}

/** Tab reaches each group once, at the item that was visited last. */
function keepTabStop(kind, index) {
  buttons[kind].forEach((button, i) => { button.tabIndex = i === index ? 0 : -1; });
}

const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

function move(event, kind, index) {
  const all = buttons[kind], arrow = ARROWS[event.key];
  let next;
  if (event.key === "Home") next = 0;
  else if (event.key === "End") next = all.length - 1;
  else if (event.key === "Escape") return all[index].blur();
  else if (!arrow || event.ctrlKey || event.metaKey || event.altKey) return;
  else if (kind === "word") next = index + arrow[0] + arrow[1];
  else next = nearest(index, arrow);
  event.preventDefault();
  if (next !== undefined && all[next]) all[next].focus();
}

/** The nearest region whose centre lies in this direction: right for a grid, and for boxes that are none. */
function nearest(index, [right, down]) {
  const centres = data.boxes.map(([x0, y0, x1, y1]) => [(x0 + x1) / 2 * data.width, (y0 + y1) / 2 * data.height]);
  let best, least = Infinity;
  centres.forEach(([x, y], i) => {
    const dx = x - centres[index][0], dy = y - centres[index][1];
    const along = dx * right + dy * down, across = Math.abs(dx * down) + Math.abs(dy * right);
    if (along > 1e-6 && along + 3 * across < least) [best, least] = [i, along + 3 * across];
  });
  return best;
}

// ---- controls ----------------------------------------------------------------------------------------------------------

function addChoice(parent, group, name, checked, onChoose) {
  const label = document.createElement("label"), input = document.createElement("input"), text = document.createElement("span");
  Object.assign(input, {type: "radio", name: group, checked});
  input.addEventListener("change", onChoose);
  text.textContent = name;
  label.append(input, text);
  parent.append(label);
}

function setLayer(newLayer) {
  layer = newLayer;
  $("views").querySelectorAll("label").forEach(label => label.remove());
  layer.views.forEach((v, i) => addChoice($("views"), "view", v.name, i === 0, () => setView(v)));
  setView(layer.views[0]);
  const names = data.maps[view.map].names;
  head = layer === LAYERS[0] ? data.head : 0;
  $("head").replaceChildren(...names.map((name, i) => new Option(name, i, i === head, i === head)));
  $("head").disabled = names.length === 1;
  refresh();
}

function missingLayers() {
  const text = "A_t" in data.maps, image = "A_v" in data.maps;
  return text && image ? "" : say(text ? "no_image_layer" : image ? "no_text_layer" : "no_own_layers");
}

function setView(newView) {
  view = newView;
  refresh();
}

function refresh() {
  head = Math.min(head, data.maps[view.map].heads.length - 1);
  $("note").textContent = layer.note;
  $("missing").textContent = layer === LAYERS[0] ? missingLayers() : "";
  for (const [id, kind] of [["words", "word"], ["picture", "region"]])
    setIdle($(id), buttons[kind], view.rows !== kind && view.columns !== kind);
  drawScale();
  if (!$("table").hidden) drawTable();
  show();
}

/** Items that take no part are paler, and are said to be off. */
function setIdle(group, items, idle) {
  group.classList.toggle("idle", idle);
  for (const button of items) button.setAttribute("aria-disabled", idle);
}

function drawScale() {
  const limit = limitOf();
  const stops = data.colours.map((_, i) => {
    const {r, g, b, opacity} = colourOf(limit * i / (data.colours.length - 1));
    return `rgba(${r}, ${g}, ${b}, ${opacity})`;
  });
  $("bar").style.backgroundImage = `linear-gradient(to right, ${stops.join(", ")})`;
  const ticks = [limit < CROWDED ? "0" : "", say("uniform"), times(limit)].map(text => {
    const tick = document.createElement("span");
    tick.textContent = text;
    return tick;
  });
  ticks[1].style.left = `${100 / limit}%`;
  $("ticks").replaceChildren(...ticks);
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").setAttribute("aria-pressed", dark);
}

// ---- the numbers -------------------------------------------------------------------------------------------------------

const TABLES = {
  A_t2v: "table_of_words_and_regions", A_v2t: "table_of_regions_and_words", A_t: "table_of_words", A_v: "table_of_regions",
};

function drawTable() {
  const A = matrix(), table = document.createElement("table"), caption = table.createCaption();
  caption.textContent = say(TABLES[view.map], {
    map: view.map, head: data.maps[view.map].names[head], uniform: (1 / A[0].length).toFixed(3),
  });
  const heading = table.createTHead().insertRow();
  for (const text of ["", ...data[`${view.columns}s`], say("sum")]) heading.append(cell("th", text));
  const body = table.createTBody();
  A.forEach((row, i) => {
    const line = body.insertRow(), sum = row.reduce((a, b) => a + b, 0);
    line.append(cell("th", data[`${view.rows}s`][i]));
    for (const a of [...row, sum]) line.append(cell("td", a.toFixed(3)));
  });
  $("table").replaceChildren(table);
}

function cell(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

/** The row or the column that is lit. */
function markTable(light) {
  if ($("table").hidden) return;
  for (const marked of $("table").querySelectorAll(".chosen")) marked.classList.remove("chosen");
  if (!light) return;
  const rows = [...$("table").querySelectorAll("tr")];
  if (light.by === "row") rows[chosen.index + 1].classList.add("chosen");
  else for (const row of rows) row.children[chosen.index + 1].classList.add("chosen");
}

function toggleNumbers() {
  const hidden = !$("table").hidden;
  $("table").hidden = hidden;
  $("numbers").setAttribute("aria-expanded", !hidden);
  $("numbers").textContent = say(hidden ? "show_numbers" : "hide_numbers");
  if (!hidden) drawTable();
  show();
}

// ---- start -------------------------------------------------------------------------------------------------------------

$("score").textContent = data.score === null ? "" : say("score", {score: data.score.toFixed(4)});
addButtons();
LAYERS.forEach((l, i) => addChoice($("layers"), "layer", l.name, i === 0, () => setLayer(l)));
$("layers").hidden = LAYERS.length === 1;
$("head").addEventListener("change", () => { head = Number($("head").value); refresh(); });
$("numbers").addEventListener("click", toggleNumbers);
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
setTheme(prefersDark.matches);
prefersDark.addEventListener("change", event => setTheme(event.matches));
$("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));
setLayer(LAYERS[0]);

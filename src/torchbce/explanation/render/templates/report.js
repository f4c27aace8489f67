"use strict";
// The curve -log q with items that can be moved: by the mouse, a finger, or the sliders in the table.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640, HEIGHT = 320, LEFT = 44, BOTTOM = 40, TOP = 24, RIGHT = 12;
const data = JSON.parse(document.getElementById("explored").textContent);
const least = 1e-4, most = 1 - 1e-4;

const lossOf = (item) => {
  if (!item.moved) return item.loss;  // from the logit, where there is one: with all of its digits
  const p = item.probability, y = item.target;
  const term = (share, q) => share === 0 ? 0 : share * Math.min(100, -Math.log(q));
  return item.weight * (term(y, p) + term(1 - y, 1 - p));
};
// What the mean changes by for each unit of the item's logit.
const gradientOf = (item) => item.weight * (item.probability - item.target) / data.count;
// Where on the curve: the probability given to the target.
const given = (item) => item.target * item.probability + (1 - item.target) * (1 - item.probability);

const highest = () => Math.max(2, ...data.items.map((item) => Math.min(10, lossOf(item) / (item.weight || 1))));
let peak = highest();
const x = (q) => LEFT + q * (WIDTH - LEFT - RIGHT);
const y = (loss) => HEIGHT - BOTTOM - Math.min(loss, peak) / peak * (HEIGHT - BOTTOM - TOP);

function element(name, attributes, parent, text) {
  const made = document.createElementNS(SVG, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function draw(svg) {
  svg.replaceChildren();
  element("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(0), class: "axis" }, svg);
  element("line", { x1: x(0), y1: y(0), x2: x(0), y2: y(peak), class: "axis" }, svg);
  for (let q = 0; q <= 1.001; q += 0.2)
    element("text", { x: x(q), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, svg, q.toFixed(1));
  for (let loss = 0; loss <= peak; loss += Math.ceil(peak / 5))
    element("text", { x: LEFT - 8, y: y(loss) + 4, "text-anchor": "end" }, svg, loss.toString());
  element("text", { x: WIDTH / 2, y: HEIGHT - 4, "text-anchor": "middle" }, svg, "probability given to the target");
  let path = "";
  for (let i = 0; i <= 300; i++) {
    const q = Math.exp(-peak * (1 - i / 300));
    path += `${i ? "L" : "M"}${x(q).toFixed(1)} ${y(-Math.log(q)).toFixed(1)}`;
  }
  element("path", { d: path, class: "curve" }, svg);
  data.items.forEach((item, i) => {
    const loss = lossOf(item) / (item.weight || 1);
    element("line", { x1: x(given(item)), x2: x(given(item)), y1: y(0), y2: y(loss), class: "drop" }, svg);
    const dot = element("circle", { cx: x(given(item)), cy: y(loss), r: 8, class: "item" }, svg);
    element("text", { x: x(given(item)) + 11, y: y(loss) - 7 }, svg, item.name);
    dot.dataset.item = i;
  });
}

function tell() {
  let total = data.rest;
  data.items.forEach((item, i) => {
    total += lossOf(item);
    const row = document.getElementById(`item-${i}`);
    row.querySelector("input").value = item.probability;
    row.querySelector(".output").textContent = item.probability.toFixed(4);
    row.querySelector(".nats").textContent = lossOf(item).toFixed(4);
    row.querySelector(".gradient").textContent = gradientOf(item).toPrecision(3);
  });
  document.getElementById("total").textContent = total.toFixed(4);
  document.getElementById("mean").textContent = (total / data.count).toFixed(6);
}

function explore() {
  const area = document.getElementById("explorer");
  if (!data.items.length) return;
  area.hidden = false;
  const svg = document.getElementById("curve"), start = data.items.map((item) => item.probability);
  const show = () => { draw(svg); tell(); };
  const rescale = () => { peak = highest(); show(); };  // only after a move: the curve stands still under the mouse
  const move = (item, probability) => {
    item.probability = Math.min(most, Math.max(least, probability));
    item.moved = true;
    show();
  };
  let held = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.target.dataset.item === undefined) return;
    held = data.items[event.target.dataset.item];
    svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  svg.addEventListener("pointermove", (event) => {
    if (held === null) return;
    const box = svg.getBoundingClientRect();
    const q = ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
    const soft = 2 * held.target - 1;  // a target of exactly one half stays where it is
    if (soft !== 0) move(held, (q - 1 + held.target) / soft);
  });
  for (const end of ["pointerup", "pointercancel"])
    svg.addEventListener(end, () => { if (held !== null) { held = null; rescale(); } });
  data.items.forEach((item, i) => {
    const slider = document.querySelector(`#item-${i} input`);
    slider.addEventListener("input", () => move(item, +slider.value));
    slider.addEventListener("change", rescale);
  });
  document.getElementById("reset").addEventListener("click", () => {
    data.items.forEach((item, i) => { item.probability = start[i]; item.moved = false; });
    rescale();
  });
  show();
}

// The table of items: a click on a heading sorts, and a second one turns the order around.
function sortable(table) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value;
      const compare = (a, b) => isNaN(value(a)) || isNaN(value(b)) ? value(a).localeCompare(value(b)) : value(a) - value(b);
      body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * compare(a, b)));
    });
  });
}

function filterable(input, table) {
  input.closest("p").hidden = false;
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}

const items = document.getElementById("items");
sortable(items);
filterable(document.getElementById("filter"), items);
explore();

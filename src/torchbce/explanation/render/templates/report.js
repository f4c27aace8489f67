"use strict";
// The curve -log q with items that can be moved: by the mouse, a finger, or the sliders in the table.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640, HEIGHT = 320, LEFT = 44, BOTTOM = 40, TOP = 24, RIGHT = 12;
const data = JSON.parse(document.getElementById("explored").textContent);
const least = 1e-4, most = 1 - 1e-4;

const lossOf = (item) => {
  if (!item.moved) return item.loss;  // from the logit, where there is one: with all of its digits
  const p = item.probability, y = item.target;
  const term = (part, q) => part === 0 ? 0 : part * Math.min(100, -Math.log(q));
  return item.weight * (term(y, p) + term(1 - y, 1 - p));
};
// What the mean changes by for each unit of the item's logit.
const gradientOf = (item) => item.weight * (item.probability - item.target) / data.count;
// Where on the curve: the probability given to the target.
const given = (item) => item.target * item.probability + (1 - item.target) * (1 - item.probability);

const highest = () => Math.max(2, ...data.items.map((item) => Math.min(100, lossOf(item) / (item.weight || 1))));
let peak = highest();
// The axis is in log odds, where losses that differ lie apart however large they are.
const odds = (q) => Math.log(q / (1 - q)), share = (t) => 1 / (1 + Math.exp(-t));
// Where only the worst are shown, the axis ends a little beyond them.
const nearest = () => data.rest ? Math.min(5, Math.max(...data.items.map((item) => odds(given(item)))) + 1) : 5;
let near = nearest();
const far = () => Math.min(100, peak + 0.5);
const along = (t) => LEFT + (Math.min(near, Math.max(-far(), t)) + far()) / (near + far()) * (WIDTH - LEFT - RIGHT);
const x = (q) => along(odds(q));
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
  element("line", { x1: LEFT, y1: y(0), x2: WIDTH - RIGHT, y2: y(0), class: "axis" }, svg);
  element("line", { x1: LEFT, y1: y(0), x2: LEFT, y2: y(peak), class: "axis" }, svg);
  let end = -Infinity;
  for (const q of [1e-40, 1e-30, 1e-20, 1e-15, 1e-10, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99]) {
    if (-odds(q) > far() || x(q) < end) continue;
    element("text", { x: x(q), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, svg, q.toString());
    end = x(q) + 48;
  }
  for (let loss = 0; loss <= peak; loss += Math.ceil(peak / 5))
    element("text", { x: LEFT - 8, y: y(loss) + 4, "text-anchor": "end" }, svg, loss.toString());
  element("text", { x: WIDTH / 2, y: HEIGHT - 4, "text-anchor": "middle" }, svg, "probability given to the target (log odds)");
  let path = "";
  for (let i = 0; i <= 300; i++) {
    const t = -far() + i / 300 * (near + far());
    path += `${i ? "L" : "M"}${along(t).toFixed(1)} ${y(t < -30 ? -t : Math.log1p(Math.exp(-t))).toFixed(1)}`;
  }
  element("path", { d: path, class: "curve" }, svg);
  const taken = data.items.map((item) => {
    const across = x(given(item)), down = y(lossOf(item) / (item.weight || 1));
    return [across - 8, down - 8, across + 8, down + 8];
  });
  data.items.forEach((item, i) => {
    const loss = lossOf(item) / (item.weight || 1), across = x(given(item)), down = y(loss);
    element("line", { x1: across, x2: across, y1: y(0), y2: down, class: "drop" }, svg);
    const dot = element("circle", { cx: across, cy: down, r: 8, class: "item" }, svg);
    dot.dataset.item = i;
    element("title", {}, dot, item.name);
    label(svg, taken, item.name, across, down);
  });
}

// A name beside its item, where it covers no other name; else it stands in the table alone.
function label(svg, taken, name, across, down) {
  const text = element("text", {}, svg, name);
  const { width, height } = text.getBBox();
  for (const [left, top] of [[11, -height], [11, 4], [-11 - width, 4], [-width / 2, -height - 10], [16, -height - 14], [-16 - width, 18]]) {
    const box = [across + left, down + top, across + left + width, down + top + height];
    const inside = box[0] >= LEFT && box[2] <= WIDTH && box[1] >= 0 && box[3] <= HEIGHT - BOTTOM;
    if (!inside || taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]))
      continue;
    taken.push(box);
    text.setAttribute("x", box[0]);
    text.setAttribute("y", box[1] + height * 0.8);
    return;
  }
  text.remove();
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
  const rescale = () => { peak = highest(); near = nearest(); show(); };  // only after a move: the curve stands still under the mouse
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
    const q = share(((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT) * (near + far()) - far());
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

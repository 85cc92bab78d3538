
const page = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg", HEAVY = new Set(
  ["MatMul", "Conv", "DepthwiseConv", "ConvTranspose", "LSTM", "GRU"]);
const CHARACTER = 7.3, BAR = 20, LINE = 16, PADDING = 10, TITLE_GAP = 14, MOST_SHOWN = 150, MOST_FOUND = 200, LONGEST = 32,
  SMALLEST_FIT = 0.3;
const element = id => document.getElementById(id);
const canvas = element("canvas"), scene = element("scene");
const count = n => n.toLocaleString("en");
const short = text => text.length > LONGEST ? text.slice(0, LONGEST - 1) + "\u2026" : text;

/* ---- boxes: nodes, and groups of them by layer; the page itself is the group `top` */

const top_ = {group: -1, parent: null, children: [], open: true, label: "", cost: [0, 0, 0], states: new Set()};
const groups = page.groups.map((g, i) => (
  {group: i, label: g.name, path: g.path, node: g.node, children: [], open: false, cost: [0, 0, 0], states: new Set()}));
page.groups.forEach((g, i) => { groups[i].parent = g.parent === null ? top_ : groups[g.parent]; });
const nodes = page.nodes.map((n, i) => {
  const box = n.own === undefined ? {index: i, parent: n.group === null ? top_ : groups[n.group]} : groups[n.own];
  return Object.assign(box, {data: n});
});
const above = box => { const found = []; for (let b = box.parent; b; b = b.parent) found.push(b); return found; };
const order = topological();
nodes.forEach((box, i) => {
  box.order = Math.min(order[i], box.order ?? Infinity);
  for (const group of [...above(box), ...(box.group === undefined ? [] : [box])]) {
    group.order = Math.min(order[i], group.order ?? Infinity);
    if (page.nodes[i].state !== "same") group.states.add(page.nodes[i].state);
    const inner = page.nodes[i].cost && above(box).some(g => g.node !== null && g.node !== undefined);
    if (page.nodes[i].cost && !inner) page.nodes[i].cost.forEach((n, k) => { group.cost[k] += n; });
  }
});
for (const box of [...groups, ...nodes.filter(b => b.group === undefined)]) box.parent.children.push(box);
for (const group of [top_, ...groups]) group.children.sort((a, b) => a.order - b.order);

/* A number for each node, greater than those of all that it depends on. */
function topological() {
  const after = page.nodes.map(() => []), missing = new Array(page.nodes.length).fill(0);
  for (const [a, b] of page.edges) { after[a].push(b); missing[b]++; }
  const rank = new Array(page.nodes.length).fill(0), ready = [];
  missing.forEach((n, i) => { if (!n) ready.push(i); });
  while (ready.length) {
    const a = ready.pop();
    for (const b of after[a]) {
      rank[b] = Math.max(rank[b], rank[a] + 1);
      if (!--missing[b]) ready.push(b);
    }
  }
  const sorted = page.nodes.map((_, i) => i).sort((a, b) => rank[a] - rank[b] || a - b), found = [];
  sorted.forEach((i, place) => { found[i] = place; });
  page.nodes.forEach((node, i) => {  // a constant stands just before the first that takes it
    if (node.op === "Constant") found[i] = Math.min(...after[i].map(b => found[b])) - 0.5;
  });
  return found;
}

const isHidden = box => box.group === undefined && box.data.op === "Constant" && !element("constants").checked;
const stateOf = box => {
  if (box.group === undefined || box.data && box.data.state !== "same") return box.data.state;
  return box.states.size === 1 && !box.open && box.states.has("changed") || box.states.size ? "changed" : "same";
};

/* ---- where they stand */

function measure(box) {
  if (box.group !== undefined && box.open) return arrange(box);
  const lines = linesOf(box);
  box.width = Math.max(...lines.map(line => line.length)) * CHARACTER + 2 * PADDING;
  box.height = BAR + (lines.length - 1) * LINE + (lines.length > 1 ? 8 : 0);
}

function linesOf(box) {
  if (box.group !== undefined) {
    const n = box.children.length, op = box.data ? box.data.name : `${n} ${n === 1 ? "node" : "nodes"}`;
    return [`\u25b8 ${short(box.label)}`, short(op)];
  }
  const lines = [short(box.data.op), short(box.data.name)];
  const known = box.data.weight === undefined ? {} : page.weights[box.data.weight];
  if (known.values && known.values.length === 1) lines.push(`= ${number(known.values[0])}`);
  return lines;
}

function arrange(group) {
  const shown = group.children.filter(box => !isHidden(box));
  shown.forEach(measure);
  const place = new Map(shown.map((box, i) => [box, i]));
  const keys = [...group.links.keys()];
  const edges = keys.map(key => group.links.get(key).ends.map(box => place.get(box)));
  const found = layered(shown.map(box => [box.width, box.height]), edges);
  shown.forEach((box, i) => { [box.x, box.y] = found.corners[i]; });
  keys.forEach((key, i) => { group.links.get(key).route = found.routes[i]; });
  const titled = group === top_ ? 0 : BAR;
  group.shown = shown;
  group.width = Math.max(found.width, (group.label.length + 2) * CHARACTER) + 2 * TITLE_GAP;
  group.height = found.height + titled + 2 * TITLE_GAP + (group === top_ ? 0 : 4);
  group.inset = [(group.width - found.width) / 2, titled + TITLE_GAP];
}

/* The box that stands for a node: itself, or the outermost closed group around it. */
function standIn(box) {
  let found = box;
  for (const group of above(box)) if (!group.open) found = group;
  return found;
}

function connect() {
  const edges = new Map();
  for (const group of [top_, ...groups]) group.links = new Map();
  for (const [from, to, type, name] of page.edges) {
    const a = standIn(nodes[from]), b = standIn(nodes[to]);
    if (a === b || isHidden(a) || isHidden(b)) continue;
    const key = `${id(a)} ${id(b)}`;
    if (!edges.has(key)) {
      const around = new Set([a, ...above(a)]), chain = [b, ...above(b)];
      const common = chain.find(box => around.has(box));
      const inside = box => { let b = box; while (b.parent !== common) b = b.parent; return b; };
      if (common === a || common === b) continue;
      const ends = [inside(a), inside(b)], link = `${id(ends[0])} ${id(ends[1])}`;
      if (!common.links.has(link)) common.links.set(link, {ends});
      edges.set(key, {a, b, common, link: common.links.get(link), types: new Map()});
    }
    edges.get(key).types.set(name, type);
  }
  return edges;
}

const id = box => box.group === undefined ? `n${box.index}` : `g${box.group}`;

/* ---- drawing */

function make(name, attributes, parent, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

let selected = null;

function render() {
  const edges = connect();
  arrange(top_);
  top_.x = top_.y = 0;
  const back = document.createElementNS(SVG, "g"), lines = make("g", {}), front = make("g", {}), types = make("g", {});
  (function place(group, x, y) {
    for (const box of group.shown) {
      box.left = x + group.inset[0] + box.x;
      box.top = y + group.inset[1] + box.y;
      box.types = null;
      const isOpen = box.group !== undefined && box.open;
      drawBox(box, isOpen ? back : front, isOpen);
      if (isOpen) place(box, box.left, box.top);
    }
    group.origin = [x + group.inset[0], y + group.inset[1]];
  })(top_, 0, 0);
  for (const edge of edges.values()) drawEdge(edge, lines, types);
  scene.replaceChildren(back, lines, front, types);
}

function drawBox(box, parent, isOpen) {
  const kind = box.group === undefined ? box.data.op : "layer";
  const classes = [kind.replace(/[^A-Za-z0-9_]/g, "_"), stateOf(box), HEAVY.has(kind) ? "heavy" : "",
    box === selected ? "selected" : ""];
  const g = make("g", {class: classes.filter(Boolean).join(" "), "data-id": id(box)}, parent);
  make("title", {}, g, box.group === undefined ? `${box.data.op} ${box.data.name}` : box.path);
  const {left: x, top: y, width, height} = box;
  make("rect", {class: "box", x, y, width, height, rx: 4}, g);
  make("rect", {class: "bar", x, y, width, height: BAR, rx: 4, ...(box.group === undefined ? {} : {"data-fold": "1"})}, g);
  const texts = isOpen ? [`\u25be ${box.label}`] : linesOf(box);
  texts.forEach((text, i) => make("text", {
    class: i ? "soft" : "title", x: x + PADDING, y: y + (i ? BAR + LINE * i - 2 : 14)}, g, text));
  const cost = box.group === undefined ? box.data.cost : box.cost;
  const share = cost && page.totals.operations ? cost[0] / page.totals.operations : 0;
  if (share > 0 && !isOpen)
    make("rect", {class: "cost", x, y: y + height - 3, width: Math.max(1, Math.min(1, share) * width), height: 3}, g);
}

function drawEdge(edge, lines, types) {
  const {a, b, common} = edge, [ax, ay] = common.origin;
  const [u, v] = edge.link.ends;
  const start = [a.left + a.width / 2, a.top + a.height], end = [b.left + b.width / 2, b.top];
  const points = [start];
  if (u !== a) points.push([start[0], u.top + u.height]);
  const middle = edge.link.route.map(([x, y]) => [x + ax, y + ay]);
  const entry = v === b ? end : [end[0], v.top];
  let path = points.map(([x, y], i) => `${i ? "L" : "M"}${x} ${y}`).join("");
  let [px, py] = points[points.length - 1];
  const stops = [...middle, entry];
  stops.forEach(([x, y], i) => {
    if (i % 2 && i < stops.length - 1 + (stops.length % 2 ? 0 : 1)) path += `L${x} ${y}`;
    else { const my = (py + y) / 2; path += `C${px} ${my} ${x} ${my} ${x} ${y}`; }
    [px, py] = [x, y];
  });
  if (v !== b) path += `L${end[0]} ${end[1]}`;
  const states = [a, b].map(box => box.group === undefined ? box.data.state : "same");
  const state = states.includes("removed") ? "removed" : states.includes("added") ? "added" : "";
  make("path", {class: `edge ${state}`, d: path, "data-edge": `${id(a)} ${id(b)}`}, lines);
  const texts = [...new Set(edge.types.values())];
  const text = texts.length === 1 && edge.types.size === 1 ? texts[0] : `${edge.types.size} tensors`;
  a.types ??= new Set();
  if (a.types.has(text)) return;
  a.types.add(text);
  make("text", {class: "type", x: start[0], y: start[1] + 3 + 11 * a.types.size}, types, text);
}

/* ---- moving and zooming */

const eye = {x: 20, y: 20, scale: 1};

function look() {
  scene.setAttribute("transform", `translate(${eye.x} ${eye.y}) scale(${eye.scale})`);
  canvas.classList.toggle("far", eye.scale < 0.45);
}

function zoom(factor, x, y) {
  const scale = Math.min(4, Math.max(0.02, eye.scale * factor));
  const ratio = scale / eye.scale;
  Object.assign(eye, {scale, x: x - (x - eye.x) * ratio, y: y - (y - eye.y) * ratio});
  look();
}

function fit() {
  const {width, height} = canvas.getBoundingClientRect();
  eye.scale = Math.max(SMALLEST_FIT, Math.min(1.2, width / (top_.width + 20), height / (top_.height + 20)));
  eye.x = (width - top_.width * eye.scale) / 2;  // of what is too large for the window, the beginning is shown
  eye.y = Math.max(0, (height - top_.height * eye.scale) / 2);
  look();
}

const middleOf = () => { const r = canvas.getBoundingClientRect(); return [r.width / 2, r.height / 2]; };

function center(box) {
  const [x, y] = middleOf();
  eye.scale = Math.max(eye.scale, 0.7);
  eye.x = x - (box.left + box.width / 2) * eye.scale;
  eye.y = y - (box.top + Math.min(box.height, 200) / 2) * eye.scale;
  look();
}

let drag = null;
canvas.addEventListener("pointerdown", event => { drag = {x: event.clientX, y: event.clientY, moved: false}; });
canvas.addEventListener("pointermove", event => {
  if (!drag || !(event.buttons & 1)) return;
  if (!drag.moved && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < 4) return;
  if (!drag.moved) canvas.setPointerCapture(event.pointerId);
  drag.moved = true;
  canvas.classList.add("dragged");
  eye.x += event.clientX - drag.x;
  eye.y += event.clientY - drag.y;
  Object.assign(drag, {x: event.clientX, y: event.clientY});
  look();
});
canvas.addEventListener("pointerup", () => canvas.classList.remove("dragged"));
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  const {left, top} = canvas.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - left, event.clientY - top);
}, {passive: false});
canvas.addEventListener("click", event => {
  const moved = drag && drag.moved;
  drag = null;
  const target = event.target.closest("[data-id]");
  if (moved || !target) return;
  const box = boxOf(target.dataset.id);
  if (event.target.dataset.fold) toggle(box);
  select(box);
});

const boxOf = key => key[0] === "g" ? groups[+key.slice(1)] : nodes[+key.slice(1)];

function toggle(box) {
  const before = [box.left, box.top];
  box.open = !box.open;
  render();
  eye.x += (before[0] - box.left) * eye.scale;
  eye.y += (before[1] - box.top) * eye.scale;
  look();
}

/* ---- details */

function add(parent, name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  parent.append(made);
  return made;
}

function table(parent, rows) {
  const body = add(add(parent, "table"), "tbody");
  for (const [key, value] of rows) { const tr = add(body, "tr"); add(tr, "td", key); add(tr, "td", value); }
}

const number = x => typeof x === "string" ? x : Number.isInteger(x) ? count(x) : +x.toPrecision(5) + "";

function entry(parent, text, kind, target) {
  const made = add(parent, "button", text, `entry ${kind}`);
  if (target) made.addEventListener("click", () => jump(target));
  return made;
}

function jump(box) {
  if (box.group === undefined && box.data.op === "Constant") element("constants").checked = true;
  for (const group of above(box)) group.open = true;
  render();
  select(box);
  center(box);
}

function select(box) {
  scene.querySelectorAll(".selected").forEach(g => g.classList.remove("selected"));
  selected = box;
  const drawn = scene.querySelector(`[data-id="${id(box)}"]`);
  if (drawn) drawn.classList.add("selected");
  const panel = element("details");
  panel.replaceChildren();
  const data = box.data;
  add(panel, "h2", data ? `${data.op} ${data.name}` : box.label);
  const rows = [["layer", data ? data.path || "(none)" : box.path]];
  const cost = data && data.cost || box.cost;
  if (cost) rows.push(["operations", count(cost[0])], ["bytes", count(cost[1])], ["parameters", count(cost[2])]);
  if (page.changes && stateOf(box) !== "same") rows.push(["state", stateOf(box)]);
  table(panel, rows);
  if (!data) return;
  if (data.differs && data.differs.length) { add(panel, "h3", "Changed"); data.differs.forEach(t => entry(panel, t, "changed")); }
  if (data.inputs.length) add(panel, "h3", "Inputs");
  for (const [name, type, from] of data.inputs) entry(panel, `${name}: ${type}`, "", nodes[from]);
  if (data.outputs.length) add(panel, "h3", "Outputs");
  for (const [name, type] of data.outputs) add(panel, "div", `${name}: ${type}`);
  const attributes = Object.entries(data.attrs || {});
  if (attributes.length) { add(panel, "h3", "Attributes"); table(panel, attributes); }
  const users = page.edges.filter(([from]) => nodes[from] === box).map(([, to]) => nodes[to]);
  if (users.length) add(panel, "h3", "Goes to");
  for (const user of new Set(users)) entry(panel, `${user.data.op} ${user.data.name}`, "", user);
  const weighty = data.weight !== undefined ? [box] : data.inputs.map(([,, from]) => nodes[from]);
  for (const source of weighty)
    if (source.data.weight !== undefined) weights(panel, source.data.name, page.weights[source.data.weight]);
}

function weights(panel, name, known) {
  add(panel, "h3", name);
  const rows = Object.entries(known).filter(([k]) => k !== "bins" && k !== "values").map(([k, v]) => [k, number(v)]);
  if (known.values) rows.push(["values", known.values.map(number).join(", ")]);
  table(panel, rows);
  if (!known.bins || known.count < 2) return;
  const most = Math.max(...known.bins), wide = 100 / known.bins.length;
  const svg = make("svg", {class: "histogram", viewBox: "0 0 100 50", preserveAspectRatio: "none"}, panel);
  known.bins.forEach((n, i) => {
    const height = 48 * n / most;
    const bar = make("rect", {x: i * wide, y: 50 - height, width: wide * 0.9, height}, svg);
    const step = (known.max - known.min) / known.bins.length, low = known.min + i * step;
    make("title", {}, bar, `${number(low)} to ${number(low + step)}: ${count(n)}`);
  });
}

/* ---- search, changes, buttons */

element("search").addEventListener("input", () => {
  const words = element("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const panel = element("found");
  panel.hidden = !words.length;
  panel.replaceChildren();
  if (!words.length) return;
  const found = nodes.filter(({data}) => {
    const text = `${data.op} ${data.name} ${data.path}`.toLowerCase();
    return words.every(word => text.includes(word));
  });
  add(panel, "h2", `${count(found.length)} found`);
  const list = add(panel, "div", undefined, "list");
  for (const box of found.slice(0, MOST_FOUND))
    entry(list, `${box.data.op} ${box.data.name}${box.data.path ? " \u2014 " + box.data.path : ""}`, box.data.state, box);
  if (found.length > MOST_FOUND) add(list, "p", `and ${count(found.length - MOST_FOUND)} more`, "hint");
});
element("search").addEventListener("keydown", event => {
  const first = element("found").querySelector(".entry");
  if (event.key === "Enter" && first) first.click();
  if (event.key === "Escape") { event.target.value = ""; event.target.dispatchEvent(new Event("input")); }
});
document.addEventListener("keydown", event => {
  if (event.key !== "/" || event.target.id === "search") return;
  event.preventDefault();
  element("search").focus();
});
function foldAll(open) {
  for (const group of groups) group.open = open;
  render();
  fit();
}
element("unfold").addEventListener("click", () => foldAll(true));
element("fold").addEventListener("click", () => foldAll(false));
element("in").addEventListener("click", () => zoom(1.3, ...middleOf()));
element("out").addEventListener("click", () => zoom(1 / 1.3, ...middleOf()));
element("fit").addEventListener("click", fit);
element("constants").addEventListener("change", render);

if (page.changes) {
  const panel = element("changes"), texts = page.changes.length === 1 ? "1 difference" : `${count(page.changes.length)} differences`;
  panel.hidden = false;
  add(panel, "h2", texts);
  const list = add(panel, "div", undefined, "list");
  for (const {kind, path, op, what, node} of page.changes) {
    const place = [path, op].filter(Boolean).join(": ");
    entry(list, [kind, place, what.join("; ")].filter(Boolean).join(" \u2014 "), kind, node === null ? null : nodes[node]);
  }
}

/* At first as many layers are open as fit in a picture; those that differ come first. */
(function open() {
  element("constants").checked = page.totals.instructions < 20;
  let shown = top_.children.filter(box => !isHidden(box)).length;
  const ready = top_.children.filter(box => box.group !== undefined);
  if (page.changes) ready.sort((a, b) => (b.states.size > 0) - (a.states.size > 0));
  while (ready.length) {
    const group = ready.shift(), more = group.children.filter(box => !isHidden(box)).length;
    if (shown + more > MOST_SHOWN) continue;
    group.open = true;
    shown += more;
    ready.push(...group.children.filter(box => box.group !== undefined));
  }
})();
const {instructions, operations, parameters} = page.totals;
element("totals").textContent =
  `${count(instructions)} instructions, ${count(operations)} operations, ${count(parameters)} parameters`;
document.querySelector("h1").textContent = page.name;
render();
fit();

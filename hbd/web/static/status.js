// The table: rows come as changes, and only one page of them is ever in the document.

import { ago, follow } from "./link.js";

const WORST = ["down", "unreachable", "degraded", "unknown", "left", "paused", "up"];
const RANK = new Map(WORST.map((state, rank) => [state, rank]));
const SIZE = 100;
const [NAME, STATE, CAUSE, SINCE, RTT, LOSS, WHERE, FLAGS, LABELS, FACT] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

const peers = new Map();
const drawn = new Map(); // name -> {tr, row}
const body = document.querySelector("#peers tbody");
const find = document.getElementById("find");
const news = document.getElementById("news");
const previous = document.getElementById("previous");
const next = document.getElementById("next");
const where = document.getElementById("where");
const buttons = [...document.querySelectorAll("#states button")];
const chosen = new Set();
let page = 0, order = null, due = false, untold = [];

function milliseconds(value) {
  if (value === null) return "-";
  return value < 1000 ? `${+value.toPrecision(3)} ms` : `${+(value / 1000).toPrecision(3)} s`;
}

// -- what is told ----------------------------------------------------------------------------

function hear(kind, told) {
  if (kind === "all") { peers.clear(); order = null; }
  if (told.node !== undefined && told.node !== null) document.getElementById("node").textContent = told.node;
  for (const row of told.rows || []) {
    const before = peers.get(row[NAME]);
    peers.set(row[NAME], row);
    const moved = !before || before[STATE] !== row[STATE] || before[SINCE] !== row[SINCE];
    const matched = before && find.value && text(before) !== text(row);
    if (moved || matched) order = null;
    if (kind === "rows" && before && before[STATE] !== row[STATE]) {
      untold.push(`${row[NAME]} is ${row[STATE]}` + (row[CAUSE] ? `: ${row[CAUSE]}` : ""));
    }
  }
  for (const name of told.gone || []) { peers.delete(name); order = null; }
  for (const button of buttons) {
    const count = told.summary[button.dataset.state] || 0;
    const place = button.querySelector(".count");
    if (place.textContent !== String(count)) place.textContent = count;
    button.classList.toggle("none", count === 0);
  }
  draw();
}

function announce() {
  if (!untold.length) return;
  const few = untold.slice(0, 3).join("; ");
  news.textContent = untold.length > 3 ? `${few}; and ${untold.length - 3} more changes` : few;
  untold = [];
}

// -- what is shown ---------------------------------------------------------------------------

function text(row) {
  return `${row[NAME]} ${row[CAUSE]} ${row[WHERE]} ${row[LABELS]} ${row[FACT]}`.toLowerCase();
}

// The worst first; of one state what changed last.
function sorted() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (const row of peers.values()) {
    if (chosen.size && !chosen.has(row[STATE])) continue;
    if (words.length) {
      const all = text(row);
      if (!words.every((word) => all.includes(word))) continue;
    }
    found.push(row[NAME]);
  }
  const rank = (name) => RANK.get(peers.get(name)[STATE]) ?? 0;
  return found.sort((a, b) => rank(a) - rank(b)
    || (rank(a) < RANK.get("up") ? peers.get(b)[SINCE] - peers.get(a)[SINCE] : 0)
    || (a < b ? -1 : 1));
}

function draw() {
  if (due) return;
  due = true;
  // Not by animation frames: those stop in a tab that is not seen.
  setTimeout(() => { due = false; render(); }, 60);
}

function render() {
  if (order === null) order = sorted();
  const pages = Math.max(1, Math.ceil(order.length / SIZE));
  page = Math.min(page, pages - 1);
  const names = order.slice(page * SIZE, (page + 1) * SIZE);
  const wanted = new Set(names);
  const focused = document.activeElement;
  for (const [name, { tr }] of drawn) if (!wanted.has(name)) { tr.remove(); drawn.delete(name); }
  let place = body.firstElementChild;
  for (const name of names) {
    const tr = rowOf(name);
    if (tr === place) place = place.nextElementSibling;
    else body.insertBefore(tr, place);
  }
  if (focused && focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
  document.getElementById("none").hidden = order.length > 0 || peers.size === 0;
  document.querySelector(".pages").hidden = pages === 1;
  previous.disabled = page === 0;
  next.disabled = page === pages - 1;
  where.textContent = `${page * SIZE + 1} to ${page * SIZE + names.length} of ${order.length}`;
}

function rowOf(name) {
  const row = peers.get(name);
  let known = drawn.get(name);
  if (!known) {
    const tr = document.createElement("tr");
    const th = tr.appendChild(document.createElement("th"));
    th.scope = "row";
    const link = th.appendChild(document.createElement("a"));
    link.href = `/peer/${encodeURIComponent(name)}`;
    link.textContent = name;
    const labels = th.appendChild(document.createElement("span"));
    labels.className = "labels";
    for (let i = 0; i < 6; i++) tr.appendChild(document.createElement("td"));
    tr.children[1].appendChild(document.createElement("span"));
    tr.children[2].append(document.createElement("code"), document.createElement("span"));
    tr.children[2].lastChild.className = "fact";
    tr.children[3].appendChild(document.createElement("time"));
    for (const i of [4, 5]) tr.children[i].className = "figure";
    known = { tr, row: null };
    drawn.set(name, known);
  }
  if (known.row !== row) { fill(known.tr, row); known.row = row; }
  return known.tr;
}

function put(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

function fill(tr, row) {
  tr.className = `r-${row[STATE]}`;
  const [th, state, why, since, rtt, loss, address] = tr.children;
  put(th.lastChild, row[LABELS]);
  put(state.firstChild, row[STATE] + (row[FLAGS] ? ` ${row[FLAGS]}` : ""));
  state.firstChild.className = `state s-${row[STATE]}`;
  put(why.firstChild, row[CAUSE]);
  put(why.lastChild, row[FACT]);
  const at = new Date(row[SINCE] * 1000);
  since.firstChild.dateTime = at.toISOString();
  since.firstChild.title = at.toLocaleString();
  age(since.firstChild);
  put(rtt, milliseconds(row[RTT]));
  put(loss, row[LOSS] === null ? "-" : `${row[LOSS]} %`);
  put(address, row[WHERE]);
}

function age(time) {
  put(time, ago((Date.now() - Date.parse(time.dateTime)) / 1000));
}

// -- what the reader does --------------------------------------------------------------------

function again() { page = 0; order = null; draw(); }

for (const button of buttons) {
  button.addEventListener("click", () => {
    const state = button.dataset.state;
    if (!chosen.delete(state)) chosen.add(state);
    button.setAttribute("aria-pressed", String(chosen.has(state)));
    again();
  });
}
find.addEventListener("input", again);
function turn(by) { page += by; draw(); document.getElementById("peers").scrollIntoView({ block: "nearest" }); }
previous.addEventListener("click", () => turn(-1));
next.addEventListener("click", () => turn(1));
setInterval(() => { for (const { tr } of drawn.values()) age(tr.children[3].firstChild); }, 1000);
setInterval(announce, 2000);

follow("/events", hear);

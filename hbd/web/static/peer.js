// The page of one peer: made anew by the server, and only what is different is replaced.

import { follow } from "./link.js";

const name = document.body.dataset.peer;
const REST = 10000; // ms between two looks while nothing happens
let state = null, due = null, last = 0, busy = false;

async function renew() {
  due = null;
  busy = true;
  last = performance.now();
  try {
    const answer = await fetch(location.pathname, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    replace(page);
  } catch {
    // The line above the page says that there is no connection.
  } finally {
    busy = false;
  }
}

function replace(page) {
  const main = document.querySelector("main"), fresh = page.querySelector("main");
  if (!fresh) return;
  document.title = page.title;
  const kept = new Map([...main.children].map((one) => [one.id, one]));
  const wanted = [...fresh.children];
  for (const [id, one] of kept) if (!wanted.some((other) => other.id === id)) one.remove();
  wanted.forEach((one, index) => {
    const old = kept.get(one.id);
    if (old && old.isEqualNode(one)) return;
    if (old && old.parentNode) old.replaceWith(one);
    else main.insertBefore(one, main.children[index] || null);
  });
}

function soon(wait) {
  const at = performance.now() + wait;
  if (due && due.at <= at) return;
  if (due) clearTimeout(due.timer);
  due = { at, timer: setTimeout(renew, wait) };
}

function hear(kind, told) {
  const row = (told.rows || []).find((one) => one[0] === name);
  if (row) {
    if (state !== null && state !== row[1]) {
      document.getElementById("news").textContent = `${name} is ${row[1]}` + (row[2] ? `: ${row[2]}` : "");
    }
    const said = `${row[1]} ${row[2]} ${row[9]}`;
    if (state !== null && hear.said !== said) soon(50);
    state = row[1];
    hear.said = said;
  }
  if ((told.gone || []).includes(name)) soon(50);
  if (!busy && performance.now() - last > REST) soon(0);
}

if (name) {
  last = performance.now();
  follow(`/events?peer=${encodeURIComponent(name)}`, hear);
}

// The event stream, and what can be said of its age: shared by both pages.

const SILENT = 4000; // ms; a tick comes each second
const LEAVE = 10000; // ms out of sight
const LATE = 5; // s since the daemon answered

export function ago(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let rest = Math.max(0, Math.floor(seconds));
  for (let i = 0; i < units.length; i++) {
    const [unit, size] = units[i];
    const count = Math.floor(rest / size);
    if (count === 0 && size > 1) continue;
    const next = units[i + 1];
    const more = next ? Math.floor((rest - count * size) / next[1]) : 0;
    return `${count}${unit}` + (more && next ? ` ${more}${next[0]}` : "");
  }
  return "0s";
}

export function follow(url, hear) {
  const place = document.getElementById("link");
  let source = null, leaving = null, heard = performance.now(), tick = null, at = null;

  function note(event) {
    const told = JSON.parse(event.data);
    heard = performance.now();
    at = new Date();
    tick = told;
    hear(event.type, told);
    show();
  }
  function say(kind, words) {
    if (place.className !== kind) place.className = kind;
    if (place.textContent !== words) place.textContent = words;
    document.body.classList.toggle("lost-all", kind === "lost");
  }
  function show() {
    const silent = performance.now() - heard;
    if (source === null) {
      say("wait", "Not followed while nobody looks");
    } else if (silent > SILENT) {
      const words = at ? `what you see is of ${at.toLocaleTimeString()}, ${ago(silent / 1000)} ago` : "nothing is known yet";
      say("lost", `hbd web does not answer: ${words}`);
    } else if (tick === null) {
      say("wait", "Waiting for the first figures");
    } else if (tick.trouble || tick.age === null || tick.age > LATE) {
      const age = tick.age === null ? null : tick.age + silent / 1000;
      const words = age === null ? "it has not answered yet" : `what you see is ${ago(age)} old`;
      say("lost", `The hbd daemon does not answer: ${words}` + (tick.trouble ? ` (${tick.trouble})` : ""));
    } else {
      say("live", "Live");
    }
  }
  function open() {
    if (source) source.close();
    source = new EventSource(url);
    for (const kind of ["all", "rows", "tick"]) source.addEventListener(kind, note);
    // A refusal (too many viewers) is final to the browser, not to us.
    source.onerror = () => { if (source && source.readyState === EventSource.CLOSED) setTimeout(see, 3000); };
  }
  // A browser has six connections to a server: tabs that nobody looks at keep none.
  function see() {
    clearTimeout(leaving);
    if (!document.hidden) {
      if (!source) heard = performance.now();
      if (!source || source.readyState === EventSource.CLOSED) open();
    } else if (source) {
      leaving = setTimeout(() => { source.close(); source = null; }, LEAVE);
    }
  }
  document.addEventListener("visibilitychange", see);
  see();
  setInterval(show, 500);
}

// What time the server has, and whether this page has been asleep.
// The server's time runs on with the browser's monotonic clock; the wall clock of a wall screen may be wrong.

const FROZEN_MS = 5000;
let base = Date.now();
let heardMono = performance.now();
let heardWall = Date.now();
let tickMono = performance.now();
let tickWall = Date.now();

/** Take the server's time from a message just received. */
export function hear(iso) {
  const told = Date.parse(iso);
  if (Number.isFinite(told)) base = told;
  heardMono = performance.now();
  heardWall = Date.now();
}

/** Milliseconds since the server was last heard: the longer of both clocks, since either may have stood still. */
export const silence = () => Math.max(performance.now() - heardMono, Date.now() - heardWall);

/** The server's time now, in milliseconds. */
export const now = () => base + (performance.now() - heardMono);

const listeners = [];
let onWake = () => {};

/** Call once a second: the one timer of the page. */
export const everySecond = (listener) => listeners.push(listener);

/** Called when the page did not run for a while, or when either clock has jumped against the other. */
export const whenWoken = (listener) => { onWake = listener; };

function tick() {
  const mono = performance.now() - tickMono;
  const wall = Date.now() - tickWall;
  tickMono += mono;
  tickWall += wall;
  if (mono > FROZEN_MS || Math.abs(wall - mono) > FROZEN_MS) onWake();
  for (const listener of listeners) listener();
}

export function startTicking() {
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) tick(); });
  window.addEventListener("pageshow", (event) => { if (event.persisted) onWake(); });
}

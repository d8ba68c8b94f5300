// The server's events. The browser reconnects by itself and says the last id it had; where it gives up, we begin anew.

import { signedOut, takeStatus } from "./watch.js";

const RETRY_MS = 2000;
const GIVEN_UP_MS = 12000;
let source = null;
let heardAt = performance.now();
let handlers = { change: () => {}, reload: () => {}, after: null };

function parsed(event) {
  try { return JSON.parse(event.data); } catch { return null; }
}

function open() {
  const after = handlers.after === null || handlers.after === undefined ? "" : `?after=${encodeURIComponent(handlers.after)}`;
  source = new EventSource(`/api/events${after}`);
  heardAt = performance.now();
  source.addEventListener("change", (event) => {
    const data = parsed(event);
    if (data) handlers.change(data);
    else handlers.reload();
  });
  source.addEventListener("status", (event) => {
    heardAt = performance.now();
    const data = parsed(event);
    if (data) takeStatus(data, true);
    signedOut(false);
  });
  source.addEventListener("reload", () => handlers.reload());
}

/** A closed source does not come back, and a half-open connection never says so. */
function look() {
  const isSilent = performance.now() - heardAt > GIVEN_UP_MS;
  if (source.readyState !== EventSource.CLOSED && !isSilent) return;
  source.close();
  handlers.after = null;
  open();
  handlers.reload();
}

export function startStream(found) {
  handlers = { ...handlers, ...found };
  open();
  setInterval(look, RETRY_MS);
  window.addEventListener("pagehide", () => source.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) open(); });
}

/** Fetch JSON of our own server. Null when it failed; a lost session is told to the watch. */
export async function getJson(path) {
  try {
    const answer = await fetch(path, {
      headers: { Accept: "application/json" }, redirect: "error", signal: AbortSignal.timeout(10000),
    });
    if (answer.status === 401 || answer.status === 403) signedOut(true);
    if (!answer.ok) return { status: answer.status, body: null };
    return { status: answer.status, body: await answer.json() };
  } catch {
    return { status: 0, body: null };
  }
}

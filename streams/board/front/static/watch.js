// Whether what is shown can be relied on. It never turns calm by itself: only a fresh status of the server ends it.

import { byId, el, setHidden, setText } from "./dom.js";
import { showHint } from "./frame.js";
import { clockSeconds, moment, span, t, when } from "./words.js";
import { everySecond, hear, now, silence, startTicking, whenWoken } from "./server_clock.js";

const SILENT_MS = 8000;
let blind = { is_blind: false, reasons: [] };
let shownAt = NaN;
let isWaking = false;
let isSignedOut = false;
let isStaleRoom = false;
let wasBlind = false;
const changed = [];

/** Called with true or false when the screen becomes blind or sees again. */
export const whenBlind = (listener) => changed.push(listener);
export const isBlind = () => wasBlind;

/** Take a `status` event, or the like part of a page's state. */
export function takeStatus(status, isFresh) {
  if (status.now) hear(status.now);
  if (status.blind) blind = status.blind;
  if (status.shown_at !== undefined) shownAt = moment(status.shown_at);
  if (status.hint) showHint(status.hint);
  if (isFresh) isWaking = false;
  draw();
}

/** The state on the screen is not known to be whole until it was read anew. */
export function staleRoom(stale) {
  isStaleRoom = stale;
  draw();
}

export function signedOut(out) {
  isSignedOut = out;
  draw();
}

function reasons() {
  const found = [];
  if (isSignedOut) found.push(t("blind_signed_out"));
  if (silence() > SILENT_MS) found.push(t("blind_silent", { age: span(silence()) }));
  else if (isWaking) found.push(t("blind_woken"));
  else if (isStaleRoom) found.push(t("blind_stale"));
  if (blind.is_blind) found.push(...(blind.reasons || []).map(reasonText));
  if (blind.is_blind && !found.length) found.push(t("blind_unknown"));
  return found;
}

function reasonText(reason) {
  const partitions = (reason.partitions || []).join(", ");
  const parts = [t(`blind_${reason.code}`)];
  if (partitions) parts.push(`(${t("blind_partitions", { list: partitions })})`);
  if (reason.since) parts.push(t("blind_since", { time: when(moment(reason.since), now(), true) }));
  return parts.join(" ");
}

function draw() {
  const found = reasons();
  const is = found.length > 0;
  const root = document.documentElement;
  if (is) drawReasons(found);
  setHidden(byId("blind"), !is);
  setHidden(byId("blind-signin"), !isSignedOut);
  if (is !== wasBlind) {
    wasBlind = is;
    root.classList.toggle("is-blind", is);
    for (const listener of changed) listener(is);
  }
  drawAge();
}

function drawReasons(found) {
  const list = byId("blind-reasons");
  while (list.children.length > found.length) list.lastChild.remove();
  found.forEach((text, index) => {
    if (!list.children[index]) list.append(el("li"));
    setText(list.children[index], text);
  });
}

function drawAge() {
  const age = now() - shownAt;
  const text = Number.isFinite(shownAt) ? t("shown", { time: clockSeconds(shownAt), age: span(age) }) : t("shown_never");
  setText(byId("clock"), clockSeconds(now()));
  setText(byId("shown-age"), text);
  setText(byId("blind-age"), text);
}

/** Start with the state of the page. `refresh` reads everything anew after the page was asleep. */
export function startWatch(state, refresh) {
  takeStatus(state, true);
  whenWoken(() => {
    isWaking = true;
    draw();
    refresh();
  });
  everySecond(draw);
  startTicking();
}

// The room page: a tile a chair, drawn once and then changed where something changed.

import "./frame.js";
import { AlertLines } from "./alert_line.js";
import { byUrgency, placeOf } from "./alert_words.js";
import { chime, startChime } from "./chime.js";
import { drawCounts } from "./counts.js";
import { byId, el, readJson, setHidden } from "./dom.js";
import { asksForAlerts, drawFilters, filters, roomPath, wantsAlert, wantsLoose, wantsTile } from "./filters.js";
import { fit, fitAnew } from "./fit.js";
import { RoomState } from "./room_state.js";
import { everySecond, now } from "./server_clock.js";
import { sayAlert, sayEnded, sayState } from "./speak.js";
import { getJson, startStream } from "./stream.js";
import { TileView } from "./tile.js";
import { staleRoom, startWatch, takeStatus, whenBlind } from "./watch.js";
import { collator, ruleTitle, t } from "./words.js";

const FLUSH_MS = 30;
const views = new Map();
const sections = new Map();
const looseLines = new Map();
const state = new RoomState(onNew, sayEnded);
let queue = [];
let flushTimer = 0;
let isReading = false;
let readAgain = false;

function onNew(alert, tile) {
  if (tile ? !wantsAlert(alert) || !wantsTile(tile) : !wantsLoose(alert)) return;
  sayAlert(alert.priority, `${tile?.chair ?? placeOf(alert)}: ${ruleTitle(alert)}`);
  chime(alert.priority);
}

/** A room's name, with its unit where another room has the same. */
function titleOf(room) {
  const isShared = state.rooms.filter((other) => other.name === room.name).length > 1;
  return isShared && room.unit_id ? `${room.name} · ${room.unit_id}` : room.name;
}

/** A chair's name, with its unit where another chair that the site does not know has the same. */
function chairOf(tile) {
  return tile.unit_id && state.namesakes(tile).length > 1 ? `${tile.chair} · ${tile.unit_id}` : tile.chair;
}

/** The list of a room, made where it is not there yet; chairs that the site does not know come last. */
function sectionOf(room) {
  const name = room?.key ?? "";
  if (sections.has(name)) return sections.get(name);
  const id = `room-${sections.size}`;
  const list = el("ul", { class: "tiles" });
  const node = el("section", { class: "room", "aria-labelledby": id },
    el("h2", { id }, room ? titleOf(room) : t("elsewhere")), list);
  const last = sections.get("");
  byId("rooms").insertBefore(node, last ? last.node : null);
  sections.set(name, { node, list });
  return sections.get(name);
}

function drawTile(key) {
  const tile = state.tiles.get(key);
  const alerts = tile ? tile.alerts.filter(wantsAlert) : [];
  const isWanted = tile && wantsTile(tile) && (!asksForAlerts() || alerts.length > 0);
  const known = views.get(key);
  if (!isWanted) {
    known?.node.remove();
    views.delete(key);
    return;
  }
  const view = known ?? new TileView(key);
  view.update(tile, alerts, now(), chairOf(tile));
  if (known) return;
  views.set(key, view);
  place(view, tile);
}

/** Put a tile at its place: the site's order where it is known, the order of names otherwise. */
function place(view, tile) {
  const room = state.roomOf(tile);
  const { list } = sectionOf(room);
  const order = room?.keys ?? [];
  const own = order.indexOf(view.key);
  const isAfter = (node) => {
    const other = order.indexOf(node.dataset.key);
    if (own >= 0 && other >= 0) return other > own;
    return own < 0 && other < 0 ? collator.compare(node.querySelector(".chair").textContent, view.chair.textContent) > 0 : other < 0;
  };
  view.node.dataset.key = view.key;
  const last = list.lastElementChild;
  const next = last && isAfter(last) ? [...list.children].find(isAfter) : null;
  list.insertBefore(view.node, next ?? null);
}

const isOfUnit = (alert) => (alert.place ? alert.place === "unit" : alert.family === "unit");

function drawLoose() {
  const groups = { unit_alerts: [], without_chair: [] };
  for (const alert of state.looseAlerts) {
    if (wantsLoose(alert)) groups[isOfUnit(alert) ? "unit_alerts" : "without_chair"].push(alert);
  }
  for (const [name, alerts] of Object.entries(groups)) {
    if (!looseLines.has(name)) looseLines.set(name, looseSection(name));
    const { node, lines } = looseLines.get(name);
    lines.update(alerts.sort(byUrgency), now());
    setHidden(node, alerts.length === 0);
  }
}

function looseSection(name) {
  const list = el("ul", { class: "lines loose-lines" });
  const node = el("section", { class: "loose", "aria-labelledby": name, hidden: true }, el("h2", { id: name }, t(name)), list);
  byId("above").append(node);
  return { node, lines: new AlertLines(list, { withPlace: true }) };
}

function drawSummary() {
  const shown = [];
  for (const view of views.values()) for (const alert of view.alerts) shown.push([alert, view.tile.chair]);
  for (const alert of state.looseAlerts) if (wantsLoose(alert)) shown.push([alert, placeOf(alert)]);
  drawCounts(shown);
  setHidden(byId("nothing"), views.size > 0);
  for (const { node, list } of sections.values()) setHidden(node, list.children.length === 0);
  fit(views.size);
}

function drawAll(room) {
  state.takeAll(room);
  for (const key of [...views.keys()]) if (!state.tiles.has(key)) drawTile(key);
  for (const room of state.rooms) sectionOf(room);
  for (const key of state.tiles.keys()) drawTile(key);
  drawLoose();
  drawFilters(room);
  drawSummary();
}

function onChange(change) {
  queue.push(change);
  flushTimer ||= setTimeout(flush, FLUSH_MS);
}

function flush() {
  flushTimer = 0;
  if (isReading) return;
  const touched = new Set();
  const changes = queue;
  queue = [];
  try {
    for (const change of changes) for (const key of state.takeChange(change)) touched.add(key);
  } catch {
    readRoom();  // a change of another form than ours: the whole room is right again
  }
  for (const key of touched) drawTile(key);
  drawLoose();
  drawSummary();
}

/** Read the whole room again. What comes meanwhile waits, and is applied after it. */
async function readRoom() {
  if (isReading) { readAgain = true; return; }
  isReading = true;
  const { body } = await getJson(roomPath());
  isReading = false;
  staleRoom(body === null);
  if (body) {
    drawAll(body);
    takeStatus(body, false);
  } else setTimeout(readRoom, 2000);
  if (readAgain) { readAgain = false; readRoom(); }
  flush();
}

let seconds = 0;
function tick() {
  seconds += 1;
  if (seconds % 5 === 0) {
    for (const view of views.values()) view.tick(now());
    for (const { lines } of looseLines.values()) lines.tick(now());
  }
  if (seconds % 60 === 0) {
    state.prune();
    fitAnew(views.size);
  }
}

function start() {
  const first = readJson("state");
  whenBlind((is) => { sayState(t(is ? "say_blind" : "say_sees")); if (is) chime("medium"); });
  startWatch(first, readRoom);
  drawAll(first);
  startStream({ change: onChange, reload: readRoom, after: first.event_id });
  if (first.event_id === undefined) readRoom();
  everySecond(tick);
  addEventListener("resize", () => fit(views.size));
  startChime();
  if (filters.room) document.title = `${filters.room} · ${document.title}`;
  performance.mark("drawn");
}

start();

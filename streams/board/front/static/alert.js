// The page of one alert: what it is, what to do about it, why, and what was done.

import "./frame.js";
import { showAnswers, tickAnswers } from "./answers.js";
import { placeOf, priorityText, stateText } from "./alert_words.js";
import { startChime } from "./chime.js";
import { byId, el, readJson, setData, setHidden, setText } from "./dom.js";
import { plot } from "./plot.js";
import { everySecond, now } from "./server_clock.js";
import { getJson, startStream } from "./stream.js";
import { sayState } from "./speak.js";
import { alignFlash } from "./tile.js";
import { staleRoom, startWatch, whenBlind } from "./watch.js";
import { code, moment, number, ruleTitle, t, when } from "./words.js";

let alert = readJson("state");
let drawn = "";
let isReading = false;
let readAgain = false;
const lamp = el("span", { class: "lamp", "aria-hidden": "true" });
const head = {
  priority: el("span", { class: "prio" }),
  place: el("a", { class: "place", href: "/" }),
  title: el("h1"),
  state: el("p", { class: "head-state" }),
};

function drawHead() {
  const root = byId("alert");
  const flash = alert.status === "active" ? alert.priority : "";
  if (root.dataset.flash !== flash) {
    setData(root, "flash", flash);
    alignFlash(lamp);
  }
  setData(root, "priority", alert.priority);
  setData(root, "status", alert.ended_unacknowledged ? "ended" : alert.status);
  setText(head.priority, priorityText(alert.priority));
  setText(head.place, placeText());
  setText(head.title, ruleTitle(alert));
  setText(head.state, stateText({ ...alert, answer: null }, now()));
  setText(byId("summary"), alert.summary ?? "");
  setHidden(byId("ended"), !alert.ended_unacknowledged);
  setText(byId("ended"), alert.ended_unacknowledged ? t("ended_long") : "");
}

const placeText = () => [alert.chair ? t("chair_name", { chair: alert.chair }) : t("chair_none"), placeOf({ ...alert, chair: null })]
  .filter(Boolean).join(" · ");

function drawBody() {
  byId("guidance").replaceChildren(...(alert.guidance || []).map((item) => el("li", {},
    el("span", { class: "advice" }, item.text), " ", el("cite", {}, item.basis))));
  byId("evidence").replaceChildren(...(alert.evidence || []).map((item) => el("tr", {},
    el("th", { scope: "row" }, item.name || code("kind", item.kind), " ", el("small", {}, item.id)),
    el("td", {}, [number(item.value), item.unit].filter(Boolean).join(" ")),
    el("td", {}, when(moment(item.at), now(), true)))));
  const drawing = plot(alert.context, alert.bound, alert.context_unit);
  byId("plot").replaceChildren(...(drawing ? [drawing] : []));
  setHidden(byId("plot-section"), !drawing);
  drawLinks();
  byId("history").replaceChildren(...(alert.history || []).map(historyItem));
}

function historyItem(item) {
  const who = item.by ? ` · ${t("by", { by: item.by })}` : "";
  return el("li", {},
    el("time", { datetime: item.at }, when(moment(item.at), now(), true)), " ",
    el("strong", {}, t(`status_${item.status}`)), " ",
    el("span", {}, `${code("reason", item.reason)}${who}`),
    item.note ? el("q", {}, item.note) : null,
    " ", el("small", {}, t("revision", { n: item.revision })));
}

const idsOf = (value) => (Array.isArray(value) ? value : value ? [value] : []);

function drawLinks() {
  const link = (key) => (other) => {
    const id = typeof other === "string" ? other : other.alert_id;
    const name = typeof other === "string" ? t("alert_other", { id: id.slice(0, 8) }) : ruleTitle(other);
    return el("li", {}, `${t(key)} `, el("a", { href: `/alerts/${encodeURIComponent(id)}` }, name));
  };
  const items = [...idsOf(alert.inhibited_by_all ?? alert.inhibited_by).map(link("inhibited_by")), ...idsOf(alert.inhibits).map(link("inhibits"))];
  byId("links").replaceChildren(...items);
  setHidden(byId("links-section"), items.length === 0);
}

/** Draw it; tables are made anew only when the alert has another revision or history. */
function draw() {
  drawHead();
  showAnswers(alert);
  const key = JSON.stringify([alert.revision, alert.history, alert.evidence, alert.inhibited_by, alert.inhibits]);
  if (key === drawn) return;
  drawn = key;
  drawBody();
}

async function read() {
  if (isReading) { readAgain = true; return; }
  isReading = true;
  const { status, body } = await getJson(`/api/alerts/${encodeURIComponent(alert.alert_id)}`);
  isReading = false;
  staleRoom(body === null && status !== 404);
  if (body && body.revision >= alert.revision) {
    alert = body;
    draw();
  } else if (status === 404) showGone();
  else if (!body) setTimeout(read, 2000);
  if (readAgain) { readAgain = false; read(); }
}

function showGone() {
  setText(byId("ended"), t("alert_gone"));
  setHidden(byId("ended"), false);
}

function onChange(change) {
  const isOurs = (change.alerts || []).concat((change.tiles || []).flatMap((tile) => tile.alerts || []))
    .some((other) => other.alert_id === alert.alert_id);
  if (isOurs) read();
  if ((change.gone || []).includes(alert.alert_id)) showGone();
}

function start() {
  byId("head").append(lamp, el("div", {}, head.priority, " ", head.place), head.title, head.state);
  document.title = `${ruleTitle(alert)} · ${alert.chair ?? ""} · ${document.title}`;
  whenBlind((is) => sayState(t(is ? "say_blind" : "say_sees")));
  startWatch(alert, read);
  draw();
  startStream({ change: onChange, reload: read, after: alert.event_id });
  if (alert.event_id === undefined) read();
  everySecond(() => { tickAnswers(); drawHead(); });
  startChime();
}

start();

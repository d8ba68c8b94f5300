// The alarm load of the last 24 h.

import "./frame.js";
import { priorityText, rank } from "./alert_words.js";
import { startChime } from "./chime.js";
import { byId, el, readJson, setText } from "./dom.js";
import { everySecond, now } from "./server_clock.js";
import { sayState } from "./speak.js";
import { getJson, startStream } from "./stream.js";
import { startWatch, whenBlind } from "./watch.js";
import { moment, number, ruleTitle, span, t, when } from "./words.js";

const EVERY_S = 60;

/** A row with a bar behind the count, which shows at a glance where the load comes from. */
function row(cells, count, most) {
  const bar = el("progress", { class: "bar", max: most || 1, value: count, "aria-hidden": "true" });
  return el("tr", {}, ...cells, el("td", { class: "load-count" }, el("span", {}, number(count)), bar));
}

function draw(load) {
  setText(byId("load-since"), t("load_since", { time: when(moment(load.since), now()) }));
  setText(byId("load-pages"), number(load.pages_per_session));
  setText(byId("load-unanswered"), number(load.unanswered));
  setText(byId("load-waiting"), number(load.waiting));
  const median = load.median_seconds_to_acknowledge;
  setText(byId("load-median"), typeof median === "number" ? median < 600 ? `${number(Math.round(median))} s` : span(median * 1000) : "–");
  const rules = [...(load.alerts_by_rule || [])].sort((a, b) => b.count - a.count || rank(b.priority) - rank(a.priority));
  const most = Math.max(0, ...rules.map((item) => item.count));
  byId("load-rules").replaceChildren(...rules.map((item) => row([
    el("th", { scope: "row" }, ruleTitle(item)),
    el("td", {}, el("span", { class: "prio", "data-priority": item.priority }, priorityText(item.priority))),
  ], item.count, most)));
  const chairs = load.noisiest_chairs || [];
  const loudest = Math.max(0, ...chairs.map((item) => item.count));
  byId("load-chairs").replaceChildren(...chairs.map((item) => row(
    [el("th", { scope: "row" }, item.chair ?? t("chair_none"))], item.count, loudest)));
}

async function read() {
  const { body } = await getJson("/api/load");
  if (body) draw(body);
  else setTimeout(read, 5000);
}

const first = readJson("state");
let seconds = 0;
whenBlind((is) => sayState(t(is ? "say_blind" : "say_sees")));
startWatch(first ?? {}, read);
if (first) draw(first);
else read();
startStream({ reload: read });
startChime();
everySecond(() => {
  seconds += 1;
  if (seconds % EVERY_S === 0) read();
});

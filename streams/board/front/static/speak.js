// What a screen reader is told: a summary at most every 10 s, a new high alert at once. Never one word an event.

import { byId } from "./dom.js";
import { t } from "./words.js";

const SUMMARY_MS = 10000;
const AT_ONCE_MS = 700;
let fresh = { high: 0, medium: 0, low: 0 };
let ended = 0;
let summaryTimer = 0;
let urgent = [];
let urgentTimer = 0;
let saidAt = -SUMMARY_MS;

/** Tell of a new or worse alert, with the place and the title of it. */
export function sayAlert(priority, text) {
  if (priority === "high") {
    urgent.push(text);
    urgentTimer ||= setTimeout(sayUrgent, AT_ONCE_MS);
  } else {
    fresh[priority] = (fresh[priority] || 0) + 1;
    plan();
  }
}

export function sayEnded() {
  ended += 1;
  plan();
}

/** Say one sentence with the next summary's turn of speech, at once if nothing was said lately. */
export function sayState(text) {
  byId("say-polite").textContent = text;
}

function plan() {
  summaryTimer ||= setTimeout(saySummary, Math.max(500, saidAt + SUMMARY_MS - performance.now()));
}

function saySummary() {
  summaryTimer = 0;
  saidAt = performance.now();
  const parts = ["medium", "low"].filter((p) => fresh[p]).map((p) => t(`say_new_${p}`, { n: fresh[p] }));
  if (ended) parts.push(t("say_ended", { n: ended }));
  fresh = { high: 0, medium: 0, low: 0 };
  ended = 0;
  byId("say-polite").textContent = parts.join(", ");
}

function sayUrgent() {
  urgentTimer = 0;
  const told = urgent.slice(0, 3).join(". ");
  const more = urgent.length > 3 ? ` ${t("say_more", { n: urgent.length - 3 })}` : "";
  byId("say-now").textContent = `${t("say_high")} ${told}${more}`;
  urgent = [];
}

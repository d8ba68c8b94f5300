// How an alert is put into words and signs. Never colour alone: each priority has its mark and its word.

import { clock, moment, span, t } from "./words.js";

export const PRIORITIES = ["high", "medium", "low", "info"];
export const MARKS = { high: "!!!", medium: "!!", low: "!", info: "i" };
export const RANKS = { high: 3, medium: 2, low: 1, info: 0 };

export const rank = (priority) => RANKS[priority] ?? -1;
export const isOver = (alert) => ["resolved", "withdrawn", "expired"].includes(alert.status);
export const isUnanswered = (alert) => alert.status === "active" || alert.ended_unacknowledged === true;

/** Where to go: whom or what it is about, when no tile says it. A chair named here is where the patient was. */
export const placeOf = (alert) => alert.patient_id || alert.water_loop || alert.water_loop_id || alert.unit_id || alert.chair || "";

/** "!!! HIGH" */
export const priorityText = (priority) => `${MARKS[priority] ?? "?"} ${t(`priority_${priority}`)}`;

/** What was done about an alert, in one line. */
export function stateText(alert, now) {
  const pending = answerText(alert.answer);
  if (pending) return pending;
  if (alert.ended_unacknowledged) return t("state_ended_unacknowledged");
  if (isOver(alert)) return t(`status_${alert.status}`);
  if (alert.status === "snoozed") return `☾ ${t("state_snoozed", { time: clock(moment(alert.snoozed_until)) })}`;
  if (alert.status === "acknowledged") return `✓ ${acknowledgedText(alert)}`;
  const since = t("state_active", { age: span(now - moment(alert.raised_at)) });
  return alert.inhibited_by?.length ? `${since} · ${t("state_inhibited")}` : since;
}

function acknowledgedText(alert) {
  if (!alert.acknowledged_by) return t("status_acknowledged");
  return t("state_acknowledged", { by: alert.acknowledged_by, time: clock(moment(alert.acknowledged_at)) });
}

/** An answer that is under way, or late; null when there is none or it has arrived. */
export function answerText(answer) {
  if (!answer || answer.state === "done") return null;
  return t(`answer_${answer.state}`, { action: t(`did_${answer.action}`), by: answer.by ?? "" });
}

/** The worst open priority, the worst that nobody has answered (colour and flash of a lamp), the worst that ended so. */
export function lampOf(alerts) {
  let open = null;
  let flash = null;
  let ended = null;
  for (const alert of alerts) {
    if (isOver(alert)) {
      if (alert.ended_unacknowledged && rank(alert.priority) > rank(ended)) ended = alert.priority;
      continue;
    }
    if (rank(alert.priority) > rank(open)) open = alert.priority;
    if (alert.status === "active" && rank(alert.priority) > rank(flash)) flash = alert.priority;
  }
  return { open, flash, ended };
}

export function byUrgency(a, b) {
  return Number(isOver(a)) - Number(isOver(b)) || Number(isUnanswered(b)) - Number(isUnanswered(a))
    || rank(b.priority) - rank(a.priority) || moment(b.raised_at) - moment(a.raised_at);
}

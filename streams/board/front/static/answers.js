// A person's answer: shown as sent at once, as done only when it has come back, and said when it has not.

import { byId, setData, setHidden, setText } from "./dom.js";
import { isOver } from "./alert_words.js";
import { now } from "./server_clock.js";
import { signedOut } from "./watch.js";
import { nextAt, t } from "./words.js";

const LATE_MS = 5000;
const WANTED = { acknowledge: "acknowledged", unacknowledge: "active", snooze: "snoozed", resolve: "resolved" };
let alert = null;
let pending = null;
const forms = byId("answer-forms");

/** Show what can be answered now, and what became of the last answer. */
export function showAnswers(found) {
  alert = found;
  settle();
  drawState();
  if (forms) drawForms();
}

/** The pending answer is over when the server says so, or when the alert's next revision shows it. */
function settle() {
  if (!pending) return;
  const told = alert.answer?.action === pending.action ? alert.answer.state : null;
  const isBack = alert.revision > pending.revision && alert.status === WANTED[pending.action];
  if (isBack || (told === "done" && pending.isAccepted && alert.status === WANTED[pending.action])) {
    pending = null;
    tell("done");
  }
}

let doneUntil = 0;

function tell(state) {
  if (state === "done") doneUntil = performance.now() + 8000;
}

function drawState() {
  const node = byId("answer-state");
  let state = null;
  let values = {};
  if (pending) {
    state = performance.now() - pending.at > LATE_MS ? "late" : "sent";
    values = { action: t(`did_${pending.action}`), by: "" };
  } else if (alert.answer && alert.answer.state !== "done") {
    state = alert.answer.state;
    values = { action: t(`did_${alert.answer.action}`), by: alert.answer.by ?? "" };
  } else if (performance.now() < doneUntil) {
    state = "done";
  }
  setData(node, "state", state);
  setText(node, state ? t(`answer_long_${state}`, values) : "");
  setHidden(node, !state);
}

function drawForms() {
  const over = isOver(alert);
  for (const button of forms.querySelectorAll("button")) {
    const action = button.dataset.action;
    const isWrong = (action === "acknowledge" && alert.status === "acknowledged")
      || (action === "unacknowledge" && alert.status === "active");
    button.hidden = isWrong && button !== document.activeElement;
    button.setAttribute("aria-disabled", String(Boolean(pending) || over || isWrong));
  }
  const session = forms.querySelector("[data-session]");
  if (session) session.hidden = alert.session_end === null;
  const most = alert.snooze_most_minutes;
  for (const button of forms.querySelectorAll("[data-minutes]")) {
    if (typeof most === "number") button.hidden = Number(button.dataset.minutes) > most;
  }
}

function bodyOf(button) {
  const action = button.dataset.action;
  const body = { action };
  if (button.dataset.minutes) body.minutes = Number(button.dataset.minutes);
  if (button.dataset.session) body.until_session_end = true;
  if (button.dataset.time) {
    const time = byId("snooze-time");
    if (!time.value) return { error: t("error_time"), field: time };
    body.until = nextAt(time.value, now());
  }
  if (action === "resolve") {
    const reason = byId("reason");
    if (!reason.value.trim()) return { error: t("error_reason"), field: reason };
    body.reason = reason.value.trim();
  }
  return { body };
}

async function send(button) {
  if (button.getAttribute("aria-disabled") === "true" || pending) return;
  const { body, error, field } = bodyOf(button);
  showError(error ?? "", field);
  if (error) return;
  pending = { action: body.action, revision: alert.revision, at: performance.now(), isAccepted: false };
  drawState();
  drawForms();
  const failed = await post(body);
  if (failed) {
    pending = null;
    showError(failed);
  } else if (pending) {
    pending.isAccepted = true;
    if (body.action === "resolve") byId("reason").value = "";
  }
  showAnswers(alert);
}

/** Send it; return a sentence that says why not, or null. */
async function post(body) {
  try {
    const answer = await fetch(`/api/alerts/${encodeURIComponent(alert.alert_id)}/answer`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": document.querySelector("meta[name=csrf]").content },
      body: JSON.stringify(body),
      redirect: "error",
      signal: AbortSignal.timeout(10000),
    });
    if (answer.status === 202) return null;
    if (answer.status === 401) signedOut(true);
    const told = await answer.json().catch(() => ({}));
    return told.error || t(answer.status === 403 ? "error_forbidden" : "error_refused");
  } catch {
    return t("error_network");
  }
}

function showError(text, field) {
  const node = byId("answer-error");
  setText(node, text);
  setHidden(node, !text);
  for (const input of forms.querySelectorAll("input")) {
    input.toggleAttribute("aria-invalid", input === field);
    if (input === field) input.setAttribute("aria-describedby", "answer-error");
    else input.removeAttribute("aria-describedby");
  }
  field?.focus();
}

/** Look whether an answer is late: called by the page's timer. */
export function tickAnswers() {
  if (!alert) return;
  if (pending && performance.now() - pending.at > 60000) pending = null;
  drawState();
  if (forms) drawForms();
}

if (forms) {
  forms.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) send(button);
  });
  forms.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    send(event.target.closest("fieldset").querySelector(event.target.type === "time" ? "[data-time]" : "[data-action]"));
  });
}

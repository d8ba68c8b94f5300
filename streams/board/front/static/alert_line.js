// One alert as a line of a list: mark, word, title, what was done. A link to its page.

import { el, setData, setText } from "./dom.js";
import { MARKS, placeOf, stateText } from "./alert_words.js";
import { ruleTitle, t } from "./words.js";

export class AlertLine {
  constructor(alert, withPlace) {
    this.mark = el("span", { class: "mark", "aria-hidden": "true" });
    this.word = el("span", { class: "aside-text" });
    this.title = el("span", { class: "line-title" });
    this.summary = el("span", { class: "line-summary", lang: "en" });
    this.state = el("span", { class: "line-state" });
    this.place = withPlace ? el("span", { class: "line-place" }) : null;
    this.link = el("a", { class: "line-link" }, this.mark, this.word, this.place, this.title);
    this.node = el("li", { class: "line" }, this.link, this.summary, this.state);
    this.update(alert, alert.at);
  }

  update(alert, now) {
    this.alert = alert;
    setData(this.node, "priority", alert.priority);
    setData(this.node, "status", alert.ended_unacknowledged ? "ended" : alert.status);
    setData(this.node, "answer", alert.answer?.state);
    const href = `/alerts/${encodeURIComponent(alert.alert_id)}`;
    if (this.link.getAttribute("href") !== href) this.link.setAttribute("href", href);
    setText(this.mark, MARKS[alert.priority] ?? "?");
    setText(this.word, `${t(`priority_${alert.priority}`)}: `);
    setText(this.title, ruleTitle(alert));
    setText(this.summary, alert.summary ?? "");
    if (this.place) setText(this.place, placeOf(alert));
    this.tick(now);
  }

  tick(now) {
    setText(this.state, stateText(this.alert, now));
  }
}

/** Lines kept by alert id in a list, in order: only what differs is touched. */
export class AlertLines {
  constructor(node, { withPlace = false } = {}) {
    this.node = node;
    this.withPlace = withPlace;
    this.lines = new Map();
  }

  update(alerts, now) {
    const wanted = new Set(alerts.map((alert) => alert.alert_id));
    for (const [id, line] of this.lines) {
      if (wanted.has(id)) continue;
      line.node.remove();
      this.lines.delete(id);
    }
    alerts.forEach((alert, index) => {
      let line = this.lines.get(alert.alert_id);
      if (line) line.update(alert, now);
      else {
        line = new AlertLine(alert, this.withPlace);
        line.tick(now);
        this.lines.set(alert.alert_id, line);
      }
      if (this.node.children[index] !== line.node) this.node.insertBefore(line.node, this.node.children[index] ?? null);
    });
  }

  tick(now) {
    for (const line of this.lines.values()) line.tick(now);
  }
}

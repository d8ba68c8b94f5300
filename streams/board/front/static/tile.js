// One chair. Made once, then only what differs is changed.

import { el, setData, setHidden, setText } from "./dom.js";
import { AlertLines } from "./alert_line.js";
import { byUrgency, lampOf, MARKS, priorityText, rank } from "./alert_words.js";
import { age, clock, hours, moment, number, t } from "./words.js";

const SHOWN_ALERTS = 2;

class Reading {
  constructor(label, unit) {
    this.value = el("b");
    this.age = el("small");
    this.node = el("span", { class: "reading" }, 
      el("span", { class: "reading-value" }, el("span", { class: "reading-label" }, label), " ", this.value), " ",
      el("span", { class: "reading-unit" }, unit), " ", this.age);
  }

  update(value, at, now) {
    const isKnown = value !== null && value !== undefined;
    setText(this.value, isKnown ? number(value) : "–");
    const ago = now - moment(at);
    setText(this.age, isKnown && Number.isFinite(ago) ? age(ago) : "");
  }
}

export class TileView {
  constructor(key) {
    this.key = key;
    this.lamp = el("span", { class: "lamp", "aria-hidden": "true" });
    this.chair = el("h3", { class: "chair" });
    this.priority = el("span", { class: "prio" });
    this.patient = el("span", { class: "patient" });
    this.time = el("p", { class: "time" });
    this.bar = el("progress", { class: "bar", "aria-hidden": "true", max: "1" });
    this.list = el("ul", { class: "lines" });
    this.lines = new AlertLines(this.list);
    this.more = el("button", { type: "button", class: "more", "aria-expanded": "false" });
    this.more.addEventListener("click", () => this.#toggle());
    this.pressure = new Reading(t("systolic"), t("unit_pressure"));
    this.rate = new Reading(t("uf_rate"), t("unit_uf"));
    this.vitals = el("p", { class: "vitals" }, this.pressure.node, " ", this.rate.node);
    this.node = el("li", { class: "tile" },
      el("div", { class: "tile-head" }, this.lamp, this.chair, this.patient, this.priority),
      this.time, this.bar, this.list, this.more, this.vitals);
    this.isOpen = false;
  }

  #toggle() {
    this.isOpen = !this.isOpen;
    this.more.setAttribute("aria-expanded", String(this.isOpen));
    this.#drawAlerts(this.now);
  }

  /** Draw a tile with those of its alerts that the filter lets through. */
  update(tile, alerts, now, chair) {
    this.tile = tile;
    this.alerts = [...alerts].sort(byUrgency);
    this.takenAt = now;
    const { open, flash, ended } = lampOf(alerts);
    setData(this.node, "priority", open);
    if (this.node.dataset.flash !== (flash ?? "")) {
      setData(this.node, "flash", flash);
      alignFlash(this.lamp);
    }
    setData(this.node, "free", tile.patient_id || tile.session_id ? "" : "free");
    setText(this.chair, chair);
    setData(this.node, "ended", open ? "" : ended);
    const endedText = ended ? `${MARKS[ended]} ${t("priority_ended")}` : "";
    const isAnswered = open !== null && rank(flash) < rank(open);
    setData(this.node, "answered", isAnswered ? "yes" : "");
    setText(this.priority, open ? (isAnswered ? "✓ " : "") + priorityText(open) : endedText);
    setText(this.patient, tile.patient_id || (tile.session_id ? t("patient_unknown") : t("chair_free")));
    setHidden(this.vitals, !tile.session_id && !tile.patient_id);
    this.#drawAlerts(now);
    this.tick(now);
  }

  #drawAlerts(now) {
    const hidden = this.alerts.length - SHOWN_ALERTS;
    this.lines.update(this.isOpen ? this.alerts : this.alerts.slice(0, SHOWN_ALERTS), now);
    setHidden(this.list, this.alerts.length === 0);
    setHidden(this.more, hidden <= 0);
    if (hidden > 0) setText(this.more, this.isOpen ? t("fewer") : t("more", { n: hidden }));
  }

  tick(now) {
    this.now = now;
    const tile = this.tile;
    this.pressure.update(tile.systolic_mmhg, tile.systolic_at, now);
    this.rate.update(tile.uf_rate_ml_h, tile.uf_rate_at, now);
    this.lines.tick(now);
    const elapsed = this.#elapsed(now);
    const isRunning = Number.isFinite(elapsed);
    setText(this.time, isRunning ? this.#timeText(elapsed, now) : "");
    setHidden(this.bar, !isRunning || !tile.planned_minutes);
    if (isRunning && tile.planned_minutes) this.#drawBar(elapsed / tile.planned_minutes);
  }

  #drawBar(share) {
    const value = Math.min(1, Math.round(share * 100) / 100);
    if (this.bar.value !== value || this.bar.position < 0) this.bar.value = value;
  }

  #elapsed(now) {
    const tile = this.tile;
    if (!tile.session_id) return NaN;
    if (typeof tile.elapsed_minutes === "number") return tile.elapsed_minutes + (now - this.takenAt) / 60000;
    return (now - moment(tile.since)) / 60000;
  }

  #timeText(elapsed, now) {
    if (!this.tile.planned_minutes) return t("time_open", { time: hours(elapsed) });
    const values = { time: hours(elapsed), planned: hours(this.tile.planned_minutes), end: clock(moment(this.tile.planned_end)) };
    const isLate = moment(this.tile.planned_end) < now;
    return t(isLate ? "time_over" : "time_planned", values);
  }
}

const unaligned = new Set();

/** All lamps of one priority flash together: their animations count from the same moment. */
export function alignFlash(lamp) {
  if (!unaligned.size) requestAnimationFrame(align);
  unaligned.add(lamp);
}

/** All are asked for before one is set: each question after a change costs a pass over the styles of the page. */
function align() {
  const animations = [...unaligned].flatMap((lamp) => lamp.getAnimations());
  unaligned.clear();
  for (const animation of animations) animation.startTime = 0;
}

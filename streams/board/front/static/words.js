// The words of the screen and how numbers and times are written: language of the page, zone of the site.

import { readJson } from "./dom.js";

const root = document.documentElement;
export const lang = root.lang || "en";
export const zone = root.dataset.zone || "UTC";
const texts = readJson("texts") || {};
const locale = lang === "en" ? "en-GB" : lang;

/** The text of a key, with {name} filled in. An unknown key shows itself, so that it is noticed. */
export function t(key, values = {}) {
  const text = Object.hasOwn(texts, key) ? texts[key] : key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));
}

/** The text of a key made of a code of the server, or the code itself. */
export const code = (prefix, value) => {
  const key = `${prefix}_${value}`;
  return Object.hasOwn(texts, key) ? texts[key] : String(value ?? "").replaceAll("_", " ");
};

export const ruleTitle = (alert) => {
  const key = `rule_${alert.rule}`;
  return Object.hasOwn(texts, key) ? texts[key] : alert.title || code("rule", alert.rule);
};

/** Names in the order a person expects: chair 2 before chair 10. */
export const collator = new Intl.Collator(locale, { numeric: true });

const numbers = new Intl.NumberFormat(locale, { maximumFractionDigits: 2 });
const format = (options) => new Intl.DateTimeFormat(locale, { timeZone: zone, hourCycle: "h23", ...options });
const minuteClock = format({ hour: "2-digit", minute: "2-digit" });
const secondClock = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = format({ day: "2-digit", month: "short" });
const dayKey = format({ year: "numeric", month: "2-digit", day: "2-digit" });

export const number = (value) => (typeof value === "number" ? numbers.format(value) : String(value ?? "–"));
export const moment = (iso) => (iso ? Date.parse(iso) : NaN);
export const clock = (ms) => (Number.isFinite(ms) ? minuteClock.format(ms) : "–");
export const clockSeconds = (ms) => (Number.isFinite(ms) ? secondClock.format(ms) : "–");

/** Time of day, with the date where it is another day than today. */
export function when(ms, now, seconds = false) {
  if (!Number.isFinite(ms)) return "–";
  const time = seconds ? secondClock.format(ms) : minuteClock.format(ms);
  return dayKey.format(ms) === dayKey.format(now) ? time : `${day.format(ms)} ${time}`;
}

/** "12 s", "5 min", "3 h", "2 d": one unit, as a glance takes it in. */
export function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return t("days", { n: Math.floor(seconds / 86400) });
}

/** Age in minutes; below a minute it does not count seconds, so that a tile stands still. */
export const age = (ms) => (ms < 60000 ? t("just_now") : span(ms));

/** Hours and minutes of a treatment: 155 -> "2:35". */
export function hours(minutes) {
  const whole = Math.max(0, Math.floor(minutes));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** The next moment at which the site's clocks show HH:MM, as ISO text. */
export function nextAt(hhmm, now) {
  const [hour, minute] = hhmm.split(":").map(Number);
  for (const offset of [0, 1]) {
    const date = partsOf(now + offset * 86400000);
    let guess = Date.UTC(date.year, date.month - 1, date.day, hour, minute);
    const wanted = guess;
    for (let turn = 0; turn < 3; turn += 1) {
      const shown = partsOf(guess);
      guess += wanted - Date.UTC(shown.year, shown.month - 1, shown.day, shown.hour, shown.minute);
    }
    if (guess > now) return new Date(guess).toISOString();
  }
  return new Date(now + 86400000).toISOString();
}

const allParts = new Intl.DateTimeFormat("en-GB", {
  timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit",
});

function partsOf(ms) {
  const found = {};
  for (const part of allParts.formatToParts(ms)) found[part.type] = Number(part.value);
  return found;
}

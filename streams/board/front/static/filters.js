// Filters are links: the address holds them, so a screen is a bookmark.

import { byId, el, setHidden, setText } from "./dom.js";
import { code, collator, t } from "./words.js";

const NAMES = ["unit", "room", "priority", "family"];
const data = byId("filters").dataset;
export const filters = Object.fromEntries(NAMES.map((name) => [name, data[name] || null]));

/** The address of the room with one filter changed. */
export const pathWith = (name, value) => `/${queryWith(name, value)}`;

/** The query of the page with one filter changed. */
function queryWith(name, value) {
  const query = new URLSearchParams();
  for (const other of NAMES) {
    const wanted = other === name ? value : filters[other];
    if (wanted) query.set(other, wanted);
  }
  const text = query.toString();
  return text ? `?${text}` : "";
}

export const roomPath = () => `/api/room${queryWith("", null)}`;

/** A filter may name several values, with commas between them. */
const allows = (name, value) => !filters[name] || filters[name].split(",").includes(value);

export const wantsTile = (tile) => allows("room", tile.room) && allows("unit", tile.unit_id);

export const wantsAlert = (alert) => allows("priority", alert.priority) && allows("family", alert.family);

/** An alert that has no tile has no room either. */
export const wantsLoose = (alert) => wantsAlert(alert) && (alert.unit_id === undefined || allows("unit", alert.unit_id));

/** With a filter of alerts only those chairs are shown that have one; otherwise every chair. */
export const asksForAlerts = () => Boolean(filters.priority || filters.family);

const label = (name, values) => values.split(",").map((value) => {
  if (name === "priority") return code("priority", value);
  return name === "family" ? code("family", value) : value;
}).join(", ");

export function drawFilters(state) {
  const active = NAMES.filter((name) => filters[name]);
  const now = byId("filter-now");
  setHidden(now, active.length === 0);
  now.replaceChildren(
    el("strong", {}, `${t("filter_now")} ${active.map((name) => `${t(name)}: ${label(name, filters[name])}`).join(" · ")}`),
    " ", el("a", { href: "/" }, t("filter_none")),
  );
  const tiles = [...(state.rooms || []).flatMap((room) => room.chairs), ...(state.elsewhere || [])];
  byId("filters").replaceChildren(...NAMES.map((name) => group(name, options(name, tiles))).filter(Boolean));
}

/** What can be chosen: the values that are on the screen, and the one that is chosen. */
function options(name, tiles) {
  if (name === "priority") return ["high", "medium", "low"];
  const found = new Set(filters[name] ? [filters[name]] : []);
  for (const tile of tiles) {
    const values = name === "family" ? (tile.alerts || []).map((alert) => alert.family) : [name === "unit" ? tile.unit_id : tile.room];
    for (const value of values) if (value) found.add(value);
  }
  return [...found].sort(collator.compare);
}

function group(name, values) {
  if (!values.length) return null;
  const links = [null, ...values].map((value) => el("li", {}, el("a", {
    href: pathWith(name, value), "aria-current": (filters[name] ?? null) === value ? "true" : null,
  }, value === null ? t("filter_all") : label(name, value))));
  const id = `filter-${name}`;
  return el("div", {}, el("p", { id }, t(name)), el("ul", { "aria-labelledby": id }, ...links));
}

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

export const wantsTile = (tile) => (!filters.room || tile.room === filters.room)
  && (!filters.unit || !tile.unit_id || tile.unit_id === filters.unit);

export const wantsAlert = (alert) => (!filters.priority || alert.priority === filters.priority)
  && (!filters.family || alert.family === filters.family);

/** With a filter of alerts only those chairs are shown that have one; otherwise every chair. */
export const asksForAlerts = () => Boolean(filters.priority || filters.family);

const label = (name, value) => {
  if (name === "priority") return t(`priority_${value}`);
  return name === "family" ? code("family", value) : value;
};

export function drawFilters(state) {
  const active = NAMES.filter((name) => filters[name]);
  const now = byId("filter-now");
  setHidden(now, active.length === 0);
  now.replaceChildren(
    el("strong", {}, `${t("filter_now")} ${active.map((name) => `${t(name)}: ${label(name, filters[name])}`).join(" · ")}`),
    " ", el("a", { href: "/" }, t("filter_none")),
  );
  byId("filters").replaceChildren(...NAMES.map((name) => group(name, options(name, state))).filter(Boolean));
}

function options(name, state) {
  const told = state.options?.[`${name === "family" ? "familie" : name === "priority" ? "prioritie" : name}s`];
  if (told) return told;
  if (name === "priority") return ["high", "medium", "low"];
  const found = new Set(filters[name] ? [filters[name]] : []);
  const tiles = [...(state.rooms || []).flatMap((room) => room.chairs.map((tile) => ({ room: room.name, ...tile }))), ...(state.elsewhere || [])];
  if (name === "family") for (const tile of tiles) for (const alert of tile.alerts || []) found.add(alert.family);
  else for (const tile of tiles) if (tile[name === "unit" ? "unit_id" : "room"]) found.add(tile[name === "unit" ? "unit_id" : "room"]);
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

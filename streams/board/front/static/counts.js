// The strip that is read first: how many open alerts of each priority, and at which chairs nobody has answered yet.

import { byId, el, setData, setText } from "./dom.js";
import { isOver, MARKS } from "./alert_words.js";
import { pathWith } from "./filters.js";
import { t } from "./words.js";

const PRIORITIES = ["high", "medium", "low"];
const NAMED = 3;
const views = new Map();

function viewOf(priority) {
  if (views.has(priority)) return views.get(priority);
  const view = {
    count: el("span", { class: "count-number" }),
    places: el("span", { class: "count-places" }),
  };
  view.node = el("a", { class: "count", "data-priority": priority, href: pathWith("priority", priority) },
    el("span", { class: "mark", "aria-hidden": "true" }, MARKS[priority]), " ",
    el("span", { class: "count-word" }, t(`priority_${priority}`)), " ", view.count, " ", view.places);
  views.set(priority, view);
  byId("counts").append(el("li", {}, view.node));
  return view;
}

/** `shown` holds pairs of an alert and the name of its place. */
export function drawCounts(shown) {
  for (const priority of PRIORITIES) {
    const open = shown.filter(([alert]) => alert.priority === priority && !isOver(alert));
    const waiting = open.filter(([alert]) => alert.status === "active");
    const places = [...new Set(waiting.map(([, place]) => place).filter(Boolean))];
    const named = places.slice(0, NAMED).join(", ") + (places.length > NAMED ? ` +${places.length - NAMED}` : "");
    const view = viewOf(priority);
    setText(view.count, String(open.length));
    setText(view.places, priority === "low" || !named ? "" : t("count_waiting", { places: named }));
    setData(view.node, "waiting", waiting.length ? "yes" : "no");
    setData(view.node, "none", open.length ? "" : "none");
  }
}

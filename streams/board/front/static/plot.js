// The trend that decided, small: earlier values as points, and the bound as a dashed line with its value.

import { svg } from "./dom.js";
import { clock, moment, number, t } from "./words.js";

const WIDTH = 640;
const HEIGHT = 220;
const LEFT = 20;
const RIGHT = 110;
const TOP = 30;
const BOTTOM = 34;

const scale = (low, high, from, to) => (value) => (high === low ? (from + to) / 2 : from + ((value - low) / (high - low)) * (to - from));

/** The points that can be drawn, oldest first. */
function pointsOf(context) {
  return (context || [])
    .map((item) => (Array.isArray(item) ? [moment(item[0]), item[1]] : [moment(item.at), item.value]))
    .filter(([at, value]) => Number.isFinite(at) && Number.isFinite(value))
    .sort((a, b) => a[0] - b[0]);
}

/** Return the drawing, or null where there is nothing to draw. */
export function plot(context, bound, contextUnit) {
  const points = pointsOf(context);
  if (!points.length) return null;
  const limit = Number.isFinite(bound?.value) ? bound.value : null;
  const values = points.map(([, value]) => value).concat(limit === null ? [] : [limit]);
  const spread = Math.max(...values) - Math.min(...values) || Math.abs(values[0]) || 1;
  const x = scale(points[0][0], points.at(-1)[0], LEFT, WIDTH - RIGHT);
  const y = scale(Math.min(...values) - spread * 0.1, Math.max(...values) + spread * 0.1, HEIGHT - BOTTOM, TOP);
  const unit = bound?.unit ?? contextUnit ?? "";
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": words(points, limit, unit) });
  if (limit !== null) drawing.append(...boundOf(y(limit), limit, unit));
  drawing.append(svg("polyline", { class: "plot-line", points: points.map(([at, value]) => `${x(at)},${y(value)}`).join(" ") }));
  for (const [at, value] of points) drawing.append(svg("circle", { class: "plot-point", cx: x(at), cy: y(value), r: 5 }));
  drawing.append(...ends(points, x, y, (value) => limit !== null && value < limit));
  return drawing;
}

function boundOf(at, limit, unit) {
  const right = WIDTH - RIGHT + 14;
  return [
    svg("line", { class: "plot-bound", x1: LEFT, x2: right, y1: at, y2: at }),
    svg("text", { class: "plot-text", x: right + 4, y: at - 4 }, t("plot_bound")),
    svg("text", { class: "plot-text", x: right + 4, y: at + 15 }, `${number(limit)} ${unit}`),
  ];
}

/** Value and time of the first and of the last point. */
function ends(points, x, y, isUnder) {
  const chosen = points.length > 1 ? [points[0], points.at(-1)] : [points[0]];
  return chosen.flatMap(([at, value], index) => {
    const anchor = index === 0 && points.length > 1 ? "start" : "end";
    return [
      svg("text", { class: "plot-value", x: x(at), y: y(value) + (isUnder(value) ? 24 : -12), "text-anchor": anchor }, number(value)),
      svg("text", { class: "plot-text", x: x(at), y: HEIGHT - 8, "text-anchor": anchor }, clock(at)),
    ];
  });
}

function words(points, limit, unit) {
  const [first, last] = [points[0], points.at(-1)];
  const text = t("plot_words", {
    n: points.length, first: number(first[1]), from: clock(first[0]), last: number(last[1]), to: clock(last[0]), unit,
  });
  return limit === null ? text : `${text} ${t("plot_words_bound", { value: number(limit), unit })}`;
}

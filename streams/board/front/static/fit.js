// A wall has no hand to scroll: tiles are made as large as lets all of them be seen at once.

import { byId, setData } from "./dom.js";

const SIZES = ["large", "medium", "compact", "tight", "small"];
const WALL_WIDTH = 1200;
const MEASURED = 150;
const HEADING = 0.15;
const root = document.documentElement;
let planned = 0;
let fitted = "";

/** Plan a look at whether all tiles can be seen; many changes at once cost one look. */
export function fit(count) {
  setData(root, "many", count > MEASURED ? "yes" : "");
  const key = `${count} ${innerWidth} ${innerHeight}`;
  const isSettled = key === fitted && (count > MEASURED || root.dataset.size === "small" || root.scrollHeight <= innerHeight);
  if (isSettled) return;
  planned ||= requestAnimationFrame(() => {
    planned = 0;
    fitted = key;
    choose(count);
  });
}

/** Forget what was found: alerts that ended may leave room for larger tiles. */
export function fitAnew(count) {
  fitted = "";
  fit(count);
}

function choose(count) {
  const rooms = [...byId("rooms").children].filter((room) => !room.hidden)
    .map((node) => ({ node, count: node.querySelector(".tiles").children.length }));
  if (innerWidth < WALL_WIDTH) {
    delete root.dataset.size;
    spread(rooms, 0);
    return;
  }
  for (const size of count > MEASURED ? ["small"] : SIZES) {
    root.dataset.size = size;
    spread(rooms, columnsFor(rooms));
    if (root.scrollHeight <= innerHeight) return;
  }
}

/** The number of columns that needs the least height, and of those the widest tiles. */
function columnsFor(rooms) {
  const style = getComputedStyle(root);
  const rem = parseFloat(style.fontSize);
  const gap = parseFloat(style.getPropertyValue("--gap")) * rem;
  const tile = parseFloat(style.getPropertyValue("--tile")) * rem;
  const most = Math.max(1, Math.floor((byId("rooms").clientWidth + gap) / (tile + gap)));
  let best = most;
  for (let columns = most; columns >= 1; columns -= 1) {
    if (heightOf(rooms, columns) <= heightOf(rooms, best)) best = columns;
  }
  return best;
}

/** Rows of tiles, with a part of one for each heading, when rooms that fit beside each other stand so. */
function heightOf(rooms, columns) {
  let height = 0;
  let free = 0;
  for (const { count } of rooms) {
    const span = Math.min(count, columns);
    if (span > free) {
      height += HEADING + Math.ceil(count / columns);
      free = columns;
    }
    free -= span;
  }
  return height;
}

/** Give each room its share of the columns; none at all where the page scrolls anyway. */
function spread(rooms, columns) {
  setOrDrop(byId("rooms"), columns);
  for (const { node, count } of rooms) {
    const span = Math.min(count, columns);
    node.style.gridColumn = span ? `span ${span}` : "";
    setOrDrop(node.querySelector(".tiles"), span);
  }
}

function setOrDrop(node, columns) {
  if (columns) node.style.setProperty("--columns", String(columns));
  else node.style.removeProperty("--columns");
}

// A wall has no hand to scroll: tiles are made as large as lets all of them be seen at once.

const SIZES = ["large", "medium", "small"];
const WALL_WIDTH = 1200;
const MEASURED = 150;
const root = document.documentElement;
let planned = 0;
let fitted = "";

/** Plan a look at whether all tiles can be seen; many changes at once cost one look. */
export function fit(count) {
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
  if (innerWidth < WALL_WIDTH) {
    delete root.dataset.size;
    return;
  }
  for (const size of count > MEASURED ? ["small"] : SIZES) {
    root.dataset.size = size;
    if (root.scrollHeight <= innerHeight) return;
  }
}

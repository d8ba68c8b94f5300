// What every page has: day or night, the menu, the watch and the events where the page shows a state.

import { byId, setHidden, setText } from "./dom.js";
import { t } from "./words.js";
import { everySecond } from "./server_clock.js";

const THEMES = ["auto", "day", "night"];
const root = document.documentElement;

function startTheme() {
  const button = byId("theme");
  if (!button) return;
  const draw = () => setText(button, t(`theme_${root.dataset.themeChoice}`));
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(root.dataset.themeChoice) + 1) % THEMES.length];
    try { localStorage.setItem("theme", next); } catch { /* it holds until the page is closed */ }
    window.applyTheme(next);
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => window.applyTheme());
  let seconds = 0;
  everySecond(() => { seconds += 1; if (seconds % 30 === 0) window.applyTheme(); });
  draw();
}

/** Close the menu with Escape and with a press elsewhere. */
function startMenu() {
  const menu = byId("menu");
  if (!menu) return;
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
}

/** Say that messages on the topics could not be read, and how many. */
export function showHint(hint) {
  const node = byId("hint");
  const count = hint?.unreadable || 0;
  setHidden(node, count === 0);
  setText(node, count ? t("hint_unreadable", { n: count }) : "");
}

startTheme();
startMenu();

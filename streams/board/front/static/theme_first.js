// Before anything is drawn: day or night, so that a dark room is not lit by a white page that loads.
// A classic script in the head; frame.js switches later.
(() => {
  const root = document.documentElement;
  let choice = "auto";
  try { choice = localStorage.getItem("theme") || "auto"; } catch { /* storage may be forbidden: automatic */ }

  function isNight() {
    if (matchMedia("(prefers-color-scheme: dark)").matches) return true;
    const hour = Number(new Intl.DateTimeFormat("en-GB", {
      hour: "2-digit", hourCycle: "h23", timeZone: root.dataset.zone || undefined,
    }).format(new Date()));
    return hour >= 20 || hour < 6;
  }

  function apply(next) {
    choice = next || choice;
    root.dataset.themeChoice = choice;
    const theme = choice === "auto" ? (isNight() ? "night" : "day") : choice;
    if (root.dataset.theme !== theme) root.dataset.theme = theme;
  }

  window.applyTheme = apply;
  apply();
})();

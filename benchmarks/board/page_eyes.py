"""A browser that looks at the screen: how fast its first picture is, and when it shows which transition."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from playwright.async_api import Browser, CDPSession, Page, ViewportSize

from benchmarks.board.judging import Lags, Picture

_WALL: Final[ViewportSize] = {"width": 1920, "height": 1080}
_PICTURE_MS: Final = 30_000
_BETWEEN_S: Final = 0.15
#: Unfolding 500 tiles at once is our doing: its frame is over before anything is sent.
_SETTLE_S: Final = 2.0
#: What the browser measured of its first picture: the answer's last byte, and the moment after drawing, from the start
#: of the navigation.
_FIRST: Final = """() => {
  const navigation = performance.getEntriesByType("navigation")[0];
  return {
    server: navigation.responseEnd,
    drawn: performance.getEntriesByName("drawn")[0].startTime,
    tiles: document.querySelectorAll(".tile").length,
  };
}"""
#: Notes each line of an alert that changes, with the number that ends its summary, or none when it leaves. The moment
#: is that after the frame in which it is drawn.
_WATCH: Final = """() => {
  document.querySelectorAll(".tile .more").forEach((button) => button.click());
  const taken = [];
  let changed = new Set();
  const stamp = (lines) => {
    const at = Date.now();
    for (const line of lines) {
      const number = /#([0-9]+)[)]$/.exec(line.querySelector(".line-summary").textContent);
      const shown = line.isConnected && number ? Number(number[1]) : null;
      taken.push([line.querySelector("a").pathname.slice("/alerts/".length), shown, at]);
    }
  };
  const drawn = () => {
    const lines = changed;
    changed = new Set();
    setTimeout(() => stamp(lines));
  };
  const note = (line) => {
    if (changed.size === 0) requestAnimationFrame(drawn);
    changed.add(line);
  };
  new MutationObserver((records) => {
    for (const { target, addedNodes, removedNodes } of records) {
      if (target.className === "line-summary") note(target.closest(".line"));
      for (const node of [...addedNodes, ...removedNodes]) {
        if (node.className === "line") note(node);
        else if (node.querySelectorAll) node.querySelectorAll(".line").forEach(note);
      }
    }
  }).observe(document.getElementById("main"), { childList: true, subtree: true, characterData: true });
  window.takeShown = () => ({ shown: taken.splice(0), blind: !document.getElementById("blind").hidden });
}"""


async def first_picture(browser: Browser, url: str) -> Picture:
    """Open the screen in a browser that has never been there."""
    context = await browser.new_context(viewport=_WALL)
    page = await context.new_page()
    await page.goto(url)
    await page.wait_for_function("performance.getEntriesByName('drawn').length", timeout=_PICTURE_MS)
    found: dict[str, Any] = await page.evaluate(_FIRST)
    await context.close()
    return Picture(found["server"], found["drawn"] - found["server"], found["drawn"], found["tiles"])


class PageEyes:
    """A page with every alert of every tile unfolded, which says what it shows."""

    def __init__(self, page: Page, tools: CDPSession, lags: Lags) -> None:
        self._page, self._tools = page, tools
        self._lags = lags
        #: How many looks found the banner.
        self.blind = 0

    @classmethod
    async def opened(cls, browser: Browser, url: str, lags: Lags) -> PageEyes:
        """Open the screen and begin to watch it."""
        context = await browser.new_context(viewport=_WALL)
        page = await context.new_page()
        await page.goto(url)
        await page.wait_for_function("performance.getEntriesByName('drawn').length", timeout=_PICTURE_MS)
        await page.evaluate(_WATCH)
        await asyncio.sleep(_SETTLE_S)
        return cls(page, await context.new_cdp_session(page), lags)

    async def look(self) -> None:
        """Take what was shown since the last look."""
        found = await self._page.evaluate("takeShown()")
        self.blind += bool(found["blind"])
        for alert_id, number, at in found["shown"]:
            self._lags.seen(alert_id, number, at / 1000)

    async def heap(self) -> float:
        """The bytes of the page's heap that are in use after a collection.

        The least of three: a change that is being taken at the moment is a quarter of a megabyte, and no leak.
        """
        found = []
        for _ in range(3):
            await self._tools.send("HeapProfiler.collectGarbage")
            usage = await self._tools.send("Runtime.getHeapUsage")
            found.append(float(usage["usedSize"]))
            await asyncio.sleep(_BETWEEN_S)
        return min(found)

    async def close(self) -> None:
        """Close the page."""
        await self._page.context.close()

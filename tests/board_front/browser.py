"""Starting the Chromium of the machine, and pages that note what went wrong in them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_AXE: Final = Path(__file__).parent / "axe" / "axe.min.js"
_AXE_SHA256: Final = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
_TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WALL: Final = (1920, 1080)
PHONE: Final = (360, 740)


def chromium_path() -> str:
    """Return where Chromium is; where it is missing, tests and benchmark fail with what to do."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    raise AssertionError("The unit screen is looked at in Chromium: install it with `apt-get install -y chromium`.")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    path = chromium_path()
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield running
        await running.close()


@asynccontextmanager
async def watched_page(browser: Browser, size: tuple[int, int] = WALL, **options: Any) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page = await context.new_page()
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            errors.append(message.text)

    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", note)
    yield page
    await context.close()
    assert errors == []


async def violations(page: Page) -> list[str]:
    """Return what axe-core finds on the page, one line each."""
    code = _AXE.read_bytes()
    assert hashlib.sha256(code).hexdigest() == _AXE_SHA256, f"{_AXE.name} is not the file that was pinned"
    await page.evaluate(code.decode())
    found = await page.evaluate("tags => axe.run(document, {runOnly: tags})", _TAGS)
    return [
        f"{item['id']}: {item['help']}: {node['target']} {node['failureSummary']}"
        for item in found["violations"]
        for node in item["nodes"][:3]
    ]

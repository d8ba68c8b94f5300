"""Pictures of the pages: `python -m tests.board_front.screenshots FOLDER`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser

from tests.board_front import made_up
from tests.board_front.browser import PHONE, WALL, chromium, watched_page
from tests.board_front.fake_server import FakeBoard

#: Name, path, size, options of the page.
SHOTS: Final[list[tuple[str, str, tuple[int, int], dict[str, Any]]]] = [
    ("wall", "/", WALL, {"theme": "day"}),
    ("night", "/", WALL, {"theme": "night"}),
    ("blind", "/", WALL, {"theme": "day", "blind": True}),
    ("phone", "/", PHONE, {"theme": "day"}),
    ("phone-blind", "/", PHONE, {"theme": "day", "blind": True}),
    ("phone-german", "/", PHONE, {"theme": "night", "lang": "de"}),
    ("alert", "/alerts/a-bp", (1280, 900), {"theme": "day"}),
    ("alert-phone", "/alerts/a-bp", PHONE, {"theme": "night", "lang": "de"}),
    ("load", "/load", (1280, 900), {"theme": "day"}),
    ("sign-in", "/sign-in", (1280, 900), {"theme": "night"}),
]


async def shoot(browser: Browser, folder: Path, name: str, path: str, size: tuple[int, int], wish: Any) -> None:
    async with FakeBoard(lang=wish.get("lang", "en")) as board, watched_page(browser, size) as page:
        await page.add_init_script(f"localStorage.setItem('theme', '{wish['theme']}')")
        if wish.get("blind"):
            since = made_up.ago(0.7)
            reasons = [{"code": "no_status", "partitions": [2, 5], "since": since}]
            board.room.update(blind={"is_blind": True, "reasons": reasons}, shown_at=since)
        await page.goto(board.url + path)
        await page.wait_for_timeout(1600)
        await page.evaluate("document.getAnimations().forEach(a => a.cancel())")
        await page.screenshot(path=folder / f"board-{name}.png")


async def main(folder: Path, only: list[str]) -> None:
    async with chromium() as browser:
        for name, path, size, wish in SHOTS:
            if not only or name in only:
                await shoot(browser, folder, name, path, size, wish)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))

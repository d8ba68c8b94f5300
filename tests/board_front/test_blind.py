"""A screen that cannot see says so, over everything."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.board_front import made_up
from tests.board_front.fake_server import FakeBoard


async def test_the_server_says_that_it_is_blind(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    banner = page.locator("#blind")
    await expect(banner).to_be_hidden()
    board.room["blind"] = {"is_blind": True, "reasons": [
        {"code": "broker", "partitions": [], "since": made_up.ago(1)},
        {"code": "no_status", "partitions": [1, 4], "since": made_up.ago(1)},
    ]}  # fmt: skip
    await expect(banner).to_be_visible(timeout=3000)
    await expect(banner).to_contain_text("THIS SCREEN IS NOT CURRENT")
    await expect(banner).to_contain_text("The message broker cannot be reached")
    await expect(banner).to_contain_text("part 1, 4")
    await expect(page.locator("#blind-age")).to_contain_text("3 s ago", timeout=5000)
    assert await page.locator("main").evaluate("node => getComputedStyle(node).filter") == "grayscale(1)"
    assert await page.locator(".tile .lamp").first.evaluate("node => getComputedStyle(node).visibility") == "hidden"
    board.room["blind"] = {"is_blind": False, "reasons": []}
    await expect(banner).to_be_hidden(timeout=3000)
    assert await page.locator("main").evaluate("node => getComputedStyle(node).filter") == "none"


@pytest.mark.parametrize("path", ["/", "/alerts/a-bp", "/load"])
async def test_silence_is_blindness(board: FakeBoard, page: Page, path: str) -> None:
    await page.goto(board.url + path)
    banner = page.locator("#blind")
    await expect(page.locator("#shown-age")).to_contain_text("ago")
    board.is_silent = True
    await page.wait_for_timeout(4000)
    await expect(banner).to_be_hidden()
    await expect(banner).to_be_visible(timeout=6000)
    await expect(banner).to_contain_text("No connection to the server")
    await expect(page.locator("#shown-age")).to_contain_text("ago")
    board.is_silent = False
    await expect(banner).to_be_hidden(timeout=8000)


async def test_a_server_that_is_away_is_blindness_and_comes_back(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await board.watched()
    board.is_away = True
    board.hang_up()
    await expect(page.locator("#blind")).to_be_visible(timeout=11000)
    board.tile("A1")["alerts"].append(made_up.alert("missed", "high_potassium", "high"))
    board.is_away = False
    await expect(page.locator("#blind")).to_be_hidden(timeout=12000)
    await expect(page.locator(".tile").first).to_contain_text("Potassium high")


async def test_a_page_that_was_frozen_reads_everything_again(board: FakeBoard, page: Page) -> None:
    """The tab slept for an hour: the wall clock has jumped against the page's own."""
    await page.add_init_script("""
        window.slept = 0;
        const real = Date.now.bind(Date);
        Date.now = () => real() + window.slept;
    """)
    await page.goto(board.url)
    await page.wait_for_timeout(2500)
    board.is_silent = True
    board.tile("A1")["alerts"].append(made_up.alert("missed", "high_potassium", "high"))
    await page.wait_for_timeout(300)
    await page.evaluate("window.slept = 3600000")
    await expect(page.locator("#blind")).to_be_visible(timeout=3000)
    await expect(page.locator(".tile").first).to_contain_text("Potassium high", timeout=3000)
    await expect(page.locator("#blind")).to_be_visible()
    board.is_silent = False
    await expect(page.locator("#blind")).to_be_hidden(timeout=4000)


async def test_a_room_that_cannot_be_read_again_is_blindness(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await board.watched()
    board.is_away = True
    board.tell("reload", {})
    await expect(page.locator("#blind")).to_be_visible(timeout=3000)
    await expect(page.locator("#blind")).to_contain_text("could not be read again")
    board.is_away = False
    await expect(page.locator("#blind")).to_be_hidden(timeout=5000)

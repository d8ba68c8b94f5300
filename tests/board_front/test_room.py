"""The room page: tiles, changes, filters, sizes."""

from __future__ import annotations

import asyncio
import re

from playwright.async_api import Browser, Locator, Page, expect

from tests.board_front import made_up
from tests.board_front.browser import PHONE, WALL, watched_page
from tests.board_front.fake_server import FakeBoard


def tile(page: Page, chair: str) -> Locator:
    return page.locator(".tile").filter(has=page.locator(".chair", has_text=re.compile(f"^{re.escape(chair)}$")))


async def test_every_chair_has_its_tile_in_the_order_of_the_room(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await expect(page.locator(".tile")).to_have_count(24)
    names = await page.locator(".tile .chair").all_text_contents()
    assert names == [f"{room}{number}" for room in "AB" for number in range(1, 13)]
    assert await page.locator(".tile[data-free=free]").count() == 4
    calm = tile(page, "A1")
    await expect(calm).to_contain_text("P-1007")
    await expect(calm).to_contain_text("0:57 of 4:00 h")
    await expect(calm).to_contain_text("117")
    await expect(calm).to_contain_text("4 min")


async def test_an_alert_has_colour_mark_word_and_title(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await expect(tile(page, "A3").locator(".prio")).to_have_text("!!! HIGH")
    await expect(tile(page, "A3")).to_contain_text("Ionised calcium low")
    await expect(tile(page, "A7").locator(".prio")).to_have_text("!! MEDIUM")
    await expect(tile(page, "A10").locator(".prio")).to_have_text("✓ !! MEDIUM")
    await expect(tile(page, "B9")).to_contain_text("ended, not acknowledged")
    await expect(tile(page, "B5")).to_contain_text("seen by N. Meyer")
    await expect(page.locator(".loose").first).to_contain_text("loop-2")
    await expect(page.locator(".loose").last).to_contain_text("P-4711")


async def flash(page: Page, chair: str) -> tuple[str, str]:
    style = "node => { const s = getComputedStyle(node); return [s.animationName, s.animationDuration]; }"
    name, duration = await tile(page, chair).locator(".lamp").evaluate(style)
    return name, duration


async def test_lamps_flash_at_the_rates_of_the_standard(board: FakeBoard, page: Page) -> None:
    """High 1.4 to 2.8 Hz, medium 0.4 to 0.8 Hz, low steady; an answered one does not flash."""
    await page.goto(board.url)
    assert await flash(page, "A3") == ("lamp", "0.5s")
    assert await flash(page, "A7") == ("lamp", "1.6667s")
    assert (await flash(page, "B2"))[0] == "none"
    assert (await flash(page, "B5"))[0] == "none"


async def test_who_asked_for_less_motion_sees_no_flash(board: FakeBoard, browser: Browser) -> None:
    async with watched_page(browser, reduced_motion="reduce") as page:
        await page.goto(board.url)
        assert (await flash(page, "A3"))[0] == "none"
        await expect(tile(page, "A3").locator(".prio")).to_have_text("!!! HIGH")


async def test_a_change_reaches_its_tile_and_no_other(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await board.watched()
    await page.evaluate("""() => {
        window.touched = new Set();
        new MutationObserver(all => all.forEach(one => {
            if (one.target.className === 'bar') return;  // time goes on in every treatment
            const tile = (one.target.closest ? one.target : one.target.parentElement).closest('.tile');
            if (tile) window.touched.add(tile.querySelector('.chair').textContent);
        })).observe(document.getElementById('rooms'), {subtree: true, childList: true, attributes: true});
    }""")
    board.tile("A1")["alerts"].append(made_up.alert("new", "high_potassium", "high"))
    board.tell_tile("A1")
    await expect(tile(page, "A1").locator(".prio")).to_have_text("!!! HIGH", timeout=2000)
    await expect(page.locator("#say-now")).to_contain_text("A1: Potassium high")
    assert await page.evaluate("[...window.touched]") == ["A1"]


async def test_an_alert_never_goes_back_in_revision(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await board.watched()
    found = board.tile("A7")["alerts"][0]
    old = dict(found)
    found.update(status="acknowledged", revision=3, acknowledged_by="K. Sommer", acknowledged_at=made_up.ago(0))
    board.tell_tile("A7")
    await expect(tile(page, "A7")).to_contain_text("seen by K. Sommer")
    board.tile("A7")["alerts"] = [old]
    board.tell_tile("A7")
    await page.wait_for_timeout(500)
    await expect(tile(page, "A7")).to_contain_text("seen by K. Sommer")


async def test_what_is_gone_leaves_and_a_chair_becomes_free(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await board.watched()
    board.tile("A7").update(made_up.free("Room A", "A7"))
    board.tell_tile("A7", gone=("a-bp", "u-al"))
    await expect(tile(page, "A7")).to_contain_text("free")
    await expect(tile(page, "A7").locator(".line")).to_have_count(0)
    await expect(page.get_by_text("loop-2")).to_have_count(0)


async def test_filters_stand_in_the_address(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await page.locator("#menu > summary").click()
    await page.locator("#filters").get_by_role("link", name="Room B", exact=True).click()
    assert page.url == f"{board.url}/?room=Room+B"
    await expect(page.locator(".tile")).to_have_count(12)
    await expect(page.locator("#filter-now")).to_contain_text("Room: Room B")
    await page.goto(f"{board.url}/?priority=high")
    await expect(page.locator(".tile")).to_have_count(2)
    await page.goto(f"{board.url}/?family=cramp")
    await expect(page.locator(".tile .chair")).to_have_text(["A10"])


async def test_a_wall_shows_every_chair_without_scrolling(board: FakeBoard, browser: Browser) -> None:
    async with watched_page(browser, WALL) as page:
        await page.goto(board.url)
        await page.wait_for_timeout(1000)
        assert await page.evaluate("document.documentElement.scrollHeight") <= WALL[1]


async def test_a_phone_does_not_scroll_sideways(board: FakeBoard, browser: Browser) -> None:
    async with watched_page(browser, PHONE) as page:
        for path in ("/", "/alerts/a-high", "/load", "/sign-in"):
            await page.goto(board.url + path)
            await page.wait_for_timeout(300)
            assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE[0], path


async def test_words_of_a_screen_reader_do_not_flood(board: FakeBoard, page: Page) -> None:
    """Many new alerts of less than high priority are one sentence."""
    await page.goto(board.url)
    await board.watched()
    await page.evaluate("""() => {
        window.said = [];
        new MutationObserver(() => window.said.push(document.getElementById('say-polite').textContent))
            .observe(document.getElementById('say-polite'), {childList: true, characterData: true, subtree: true});
    }""")
    for number in range(12):
        board.tile("A1")["alerts"] = [made_up.alert(f"new-{number}", "uf_rate_high", "medium")]
        board.tell_tile("A1")
        await asyncio.sleep(0.2)
    await page.wait_for_timeout(2000)
    said = await page.evaluate("window.said")
    assert 1 <= len(said) <= 2
    assert "new medium alerts" in said[0]


async def test_german_words_and_the_zone_of_the_site(browser: Browser) -> None:
    async with FakeBoard(lang="de") as board, watched_page(browser, timezone_id="America/New_York") as page:
        board.tile("A1")["planned_end"] = "2026-07-01T10:15:00Z"
        await page.goto(board.url)
        await expect(tile(page, "A3").locator(".prio")).to_have_text("!!! HOCH")
        await expect(tile(page, "A3")).to_contain_text("Ionisiertes Kalzium niedrig")
        await expect(tile(page, "A1")).to_contain_text("12:15")


async def test_tiles_out_of_sight_are_not_drawn_and_flash_with_the_others_once_they_are(browser: Browser) -> None:
    async with FakeBoard(made_up.large()) as board, watched_page(browser) as page:
        await page.goto(board.url)
        await expect(page.locator(".tile")).to_have_count(500)
        is_drawn = "node => node.firstChild.checkVisibility({contentVisibilityAuto: true})"
        assert await page.locator(".tile").first.evaluate(is_drawn)
        last = page.locator(".tile").last
        assert not await last.evaluate(is_drawn)
        await last.scroll_into_view_if_needed()
        await page.wait_for_function(is_drawn, arg=await last.element_handle())
        starts = "node => node.querySelector('.lamp').getAnimations().map((each) => each.startTime)"
        assert await last.evaluate(starts) == [0]

"""axe-core finds no barrier on any page, by day and by night, on a wall and on a phone."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect

from tests.board_front import made_up
from tests.board_front.browser import PHONE, WALL, violations, watched_page
from tests.board_front.fake_server import FakeBoard

PATHS = ["/", "/?priority=high", "/alerts/a-bp", "/alerts/b-over", "/load", "/sign-in"]


@pytest.mark.parametrize("size", [WALL, PHONE], ids=["wall", "phone"])
@pytest.mark.parametrize("theme", ["day", "night"])
@pytest.mark.parametrize("path", PATHS)
async def test_no_barriers(board: FakeBoard, browser: Browser, path: str, theme: str, size: tuple[int, int]) -> None:
    async with watched_page(browser, size, bypass_csp=True) as page:
        await page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        await page.goto(board.url + path)
        await page.wait_for_timeout(400)
        assert await page.evaluate("document.documentElement.dataset.theme") == theme
        await open_everything(page)
        assert await violations(page) == []


async def open_everything(page: Page) -> None:
    """What is folded away is looked at too."""
    await page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    await page.evaluate("document.getAnimations().forEach(one => one.cancel())")


@pytest.mark.parametrize("size", [WALL, PHONE], ids=["wall", "phone"])
@pytest.mark.parametrize("theme", ["day", "night"])
async def test_no_barriers_when_blind_and_with_signs(
    board: FakeBoard, browser: Browser, theme: str, size: tuple[int, int]
) -> None:
    board.room["blind"] = {"is_blind": True, "reasons": [{"code": "broker", "partitions": [], "since": made_up.ago(1)}]}
    board.room["hint"] = {"unreadable": 3}
    async with watched_page(browser, size, bypass_csp=True) as page:
        await page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        await page.goto(board.url)
        await expect(page.locator("#blind")).to_be_visible()
        await expect(page.locator("#hint")).to_contain_text("3 messages could not be read")
        assert await violations(page) == []


async def test_the_theme_is_switched_and_kept(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await page.locator("#menu > summary").click()
    button = page.locator("#theme")
    await expect(button).to_have_text("Display: automatic")
    await button.click()
    await button.click()
    await expect(button).to_have_text("Display: night")
    await page.goto(f"{board.url}/load")
    assert await page.evaluate("document.documentElement.dataset.theme") == "night"


async def test_dark_at_night_by_the_time_of_the_site(board: FakeBoard, browser: Browser) -> None:
    for zone, hour, theme in (("Etc/UTC", 23, "night"), ("Etc/UTC", 12, "day"), ("Asia/Tokyo", 12, "night")):
        board.zone = zone
        async with watched_page(browser, color_scheme="light") as page:
            await page.clock.install(time=f"2026-11-23T{hour}:00:00Z")
            await page.goto(f"{board.url}/sign-in")
            assert await page.evaluate("document.documentElement.dataset.theme") == theme, (zone, hour)
    async with watched_page(browser, color_scheme="dark") as page:
        await page.goto(f"{board.url}/sign-in")
        assert await page.evaluate("document.documentElement.dataset.theme") == "night"


async def test_the_chime_is_off_until_turned_on_and_can_be_tried(board: FakeBoard, page: Page) -> None:
    await page.add_init_script("""
        window.tones = 0;
        const real = OscillatorNode.prototype.start;
        OscillatorNode.prototype.start = function (...at) { window.tones += 1; return real.apply(this, at); };
    """)
    await page.goto(board.url)
    await board.watched()
    board.tile("A1")["alerts"].append(made_up.alert("first", "high_potassium", "high"))
    board.tell_tile("A1")
    await expect(page.locator(".tile").first).to_contain_text("Potassium high")
    assert await page.evaluate("window.tones") == 0
    await page.locator("#menu > summary").click()
    await page.locator("#sound").click()
    await expect(page.locator("#sound")).to_have_attribute("aria-pressed", "true")
    await page.locator("#sound-test").click()
    await page.wait_for_function(
        "() => window.tones > 40"
    )  # three pulses when it was turned on, ten tried, four tones each
    tried = await page.evaluate("window.tones")
    board.tile("A2")["alerts"].append(made_up.alert("second", "high_potassium", "high"))
    board.tell_tile("A2")
    await page.wait_for_function(f"() => window.tones > {tried}")


async def test_a_browser_that_blocks_sound_has_a_sign(board: FakeBoard, page: Page) -> None:
    """After a reload nobody has pressed anything yet: a browser does not let the page sound."""
    await page.add_init_script("""
        localStorage.setItem('sound', 'on');
        Object.defineProperty(AudioContext.prototype, 'state', {get: () => 'suspended'});
    """)
    await page.goto(board.url)
    await expect(page.locator("#sound-blocked")).to_be_visible()

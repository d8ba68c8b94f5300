"""The pages on the real server, which gets its records from the test: no Kafka, everything else as it is used."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from streams.board.front_end import FrontEnd
from streams.board.site_file import Room, Site
from tests.board.records import SITE
from tests.board.web import Served, served


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Served]:
    """A screen with one patient on chair 01 and one open alert of priority high, answered by `me`."""
    async with shown(tmp_path, SITE) as screen:
        yield screen


@contextlib.asynccontextmanager
async def shown(folder: Path, site: Site) -> AsyncIterator[Served]:
    async with served(folder, site=site) as screen:
        screen.shared.front = FrontEnd()
        flushing = asyncio.create_task(flush(screen))
        yield screen
        flushing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await flushing


async def flush(screen: Served) -> None:
    """What the program's timer does."""
    while True:
        await asyncio.sleep(0.1)
        screen.unit.board.flush()


async def test_an_alert_appears_is_acknowledged_and_comes_back(real: Served, page: Page) -> None:
    await page.goto(real.base)
    first = page.locator(".tile").first
    await expect(first.locator(".prio")).to_have_text("!!! HIGH")
    await expect(page.locator(".room h2")).to_have_text(["Room 1", "Room 2"])
    await expect(page.locator("#blind")).to_be_hidden()
    real.unit.alert("b", rule="high_potassium", family="electrolytes", priority="medium", summary="Potassium 6.2")
    await expect(first).to_contain_text("Potassium high", timeout=2000)
    await first.get_by_role("link", name="Magnesium low").click()
    await page.get_by_role("button", name="Acknowledge", exact=True).click()
    await expect(page.locator("#answer-state")).to_have_attribute("data-state", "sent")
    sent = json.loads(real.sender.sent[0].value)
    assert (sent["alert_id"], sent["action"], sent["by"]) == ("a", "acknowledge", "me")
    real.unit.answered("a", by="me")
    real.unit.alert("a", 2, status="acknowledged", transition="acknowledged", reason="acknowledged")
    await expect(page.locator("#answer-state")).to_have_attribute("data-state", "done")
    await expect(page.locator("#head")).to_contain_text("seen by me")
    await expect(page.locator("#history li")).to_have_count(2)


@pytest.mark.parametrize(
    ("language", "more", "until", "words"),
    [
        ("en", "Snooze or resolve", "Snooze until then", "rests at most 30 min: choose"),
        ("de", "Zurückstellen oder erledigen", "Bis dahin zurückstellen", "ruht höchstens 30 min: Bitte"),
    ],
)
async def test_what_the_server_refuses_is_said_in_the_language_of_the_page(
    real: Served, page: Page, language: str, more: str, until: str, words: str
) -> None:
    await page.goto(f"{real.base}/alerts/a?lang={language}")
    await page.get_by_text(more).click()
    await page.locator("#snooze-time").fill("23:00")
    await page.get_by_role("button", name=until).click()
    await expect(page.locator("#answer-error")).to_contain_text(words)
    await expect(page.locator("#answer-state")).to_be_hidden()
    assert real.sender.sent == []


async def test_who_has_no_page_is_refused_in_the_language_of_the_browser(real: Served) -> None:
    async with real.browser(**{"Accept-Language": "de-CH,de;q=0.9"}) as browser:
        acknowledge = {"action": "acknowledge"}
        assert "dieses Bildschirms" in (await browser.answer("a", acknowledge, csrf="x"))[1]["error"]
        assert "gibt es nicht" in (await browser.answer("b", acknowledge))[1]["error"]
        real.sender.is_away = True
        assert "nicht bestätigt" in (await browser.answer("a", acknowledge))[1]["error"]
        assert "Zugangszeichen" in (await browser.get("/?token=x"))[1]
        for _ in range(20):
            status, text = await browser.get("/?token=x")
        assert (status, "Zu viele Versuche" in text) == (429, True)


async def test_every_page_is_whole_in_both_languages(real: Served, page: Page) -> None:
    for path, words in (("/", "Magnesium niedrig"), ("/alerts/a", "Was zu prüfen ist"), ("/load", "Alarmlast")):
        await page.goto(f"{real.base}{path}?lang=de")
        await expect(page.locator("main")).to_contain_text(words)
        await expect(page.locator("#shown-age")).to_contain_text("Stand")
    await expect(page.locator("#load-rules tr")).to_have_count(1)
    await expect(page.locator("#load-waiting")).to_have_text("1")


async def test_chairs_move_and_chairs_that_the_site_does_not_know_come_and_go(real: Served, page: Page) -> None:
    await page.goto(real.base)
    real.unit.session("s9", "p9", chair="99")
    await expect(page.locator(".room h2")).to_have_text(["Room 1", "Room 2", "Other chairs"])
    await expect(page.locator(".tile").last).to_contain_text("p9")
    real.unit.session("s1", "p1", chair="03")
    moved = page.locator(".tile").filter(has_text="p1")
    await expect(moved.locator(".chair")).to_have_text("03")
    await expect(moved.locator(".prio")).to_have_text("!!! HIGH")
    await expect(page.locator(".tile").first).to_contain_text("free")


async def test_equal_chairs_of_two_units_are_two_tiles(real: Served, page: Page) -> None:
    real.unit.session("s9", "p9", chair="99", unit_id="U2")
    await page.goto(real.base)
    await expect(page.locator(".tile .chair")).to_have_text(["01", "02", "03", "99"])
    real.unit.session("s8", "p8", chair="99", unit_id="U1")
    both = ["01", "02", "03", "99 · U1", "99 · U2"]
    await expect(page.locator(".tile .chair")).to_have_text(both)
    await page.reload()
    await expect(page.locator(".tile .chair")).to_have_text(both)
    real.unit.session("s9", "p9", chair="98", unit_id="U2")
    await expect(page.locator(".tile .chair")).to_have_text(["01", "02", "03", "98", "99"])


async def test_a_patient_of_another_unit_on_a_chair_of_the_same_name_stays(tmp_path: Path, page: Page) -> None:
    """A room that names no unit has one place for both, so each who comes or goes moves the other."""
    async with shown(tmp_path, Site("UTC", (Room("Room 1", None, ("01",)),))) as real:
        await page.goto(real.base)
        taken = page.locator(".tile:not([data-free=free])")
        await expect(taken.locator(".patient")).to_have_text(["p1"])
        real.unit.session("s0", "p0", unit_id="U0")
        await expect(taken.locator(".patient")).to_have_text(["p0", "p1"])
        await expect(page.locator(".room h2")).to_have_text(["Room 1", "Other chairs"])
        await expect(taken.last.locator(".line-title")).to_have_text("Magnesium low")
        real.unit.board.take("sessions.active", b"s0", None)
        await expect(page.locator(".tile .patient")).to_have_text(["p1"])
        await expect(page.locator(".tile .line-title")).to_have_text("Magnesium low")
        await expect(page.locator(".room:visible h2")).to_have_text(["Room 1"])


@pytest.mark.parametrize("path", ["/", "/alerts/a", "/load"])
async def test_a_page_has_an_age_before_the_first_word_of_the_server(real: Served, page: Page, path: str) -> None:
    await page.route("**/api/**", lambda route: route.abort())
    await page.goto(real.base + path)
    await expect(page.locator("#shown-age")).to_contain_text("as of")


async def test_a_snooze_that_is_too_long_is_not_offered(real: Served, page: Page) -> None:
    await page.goto(f"{real.base}/alerts/a")
    await page.get_by_text("Snooze or resolve").click()
    await expect(page.get_by_role("button", name="15 min", exact=True)).to_be_visible()
    await expect(page.get_by_role("button", name="1 h", exact=True)).to_be_hidden()
    real.unit.alert("a", 2, priority="medium", transition="escalated", reason="severity_changed")
    await expect(page.get_by_role("button", name="1 h", exact=True)).to_be_visible()

"""What a nurse sees and does: a real Chromium on the running screen, a real Kafka and a real worker behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from streams.board.user_file import UserFile, add_user
from streams.board.visitors import Doors, Visitors
from streams.broker.kafka import EmbeddedKafka
from tests.board.records import alert_value, session_value
from tests.board_front.browser import watched_page
from tests.integration.board_screen import anna, shown, words_of_a_worker
from tests.integration.messages import Message, ago, lab, session_started
from tests.integration.unit_under_test import UnitUnderTest

SCRIPT: Final = "<img src=x onerror=window.hacked=1>"
PASSWORD: Final = "correct horse battery"
#: An event on Kafka is on the screen within so many seconds, once all is warm.
SOON_S: Final = 2.0
#: The three alerts that are answered; more events only where none of these was there in time.
FEWEST, MOST = 3, 8
AWAY: Final = "The message broker cannot be reached"
SILENT: Final = "No sign of life from the alert worker"
#: What a reload must show again. Ages are not among it: they go on.
SAME: Final = (".tile .chair", ".tile .patient", ".tile .prio", ".line-title", "[data-status=acknowledged] .line-state")


def banner(page: Page) -> Locator:
    return page.locator("#blind")


async def is_blind(page: Page, why: str, *, seconds: float) -> None:
    """A hidden banner keeps its last words, so both are asked."""
    await expect(banner(page)).to_be_visible(timeout=1000 * seconds)
    await expect(banner(page)).to_contain_text(why)


async def sees(page: Page, *, seconds: float) -> None:
    await expect(banner(page)).to_be_hidden(timeout=1000 * seconds)


def line(page: Page, patient: str) -> Locator:
    """The low magnesium of a patient, on the tile."""
    tile = page.locator(".tile").filter(has=page.get_by_text(patient, exact=True))
    return tile.get_by_role("link", name="Magnesium low")


async def signed_in(page: Page, base: str, name: str) -> None:
    await page.goto(base)
    await page.locator("#user").fill(name)
    await page.locator("#password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.locator("#shown-age")).to_contain_text("ago")


async def seconds_to_the_screen(unit: UnitUnderTest, page: Page, patient: str) -> float:
    """From before a result is on Kafka until its alert is on the screen; one that does not come fails at once."""
    started = time.monotonic()
    await unit.publish([lab(patient, 0.8, ago(60))])
    await expect(line(page, patient)).to_be_visible(timeout=15000)
    return time.monotonic() - started


async def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until the focused element, `node`, is the wanted one."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate(f"(node => {wanted})(document.activeElement)"):
            return
    raise AssertionError(f"Tab does not lead to where {wanted}")


async def came_back(page: Page, words: str) -> None:
    """The answer is done, and the alert says who gave it."""
    await expect(page.locator("#answer-state")).to_have_attribute("data-state", "done", timeout=10000)
    await expect(page.locator("#head")).to_contain_text(words)
    await expect(page.locator("#history li").last).to_contain_text("by anna", timeout=10000)


async def by_click(page: Page, patient: str) -> None:
    await line(page, patient).click()
    await expect(page.locator("#head")).to_contain_text(f"Chair {SCRIPT}")
    await page.get_by_role("button", name="Acknowledge", exact=True).click()
    await came_back(page, "seen by anna")


async def by_keyboard(page: Page, patient: str) -> None:
    await tab_to(page, f"node.closest('.tile')?.querySelector('.patient').textContent === '{patient}'")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/alerts/*")
    await tab_to(page, "node.dataset.action === 'acknowledge'")
    await page.keyboard.press("Enter")
    await came_back(page, "seen by anna")


async def by_snooze(page: Page, patient: str) -> None:
    await line(page, patient).click()
    await page.get_by_text("Snooze or resolve").click()
    await page.get_by_role("button", name="15 min", exact=True).click()
    await came_back(page, "snoozed until")


async def no_script_runs(page: Page, base: str) -> None:
    """The chair's name is text, on the wall and where chairs are counted."""
    for path, place in (("/load", "#load-chairs th"), ("/", ".tile .chair")):
        await page.goto(base + path)
        await expect(page.locator(place).filter(has_text=SCRIPT)).to_have_count(1)
        await expect(page.locator("main img")).to_have_count(0)
        assert await page.evaluate("typeof window.hacked") == "undefined"


async def is_the_same_after_a_reload(page: Page, before: dict[str, list[str]]) -> None:
    await page.reload()
    for css, texts in before.items():
        await expect(page.locator(css)).to_have_text(texts, timeout=20000)
    await sees(page, seconds=20)


async def what_a_viewer_gets(browser: Browser, base: str, path: str) -> None:
    async with watched_page(browser) as page:
        await signed_in(page, base, "vera")
        await page.goto(base + path)
        await expect(page.locator(".answers")).to_contain_text("not answer them")
        await expect(page.locator(".answers button")).to_have_count(0)
        assert await refused(page, base, path, await token_of(page)) == (403, "viewer")
        await page.get_by_text("Menu", exact=True).click()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.locator("#password")).to_be_visible()


async def what_a_forger_gets(page: Page, base: str, path: str) -> None:
    """Requests with anna's cookie that no page of the screen made."""
    mine = await token_of(page)
    assert await refused(page, base, path, None) == (403, "forged")
    assert await refused(page, base, path, "0" * len(mine)) == (403, "forged")
    assert await refused(page, base, path, mine, Origin="http://evil.example") == (403, "forged")
    # A page on another port of this host: the browser counts it as the same site, and gives it anna's cookie.
    foreign = await page.context.new_page()
    form = f'<form method="post" enctype="text/plain" action="{base}/api{path}/answer"><button>Win</button></form>'
    await foreign.route("http://127.0.0.1:5999/", lambda route: route.fulfill(body=form, content_type="text/html"))
    await foreign.goto("http://127.0.0.1:5999/")
    async with foreign.expect_response(f"{base}/api{path}/answer") as answer:
        await foreign.get_by_role("button").click()
    got = await answer.value
    assert (got.status, "dialysis_board=" in (await got.request.all_headers())["cookie"]) == (403, True)
    await foreign.close()


async def token_of(page: Page) -> str:
    return str(await page.locator("meta[name=csrf]").get_attribute("content"))


async def refused(page: Page, base: str, path: str, token: str | None, **headers: str) -> tuple[int, str]:
    """Status of an answer with the page's cookies, and as what the screen counted it."""

    async def counted() -> set[str]:
        return set((await (await page.request.get(f"{base}/metrics")).text()).splitlines())

    before = await counted()
    sent = headers | ({"X-CSRF-Token": token} if token is not None else {})
    answer = await page.request.post(f"{base}/api{path}/answer", data={"action": "acknowledge"}, headers=sent)
    added = {text for text in await counted() - before if text.startswith("dialysis_board_answers_total")}
    (kind,) = [kind for kind in ("viewer", "forged", "sent") if any(f'"{kind}"' in text for text in added)]
    return answer.status, kind


@pytest.mark.timeout(240)
async def test_from_an_event_to_the_answer_and_to_a_worker_that_is_killed(
    bootstrap: str, browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "users.toml"
    for name, role in (("anna", "responder"), ("vera", "viewer")):
        await asyncio.to_thread(add_user, file, name, role, PASSWORD)
    async with UnitUnderTest(bootstrap) as unit, watched_page(browser) as page:
        async with shown(unit.settings, Visitors(Doors(), UserFile(file))) as base:
            port = int(base.rpartition(":")[2])
            worker = unit.worker()
            await signed_in(page, base, "anna")
            await is_blind(page, SILENT, seconds=10)
            await worker.until_ready()
            await sees(page, seconds=40)

            # Sessions first: they lie on another topic, and an alert before its session would name no chair.
            patients = [f"mg{number}" for number in range(MOST)]
            chairs = [SCRIPT, "c1", *(f"{number:02}" for number in range(1, MOST - 1))]
            await unit.publish(
                session_started(patient, f"s-{patient}", ago(600), machine_id=f"m-{patient}", chair=chair)
                for patient, chair in zip(patients, chairs, strict=True)
            )
            for patient in patients:
                await expect(page.get_by_text(patient, exact=True)).to_be_visible(timeout=10000)
            took: list[float] = []
            while len(took) < FEWEST or (min(took) > SOON_S and len(took) < MOST):
                took.append(await seconds_to_the_screen(unit, page, patients[len(took)]))
            assert min(took) <= SOON_S, took

            path = await line(page, patients[2]).get_attribute("href")
            assert path is not None
            for answer, patient in zip((by_click, by_keyboard, by_snooze), patients, strict=False):
                await answer(page, patient)
                await page.locator(".brand a").click()
                await page.wait_for_url(f"{base}/")
            await no_script_runs(page, base)
            await expect(page.locator("[data-status=acknowledged] .line-state")).to_have_count(2)
            before = {css: await page.locator(css).all_text_contents() for css in SAME}
            assert all(before.values())
        async with shown(unit.settings, Visitors(Doors(), UserFile(file)), port=port):
            await is_the_same_after_a_reload(page, before)
            worker.kill()
            killed = time.monotonic()
            await what_a_viewer_gets(browser, base, path)
            await what_a_forger_gets(page, base, path)
            await is_blind(page, SILENT, seconds=20 - (time.monotonic() - killed))
            await expect(page.locator(".line[data-status=snoozed]")).to_have_count(1)
        said = [json.loads(record.value) for record in await unit.read("clinical-events")]
        # Sorted: each patient's answers lie in a partition of its own, and those have no order among them.
        assert sorted((each["by"], each["action"]) for each in said) == [
            ("anna", "acknowledge"),
            ("anna", "acknowledge"),
            ("anna", "snooze"),
        ]


@pytest.mark.timeout(240)
async def test_a_broker_that_is_away_at_the_start_and_later(browser: Browser) -> None:
    now = datetime.now(UTC).isoformat()
    when: dict[str, Any] = {"at": now, "onset_at": now}
    with EmbeddedKafka() as kafka:
        async with contextlib.AsyncExitStack() as stack:
            unit = await stack.enter_async_context(UnitUnderTest(kafka.bootstrap))
            await unit.publish(
                [
                    Message("sessions.active", b"s1", session_value(since=now, at=now)),
                    Message("alerts.active", b"a", alert_value("a", **when)),
                ]
            )
            await stack.enter_async_context(words_of_a_worker(unit))
            await asyncio.to_thread(kafka.stop)
            base = await stack.enter_async_context(shown(unit.settings, anna()))
            page = await stack.enter_async_context(watched_page(browser))
            await page.goto(base)
            await is_blind(page, AWAY, seconds=10)
            await asyncio.to_thread(kafka.start)
            await sees(page, seconds=60)
            await expect(line(page, "p1")).to_be_visible()

            await asyncio.to_thread(kafka.stop)
            await is_blind(page, AWAY, seconds=20)
            await line(page, "p1").click()
            await page.get_by_role("button", name="Acknowledge", exact=True).click()
            await expect(page.locator("#answer-error")).to_be_visible(timeout=20000)
            await expect(page.locator("#answer-state")).to_be_hidden()
            await is_blind(page, AWAY, seconds=10)
            await asyncio.to_thread(kafka.start)
            await sees(page, seconds=60)

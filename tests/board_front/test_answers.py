"""The page of one alert: what it shows, and how a person answers."""

from __future__ import annotations

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

from playwright.async_api import Browser, Page, Route, expect

from tests.board_front import made_up
from tests.board_front.browser import watched_page
from tests.board_front.fake_server import FakeBoard


async def test_the_page_shows_why_and_what_to_do(board: FakeBoard, page: Page) -> None:
    await page.goto(f"{board.url}/alerts/a-bp")
    await expect(page.locator("h1")).to_have_text("Blood pressure falls")
    await expect(page.locator("#head")).to_contain_text("Chair A7")
    await expect(page.locator("#guidance")).to_contain_text("Review the ultrafiltration rate")
    await expect(page.locator("#guidance cite").first).to_have_text("article L44; KDOQI 2015")
    await expect(page.locator("#evidence tr").first).to_contain_text("84 mmHg")
    await expect(page.locator("#history li")).to_have_count(1)
    await expect(page.get_by_role("link", name="alert b-uf")).to_have_attribute("href", "/alerts/b-uf")
    drawing = page.get_by_role("img")
    label = await drawing.get_attribute("aria-label")
    assert label is not None
    assert label.startswith("10 values, from 121 mmHg at")
    assert label.endswith("The bound is 90 mmHg.")
    await expect(drawing.locator("circle")).to_have_count(10)


async def test_acknowledged_by_a_click(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await page.get_by_role("link", name="Blood pressure falls").first.click()
    board.answers_back = False
    await page.get_by_role("button", name="Acknowledge", exact=True).click()
    await expect(page.locator("#answer-state")).to_have_attribute("data-state", "sent")
    assert [answer["action"] for answer in await board.answered()] == ["acknowledge"]
    await board.come_back("a-bp", "acknowledge")
    await expect(page.locator("#answer-state")).to_have_attribute("data-state", "done")
    await expect(page.locator("#head")).to_contain_text("seen by N. Meyer")
    await expect(page.get_by_role("button", name="Take the acknowledgement back")).to_be_visible()
    await expect(page.locator("#history li")).to_have_count(2)


async def test_a_button_is_disabled_until_the_page_listens(board: FakeBoard, page: Page) -> None:
    """A press before that would be lost without a word."""
    is_held, may_go = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        is_held.set()
        await may_go.wait()
        await route.continue_()

    await page.route("**/static/answers.js", hold)
    await page.goto(f"{board.url}/alerts/a-bp", wait_until="commit")
    async with asyncio.timeout(20):
        await is_held.wait()
    buttons = page.locator("#answer-forms button")
    await expect(buttons).to_have_count(7)
    assert await page.locator("#answer-forms button:not([aria-disabled=true])").count() == 0
    may_go.set()
    await page.get_by_role("button", name="Acknowledge", exact=True).click()
    assert [answer["action"] for answer in await board.answered()] == ["acknowledge"]


async def test_acknowledged_by_keyboard_alone(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("Enter")
    for _ in range(12):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent.includes('Ionised calcium low')"):
            break
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/alerts/a-high")
    await expect(page.locator("[data-action=acknowledge]")).to_have_attribute("aria-disabled", "false")
    for _ in range(12):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.dataset.action === 'acknowledge'"):
            break
    await page.keyboard.press("Enter")
    await expect(page.locator("#answer-state")).to_have_attribute("data-state", "done", timeout=3000)
    assert [(answer["alert_id"], answer["action"]) for answer in board.answers] == [("a-high", "acknowledge")]
    assert await page.evaluate("document.activeElement.dataset.action") == "acknowledge"


async def test_an_answer_that_does_not_come_back_is_said(board: FakeBoard, page: Page) -> None:
    await page.goto(f"{board.url}/alerts/a-bp")
    board.answers_back = False
    await page.get_by_role("button", name="Acknowledge", exact=True).click()
    await expect(page.locator("#answer-state")).to_contain_text("Waiting for it to come back")
    await expect(page.locator("#answer-state")).to_contain_text("Not confirmed after 5 s", timeout=7000)


async def test_snooze_and_resolve_need_what_they_need(board: FakeBoard, page: Page) -> None:
    board.answers_back = False
    await page.goto(f"{board.url}/alerts/a-bp")
    await page.get_by_text("Snooze or resolve").click()
    await page.get_by_role("button", name="Resolve", exact=True).click()
    await expect(page.locator("#answer-error")).to_have_text("Give a reason first.")
    await expect(page.locator("#reason")).to_be_focused()
    await page.locator("#reason").fill("seen at the bedside")
    await page.keyboard.press("Enter")
    await expect(page.locator("#answer-error")).to_be_hidden()
    assert await board.answered() == [{"action": "resolve", "reason": "seen at the bedside", "alert_id": "a-bp"}]


async def test_each_snooze_says_how_long(board: FakeBoard, page: Page) -> None:
    board.refusal = (422, "A high alert may be snoozed for 30 minutes at most.")
    await page.goto(f"{board.url}/alerts/a-high")
    await page.get_by_text("Snooze or resolve").click()
    for name in ("15 min", "1 h", "Until the end of the session"):
        await page.get_by_role("button", name=name, exact=True).click()
        await expect(page.locator("#answer-error")).to_have_text("A high alert may be snoozed for 30 minutes at most.")
        await expect(page.locator("#answer-state")).to_be_hidden()
    await page.locator("#snooze-time").fill("07:30")
    await page.get_by_role("button", name="Snooze until then").click()
    answers = await board.answered(4)
    wanted = [{key: answer[key] for key in answer if key not in ("alert_id", "action")} for answer in answers]
    assert wanted[:3] == [{"minutes": 15}, {"minutes": 60}, {"until_session_end": True}]
    until = datetime.fromisoformat(wanted[3]["until"])
    assert f"{until.astimezone(ZoneInfo('Europe/Berlin')):%H:%M}" == "07:30"
    assert 0 < (until - made_up.now()).total_seconds() <= 25 * 3600


async def test_a_viewer_has_nothing_to_press(browser: Browser) -> None:
    async with FakeBoard(role="viewer") as board, watched_page(browser) as page:
        await page.goto(f"{board.url}/alerts/a-bp")
        await expect(page.locator(".answers")).to_contain_text("not answer them")
        await expect(page.locator(".answers button")).to_have_count(0)


async def test_a_refused_answer_is_said_and_nothing_is_shown_as_sent(board: FakeBoard, page: Page) -> None:
    board.refusal = (403, "Only a responder may answer.")
    await page.goto(f"{board.url}/alerts/a-bp")
    await page.get_by_role("button", name="Acknowledge", exact=True).click()
    await expect(page.locator("#answer-error")).to_have_text("Only a responder may answer.")
    await expect(page.locator("#answer-state")).to_be_hidden()

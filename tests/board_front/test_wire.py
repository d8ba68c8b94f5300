"""What leaves the browser, what it weighs, and what strangers write into names."""

from __future__ import annotations

import copy
import re
import tomllib
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

from tests.board_front import made_up
from tests.board_front.browser import watched_page
from tests.board_front.fake_server import FRONT, FakeBoard

#: Keys that a page makes of a code: `t(`status_${...}`)`, `code("reason", ...)`, `ruleTitle(...)`.
MADE = (
    "status_",
    "reason_",
    "family_",
    "rule_",
    "priority_",
    "did_",
    "answer_",
    "blind_",
    "theme_",
    "say_new_",
    "kind_",
)
HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>\"'{{7*7}}</script>"


@pytest.mark.parametrize("path", ["/", "/alerts/a-bp", "/load", "/sign-in"])
async def test_no_request_to_another_host_and_light_pages(board: FakeBoard, page: Page, path: str) -> None:
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    weights: list[int] = []
    page.on("response", lambda response: weights.append(int(response.headers.get("content-length") or 0)))
    await page.goto(board.url + path)
    await page.wait_for_timeout(1500)
    assert {urlsplit(url).netloc for url in urls if not url.startswith("data:")} == {urlsplit(board.url).netloc}
    assert 20_000 < sum(weights) < 200_000


async def test_a_script_in_a_name_does_not_run(board: FakeBoard, page: Page) -> None:
    tile = board.tile("A1")
    tile["chair"] = HOSTILE
    tile["patient_id"] = tile["room"] = HOSTILE
    evil = {"rule": HOSTILE, "title": HOSTILE, "summary": HOSTILE, "acknowledged_by": HOSTILE, "status": "acknowledged"}
    tile["alerts"] = [made_up.alert("evil", "high_potassium", "high") | evil]
    board.room["rooms"][0]["name"] = HOSTILE
    for path in ("/", "/alerts/evil"):
        await page.goto(board.url + path)
        await page.wait_for_timeout(500)
        await expect(page.get_by_text("onerror=window.hacked").first).to_be_attached()
        assert await page.evaluate("window.hacked") is None
        assert await page.locator("main img").count() == 0
    board.tile(HOSTILE)["alerts"].append(
        made_up.alert("more", "uf_rate_high", "high", title=HOSTILE) | {"rule": "none"}
    )
    await page.goto(board.url)
    await board.watched()
    board.tile(HOSTILE)["alerts"].append(made_up.alert("third", "uf_rate_high", "high", title=HOSTILE))
    board.tell_tile(HOSTILE)
    await expect(page.locator(".tile").first.locator(".more")).to_be_visible()
    assert await page.evaluate("window.hacked") is None


async def test_a_filter_with_markup_is_text(board: FakeBoard, page: Page) -> None:
    await page.goto(f"{board.url}/?room=%22%3E%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E")
    await expect(page.locator("#filter-now")).to_contain_text("<script>")
    assert await page.evaluate("window.hacked") is None


async def test_garbage_in_an_event_reads_the_room_again(board: FakeBoard, page: Page) -> None:
    await page.goto(board.url)
    await board.watched()
    async with page.expect_response("**/api/room") as asked:
        board.tell("change", {"tiles": ["A1"], "alerts": [7], "gone": 3})
    assert (await asked.value).ok
    async with page.expect_response("**/api/room") as asked:
        board.tell("reload", {})
    assert (await asked.value).ok
    await expect(page.locator("#blind")).to_be_hidden()


async def test_five_hundred_chairs_are_drawn_within_a_second(browser: Browser) -> None:
    async with FakeBoard(made_up.large()) as board, watched_page(browser) as page:
        took = []
        for _ in range(3):
            await page.goto(board.url)
            await expect(page.locator(".tile")).to_have_count(500)
            took.append(await page.evaluate(
                "performance.getEntriesByName('drawn')[0].startTime"
                " - performance.getEntriesByType('navigation')[0].responseEnd"
            ))  # fmt: skip
        assert min(took) < 1000, took


async def churn(board: FakeBoard, page: Page, name: str) -> tuple[int, int]:
    """Let alerts come and go; return how many nodes and bytes the page holds after it."""
    for number in range(1500):
        board.tile("A1")["alerts"] = [made_up.alert(f"{name}-{number}", "uf_rate_high", "low")]
        board.tell("change", copy.deepcopy({"tiles": [board.tile("A1")], "gone": [f"{name}-{number - 1}"]}))
    board.tile("A1")["alerts"] = []
    board.tile("A1")["patient_id"] = name
    board.tell_tile("A1", gone=(f"{name}-1499",))
    await expect(page.locator(".tile").first).to_contain_text(name, timeout=20000)
    await expect(page.locator(".tile").first.locator(".line")).to_have_count(0)
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    usage = await session.send("Runtime.getHeapUsage")
    await session.detach()
    return await page.evaluate("document.querySelectorAll('*').length"), int(usage["usedSize"])


async def test_thousands_of_transitions_leave_no_trace_in_memory(browser: Browser) -> None:
    async with FakeBoard() as board, watched_page(browser) as page:
        await page.goto(board.url)
        await board.watched()
        await churn(board, page, "first")  # by then the browser has compiled what runs often
        nodes, heap = await churn(board, page, "second")
        for name in ("third", "fourth"):
            later_nodes, later_heap = await churn(board, page, name)
        assert later_nodes == nodes
        assert later_heap < heap + 300_000


def texts(lang: str) -> dict[str, str]:
    return tomllib.loads((FRONT / "texts" / f"{lang}.toml").read_text(encoding="utf-8"))


def server() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted(FRONT.parent.glob("*.py")))


def test_both_languages_have_the_same_keys_and_places() -> None:
    english, german = texts("en"), texts("de")
    assert english.keys() == german.keys()
    for key, text in english.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", german[key])), key


def test_every_text_is_used_and_every_used_one_is_there() -> None:
    known = texts("en").keys()
    pages = "".join(path.read_text(encoding="utf-8") for path in (FRONT / "templates").glob("*.html"))
    scripts = "".join(path.read_text(encoding="utf-8") for path in (FRONT / "static").glob("*.js"))
    scripts += server()  # which says what it refuses
    used = set(re.findall(r"\bt\.(\w+)", pages)) - {"get"} | set(re.findall(r'\bt\("(\w+)"', scripts))
    assert used - known == set()
    quoted = used | set(re.findall(r'"(\w+)"', scripts))
    assert {key for key in known if key not in quoted and not key.startswith(MADE)} == set()


def test_the_server_refuses_in_the_words_of_the_english_texts() -> None:
    said = dict(re.findall(r'(?<!counter\()"((?:refused|sign_in)_\w+)",\s*f?"([^"]+)"', server()))
    known = {key: text for key, text in texts("en").items() if key.startswith("refused_")}
    assert {key: text for key, text in said.items() if texts("en").get(key) != text} == {}
    assert {key for key in known.keys() - said.keys() if known[key] not in server()} == set()


def test_every_rule_and_reason_has_its_words() -> None:
    from models.alerts import Reason  # noqa: PLC0415
    from streams.rules.catalogue import ALL_RULES  # noqa: PLC0415

    known = texts("de")
    assert [f"rule_{rule.name}" for rule in ALL_RULES if f"rule_{rule.name}" not in known] == []
    assert [f"reason_{reason}" for reason in Reason if f"reason_{reason}" not in known] == []


def test_the_front_is_text_of_readable_length_without_dangerous_calls() -> None:
    for path in sorted(FRONT.rglob("*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert len(text.splitlines()) <= 400, path.name
            for barred in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style="):
                assert barred not in text, (path.name, barred)
            assert "http://" not in text.replace("http://www.w3.org/2000/svg", ""), path.name
            assert "https://" not in text, path.name

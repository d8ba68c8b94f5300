"""The pages and the JSON over HTTP, and how an answer goes out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.board.web import Served, served


@pytest.fixture
async def screen(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


async def test_the_room_page_carries_its_first_picture(screen: Served) -> None:
    screen.unit.alert("b", summary="</script><script>alert(1)</script>")
    async with screen.browser() as browser:
        status, page = await browser.get("/?room=Room%201", headers={"Accept-Language": "de-CH,de;q=0.9,en;q=0.5"})
        assert status == 200
        assert "Hallo me responder" in page
        assert "Room 1 Europe/Berlin de" in page
        assert "<script>alert" not in page
        state = json.loads(page.partition('id="state">')[2].partition("</script>")[0])
        assert state["rooms"][0]["chairs"][0]["alerts"][1]["summary"] == "</script><script>alert(1)</script>"
        assert state["event_id"] == (await browser.json("/api/room"))["event_id"]
        _, page = await browser.get("/?lang=en")
        assert "Hello" in page
        _, page = await browser.get("/", headers={"Accept-Language": "de"})
        assert "Hello" in page  # the choice is kept


async def test_the_pages_of_an_alert_and_of_the_load(screen: Served) -> None:
    async with screen.browser() as browser:
        assert "<h1>Magnesium 0.8 mg/dL</h1>" in (await browser.get("/alerts/A"))[1]
        assert (await browser.get("/alerts/none"))[0] == 303
        assert (await browser.get("/load"))[0] == 200
        full = await browser.json("/api/alerts/a")
        assert full["guidance"] == [{"text": "Correct magnesium first", "basis": "article line 16"}]
        assert full["evidence"][0]["value"] == 0.8
        assert (await browser.get("/api/alerts/none"))[0] == 404
        assert (await browser.json("/api/load"))["pages"] == 1
        assert (await browser.get("/nothing"))[0] == 404


async def test_static_files_are_those_of_the_folder_and_no_other(screen: Served) -> None:
    async with screen.browser() as browser:
        async with browser.session.get(browser.base + "/static/room.js") as response:
            assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert response.headers["Content-Encoding"] == "gzip"
            tag = response.headers["ETag"]
        assert (await browser.get("/static/room.js", headers={"If-None-Match": tag}))[0] == 304
        for path in ("/static/none.js", "/static/..%2Ftexts%2Fen.toml", "/static/%2e%2e/templates/room.html"):
            assert (await browser.get(path))[0] == 404


async def test_every_answer_has_the_security_headers(screen: Served) -> None:
    async with screen.browser() as browser:
        for path in ("/", "/api/room", "/api/events", "/static/room.js", "/healthz", "/metrics", "/nothing", "/load"):
            async with browser.session.get(browser.base + path) as response:
                policy = response.headers["Content-Security-Policy"]
                assert "script-src 'self'" in policy
                assert "unsafe" not in policy
                assert "http" not in policy
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Referrer-Policy"] == "same-origin"
                assert "Server" not in response.headers
                if not path.startswith("/static"):
                    assert response.headers["Cache-Control"] == "no-store"


async def test_metrics_and_health_hold_no_patient(screen: Served) -> None:
    screen.unit.board.take("alerts.active", None, b"garbage")
    async with screen.browser() as browser:
        _, text = await browser.get("/metrics")
        assert 'dialysis_board_unreadable_records_total{reason="no_key",topic="alerts.active"} 1.0' in text
        assert "p1" not in text
        assert await browser.json("/healthz") == {"status": "ok", "blind": False, "reasons": []}


async def test_an_answer_goes_out_and_is_sent_at_once(screen: Served) -> None:
    async with screen.browser() as browser:
        status, told = await browser.answer("a", {"action": "acknowledge"})
        assert (status, told["answer"]["state"], told["answer"]["by"]) == (202, "sent", "me")
        (message,) = screen.sender.sent
        assert (message.topic, message.key) == ("clinical-events", b"p1")
        assert json.loads(message.value)["by"] == "me"
        assert (await browser.json("/api/alerts/a"))["answer"]["state"] == "sent"
        fields = {"status": "acknowledged", "transition": "acknowledged", "reason": "acknowledged"}
        screen.unit.alert("a", 2, **fields)
        assert (await browser.json("/api/alerts/a"))["answer"]["state"] == "done"
        status, told = await browser.answer("a", {"action": "acknowledge"})
        assert (status, "already" in told["error"]) == (409, True)
        status, told = await browser.answer("a", {"action": "snooze", "minutes": 45})
        assert (status, told["field"]) == (422, "minutes")
        assert (await browser.answer("none", {"action": "acknowledge"}))[0] == 404


async def test_an_answer_that_kafka_does_not_take_is_no_answer(screen: Served) -> None:
    screen.sender.is_away = True
    async with screen.browser() as browser:
        status, told = await browser.answer("a", {"action": "acknowledge"})
        assert status == 503
        assert told["error"]
        assert (await browser.json("/api/alerts/a"))["answer"] is None


async def test_forged_requests_are_refused(screen: Served) -> None:
    async with screen.browser() as browser, screen.browser() as other:
        stolen = await other.csrf()
        csrf = await browser.csrf()
        acknowledge = {"action": "acknowledge"}
        assert (await browser.answer("a", acknowledge, csrf=""))[0] == 403
        assert (await browser.answer("a", acknowledge, csrf=stolen))[0] == 403
        assert (await browser.answer("a", acknowledge, csrf=csrf, headers={"Origin": "http://evil.example"}))[0] == 403
        assert (await browser.answer("a", acknowledge, csrf=csrf, headers={"Origin": "null"}))[0] == 403
        assert (await browser.get("/api/room", headers={"Host": "evil.example"}))[0] == 421
        assert screen.sender.sent == []
        assert (await browser.answer("a", acknowledge, csrf=csrf, headers={"Origin": browser.base}))[0] == 202


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 10_000, b"null", b'"x"'])
async def test_a_body_that_is_no_answer(screen: Served, body: bytes) -> None:
    async with screen.browser() as browser:
        headers = {"X-CSRF-Token": await browser.csrf()}
        status, text, _ = await browser.post("/api/alerts/a/answer", data=body, headers=headers)
        assert (status, json.loads(text)["field"]) == (422, "body")
        status, text, _ = await browser.post("/api/alerts/a/answer", data=b"x" * 100_000, headers=headers)
        assert status == 413


async def test_a_connection_that_never_asks_is_closed(screen: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.board.board_server.LIFETIME_S", 0.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", screen.server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: ")
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()


async def test_one_connection_too_many_closes_the_oldest(screen: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.board.board_server.CONNECTIONS", 5)
    opened = [await asyncio.open_connection("127.0.0.1", screen.server.port) for _ in range(8)]
    async with screen.browser() as browser:
        assert (await browser.get("/healthz"))[0] == 200
    assert screen.server.connections <= 5
    for _, writer in opened:
        writer.close()

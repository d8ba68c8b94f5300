"""The event stream: nothing is missed, and a slow browser harms nobody."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from streams.board import change_feed
from tests.board.web import Served, events, served


@pytest.fixture
async def screen(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


async def test_changes_come_with_growing_ids_and_a_status_every_two_seconds(screen: Served) -> None:
    async with screen.browser() as browser:
        start = (await browser.json("/api/room"))["event_id"]
        async with events(browser, f"?after={start}") as stream:
            name, kind, data = await stream.next()
            assert (name, kind, data["blind"]["is_blind"]) == (start, "status", False)
            assert set(data) >= {"now", "blind", "shown_at"}
            screen.unit.alert("b")
            screen.unit.alert("c")
            screen.unit.board.flush()
            name, kind, data = await stream.next()
            assert (kind, [alert["alert_id"] for alert in data["alerts"]]) == ("change", ["b", "c"])
            assert name.partition("-")[0] == start.partition("-")[0]
            assert int(name.partition("-")[2]) > int(start.partition("-")[2])
            assert (await stream.next("status"))[0] == name


async def test_a_lost_connection_misses_nothing(screen: Served) -> None:
    async with screen.browser() as browser:
        start = (await browser.json("/api/room"))["event_id"]
        for name in ("b", "c", "d"):
            screen.unit.alert(name)
            screen.unit.board.flush()
        async with events(browser, **{"Last-Event-ID": start}) as stream:
            found = [(await stream.next("change"))[2]["alerts"][0]["alert_id"] for _ in range(3)]
            assert found == ["b", "c", "d"]


@pytest.mark.parametrize("last", ["", "1-1", "x", "-", "9999999999-5", "9999999999-" + "9" * 500])
async def test_whoever_missed_something_is_told_to_reload(screen: Served, last: str) -> None:
    async with screen.browser() as browser, events(browser, **{"Last-Event-ID": last}) as stream:
        name, kind, _ = await stream.next()
        assert (kind, name) == ("reload", screen.unit.board.feed.event_id)


async def test_the_ring_is_bounded_and_a_new_picture_means_reload(
    screen: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "MOST", 2)
    feed = screen.unit.board.feed
    start = feed.event_id
    for number in range(3):
        feed.publish(b"%d" % number)
    assert feed.after(start) is None
    assert [data for _, data in feed.after(start.replace("-0", "-1")) or []] == [b"1", b"2"]
    async with screen.browser() as browser, events(browser, f"?after={feed.event_id}") as stream:
        await stream.next("status")
        screen.unit.board.start_over()
        screen.unit.board.finish_over()
        assert (await stream.next())[1] == "reload"


async def _until(is_so: Callable[[], bool]) -> None:
    for _ in range(500):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


async def test_a_browser_that_does_not_read_is_dropped(screen: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.board.event_stream.SLOW_S", 0.3)
    raw = socket.create_connection(("127.0.0.1", screen.server.port))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    async with asyncio.timeout(20):
        await _until(lambda: bool(screen.shared.streams))
        while screen.shared.streams:
            screen.unit.board.feed.publish(b'"' + b"x" * 500_000 + b'"')
            await asyncio.sleep(0.02)
    assert screen.unit.board.metrics.dropped_streams._value.get() == 1
    raw.close()


async def test_no_more_streams_than_there_are_places(screen: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.board.event_stream.STREAMS", 1)
    async with screen.browser() as browser:
        async with events(browser) as stream:
            await stream.next()
            assert (await browser.get("/api/events"))[0] == 503
        await _until(lambda: not screen.shared.streams)
        async with events(browser) as stream:
            await stream.next()

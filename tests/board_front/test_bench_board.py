"""What `make bench-board` says can be relied on: its judging, its traffic, and its eyes on the page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser

from benchmarks.board.crowd import Read, crowd
from benchmarks.board.judging import Crowded, Figures, Following, Heap, Lags, Picture, judge
from benchmarks.board.page_eyes import PageEyes, first_picture
from benchmarks.board.unit_traffic import KEPT, Record, UnitTraffic
from models.alerts import Alert
from streams.board.front_end import FrontEnd
from streams.board.site_file import read_site
from tests.board.records import NOW, Unit
from tests.board.web import Served, served


def heap(*megabytes: float) -> Heap:
    return Heap([each * 1e6 for each in megabytes])


WOBBLE = (50, 51, 49, 50, 52, 50, 49, 51, 50, 50, 51, 49)


def test_a_heap_is_flat_unless_it_grows_or_rises_steadily() -> None:
    assert heap(*WOBBLE).is_flat
    assert heap(*(each + index * 0.05 for index, each in enumerate(WOBBLE))).is_flat  # a tenth of a megabyte a minute
    assert not heap(*(each + index for index, each in enumerate(WOBBLE))).is_flat
    assert not heap(*(50 + index * 0.3 for index in range(12))).is_flat  # 5 % only, but without an end
    assert not heap(50, 50, 50, 50, 50, 50, 60, 60, 60, 60, 60, 60).is_flat
    assert "rises steadily" in heap(*(50 + index * 0.3 for index in range(12))).told()


def test_a_lag_ends_when_the_transition_or_a_newer_one_of_its_alert_is_drawn() -> None:
    lags = Lags()
    lags.sent("a", 1, 10.0)
    lags.sent("b", 2, 10.1)
    lags.sent("a", 3, 10.2)
    lags.sent("a", 4, 10.3)
    lags.seen("a", 3, 10.5)
    assert lags.seconds == pytest.approx([0.5, 0.3])
    assert lags.missing == 2
    lags.seen("a", None, 10.6)
    lags.seen("b", 1, 11.0)  # an older one: what was sent is not there yet
    assert lags.seconds == pytest.approx([0.5, 0.3, 0.3])
    assert lags.missing == 1
    assert lags.at(100) == pytest.approx(0.5)
    assert Lags().at(99) == float("inf")


def figures(**changes: object) -> Figures:
    lags = Lags()
    lags.sent("a", 1, 0.0)
    lags.seen("a", 1, 0.4)
    following = Following(lags, heap(*WOBBLE), heap(*WOBBLE), 200.0, 0.1, 0)
    crowded = Crowded(50, 0.3, 200, 20.0, 0, 200.0)
    found = {"pictures": [Picture(100, 300, 400, 500)], "following": following, "crowded": crowded} | changes
    return Figures(**found, chairs=500, wanted=2000, sent_a_second=200.0, minutes=10.0)  # type: ignore[arg-type]


def test_each_promise_is_missed_by_itself() -> None:
    assert all(is_kept for _, is_kept in judge(figures()))
    late = Lags()
    late.sent("a", 1, 0.0)
    late.seen("a", 1, 1.4)
    flat, growing = heap(*WOBBLE), heap(*range(50, 62))
    for change in (
        {"pictures": [Picture(600, 500, 1100, 500)]},
        {"pictures": [Picture(100, 300, 400, 499)]},
        {"following": Following(late, flat, flat, 200.0, 0.1, 0)},
        {"following": Following(figures().following.lags, growing, flat, 200.0, 0.1, 0)},
        {"following": Following(figures().following.lags, flat, growing, 200.0, 0.1, 0)},
        {"following": Following(figures().following.lags, flat, flat, 150.0, 0.1, 0)},
        {"following": Following(figures().following.lags, flat, flat, 200.0, 0.1, 3)},
        {"crowded": Crowded(50, 0.6, 200, 20.0, 0, 200.0)},
        {"crowded": Crowded(50, 0.3, 200, 20.0, 1, 200.0)},
    ):
        assert [is_kept for _, is_kept in judge(figures(**change))].count(False) == 1, change


def test_a_follower_counts_what_it_missed() -> None:
    read = Read(last=4)
    for number in (5, 6, 8):
        read.take(f'id: 17-{number}\nevent: change\ndata: {{"tiles": []}}'.encode())
    read.take(b"id: 17-8\nevent: status\ndata: {}")
    assert (read.changes, read.statuses, read.gaps) == (3, 1, 1)
    read.take(b"id: 18-0\nevent: reload\ndata: {}")
    assert read.gaps == 2


def test_the_traffic_is_that_of_a_worker_and_follows_from_its_seed(tmp_path: Path) -> None:
    one, other = UnitTraffic(7, 40, 100), UnitTraffic(7, 40, 100)
    assert [step.records for step in one.opening(NOW)] == [step.records for step in other.opening(NOW)]
    (tmp_path / "site.toml").write_text(one.site(), encoding="utf-8")
    assert sum(len(room.chairs) for room in read_site(tmp_path / "site.toml").rooms) == 40
    seen: set[str] = set()
    revisions: dict[str, int] = {}
    for index in range(3000):
        step = one.transition(NOW + timedelta(milliseconds=5 * index + 10_000))
        active = next(record for record in step.records if record.topic == "alerts.active")
        message = json.loads(active.value or b"")
        Alert.model_validate_json(json.dumps({name: message[name] for name in Alert.model_fields if name in message}))
        assert message["summary"].endswith(f"(#{step.number})")
        assert message["revision"] > revisions.get(step.alert_id, 0)
        revisions[step.alert_id] = message["revision"]
        seen.add(message["transition"])
    assert seen == {"raised", "updated", "escalated", "acknowledged", "snoozed", "resolved"}
    assert 90 <= len(one.open) <= 100
    assert sum(1 for _ in one.tombstones(NOW + 2 * KEPT)) > 200
    assert {record.topic for record in one.past(3, NOW)}.isdisjoint({"alerts.active", "sessions.active"})


def take(unit: Unit, records: Iterable[Record]) -> None:
    for record in records:
        unit.board.take(record.topic, record.key.encode(), record.value)


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[tuple[Served, Unit, UnitTraffic]]:
    """The real server with the benchmark's unit on it, told of changes as the program's timer does."""
    async with served(folder) as screen:
        traffic = UnitTraffic(3, 30, 60)
        (folder / "site.toml").write_text(traffic.site(), encoding="utf-8")
        unit = Unit(read_site(folder / "site.toml"))
        unit.sees()
        screen.shared.board, screen.shared.front = unit.board, FrontEnd()
        take(unit, (traffic.session(number, NOW) for number in range(traffic.chairs)))
        for step in traffic.opening(NOW):
            take(unit, step.records)
        flushing = asyncio.create_task(flush(screen))
        yield screen, unit, traffic
        flushing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await flushing


async def flush(screen: Served) -> None:
    while True:
        screen.shared.board.flush()
        await asyncio.sleep(0.1)


async def test_the_eyes_see_every_transition_and_followers_every_change(browser: Browser, tmp_path: Path) -> None:
    async with watched(tmp_path) as (screen, unit, traffic):
        picture = await first_picture(browser, screen.base)
        assert picture.tiles == 30
        assert 0 < picture.server < picture.whole == pytest.approx(picture.server + picture.browser)
        lags = Lags()
        eyes = await PageEyes.opened(browser, screen.base, lags)
        following = asyncio.create_task(crowd(screen.base, 3, 2.5))
        start = time.time()
        for _ in range(300):
            # The unit's clock is ours: none of its alerts begins and ends within one look of the screen.
            now = NOW + timedelta(seconds=time.time() - start)
            step = traffic.transition(now)
            assert step.number is not None
            lags.sent(step.alert_id, step.number, time.time())
            take(unit, step.records)
            for gone in traffic.tombstones(now):
                take(unit, gone.records)
            await asyncio.sleep(0.005)
        async with asyncio.timeout(20):
            while len(lags.seconds) < 300:
                await asyncio.sleep(0.1)
                await eyes.look()
        reads = await following
        assert (len(lags.seconds), lags.missing) == (300, 0)
        assert 0 < lags.at(50) < lags.at(100) < 20
        assert all(read.changes > 5 and read.gaps == 0 and read.statuses for read in reads)
        assert await eyes.heap() > 1_000_000
        assert eyes.blind == 0
        await eyes.close()

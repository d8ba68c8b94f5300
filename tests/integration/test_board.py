"""The unit screen on a real Kafka: with records of a test, with a real worker, and with a broker that goes away."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from models.settings import Settings
from streams.board.command import running
from streams.board.site_file import Room, Site
from streams.board.visitors import Doors, Visitors
from streams.broker.kafka import EmbeddedKafka
from streams.kafka.clients import producer_client
from streams.kafka.topic_setup import ensure_topics
from tests.board.records import alert_value, session_value, status_value
from tests.board.web import Browser, events, front
from tests.integration.messages import Message, ago, lab, session_started
from tests.integration.unit_under_test import UnitUnderTest
from tests.integration.worker_process import until

SITE = Site("UTC", (Room("Room 1", None, ("c1", "01")),))


@contextlib.asynccontextmanager
async def screen(settings: Settings, folder: Path) -> AsyncIterator[Browser]:
    """A screen on Kafka, and a browser of somebody who may answer."""
    ours = settings.model_copy(update={"board_http": "127.0.0.1:0"})
    visitors = Visitors(Doors(is_open=True, open_user="anna"), None)
    async with (
        running(ours, SITE, visitors, front(folder)) as server,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        yield Browser(session, f"http://127.0.0.1:{server.port}")


async def until_seeing(browser: Browser, *, sees: bool = True, seconds: float = 20) -> Any:
    """The room once the screen sees, or no longer does."""

    async def look() -> Any:
        room = await browser.json("/api/room")
        return room if room["blind"]["is_blind"] is not sees else None

    return await until(look, seconds, f"the screen to {'see' if sees else 'be blind'}", every=0.1)


def alerts_of(room: Any) -> dict[str, Any]:
    tiles = [tile for each in room["rooms"] for tile in each["chairs"]] + room["elsewhere"]
    found = [alert for tile in tiles for alert in tile["alerts"]] + room["without_chair"] + room["unit_alerts"]
    return {alert["alert_id"]: alert for alert in found}


@contextlib.asynccontextmanager
async def words_of_a_worker(unit: UnitUnderTest) -> AsyncIterator[None]:
    """Send `worker-status` of all partitions every second."""

    async def send() -> None:
        while True:
            now = datetime.now(UTC)
            await unit.publish(
                Message("worker-status", str(number).encode(), status_value(number, now), partition=0)
                for number in range(unit.partitions)
            )
            await asyncio.sleep(1)

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_from_the_topics_to_a_browser_and_back(bootstrap: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    when: dict[str, Any] = {"at": now.isoformat(), "onset_at": now.isoformat()}
    since = (now - timedelta(minutes=5)).isoformat()
    async with UnitUnderTest(bootstrap) as unit, words_of_a_worker(unit):
        garbage = [
            Message("alerts.active", b"", b"no key"),
            Message("alerts.active", b"x", b'{"alert_id": "x", "revision": "7"}'),
            Message("sessions.active", b"y", b"\x00\xff"),
            Message("alerts.active", b"z", alert_value("z", summary="x" * 1_000_000)),
        ]
        await unit.publish(
            [
                *garbage,
                Message("sessions.active", b"s1", session_value(since=since, at=now.isoformat())),
                Message("alerts.active", b"a", alert_value("a", **when)),
            ]
        )
        async with screen(unit.settings, tmp_path) as browser:
            room = await until_seeing(browser)
            assert alerts_of(room).keys() == {"a"}
            assert room["rooms"][0]["chairs"][1]["patient_id"] == "p1"
            assert room["hint"] == {"unreadable": 4}

            async with events(browser, f"?after={room['event_id']}") as stream:
                await unit.publish([Message("alerts.active", b"b", alert_value("b", **when))])
                _, _, change = await stream.next("change", seconds=2)
                assert [alert["alert_id"] for alert in change["alerts"]] == ["b"]

                status, told = await browser.answer("a", {"action": "acknowledge", "reason": "seen"})
                assert (status, told["answer"]["state"]) == (202, "sent")
                (record,) = await until(lambda: unit.read("clinical-events"), 10, "the answer on its topic")
                said = json.loads(record.value)
                assert record.key == b"p1"
                assert record.partition == unit.place(b"p1")
                assert (said["type"], said["by"], said["action"]) == ("alert_response", "anna", "acknowledge")

                done = {"status": "acknowledged", "transition": "acknowledged", "reason": "acknowledged"} | when
                await unit.publish([Message("alerts.active", b"a", alert_value("a", 2, **done))])
                while True:
                    _, _, change = await stream.next("change")
                    told = {alert["alert_id"]: alert for alert in change["alerts"]}.get("a")
                    if told and told["status"] == "acknowledged" and told["acknowledged_by"]:
                        break
                assert (told["answer"]["state"], told["acknowledged_by"]) == ("done", "anna")
                await unit.publish([Message("alerts.active", b"b", None)])
                while "b" not in change["gone"]:
                    _, _, change = await stream.next("change")
        async with screen(unit.settings, tmp_path) as browser:
            again = alerts_of(await until_seeing(browser))
            await until(lambda: _acknowledged_by(browser, "a"), 10, "who acknowledged it, after a restart")
            assert again.keys() == {"a"}


async def _acknowledged_by(browser: Browser, alert_id: str) -> bool:
    return bool((await browser.json(f"/api/alerts/{alert_id}"))["acknowledged_by"] == "anna")


async def test_with_a_real_worker_that_is_killed(bootstrap: str, tmp_path: Path) -> None:
    async with UnitUnderTest(bootstrap) as unit, screen(unit.settings, tmp_path) as browser:
        assert (await browser.json("/api/room"))["blind"]["is_blind"]
        worker = await unit.start_worker()
        room = await until_seeing(browser, seconds=40)
        async with events(browser, f"?after={room['event_id']}") as stream:
            # One after the other: the session lies on another topic, and an alert before it would name no chair.
            await unit.publish(
                [session_started("mg1", "s1", ago(600), machine_id="m1", chair="c1", planned_minutes=240)]
            )
            await stream.next("change", seconds=10)
            await unit.publish([lab("mg1", 0.8, ago(60), result_id="r1")])
            found: dict[str, Any] = {}
            while "low_magnesium" not in found:
                _, _, change = await stream.next("change", seconds=10)
                found |= {alert["rule"]: alert for alert in change["alerts"]}
            name = found["low_magnesium"]["alert_id"]
            assert found["low_magnesium"]["chair"] == "c1"
            assert (await browser.answer(name, {"action": "snooze", "minutes": 15, "reason": "given"}))[0] == 202
            while found["low_magnesium"]["status"] != "snoozed":
                _, _, change = await stream.next("change", seconds=10)
                found |= {alert["rule"]: alert for alert in change["alerts"]}
        full = await until(lambda: _told_by(browser, name), 10, "who snoozed it")
        assert full["snoozed_until"]
        assert [line["by"] for line in full["history"]][-1] == "anna"
        worker.kill()
        blind = await until_seeing(browser, sees=False, seconds=20)
        assert [reason["code"] for reason in blind["blind"]["reasons"]] == ["no_status"]
        assert alerts_of(blind)[name]["status"] == "snoozed"


async def _told_by(browser: Browser, alert_id: str) -> Any:
    full = await browser.json(f"/api/alerts/{alert_id}")
    return full if full["acknowledged_by"] == "anna" else None


@pytest.mark.timeout(240)
async def test_a_broker_that_is_away_at_the_start_and_later(tmp_path: Path) -> None:
    with EmbeddedKafka() as kafka:
        settings = Settings(brokers=kafka.bootstrap, partitions=2, topic_prefix="t.")
        await ensure_topics(settings)
        async with producer_client(settings) as producer:
            await producer.send_and_wait("t.alerts.active", alert_value("a"), b"a")
        kafka.stop()
        async with screen(settings, tmp_path) as browser:
            codes = [reason["code"] for reason in (await until_seeing(browser, sees=False))["blind"]["reasons"]]
            assert "broker" in codes
            await asyncio.to_thread(kafka.restart)

            async def is_back() -> Any:
                room = await browser.json("/api/room")
                return room if [each["code"] for each in room["blind"]["reasons"]] == ["no_status"] else None

            room = await until(is_back, 40, "the broker to be seen")
            assert alerts_of(room).keys() == {"a"}
            kafka.stop()
            await until(lambda: _has(browser, "broker"), 20, "the banner")
            assert alerts_of(await browser.json("/api/room")).keys() == {"a"}
            status, told = await browser.answer("a", {"action": "acknowledge"})
            assert (status, bool(told["error"])) == (503, True)
            await asyncio.to_thread(kafka.restart)
            await until(lambda: _has_not(browser, "broker"), 60, "the banner to go")


async def _has(browser: Browser, code: str) -> bool:
    return code in [reason["code"] for reason in (await browser.json("/api/room"))["blind"]["reasons"]]


async def _has_not(browser: Browser, code: str) -> bool:
    return not await _has(browser, code)

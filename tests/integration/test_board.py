"""The interface of the unit screen on a real Kafka, with records of a test; test_board_browser.py has the pages."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.board.records import alert_value, session_value
from tests.board.web import Browser, events
from tests.integration.board_screen import alerts_of, screen, until_seeing, words_of_a_worker
from tests.integration.messages import Message
from tests.integration.unit_under_test import UnitUnderTest
from tests.integration.worker_process import until


async def test_from_the_topics_to_a_browser_and_back(bootstrap: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    when: dict[str, Any] = {"at": now.isoformat(), "onset_at": now.isoformat()}
    since = (now - timedelta(minutes=5)).isoformat()
    settings = {"DIALYSIS_BOARD_SNOOZE_HIGH_MINUTES": "20"}
    async with UnitUnderTest(bootstrap, environment=settings) as unit, words_of_a_worker(unit):
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
            assert (await browser.json("/api/alerts/a"))["snooze_most_minutes"] == 20

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

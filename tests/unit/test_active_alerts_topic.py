"""`alerts.active` is as the owner says, whatever a worker that had lost the partition wrote there late."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.worker.ports import Shown
from streams.worker.sender import Outgoing
from tests.unit.fake_port import PREFIX, FakeKafka, Host, frozen
from tests.unit.task_events import HOUR, MINUTE, P1, P2, low_magnesium, telemetry

SILENT: dict[str, Any] = {"responses": {"high": [], "medium": [], "accept_risk": "a test that answers nothing"}}
ALERT = low_magnesium(P1, "r0")


def pictured(kafka: FakeKafka) -> list[Outgoing]:
    return kafka.topic("alerts.active")


async def corrected(kafka: FakeKafka, host: Host, *words: tuple[str, Shown | None]) -> list[Outgoing]:
    """What is said on `alerts.active` after the task has read these as the last words."""
    before = len(pictured(kafka))
    await host.task.correct(words)
    return pictured(kafka)[before:]


async def test_the_newest_word_of_an_owner_stands(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    host = await Host(kafka, rules=SILENT).settle()
    assert not await corrected(kafka, host, (ALERT, Shown(1, P1)))


async def test_an_older_revision_is_answered_with_the_newest(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    kafka.lab(P1, 10, 2.1)
    host = await Host(kafka, rules=SILENT).settle()
    newest = pictured(kafka)[-1]
    assert json.loads(newest.value or b"")["status"] == "resolved"
    (again,) = await corrected(kafka, host, (ALERT, Shown(1, P1)))
    assert frozen(again) == frozen(newest)


async def test_an_alert_long_over_is_answered_with_its_tombstone(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    kafka.lab(P1, 10, 2.1)
    telemetry(kafka, P2, HOUR)
    host = await Host(kafka, rules=SILENT).settle()
    assert pictured(kafka)[-1].value is None
    (again,) = await corrected(kafka, host, (ALERT, Shown(1, P1)))
    assert (again.key, again.value) == (ALERT.encode(), None)


async def test_what_another_group_says_of_an_alert_not_known_here_is_left_alone(kafka: FakeKafka) -> None:
    """A fresh group that catches up would else take away what the old one shows."""
    kafka.lab(P1, 0, 1.5)
    host = await Host(kafka, rules=SILENT).settle()
    assert not await corrected(kafka, host, ("not-yet-known", Shown(3, P1)), ("nor-this", Shown(1, P2)))


async def test_who_lags_leaves_tombstones_alone(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    host = await Host(kafka, rules=SILENT).settle()
    kafka.unconfirmed = {PREFIX + "machine-events"}
    kafka.clock.elapsed += MINUTE
    assert not await corrected(kafka, host, (ALERT, None))
    kafka.unconfirmed = set()
    assert len(await corrected(kafka, host, (ALERT, None))) == 1


async def test_a_late_tombstone_does_not_hide_an_open_alert(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    kafka.lab(P1, 10, 2.1, result_id="r1")
    telemetry(kafka, P2, 30 * MINUTE)
    host = await Host(kafka, rules=SILENT).settle()
    # The normal result is withdrawn: the episode goes on under its old id.
    kafka.lab(P1, 31 * MINUTE, 2.1, result_id="r1", status="entered_in_error", tells=10)
    await host.settle()
    newest = pictured(kafka)[-1]
    assert json.loads(newest.value or b"")["revision"] == 3
    (again,) = await corrected(kafka, host, (ALERT, None), ("another", None))
    assert frozen(again) == frozen(newest)


@pytest.mark.parametrize("shown", [Shown(1, None, "loop1"), Shown(1, None, None)])
async def test_alerts_of_water_loops_are_left_to_their_task(kafka: FakeKafka, shown: Shown) -> None:
    kafka.lab(P1, 0, 1.5)
    host = await Host(kafka, rules=SILENT).settle()
    assert not await corrected(kafka, host, ("a-unit-alert", shown))


async def test_what_is_still_to_be_said_is_said_first(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    host = await Host(kafka, rules=SILENT).settle()
    kafka.lab(P1, 10, 2.1)
    await host.deliver("lab-results")
    host.task.handle()
    before = len(pictured(kafka))
    await host.task.correct([(ALERT, Shown(1, P1))])
    said = [json.loads(message.value or b"")["revision"] for message in pictured(kafka)[before:]]
    assert said == [2, 2]
    assert [call[0] for call in kafka.calls[-3:]] == ["write", "send", "send"], "stored before anything is sent"

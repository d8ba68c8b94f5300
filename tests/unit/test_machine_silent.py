"""A silent machine on a real task: an outage and a restart are no silence, and no sample wakes the rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

from streams.engine.factory import patient_partition
from streams.rules import machine_silent
from streams.rules.api import PatientView
from streams.rules.catalogue import default_settings
from tests.unit.fake_port import FakeKafka, Host
from tests.unit.task_events import CLINICAL, LABS, MACHINES, MINUTE, P1, at, session, story, telemetry
from tests.unit.timeline import moment, stamp, to_line

RULE = machine_silent.RULE.name


def a_minute(kafka: FakeKafka, begin: float) -> None:
    for second in range(0, 61, 10):
        telemetry(kafka, P1, begin + second, blood_flow_ml_min=300)


async def treated(kafka: FakeKafka) -> Host:
    session(kafka, P1, 0)
    a_minute(kafka, 10)
    return await Host(kafka).settle()


async def test_a_machine_is_silent_while_nothing_comes_at_all(kafka: FakeKafka) -> None:
    host = await treated(kafka)
    await host.idle(4 * MINUTE)
    assert story(kafka, rule=RULE) == [(RULE, "raised", at(70 + 180))]
    a_minute(kafka, 330)
    await host.settle()
    assert story(kafka, rule=RULE)[-1][1] == "resolved"


async def test_an_outage_is_no_silent_machine(kafka: FakeKafka) -> None:
    host = await treated(kafka)
    await host.idle(MINUTE)
    kafka.unconfirmed = {LABS, MACHINES, CLINICAL}
    await host.idle(20 * MINUTE)
    kafka.unconfirmed = {MACHINES}
    a_minute(kafka, 22 * MINUTE)
    await host.settle(["machine-events"])
    kafka.unconfirmed.clear()
    await host.idle(2 * MINUTE)
    assert story(kafka, rule=RULE) == []


async def test_a_machine_that_does_not_come_back_after_an_outage_is_silent_three_minutes_later(
    kafka: FakeKafka,
) -> None:
    host = await treated(kafka)
    await host.idle(2 * MINUTE)
    kafka.unconfirmed = {LABS, MACHINES, CLINICAL}
    await host.idle(20 * MINUTE)
    kafka.unconfirmed.clear()
    await host.idle(2.5 * MINUTE)
    assert story(kafka, rule=RULE) == []
    await host.idle(MINUTE)
    assert [transition for _, transition, _ in story(kafka, rule=RULE)] == ["raised"]


async def test_an_outage_ends_no_alert_on_a_silent_machine(kafka: FakeKafka) -> None:
    host = await treated(kafka)
    await host.idle(4 * MINUTE)
    kafka.unconfirmed = {LABS, MACHINES, CLINICAL}
    await host.idle(20 * MINUTE)
    kafka.unconfirmed.clear()
    await host.idle(10 * MINUTE)
    assert [transition for _, transition, _ in story(kafka, rule=RULE)][:1] == ["raised"]
    assert "resolved" not in [transition for _, transition, _ in story(kafka, rule=RULE)]


async def test_a_restart_is_no_silent_machine(kafka: FakeKafka) -> None:
    await treated(kafka)
    kafka.clock.elapsed += 10 * MINUTE
    for minute in range(2, 11):
        a_minute(kafka, minute * MINUTE)
    host = await Host(kafka).settle()
    await host.idle(2 * MINUTE)
    assert story(kafka, rule=RULE) == []


def test_an_hour_of_samples_asks_the_rule_once_in_three_minutes() -> None:
    asked: Counter[str] = Counter()

    def find(view: PatientView) -> Any:
        asked[view.subject] += 1
        return machine_silent.RULE.find(view)

    on = patient_partition(default_settings(), timedelta(minutes=15), rules=(replace(machine_silent.RULE, find=find),))
    begin = moment("08:00")

    def take(second: int, kind: str, **fields: Any) -> None:
        now = begin + timedelta(seconds=second)
        event = {"type": kind, "patient_id": "p1", "at": stamp(now), "session_id": "s1", "machine_id": "m1", **fields}
        list(on.advance(now))
        on.take("p1", to_line(event).record, now)

    take(0, "session_started")
    for second in range(1, 3601):
        take(second, "telemetry", blood_flow_ml_min=300)
    assert asked["p1"] <= 22

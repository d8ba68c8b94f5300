"""Since when a task's clock has run without standing: after an outage and a recovery it runs anew, in a lag it runs."""

from __future__ import annotations

from datetime import datetime

import pytest

from streams.engine.partition import BEGINNING
from tests.unit.fake_port import EPOCH, FakeKafka, Host
from tests.unit.task_events import CLINICAL, HOUR, LABS, MACHINES, MINUTE, P1, P2, catching_up, telemetry

ALL = {LABS, MACHINES, CLINICAL}


def ran_since(host: Host) -> float | None:
    """In seconds after `EPOCH`; None if it never stood."""
    since: datetime = host.task.subjects.ran_since
    return None if since == BEGINNING else (since - EPOCH).total_seconds()


async def test_it_runs_while_every_end_is_confirmed(kafka: FakeKafka) -> None:
    telemetry(kafka, P1, 0)
    host = await Host(kafka).settle()
    await host.idle(10 * MINUTE)
    telemetry(kafka, P1, 10 * MINUTE)
    await host.settle()
    assert ran_since(host) is None


async def test_it_runs_in_a_lag_whatever_lies_between_the_records(kafka: FakeKafka) -> None:
    catching_up(kafka, 8 * HOUR)
    for hour in range(6):
        telemetry(kafka, P1, hour * HOUR)
    host = await Host(kafka).start()
    while await host.deliver("machine-events", 1):
        await host.turn()
    assert host.task.handled == 6
    assert ran_since(host) is None


async def test_after_an_outage_it_runs_from_the_first_record_on(kafka: FakeKafka) -> None:
    telemetry(kafka, P1, 0)
    host = await Host(kafka).settle()
    kafka.unconfirmed = {MACHINES}
    await host.idle(10 * MINUTE)
    telemetry(kafka, P2, 10 * MINUTE)
    await host.settle(["machine-events"])
    assert ran_since(host) == 10 * MINUTE
    kafka.unconfirmed.clear()
    await host.idle(MINUTE)
    assert ran_since(host) == 10 * MINUTE


async def test_after_an_outage_without_a_record_it_runs_from_where_it_stood(kafka: FakeKafka) -> None:
    telemetry(kafka, P1, 0)
    host = await Host(kafka).settle()
    await host.idle(20)
    kafka.unconfirmed = set(ALL)
    await host.idle(10 * MINUTE)
    kafka.unconfirmed.clear()
    await host.idle(10)
    assert ran_since(host) == pytest.approx(20, abs=6)


async def test_a_moment_without_a_confirmed_end_is_no_outage(kafka: FakeKafka) -> None:
    telemetry(kafka, P1, 0)
    host = await Host(kafka).settle()
    kafka.unconfirmed = set(ALL)
    await host.idle(4)
    telemetry(kafka, P1, MINUTE)
    await host.settle(["machine-events"])
    assert ran_since(host) is None


async def test_what_was_spent_in_one_write_is_an_outage(kafka: FakeKafka) -> None:
    telemetry(kafka, P1, 0)
    host = await Host(kafka).settle()
    await host.idle(1)
    kafka.clock.elapsed += 10 * MINUTE
    telemetry(kafka, P1, 10 * MINUTE)
    await host.settle()
    assert ran_since(host) == 10 * MINUTE


async def test_a_restart_that_missed_nothing_keeps_since_when_it_ran(kafka: FakeKafka) -> None:
    telemetry(kafka, P1, 0)
    host = await Host(kafka).settle()
    kafka.unconfirmed = set(ALL)
    await host.idle(10 * MINUTE)
    telemetry(kafka, P1, 10 * MINUTE)
    kafka.unconfirmed.clear()
    await host.settle()
    await host.idle(HOUR)
    telemetry(kafka, P1, 70 * MINUTE)
    await host.settle()
    telemetry(kafka, P1, 70 * MINUTE + 1)
    other = await Host(kafka).start()
    assert ran_since(other) == 10 * MINUTE
    await other.deliver("machine-events")
    await other.turn()
    assert ran_since(other) == 10 * MINUTE

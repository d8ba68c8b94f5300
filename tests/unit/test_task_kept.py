"""What a task holds over a rebalance or a restart: its clock, and records that must not be a zombie's last word."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from streams.port import CLOCK_KEY
from streams.transport.api import Recovered
from tests.unit.fake_port import EPOCH, FakeKafka, Host
from tests.unit.task_events import HOUR, MINUTE, P1, P2, at, cramp, session, telemetry

SILENT: dict[str, Any] = {"responses": {"high": [], "medium": []}}


def stored_clock(kafka: FakeKafka) -> float:
    """Seconds after `EPOCH`."""
    told = json.loads(kafka.changelog[CLOCK_KEY])["now"]
    return (type(EPOCH).fromisoformat(told) - EPOCH).total_seconds()


# -- the clock ---------------------------------------------------------------------------------------------------------


async def test_the_clock_of_a_quiet_partition_is_stored_every_ten_seconds(kafka: FakeKafka) -> None:
    telemetry(kafka, P1, 0)
    host = await Host(kafka).settle()
    kafka.calls.clear()
    await host.idle(35)
    assert [call[0] for call in kafka.calls] == ["write"] * 3
    assert {key for call in kafka.calls for key in call[1]} == {CLOCK_KEY}
    assert 29 < stored_clock(kafka) < 36


async def test_a_quiet_partitions_clock_is_after_a_restart_where_it_was(kafka: FakeKafka) -> None:
    """A deadline in an hour and a restart in the middle of a quiet night: late by the outage, not by the night."""
    cramp(kafka, P1, 0, "c1")
    session(kafka, P1, 0)
    host = await Host(kafka, rules=SILENT).settle()
    await host.idle(29 * MINUTE)
    kafka.clock.elapsed += 5  # killed and started again
    again = await Host(kafka, rules=SILENT).settle()
    await again.idle(50)
    assert kafka.told(rule="intradialytic_cramp") == ["raised"]
    await again.idle(30)
    assert kafka.told(rule="intradialytic_cramp") == ["raised", "expired"]
    assert kafka.transitions()[-1]["at"] == at(30 * MINUTE)


async def test_a_clock_never_lies_behind_a_subjects_last_evaluation(kafka: FakeKafka) -> None:
    kafka.lab(P1, HOUR, 1.5)
    await Host(kafka).settle()
    kafka.changelog[CLOCK_KEY] = b'{"now":"2020-01-01T00:00:00Z"}'
    host = await Host(kafka).start()
    assert host.task.subjects.now == EPOCH + timedelta(hours=1)


async def test_a_changelog_without_a_clock_is_taken_over(kafka: FakeKafka) -> None:
    kafka.lab(P1, HOUR, 1.5)
    await Host(kafka).settle()
    del kafka.changelog[CLOCK_KEY]
    host = await Host(kafka).start()
    assert host.task.subjects.now == EPOCH + timedelta(hours=1)
    await host.idle(1)
    assert stored_clock(kafka) >= HOUR


# -- a partition that stays --------------------------------------------------------------------------------------------


async def test_a_task_that_rejoins_goes_on_and_repeats_nothing(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    host = await Host(kafka).settle()
    kafka.lab(P2, 1, 1.5)
    await host.deliver("lab-results")  # not handled any more: delivered again in the next generation
    assert await host.task.release()
    sent, clock = len(kafka.sent), host.task.subjects.now
    kafka.delivered = dict(kafka.committed)
    host.task.rejoin(kafka)
    assert host.task.subjects.now == clock
    await host.settle()
    assert [alert["patient_id"] for alert in kafka.transitions()] == [P1, P2]
    assert {message.key for message in kafka.sent[sent:]} >= {P2.encode()}
    assert P1.encode() not in {message.key for message in kafka.sent[sent:]}


async def test_the_time_of_a_rebalance_is_no_silence(kafka: FakeKafka) -> None:
    telemetry(kafka, P1, 0)
    host = await Host(kafka).settle()
    await host.idle(3)
    await host.task.release()
    clock = host.task.subjects.now
    kafka.clock.elapsed += 4
    host.task.rejoin(kafka)
    await host.turn()
    assert host.task.subjects.now == clock


async def test_a_task_that_failed_is_not_kept(kafka: FakeKafka) -> None:
    host = await Host(kafka).start()
    host.task._failed = True
    assert not await host.task.release()


# -- a zombie's last word ----------------------------------------------------------------------------------------------


async def test_what_a_zombie_wrote_after_us_is_written_again(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    host = await Host(kafka).settle()
    ours = kafka.changelog[P1.encode()]
    kafka.changelog |= {P1.encode(): b"zombie", P2.encode(): b"zombie", CLOCK_KEY: b"zombie"}
    kafka.foreign = {P1.encode(), P2.encode(), CLOCK_KEY}
    await host.idle(15)
    assert kafka.changelog[P1.encode()] == ours
    assert P2.encode() not in kafka.changelog, "nobody knows of that patient"
    await host.idle(15)
    assert stored_clock(kafka) > 15


async def test_what_recovery_found_shadowed_is_written_again_at_once(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    await Host(kafka).settle()
    recovered = Recovered(kafka.changelog)
    recovered.shadowed = frozenset({P1.encode(), P2.encode()})
    ours, kafka.changelog[P1.encode()], kafka.changelog[P2.encode()] = kafka.changelog[P1.encode()], b"z", b"z"
    await Host(kafka).task.adopt(recovered)
    assert kafka.changelog[P1.encode()] == ours
    assert P2.encode() not in kafka.changelog

"""What a task holds over a rebalance or a restart: its clock, and records that must not be a zombie's last word."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from streams.transport.api import Recovered, TopicSet
from streams.transport.app import App
from streams.transport.changelog import Stamp
from streams.transport.ownership import Attached, Claim
from streams.worker.assignment import Assignment, KafkaPort
from streams.worker.ports import CLOCK_KEY
from tests.unit.fake_port import EPOCH, PREFIX, FakeKafka, Host
from tests.unit.task_events import HOUR, MINUTE, P1, P2, at, cramp, session, stored, telemetry

SILENT: dict[str, Any] = {"responses": {"high": [], "medium": [], "accept_risk": "a test that answers nothing"}}


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


async def test_what_was_half_handled_is_not_gone_on_with(kafka: FakeKafka) -> None:
    """An interrupted slice belongs to the generation that is over: its records are delivered again."""
    for number in range(300):
        kafka.lab(P1, number, 1.5 if number % 2 else 2.0, result_id=f"n{number}")
    host = await Host(kafka, batch_max=1000, max_message_bytes=2**20).start()
    await host.deliver("lab-results")
    host.task.handle()
    assert await host.task.release()
    told = len(kafka.transitions())
    assert 0 < told < 299
    host.task.rejoin(kafka)
    kafka.delivered = dict(kafka.committed)
    kafka.unconfirmed = {PREFIX + "lab-results"}
    await host.turn()
    assert len(kafka.transitions()) == told
    kafka.unconfirmed = set()
    await host.settle(size=1000)
    assert len(kafka.told()) == len(kafka.transitions()) == 299


async def test_a_topic_made_anew_in_a_rebalance_is_noticed(kafka: FakeKafka) -> None:
    for number in range(5):
        kafka.lab(P1, number, 2.0)
    host = await Host(kafka).settle()
    await host.task.release()
    kafka.logs.clear()
    kafka.committed.clear()
    kafka.delivered = {}
    host.task.rejoin(kafka)
    kafka.lab(P1, HOUR, 1.5)
    await host.settle()
    assert kafka.told() == ["raised"]


async def test_a_topic_made_anew_that_has_grown_beyond_what_was_applied_is_noticed(kafka: FakeKafka) -> None:
    for number in range(5):
        kafka.lab(P1, number, 2.0)
    await Host(kafka).settle()
    kafka.logs.clear()  # while no worker runs
    kafka.committed.clear()
    kafka.lab(P1, HOUR, 1.5)
    for number in range(9):
        kafka.lab(P2, HOUR + 1 + number, 2.0)
    host = await Host(kafka).settle()
    assert kafka.told(patient_id=P1) == ["raised"]
    assert host.metric("dialysis_duplicate_events_total", topic=PREFIX + "lab-results") == 0


async def test_records_delivered_again_after_a_crash_are_no_topic_made_anew(
    kafka: FakeKafka, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        kafka.lab(P1, number, 2.0)
    await Host(kafka).settle()
    kafka.committed.clear()
    host = await Host(kafka).settle(size=2)
    assert "made anew" not in caplog.text
    assert host.metric("dialysis_duplicate_events_total", topic=PREFIX + "lab-results") == 5


async def test_open_alerts_are_counted_again_after_a_rebalance(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    host = await Host(kafka).settle()
    await host.task.release()
    host.metrics.partitions_revoked()
    host.task.rejoin(kafka)
    assert host.metric("dialysis_alerts_active", rule="low_magnesium", priority="medium") == 1


class StoppedTask:
    """Of a `PartitionTask` what its assignment asks when partitions go and come."""

    def __init__(self, *, stored: bool) -> None:
        self.stored, self.rejoined = stored, False
        self.subjects: dict[str, Any] = {}

    def stop(self) -> None:
        pass

    async def release(self) -> bool:
        return self.stored

    async def run(self) -> None:
        pass

    def rejoin(self, port: Any) -> None:
        assert isinstance(port, KafkaPort)
        self.rejoined = True


async def test_a_desk_keeps_only_what_is_stored_and_only_until_the_next_assignment(kafka: FakeKafka) -> None:
    host = Host(kafka)
    app: Any = SimpleNamespace(
        settings=host.settings,
        generation=7,
        attach=lambda *_: None,
        agent=lambda *_, **__: lambda function: function,
        pause=None,
        resume=None,
        end_confirmed_at=None,
        end_offset=None,
    )
    assignment: Any = Assignment(app, host.kind, host.settings, host.metrics, host.health, lambda: None, lambda _: None)
    tasks = {number: StoppedTask(stored=number != 1) for number in range(3)}
    assignment.tasks = dict(tasks)
    assert set(await assignment.on_revoked({0, 1, 2})) == {0, 2}
    await assignment.on_assigned({0}, {})
    assert assignment.tasks == {0: tasks[0]}
    assert [task.rejoined for task in tasks.values()] == [True, False, False]
    assert assignment._kept == {}
    assert set(await assignment.on_revoked({0})) == {0}


def test_a_partition_in_whose_changelog_somebody_wrote_is_not_kept() -> None:
    attached = Attached(TopicSet("patients", ("in",), 4), "c", None)  # type: ignore[arg-type]
    attached.kept = {number: Claim(3, Stamp(0, 3, number), 10 * number) for number in range(3)}
    # 0 went to another worker, 1 was read because its log had grown, 3 has just come.
    assert attached.still_kept({1, 2, 3}, {1, 3}) == {2: (Stamp(0, 3, 2), 20)}
    app: Any = SimpleNamespace()
    App.claim(app, attached, 4, {2: (Stamp(0, 3, 2), 20)})
    assert attached.kept == {}
    assert attached.claims == {2: Claim(4, Stamp(0, 4, 1), 20)}


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
    kafka.lab(P1, 0, 1.5)
    await host.deliver("lab-results")
    kafka.fail_writes = RuntimeError("the changelog refuses")
    with pytest.raises(RuntimeError, match="refuses"):
        await host.task.run()
    kafka.fail_writes = None
    assert not await host.task.release()
    assert not kafka.committed


# -- a zombie's last word ----------------------------------------------------------------------------------------------


async def test_what_a_zombie_wrote_after_us_is_written_again(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    host = await Host(kafka).settle()
    ours = stored(kafka, P1)
    kafka.changelog |= {P1.encode(): b"zombie", P2.encode(): b"zombie", CLOCK_KEY: b"zombie"}
    kafka.foreign = {P1.encode(), P2.encode(), CLOCK_KEY}
    await host.idle(15)
    assert stored(kafka, P1) == ours
    assert P2.encode() not in kafka.changelog, "nobody knows of that patient"
    await host.idle(15)
    assert stored_clock(kafka) > 15


async def test_what_recovery_found_shadowed_is_written_again_at_once(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 1.5)
    await Host(kafka).settle()
    recovered = Recovered(kafka.changelog)
    recovered.shadowed = frozenset({P1.encode(), P2.encode()})
    ours = stored(kafka, P1)
    kafka.changelog |= {P1.encode(): b"z", P2.encode(): b"z"}
    await Host(kafka).task.adopt(recovered)
    assert stored(kafka, P1) == ours
    assert P2.encode() not in kafka.changelog

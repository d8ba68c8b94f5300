"""What one partition's task promises, without a broker (see `fake_port`): order, clock, what is stored before what."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest

from models.state import PatientState, StateCodec
from streams.engine.partition import BEGINNING
from streams.transport.api import StaleGenerationError
from streams.worker.ports import CLOCK_KEY
from tests.unit.fake_port import EPOCH, PREFIX, FakeKafka, Host, stamp
from tests.unit.task_events import DAY, ELSEWHERE, MINUTE, P1, P2, P3, at, cramp, session, telemetry

# -- order and clock ---------------------------------------------------------------------------------------------------


async def test_records_of_all_topics_are_handled_in_the_order_of_their_timestamps(kafka: FakeKafka) -> None:
    # In any other order the cramp would lie outside the session, or end before it began.
    cramp(kafka, P1, 20, "c1")
    cramp(kafka, P1, 40, "c1", tells=20, ended_at=stamp(40))
    session(kafka, P1, 10)
    kafka.event("machine-events", P1, "session_ended", 50, session_id="s1")
    kafka.lab(P1, 30, 1.5)
    host = await Host(kafka).settle()
    assert [(a["rule"], a["transition"], a["at"]) for a in kafka.transitions()] == [
        ("intradialytic_cramp", "raised", at(20)),
        ("low_magnesium", "raised", at(30)),
        ("intradialytic_cramp", "resolved", at(40)),
    ]
    assert host.task.subjects.now - EPOCH == pytest.approx(timedelta(seconds=50), abs=timedelta(milliseconds=1))


async def test_a_topic_that_lags_is_waited_for(kafka: FakeKafka) -> None:
    kafka.unconfirmed = {PREFIX + "lab-results"}
    telemetry(kafka, P1, 100)
    kafka.lab(P1, 10, 1.5)
    host = await Host(kafka).start()
    await host.deliver("machine-events")
    for _ in range(5):
        assert not await host.turn()
    assert host.task.handled == 0
    assert not host.task.is_current()
    await host.deliver("lab-results")
    assert await host.turn()
    assert host.task.subjects.now == EPOCH + timedelta(seconds=10)
    assert kafka.told() == ["raised"]
    # Its batch is handled, its end is not confirmed: what comes may still be older than telemetry.
    assert not await host.turn()
    kafka.unconfirmed.clear()
    await host.settle()
    assert host.task.handled == 2


async def test_the_clock_follows_the_wall_clock_at_a_fixed_distance_at_the_end_only(kafka: FakeKafka) -> None:
    telemetry(kafka, P1, -2 * DAY)
    host = await Host(kafka).settle()
    now = EPOCH - timedelta(days=2)
    await host.idle(60)
    assert abs(host.task.subjects.now - now - timedelta(seconds=60)) < timedelta(seconds=0.1)
    # The broker is away: the clock stands, and what passes then is never made up for.
    kafka.unconfirmed = {PREFIX + "clinical-events"}
    await host.idle(3600)
    assert host.task.subjects.now - now < timedelta(seconds=61.1)
    kafka.unconfirmed.clear()
    await host.idle(60)
    assert timedelta(seconds=118) < host.task.subjects.now - now < timedelta(seconds=121)


async def test_a_clock_without_subjects_stays_at_the_beginning(kafka: FakeKafka) -> None:
    host = await Host(kafka).start()
    await host.idle(60)
    assert host.task.subjects.now == BEGINNING
    assert host.task.is_current()


async def test_a_wrong_device_clock_moves_nothing(kafka: FakeKafka) -> None:
    telemetry(kafka, P1, 10, tells=5 * DAY)
    host = await Host(kafka).settle()
    assert host.task.subjects.now - EPOCH == pytest.approx(timedelta(seconds=10), abs=timedelta(milliseconds=1))
    assert kafka.told(rule="data_quality") == ["raised"]


async def test_a_deadline_fires_at_its_own_time_while_nothing_comes(kafka: FakeKafka) -> None:
    session(kafka, P1, 0)
    cramp(kafka, P1, 10, "c1")
    host = await Host(kafka).settle()
    await host.idle(1799, step=4)
    assert kafka.told(rule="intradialytic_cramp", status="expired") == []
    await host.idle(60, step=4.9)  # looked at rarely: told late, and for its own time
    expired = [a for a in kafka.transitions() if a["transition"] == "expired"]
    assert [a["at"] for a in expired] == [at(10 + 30 * MINUTE)]


async def test_a_deadline_fires_before_the_event_that_brings_the_clock_past_it(kafka: FakeKafka) -> None:
    session(kafka, P1, 0)
    cramp(kafka, P1, 10, "c1")
    cramp(kafka, P1, 40 * MINUTE, "c1", tells=10, ended_at=stamp(35 * MINUTE))
    telemetry(kafka, P2, 90 * MINUTE)
    await Host(kafka).settle()
    told = [(a["transition"], a["at"]) for a in kafka.transitions() if a["rule"] == "intradialytic_cramp"]
    assert told[0][0] == "raised"
    assert told[1] == ("expired", at(10 + 30 * MINUTE))


# -- stored, sent, acknowledged ----------------------------------------------------------------------------------------


async def test_a_transition_is_stored_then_sent_then_its_input_acknowledged(kafka: FakeKafka) -> None:
    kafka.lab(P1, 10, 1.5)
    await Host(kafka).settle()
    kinds = [call for call in kafka.calls if call[0] != "send" or "worker-status" not in call[1]]
    assert [call[0] for call in kinds] == ["write", "send", "write", "ack"]
    assert kinds[1][1] == ("alerts.low-magnesium", "alerts.active")
    assert kinds[3] == ("ack", "lab-results", 0)
    assert StateCodec(PatientState).decode(kafka.changelog[P1.encode()]).outbox == []


async def test_what_is_stored_before_it_is_sent_is_what_is_sent(kafka: FakeKafka) -> None:
    kafka.fail_sends = RuntimeError("not now")
    kafka.lab(P1, 10, 1.5)
    with pytest.raises(RuntimeError, match="not now"):
        await Host(kafka).settle()
    stored = StateCodec(PatientState).decode(kafka.changelog[P1.encode()])
    assert [entry.topic for entry in stored.outbox] == ["alerts.low-magnesium"]
    kafka.fail_sends = None
    await Host(kafka).settle()
    assert kafka.topic("alerts.low-magnesium")[0].value == bytes(stored.outbox[0].value)


async def test_input_without_transitions_waits_for_the_checkpoint(kafka: FakeKafka) -> None:
    host = await Host(kafka, checkpoint_interval=1.0).start()
    for second in range(5):
        telemetry(kafka, P1, second)
        await host.deliver("machine-events")
        await host.turn()
        kafka.clock.elapsed += 0.2
    assert kafka.calls == []
    kafka.clock.elapsed += 0.2
    await host.turn()
    assert [call[0] for call in kafka.calls] == ["write", "send", *["ack"] * 5]
    assert kafka.calls[0] == ("write", (P1.encode(), CLOCK_KEY))
    assert kafka.calls[1] == ("send", ("sessions.active",))


async def test_many_changed_patients_force_a_checkpoint(kafka: FakeKafka) -> None:
    host = await Host(kafka, checkpoint_interval=60, checkpoint_patients=3).start()
    for patient in (P1, P2):
        telemetry(kafka, patient, 1)
    await host.deliver("machine-events")
    await host.turn()
    assert kafka.calls == []
    telemetry(kafka, P3, 2)
    await host.deliver("machine-events")
    await host.turn()
    assert [call[0] for call in kafka.calls] == ["write", "send", "ack", "ack"]


async def test_a_dead_letter_is_sent_before_its_input_is_acknowledged(kafka: FakeKafka) -> None:
    kafka.put("lab-results", P1.encode(), b"\xff\x00", 1)
    await Host(kafka).settle()
    assert [call[0] for call in kafka.calls] == ["send", "write", "ack"]
    assert kafka.calls[1] == ("write", (CLOCK_KEY,)), "a group that has read something has a changelog that says so"
    (letter,) = kafka.topic("dead-letters")
    assert (letter.key, letter.value) == (P1.encode(), b"\xff\x00")
    assert dict(letter.headers)["dl_reason"] == b"invalid_json"


async def test_a_dead_letter_is_sent_before_anything_is_stored_that_would_hide_its_record(kafka: FakeKafka) -> None:
    """A stored offset covers it: delivered again it would be taken for a repeat, and never be seen by anybody."""
    kafka.put("lab-results", P1.encode(), b"{", 1)
    kafka.lab(P1, 2, 1.5)
    await Host(kafka).settle()
    assert kafka.calls[:2] == [("send", ("dead-letters",)), ("write", (P1.encode(),))]


async def test_release_stores_sends_and_acknowledges_what_was_handled_and_nothing_else(kafka: FakeKafka) -> None:
    host = await Host(kafka, checkpoint_interval=60, batch_max=2).start()
    for second in range(5):
        telemetry(kafka, P1, second)
    await host.deliver("machine-events", 2)
    await host.turn()
    await host.deliver("machine-events", 3)
    await host.turn()  # two of three
    host.task.stop()
    await host.task.release()
    assert kafka.committed == {PREFIX + "machine-events": 2}
    assert StateCodec(PatientState).decode(kafka.changelog[P1.encode()]).offsets == {"machine-events": 3}


@pytest.mark.parametrize("what", ["alert", "dead letter", "record of another partition"])
async def test_a_task_whose_send_failed_for_good_acknowledges_nothing_when_released(
    kafka: FakeKafka, what: str
) -> None:
    """The worker stops then; what was not sent must be delivered again to whoever comes next."""
    if what == "alert":
        kafka.lab(P1, 1, 1.5)
    elif what == "dead letter":
        kafka.put("lab-results", P1.encode(), b"{", 1)
    else:
        kafka.put("lab-results", ELSEWHERE.encode(), b"{", 1)
    kafka.fail_sends = RuntimeError("the topic is gone")
    host = await Host(kafka).start()
    await host.deliver("lab-results")
    with pytest.raises(RuntimeError, match="the topic is gone"):
        await host.task.run()
    kafka.fail_sends = None
    await host.task.release()
    assert not kafka.committed
    await Host(kafka).settle()
    assert len(kafka.sent) > 0
    assert kafka.committed == {PREFIX + "lab-results": 1}


async def test_a_task_that_lost_its_partition_acknowledges_nothing(kafka: FakeKafka) -> None:
    host = await Host(kafka).start()
    telemetry(kafka, P1, 1)
    await host.deliver("machine-events")
    await host.turn()
    kafka.clock.elapsed += 1
    kafka.fail_writes = StaleGenerationError("it is somebody else's")
    with pytest.raises(StaleGenerationError):
        await host.task.run()
    with contextlib.suppress(StaleGenerationError):
        await host.task.release()
    assert not kafka.committed


async def test_a_record_that_breaks_the_engine_costs_nobody_else_anything(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry(kafka, P1, 1)
    kafka.lab(P2, 2, 1.5)
    host = await Host(kafka).start()
    take = host.task.subjects.take

    def breaks(subject: str, event: Any, at: Any, way: Any = ()) -> Any:
        if subject == P2:
            raise ZeroDivisionError
        return take(subject, event, at, way)

    monkeypatch.setattr(host.task.subjects, "take", breaks)
    kafka.lab(P3, 3, 0.5)
    await host.settle()
    assert kafka.told(patient_id=P3) == ["raised"]
    (letter,) = kafka.topic("dead-letters")
    assert (letter.key, dict(letter.headers)["dl_reason"]) == (P2.encode(), b"internal_error")
    assert kafka.committed[PREFIX + "lab-results"] == 2
    # Once the fault is mended the same event, published again, does what it should.
    monkeypatch.setattr(host.task.subjects, "take", take)
    kafka.lab(P2, 4, 1.5)
    await host.settle()
    assert kafka.told(patient_id=P2) == ["raised"]

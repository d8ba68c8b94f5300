"""A task that crashes at any moment, and the one that takes over (see `fake_port`)."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest

from streams.worker.ports import CLOCK_KEY
from tests.unit.fake_port import EPOCH, PREFIX, Crash, FakeKafka, Host, frozen, subjects
from tests.unit.task_events import (
    DAY,
    HOUR,
    MINUTE,
    P1,
    P2,
    P3,
    cramp,
    low_magnesium,
    session,
    telemetry,
)
from tests.unit.whole_day import busy_day, check_against, everything, run_day, undisturbed

#: Calls less magnesium low than the product as shipped, which somebody has to accept.
LENIENT = {
    "low_magnesium": {"low": {"mg/dL": 1.5, "mmol/L": 0.6, "meq/L": 1.2}, "accept_risk": "a test of changed settings"}
}

# -- crash at every moment ---------------------------------------------------------------------------------------------


async def test_the_day_tells_what_it_should(kafka: FakeKafka) -> None:
    whole = await undisturbed(kafka, 10)
    told = {(a["rule"], a["transition"]) for a in whole.transitions()}
    assert told >= {
        ("low_magnesium", "raised"),
        ("low_magnesium", "escalated"),
        ("low_magnesium", "withdrawn"),
        ("low_magnesium", "resolved"),
        ("intradialytic_cramp", "raised"),
        ("intradialytic_cramp", "updated"),
        ("intradialytic_cramp", "expired"),
        ("aluminum_suspicion", "raised"),
        ("aluminum_suspicion", "withdrawn"),
    }
    assert len(whole.topic("dead-letters")) == 1
    assert len(whole.topic("machine-events")) == 1
    assert any(message.value is None for message in whole.topic("alerts.active"))


async def test_the_same_is_told_however_the_input_is_cut_into_batches(kafka: FakeKafka) -> None:
    whole = await undisturbed(kafka, 10)
    for size in (1, 2, 3, 7):
        other = await undisturbed(kafka, size)
        assert everything(other) == everything(whole)


@pytest.mark.parametrize("size", [1, 3, 10])
async def test_a_crash_at_any_moment_loses_nothing_and_repeats_the_same_bytes(kafka: FakeKafka, size: int) -> None:
    whole = await undisturbed(kafka, size)
    assert whole.dangers > 30
    for moment in range(1, whole.dangers + 1):
        broken = FakeKafka(kafka.clock, crash_at=moment)
        busy_day(broken)
        with pytest.raises(Crash):
            await run_day(broken, size)
        # Another one, cutting the log into other batches.
        await run_day(broken, size + moment % 3)
        try:
            check_against(whole, broken)
        except AssertionError as error:
            raise AssertionError(f"after a crash at moment {moment} of {whole.dangers}: {error}") from error


@pytest.mark.parametrize("seed", range(30))
async def test_crash_upon_crash(kafka: FakeKafka, seed: int) -> None:
    chance = random.Random(seed)
    whole = await undisturbed(kafka, 5)
    broken = FakeKafka(kafka.clock)
    busy_day(broken)
    crashes = 0
    while True:
        broken.crash_at = broken.dangers + chance.randrange(1, 25)
        try:
            await run_day(broken, chance.randrange(1, 8))
        except Crash:
            crashes += 1
        else:
            break
    assert crashes
    check_against(whole, broken)


async def run_slowly(kafka: FakeKafka) -> None:
    host = await Host(kafka, checkpoint_interval=1.0, batch_max=4).start()
    for _ in range(100):
        came = [await host.deliver(topic, 4) for topic in host.kind.topics]
        if not await host.turn() and not any(came):
            break
        kafka.clock.elapsed += 0.1
    kafka.crash_at = kafka.dangers + 1
    await host.task.release()


@pytest.mark.parametrize("slowness", [1, 2, 5])
async def test_a_crash_while_more_is_handled_than_said_changes_nothing_either(kafka: FakeKafka, slowness: int) -> None:
    """A slow broker: records are handled while transitions of earlier ones are stored and sent."""
    whole = await undisturbed(kafka, 4)
    moment, overlapped = 0, False
    while True:
        moment += 1
        broken = FakeKafka(kafka.clock, crash_at=moment, slowness=slowness)
        busy_day(broken)
        host = Host(broken, checkpoint_interval=0.5, batch_max=2)
        try:
            await host.start()
            for _ in range(1000):
                came = [await host.deliver(topic, 2) for topic in host.kind.topics]
                before = host.task.handled
                speaking = host.task.is_publishing
                busy = await host.turn()
                overlapped |= speaking and host.task.is_publishing and host.task.handled > before
                broken.clock.elapsed += 0.05
                if not any(came) and not busy and host.task.is_stored:
                    break
            else:
                raise AssertionError("the task does not come to rest")
        except Crash:
            broken.slowness = 0
            await run_day(broken, 4)
        try:
            check_against(whole, broken)
        except AssertionError as error:
            raise AssertionError(f"after a crash at moment {moment}: {error}") from error
        if broken.dangers < moment:
            break
    assert overlapped
    assert moment > 50


async def test_a_crash_under_slow_checkpoints_changes_nothing_either(kafka: FakeKafka) -> None:
    """Much is handled and not stored when it happens; what is stored of one patient is ahead of the others."""
    whole = await undisturbed(kafka, 4)
    for moment in range(1, 60):
        broken = FakeKafka(kafka.clock, crash_at=moment)
        busy_day(broken)
        with pytest.raises(Crash):
            await run_slowly(broken)
        await run_day(broken, 4)
        try:
            check_against(whole, broken)
        except AssertionError as error:
            raise AssertionError(f"after a crash at moment {moment}: {error}") from error


# -- recovery ----------------------------------------------------------------------------------------------------------


async def test_what_is_delivered_again_finds_the_clock_that_it_found_before(kafka: FakeKafka) -> None:
    """Stored of P2 is an hour more than of P1: P1's events must not be judged by P2's clock."""
    kafka.event("clinical-events", P1, "weight", 10, kg=70.0, moment="pre")
    kafka.event("clinical-events", P1, "weight", 20, kg=70.0, moment="post")
    kafka.lab(P2, HOUR, 1.5)
    host = await Host(kafka, checkpoint_interval=60).start()
    await host.deliver("clinical-events")
    await host.deliver("lab-results")
    while not kafka.sent:
        await host.turn()
    assert set(kafka.changelog) == {P2.encode()}
    # It dies here; another one takes over.
    after = await Host(kafka).start()
    assert after.task.subjects.now == EPOCH + timedelta(hours=1)
    await after.deliver("clinical-events")
    await after.deliver("lab-results")
    await after.turn()
    assert after.task.subjects.states[P1].now == EPOCH + timedelta(seconds=20)
    # At the end of what is there the clock is again where it was.
    await after.settle()
    assert after.task.subjects.now >= EPOCH + timedelta(hours=1)
    assert kafka.told() == ["raised"]


async def test_a_deadline_between_what_is_delivered_again_and_the_recovered_clock_fires(kafka: FakeKafka) -> None:
    kafka.clock.elapsed += DAY
    session(kafka, P1, 0)
    cramp(kafka, P1, 10, "c1")
    await Host(kafka).settle()
    kafka.event("clinical-events", P3, "weight", 20, kg=70.0, moment="pre")
    kafka.lab(P2, 1800, 1.5)
    host = await Host(kafka, checkpoint_interval=60).start()
    await host.deliver("clinical-events")
    await host.deliver("lab-results")
    while "low_magnesium" not in {alert["rule"] for alert in kafka.transitions()}:
        await host.turn()
    after = await Host(kafka).settle()
    await after.idle(30)
    # The first worker had handled all there was, so somebody could see the alert, and nobody answered.
    assert kafka.told(rule="intradialytic_cramp") == ["raised", "escalated", "expired"]


async def test_open_alerts_and_running_sessions_are_shown_again_by_who_takes_over(kafka: FakeKafka) -> None:
    session(kafka, P1, 0)
    kafka.lab(P1, 10, 1.5)
    kafka.lab(P2, 11, 1.5)
    kafka.lab(P2, 12, 2.0)
    await Host(kafka).settle()
    before = len(kafka.sent)
    after = await Host(kafka).start()
    again = kafka.sent[before:]
    *shown, running = again
    assert running.topic.endswith("sessions.active")
    # The open alert, and that the other one is over: the predecessor may have said less last.
    first, _, resolved = kafka.topic("alerts.active")[:3]
    assert [frozen(message) for message in shown] == [frozen(first), frozen(resolved)]
    assert after.metric("dialysis_alerts_active", rule="low_magnesium", priority="medium") == 1
    assert (
        after.metric("dialysis_alert_transitions_total", rule="low_magnesium", priority="medium", transition="raised")
        == 0
    )
    await after.settle()
    # Once is enough, also for whoever comes next.
    await Host(kafka).settle()
    assert len(kafka.topic("alerts.low-magnesium")) == 3


async def test_changed_rule_settings_are_applied_to_what_was_recovered(kafka: FakeKafka) -> None:
    kafka.lab(P1, 10, 1.6)
    await Host(kafka).settle()
    assert kafka.told() == ["raised"]
    await Host(kafka, rules=LENIENT).settle()
    assert kafka.told() == ["raised", "resolved"]
    assert kafka.transitions()[-1]["reason"] == "superseded"


async def test_changed_rule_settings_are_stored_of_every_patient_and_applied_once(kafka: FakeKafka) -> None:
    patients = subjects(0, 450)
    for number, patient in enumerate(patients):
        kafka.lab(patient, number, 1.6 if number % 10 == 0 else 2.0)
    await Host(kafka).settle()
    before = {json.loads(value)["rules"] for key, value in kafka.changelog.items() if key != CLOCK_KEY}
    await Host(kafka, rules=LENIENT).settle()
    after = {json.loads(value)["rules"] for key, value in kafka.changelog.items() if key != CLOCK_KEY}
    assert len(before) == len(after) == 1
    assert before != after
    assert len(kafka.told(reason="superseded")) == 45
    kafka.calls.clear()
    await Host(kafka, rules=LENIENT).start()
    assert not [call for call in kafka.calls if call[0] == "write" and set(call[1]) - {CLOCK_KEY}]


async def test_response_times_count_only_from_when_somebody_could_see_the_alert(kafka: FakeKafka) -> None:
    kafka.clock.elapsed += HOUR  # the task is an hour behind, and catches up
    kafka.unconfirmed = {PREFIX + "machine-events"}
    kafka.lab(P1, 0, 0.8)
    telemetry(kafka, P2, 1)
    host = await Host(kafka).settle()
    telemetry(kafka, P2, 10 * MINUTE)
    await host.settle()
    assert kafka.told(patient_id=P1) == ["raised"]
    # It catches up to 29 s behind the wall clock.
    behind = (kafka.clock.now() - EPOCH).total_seconds() - 29
    telemetry(kafka, P2, behind)
    await host.settle()
    telemetry(kafka, P2, behind + 59)
    await host.settle()
    assert kafka.told(patient_id=P1) == ["raised"]
    telemetry(kafka, P2, behind + 61)
    await host.settle()
    assert kafka.told(patient_id=P1) == ["raised", "escalated"]
    escalated = [alert for alert in kafka.transitions() if alert["patient_id"] == P1][-1]
    assert (escalated["reason"], escalated["escalation"], escalated["priority"]) == ("unacknowledged", 1, "high")
    telemetry(kafka, P2, behind + 5 * MINUTE + 1)
    await host.settle()
    assert kafka.told(patient_id=P1) == ["raised", "escalated", "escalated"]
    telemetry(kafka, P2, behind + 50 * MINUTE)
    await host.settle()
    assert kafka.told(patient_id=P1) == ["raised", "escalated", "escalated"]


async def test_who_has_handled_all_there_is_can_be_seen_however_old_its_clock(kafka: FakeKafka) -> None:
    """A worker was away for a minute and nothing came since: its clock stays a minute behind, its alerts do not."""
    kafka.lab(P1, 0, 0.8)
    kafka.clock.elapsed += MINUTE
    host = await Host(kafka).settle()
    await host.idle(59, step=4)
    assert kafka.told() == ["raised"]
    await host.idle(3)
    assert kafka.told() == ["raised", "escalated"]


async def test_waiting_for_a_broker_is_no_silence(kafka: FakeKafka) -> None:
    session(kafka, P1, 0)
    cramp(kafka, P1, 10, "c1")
    host = await Host(kafka).settle()
    await host.idle(10)
    kafka.clock.elapsed += 40 * MINUTE  # spent in one write
    await host.turn()
    await host.idle(10)
    assert kafka.told(rule="intradialytic_cramp") == ["raised"]


@pytest.mark.parametrize("timestamp_ms", [-1, 0, -62135596800000, 253402300800000, 2**62])
async def test_a_timestamp_that_no_broker_gave_is_now(kafka: FakeKafka, timestamp_ms: int) -> None:
    kafka.lab(P1, 0, 0.8)
    for record in kafka.logs[PREFIX + "lab-results"]:
        record.timestamp = timestamp_ms
    await Host(kafka).settle()
    kafka.lab(P2, 1, 0.8)
    await Host(kafka).settle()
    assert kafka.told() == ["raised", "raised"]


async def test_who_takes_over_goes_on_counting_response_times(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 0.8)
    host = await Host(kafka).settle()
    await host.idle(40)
    await host.task.release()
    # Another patient's result tells the next one how far the world has gone.
    kafka.lab(P2, 50, 2.0)
    after = await Host(kafka).settle()
    await after.idle(8)
    assert kafka.told() == ["raised"]
    await after.idle(3)
    assert kafka.told() == ["raised", "escalated"]


async def test_an_acknowledged_alert_is_not_called_again(kafka: FakeKafka) -> None:
    kafka.lab(P1, 0, 0.8)
    host = await Host(kafka).settle()
    kafka.event(
        "clinical-events", P1, "alert_response", 30, alert_id=low_magnesium(P1, "r0"), by="n", action="acknowledge"
    )
    await host.settle()
    await host.idle(HOUR, step=4)
    assert kafka.told() == ["raised", "acknowledged"]

"""Deadlines across a restart, by planted times: told once, each for its own time, before anything later is applied."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.fake_port import EPOCH, Crash, FakeKafka, Host, frozen, stamp
from tests.unit.task_events import (
    CLINICAL,
    DAY,
    HOUR,
    LABS,
    MINUTE,
    P1,
    P2,
    P3,
    answer,
    at,
    catching_up,
    clock,
    cramp,
    low_magnesium,
    session,
    stored,
    story,
    telemetry,
)

# -- deadlines across a restart ----------------------------------------------------------------------------------------


def a_cramp(kafka: FakeKafka) -> None:
    session(kafka, P1, 0)
    cramp(kafka, P1, 10, "c1")


def a_suspicion(kafka: FakeKafka) -> None:
    kafka.event("clinical-events", P1, "symptom", 5, symptom_id="j", kind="jerk")
    kafka.event("clinical-events", P1, "symptom", 10, symptom_id="s", kind="speech_disturbance")


def a_snooze(kafka: FakeKafka) -> None:
    kafka.lab(P1, 10, 1.5)
    answer(kafka, low_magnesium(P1, "r0"), 20, "snooze", until=stamp(1500))


def an_end(kafka: FakeKafka) -> None:
    kafka.lab(P1, 10, 1.5)
    kafka.lab(P1, 20, 2.0)


#: What happens, and what is due of it: rule, transition (None for a tombstone) and when.
DUE = [
    (a_cramp, "intradialytic_cramp", "expired", 10 + 30 * MINUTE),
    (a_suspicion, "aluminum_result_overdue", "raised", 10 + 24 * HOUR),
    (a_snooze, "low_magnesium", "reminded", 1500.0),
    (an_end, "low_magnesium", None, 20 + 15 * MINUTE),
]


def morning_after(kafka: FakeKafka) -> None:
    """26 hours later a result comes that P1 and P2 tell something of, and the wall clock is far ahead."""
    kafka.clock.elapsed += 2 * DAY
    for patient in (P2, P1):
        kafka.lab(patient, 26 * HOUR, 450, analyte="aluminum", unit="ug/L")


async def until_dead(kafka: FakeKafka, happens: Callable[[FakeKafka], None]) -> None:
    """A worker handles what happens, and is gone before anything is due."""
    happens(kafka)
    catching_up(kafka, DAY)
    telemetry(kafka, P2, 30)
    host = await Host(kafka).start()
    for topic in host.kind.topics:
        await host.deliver(topic)
    kafka.unconfirmed.clear()
    while await host.turn():
        pass
    await host.task.release()


@pytest.mark.parametrize(("happens", "rule", "transition", "due"), DUE)
async def test_what_came_due_while_no_worker_ran_is_told_once_for_its_own_time_before_anything_later(
    kafka: FakeKafka, happens: Callable[[FakeKafka], None], rule: str, transition: str | None, due: float
) -> None:
    await until_dead(kafka, happens)
    before = len(kafka.sent)
    morning_after(kafka)
    await Host(kafka).settle()
    await Host(kafka).settle()
    later = [number for number, m in enumerate(kafka.sent) if b'"aluminum_level"' in (m.value or b"")]
    if transition is None:
        found = [number for number, m in enumerate(kafka.sent) if m.topic.endswith("alerts.active") and not m.value]
        assert low_magnesium(P1, "r0") in stored(kafka, P1).buried
    else:
        assert story(kafka, rule=rule).count((rule, transition, at(due))) == 1
        assert [what for _, what, _ in story(kafka, rule=rule)].count(transition) == 1
        word = f'"{transition}"'.encode()
        moment = f'"at":"{at(due)}"'.encode()
        found = [n for n, m in enumerate(kafka.sent) if m.value and word in m.value and moment in m.value]
    assert before <= found[0] < later[0]


@pytest.mark.parametrize(("happens", "rule", "transition", "due"), DUE)
async def test_a_crash_of_who_takes_over_tells_what_came_due_in_the_same_bytes(
    kafka: FakeKafka, happens: Callable[[FakeKafka], None], rule: str, transition: str | None, due: float
) -> None:
    del rule, transition, due

    async def told_with_crash_at(moment: int) -> tuple[set[Any], bool]:
        kafka.clock.elapsed = 1000.0
        broken = FakeKafka(kafka.clock)
        await until_dead(broken, happens)
        morning_after(broken)
        broken.crash_at = broken.dangers + moment
        try:
            await Host(broken).settle()
        except Crash:
            await Host(broken).settle()
        return {frozen(m) for m in broken.sent if "sessions" not in m.topic}, broken.dangers >= broken.crash_at

    whole, _ = await told_with_crash_at(10_000)
    moment, crashed = 0, True
    while crashed:
        moment += 1
        told, crashed = await told_with_crash_at(moment)
        assert told == whole, moment
    assert moment > 8


async def test_calls_due_during_the_outage_are_made_for_their_own_time(kafka: FakeKafka) -> None:
    catching_up(kafka, 20)
    kafka.lab(P1, 0, 0.8)
    telemetry(kafka, P2, 2)
    await Host(kafka).settle(["machine-events", "lab-results"])
    kafka.unconfirmed.clear()
    kafka.clock.elapsed += HOUR
    kafka.lab(P1, HOUR, 2.0)
    await Host(kafka).settle()
    assert story(kafka, rule="low_magnesium") == [  # the machine of P2 is silent meanwhile
        ("low_magnesium", "raised", at(0)),
        ("low_magnesium", "escalated", at(62)),
        ("low_magnesium", "escalated", at(302)),
        ("low_magnesium", "resolved", at(HOUR)),
    ]


async def test_an_outage_is_no_silence_for_who_takes_over_and_hears_nothing(kafka: FakeKafka) -> None:
    """An hour without a worker, and no record after it: a cramp has been silent for as long as was listened to."""
    a_cramp(kafka)
    host = await Host(kafka).settle()
    await host.idle(60)
    await host.task.release()
    kafka.clock.elapsed += HOUR
    after = await Host(kafka).settle()
    await after.idle(60)
    assert "expired" not in kafka.told()
    await after.idle(29 * MINUTE, step=4)
    assert story(kafka)[-1] == ("intradialytic_cramp", "expired", at(1810))


async def test_endings_come_before_calls_of_the_same_moment_after_a_restart(kafka: FakeKafka) -> None:
    """By rule alone the call (aluminum_level) would come before the ending (intradialytic_cramp)."""
    a_cramp(kafka)
    kafka.lab(P1, 1745, 450, analyte="aluminum", unit="ug/L")
    catching_up(kafka, 1760)
    telemetry(kafka, P1, 1750)
    await Host(kafka).settle(["machine-events", "clinical-events", "lab-results"])
    state = stored(kafka, P1)
    assert {alert.seen_at for alert in state.alerts.values()} == {EPOCH + timedelta(seconds=1750)}
    telemetry(kafka, P2, HOUR)
    kafka.unconfirmed.clear()
    kafka.clock.elapsed += HOUR
    await Host(kafka).settle()
    due = [told for told in story(kafka) if told[2] == at(1810)]
    assert due == [("intradialytic_cramp", "expired", at(1810)), ("aluminum_level", "escalated", at(1810))]


async def test_deadlines_of_many_patients_are_told_in_the_order_of_their_times(kafka: FakeKafka) -> None:
    """P1 and P2 in turns, and at one moment P1's call and P2's ending."""
    session(kafka, P1, 0)
    session(kafka, P2, 0, "s2")
    cramp(kafka, P1, 10, "c1")
    cramp(kafka, P2, 20, "c2")
    kafka.lab(P1, 1700, 450, analyte="aluminum", unit="ug/L")
    catching_up(kafka, 1760)
    telemetry(kafka, P3, 1760)
    await Host(kafka).settle(["machine-events", "clinical-events", "lab-results"])
    before = len(story(kafka))
    telemetry(kafka, P3, HOUR)
    kafka.unconfirmed.clear()
    kafka.clock.elapsed += HOUR
    await Host(kafka).settle()
    told = [one for one in story(kafka)[before:] if one[0] != "machine_silent"]  # that of P3 is, meanwhile
    assert told == [
        ("intradialytic_cramp", "expired", at(1810)),
        ("intradialytic_cramp", "expired", at(1820)),
        ("aluminum_level", "escalated", at(1820)),
        ("aluminum_level", "escalated", at(1760 + 300)),
    ]


async def test_a_subject_is_not_looked_at_with_an_older_clock_than_before(kafka: FakeKafka) -> None:
    """Records delivered again let the clock go back; a patient whose state is ahead of it stays where he is."""
    kafka.clock.elapsed += DAY
    a_cramp(kafka)
    kafka.event("clinical-events", P2, "weight", 20, kg=70.0, moment="pre")
    kafka.lab(P1, HOUR, 1.5)
    host = await Host(kafka, checkpoint_interval=60).start()
    for topic in host.kind.topics:
        await host.deliver(topic)
    while "low_magnesium" not in {alert["rule"] for alert in kafka.transitions()}:
        await host.turn()
    assert P2.encode() not in kafka.changelog
    # It dies here. The next record's timestamp is a producer's own: it lies before what was evaluated.
    cramp(kafka, P1, 30, "c1", tells=10, score=7)
    kafka.unconfirmed = {LABS}
    after = await Host(kafka, batch_max=1).start()
    for topic in ("clinical-events", "lab-results", "machine-events"):
        await after.deliver(topic, 10)
    for _ in range(4):
        await after.turn()
    assert clock(after) == 30
    kafka.unconfirmed.clear()
    await after.settle()
    assert stored(kafka, P1).now == EPOCH + timedelta(hours=1)
    assert kafka.told(rule="intradialytic_cramp") == ["raised", "expired"]


async def test_the_recovered_clock_stands_again_at_the_end_of_what_is_delivered_again(kafka: FakeKafka) -> None:
    """Only the older of two batches is delivered again: the clock goes back for it, and then to where it was."""
    kafka.clock.elapsed += DAY
    kafka.event("clinical-events", P2, "weight", 20, kg=70.0, moment="pre")
    a_cramp(kafka)
    kafka.lab(P3, HOUR, 1.5)
    await Host(kafka).settle()
    kafka.committed[CLINICAL] = 0
    after = await Host(kafka).settle()
    assert clock(after) >= HOUR
    assert kafka.told(rule="intradialytic_cramp") == ["raised", "expired"]

"""Time across topics, outages and restarts, by planted times; see `fake_port`.

The rules are docs/decisions/0006-event-time-and-task-clock.md and docs/decisions/0007-one-task-a-partition.md.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.unit.fake_port import EPOCH, Crash, FakeKafka, Host, frozen, stamp
from tests.unit.task_events import (
    CLINICAL,
    DAY,
    HOUR,
    LABS,
    MACHINES,
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

# -- order over topics -------------------------------------------------------------------------------------------------


async def test_telemetry_far_ahead_waits_for_results_held_back_and_moves_no_clock(kafka: FakeKafka) -> None:
    """An hour of telemetry is there before the first result: nothing of it counts as silence, or as time at all."""
    kafka.clock.elapsed += DAY
    kafka.unconfirmed = {LABS, CLINICAL}
    for second in range(0, 3600, 60):
        telemetry(kafka, P2, second)
    kafka.lab(P1, 100, 1.5)
    kafka.lab(P1, 3000, 2.0)
    cramp(kafka, P3, 200, "c1")
    cramp(kafka, P3, 1900, "c1", tells=200, ended_at=stamp(1900))
    host = await Host(kafka, batch_max=1000).start()
    await host.settle(["machine-events"])
    assert host.task.handled == 0
    await host.settle(["clinical-events"])
    assert host.task.handled == 0
    assert await host.deliver("lab-results", 1)
    await host.turn()
    # Up to the result that is there, and no further: the next one may be older than what waits.
    assert clock(host) == 100
    assert story(kafka) == [("low_magnesium", "raised", at(100))]
    assert await host.deliver("lab-results", 1)
    await host.turn()
    kafka.unconfirmed.clear()
    await host.settle()
    assert story(kafka) == [("low_magnesium", "raised", at(100)), ("low_magnesium", "resolved", at(3000))]


async def test_a_confirmed_end_lets_others_go_on_for_five_seconds(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry(kafka, P1, 0)
    host = await Host(kafka).settle()
    confirmed_at = kafka.clock.elapsed
    monkeypatch.setattr(kafka, "end_confirmed_at", lambda _tp: confirmed_at)
    await host.idle(4.9, step=0.1)
    assert host.task.is_current()
    telemetry(kafka, P1, 4.9)
    await host.settle(["machine-events"])
    assert host.task.handled == 2
    await host.idle(HOUR)
    assert not host.task.is_current()
    assert clock(host) < 6
    telemetry(kafka, P1, 60)
    await host.settle(["machine-events"])
    assert host.task.handled == 2


async def test_what_was_applied_still_tells_how_far_the_world_has_gone(kafka: FakeKafka) -> None:
    """A commit got lost: a whole topic is delivered again, nothing of it is new, and yet it moves the clock."""
    kafka.clock.elapsed += DAY
    session(kafka, P1, 0)
    cramp(kafka, P1, 10, "c1")
    telemetry(kafka, P1, 2000)
    await Host(kafka).settle()
    kafka.committed.clear()
    kafka.unconfirmed = {CLINICAL}  # so no end is reached, from which the recovered clock would be taken up again
    host = await Host(kafka).start()
    await host.settle(["machine-events", "clinical-events"])
    assert clock(host) == 10
    kafka.unconfirmed.clear()
    await host.settle()
    assert story(kafka, rule="intradialytic_cramp")[-1] == ("intradialytic_cramp", "expired", at(1810))
    assert clock(host) >= 2000
    assert host.metric("dialysis_duplicate_events_total", topic=MACHINES) == 2


# -- two clocks --------------------------------------------------------------------------------------------------------


async def test_the_clock_is_the_newest_record_whatever_records_tell_of_and_never_goes_back(kafka: FakeKafka) -> None:
    catching_up(kafka, DAY)
    host = await Host(kafka).start()
    for record_at, tells, expected in ((50, 10, 50), (100, 104, 100), (70, 70, 100), (99, 5 * DAY, 100), (101, 0, 101)):
        telemetry(kafka, P1, record_at, tells=tells)
        await host.settle(["machine-events"])
        assert clock(host) == expected


@pytest.mark.parametrize(("ahead", "expected"), [(3599, 3599), (3601, 0), (400 * DAY, 0)])
async def test_a_record_that_a_producer_stamped_too_far_ahead_counts_as_now(
    kafka: FakeKafka, ahead: float, expected: float
) -> None:
    kafka.unconfirmed = {MACHINES}
    telemetry(kafka, P1, ahead)
    host = await Host(kafka).start()
    await host.settle(["machine-events"])
    assert clock(host) == expected


@pytest.mark.parametrize(("ahead", "expected"), [(29, 29), (31, 0), (HOUR, 0), (400 * DAY, 0)])
async def test_a_producers_own_time_moves_no_clock_beyond_the_wall_clock(
    kafka: FakeKafka, caplog: pytest.LogCaptureFixture, ahead: float, expected: float
) -> None:
    """CreateTime: one sender an hour ahead would put every later cramp an hour behind the clock."""
    event = {"type": "telemetry", "patient_id": P1, "at": stamp(0), "session_id": "s1", "machine_id": "m1"}
    kafka.put("machine-events", P1.encode(), event, ahead, type_=0)
    kafka.put("machine-events", P1.encode(), event, ahead, type_=0)
    kafka.unconfirmed = {MACHINES}
    host = await Host(kafka).start()
    await host.settle(["machine-events"])
    assert clock(host) == pytest.approx(expected, abs=1e-3)
    refused = 0 if expected else 2
    assert host.metric("dialysis_records_ahead_total", table="patients") == refused
    assert caplog.text.count("ahead of the wall clock") == min(refused, 1)


async def test_late_events_are_filed_evaluated_now_and_counted(kafka: FakeKafka) -> None:
    kafka.lab(P1, 1000, 1.5, tells=701)
    kafka.lab(P2, 1000, 1.5, tells=699)
    host = await Host(kafka).settle()
    assert story(kafka) == [("low_magnesium", "raised", at(1000))] * 2
    assert {alert["onset_at"] for alert in kafka.transitions()} == {at(701), at(699)}
    assert host.metric("dialysis_late_events_total", topic=LABS) == 1


@pytest.mark.parametrize(("age", "told"), [(34 * DAY, ["raised"]), (36 * DAY, [])])
async def test_what_is_older_than_the_longest_window_raises_nothing(
    kafka: FakeKafka, age: float, told: list[str]
) -> None:
    kafka.lab(P1, 0, 450, tells=-age, analyte="aluminum", unit="ug/L")
    host = await Host(kafka).settle()
    await host.idle(60)
    assert kafka.told(rule="aluminum_level", transition="raised") == told
    assert host.metric("dialysis_late_events_total", topic=LABS) == 1


async def test_old_alerts_found_while_catching_up_are_sent_like_any_other(kafka: FakeKafka) -> None:
    catching_up(kafka, 30 * DAY)
    kafka.lab(P1, 10, 1.5)
    telemetry(kafka, P2, 11)
    await Host(kafka).settle(["machine-events", "lab-results"])
    assert story(kafka) == [("low_magnesium", "raised", at(10))]
    assert [message.key for message in kafka.topic("alerts.low-magnesium")] == [P1.encode()]


# -- outage and lag ----------------------------------------------------------------------------------------------------


async def test_an_end_that_comes_and_goes_adds_only_what_was_confirmed(kafka: FakeKafka) -> None:
    """Two looks in a row must find every end confirmed: what lies between two confirmations is no silence."""
    telemetry(kafka, P1, 0)
    host = await Host(kafka).settle()
    for _ in range(100):
        kafka.unconfirmed = {CLINICAL}
        await host.idle(4)
        kafka.unconfirmed.clear()
        await host.idle(2)
    assert 100 <= clock(host) <= 202


@pytest.mark.parametrize("topic", [LABS, MACHINES, CLINICAL])
async def test_the_clock_stands_while_one_end_is_not_confirmed_and_nothing_comes_due(
    kafka: FakeKafka, topic: str
) -> None:
    session(kafka, P1, 0)
    cramp(kafka, P1, 10, "c1")
    kafka.lab(P2, 11, 0.8)
    host = await Host(kafka).settle()
    await host.idle(5)
    kafka.unconfirmed = {topic}
    await host.idle(DAY, step=4)
    assert clock(host) < 17
    assert [what for _, what, _ in story(kafka)] == ["raised", "raised"]
    kafka.unconfirmed.clear()
    await host.idle(60)
    assert story(kafka, patient_id=P2)[-1][1] == "escalated"
    assert kafka.told(patient_id=P1) == ["raised"]


async def test_an_answer_given_in_time_but_read_after_a_lag_stops_the_call(kafka: FakeKafka) -> None:
    """Read together, telemetry past the response time would escalate first; in the order of time it does not."""
    catching_up(kafka, 20)
    kafka.lab(P1, 0, 0.8)
    telemetry(kafka, P2, 1)
    host = await Host(kafka).start()
    await host.settle(["machine-events", "lab-results"])
    assert stored(kafka, P1).alerts[low_magnesium(P1, "r0")].seen_at == EPOCH + timedelta(seconds=1)
    kafka.unconfirmed = {CLINICAL}
    telemetry(kafka, P2, 50 * MINUTE)
    await host.settle(["machine-events"])
    answer(kafka, low_magnesium(P1, "r0"), 60, "acknowledge")
    await host.settle(["clinical-events"])
    kafka.unconfirmed.clear()
    await host.settle()
    told = story(kafka, rule="low_magnesium")  # the machine of P2 is silent meanwhile
    assert told == [("low_magnesium", "raised", at(0)), ("low_magnesium", "acknowledged", at(60))]


# -- response times ----------------------------------------------------------------------------------------------------


async def test_nobody_is_called_again_before_the_alert_could_be_seen(kafka: FakeKafka) -> None:
    """An hour behind, over two restarts: the times count from the first clock that is under 30 s behind."""
    catching_up(kafka, HOUR)
    kafka.lab(P1, 0, 0.8)
    telemetry(kafka, P2, 1)
    await Host(kafka).settle(["machine-events", "lab-results"])
    host = await Host(kafka).start()
    telemetry(kafka, P2, HOUR - 31)
    await host.settle(["machine-events"])
    assert stored(kafka, P1).alerts[low_magnesium(P1, "r0")].seen_at is None
    host = await Host(kafka).start()
    seen = HOUR - 29
    for second in (seen, seen + 59):
        telemetry(kafka, P2, second)
        await host.settle(["machine-events"])
    assert kafka.told(rule="low_magnesium") == ["raised"]
    host = await Host(kafka).start()
    telemetry(kafka, P2, seen + 6 * MINUTE)
    await host.settle(["machine-events"])
    await Host(kafka).settle()
    assert story(kafka, rule="low_magnesium") == [
        ("low_magnesium", "raised", at(0)),
        ("low_magnesium", "escalated", at(seen + 60)),
        ("low_magnesium", "escalated", at(seen + 300)),
    ]


async def test_an_alert_is_not_seen_before_the_broker_has_it(kafka: FakeKafka) -> None:
    """Alerts of one patient follow each other while the first is still being stored and sent."""
    kafka.slowness = 3
    host = await Host(kafka).start()
    seen: set[tuple[str, datetime]] = set()
    for number in range(60):
        if number % 10 < 5:  # and then time for all of it to be told
            kafka.lab(P1, number, 2.0 if number % 2 else 0.8)
        await host.deliver("lab-results")
        await host.turn()
        kafka.clock.elapsed += 1.0
        there = {(alert["alert_id"], alert["revision"]) for alert in kafka.transitions()}
        for alert in host.task.subjects.states[P1].alerts.values():
            if alert.seen_at is not None and (alert.alert_id, alert.seen_at) not in seen:
                seen.add((alert.alert_id, alert.seen_at))
                assert (alert.alert_id, alert.revision) in there
    assert len(seen) > 5


async def test_in_the_middle_of_a_batch_a_task_is_behind_though_nothing_more_waits(kafka: FakeKafka) -> None:
    """A patient has so much to say that it is stored and sent before the rest of the batch is handled."""
    kafka.clock.elapsed += DAY
    for number in range(400):
        kafka.lab(P1, number, 0.8 - number / 10_000)
    host = await Host(kafka, batch_max=1000, max_message_bytes=1024 * 1024).start()
    await host.deliver("lab-results")
    while await host.turn() and host.task.handled < 400:
        assert not host.task.is_current()
        assert {alert.seen_at for alert in host.task.subjects.states[P1].alerts.values()} == {None}
    assert host.task.handled == 400
    await host.settle()
    assert stored(kafka, P1).alerts[low_magnesium(P1, "r0")].seen_at is not None


async def test_an_alert_is_not_seen_by_an_older_clock_than_that_which_raised_it(kafka: FakeKafka) -> None:
    """What is delivered again lets the clock go back, here 20 s: nobody saw then what was raised later."""
    kafka.clock.elapsed += HOUR + 5
    kafka.event("clinical-events", P2, "weight", HOUR - 20, kg=70.0, moment="pre")
    kafka.lab(P1, HOUR, 0.8)
    kafka.crash_at = 6  # after the alert was sent, before anything else
    with pytest.raises(Crash):
        await Host(kafka, checkpoint_interval=60).settle()
    assert kafka.told() == ["raised"]
    host = await Host(kafka, batch_max=1).start()
    for topic in host.kind.topics:
        await host.deliver(topic)
    await host.turn()
    assert clock(host) == HOUR - 20
    await host.settle()
    seen = stored(kafka, P1).alerts[low_magnesium(P1, "r0")].seen_at
    assert seen is not None
    assert seen >= EPOCH + timedelta(hours=1)


async def test_calls_go_out_once_each_wherever_the_worker_crashes(kafka: FakeKafka) -> None:
    """Raised, seen, called at 60 s and at 5 min: with a crash at every moment and at once another worker."""
    moment = 0
    while True:
        moment += 1
        broken = FakeKafka(kafka.clock, crash_at=moment)
        began = kafka.clock.elapsed
        broken.lab(P1, (began - 1000.0), 0.8)
        for _ in range(2):
            try:
                host = await Host(broken).settle()
                await host.idle(6 * MINUTE, step=2.5)
            except Crash:
                continue
            break
        told = story(broken)
        assert [what for _, what, _ in told] == ["raised", "escalated", "escalated"], moment
        raised, first, second = (datetime.fromisoformat(moment) for _, _, moment in told)
        assert first - raised >= timedelta(seconds=60)
        assert second - first == timedelta(seconds=240)
        assert len({frozen(m) for m in broken.topic("alerts.low-magnesium")}) == 3
        if broken.dangers < moment:
            break
    assert moment > 20

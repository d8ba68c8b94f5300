"""What one partition's task promises, without a broker (see `fake_port`)."""

from __future__ import annotations

import contextlib
import json
import random
from datetime import timedelta
from typing import Any

import pytest

from models.alerts import alert_id
from models.state import PatientState, StateCodec
from streams.engine.partition import BEGINNING
from streams.mail import MOVED_FROM
from streams.rules.catalogue import parse_settings
from streams.transport.api import TP, StaleGenerationError
from tests.unit.fake_port import EPOCH, PREFIX, Crash, FakeKafka, Host, frozen, install, loops, place, stamp, subjects

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
P1, P2, P3 = subjects(0, 3)
ELSEWHERE = subjects(1, 1)[0]
MACHINES = {"session_id": "s1", "machine_id": "m1"}


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    made = FakeKafka()
    install(made.clock, monkeypatch)
    return made


def at(seconds: float) -> str:
    """A moment as alerts tell it."""
    return stamp(seconds).replace("+00:00", "Z")


def low_magnesium(patient: str, result: str) -> str:
    return alert_id("low_magnesium", patient, f"lab_result:{result}")


def cramp(kafka: FakeKafka, patient: str, at: float, name: str, **more: Any) -> int:
    return kafka.event("clinical-events", patient, "symptom", at, symptom_id=name, kind="cramp", **more)


def session(kafka: FakeKafka, patient: str, at: float, name: str = "s1", **more: Any) -> int:
    fields = {"session_id": name, "machine_id": "m1"} | more
    return kafka.event("machine-events", patient, "session_started", at, **fields)


def telemetry(kafka: FakeKafka, patient: str, at: float, **more: Any) -> int:
    return kafka.event("machine-events", patient, "telemetry", at, **(MACHINES | more))


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
    assert kafka.calls[0] == ("write", (P1.encode(),))
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
    assert [call[0] for call in kafka.calls] == ["send", "ack"]
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


async def test_a_record_that_breaks_the_engine_stops_the_task_and_is_not_acknowledged(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry(kafka, P1, 1)
    kafka.lab(P2, 2, 1.5)
    host = await Host(kafka).start()
    take = host.task.subjects.take

    def breaks(subject: str, event: Any, at: Any) -> Any:
        if subject == P2:
            raise ZeroDivisionError
        return take(subject, event, at)

    monkeypatch.setattr(host.task.subjects, "take", breaks)
    await host.deliver("machine-events")
    await host.deliver("lab-results")
    with pytest.raises(ZeroDivisionError):
        await host.task.run()
    await host.task.release()
    assert PREFIX + "lab-results" not in kafka.committed
    await Host(kafka).settle()
    assert kafka.told(patient_id=P2) == ["raised"]


# -- crash at every moment ---------------------------------------------------------------------------------------------


def busy_day(kafka: FakeKafka) -> None:
    """Raised, updated, escalated, resolved, withdrawn, expired, acknowledged; garbage; records that lie wrong."""
    session(kafka, P1, 0, water_loop_id="loop1")
    session(kafka, P2, 1, "s2")
    kafka.lab(P1, 10, 1.5)
    cramp(kafka, P2, 20, "c1")
    for at in range(30, 60, 3):
        telemetry(kafka, P1, at, systolic_mmhg=120.0 + at)
        telemetry(kafka, P3, at + 1, session_id="s3", uf_rate_ml_h=600.0)
    kafka.put("clinical-events", P1.encode(), b"no json", 60)
    kafka.lab(P1, 70, 0.9, reported_at=stamp(70))
    kafka.event(
        "clinical-events", P1, "alert_response", 80, alert_id=low_magnesium(P1, "r0"), by="nurse", action="acknowledge"
    )
    kafka.put("machine-events", ELSEWHERE.encode(), b"{}", 85)
    kafka.event("clinical-events", P1, "symptom", 90, symptom_id="j1", kind="jerk")
    kafka.event("clinical-events", P1, "symptom", 95, symptom_id="j2", kind="speech_disturbance")
    cramp(kafka, P2, 100, "c2")
    kafka.lab(P3, 110, 1.2)
    offset = len(kafka.logs[PREFIX + "lab-results"]) - 1
    kafka.lab(P3, 120, 1.2, result_id=f"r{offset}", status="entered_in_error", tells=110, reported_at=stamp(120))
    kafka.event(
        "clinical-events", P1, "symptom", 130, symptom_id="j1", kind="jerk", status="entered_in_error", tells=90
    )
    telemetry(kafka, P3, 2000, session_id="s3")  # expires the cramps, buries what is over
    kafka.lab(P1, 2010, 2.0)
    kafka.event("machine-events", P1, "session_ended", 2020, session_id="s1")
    telemetry(kafka, P3, 4000, session_id="s3")


async def run_day(kafka: FakeKafka, size: int) -> None:
    host = await Host(kafka).start()
    await host.settle(size=size)


def everything(kafka: FakeKafka) -> set[tuple[Any, ...]]:
    """What readers have, repeats left out; `sessions.active` is a picture and may differ."""
    return {frozen(message) for message in kafka.sent if not message.topic.endswith("sessions.active")}


async def undisturbed(kafka: FakeKafka, size: int) -> FakeKafka:
    kafka.clock.elapsed += DAY  # nobody sees the alerts in time, so nobody is called again
    whole = FakeKafka(kafka.clock)
    busy_day(whole)
    await run_day(whole, size)
    return whole


def pictures(kafka: FakeKafka) -> dict[bytes | None, Any]:
    """What a reader of each compacted topic ends with."""
    last: dict[bytes | None, Any] = {}
    for message in kafka.sent:
        if message.topic.endswith(("alerts.active", "sessions.active")):
            last[message.key] = message.value
    return last


def check_against(whole: FakeKafka, kafka: FakeKafka) -> None:
    assert everything(kafka) == everything(whole)
    revisions: dict[tuple[str, int], set[Any]] = {}
    for message in kafka.sent:
        if message.topic.startswith(PREFIX + "alerts.") and message.value:
            body = json.loads(message.value)
            revisions.setdefault((body["alert_id"], body["revision"]), set()).add(
                (message.value, tuple(h for h in message.headers if h[0] != "ce_time"))
            )
    assert all(len(bodies) == 1 for bodies in revisions.values())
    alerts = {k: v for k, v in pictures(kafka).items() if k not in (b"s1", b"s2", b"s3")}
    assert alerts == {k: v for k, v in pictures(whole).items() if k not in (b"s1", b"s2", b"s3")}
    newest: dict[bytes | None, int] = {}
    for message in kafka.topic("alerts.active"):
        revision = json.loads(message.value)["revision"] if message.value else 10_000
        newest[message.key] = max(revision, newest.get(message.key, 0))
    assert kafka.committed == whole.committed


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
                speaking = host.task._speaking is not None
                busy = await host.turn()
                overlapped |= speaking and host.task._speaking is not None and host.task.handled > before
                broken.clock.elapsed += 0.05
                if not any(came) and not busy and not host.task._dirty and not host.task._done:
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
    assert sorted(message.topic.removeprefix(PREFIX) for message in again) == ["alerts.active", "sessions.active"]
    shown = next(message for message in again if message.topic.endswith("alerts.active"))
    first = next(m for m in kafka.topic("alerts.active") if m.key == shown.key)
    assert frozen(shown) == frozen(first)
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
    await Host(kafka, rules={"low_magnesium": {"low": {"mg/dL": 1.5, "mmol/L": 0.6, "meq/L": 1.2}}}).settle()
    assert kafka.told() == ["raised", "resolved"]
    assert kafka.transitions()[-1]["reason"] == "superseded"


async def test_response_times_count_only_from_when_somebody_could_see_the_alert(kafka: FakeKafka) -> None:
    kafka.clock.elapsed += HOUR  # the task is an hour behind, and catches up
    kafka.unconfirmed = {PREFIX + "machine-events"}
    kafka.lab(P1, 0, 0.8)
    telemetry(kafka, P2, 1)
    host = await Host(kafka).settle()
    telemetry(kafka, P2, 10 * MINUTE)
    await host.settle()
    assert kafka.told() == ["raised"]
    # It catches up to 29 s behind the wall clock.
    behind = (kafka.clock.now() - EPOCH).total_seconds() - 29
    telemetry(kafka, P2, behind)
    await host.settle()
    telemetry(kafka, P2, behind + 59)
    await host.settle()
    assert kafka.told() == ["raised"]
    telemetry(kafka, P2, behind + 61)
    await host.settle()
    assert kafka.told() == ["raised", "escalated"]
    escalated = kafka.transitions()[-1]
    assert (escalated["reason"], escalated["escalation"], escalated["priority"]) == ("unacknowledged", 1, "high")
    telemetry(kafka, P2, behind + 5 * MINUTE + 1)
    await host.settle()
    assert kafka.told() == ["raised", "escalated", "escalated"]
    telemetry(kafka, P2, behind + 50 * MINUTE)
    await host.settle()
    assert kafka.told() == ["raised", "escalated", "escalated"]


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


# -- topics that are not what they were --------------------------------------------------------------------------------


async def test_a_topic_made_anew_is_read_from_its_beginning(kafka: FakeKafka, caplog: pytest.LogCaptureFixture) -> None:
    for second in range(5):
        kafka.lab(P1, second, 2.0)
    telemetry(kafka, P1, 5)
    await Host(kafka).settle()
    kafka.logs[PREFIX + "lab-results"].clear()
    kafka.committed[PREFIX + "lab-results"] = 0  # as the transport does when the log does not reach the offset
    kafka.lab(P1, 100, 1.5, result_id="new")
    await Host(kafka).settle()
    assert kafka.told() == ["raised"]
    assert "was made anew" in caplog.text
    stored = StateCodec(PatientState).decode(kafka.changelog[P1.encode()])
    assert stored.offsets == {"lab-results": 0, "machine-events": 0}


async def test_that_a_topic_was_made_anew_is_stored_for_those_of_whom_nothing_came_yet(kafka: FakeKafka) -> None:
    """Else the next process, which sees a longer log, would take P2's first events for known ones."""
    for second in range(5):
        kafka.lab(P2, second, 2.0)
    await Host(kafka).settle()
    kafka.logs[PREFIX + "lab-results"].clear()
    kafka.committed[PREFIX + "lab-results"] = 0
    kafka.lab(P1, 100, 2.0, result_id="new")
    await Host(kafka).settle()
    for second in range(10):
        kafka.lab(P1 if second else P2, 200 + second, 1.5, result_id=f"newer{second}")
    await Host(kafka).settle()
    assert kafka.told(patient_id=P2) == ["raised"]


async def test_what_was_applied_is_skipped_and_counted(kafka: FakeKafka) -> None:
    kafka.lab(P1, 1, 1.5)
    kafka.lab(P1, 2, 2.0)
    await Host(kafka).settle()
    kafka.committed.clear()
    sent = len(kafka.sent)
    host = await Host(kafka).settle()
    assert len(kafka.sent) == sent
    assert host.metric("dialysis_duplicate_events_total", topic=PREFIX + "lab-results") == 2
    assert kafka.committed == {PREFIX + "lab-results": 2}


# -- what lies wrong, and what cannot be used --------------------------------------------------------------------------


async def test_a_misplaced_record_is_sent_on_as_it_is_and_not_filed_here(kafka: FakeKafka) -> None:
    value = {"type": "weight", "patient_id": ELSEWHERE, "at": stamp(0), "kg": 70.0, "moment": "pre"}
    kafka.put("clinical-events", ELSEWHERE.encode(), value, 1, headers=[("trace", b"7"), ("empty", b"")])
    host = await Host(kafka).settle()
    (message,) = kafka.topic("clinical-events")
    assert (message.key, message.partition) == (ELSEWHERE.encode(), 1)
    assert message.value == kafka.logs[PREFIX + "clinical-events"][0].value
    assert message.headers == (("trace", b"7"), ("empty", b""), (MOVED_FROM, b"0:0"))
    assert host.task.subjects.states == {}
    assert kafka.changelog == {}
    assert kafka.committed == {PREFIX + "clinical-events": 1}
    assert host.metric("dialysis_misplaced_records_total", topic=PREFIX + "clinical-events") == 1


async def test_a_misplaced_record_that_is_unusable_is_judged_where_it_belongs(kafka: FakeKafka) -> None:
    kafka.put("clinical-events", ELSEWHERE.encode(), b"\x00", 1)
    await Host(kafka).settle()
    assert [message.topic for message in kafka.sent] == [PREFIX + "clinical-events"]


async def test_a_misplaced_record_too_large_to_carry_one_more_header_is_a_dead_letter(kafka: FakeKafka) -> None:
    kafka.put("clinical-events", ELSEWHERE.encode(), b"x" * (65536 - 20), 1)
    await Host(kafka, max_message_bytes=65536).settle()
    (letter,) = kafka.sent
    assert letter.topic == PREFIX + "dead-letters"
    assert dict(letter.headers)["dl_reason"] == b"key_mismatch"
    assert letter.key == ELSEWHERE.encode()
    assert kafka.committed == {PREFIX + "clinical-events": 1}


GARBAGE: list[tuple[bytes | None, bytes | None, str]] = [
    (P1.encode(), None, "empty"),
    (P1.encode(), b"", "empty"),
    (None, None, "empty"),
    (None, b'{"type":"weight"}', "missing_field"),
    (P1.encode(), b"\x00\x01", "invalid_json"),
    (P1.encode(), b"[" * 100_000, "invalid_json"),
    (P1.encode(), b"\xff\xfe", "invalid_json"),
    (P1.encode(), b"[]", "not_an_object"),
    (P1.encode(), b"{}", "missing_field"),
    (P1.encode(), b'{"type":"telemetry "}', "unknown_type"),
    (
        P1.encode(),
        json.dumps({"type": "weight", "patient_id": P2, "at": stamp(0), "kg": 1.0, "moment": "pre"}).encode(),
        "key_mismatch",
    ),
    (
        b"",
        json.dumps({"type": "weight", "patient_id": P2, "at": stamp(0), "kg": 1.0, "moment": "pre"}).encode(),
        "key_mismatch",
    ),
    (
        None,
        json.dumps({"type": "weight", "patient_id": P2, "at": stamp(0), "kg": 1.0, "moment": "pre"}).encode(),
        "key_mismatch",
    ),
    (
        P1.encode(),
        json.dumps(
            {"type": "weight", "patient_id": P1, "at": "9999-12-31T23:59:59Z", "kg": 1.0, "moment": "pre"}
        ).encode(),
        "out_of_range",
    ),
    (P1.encode(), b'{"type":"unit_signal"}', "unknown_type"),
]


@pytest.mark.parametrize("known", [False, True])
async def test_garbage_becomes_dead_letters_and_harms_nobody(kafka: FakeKafka, known: bool) -> None:
    if known:
        kafka.lab(P1, 0, 2.0)
    letters = {}
    for key, value, reason in GARBAGE:
        here = key is None or key == P1.encode() or place(key) == 0
        offset = kafka.put("lab-results", key, value, 1)
        if here:
            letters[offset] = (key, value if value is not None or key is not None else b"", reason)
    kafka.lab(P1, 2, 1.5, result_id="good")
    host = await Host(kafka).settle()
    found = {}
    for letter in kafka.topic("dead-letters"):
        headers = dict(letter.headers)
        assert headers["dl_topic"] == (PREFIX + "lab-results").encode()
        assert headers["dl_partition"] == b"0"
        found[int(headers["dl_offset"])] = (letter.key, letter.value, headers["dl_reason"].decode())
    assert found == letters
    assert kafka.told() == ["raised"]
    assert kafka.committed == {PREFIX + "lab-results": len(kafka.logs[PREFIX + "lab-results"])}
    assert host.metric("dialysis_dead_letters_total", topic=PREFIX + "lab-results", reason="empty") == 3


async def test_mostly_garbage_makes_it_not_ready_until_it_is_over(kafka: FakeKafka) -> None:
    host = await Host(kafka).start()

    def ready() -> bool:
        return next(check for check in host.health.ready() if check.name == "dead_letters").ok

    for number in range(200):
        if number % 3:
            kafka.put("lab-results", P1.encode(), b"{", 1)
        else:
            kafka.lab(P1, 1, 2.0)
    await host.settle()
    assert not ready()
    for _ in range(200):
        kafka.lab(P1, 2, 2.0)
    await host.settle()
    assert ready()


async def test_the_outbox_of_one_patient_stays_small_enough_to_be_stored(kafka: FakeKafka) -> None:
    """A gateway that sends a whole past at once: a thousand transitions must not become one changelog record."""
    for number in range(1500):
        kafka.lab(P1, number, 1.5 if number % 2 else 2.0, result_id=f"n{number}")
    host = await Host(kafka, batch_max=1000, max_message_bytes=4 * 1024 * 1024).start()
    largest = 0
    write = kafka.write

    async def measured(partition: int, entries: Any) -> None:
        nonlocal largest
        largest = max(largest, *(len(value) for value in entries.values()))
        await write(partition, entries)

    host.task._port.write = measured  # type: ignore[method-assign]
    await host.settle(size=1000)
    assert len(kafka.told()) == 1500 - 1
    assert largest < 1_200_000


# -- flow --------------------------------------------------------------------------------------------------------------


async def test_a_topic_of_which_too_much_waits_is_paused_and_resumed(kafka: FakeKafka) -> None:
    kafka.unconfirmed = {PREFIX + "lab-results"}
    for second in range(100):
        telemetry(kafka, P1, second)
    host = await Host(kafka, batch_max=10).start()
    while await host.deliver("machine-events"):
        await host.turn()
    assert kafka.paused == {TP(PREFIX + "machine-events", 0)}
    assert kafka.delivered[PREFIX + "machine-events"] < 100
    kafka.unconfirmed.clear()
    await host.settle()
    assert kafka.paused == set()
    assert kafka.committed == {PREFIX + "machine-events": 100}


# -- water loops -------------------------------------------------------------------------------------------------------


async def test_signals_of_two_patients_raise_a_unit_alert_and_a_person_ends_it(kafka: FakeKafka) -> None:
    loop = subjects(0, 1, "loop")[0]
    for number, patient in enumerate((P1, P2)):
        fields: dict[str, Any] = {"patient_id": patient, "alert_id": f"a{number}", "revision": 1, "sequence": 1}
        kafka.event("unit-signals", loop, "unit_signal", number, rule="aluminum_suspicion", retracted=False, **fields)
    host = await Host(kafka, kind=loops(parse_settings({}))).settle()
    (raised,) = kafka.transitions()
    assert (raised["rule"], raised["priority"], raised["water_loop_id"]) == ("aluminum_cluster", "high", loop)
    assert [m.key for m in kafka.topic("alerts.unit")] == [loop.encode()]
    kafka.event("unit-signals", loop, "alert_response", 20, alert_id=raised["alert_id"], by="lead", action="resolve")
    kafka.put("unit-signals", loop.encode(), {"type": "weight"}, 21)
    await host.settle()
    assert kafka.told() == ["raised", "resolved"]
    assert len(kafka.topic("dead-letters")) == 1

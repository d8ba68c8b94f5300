"""What holds for every set of events: order, repetition, restarts and replays change nothing that matters.

Any interleaving or repetition of the same events, followed by the same clock, ends with the same alerts open
(docs/decisions/0001-findings-from-state-and-time.md and docs/decisions/0002-at-least-once.md). Every event carries its
own `received_at`, as a record carries its timestamp.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.alerts import Alert, AlertRecord
from streams.engine.replay import Replay
from streams.rules.catalogue import default_settings
from tests.unit.random_events import DELAYS, PATIENTS, Event, Senders, lab_result, medication, random_events
from tests.unit.timeline import FIRST_DAY, open_alerts, restarted, to_line

#: Deterministic, so that a failure in CI is a failure here; the number of examples keeps the file under a minute.
FEW = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
RULES = default_settings()
#: After everything: far enough for every silence, call and snooze, well within the longest window.
END = FIRST_DAY + timedelta(days=12)

delays = st.sampled_from(DELAYS)


@st.composite
def event_sets(draw: st.DrawFn, *, everything: bool = False) -> list[Event]:
    """Some of thirty events that a seed gives: evenly mixed, and a failure shrinks to the few that matter.

    Args:
        everything: whether patients may also leave, and a record be given up for another.
    """
    chance = random.Random(draw(st.integers(0, 2**32)))
    leave, merged = (chance.random() < 0.5, chance.random() < 0.5) if everything else (False, False)
    events = random_events(chance, 28, leave=leave, merged=merged)
    kept = draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    return [event for event, is_kept in zip(events, kept, strict=True) if is_kept]


@st.composite
def answers(draw: st.DrawFn, told: list[AlertRecord]) -> list[Event]:
    """Answers to alerts that some order produced, some from before the alert."""
    found: list[Event] = []
    told = [alert for alert in told if _is_named_by_an_input(alert)]
    for alert in draw(st.lists(st.sampled_from(told), max_size=4)) if told else []:
        at = alert.at + draw(
            st.sampled_from([timedelta(0), timedelta(minutes=3), timedelta(hours=7), -timedelta(hours=1)])
        )
        action = draw(st.sampled_from(["acknowledge", "snooze", "resolve", "unacknowledge"]))
        whom = {"patient_id": alert.patient_id} if alert.patient_id else {"water_loop_id": alert.water_loop_id}
        until = (at + draw(st.sampled_from([timedelta(hours=1), timedelta(days=20)]))).isoformat()
        found.append(
            {
                "type": "alert_response",
                "at": at.isoformat(),
                "received_at": (at + draw(delays)).isoformat(),
                **whom,
                "alert_id": draw(st.sampled_from([alert.alert_id, alert.alert_id.upper()])),
                "by": "nurse",
                "action": action,
                "until": until if action == "snooze" else None,
            }
        )
    return found


def _is_named_by_an_input(alert: AlertRecord) -> bool:
    """Clock and cluster alerts are named after a run of samples and after other alerts: another order, another id."""
    return alert.rule != "aluminum_cluster" and alert.evidence[0].kind != "clock"


@st.composite
def cases(draw: st.DrawFn) -> list[Event]:
    """Events in some order, with answers to what that order and another one told."""
    events = draw(event_sets())
    told = run(in_time(events))[1] + run(events)[1]
    return in_time(events + draw(answers(told)))


def in_time(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event["received_at"], msgspec.json.encode(event)))


def run(events: Iterable[Event], *, restarts: bool = False) -> tuple[Replay, list[AlertRecord]]:
    """Replay events and the clock up to `END`."""
    replay = Replay(RULES)
    told: list[AlertRecord] = []
    for event in events:
        told += replay.take(to_line(event))
        if restarts:
            replay = restarted(replay, RULES)
    told += replay.advance(END)
    return replay, told


def as_bytes(told: Iterable[AlertRecord]) -> list[bytes]:
    return [msgspec.json.encode(alert) for alert in told]


@given(cases=cases(), seed=st.integers(0, 2**32))
@FEW
def test_no_order_and_no_repetition_changes_what_is_open(cases: list[Event], seed: int) -> None:
    wanted = open_alerts(run(cases)[0])
    shuffled = list(cases)
    chance = random.Random(seed)
    chance.shuffle(shuffled)
    assert open_alerts(run(shuffled)[0]) == wanted
    repeated = [event for event in shuffled for _ in range(chance.randint(1, 2))]
    repeated += chance.sample(cases, k=len(cases) // 2)
    assert open_alerts(run(repeated)[0]) == wanted


def open_texts(told: Iterable[AlertRecord]) -> set[tuple[str | None, str, str, str, tuple[str, ...]]]:
    """What a screen shows of the alerts that are open at the end; what senders do wrong depends on when it is seen."""
    newest = {alert.alert_id: alert for alert in told}
    return {
        (one.patient_id, one.rule, str(one.priority), one.summary, tuple(advice.text for advice in one.guidance))
        for one in newest.values()
        if one.status in ("active", "acknowledged", "snoozed") and one.rule != "data_quality"
    }


@given(seed=st.integers(0, 2**32))
@FEW
def test_no_order_changes_the_texts_about_electrolytes_and_orders(seed: int) -> None:
    """Whichever comes first, magnesium, what it gates, or an order: the same alerts and texts stand (R03)."""
    chance = random.Random(seed)
    senders = Senders(chance, PATIENTS[:1])
    events = [chance.choice((lab_result, lab_result, medication))(senders) for _ in range(40)]
    shuffled = chance.sample(events, k=len(events))
    assert open_texts(run(shuffled)[1]) == open_texts(run(in_time(events))[1])


@given(cases=cases())
@FEW
def test_a_second_replay_gives_the_same_bytes(cases: list[Event]) -> None:
    assert as_bytes(run(cases)[1]) == as_bytes(run(cases)[1])


@given(cases=cases())
@FEW
def test_a_restart_between_any_two_events_changes_nothing(cases: list[Event]) -> None:
    plain, restarted_ = run(cases), run(cases, restarts=True)
    assert as_bytes(restarted_[1]) == as_bytes(plain[1])
    assert open_alerts(restarted_[0]) == open_alerts(plain[0])


@given(cases=cases(), seed=st.integers(0, 2**32))
@FEW
def test_revisions_count_without_gaps_and_alerts_are_valid(cases: list[Event], seed: int) -> None:
    random.Random(seed).shuffle(cases)
    revisions: defaultdict[str, list[int]] = defaultdict(list)
    status: dict[str, str] = {}
    for alert in run(cases)[1]:
        Alert.model_validate_json(msgspec.json.encode(alert))
        revisions[alert.alert_id].append(alert.revision)
        assert _is_allowed(status.get(alert.alert_id), alert), alert
        status[alert.alert_id] = alert.status
    assert all(seen == list(range(1, len(seen) + 1)) for seen in revisions.values())


def _is_allowed(before: str | None, alert: AlertRecord) -> bool:
    """Raised when it was not open, anything else only when it was; over exactly when the transition says so."""
    is_open = before in ("active", "acknowledged", "snoozed")
    endings = ("resolved", "withdrawn", "expired")
    is_over = str(alert.status) in endings
    return is_open is (alert.transition != "raised") and is_over is (str(alert.transition) in endings)


@given(cases=cases())
@FEW
def test_the_clock_of_the_output_never_goes_back(cases: list[Event]) -> None:
    told = run(cases)[1]
    assert [alert.at for alert in told] == sorted(alert.at for alert in told)


@given(cases=cases())
@FEW
def test_repeats_right_away_tell_nothing(cases: list[Event]) -> None:
    replay = Replay(RULES)
    for event in cases:
        list(replay.take(to_line(event)))
        assert list(replay.take(to_line(event))) == []


@given(cases=event_sets(everything=True), seed=st.integers(0, 2**32))
@FEW
def test_no_order_changes_what_is_open_of_merged_records_and_of_patients_who_leave(
    cases: list[Event], seed: int
) -> None:
    """Clocks aside: whose clock is wrong is said at the record to which its message came, before or after a merge."""
    wanted = _without_clocks(run(in_time(cases))[0])
    shuffled = list(cases)
    random.Random(seed).shuffle(shuffled)
    assert _without_clocks(run(shuffled)[0]) == wanted


def _without_clocks(replay: Replay) -> set[tuple[str, str, str, str]]:
    return {alert for alert in open_alerts(replay) if not alert[1].partition("/")[2].startswith(("clock:", "behind:"))}


def _event(type_: str, at: datetime, **fields: Any) -> Event:
    return {"type": type_, "at": at.isoformat(), "received_at": at.isoformat(), **fields}


def _day(seed: int) -> Iterator[Event]:
    """A day of two patients on dialysis, a sample a minute."""
    chance = random.Random(seed)
    for number, patient in enumerate(PATIENTS):
        session = {"patient_id": patient, "session_id": f"{patient}-s", "machine_id": f"m{number}"}
        start = FIRST_DAY + timedelta(hours=7)
        yield _event("session_started", start, **session, water_loop_id="loop-a")
        for minute in range(1, 240):
            at = start + timedelta(minutes=minute)
            yield _event("telemetry", at, **session, systolic_mmhg=float(chance.randint(90, 160)))
            if chance.random() < 0.03:
                kind = chance.choice(["cramp", "jerk", "speech_disturbance"])
                yield _event("symptom", at, patient_id=patient, symptom_id=f"{patient}{minute}", kind=kind)
            if chance.random() < 0.02:
                value = {"value": round(chance.uniform(0.8, 2.2), 2), "unit": "mg/dL"}
                yield _event(
                    "lab_result",
                    at,
                    patient_id=patient,
                    result_id=f"{patient}{minute}",
                    analyte="magnesium",
                    **value,
                )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_whole_day_replays_to_the_same_bytes(seed: int) -> None:
    day = in_time(list(_day(seed)))
    first, second = as_bytes(run(day)[1]), as_bytes(run(day)[1])
    assert first == second
    assert len(first) > 10

"""Two patients on one chair: what the patients tell the chair, and the chair one of them, in any order.

The cases of the rule are in `tests/rules/identity_conflict.toml`.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from models.identity import chair_key
from models.state import MAX_SEATS, LoopState, PatientState, StateCodec
from tests.unit.timeline import Unit, moment, open_alerts, stamp

CHAIR = "chair:u1/12"
A: dict[str, Any] = {"session": "a", "machine": "m1", "patient_id": "p1"}
B: dict[str, Any] = {"session": "b", "machine": "m2", "patient_id": "p2"}
PLACE: dict[str, Any] = {"unit_id": "u1", "chair": "12"}
#: Of the one who came second on the chair.
CONFLICT = ("identity_conflict", "p2/identity", "active", "medium")


def begin(unit: Unit, who: dict[str, Any], at: str, **place: Any) -> None:
    unit.session(who["session"], at=at, machine=who["machine"], patient_id=who["patient_id"], **{**PLACE, **place})


def end(unit: Unit, who: dict[str, Any], at: str) -> None:
    unit.session_end(who["session"], at=at, patient_id=who["patient_id"])


def flow(unit: Unit, since: str, until: str, *whose: dict[str, Any], every: int = 300) -> None:
    """Samples with blood flow, of several machines by turns."""
    at = moment(since)
    while at <= moment(until):
        for who in whose:
            unit.telemetry(at=stamp(at), blood_flow_ml_min=300.0, **who)
        at += timedelta(seconds=every)


def both(unit: Unit, until: str = "09:30") -> Unit:
    """A patient on a chair, and half an hour later another one on the same."""
    begin(unit, A, "08:00")
    flow(unit, "08:00", "08:30", A)
    begin(unit, B, "08:31")
    flow(unit, "08:35", until, A, B)
    return unit


def chair(unit: Unit, key: str = CHAIR) -> LoopState:
    return unit.replay._loops.states[key]


def patient(unit: Unit, name: str) -> PatientState:
    return unit.replay._patients.states[name]


def test_it_is_raised_once_and_names_both() -> None:
    unit = both(Unit(watch="identity_conflict"), "11:00")
    alert = unit.expect("09:00", "raised", patient_id="p2", session_id="b", chair="12", unit_id="u1")
    assert {(item.id, item.value) for item in alert.evidence} == {("a", "p1"), ("b", "p2")}
    unit.expect_nothing_more()
    end(unit, A, "11:05")
    unit.expect("11:05", "resolved")
    unit.expect_nothing_more()
    assert chair(unit).chair_conflicts == {}


@pytest.mark.parametrize("seed", range(12))
def test_no_order_of_arrival_changes_what_is_open(seed: int) -> None:
    """Starts and samples arrive in some order, some twice; then blood goes on flowing."""
    known = both(Unit())
    sent = [event | {"received_at": stamp("09:30")} for event in known.sent]
    chance = random.Random(seed)
    chance.shuffle(sent)
    sent += chance.sample(sent, k=8)
    unit = Unit()
    for event in sent:
        unit.send(event["type"], event["at"], received=event["received_at"], **_rest(event))
    for one in (known, unit):
        flow(one, "09:35", "10:10", A, B)
    assert unit.open == known.open
    assert CONFLICT in unit.open


def _rest(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in ("type", "at", "received_at")}


@pytest.mark.parametrize("cut", ["08:00", "08:20", "08:33", "08:50", "09:10"])
def test_a_restart_in_the_middle_changes_nothing(cut: str) -> None:
    whole, unit = both(Unit()), Unit()
    restarted = False
    for event in whole.sent:
        if not restarted and event["at"] > stamp(cut):
            unit.restart()
            restarted = True
        unit.send(event["type"], event["at"], **_rest(event))
    assert [msgspec.json.encode(alert) for alert in unit.told] == [msgspec.json.encode(alert) for alert in whole.told]
    assert CONFLICT in unit.open


def test_three_on_one_chair_are_two_alerts_and_each_names_who_was_there_first() -> None:
    unit = both(Unit(watch="identity_conflict"), "09:10")
    third = {"session": "c", "machine": "m3", "patient_id": "p3"}
    begin(unit, third, "09:11")
    flow(unit, "09:15", "10:00", A, B, third)
    assert [(alert.patient_id, {item.value for item in alert.evidence}) for alert in unit.watched] == [
        ("p2", {"p1", "p2"}),
        ("p3", {"p1", "p3"}),
    ]
    end(unit, A, "10:01")
    assert {subject for rule, subject, *_ in unit.open if rule == "identity_conflict"} == {"p3/identity"}


def test_a_water_loop_that_is_named_like_the_chair_keeps_its_own_alert() -> None:
    unit = Unit()
    for number in (3, 4):
        name = f"p{number}"
        unit.session(f"s{number}", at="06:00", machine=f"m{number}", patient_id=name, water_loop_id=CHAIR)
        unit.symptom("jerk", at="07:00", patient_id=name, worse_after_dialysis=True)
    cluster = ("aluminum_cluster", f"{CHAIR}/cluster", "active", "high")
    assert cluster in unit.open
    both(unit)
    assert {cluster, CONFLICT} <= unit.open
    unit.restart()
    end(unit, A, "09:40")
    assert cluster in unit.open
    assert CONFLICT not in unit.open
    assert {signal.patient_id for signal in chair(unit).signals.values()} == {"p3", "p4"}
    assert set(chair(unit).seats) == {"p1", "p2"}


def test_two_chairs_never_share_a_key() -> None:
    places = [(None, "a/b"), ("a", "b"), ("a/b", "c"), ("a", "b/c"), ("a%2Fb", "c"), (None, "a"), ("a", "")]
    long = [("u" * 200, "c" * 200), ("u" * 200, "c" * 199 + "d"), ("u/" * 100, "c" * 200)]
    keys = [chair_key(*place) for place in places + long]
    assert len(set(keys)) == len(keys)
    assert max(map(len, keys)) <= 200


def test_a_chair_whose_name_must_be_cleaned_is_the_same_chair() -> None:
    unit = Unit()
    begin(unit, A, "08:00", chair=" 12\u202e", unit_id="u\u202e")
    begin(unit, B, "08:10", unit_id="u\u202e")
    flow(unit, "08:15", "09:00", A, B)
    assert CONFLICT in unit.open


# -- records that are merged ------------------------------------------------------------------------------------------


def test_a_record_given_up_leaves_the_chair_and_the_other_is_there_in_its_place() -> None:
    """Two records of one person were the two patients; the one that stays is alone on the chair."""
    unit = both(Unit())
    unit.send("patient_merged", "09:35", patient_id="p3", merged_id="p2", received="09:35")
    flow(unit, "09:35", "10:10", A, B)
    named = {(rule, subject) for rule, subject, *_ in unit.open}
    assert ("identity_conflict", "p3/identity") in named
    assert ("identity_conflict", "p2/identity") not in named
    unit.send("patient_merged", "10:11", patient_id="p3", merged_id="p1", received="10:11")
    flow(unit, "10:15", "10:40", A, B)
    assert {name for name, seat in chair(unit).seats.items() if not seat.retracted} == {"p3"}
    assert chair(unit).chair_conflicts == {}


def test_what_the_chair_tells_a_record_given_up_does_not_move() -> None:
    unit = both(Unit())
    unit.send("patient_merged", "09:35", patient_id="p9", merged_id="p2", received="09:35")
    unit.send("chair_conflict", "09:36", patient_id="p2", session_id="b", sequence=99, other_id="p1",
              other_session_id="a", since=stamp("08:35"), **PLACE)  # fmt: skip
    assert [one.sequence for one in patient(unit, "p9").chair_conflicts.values() if one.sequence == 99] == []


# -- messages ---------------------------------------------------------------------------------------------------------


def seat(unit: Unit, name: str, sequence: int, at: str, *, retracted: bool = False) -> None:
    """What a patient tells the chair."""
    fields: dict[str, Any] = {
        "session_id": f"{name}-s",
        "since": stamp("08:00" if name == "p1" else "08:10"),
        "until": stamp(at),
    }
    fields |= {"water_loop_id": CHAIR, "sequence": sequence, "retracted": retracted}
    unit.send("chair_signal", at, patient_id=name, **fields, **PLACE)


def test_signals_that_are_repeated_or_come_late_change_nothing() -> None:
    words = [("p1", 1, "08:40", False), ("p2", 1, "08:45", False), ("p1", 2, "09:00", False), ("p1", 3, "09:10", True)]
    for order in (words, words[::-1], [*words[2:], *words, *words]):
        unit = Unit()
        for name, sequence, at, retracted in order:
            seat(unit, name, sequence, at, retracted=retracted)
        held = chair(unit)
        assert {name: one.sequence for name, one in held.seats.items()} == {"p1": 3, "p2": 1}
        assert held.chair_conflicts == {}


def test_a_chair_keeps_its_newest_patients() -> None:
    unit = Unit()
    for number in range(30):
        seat(unit, f"x{number:02d}", 1, f"{8 + number // 60:02d}:{number:02d}")
    assert set(chair(unit).seats) == {f"x{number:02d}" for number in range(30 - MAX_SEATS, 30)}


def test_an_old_word_of_the_chair_does_not_end_the_alert() -> None:
    unit = both(Unit())
    (told,) = patient(unit, "p2").chair_conflicts.values()
    over = {"session_id": "b", "sequence": told.sequence - 1 or 1, **PLACE}
    unit.send("chair_conflict", "08:59", received="09:31", patient_id="p2", **over)
    assert CONFLICT in unit.open


def test_samples_tell_the_chair_nothing_by_themselves() -> None:
    """Four hours of samples, one every 5 s, are as many words as one every 5 min: ten at most."""
    for every in (5, 300):
        unit = Unit()
        begin(unit, A, "08:00")
        flow(unit, "08:00", "12:00", A, every=every)
        end(unit, A, "12:01")
        unit.clock("13:00")
        assert 2 < patient(unit, "p1").signal_sequence <= 10
        assert (patient(unit, "p1").seats, "chair" in patient(unit, "p1").looks) == ({}, False)


def test_a_patient_without_a_chair_tells_nothing_and_has_no_look() -> None:
    unit = Unit()
    begin(unit, A, "08:00", chair=None)
    flow(unit, "08:00", "09:00", A)
    assert (patient(unit, "p1").signal_sequence, "chair" in patient(unit, "p1").looks) == (0, False)
    assert unit.replay._loops.states == {}


def test_a_rule_that_is_off_tells_nobody() -> None:
    unit = both(Unit(rules={"identity_conflict": {"enabled": False}}))
    assert unit.replay._loops.states == {}


def test_a_state_of_before_is_read_and_takes_part() -> None:
    """A changelog that knows of no chair: the next word of the session tells it."""
    unit = both(Unit(), "08:35")
    for kind, states in ((PatientState, unit.replay._patients._states), (LoopState, unit.replay._loops._states)):
        codec: Any = StateCodec(kind)
        for name, state in list(states.items()):
            fields = msgspec.json.decode(codec.encode(state), type=dict[str, Any])
            for gone in ("seats", "chair_conflicts", "conflict_sequence"):
                fields.pop(gone, None)
            fields.get("looks", {}).pop("chair", None)
            states[name] = codec.decode(msgspec.json.encode(fields))
    for name in ("p1", "p2"):
        unit.send("medication", "08:36", order_id="o1", drug="baclofen", action="ordered", patient_id=name)
    flow(unit, "08:40", "09:40", A, B)
    assert CONFLICT in open_alerts(unit.replay)


def test_the_clock_of_a_machine_that_is_hours_behind_puts_nobody_on_the_chair_of_before() -> None:
    """At 12:30 it is still half past nine there, when the patient before was on the chair."""
    unit = Unit()
    begin(unit, A, "08:00")
    flow(unit, "08:00", "12:00", A)
    end(unit, A, "12:05")
    late = timedelta(hours=3)
    at: datetime = moment("12:30")
    unit.session("b", at=stamp(at - late), received=stamp(at), machine="m2", patient_id="p2", **PLACE)
    while at <= moment("15:30"):
        unit.telemetry(at=stamp(at - late), received=stamp(at), blood_flow_ml_min=300.0, **B)
        at += timedelta(minutes=5)
    assert CONFLICT not in {alert for alert in unit.open if alert[0] == "identity_conflict"}
    assert not [alert for alert in unit.told if alert.rule == "identity_conflict"]

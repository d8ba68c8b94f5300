"""Merged records and patients who leave, through `replay`'s engine (docs/contract.md has the rulings)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from models.alerts import Reason, Status
from models.state import MAX_OTHERS, PatientState, StateCodec
from streams.engine import merge
from streams.engine.active_sessions import publish_session
from tests.unit.fake_port import EPOCH
from tests.unit.timeline import Unit


def merged(unit: Unit, merged_id: str, into: str, at: str = "09:00") -> None:
    unit.send("patient_merged", at, patient_id=into, merged_id=merged_id, received=at)


def low(unit: Unit, patient: str, at: str = "08:00", **fields: Any) -> str:
    return unit.lab("magnesium", 0.8, at=at, patient_id=patient, **fields)


def open_of(unit: Unit) -> set[tuple[str, str]]:
    return {(rule, subject.partition("/")[0]) for rule, subject, _, _ in unit.open}


def holder(unit: Unit, result: str) -> list[str]:
    return [s.id for s in unit.replay._patients.states.values() for r in s.labs.values() if r.result_id == result]


# -- merge ------------------------------------------------------------------------------------------------------------


def test_alerts_of_the_record_given_up_end_and_are_judged_at_the_other_once() -> None:
    unit = Unit(watch="low_magnesium")
    low(unit, "p1")
    unit.expect("08:00", "raised", patient_id="p1")
    merged(unit, "p1", "p2")
    unit.expect("09:00", "resolved", patient_id="p1", status=Status.RESOLVED, reason=Reason.PATIENT_MERGED)
    raised = unit.expect("09:00", "raised", patient_id="p2", reason=Reason.CONDITION_MET)
    unit.expect_nothing_more()
    assert raised.evidence[0].id == "lab-1"
    assert open_of(unit) == {("low_magnesium", "p2")}


def test_everything_held_moves_and_keeps_its_arrival() -> None:
    def day(unit: Unit, patient: str) -> None:
        who: dict[str, Any] = {"patient_id": patient}
        unit.send("patient_profile", "07:00", conditions=["lvh"], **who)
        unit.session(at="07:30", chair="4", water_loop_id="w1", **who)
        unit.telemetry(at="07:40", systolic_mmhg=120.0, uf_rate_ml_h=500.0, **who)
        unit.send("machine_alarm", "07:41", session_id="s1", machine_id="m1", code="1", phase="start", **who)
        unit.send("weight", "07:20", kg=70.0, moment="pre", **who)
        unit.send("medication", "07:50", order_id="o1", drug="baclofen", action="ordered", **who)
        unit.send("schedule", "07:00", session_id="s9", planned_start="2026-11-25T07:30:00Z", **who)
        unit.qtc(480.0, at="07:45", **who)
        unit.symptom("cramp", at="07:50", name="y1", received="07:55", **who)
        low(unit, patient, name="r1", received="08:30")

    moved, direct = Unit(), Unit()
    day(moved, "p1")
    merged(moved, "p1", "p2")
    day(direct, "p2")
    direct.clock("09:00")
    there, here = (u.replay._patients.states["p2"] for u in (moved, direct))
    for name in ("profile", "labs", "symptoms", "rhythms", "weights", "medications", "schedules", "machine_alarms",
                 "arrivals"):  # fmt: skip
        assert getattr(there, name) == getattr(here, name), name
    for session in (*there.sessions.values(), *here.sessions.values()):
        session.told_at = None
    assert there.sessions == here.sessions
    assert moved.open == direct.open
    left = moved.replay._patients.states["p1"]
    assert [left.labs, left.symptoms, left.sessions, left.profile, left.medications] == [{}, {}, {}, None, {}]


def test_a_record_larger_than_one_chunk_moves_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.engine.merge.MOST_AT_ONCE", 500)
    unit = Unit()
    for number in range(50):
        unit.lab("potassium", 4.5, "mmol/L", at=f"08:{number:02}", name=f"k{number}")
    merged(unit, "p1", "p2")
    assert len(unit.replay._patients.states["p2"].labs) == 50
    assert not unit.replay._patients.states["p1"].labs


def test_later_events_are_sent_on_over_a_chain() -> None:
    unit = Unit(watch="low_magnesium")
    merged(unit, "p1", "p2")
    merged(unit, "p2", "p3")
    low(unit, "p1", at="10:00")
    unit.expect("10:00", "raised", patient_id="p3")
    unit.expect_nothing_more()


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_chain_in_every_order_with_events(order: tuple[int, ...], restart: bool) -> None:
    unit = Unit(watch="low_magnesium")
    steps: list[Callable[[str], Any]] = [
        lambda at: low(unit, "p1", name="r1", received=at),
        lambda at: merged(unit, "p1", "p2", at),
        lambda at: merged(unit, "p2", "p3", at),
        lambda at: unit.lab("potassium", 6.8, "mmol/L", at="08:00", patient_id="p2", name="k1", received=at),
    ]
    for number, step in enumerate(order):
        steps[step](f"09:0{number}")
        if restart:
            unit.restart()
    assert open_of(unit) == {("low_magnesium", "p3"), ("high_potassium", "p3")}
    assert (holder(unit, "r1"), holder(unit, "k1")) == (["p3"], ["p3"])


def test_a_repeated_merge_changes_nothing() -> None:
    unit = Unit()
    low(unit, "p1")
    for _ in range(2):
        merged(unit, "p1", "p2")
        told = len(unit.told)
    merged(unit, "p1", "p2", "09:30")
    assert len(unit.told) == told == 3


def test_a_merge_of_a_record_into_itself_is_refused_and_said_once() -> None:
    unit = Unit()
    low(unit, "p1")
    merged(unit, "p1", "p1")
    merged(unit, "p1", "p1", "09:10")
    said = [alert for alert in unit.told if alert.rule == "data_quality"]
    assert [alert.summary for alert in said] == ["The record was merged into itself"]
    assert open_of(unit) == {("low_magnesium", "p1"), ("data_quality", "p1")}


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c"), ("a", "c", "b")])
@pytest.mark.parametrize("when", range(4))
def test_a_circle_keeps_its_smallest_record_in_any_order(names: tuple[str, ...], when: int) -> None:
    edges = list(zip(names, (*names[1:], names[0]), strict=True))
    for order in permutations(edges):
        unit = Unit()
        for number, (one, into) in enumerate(order):
            if number == when:
                for name in names:
                    low(unit, name, name=f"r-{name}")
            merged(unit, one, into, f"09:0{number}")
        if when >= len(order):
            for name in names:
                low(unit, name, name=f"r-{name}", at="09:30")
        assert open_of(unit) == {("low_magnesium", "a"), ("data_quality", "a")}, order
        assert [alert.transition for alert in unit.told if alert.rule == "data_quality"] == ["raised"], order
        for name in names:
            assert holder(unit, f"r-{name}") == ["a"]
        told = len(unit.told)
        for one, into in order:
            merged(unit, one, into, "10:00")
        assert len(unit.told) == told


def test_the_records_of_circles_that_are_remembered_are_bounded() -> None:
    state = StateCodec(PatientState).new("a")
    for number in range(MAX_OTHERS):
        state.merged_into, state.merged_at = "b", EPOCH
        way = ("a", *(f"z{number}-{place}" for place in range(9)))
        assert merge.keeps(state, EPOCH + timedelta(minutes=number), way)
    assert len(state.contradictions) == MAX_OTHERS
    assert f"z{MAX_OTHERS - 1}-8" in state.contradictions


def test_a_merge_of_long_ago_told_late_counts() -> None:
    unit = Unit()
    unit.send("patient_merged", "d1 08:00", patient_id="p2", merged_id="p1", received="d60 08:00")
    unit.lab("magnesium", 0.8, at="d60 09:00")
    assert open_of(unit) == {("low_magnesium", "p2")}


def test_a_running_session_moves_and_leaves_no_deadline_behind(caplog: pytest.LogCaptureFixture) -> None:
    unit = Unit()
    unit.session(at="08:00")
    state = unit.replay._patients.states["p1"]
    assert publish_session(state, unit.replay._patients.now) is not None
    unit.replay._patients.rearm(state)
    merged(unit, "p1", "p2")
    assert list(unit.replay._patients.states["p2"].sessions) == ["s1"]
    unit.clock("d3 09:00")
    assert not state.looks
    assert not caplog.records


def test_a_closed_record_holds_no_condition_that_counts() -> None:
    unit = Unit()
    unit.session(at="08:00", target_weight_kg=70.0)
    for minute in range(10):
        unit.telemetry(at=f"08:{minute + 1:02}", uf_rate_ml_h=800.0, blood_flow_ml_min=300.0)
    state = unit.replay._patients.states["p1"]
    assert state.held == {"uf_rate_high": ["s1"]}
    unit.send("patient_profile", "08:15", status="transferred")
    assert open_of(unit) == set()
    assert state.held == {}


def test_an_answer_to_an_alert_of_the_record_given_up_goes_nowhere() -> None:
    unit = Unit()
    low(unit, "p1")
    alert = unit.told[0]
    merged(unit, "p1", "p2")
    unit.respond(alert, "resolve", at="09:10")
    assert open_of(unit) == {("low_magnesium", "p2")}


def test_a_record_given_up_is_never_forgotten() -> None:
    unit = Unit()
    low(unit, "p1")
    merged(unit, "p1", "p2")
    unit.clock("d900 09:00")
    unit.replay._patients.retire()
    assert "p1" in unit.replay._patients.states


def test_a_loop_does_not_count_one_patient_twice() -> None:
    unit = Unit(watch="aluminum_cluster")
    for patient, session in (("p1", "s1"), ("p2", "s2")):
        unit.session(session, at="07:00", patient_id=patient, water_loop_id="w1")
    unit.lab("aluminum", 80, "ug/L", at="07:30", patient_id="p1")
    merged(unit, "p1", "p2")
    unit.lab("aluminum", 90, "ug/L", at="09:30", patient_id="p2")
    unit.lab("aluminum", 90, "ug/L", at="09:31", patient_id="p1")
    unit.expect_nothing_more()
    signals = unit.replay._loops.states["w1"].signals.values()
    assert {signal.patient_id for signal in signals if not signal.retracted} == {"p2"}


# -- who leaves -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["transferred", "deceased"])
def test_who_left_has_no_open_alerts_and_nothing_becomes_due(status: str) -> None:
    unit = Unit(calls=True)
    for kind in ("myoclonus", "speech_disturbance", "motor_apraxia", "seizure"):
        unit.symptom(kind, at="08:00")
    low(unit, "p1", at="08:10")
    assert {alert[0] for alert in unit.open} == {"aluminum_suspicion", "low_magnesium", "seizure"}
    unit.send("patient_profile", "09:00", status=status)
    ended = [alert for alert in unit.told if alert.reason is Reason.PATIENT_LEFT]
    assert {alert.status for alert in ended} == {Status.RESOLVED}
    assert not unit.open
    told = len(unit.told)
    unit.clock("d20 09:00")  # aluminium without a result would be overdue
    low(unit, "p1", at="d20 09:00")
    assert len(unit.told) == told


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("how", ["session", "profile"])
def test_a_new_session_or_profile_opens_the_record_again_in_any_order(order: tuple[int, ...], how: str) -> None:
    unit = Unit(watch="low_magnesium")
    steps: list[Callable[[str], Any]] = [
        lambda at: low(unit, "p1", at="08:00", received=at),
        lambda at: unit.send("patient_profile", "09:00", status="transferred", received=at),
        lambda at: (
            unit.session(at="11:00", received=at)
            if how == "session"
            else unit.send("patient_profile", "11:00", status="active", received=at)
        ),
    ]
    for number, step in enumerate(order):
        steps[step](f"12:0{number}")
    assert open_of(unit) == {("low_magnesium", "p1")}


def test_conditions_that_still_hold_are_raised_again() -> None:
    unit = Unit(watch="low_magnesium")
    low(unit, "p1")
    unit.expect("08:00", "raised")
    unit.send("patient_profile", "09:00", status="transferred")
    unit.expect("09:00", "resolved", reason=Reason.PATIENT_LEFT)
    unit.restart()
    unit.session(at="10:00")
    unit.expect("10:00", "raised", revision=3)
    unit.expect_nothing_more()


def test_a_session_that_began_before_the_patient_left_opens_nothing() -> None:
    unit = Unit(watch="low_magnesium")
    low(unit, "p1")
    unit.send("patient_profile", "09:00", status="deceased")
    unit.session(at="07:00", received="10:00")
    assert not unit.open


def test_a_channel_beyond_its_bound_moves_with_its_session() -> None:
    """Four minutes under one id and two under the other are six in a row."""

    def samples(unit: Unit, patient: str, begin: int, end: int) -> None:
        for second in range(begin, end, 10):
            at = f"08:{second // 60:02}:{second % 60:02}"
            unit.telemetry(at=at, uf_rate_ml_h=800.0, blood_flow_ml_min=300.0, patient_id=patient)

    unit = Unit(watch="uf_rate_high")
    unit.session(at="08:00", target_weight_kg=70.0, patient_id="p1")
    samples(unit, "p1", 60, 300)
    merged(unit, "p1", "p2", at="08:05")
    samples(unit, "p2", 310, 420)
    unit.expect("08:06", "raised", patient_id="p2")
    unit.expect_nothing_more()


def test_settings_move_with_their_session() -> None:
    """The order under one id and what a user set under the other; values, times and origins are the same again."""
    unit = Unit(watch="setting_deviation")
    unit.session(at="08:00", patient_id="p1")
    for minute, sodium, origin in ((1, 138.0, "ordered"), (2, 138.0, None), (3, 140.0, "user"), (4, 138.0, "ordered")):
        at = f"08:{minute:02}:00.25"
        unit.telemetry(at=at, dialysate_na_mmol_l=sodium, setting_origin=origin, patient_id="p1")
    settings = unit.replay._patients.states["p1"].sessions["s1"].settings
    kept = {name: setting.runs[:] for name, setting in settings.items()}
    words = {name: (setting.ordered, setting.user) for name, setting in settings.items()}
    unit.expect("08:03:00.25", "raised", patient_id="p1")
    unit.expect("08:04:00.25", "resolved", patient_id="p1")
    merged(unit, "p1", "p2", at="08:05")
    moved = unit.replay._patients.states["p2"].sessions["s1"].settings
    assert {name: setting.runs for name, setting in moved.items()} == kept
    assert {name: (setting.ordered, setting.user) for name, setting in moved.items()} == words
    unit.telemetry(at="08:06", dialysate_na_mmol_l=142.0, setting_origin="user", patient_id="p2")
    unit.expect("08:06", "raised", patient_id="p2")

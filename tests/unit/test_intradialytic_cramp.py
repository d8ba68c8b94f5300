"""`intradialytic_cramp` (R30): a cramp during treatment, overlapping ones as one alert, expiring without word."""

from __future__ import annotations

import pytest

from tests.unit.timeline import Unit

RULE = "intradialytic_cramp"


def on_dialysis() -> Unit:
    """On dialysis from 08:00."""
    ward = Unit(watch=RULE)
    ward.session(at="08:00", chair="7")
    return ward


@pytest.mark.parametrize("kind", ["cramp", "spasm"])
def test_raised_and_resolved_at_its_end(kind: str) -> None:
    ward = on_dialysis()
    ward.symptom(kind, at="09:00", name="c1", score=7)
    raised = ward.expect("09:00", "raised", priority="medium", session_id="s1", chair="7", family="cramp")
    assert raised.evidence[0].value == 7
    ward.symptom(kind, at="09:00", name="c1", ended="09:10")
    ward.expect("09:10", "resolved", reason="condition_cleared", alert_id=raised.alert_id, revision=2)
    ward.clock("12:00")
    ward.expect_nothing_more()


@pytest.mark.parametrize("kind", ["jerk", "twitch", "myoclonus", "nausea"])
def test_other_symptoms_are_no_cramp(kind: str) -> None:
    ward = on_dialysis()
    ward.symptom(kind, at="09:00")
    ward.expect_nothing_more()


def test_without_a_session_there_is_no_intradialytic_cramp() -> None:
    ward = Unit(watch=RULE)
    ward.symptom("cramp", at="09:00")
    ward.clock("12:00")
    ward.expect_nothing_more()


@pytest.mark.parametrize(
    ("at", "is_inside"),
    [("07:54", False), ("07:55", True), ("08:00", True), ("11:59", True), ("12:05", True), ("12:06", False)],
)
def test_inside_the_session(at: str, is_inside: bool) -> None:
    """Clocks of devices differ: a boundary forgives 5 min."""
    ward = on_dialysis()
    if at > "12:00":
        ward.session_end(at="12:00")
    ward.symptom("cramp", at=at)
    assert bool(ward.watched) is is_inside


def test_thirty_minutes_without_word_expire_it() -> None:
    ward = on_dialysis()
    ward.symptom("cramp", at="09:00")
    ward.clock("12:00")
    ward.expect("09:00", "raised")
    ward.expect("09:30", "expired", status="expired", reason="unconfirmed_end")
    ward.expect_nothing_more()


@pytest.mark.parametrize("restart_at", ["09:00", "09:29:59", "09:30"])
def test_the_silence_survives_a_restart(restart_at: str) -> None:
    ward = on_dialysis()
    ward.symptom("cramp", at="09:00")
    ward.clock(restart_at)
    ward.restart()
    ward.clock("12:00")
    ward.expect("09:00", "raised")
    ward.expect("09:30", "expired")
    ward.expect_nothing_more()


def test_overlapping_cramps_are_one_alert_with_both_as_evidence() -> None:
    ward = on_dialysis()
    ward.symptom("cramp", at="09:00", name="c1")
    raised = ward.expect("09:00", "raised")
    ward.symptom("spasm", at="09:10", name="c2")
    both = ward.expect("09:10", "updated", alert_id=raised.alert_id)
    assert {item.id for item in both.evidence} == {"c1", "c2"}
    ward.symptom("cramp", at="09:00", name="c1", ended="09:15")
    assert (RULE, "p1/s1", "active", "medium") in ward.open
    ward.symptom("spasm", at="09:10", name="c2", ended="09:20")
    assert ward.watched[-1].transition == "resolved"
    assert {a.alert_id for a in ward.watched} == {raised.alert_id}


def test_a_second_cramp_is_word_and_counts_the_silence_anew() -> None:
    ward = on_dialysis()
    ward.symptom("cramp", at="09:00")
    ward.symptom("cramp", at="09:20")
    ward.clock("12:00")
    assert [(f"{a.at:%H:%M}", str(a.transition)) for a in ward.watched] == [
        ("09:00", "raised"),
        ("09:20", "updated"),
        ("09:50", "expired"),
    ]


def test_a_later_cramp_is_a_new_alert() -> None:
    ward = on_dialysis()
    for at, end in (("09:00", "09:05"), ("10:00", "10:05")):
        ward.symptom("cramp", at=at, name=at, ended=None)
        ward.symptom("cramp", at=at, name=at, ended=end)
    assert [str(a.transition) for a in ward.watched] == ["raised", "resolved"] * 2
    assert len({a.alert_id for a in ward.watched}) == 2


def test_cramps_of_two_sessions_are_two_alerts() -> None:
    ward = on_dialysis()
    ward.symptom("cramp", at="09:00")
    ward.session_end(at="09:10")
    ward.session("s2", at="09:12", machine="m2")
    ward.symptom("cramp", at="09:20")
    assert {a.session_id for a in ward.watched} == {"s1", "s2"}
    assert len({a.alert_id for a in ward.watched if a.transition == "raised"}) == 2


def test_a_cramp_entered_in_error_is_withdrawn() -> None:
    ward = on_dialysis()
    ward.symptom("cramp", at="09:00", name="c1")
    ward.symptom("cramp", at="09:00", name="c1", status="entered_in_error", received="09:05")
    ward.expect("09:00", "raised")
    ward.expect("09:05", "withdrawn", reason="entered_in_error")
    ward.clock("12:00")
    ward.expect_nothing_more()


def test_an_error_of_one_of_two_leaves_the_other() -> None:
    ward = on_dialysis()
    ward.symptom("cramp", at="09:00", name="c1")
    ward.symptom("cramp", at="09:05", name="c2")
    ward.symptom("cramp", at="09:00", name="c1", status="entered_in_error", received="09:06")
    left = ward.watched[-1]
    assert (left.transition, left.reason, left.status) == ("updated", "entered_in_error", "active")
    assert [item.id for item in left.evidence] == ["c2"]


@pytest.mark.parametrize("end_first", [False, True])
def test_a_known_end_is_not_lost_to_an_older_message(end_first: bool) -> None:
    ward = on_dialysis()
    ends = [None, "09:10"]
    for ended in reversed(ends) if end_first else ends:
        ward.symptom("cramp", at="09:00", name="c1", ended=ended, received="09:10")
    assert ward.open == set()


def test_an_end_that_came_before_the_cramp_was_told_raises_and_resolves_nothing() -> None:
    ward = on_dialysis()
    ward.symptom("cramp", at="09:00", ended="09:10", received="10:00")
    ward.clock("12:00")
    ward.expect_nothing_more()


def test_a_cramp_charted_late_without_an_end_may_go_on_and_says_so() -> None:
    ward = on_dialysis()
    ward.symptom("cramp", at="09:00", received="11:00")
    ward.expect("11:00", "raised", summary="Muscle cramp during dialysis, charted 120 min late")
    ward.clock("12:00")
    ward.expect("11:30", "expired")


def test_an_end_known_after_it_expired_changes_nothing() -> None:
    ward = on_dialysis()
    ward.symptom("cramp", at="09:00", name="c1")
    ward.symptom("cramp", at="09:00", name="c1", ended="09:40")
    ward.expect("09:00", "raised")
    ward.expect("09:30", "expired")
    ward.expect_nothing_more()


def test_the_session_may_become_known_after_the_cramp() -> None:
    ward = Unit(watch=RULE)
    ward.symptom("cramp", at="09:00")
    ward.session(at="08:00", received="09:05")
    ward.expect("09:05", "raised", session_id="s1")


def test_a_session_known_by_its_samples_alone_is_a_session() -> None:
    ward = Unit(watch=RULE)
    ward.telemetry(at="08:00", blood_flow_ml_min=300.0)
    ward.symptom("cramp", at="09:00")
    ward.expect("09:00", "raised", session_id="s1", chair=None)


def test_a_session_that_spans_midnight() -> None:
    ward = Unit(watch=RULE)
    ward.session(at="d1 22:00")
    ward.symptom("cramp", at="d1 23:50", name="c1")
    ward.clock("d2 00:10")
    assert (RULE, "p1/s1", "active", "medium") in ward.open
    ward.symptom("cramp", at="d1 23:50", name="c1", ended="d2 00:15")
    ward.expect("d1 23:50", "raised")
    ward.expect("d2 00:15", "resolved")
    ward.session_end(at="d2 02:00")


@pytest.mark.parametrize("kind", ["jerk", "cramp"])
def test_an_id_of_another_session_of_the_day_is_another_symptom(kind: str) -> None:
    """Devices count from 1 each session; neither the end nor the kind of the first symptom is of the second."""
    ward = on_dialysis()
    ward.symptom(kind, at="09:00", name="1", ended="09:10")
    ward.session_end(at="12:00")
    ward.session("s2", at="14:00")
    ward.symptom("cramp", at="15:00", name="1")
    assert (RULE, "p1/s2", "active", "medium") in ward.open


def test_words_of_other_times_on_one_symptom_of_a_session_belong_together() -> None:
    """A device that sends the time of the word, over midnight."""
    ward = Unit(watch=RULE)
    ward.session(at="d1 22:00")
    ward.symptom("cramp", at="d1 23:50", name="c1")
    ward.expect("d1 23:50", "raised")
    ward.symptom("cramp", at="d2 00:10", name="c1", score=5)
    ward.expect("d2 00:10", "updated")
    ward.symptom("cramp", at="d2 00:20", name="c1", status="entered_in_error")
    ward.expect("d2 00:20", "withdrawn")
    ward.expect_nothing_more()


def test_the_hour_that_a_dst_change_repeats() -> None:
    """A cramp at 02:50 summer time is over at 02:20 winter time, thirty minutes later."""
    ward = Unit(watch=RULE)
    ward.session(at="2026-10-25T01:00:00+02:00")
    ward.symptom("cramp", at="2026-10-25T02:50:00+02:00")
    ward.send("session_ended", "2026-10-25T03:00:00+01:00", session_id="s1")
    raised, expired = ward.watched
    assert (expired.at - raised.at).total_seconds() == 30 * 60
    assert f"{expired.at:%H:%M}" == "01:20"


def test_a_pause_of_the_blood_pump_does_not_end_the_session() -> None:
    ward = on_dialysis()
    ward.telemetry(at="09:00", blood_flow_ml_min=0.0)
    ward.symptom("cramp", at="09:20")
    ward.expect("09:20", "raised", session_id="s1")


def test_a_patient_with_two_machines_is_on_dialysis_while_either_runs() -> None:
    ward = Unit(watch=RULE)
    ward.session("s1", at="08:00", machine="m1")
    ward.session("s2", at="09:00", machine="m2")
    ward.session_end("s2", at="09:30")
    ward.session_end("s1", at="12:00")
    ward.symptom("cramp", at="11:50", received="12:01")
    ward.expect("12:01", "raised", session_id="s1")


def test_the_next_session_ends_one_whose_end_was_lost() -> None:
    ward = on_dialysis()
    ward.session("s2", at="d2 08:00")
    ward.session_end("s2", at="d2 12:00")
    ward.symptom("cramp", at="d2 13:00")
    ward.expect_nothing_more()


def test_repeats_are_told_once() -> None:
    ward = on_dialysis()
    for _ in range(3):
        ward.symptom("cramp", at="09:00", name="c1")
    ward.expect("09:00", "raised")
    ward.expect_nothing_more()


@pytest.mark.parametrize(
    ("pre_systolic", "sodium", "is_warned"),
    [(159.0, 140, False), (160.0, 140, True), (120.0, 145, False), (120.0, 146, True), (None, None, False)],
)
def test_saline_needs_a_look_at_pressure_and_sodium(
    pre_systolic: float | None, sodium: float | None, is_warned: bool
) -> None:
    ward = Unit(watch=RULE)
    ward.session(at="08:00", pre_systolic_mmhg=pre_systolic)
    if sodium is not None:
        ward.lab("sodium", sodium, "mmol/L", at="08:10")
    ward.symptom("cramp", at="09:00")
    text = " ".join(item.text for item in ward.expect("09:00", "raised").guidance).lower()
    assert "per unit protocol" in text
    assert ("check blood pressure and sodium" in text) is is_warned

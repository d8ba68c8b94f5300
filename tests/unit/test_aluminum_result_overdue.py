"""`aluminum_result_overdue` (R22): suspected, and then no specimen in 24 h, no result in 10 days."""

from __future__ import annotations

import pytest

from tests.unit.timeline import Unit

RULE = "aluminum_result_overdue"


def suspected() -> Unit:
    """Suspected on the first day at 09:00."""
    ward = Unit(watch=RULE)
    ward.symptom("jerk", at="08:00", name="jerk")
    ward.symptom("speech_disturbance", at="09:00", name="speech")
    return ward


def test_no_specimen_then_no_result() -> None:
    ward = suspected()
    ward.clock("d20 00:00")
    low = ward.expect("d2 09:00", "raised", priority="low", reason="deadline_passed", revision=1)
    ward.expect("d11 09:00", "escalated", priority="medium", alert_id=low.alert_id, revision=2)
    ward.expect_nothing_more()


def test_nothing_before_the_deadline() -> None:
    ward = suspected()
    ward.clock("d2 08:59:59")
    ward.expect_nothing_more()


def test_the_deadline_fires_at_its_own_time_before_a_later_event() -> None:
    ward = suspected()
    ward.lab("potassium", 4.5, "mmol/L", at="d5 12:00")
    ward.expect("d2 09:00", "raised")


def test_deadlines_of_one_patient_fire_while_another_has_events() -> None:
    ward = suspected()
    ward.lab("potassium", 4.5, "mmol/L", at="d5 12:00", patient_id="p2")
    ward.expect("d2 09:00", "raised", patient_id="p1")


@pytest.mark.parametrize("restart_at", ["10:00", "d2 08:59", "d2 09:00", "d5 00:00"])
def test_deadlines_survive_a_restart(restart_at: str) -> None:
    ward = suspected()
    ward.clock(restart_at)
    ward.restart()
    ward.clock("d12 00:00")
    ward.expect("d2 09:00", "raised", priority="low")
    ward.expect("d11 09:00", "escalated", priority="medium")
    ward.expect_nothing_more()


@pytest.mark.parametrize("status", ["final", "corrected"])
def test_a_result_in_time_prevents_both(status: str) -> None:
    ward = suspected()
    ward.lab("aluminum", 80, "ug/L", at="10:00", status=status, received="d2 08:00")
    ward.clock("d20 00:00")
    ward.expect_nothing_more()


def test_a_specimen_seen_as_preliminary_prevents_the_first_only() -> None:
    ward = suspected()
    ward.lab("aluminum", 80, "ug/L", at="10:00", status="preliminary", name="al")
    ward.clock("d20 00:00")
    ward.expect("d11 09:00", "raised", priority="medium", reason="deadline_passed")
    ward.expect_nothing_more()


@pytest.mark.parametrize(("status", "value"), [("cancelled", None), ("entered_in_error", None)])
def test_a_cancelled_result_is_none(status: str, value: float | None) -> None:
    ward = suspected()
    ward.lab("aluminum", value, "ug/L", at="10:00", status=status)
    ward.clock("d3 00:00")
    ward.expect("d2 09:00", "raised", priority="low")


def test_a_result_drawn_before_the_onset_is_none() -> None:
    ward = suspected()
    ward.lab("aluminum", 80, "ug/L", at="07:00", received="10:00")
    ward.clock("d3 00:00")
    ward.expect("d2 09:00", "raised", priority="low")


def test_the_result_resolves_it() -> None:
    ward = suspected()
    ward.lab("aluminum", 80, "ug/L", at="d1 12:00", reported="d4 10:00", received="d4 10:00")
    ward.expect("d2 09:00", "raised")
    ward.expect("d4 10:00", "resolved", reason="condition_cleared")
    ward.expect_nothing_more()


def test_a_result_cancelled_later_opens_it_again() -> None:
    ward = suspected()
    ward.lab("aluminum", 80, "ug/L", at="10:00", name="al")
    ward.lab(
        "aluminum", None, "ug/L", at="10:00", name="al", status="cancelled", reported="d3 08:00", received="d3 08:00"
    )
    ward.expect("d3 08:00", "raised", priority="low", reason="deadline_passed")


def test_it_goes_with_the_suspicion() -> None:
    ward = suspected()
    ward.clock("d3 08:00")
    ward.symptom("jerk", at="08:00", name="jerk", status="entered_in_error", received="d3 08:00")
    ward.expect("d2 09:00", "raised")
    ward.expect("d3 08:00", "withdrawn", reason="entered_in_error")
    ward.clock("d20 00:00")
    ward.expect_nothing_more()


def test_a_person_who_resolves_the_suspicion_stops_the_clock() -> None:
    ward = suspected()
    suspicion = next(alert for alert in ward.told if alert.rule == "aluminum_suspicion")
    ward.respond(suspicion, "resolve", at="12:00")
    ward.clock("d20 00:00")
    ward.expect_nothing_more()


def test_a_late_arrival_after_both_windows_closed_is_told_at_once() -> None:
    ward = Unit(watch=RULE)
    ward.symptom("jerk", at="d1 08:00", received="d12 08:00")
    ward.symptom("hallucination", at="d1 09:00", received="d12 08:00")
    alert = ward.expect("d12 08:00", "raised", priority="medium", reason="deadline_passed")
    assert (alert.onset_at.day, alert.onset_at.month) == (3, 12)
    ward.expect_nothing_more()


def test_a_site_sets_the_hours_and_days() -> None:
    ward = Unit(watch=RULE, rules={RULE: {"specimen_hours": 2.0, "result_days": 1.0}})
    ward.symptom("jerk", at="08:00", worse_after_dialysis=True)
    ward.clock("d3 00:00")
    ward.expect("10:00", "raised", priority="low")
    ward.expect("d2 08:00", "escalated", priority="medium")

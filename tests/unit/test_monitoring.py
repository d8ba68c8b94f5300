"""Absence rules of the monitoring family: their own times, what the evidence says, and people's answers."""

from __future__ import annotations

import pytest

from tests.unit.timeline import Unit, moment

RULE = "post_dialysis_labs_missing"


def after_dialysis() -> Unit:
    """An inpatient whose session ended at 12:00."""
    ward = Unit(watch=RULE)
    ward.send("patient_profile", "07:00", inpatient=True)
    ward.session(at="08:00")
    ward.session_end(at="12:00")
    return ward


def test_deadlines_fire_at_their_own_times_before_a_later_event_and_say_since_when() -> None:
    ward = after_dialysis()
    ward.symptom("nausea", at="20:00")
    low = ward.expect("16:00", "raised", priority="low", reason="deadline_passed", onset_at=moment("16:00"))
    medium = ward.expect("17:00", "escalated", priority="medium", alert_id=low.alert_id, onset_at=moment("17:00"))
    ward.expect_nothing_more()
    shown = [(item.kind, item.id, item.name, item.at) for item in medium.evidence]
    assert shown == [
        ("session_ended", "s1", "session_ended", moment("12:00")),
        ("patient_profile", "p1", "inpatient", moment("07:00")),
    ]


def test_what_puts_a_patient_at_risk_is_shown() -> None:
    ward = Unit(watch=RULE)
    ward.send("patient_profile", "07:00", conditions=["ischaemic_heart_disease", "lvh"])
    ward.qtc(495, at="07:30")
    ward.session(at="08:00")
    ward.session_end(at="12:00")
    ward.clock("16:00")
    alert = ward.expect("16:00", "raised")
    assert [(item.name, item.value) for item in alert.evidence[1:]] == [
        ("ischaemic_heart_disease", None),
        ("lvh", None),
        ("qtc", 495),
    ]


def test_what_a_person_resolved_comes_back_only_after_the_next_session() -> None:
    ward = after_dialysis()
    ward.clock("16:30")
    alert = ward.expect("16:00", "raised")
    ward.respond(alert, "resolve", at="17:30")
    ward.expect("17:00", "escalated")
    ward.expect("17:30", "resolved", reason="resolved_by_person")
    ward.session("s2", at="d3 08:00")
    ward.session_end("s2", at="d3 12:00")
    ward.clock("d3 16:30")
    again = ward.expect("d3 16:00", "raised")
    assert again.alert_id != alert.alert_id


@pytest.mark.parametrize("rule", ["first_month_labs_overdue", "nutrition_review"])
def test_the_date_of_the_first_dialysis_is_the_evidence_where_there_was_no_result(rule: str) -> None:
    ward = Unit(watch=rule)
    ward.send("patient_profile", "07:00", first_dialysis_on="2026-11-23")
    ward.clock("d95 00:00")
    alert = ward.watched[0]
    shown = [(item.kind, item.name, item.value) for item in alert.evidence]
    assert shown == [("patient_profile", "first_dialysis_on", "2026-11-23")]
    assert alert.reason == "deadline_passed"


def test_overdue_results_show_since_when_there_was_none() -> None:
    ward = Unit(watch="first_month_labs_overdue")
    ward.send("patient_profile", "07:00", first_dialysis_on="2026-11-23")
    ward.lab("creatinine", 6.0, at="d2 08:00", name="panel")
    ward.lab("sodium", 138, "mmol/L", at="d2 08:00", name="panel")
    ward.lab("potassium", 4.5, "mmol/L", at="d4 08:00", name="late")
    ward.clock("d10 00:00")
    alert = ward.expect("d10 00:00", "raised")
    assert [(item.name, item.at) for item in alert.evidence] == [
        ("first_dialysis_on", moment("07:00")),
        ("creatinine", moment("d2 08:00")),
        ("sodium", moment("d2 08:00")),
    ]


def test_a_patient_who_leaves_is_waited_for_by_nobody() -> None:
    ward = after_dialysis()
    ward.clock("16:30")
    ward.expect("16:00", "raised")
    ward.send("patient_profile", "16:40", status="deceased")
    ward.expect("16:40", "resolved", reason="patient_left")
    ward.clock("d2 00:00")
    ward.expect_nothing_more()

"""`aluminum_cluster` (R25): two patients of one water loop within a rolling 30 days."""

from __future__ import annotations

import pytest

from tests.unit.timeline import Unit

RULE = "aluminum_cluster"


def unit() -> Unit:
    """Four patients; p1 and p2 on loop a, p3 on loop b, p4 on none that is known."""
    ward = Unit(watch=RULE)
    for patient, loop in (("p1", "loop-a"), ("p2", "loop-a"), ("p3", "loop-b"), ("p4", None)):
        ward.session(f"{patient}-s", at="06:00", patient_id=patient, machine=f"m-{patient}", water_loop_id=loop)
        ward.session_end(f"{patient}-s", at="07:00", patient_id=patient)
    return ward


def suspect(ward: Unit, patient: str, at: str, **fields: str) -> None:
    ward.symptom("jerk", at=at, name=f"jerk-{patient}", patient_id=patient, worse_after_dialysis=True, **fields)


def test_two_suspicions_on_one_loop() -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    ward.expect_nothing_more()
    suspect(ward, "p2", "d3 08:00")
    alert = ward.expect("d3 08:00", "raised", priority="high", family="unit", water_loop_id="loop-a", patient_id=None)
    assert alert.onset_at.day == 24
    assert {item.value for item in alert.evidence} == {"p1", "p2"}
    assert {item.id for item in alert.evidence} == {a.alert_id for a in ward.told if a.rule == "aluminum_suspicion"}


@pytest.mark.parametrize("other", ["p3", "p4"])
def test_another_loop_or_an_unknown_one_does_not_count(other: str) -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    suspect(ward, other, "d3 08:00")
    ward.expect_nothing_more()


def test_one_patient_twice_is_no_cluster() -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    ward.lab("aluminum", 80, "ug/L", at="d3 08:00", patient_id="p1")
    ward.expect_nothing_more()


@pytest.mark.parametrize(
    ("value", "unit_", "counts"),
    [(59.9, "ug/L", False), (60, "ug/L", True), (2.223, "umol/L", False), (2.224, "umol/L", True), (500, "ug/L", True)],
)
def test_a_level_counts_from_sixty(value: float, unit_: str, counts: bool) -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    ward.lab("aluminum", value, unit_, at="d3 08:00", patient_id="p2")
    assert bool(ward.watched) is counts


@pytest.mark.parametrize(("second", "is_cluster"), [("d31 07:59", True), ("d32 08:01", False)])
def test_thirty_days_roll(second: str, is_cluster: bool) -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    suspect(ward, "p2", second)
    assert bool(ward.watched) is is_cluster


def test_the_level_counts_from_its_own_specimen_not_from_the_first_mild_one() -> None:
    """The episode began mildly on day 1; sixty was reached on day 20, fifteen days before the other patient."""
    ward = unit()
    ward.lab("aluminum", 15, "ug/L", at="d1 08:00", patient_id="p1")
    ward.lab("aluminum", 80, "ug/L", at="d20 08:00", patient_id="p1")
    suspect(ward, "p2", "d35 08:00")
    ward.expect("d35 08:00", "raised")


@pytest.mark.parametrize("patient", ["p1", "p2"])
def test_a_withdrawn_suspicion_withdraws_it(patient: str) -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    suspect(ward, "p2", "d3 08:00")
    raised = ward.expect("d3 08:00", "raised")
    at = "d2 08:00" if patient == "p1" else "d3 08:00"
    suspect(ward, patient, at, status="entered_in_error", received="d4 08:00")
    ward.expect("d4 08:00", "withdrawn", alert_id=raised.alert_id, reason="entered_in_error")
    ward.expect_nothing_more()


@pytest.mark.parametrize("corrected_first", [False, True])
def test_a_level_corrected_below_sixty_no_longer_counts_in_any_order(corrected_first: bool) -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    reports = [("final", 80.0, "d3 08:00"), ("corrected", 30.0, "d4 08:00")]
    for status, value, reported in reversed(reports) if corrected_first else reports:
        ward.lab(
            "aluminum", value, "ug/L", at="d3 08:00", name="al", status=status, patient_id="p2", reported=reported,
            received="d5 08:00",
        )  # fmt: skip
    assert not any(rule == RULE for rule, *_ in ward.open)


def test_a_resolved_suspicion_still_speaks_for_the_loop() -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    ward.lab("aluminum", 5, "ug/L", at="d3 08:00", patient_id="p1")
    suspect(ward, "p2", "d4 08:00")
    ward.expect("d4 08:00", "raised")


def test_a_patient_who_moves_to_another_loop_takes_the_signal_along() -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    suspect(ward, "p3", "d2 09:00")
    ward.session("p1-b", at="d4 08:00", patient_id="p1", machine="m9", water_loop_id="loop-b")
    ward.expect("d4 08:00", "raised", water_loop_id="loop-b")
    suspect(ward, "p2", "d5 08:00")
    ward.expect_nothing_more()


def test_moving_away_takes_the_ground_from_the_old_loop() -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    suspect(ward, "p2", "d3 08:00")
    ward.expect("d3 08:00", "raised", water_loop_id="loop-a")
    ward.session("p1-b", at="d4 08:00", patient_id="p1", machine="m9", water_loop_id="loop-b")
    assert not any(rule == RULE for rule, *_ in ward.open)


def test_a_loop_known_only_later_is_told() -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    suspect(ward, "p4", "d3 08:00")
    ward.expect_nothing_more()
    ward.session("p4-2", at="d4 08:00", patient_id="p4", machine="m9", water_loop_id="loop-a")
    ward.expect("d4 08:00", "raised", water_loop_id="loop-a")


def test_a_person_ends_it_and_a_new_patient_raises_it_again() -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    suspect(ward, "p2", "d3 08:00")
    raised = ward.expect("d3 08:00", "raised")
    ward.respond(raised, "resolve", at="d4 08:00", patient_id=None, water_loop_id="loop-a")
    ward.expect("d4 08:00", "resolved", reason="resolved_by_person")
    ward.session("p5-s", at="d5 08:00", patient_id="p5", machine="m5", water_loop_id="loop-a")
    ward.lab("aluminum", 90, "ug/L", at="d2 10:00", patient_id="p5", reported="d6 08:00", received="d6 08:00")
    ward.expect("d6 08:00", "raised", priority="high")


def test_it_is_acknowledged_like_any_other_and_calls_again_until_then() -> None:
    ward = Unit(watch=RULE, calls=True)
    for patient in ("p1", "p2"):
        ward.session(f"{patient}-s", at="06:00", patient_id=patient, machine=patient, water_loop_id="loop-a")
        suspect(ward, patient, "08:00")
    raised = ward.expect("08:00", "raised")
    ward.clock("08:02")
    ward.expect("08:01", "escalated", reason="unacknowledged", escalation=1)
    ward.respond(raised, "acknowledge", at="08:03", patient_id=None, water_loop_id="loop-a")
    ward.expect("08:03", "acknowledged")
    ward.clock("10:00")
    ward.expect_nothing_more()


def test_it_survives_a_restart() -> None:
    ward = unit()
    suspect(ward, "p1", "d2 08:00")
    ward.restart()
    suspect(ward, "p2", "d3 08:00")
    ward.expect("d3 08:00", "raised")
    ward.restart()
    suspect(ward, "p1", "d2 08:00", status="entered_in_error", received="d4 08:00")
    ward.expect("d4 08:00", "withdrawn")

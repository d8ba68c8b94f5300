"""`aluminum_level` (R21, R23, R26): half-open bands in each unit, falling after two results, the acute one latched."""

from __future__ import annotations

import pytest

from tests.unit.timeline import Unit

RULE = "aluminum_level"


def ward_() -> Unit:
    return Unit(watch=RULE)


@pytest.mark.parametrize(
    ("value", "unit", "priority"),
    [
        (9.9, "ug/L", None),
        (10, "ug/L", "info"),
        (19.9, "ug/L", "info"),
        (20, "ug/L", "low"),
        (59.9, "ug/L", "low"),
        (60, "ug/L", "medium"),
        (149.9, "ug/L", "medium"),
        (150, "ug/L", "high"),
        (350, "ug/L", "high"),
        (375, "ug/L", "high"),
        (400, "ug/L", "high"),
        (1001, "ug/L", "high"),
        (0.370, "umol/L", None),
        (0.371, "umol/L", "info"),
        (0.740, "umol/L", "info"),
        (0.741, "umol/L", "low"),
        (2.223, "umol/L", "low"),
        (2.224, "umol/L", "medium"),
        (5.558, "umol/L", "medium"),
        (5.559, "umol/L", "high"),
        (370, "nmol/L", None),
        (371, "nmol/L", "info"),
        (741, "nmol/L", "low"),
        (2224, "nmol/L", "medium"),
        (5559, "nmol/L", "high"),
        (60, "ng/mL", "medium"),
        (60, "mcg/L", "medium"),
        (60, "ppb", "medium"),
        (60, "\u00b5g/L", "medium"),
        (60, "\u03bcg/L", "medium"),
    ],
)
def test_bands(value: float, unit: str, priority: str | None) -> None:
    ward = ward_()
    ward.lab("aluminum", value, unit, at="08:00")
    if priority:
        ward.expect("08:00", "raised", priority=priority)
    ward.expect_nothing_more()


@pytest.mark.parametrize("loinc", ["5574-9", "5575-6", "14593-8"])
def test_codes(loinc: str) -> None:
    ward = ward_()
    ward.lab(None, 25, "ug/L", loinc=loinc, at="08:00")
    ward.expect("08:00", "raised", priority="low")


@pytest.mark.parametrize(
    ("comparator", "value", "priority"),
    [("<", 10, None), ("<", 7, None), (">", 60, "medium"), (">=", 150, "high"), (">", 1000, "high"), (">", 15, "info")],
)
def test_comparators_count_for_what_is_certain(comparator: str, value: float, priority: str | None) -> None:
    ward = ward_()
    ward.lab("aluminum", value, "ug/L", comparator=comparator, at="08:00")
    if priority:
        ward.expect("08:00", "raised", priority=priority)
    ward.expect_nothing_more()


def test_preliminary_levels_count_from_the_critical_band_on() -> None:
    ward = ward_()
    ward.lab("aluminum", 149, "ug/L", status="preliminary", at="08:00")
    ward.expect_nothing_more()
    ward.lab("aluminum", 150, "ug/L", status="preliminary", at="09:00")
    ward.expect("09:00", "raised", priority="high")


def test_it_rises_at_once() -> None:
    ward = ward_()
    for day, value in enumerate([12, 30, 70, 160], 1):
        ward.lab("aluminum", value, "ug/L", at=f"d{day} 08:00")
    ward.expect("d1 08:00", "raised", priority="info")
    ward.expect("d2 08:00", "escalated", priority="low")
    ward.expect("d3 08:00", "escalated", priority="medium")
    ward.expect("d4 08:00", "escalated", priority="high", revision=4)
    ward.expect_nothing_more()


def test_it_falls_only_after_two_results_below() -> None:
    ward = ward_()
    for day, value in enumerate([70, 30, 30, 5, 5], 1):
        ward.lab("aluminum", value, "ug/L", at=f"d{day} 08:00")
    ward.expect("d1 08:00", "raised", priority="medium")
    ward.expect("d2 08:00", "updated", priority="medium")
    ward.expect("d3 08:00", "deescalated", priority="low")
    ward.expect("d4 08:00", "updated", priority="low")
    ward.expect("d5 08:00", "resolved", reason="condition_cleared")
    ward.expect_nothing_more()


def test_one_low_result_between_two_high_ones_changes_nothing() -> None:
    ward = ward_()
    for day, value in enumerate([70, 5, 70], 1):
        ward.lab("aluminum", value, "ug/L", at=f"d{day} 08:00")
    assert len({a.alert_id for a in ward.watched}) == 1
    assert {str(a.priority) for a in ward.watched} == {"medium"}


def test_two_low_results_in_any_order_of_arrival() -> None:
    ward = ward_()
    ward.lab("aluminum", 70, "ug/L", at="d1 08:00")
    ward.lab("aluminum", 5, "ug/L", at="d3 08:00", received="d9 08:00")
    ward.lab("aluminum", 5, "ug/L", at="d2 08:00", received="d9 09:00")
    assert ward.open == set()


@pytest.mark.parametrize(
    ("status", "value", "reason"),
    [
        ("corrected", 4, "result_corrected"),
        ("cancelled", None, "result_cancelled"),
        ("entered_in_error", None, "entered_in_error"),
    ],
)
def test_a_level_taken_back_withdraws_it(status: str, value: float | None, reason: str) -> None:
    ward = ward_()
    ward.lab("aluminum", 70, "ug/L", at="08:00", name="r1")
    ward.lab("aluminum", value, "ug/L", at="08:00", name="r1", status=status, reported="d2 08:00", received="d2 08:00")
    ward.expect("08:00", "raised")
    ward.expect("d2 08:00", "withdrawn", reason=reason)
    ward.expect_nothing_more()


def test_a_correction_upwards_escalates() -> None:
    ward = ward_()
    ward.lab("aluminum", 30, "ug/L", at="08:00", name="r1")
    ward.lab(
        "aluminum", 300, "ug/L", at="08:00", name="r1", status="corrected", reported="d2 08:00", received="d2 08:00"
    )
    ward.expect("08:00", "raised", priority="low")
    ward.expect("d2 08:00", "escalated", priority="high", reason="severity_changed")


# -- the acute band latches (R23) ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "unit"), [(400, "ug/L"), (14.83, "umol/L"), (14830, "nmol/L")])
def test_the_acute_band_stays_until_a_person_resolves_it(value: float, unit: str) -> None:
    ward = ward_()
    ward.lab("aluminum", value, unit, at="d1 08:00")
    raised = ward.expect("d1 08:00", "raised", priority="high")
    for day in range(2, 6):
        ward.lab("aluminum", 5, "ug/L", at=f"d{day} 08:00")
    assert {str(a.priority) for a in ward.watched} == {"high"}
    assert ward.open == {(RULE, "p1/level", "active", "high")}
    ward.respond(raised, "resolve", at="d6 08:00")
    assert ward.open == set()
    assert (ward.watched[-1].transition, ward.watched[-1].reason) == ("resolved", "resolved_by_person")


@pytest.mark.parametrize(("value", "unit"), [(399, "ug/L"), (14.82, "umol/L")])
def test_below_the_acute_band_nothing_latches(value: float, unit: str) -> None:
    ward = ward_()
    ward.lab("aluminum", value, unit, at="d1 08:00")
    ward.lab("aluminum", 5, "ug/L", at="d2 08:00")
    ward.lab("aluminum", 5, "ug/L", at="d3 08:00")
    assert ward.open == set()


@pytest.mark.parametrize("symptoms_first", [True, False])
@pytest.mark.parametrize(("value", "is_latched"), [(149, False), (150, True)])
def test_with_the_clinical_picture_it_latches_from_150(value: float, is_latched: bool, symptoms_first: bool) -> None:
    ward = ward_()
    if symptoms_first:
        ward.symptom("jerk", at="d1 07:00", worse_after_dialysis=True)
    ward.lab("aluminum", value, "ug/L", at="d1 08:00")
    if not symptoms_first:
        ward.symptom("jerk", at="d1 09:00", worse_after_dialysis=True)
    ward.lab("aluminum", 5, "ug/L", at="d2 08:00")
    ward.lab("aluminum", 5, "ug/L", at="d3 08:00")
    assert any(rule == RULE for rule, *_ in ward.open) is is_latched


def test_a_latched_level_that_was_an_error_is_withdrawn() -> None:
    ward = ward_()
    ward.lab("aluminum", 500, "ug/L", at="d1 08:00", name="r1")
    ward.lab(
        "aluminum", None, "ug/L", at="d1 08:00", name="r1", status="entered_in_error", reported="d2 08:00",
        received="d2 08:00",
    )  # fmt: skip
    ward.expect("d1 08:00", "raised")
    ward.expect("d2 08:00", "withdrawn", reason="entered_in_error")


def test_after_a_persons_resolve_a_new_acute_level_raises_again() -> None:
    ward = ward_()
    ward.lab("aluminum", 500, "ug/L", at="d1 08:00")
    ward.respond(ward.watched[0], "resolve", at="d2 08:00")
    ward.lab("aluminum", 450, "ug/L", at="d3 08:00")
    ward.expect("d1 08:00", "raised")
    ward.expect("d2 08:00", "resolved")
    ward.expect("d3 08:00", "raised", priority="high")


# -- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "forbids"), [(199, False), (200, True), (300, True), (500, True)])
def test_from_200_the_text_forbids_deferoxamine(value: float, forbids: bool) -> None:
    ward = ward_()
    ward.lab("aluminum", value, "ug/L", at="08:00")
    text = " ".join(item.text for item in ward.watched[0].guidance)
    assert ("No deferoxamine" in text) is forbids


def test_a_single_level_without_symptoms_suggests_a_repeat() -> None:
    ward = ward_()
    ward.lab("aluminum", 80, "ug/L", at="08:00")
    assert any("trace-element" in item.text for item in ward.watched[0].guidance)
    ward.lab("aluminum", 85, "ug/L", at="d2 08:00")
    assert not any("trace-element" in item.text for item in ward.watched[-1].guidance)


def test_with_symptoms_no_contamination_is_suggested() -> None:
    ward = ward_()
    ward.symptom("jerk", at="07:00", worse_after_dialysis=True)
    ward.lab("aluminum", 80, "ug/L", at="08:00")
    assert not any("contamination" in item.text for item in ward.watched[0].guidance)

"""`low_magnesium` (R01): strictly below the bound of the reported unit, and what makes it urgent.

More of its cases are in `tests/rules/low_magnesium.toml`.
"""

from __future__ import annotations

import pytest

from tests.unit.timeline import Unit, id_of

RULE = "low_magnesium"


def magnesium_unit() -> Unit:
    return Unit(watch=RULE)


@pytest.mark.parametrize(
    ("value", "unit", "priority"),
    [
        (1.7, "mg/dL", None),  # 0.6994 mmol/L: a single canonical unit would call this low
        (1.69, "mg/dL", "medium"),
        (1.0, "mg/dL", "medium"),  # the bound belongs to the milder side
        (0.99, "mg/dL", "high"),
        (0.70, "mmol/L", None),
        (0.69, "mmol/L", "medium"),
        (0.41, "mmol/L", "medium"),
        (0.40, "mmol/L", "high"),
        (1.4, "meq/L", None),
        (1.39, "meq/L", "medium"),
        (0.82, "meq/L", "medium"),
        (0.81, "meq/L", "high"),
    ],
)
def test_each_unit_has_its_own_bounds(value: float, unit: str, priority: str | None) -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", value, unit, at="08:00")
    if priority:
        ward.expect("08:00", "raised", priority=priority, status="active", reason="condition_met")
    ward.expect_nothing_more()


@pytest.mark.parametrize("unit", ["mEq/L", "meq/l", "MEQ/L"])
def test_other_spellings_of_a_unit_use_its_bound(unit: str) -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.39, unit, at="08:00")
    raised = ward.expect("08:00", "raised")
    assert raised.evidence[0].unit == unit  # as reported


def test_the_unit_decides_not_the_property_of_the_loinc_code() -> None:
    ward = magnesium_unit()
    ward.lab(None, 1.0, "mmol/L", loinc="19123-9", at="08:00")  # a mass code with a molar, normal value
    ward.expect_nothing_more()


@pytest.mark.parametrize("loinc", ["19123-9", "2601-3"])
def test_serum_codes_are_read(loinc: str) -> None:
    ward = magnesium_unit()
    ward.lab(None, 1.2, loinc=loinc, at="08:00")
    ward.expect("08:00", "raised", priority="medium")


@pytest.mark.parametrize(
    "fields",
    [
        {"loinc": "2597-3"},
        {"loinc": "2593-2"},
        {"loinc": "2598-1"},
        {"specimen": "urine"},
        {"specimen": "erythrocytes"},
        {"specimen": "circuit"},
    ],
)
def test_red_cells_urine_and_circuit_say_nothing_of_the_patient(fields: dict[str, str]) -> None:
    ward = Unit()
    ward.lab(None if "loinc" in fields else "magnesium", 0.5, at="08:00", **fields)
    ward.expect_nothing_more()


@pytest.mark.parametrize(
    ("comparator", "value", "priority"),
    [
        ("<", 0.2, "high"),
        ("<", 1.0, "high"),
        ("<", 1.1, "medium"),  # certainly low, perhaps severe: no more is claimed than is known
        ("<", 1.7, "medium"),
        ("<=", 1.6, "medium"),
        ("<=", 1.7, None),
        ("<", 2.0, None),
        (">", 1.6, None),
        (">", 1.7, None),
        (">=", 1.7, None),
    ],
)
def test_a_comparator_fires_only_when_certain(comparator: str, value: float, priority: str | None) -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", value, comparator=comparator, at="08:00")
    if priority:
        alert = ward.expect("08:00", "raised", priority=priority)
        assert alert.evidence[0].value == f"{comparator}{value:g}"
    ward.expect_nothing_more()


def test_an_undecidable_result_neither_raises_nor_clears() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.5, at="08:00")
    ward.expect("08:00", "raised")
    ward.lab("magnesium", 2.0, comparator="<", at="09:00")
    ward.expect_nothing_more()
    assert (RULE, "p1/magnesium", "active", "medium") in ward.open


def test_the_final_report_of_a_preliminary_result_counts() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.5, status="preliminary", at="08:00", name="r1")
    ward.lab("magnesium", 1.5, status="final", at="08:00", name="r1", received="09:00")
    ward.expect("09:00", "raised", onset_at=ward.told[0].onset_at)
    assert ward.told[0].onset_at.hour == 8


@pytest.mark.parametrize("kind", ["jerk", "spasm", "cramp", "twitch", "myoclonus", "seizure"])
@pytest.mark.parametrize("symptom_first", [True, False])
def test_irritability_within_a_day_makes_it_high(kind: str, symptom_first: bool) -> None:
    ward = magnesium_unit()
    if symptom_first:
        ward.symptom(kind, at="08:00")
        ward.lab("magnesium", 1.6, at="09:00")
        ward.expect("09:00", "raised", priority="high")
    else:
        ward.lab("magnesium", 1.6, at="08:00")
        ward.expect("08:00", "raised", priority="medium")
        ward.symptom(kind, at="09:00")
        ward.expect("09:00", "escalated", priority="high", reason="severity_changed")
    ward.expect_nothing_more()


@pytest.mark.parametrize("kind", ["dizziness", "nausea", "confusion", "shivering", "motor_apraxia"])
def test_other_symptoms_do_not(kind: str) -> None:
    ward = magnesium_unit()
    ward.symptom(kind, at="08:00")
    ward.lab("magnesium", 1.6, at="09:00")
    ward.expect("09:00", "raised", priority="medium")


def test_after_a_day_the_symptom_no_longer_counts() -> None:
    ward = magnesium_unit()
    ward.symptom("jerk", at="08:00")
    ward.lab("magnesium", 1.6, at="09:00")
    ward.expect("09:00", "raised", priority="high")
    ward.clock("d3 00:00")
    ward.expect("d2 08:00", "deescalated", priority="medium", reason="severity_changed")
    ward.expect_nothing_more()


@pytest.mark.parametrize(("ms", "priority"), [(450, "medium"), (480, "medium"), (481, "high"), (510, "high")])
def test_a_long_qtc_makes_it_high(ms: float, priority: str) -> None:
    ward = magnesium_unit()
    ward.qtc(ms, at="08:00")
    ward.lab("magnesium", 1.6, at="09:00")
    ward.expect("09:00", "raised", priority=priority)


def test_severe_symptoms_and_qtc_do_not_add_up_beyond_high() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 0.8, at="08:00")
    ward.expect("08:00", "raised", priority="high")
    ward.symptom("seizure", at="08:30")
    ward.expect("08:30", "updated", priority="high", reason="evidence_changed")
    ward.expect_nothing_more()


# -- over ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "unit"), [(1.7, "mg/dL"), (0.7, "mmol/L"), (1.4, "meq/L")])
def test_the_next_result_at_the_threshold_resolves_it(value: float, unit: str) -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.5, at="08:00")
    raised = ward.expect("08:00", "raised")
    ward.lab("magnesium", value, unit, at="10:00")
    over = ward.expect("10:00", "resolved", status="resolved", reason="condition_cleared", revision=2)
    assert over.alert_id == raised.alert_id
    ward.expect_nothing_more()


def test_a_new_episode_has_its_own_id() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.5, at="08:00", name="r1")
    ward.lab("magnesium", 2.0, at="10:00", name="r2")
    ward.lab("magnesium", 1.5, at="12:00", name="r3")
    assert [a.alert_id for a in ward.watched] == [id_of(RULE, "lab_result:r1")] * 2 + [id_of(RULE, "lab_result:r3")]
    assert [a.revision for a in ward.watched] == [1, 2, 1]


@pytest.mark.parametrize(
    ("status", "value", "reason"),
    [
        ("corrected", 2.0, "result_corrected"),
        ("cancelled", None, "result_cancelled"),
        ("entered_in_error", None, "entered_in_error"),
    ],
)
def test_a_result_taken_back_withdraws_the_same_alert(status: str, value: float | None, reason: str) -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.5, at="08:00", name="r1")
    raised = ward.expect("08:00", "raised")
    ward.lab("magnesium", value, at="08:00", name="r1", status=status, reported="09:00", received="09:00")
    over = ward.expect("09:00", "withdrawn", status="withdrawn", reason=reason)
    assert over.alert_id == raised.alert_id
    ward.expect_nothing_more()


def test_a_correction_back_below_raises_the_next_revision_of_the_same_alert() -> None:
    ward = magnesium_unit()
    for hour, value in enumerate([1.5, 2.0, 1.4]):
        at = f"{8 + hour:02}:00"
        ward.lab("magnesium", value, at="08:00", name="r1", status="corrected", reported=at, received=at)
    assert [str(a.transition) for a in ward.watched] == ["raised", "withdrawn", "raised"]
    assert [a.revision for a in ward.watched] == [1, 2, 3]
    assert len({a.alert_id for a in ward.watched}) == 1


def test_a_correction_below_the_threshold_raises() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 2.0, at="08:00", name="r1")
    ward.lab("magnesium", 1.2, at="08:00", name="r1", status="corrected", reported="09:00", received="09:00")
    raised = ward.expect("09:00", "raised", priority="medium")
    assert raised.onset_at.hour == 8


def test_a_correction_within_the_band_updates_and_says_why() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.5, at="08:00", name="r1")
    ward.lab("magnesium", 1.4, at="08:00", name="r1", status="corrected", reported="09:00", received="09:00")
    ward.expect("08:00", "raised")
    ward.expect("09:00", "updated", reason="result_corrected", priority="medium")


def test_a_correction_into_another_band_changes_the_priority() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.5, at="08:00", name="r1")
    ward.lab("magnesium", 0.9, at="08:00", name="r1", status="corrected", reported="09:00", received="09:00")
    ward.lab("magnesium", 1.6, at="08:00", name="r1", status="corrected", reported="10:00", received="10:00")
    ward.expect("08:00", "raised", priority="medium")
    ward.expect("09:00", "escalated", priority="high", status="active")
    ward.expect("10:00", "deescalated", priority="medium")


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        # (status, reported, value); the later report stands, at equal times the more final status
        (("final", "09:00", 1.5), ("corrected", "08:30", 2.0), "first"),
        (("preliminary", "09:00", 2.0), ("final", "09:00", 1.5), "second"),
        (("final", "09:00", 1.5), ("corrected", "09:00", 2.0), "second"),
        (("corrected", "09:00", 1.5), ("cancelled", "09:00", None), "second"),
        (("cancelled", "09:00", None), ("entered_in_error", "09:00", None), "second"),
        (("corrected", "09:00", 2.0), ("final", "09:30", 1.5), "second"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_which_report_of_a_result_stands_depends_on_no_order(
    first: tuple[str, str, float | None], second: tuple[str, str, float | None], stands: str, swapped: bool
) -> None:
    ward = magnesium_unit()
    for status, reported, value in (second, first) if swapped else (first, second):
        ward.lab("magnesium", value, at="08:00", name="r1", status=status, reported=reported, received="10:00")
    kept = first if stands == "first" else second
    is_low = kept[2] is not None and kept[2] < 1.7
    assert bool(ward.open) is is_low


# -- late, repeated, several ---------------------------------------------------------------------------------------


def test_a_late_earlier_low_result_moves_the_onset_never_the_id() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.5, at="10:00", name="r2")
    raised = ward.expect("10:00", "raised")
    ward.lab("magnesium", 1.5, at="08:00", name="r1", received="11:00")
    moved = ward.expect("11:00", "updated", alert_id=raised.alert_id)
    assert moved.onset_at.hour == 8
    assert moved.alert_id == id_of(RULE, "lab_result:r2")


def test_a_late_normal_result_between_two_low_ones_splits_the_episode() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.5, at="08:00")
    ward.lab("magnesium", 1.5, at="12:00")
    ward.lab("magnesium", 2.0, at="10:00", received="13:00")
    assert ward.watched[-1].onset_at.hour == 12


def test_a_result_older_than_the_longest_window_raises_nothing() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.2, at="d1 08:00", received="d60 08:00")
    ward.expect_nothing_more()


@pytest.mark.parametrize("values", [(1.5, 2.0), (2.0, 1.5)])
def test_two_tubes_of_one_report_are_two_results(values: tuple[float, float]) -> None:
    """Pre and post tubes come in one report; the specimen collected last speaks for the patient."""
    ward = magnesium_unit()
    ward.lab("magnesium", values[0], at="08:00", name="pre", received="13:00")
    ward.lab("magnesium", values[1], at="12:00", name="post", received="13:00")
    assert bool(ward.open) is (values[1] < 1.7)


def test_an_unknown_patient_is_simply_new() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.5, at="08:00", patient_id="never-seen:1")
    ward.expect("08:00", "raised", patient_id="never-seen:1", unit_id=None, session_id=None, chair=None)


def test_patients_do_not_mix() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.5, at="08:00", patient_id="p1")
    ward.lab("magnesium", 2.0, at="09:00", patient_id="p2")
    ward.symptom("seizure", at="09:00", patient_id="p2")
    ward.expect("08:00", "raised", patient_id="p1")
    ward.expect_nothing_more()


def test_the_message_names_place_and_evidence() -> None:
    ward = magnesium_unit()
    ward.session(at="08:00", chair="12", water_loop_id="loop-a", unit_id="unit-1")
    ward.lab("magnesium", 1.6, at="09:00", name="r1")
    alert = ward.expect(
        "09:00", "raised", unit_id="unit-1", session_id="s1", chair="12", water_loop_id="loop-a", family="low-magnesium"
    )
    (evidence,) = alert.evidence
    assert (evidence.kind, evidence.id, evidence.name) == ("lab_result", "r1", "magnesium")
    assert (evidence.value, evidence.unit, evidence.at) == (1.6, "mg/dL", alert.onset_at)
    assert alert.alert_id == id_of(RULE, "lab_result:r1")


def test_the_advice_reviews_and_never_orders() -> None:
    ward = magnesium_unit()
    ward.lab("magnesium", 1.6, at="09:00")
    alert = ward.expect("09:00", "raised")
    assert alert.guidance
    assert all(item.basis for item in alert.guidance)
    assert any("L14" in item.basis or "L2" in item.basis for item in alert.guidance)
    assert not any(item.text.lower().startswith("give") for item in alert.guidance)


# -- time zones ----------------------------------------------------------------------------------------------------


def test_the_hour_that_a_dst_change_repeats_is_two_hours() -> None:
    """02:30 summer time comes an hour before 02:30 winter time; the later specimen stands."""
    ward = magnesium_unit()
    ward.lab("magnesium", 2.0, at="2026-10-25T02:30:00+01:00", received="2026-10-25T04:00:00+01:00")
    ward.lab("magnesium", 1.5, at="2026-10-25T02:30:00+02:00", received="2026-10-25T04:00:00+01:00")
    ward.expect_nothing_more()
    ward.lab("magnesium", 1.5, at="2026-10-25T02:31:00+01:00", received="2026-10-25T04:00:00+01:00")
    assert [str(a.transition) for a in ward.watched] == ["raised"]


def test_a_site_may_set_the_bound_of_each_unit() -> None:
    low = {"mg/dL": 1.8, "mmol/L": 0.75, "meq/L": 1.5}
    ward = Unit(watch=RULE, rules={RULE: {"low": low}})
    ward.lab("magnesium", 1.75, at="08:00")
    ward.expect("08:00", "raised")


def test_a_site_may_turn_it_off() -> None:
    ward = Unit(watch=RULE, rules={RULE: {"enabled": False, "accept_risk": "a test"}})
    ward.lab("magnesium", 0.5, at="08:00")
    ward.expect_nothing_more()

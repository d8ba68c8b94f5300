"""`aluminum_suspicion` (R20): a jerk with speech or personality change, or shortly after dialysis."""

from __future__ import annotations

import pytest

from tests.unit.timeline import Unit, id_of

RULE = "aluminum_suspicion"
JERKS = ["jerk", "myoclonus", "twitch"]
COMPANIONS = ["speech_disturbance", "personality_change", "hallucination", "disorientation", "motor_apraxia"]


def ward_() -> Unit:
    return Unit(watch=RULE)


@pytest.mark.parametrize("jerk", JERKS)
@pytest.mark.parametrize("companion", COMPANIONS)
@pytest.mark.parametrize("jerk_last", [False, True])
def test_a_jerk_and_a_companion_in_any_order(jerk: str, companion: str, jerk_last: bool) -> None:
    ward = ward_()
    first, second = (companion, jerk) if jerk_last else (jerk, companion)
    ward.symptom(first, at="08:00")
    ward.expect_nothing_more()
    ward.symptom(second, at="d2 08:00")
    alert = ward.expect("d2 08:00", "raised", priority="medium", family="aluminum")
    assert alert.onset_at.day == 23
    assert {item.name for item in alert.evidence} == {jerk, companion}


@pytest.mark.parametrize("kind", ["cramp", "spasm", "weakness", "somnolence", "confusion", "dizziness"])
def test_a_cramp_or_weakness_is_no_jerk(kind: str) -> None:
    """R05's ruling: a plain cramp counts for the panel, not for aluminium."""
    ward = ward_()
    ward.symptom(kind, at="08:00", worse_after_dialysis=True)
    ward.symptom("speech_disturbance", at="09:00")
    ward.expect_nothing_more()


@pytest.mark.parametrize("companion", ["dizziness", "confusion", "seizure", "nausea"])
def test_what_is_no_companion(companion: str) -> None:
    ward = ward_()
    ward.symptom("jerk", at="08:00")
    ward.symptom(companion, at="09:00")
    ward.expect_nothing_more()


@pytest.mark.parametrize("first_kind", ["jerk", "hallucination"])
@pytest.mark.parametrize(("second_at", "is_joined"), [("d8 07:59", True), ("d8 08:01", False)])
def test_jerk_and_companion_join_within_seven_days(first_kind: str, second_at: str, is_joined: bool) -> None:
    ward = ward_()
    second_kind = "hallucination" if first_kind == "jerk" else "jerk"
    ward.symptom(first_kind, at="d1 08:00")
    ward.symptom(second_kind, at=second_at)
    assert bool(ward.open) is is_joined


def test_symptoms_out_of_order_still_join() -> None:
    ward = ward_()
    ward.symptom("speech_disturbance", at="d3 08:00", name="later")
    ward.symptom("jerk", at="d1 08:00", name="earlier", received="d4 08:00")
    alert = ward.expect("d4 08:00", "raised")
    assert alert.onset_at.day == 23


@pytest.mark.parametrize(
    ("onset", "is_shortly_after"),
    [("11:59", False), ("12:00", True), ("14:00", True), ("16:59", True), ("17:01", False)],
)
def test_a_jerk_within_five_hours_after_the_end_of_a_session(onset: str, is_shortly_after: bool) -> None:
    ward = ward_()
    ward.session(at="08:00")
    ward.session_end(at="12:00")
    ward.symptom("jerk", at=onset, received="18:00")
    assert any(rule == "aluminum_suspicion" for rule, *_ in ward.open) is is_shortly_after


def test_the_end_of_the_session_may_become_known_later() -> None:
    ward = ward_()
    ward.session(at="08:00")
    ward.symptom("jerk", at="13:00")
    ward.expect_nothing_more()
    ward.session_end(at="12:00", received="14:00")
    alert = ward.expect("14:00", "raised", priority="medium")
    assert {item.kind for item in alert.evidence} == {"symptom", "session_ended"}


def test_a_session_over_midnight() -> None:
    ward = ward_()
    ward.session(at="d1 22:00")
    ward.session_end(at="d2 02:00")
    ward.symptom("myoclonus", at="d2 06:30")
    ward.expect("d2 06:30", "raised")


def test_the_window_is_counted_in_hours_also_when_clocks_change() -> None:
    """From 00:30+02:00 to 04:45+01:00 it is 5 h 15 min; on the wall it looks like 4 h 15 min."""
    ward = ward_()
    ward.session(at="2026-10-24T20:00:00+02:00")
    ward.session_end(at="2026-10-25T00:30:00+02:00")
    ward.symptom("jerk", at="2026-10-25T04:45:00+01:00")
    ward.expect_nothing_more()


def test_a_jerk_said_to_be_worse_after_dialysis_needs_no_session() -> None:
    ward = ward_()
    ward.symptom("twitch", at="08:00", worse_after_dialysis=True)
    ward.expect("08:00", "raised", priority="medium")


def test_a_jerk_alone_is_nothing() -> None:
    ward = ward_()
    ward.symptom("jerk", at="08:00", worse_after_dialysis=False)
    ward.expect_nothing_more()


@pytest.mark.parametrize("seizure_at", ["07:00", "12:00"])
def test_a_seizure_makes_it_high(seizure_at: str) -> None:
    ward = ward_()
    ward.symptom("jerk", at="08:00")
    ward.symptom("disorientation", at="09:00")
    ward.expect("09:00", "raised", priority="medium")
    ward.symptom("seizure", at=seizure_at, received="12:00")
    ward.expect("12:00", "escalated", priority="high", reason="severity_changed")


def test_an_unrelated_seizure_weeks_before_does_not() -> None:
    ward = ward_()
    ward.symptom("seizure", at="d1 08:00")
    ward.symptom("jerk", at="d20 08:00", worse_after_dialysis=True)
    ward.expect("d20 08:00", "raised", priority="medium")


# -- over ----------------------------------------------------------------------------------------------------------


def suspected() -> Unit:
    ward = ward_()
    ward.symptom("jerk", at="08:00", name="jerk")
    ward.symptom("speech_disturbance", at="09:00", name="speech")
    ward.expect("09:00", "raised")
    return ward


@pytest.mark.parametrize(
    ("value", "unit"), [(19.9, "ug/L"), (19.9, "ng/mL"), (0.740, "umol/L"), (740, "nmol/L"), (19, "µg/L"), (19, "μg/L")]
)
def test_a_level_below_twenty_resolves_it(value: float, unit: str) -> None:
    ward = suspected()
    ward.lab("aluminum", value, unit, at="10:00", reported="d3 10:00", received="d3 10:00")
    ward.expect("d3 10:00", "resolved", reason="condition_cleared")
    ward.expect_nothing_more()


@pytest.mark.parametrize(
    ("value", "unit"), [(20, "ug/L"), (0.741, "umol/L"), (741, "nmol/L"), (80, "ug/L"), (500, "ug/L")]
)
def test_it_stays_open_at_any_level_from_twenty_and_points_to_it(value: float, unit: str) -> None:
    ward = suspected()
    ward.lab("aluminum", value, unit, at="10:00", name="al")
    alert = ward.expect("10:00", "updated", reason="evidence_changed")
    assert "al" in {item.id for item in alert.evidence}
    assert (RULE, "p1/suspicion", "active", "medium") in ward.open


@pytest.mark.parametrize(
    ("value", "comparator", "is_over"),
    [(20, "<", True), (10, "<", True), (60, "<", False), (20, "<=", False), (5, ">", False)],
)
def test_a_comparator_excludes_only_when_certain(value: float, comparator: str, is_over: bool) -> None:
    ward = suspected()
    ward.lab("aluminum", value, "ug/L", comparator=comparator, at="10:00")
    assert (ward.watched[-1].status == "resolved") is is_over


def test_a_preliminary_level_excludes_nothing() -> None:
    ward = suspected()
    ward.lab("aluminum", 5, "ug/L", status="preliminary", at="10:00")
    assert ward.watched[-1].status == "active"


def test_a_level_drawn_before_the_onset_excludes_nothing() -> None:
    ward = suspected()
    ward.lab("aluminum", 5, "ug/L", at="07:00", received="d2 08:00")
    ward.expect_nothing_more()


def test_a_corrected_level_opens_it_again_as_the_same_alert() -> None:
    ward = suspected()
    ward.lab("aluminum", 5, "ug/L", at="10:00", name="al", received="d2 08:00", reported="d2 08:00")
    over = ward.expect("d2 08:00", "resolved")
    ward.lab(
        "aluminum", 50, "ug/L", at="10:00", name="al", status="corrected", received="d3 08:00", reported="d3 08:00"
    )
    ward.expect("d3 08:00", "raised", alert_id=over.alert_id, revision=3)


def test_new_symptoms_after_a_low_level_are_a_new_picture() -> None:
    ward = suspected()
    ward.lab("aluminum", 5, "ug/L", at="10:00")
    ward.expect("10:00", "resolved")
    ward.symptom("jerk", at="d2 08:00")
    ward.expect_nothing_more()  # the speech disturbance was explained otherwise
    ward.symptom("hallucination", at="d2 09:00")
    ward.expect("d2 09:00", "raised", revision=1)


@pytest.mark.parametrize("symptom", ["jerk", "speech"])
def test_a_symptom_entered_in_error_withdraws_it(symptom: str) -> None:
    ward = suspected()
    kind, at = ("jerk", "08:00") if symptom == "jerk" else ("speech_disturbance", "09:00")
    ward.symptom(kind, at=at, name=symptom, status="entered_in_error", received="11:00")
    ward.expect("11:00", "withdrawn", reason="entered_in_error")
    ward.expect_nothing_more()


def test_an_error_of_one_symptom_leaves_what_the_others_make() -> None:
    ward = suspected()
    ward.symptom("hallucination", at="10:00")
    ward.symptom("speech_disturbance", at="09:00", name="speech", status="entered_in_error", received="11:00")
    assert (RULE, "p1/suspicion", "active", "medium") in ward.open


def test_an_error_is_not_lost_to_an_older_message() -> None:
    ward = suspected()
    ward.symptom("jerk", at="08:00", name="jerk", status="entered_in_error", received="11:00")
    ward.symptom("jerk", at="08:00", name="jerk", received="11:30")
    ward.expect("11:00", "withdrawn")
    ward.expect_nothing_more()


def test_the_id_is_of_the_input_that_completed_the_picture() -> None:
    ward = suspected()
    assert ward.watched[0].alert_id == id_of(RULE, "symptom:speech")


def test_the_advice_names_measurement_and_baclofen() -> None:
    texts = " ".join(item.text for item in suspected().watched[0].guidance).lower()
    assert "aluminium level" in texts
    assert "baclofen" in texts

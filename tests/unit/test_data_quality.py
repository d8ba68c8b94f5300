"""`data_quality` (E07): what cannot be evaluated is said once, never guessed, and closed by what is usable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from streams.engine import find as find_stage
from streams.rules import data_quality, magnesium
from streams.rules.api import Outcome, PatientRule, PatientView
from tests.unit.timeline import Unit, moment

RULE = "data_quality"


def ward_() -> Unit:
    return Unit(watch=RULE)


@pytest.mark.parametrize(
    ("analyte", "unit"),
    [
        ("magnesium", "furlong"),
        ("magnesium", ""),
        ("magnesium", "ug/L"),
        ("aluminum", "mg/dL"),
        ("phosphate", "meq/L"),  # valence depends on pH: not converted
        ("potassium", "g/dL"),
    ],
)
def test_an_unknown_or_missing_unit_is_said_and_not_evaluated(analyte: str, unit: str) -> None:
    ward = Unit()
    ward.lab(analyte, 0.5, unit, at="08:00")
    alert = ward.expect("08:00", "raised", rule=RULE, priority="low", family="data-quality")
    assert alert.evidence[0].unit == unit
    ward.expect_nothing_more()


def test_an_unknown_code_is_said() -> None:
    ward = Unit()
    ward.lab(None, 1.0, loinc="MG-SERUM", at="08:00")
    ward.expect("08:00", "raised", rule=RULE, priority="low")
    ward.expect_nothing_more()


@pytest.mark.parametrize("codes", [("MG-SERUM", "K-SERUM"), ("K-SERUM", "MG-SERUM")])
def test_of_two_unknown_codes_in_one_panel_the_same_is_said_in_any_order(codes: tuple[str, str]) -> None:
    ward = Unit()
    for code in codes:
        ward.lab(None, 1.0, loinc=code, at="08:00", name="panel")
    assert "K-SERUM" in ward.watched[-1].summary


def test_an_ordinary_result_that_no_rule_reads_is_no_trouble() -> None:
    """A haemoglobin and a glucose are in every panel: well-formed codes of other analytes are counted, not said."""
    ward = Unit()
    ward.lab(None, 11.2, "g/dL", loinc="718-7", at="08:00")
    ward.lab(None, 99, "mg/dL", loinc="2345-7", at="08:00")
    ward.expect_nothing_more()


@pytest.mark.parametrize(
    ("analyte", "value", "unit", "is_plausible"),
    [
        ("magnesium", 0.19, "mg/dL", False),
        ("magnesium", 0.2, "mg/dL", True),
        ("magnesium", 15, "mg/dL", True),
        ("magnesium", 15.1, "mg/dL", False),
        ("magnesium", 17, "mmol/L", False),  # mg/L taken for mmol/L
        ("potassium", 0.9, "mmol/L", False),
        ("potassium", 12.1, "mmol/L", False),
        ("potassium", 4.5, "mmol/L", True),
        ("aluminum", -1, "ug/L", False),
    ],
)
def test_fences(analyte: str, value: float, unit: str, is_plausible: bool) -> None:
    ward = ward_()
    ward.lab(analyte, value, unit, at="08:00")
    assert bool(ward.watched) is not is_plausible
    assert all(rule == RULE for rule, *_ in ward.open if not is_plausible)


def test_a_value_off_the_scale_may_lie_beyond_the_fence() -> None:
    ward = ward_()
    ward.lab("magnesium", 0.1, comparator="<", at="08:00")
    ward.expect_nothing_more()


@pytest.mark.parametrize(
    ("analyte", "comparator", "value", "unit"),
    [
        ("magnesium", "<", 2.0, "mg/dL"),
        ("magnesium", "<=", 1.7, "mg/dL"),
        ("magnesium", ">", 1.6, "mg/dL"),
        ("aluminum", "<", 60, "ug/L"),
    ],
)
def test_an_undecidable_comparator_is_noted(analyte: str, comparator: str, value: float, unit: str) -> None:
    ward = Unit()
    ward.lab(analyte, value, unit, comparator=comparator, at="08:00")
    ward.expect("08:00", "raised", rule=RULE)
    ward.expect_nothing_more()


@pytest.mark.parametrize(
    ("analyte", "value", "unit", "flag", "is_contradiction"),
    [
        ("magnesium", 2.0, "mg/dL", "LL", True),
        ("magnesium", 1.2, "mg/dL", "LL", False),
        ("magnesium", 2.0, "mg/dL", "L", False),
        ("aluminum", 5, "ug/L", "HH", True),
        ("aluminum", 80, "ug/L", "HH", False),
    ],
)
def test_a_critical_flag_on_a_normal_value(
    analyte: str, value: float, unit: str, flag: str, is_contradiction: bool
) -> None:
    ward = ward_()
    ward.lab(analyte, value, unit, flags=["N", flag], at="08:00")
    assert bool(ward.watched) is is_contradiction


def test_a_flag_alone_triggers_no_clinical_alert() -> None:
    ward = Unit()
    ward.lab("magnesium", 2.0, flags=["LL"], at="08:00")
    assert {rule for rule, *_ in ward.open} == {RULE}


def test_a_loinc_code_of_another_analyte_is_said() -> None:
    ward = Unit()
    ward.lab("magnesium", 1.0, "mmol/L", loinc="2823-3", at="08:00")
    assert {rule for rule, *_ in ward.open} == {RULE}


def test_the_next_usable_result_closes_it() -> None:
    ward = ward_()
    ward.lab("magnesium", 1.5, "furlong", at="08:00")
    ward.lab("potassium", 4.5, "mmol/L", at="08:30")
    ward.expect("08:00", "raised")
    ward.lab("magnesium", 2.0, at="09:00")
    ward.expect("09:00", "resolved", reason="condition_cleared")
    ward.expect_nothing_more()


@pytest.mark.parametrize(("status", "value"), [("corrected", 2.0), ("cancelled", None), ("entered_in_error", None)])
def test_a_correction_withdraws_it(status: str, value: float | None) -> None:
    ward = ward_()
    ward.lab("magnesium", 1.5, "furlong", at="08:00", name="r1")
    ward.lab("magnesium", value, "mg/dL", at="08:00", name="r1", status=status, reported="09:00", received="09:00")
    ward.expect("08:00", "raised")
    ward.expect("09:00", "withdrawn")
    ward.expect_nothing_more()


def test_a_correction_into_nonsense_takes_the_clinical_alert_back_and_says_why() -> None:
    ward = Unit()
    ward.lab("magnesium", 1.5, at="08:00", name="r1")
    ward.lab("magnesium", 1.5, "?", at="08:00", name="r1", status="corrected", reported="09:00", received="09:00")
    assert {(a.rule, str(a.transition)) for a in ward.told} == {
        ("low_magnesium", "raised"),
        ("low_magnesium", "withdrawn"),
        (RULE, "raised"),
    }


def test_each_analyte_has_its_own() -> None:
    ward = ward_()
    ward.lab("magnesium", 1.5, "?", at="08:00")
    ward.lab("aluminum", 1.5, "?", at="08:00")
    assert len(ward.open) == 2


# -- clocks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "is_ahead"), [("08:05", False), ("08:05:01", True), ("23:00", True)])
def test_a_time_more_than_five_minutes_ahead_of_its_arrival(at: str, is_ahead: bool) -> None:
    ward = ward_()
    ward.telemetry(at=at, received="08:00")
    assert bool(ward.watched) is is_ahead
    if is_ahead:
        ward.expect("08:00", "raised", priority="low")


def test_a_wrong_clock_moves_nothing_but_its_own_samples() -> None:
    ward = Unit()
    ward.session("s2", at="07:00", patient_id="p2", machine="m2")
    ward.symptom("cramp", at="07:55", patient_id="p2")
    ward.telemetry(at="d3 08:00", received="08:00")
    ward.lab("magnesium", 1.5, at="08:10")
    assert [f"{a.at:%d %H:%M} {a.rule} {a.transition}" for a in ward.told] == [
        "23 07:55 intradialytic_cramp raised",
        "23 08:00 data_quality raised",
        "23 08:10 low_magnesium raised",
    ]


def test_a_believable_sample_closes_it() -> None:
    ward = ward_()
    ward.telemetry(at="09:00", received="08:00")
    ward.telemetry(at="09:00:10", received="08:00:10")
    ward.telemetry(at="08:00:20", received="08:00:20")
    ward.expect("08:00", "raised")
    ward.expect("08:00:20", "resolved")
    ward.expect_nothing_more()


def test_it_ends_when_the_time_it_told_of_has_come() -> None:
    ward = ward_()
    ward.lab("potassium", 4.5, "mmol/L", at="09:00", received="08:00")
    ward.clock("12:00")
    ward.expect("08:00", "raised")
    ward.expect("09:00", "resolved")
    ward.expect_nothing_more()


def test_lateness_alone_raises_nothing() -> None:
    ward = Unit()
    ward.lab("magnesium", 2.0, at="08:00", received="d5 08:00")
    ward.telemetry(at="08:00", received="d5 08:00")
    ward.symptom("nausea", at="08:00", received="d5 08:00")
    ward.expect_nothing_more()


@pytest.mark.parametrize(
    ("arrivals", "is_behind"),
    [
        (["09:00:00", "09:00:01", "09:04:59"], False),
        (["09:00:00", "09:05:00"], True),
        ([f"09:{second // 60:02d}:{second % 60:02d}" for second in range(0, 660, 20)], True),
    ],
    ids=["one sitting", "two sittings", "a machine"],
)
def test_a_sender_whose_messages_are_late_by_the_same_hour(arrivals: list[str], is_behind: bool) -> None:
    """Several things that one person charts late in one sitting are no clock that is behind."""
    ward = ward_()
    for arrival in arrivals:
        ward.telemetry(at=arrival.replace("09:", "08:", 1), received=arrival)
    assert [alert.summary for alert in ward.watched] == ["Clock of m1 is 60 min behind"] * is_behind


def test_a_machine_whose_clock_is_hours_off_by_no_whole_half_hour() -> None:
    ward = ward_()
    for minute in range(20):
        ward.telemetry(at=f"08:{minute:02d}", received=f"11:{minute + 17:02d}")
    assert [alert.summary for alert in ward.watched] == ["Clock of m1 is 197 min behind"]
    ward.telemetry(at="11:40", received="11:40")
    assert ward.watched[-1].transition == "resolved"


def test_a_machine_that_sends_what_an_outage_kept_back_is_not_behind() -> None:
    """Its lag falls from sample to sample, however long the outage was."""
    ward = ward_()
    for minute in range(0, 180, 5):
        ward.telemetry(at=f"{8 + minute // 60:02d}:{minute % 60:02d}", received=f"11:{minute // 12:02d}:{minute % 12}0")
    ward.expect_nothing_more()


def test_a_person_who_charts_late_twice_by_the_same_time_is_not_behind() -> None:
    ward = ward_()
    for minute in (0, 6, 12):
        ward.symptom(
            "nausea", at=f"08:{minute:02d}", name=f"n{minute}", received=f"09:{minute + 17:02d}", source="ward"
        )
    ward.expect_nothing_more()


def test_a_sender_that_is_in_time_again_closes_it() -> None:
    ward = ward_()
    for minute in range(0, 11, 5):
        ward.telemetry(at=f"08:{minute:02d}", received=f"09:{minute:02d}")
    ward.telemetry(at="09:11", received="09:11")
    ward.expect("09:05", "raised", priority="low")
    ward.expect("09:11", "resolved")
    ward.expect_nothing_more()


def test_a_response_from_the_future_silences_nothing_yet_to_come() -> None:
    ward = Unit(watch="low_magnesium")
    ward.lab("magnesium", 1.5, at="08:00")
    raised = ward.expect("08:00", "raised")
    ward.respond(raised, "resolve", at="d20 08:00", received="08:10")
    ward.expect("08:10", "resolved", reason="resolved_by_person")
    ward.lab("magnesium", 1.4, at="09:00")
    ward.expect("09:00", "raised")


# -- a faulty rule ---------------------------------------------------------------------------------------------------


def break_rule(ward: Unit, monkeypatch: pytest.MonkeyPatch, rule: PatientRule, broken_at: str, whole_at: str) -> None:
    """Let a rule raise from one moment to another."""

    def find(view: PatientView) -> Iterable[Outcome]:
        if moment(broken_at) <= view.now < moment(whole_at):
            raise RuntimeError("a bug")
        return rule.find(view)

    finder = ward.replay._patients._evaluator._finder
    monkeypatch.setattr(find_stage.log, "exception", lambda *_args: None)
    monkeypatch.setitem(finder.by_name, rule.name, replace(rule, find=find))
    finder._readers.clear()


def test_a_rule_that_raises_is_said_and_blinds_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Unit()
    break_rule(ward, monkeypatch, magnesium.RULE, "09:00", "10:00")
    ward.lab("magnesium", 1.5, at="08:00")
    ward.lab("aluminum", 80, "ug/L", at="09:00")
    ward.qtc(430, at="09:00")  # wakes the rule, and raises nothing
    ward.expect("08:00", "raised", rule="low_magnesium")
    ward.expect("09:00", "raised", rule="aluminum_level")
    ward.expect(
        "09:00", "raised", rule=RULE, summary="Rule low_magnesium failed and watches no longer; the other rules do"
    )
    assert ("low_magnesium", "p1/magnesium", "active", "medium") in ward.open
    ward.lab("magnesium", 2.0, at="10:00")
    ward.expect("10:00", "resolved", rule=RULE)
    ward.expect("10:00", "resolved", rule="low_magnesium")
    ward.expect_nothing_more()


def test_this_rule_may_fail_and_recover_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Unit()
    break_rule(ward, monkeypatch, data_quality.RULE, "09:00", "10:00")
    ward.lab("magnesium", 1.5, "?", at="08:00")
    ward.lab("magnesium", 1.5, at="09:00")
    ward.expect("08:00", "raised", rule=RULE)
    ward.expect("09:00", "raised", rule="low_magnesium")
    ward.lab("magnesium", 1.5, at="10:00")
    ward.expect("10:00", "resolved", rule=RULE)
    ward.expect("10:00", "updated", rule="low_magnesium")
    ward.expect_nothing_more()

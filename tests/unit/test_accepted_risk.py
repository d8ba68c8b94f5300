"""What a site's settings silence and somebody accepted: it is said of every patient of whom it is true, once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streams.engine.replay import Replay
from streams.rules import magnesium
from streams.rules.catalogue import PATIENT_RULES, RuleSettings, parse_settings
from tests.unit.timeline import SILENT, Unit, open_alerts, restarted

WORDS = "Dr Roe: magnesium is watched by the laboratory"
OFF = {"low_magnesium": {"enabled": False, "accept_risk": WORDS}}
LOWER = {
    "low_magnesium": {"severe": {"mg/dL": 0.8, "mmol/L": 0.33, "meq/L": 0.66}, "accept_risk": WORDS},
}
RISK = ("data_quality", "p1/risk:low_magnesium", "active", "low")


@pytest.mark.parametrize("rules", [OFF, LOWER])
def test_a_result_that_would_be_high_is_one_low_alert_with_who_and_why(rules: dict[str, Any]) -> None:
    ward = Unit(watch="data_quality", rules=rules)
    ward.lab("magnesium", 0.9, at="08:00", name="r1")
    alert = ward.expect("08:00", "raised", priority="low", status="active", reason="condition_met")
    assert alert.summary == (
        "Magnesium 0.9 mg/dL, severely low (below 1 mg/dL): high as shipped, not by this site's settings; "
        f"accepted: {WORDS}"
    )
    assert [(item.kind, item.id, item.value) for item in alert.evidence] == [("lab_result", "r1", 0.9)]
    ward.lab("magnesium", 1.9, at="09:00")
    ward.expect("09:00", "resolved", reason="condition_cleared")
    ward.expect_nothing_more()


def test_what_the_sites_settings_call_high_too_is_said_by_the_rule_alone() -> None:
    ward = Unit(rules=LOWER)
    ward.lab("magnesium", 0.7, at="08:00")
    assert ward.open == {("low_magnesium", "p1/magnesium", "active", "high")}


def test_what_is_not_high_as_shipped_is_not_said() -> None:
    ward = Unit(rules=OFF)
    ward.lab("magnesium", 1.5, at="08:00")
    assert ward.open == set()


def test_a_sign_that_would_make_it_high_counts_as_soon_as_it_comes() -> None:
    ward = Unit(watch="data_quality", rules=OFF)
    ward.lab("magnesium", 1.5, at="08:00")
    ward.symptom("seizure", at="08:10")
    ward.expect("08:10", "raised", priority="low")
    # 24 h later the sign counts no more, and the clock alone ends it.
    ward.clock("d2 08:10")
    ward.expect("d2 08:10", "resolved")
    ward.expect_nothing_more()


def test_a_correction_withdraws_it() -> None:
    ward = Unit(watch="data_quality", rules=OFF)
    ward.lab("magnesium", 0.5, at="08:00", name="r1")
    ward.expect("08:00", "raised")
    ward.lab("magnesium", 2.0, at="08:00", name="r1", status="corrected", reported="08:30")
    ward.expect("08:30", "withdrawn", reason="result_corrected")
    ward.expect_nothing_more()


def test_a_person_may_resolve_it_and_a_newer_result_calls_again() -> None:
    ward = Unit(watch="data_quality", rules=OFF)
    ward.lab("magnesium", 0.5, at="08:00")
    raised = ward.expect("08:00", "raised")
    ward.respond(raised, "resolve", at="08:05")
    ward.expect("08:05", "resolved", reason="resolved_by_person")
    ward.lab("magnesium", 0.5, at="09:00")
    ward.expect("09:00", "raised")
    ward.expect_nothing_more()


def test_it_stands_beside_another_alert_on_the_same_result() -> None:
    rules = {**OFF, "aluminum_level": {"enabled": False, "accept_risk": WORDS}}
    ward = Unit(rules=rules)
    ward.lab("magnesium", 0.5, at="08:00")
    ward.lab("aluminum", 180, "ug/L", at="08:00")
    assert ward.open == {RISK, ("data_quality", "p1/risk:aluminum_level", "active", "low")}


def test_other_settings_open_it_and_the_shipped_ones_give_the_alert_back() -> None:
    ward = Unit()
    ward.lab("magnesium", 0.9, at="08:00")
    off, shipped = parse_settings({**SILENT, **OFF}), parse_settings(SILENT)
    silenced = restarted(ward.replay, off)
    assert open_alerts(silenced) == {RISK}
    assert open_alerts(restarted(silenced, shipped)) == {("low_magnesium", "p1/magnesium", "active", "high")}


def test_a_rule_that_fails_and_is_off_for_it_blinds_no_other_condition() -> None:
    def fails(_view: Any) -> Any:
        raise ZeroDivisionError

    ward = Unit(rules=OFF)
    (risk,) = (risk for risk in ward.settings.risks if risk.rule)
    faulty = replace(risk, rule=replace(magnesium.RULE, find=fails))
    ward.settings = replace(ward.settings, risks=(faulty,))
    ward.replay = Replay(ward.settings)
    ward.lab("magnesium", 1.5, "furlong", at="08:00")
    assert ward.open == {("data_quality", "p1/lab_result:magnesium", "active", "low")}


def test_only_an_accepted_risk_makes_data_quality_read_more() -> None:
    def reads(settings: RuleSettings) -> frozenset[str]:
        return next(rule.reads for rule in settings.rules(PATIENT_RULES) if rule.name == "data_quality")

    assert "rhythm" not in reads(parse_settings(SILENT))
    assert reads(parse_settings({**SILENT, **OFF})) >= magnesium.RULE.reads

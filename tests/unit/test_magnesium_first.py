"""Magnesium, calcium, potassium and orders: every order of arrival leaves the same alerts and texts (R02-R07)."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest

from streams.rules.api import PatientRule
from streams.rules.catalogue import PATIENT_RULES, RuleSettingsError, parse_settings
from tests.rules.table import Case, Runner, moment, stamp
from tests.unit.timeline import Unit

LOW, CHECK, NORMAL = "Magnesium is low:", "Check magnesium: no fresh one is known", "A fresh magnesium is not low:"
POTASSIUM, CALCIUM = "08:00 lab potassium 3.1 mmol/L id=k", "08:10 lab ionized_calcium 0.95 mmol/L id=ca"
ORDER = "08:20 ordered potassium_chloride 600mg oral"


def standing(unit: Unit) -> dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    """What is open, by rule: priority, summary, texts, and the names of the evidence."""
    newest = {alert.alert_id: alert for alert in unit.told}
    return {
        alert.rule: (
            str(alert.priority),
            alert.summary,
            tuple(item.text for item in alert.guidance),
            tuple(item.name for item in alert.evidence),
        )
        for alert in newest.values()
        if alert.status.is_open
    }


def play(*lines: str) -> Unit:
    return Runner(Case("", "", lines, ())).run().unit


@pytest.mark.parametrize(
    ("magnesium", "gate", "also"),
    [
        ("08:30 lab magnesium 1.5 mg/dL id=mg", LOW, {"low_magnesium", "replacement_before_magnesium"}),
        ("08:30 lab magnesium 2.0 mg/dL id=mg", NORMAL, set()),
        ("08:30 lab magnesium 2.0 g/dL id=mg", CHECK, {"magnesium_unknown", "data_quality"}),
        ("08:30 lab magnesium 2.0 mg/dL id=mg preliminary", CHECK, {"magnesium_unknown"}),
    ],
)
def test_every_order_of_arrival_leaves_the_same_alerts_and_texts(magnesium: str, gate: str, also: set[str]) -> None:
    found = []
    for lines in permutations((POTASSIUM, CALCIUM, magnesium, ORDER)):
        arrived = [moment("09:00") + timedelta(seconds=place) for place in range(len(lines))]
        unit = play(*(f"{line} received={stamp(at)}" for line, at in zip(lines, arrived, strict=True)))
        found.append(standing(unit))
    assert all(one == found[0] for one in found)
    assert found[0].keys() == {"low_potassium", "low_ionized_calcium"} | also
    for rule in ("low_potassium", "low_ionized_calcium"):
        assert found[0][rule][2][0].startswith(gate)


def gates(unit: Unit, rule: str) -> set[str]:
    texts = standing(unit)[rule][2]
    return {gate for gate in (LOW, CHECK, NORMAL) if any(text.startswith(gate) for text in texts)}


@pytest.mark.parametrize(("low", "rule"), [(POTASSIUM, "low_potassium"), (CALCIUM, "low_ionized_calcium")])
def test_a_corrected_magnesium_rewords_what_stands(low: str, rule: str) -> None:
    unit = play(low)
    assert gates(unit, rule) == {CHECK}
    unit.lab("magnesium", 1.9, at="08:30", name="mg")
    assert gates(unit, rule) == {NORMAL}
    unit.lab("magnesium", 1.5, at="08:30", name="mg", status="corrected", reported="09:00")
    assert gates(unit, rule) == {LOW}
    unit.lab("magnesium", 1.7, at="08:30", name="mg", status="corrected", reported="10:00")
    assert gates(unit, rule) == {NORMAL}
    unit.lab("magnesium", None, at="08:30", name="mg", status="entered_in_error", reported="11:00")
    assert gates(unit, rule) == {CHECK}


def test_an_old_low_magnesium_is_both_low_and_to_be_checked() -> None:
    unit = play("08:00 lab magnesium 1.5 mg/dL", "d3 08:00 lab potassium 3.1 mmol/L")
    assert gates(unit, "low_potassium") == {LOW, CHECK}


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("08:30 lab potassium 2.7 mmol/L", "low_potassium"),
        ("08:30 lab ionized_calcium 0.7 mmol/L", "low_ionized_calcium"),
    ],
)
@pytest.mark.parametrize("magnesium", ["08:00 lab magnesium 0.8 mg/dL", "08:40 lab magnesium 0.8 mg/dL", ""])
def test_a_critical_value_is_high_whatever_magnesium_is_and_says_so(line: str, rule: str, magnesium: str) -> None:
    unit = play(*(one for one in (magnesium, line) if one))
    priority, _, texts, _ = standing(unit)[rule]
    assert priority == "high"
    assert any("its protocol is not delayed by magnesium" in text for text in texts)
    raised = next(alert for alert in unit.told if alert.rule == rule)
    assert (raised.transition, raised.priority, raised.at) == ("raised", "high", max(moment("08:30"), raised.at))


def test_the_evidence_keeps_the_order_of_correction() -> None:
    unit = play(
        "08:00 lab magnesium 1.5 mg/dL",
        "10:00 administered magnesium_oxide 400mg oral",
        "09:00 administered potassium_chloride 600mg oral received=10:30",
        "11:00 ordered calcium_gluconate 1000mg iv",
        "14:00 lab magnesium 1.9 mg/dL",
    )
    last = [alert for alert in unit.told if alert.rule == "replacement_before_magnesium"][-1]
    assert last.transition == "resolved"
    assert [item.name for item in last.evidence] == [
        "magnesium",
        "potassium chloride administered",
        "magnesium oxide administered",
        "calcium gluconate ordered",
    ]


def test_the_gate_makes_no_circle() -> None:
    by_name: dict[str, PatientRule] = {rule.name: rule for rule in PATIENT_RULES}
    for rule in ("low_potassium", "low_ionized_calcium"):
        assert "holds:magnesium_unknown" not in by_name[rule].reads


def test_a_site_sets_how_old_a_magnesium_may_be() -> None:
    rules = {"magnesium_unknown": {"fresh_hours": 48.0}}
    lines = ("08:00 lab magnesium 2.0 mg/dL", "d3 08:00 lab potassium 3.1 mmol/L")
    unit = Runner(Case("", "", lines, (), rules=rules)).run().unit
    assert gates(unit, "low_potassium") == {NORMAL}
    assert "magnesium_unknown" not in standing(unit)


def test_the_switch_for_continuous_citrate_needs_who_accepts_it() -> None:
    with pytest.raises(RuleSettingsError, match=r"site.continuous_citrate: .* less is called high"):
        parse_settings({"site": {"continuous_citrate": True}})
    accepted = {"continuous_citrate": True, "accept_risk": "Dr Roe: citrate in continuous treatment"}
    assert parse_settings({"site": accepted}).continuous_citrate


@pytest.mark.parametrize(("route", "counts"), [("IV", True), ("i.v.", True), ("Intravenous", True), ("oral", False)])
def test_routes_are_read_as_people_write_them(route: str, counts: bool) -> None:
    unit = Unit(watch="iv_magnesium_during_dialysis")
    unit.session(at="08:00")
    dose = {"order_id": "o1", "drug": "magnesium sulfate", "action": "administered"}
    unit.send("medication", "09:00", route=route, **dose)
    assert bool(unit.watched) is counts


def test_without_a_route_the_name_tells() -> None:
    unit = Unit(watch="iv_magnesium_during_dialysis")
    unit.session(at="08:00")
    unit.send("medication", "09:00", order_id="o1", drug="magnesium sulfate", action="administered")
    assert unit.watched == []
    unit.send("medication", "09:05", order_id="o2", drug="magnesium sulfate injection", action="administered")
    assert [alert.priority for alert in unit.watched] == ["high"]

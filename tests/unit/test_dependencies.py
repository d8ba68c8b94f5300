"""Rules that ask for another rule's condition: order, circles, restarts, and what a person's answer leaves alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from streams.engine.dependencies import RuleCircleError, in_order
from streams.rules.api import PatientRule
from streams.rules.catalogue import PATIENT_RULES
from streams.rules.inputs import holds
from tests.unit.timeline import Unit

BY_NAME = {rule.name: rule for rule in PATIENT_RULES}
MAGNESIUM_FIRST = "Magnesium is low"


def asking(name: str, *others: str) -> PatientRule:
    return replace(BY_NAME["low_magnesium"], name=name, inputs=tuple(holds(other) for other in others))


def test_a_rule_comes_after_those_it_asks() -> None:
    rules = [asking("a", "b"), asking("b", "c"), asking("c"), asking("d")]
    for order in permutations(rules):
        places = {rule.name: place for place, rule in enumerate(in_order(order))}
        assert places["c"] < places["b"] < places["a"]


def test_rules_that_depend_on_nothing_keep_their_order() -> None:
    rules = [asking("z"), asking("y"), asking("x")]
    assert in_order(rules) == tuple(rules)


def test_a_circle_is_refused_and_named() -> None:
    with pytest.raises(RuleCircleError, match="in a circle: a, b"):
        in_order([asking("a", "b"), asking("b", "a"), asking("c")])


def test_the_shipped_rules_have_an_order() -> None:
    names = [rule.name for rule in in_order(PATIENT_RULES)]
    assert names.index("low_magnesium") < names.index("low_potassium")


def low_potassium(unit: Unit) -> str:
    return unit.watched[-1].guidance[0].text


@pytest.mark.parametrize("restart", [False, True])
def test_what_a_person_resolves_still_holds(restart: bool) -> None:
    """A person's answer ends an alert; the magnesium stays as low as it was measured."""
    unit = Unit(watch="low_potassium")
    unit.lab("magnesium", 1.5, at="08:00")
    (magnesium,) = unit.told
    unit.respond(magnesium, "resolve", at="08:10")
    if restart:
        unit.restart()
    unit.lab("potassium", 3.1, "mmol/L", at="09:00")
    assert low_potassium(unit).startswith(MAGNESIUM_FIRST)


def test_a_rule_that_is_off_holds_nothing() -> None:
    off = {"low_magnesium": {"enabled": False, "accept_risk": "a test"}}
    unit = Unit(watch="low_potassium", rules=off)
    unit.lab("magnesium", 1.5, at="08:00")
    unit.lab("potassium", 3.1, "mmol/L", at="09:00")
    assert not low_potassium(unit).startswith(MAGNESIUM_FIRST)


def test_a_patient_who_left_holds_nothing_and_who_comes_back_does() -> None:
    unit = Unit(watch="low_potassium")
    unit.lab("magnesium", 1.5, at="08:00")
    unit.send("patient_profile", "09:00", status="transferred")
    assert unit.replay._patients.states["p1"].conditions == {}
    unit.send("patient_profile", "10:00", status="active")
    unit.lab("potassium", 3.1, "mmol/L", at="11:00")
    assert low_potassium(unit).startswith(MAGNESIUM_FIRST)


def test_a_record_that_begins_anew_holds_nothing() -> None:
    unit = Unit(watch="low_potassium")
    unit.lab("magnesium", 1.5, at="08:00")
    partition = unit.replay._patients
    state = partition.states["p1"]
    assert state.conditions
    partition.begin_anew(state)
    assert state.conditions == {}

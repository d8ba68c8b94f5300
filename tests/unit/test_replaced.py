"""Corrections that a laboratory sends under new ids (`replaces`): chains and circles, in any order."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.unit.timeline import Unit

#: A result and its correction under another id, twice; the time is that of the arrival.
CHAIN = [("r1", None, 1.4, "08:30"), ("r2", "r1", 1.5, "08:40"), ("r3", "r2", 2.0, "08:50")]
CIRCLE = [("r1", "r3", 1.4, "08:30"), ("r2", "r1", 1.5, "08:40"), ("r3", "r2", 2.0, "08:50")]


def said(of: list[tuple[str, str | None, float, str]], watch: str | None = None) -> Unit:
    ward = Unit(watch=watch)
    for name, replaces, value, received in of:
        ward.lab("magnesium", value, at="08:00", name=name, replaces=replaces, received=received)
    return ward


def rules(ward: Unit) -> list[str]:
    return sorted(rule for rule, *_ in ward.open)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_the_last_of_a_chain_stands(order: tuple[int, ...]) -> None:
    low = said([CHAIN[number] for number in order])
    assert rules(low) == []
    low.lab("magnesium", 1.3, at="08:00", name="r4", replaces="r3", received="09:00")
    assert rules(low) == ["low_magnesium"]


def test_an_alert_ends_because_its_result_was_replaced() -> None:
    ward = said([CHAIN[0]], watch="low_magnesium")
    ward.expect("08:30", "raised")
    ward.lab("magnesium", 2.0, at="08:00", name="r2", replaces="r1", received="08:40")
    ward.expect("08:40", "withdrawn", reason="result_replaced")
    ward.expect_nothing_more()


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_results_that_replace_each_other_all_count_and_it_is_said_once(order: tuple[int, ...]) -> None:
    ward = said([CIRCLE[number] for number in order], watch="data_quality")
    told = ward.watched
    assert [alert.summary for alert in told] == [
        "Results of magnesium replace each other in a circle of 3; all of them count"
    ]
    ward.clock("d3 08:00")
    assert [str(alert.transition) for alert in ward.watched] == ["raised", "resolved"]


def test_a_result_that_replaces_itself_is_a_result() -> None:
    ward = said([("r1", "r1", 1.4, "08:30")])
    assert rules(ward) == ["low_magnesium"]


def test_a_result_replaces_those_of_its_own_analyte_only() -> None:
    ward = said([("panel", None, 1.4, "08:30")])
    ward.lab("potassium", 4.5, "mmol/L", at="08:00", name="k2", replaces="panel", received="08:40")
    assert rules(ward) == ["low_magnesium"]

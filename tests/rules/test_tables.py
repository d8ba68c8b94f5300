"""Every case of the tables and what follows from it: order, repeats, restarts, corrections; and the bounds of bands."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import islice, permutations
from pathlib import Path
from typing import Any

import pytest

from models.events import Comparator
from streams.rules.catalogue import ALL_RULES
from streams.rules.shapes.bands import Band, BandRule
from tests.rules.table import Case, Runner, can_be_wrong, cases, is_input, last_time, moment, stamp
from tests.unit.timeline import Unit

CASES = cases()
ROOT = Path(__file__).resolve().parents[2]
BANDS = [
    (rule, band, unit)
    for rule in ALL_RULES
    if isinstance(rule, BandRule)
    for band in rule.bands
    for unit in band.bounds
]
#: Orders of arrival that are tried of one case.
_ORDERS = 24


def ids(case: Case) -> str:
    """In ASCII: mutmut does not find a test again whose id pytest has escaped."""
    return str(case).encode("ascii", "xmlcharrefreplace").decode()


def check(runner: Runner) -> None:
    assert runner.unmet() == []


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_advice_names_its_basis_and_orders_nothing(case: Case) -> None:
    advice = [advice for alert in Runner(case).run().unit.told for advice in alert.guidance]
    assert all(item.basis for item in advice)
    assert not any(item.text.lower().startswith("give") for item in advice)


def opened(runner: Runner) -> set[tuple[str, str, str, str]]:
    return {alert for alert in runner.unit.open if alert[0] == runner.case.rule}


def end_of(case: Case) -> str:
    """A time after every event of a case and before any deadline that it does not wait for."""
    return case.until or max(map(last_time, case.events), key=moment)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_case(case: Case) -> None:
    check(Runner(case).run())


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_every_event_twice(case: Case) -> None:
    runner, numbers = Runner(case), {"lab": 0, "symptom": 0}
    for line in case.events:
        runner.play(line)
        kind = next((kind for kind in numbers if f" {kind} " in line), None)
        if kind is not None:
            if " id=" not in line:
                numbers[kind] += 1
                runner.play(line, id=f"{kind}{numbers[kind]}")
            else:
                runner.play(line)
        elif is_input(line):
            runner.play(line)
    if case.until:
        runner.unit.clock(case.until)
    check(runner)


def restarted(case: Case, cuts: set[int]) -> Runner:
    """A case with a restart before each event of these numbers; the number after the last is the end."""
    runner = Runner(case)
    for number, line in enumerate(case.events):
        if number in cuts:
            runner.unit.restart()
        runner.play(line)
    if len(case.events) in cuts:
        runner.unit.restart()
    if case.until:
        runner.unit.clock(case.until)
    return runner


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_restart_between_any_two_events(case: Case) -> None:
    """And one between all of them, because a state that was stored twice must still say the same."""
    every = set(range(len(case.events) + 1))
    for cuts in ({cut} for cut in every):
        check(restarted(case, cuts))
    check(restarted(case, every))


def in_order(case: Case, order: tuple[int, ...]) -> Runner:
    """The inputs of a case in some order, all of them a minute apart after its last event; the rest goes first."""
    runner = Runner(case)
    inputs = [line for line in case.events if is_input(line)]
    for line in case.events:
        if not is_input(line):
            runner.play(line)
    start = moment(end_of(case))
    names = {number: f"input{number}" for number in range(len(inputs))}
    for place, number in enumerate(order):
        line = inputs[number]
        changed = {} if " id=" in line or not can_be_wrong(line) else {"id": names[number]}
        runner.play(line, received=stamp(start + timedelta(seconds=place)), **changed)
    runner.unit.clock(start + timedelta(minutes=1))
    return runner


@pytest.mark.parametrize("case", [case for case in CASES if " answer " not in "".join(case.events)], ids=ids)
def test_no_order_of_arrival_changes_what_is_open(case: Case) -> None:
    count = sum(map(is_input, case.events))
    outcomes = {frozenset(opened(in_order(case, order))) for order in islice(permutations(range(count)), _ORDERS)}
    assert len(outcomes) == 1, outcomes


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_what_was_entered_in_error_counts_for_nothing(case: Case) -> None:
    inputs = [number for number, line in enumerate(case.events) if can_be_wrong(line) and " id=" not in line]
    for number in inputs:
        line = case.events[number]
        if any(word in line for word in ("cancelled", "entered_in_error", "corrected", " - ")):
            continue
        named = replace(case, events=(*case.events[:number], f"{line} id=wrong", *case.events[number + 1 :]))
        taken_back = Runner(named).run()
        end = stamp(moment(end_of(case)) + timedelta(seconds=30))
        taken_back.play(line, id="wrong", status="entered_in_error", received=end, **_reported(line, end))
        without = Runner(replace(case, events=(*case.events[:number], *case.events[number + 1 :])))
        if " answer " in "".join(case.events):
            continue  # who is answered depends on what was told
        without.run()
        without.unit.clock(moment(end_of(case)) + timedelta(seconds=30))
        assert {alert[2:] for alert in opened(taken_back)} == {alert[2:] for alert in opened(without)}, line


def _reported(line: str, end: str) -> dict[str, str]:
    return {"reported": end} if " lab " in line else {}


def test_every_rule_has_cases() -> None:
    assert {case.rule for case in CASES} == {rule.name for rule in ALL_RULES}


def test_no_two_cases_share_a_name() -> None:
    assert len({str(case) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("rule", [rule for rule in ALL_RULES if isinstance(rule, BandRule)], ids=lambda rule: rule.name)
def test_a_rule_of_a_shape_is_named_in_one_module(rule: BandRule) -> None:
    """Adding one touches its family's module and its table, and nothing else that a person writes."""
    naming = [
        path.name
        for folder in ("engine", "rules", "worker", "commands")
        for path in (ROOT / "streams" / folder).rglob("*.py")
        if f'"{rule.name}"' in path.read_text(encoding="utf-8").replace(f'holds("{rule.name}")', "")
    ]
    assert len(naming) == 1


# -- bands ------------------------------------------------------------------------------------------------------------


def priorities(rule: BandRule, value: float, unit: str, **fields: Any) -> list[str]:
    """What a single result raises."""
    ward = Unit(watch=rule.name)
    ward.lab(str(rule.analyte), value, unit, at="08:00", **fields)
    return [str(alert.priority) for alert in ward.watched]


def reached(rule: BandRule, value: float, unit: str) -> list[str]:
    """What the bands say, without the rule."""
    found = []
    for band in rule.bands:
        bound = band.bounds[unit]
        beyond = value > bound if rule.above else value < bound
        if beyond or (band.closed and value == bound):
            found = [str(band.priority)]
    return found


@pytest.mark.parametrize(("rule", "band", "unit"), BANDS, ids=lambda it: getattr(it, "name", str(it)))
def test_the_bound_and_a_step_beside_it(rule: BandRule, band: Band, unit: str) -> None:
    bound = band.bounds[unit]
    for value in (bound, float(f"{bound * 1.001:.6g}"), float(f"{bound * 0.999:.6g}")):
        assert priorities(rule, value, unit) == reached(rule, value, unit)


@pytest.mark.parametrize(("rule", "band", "unit"), BANDS, ids=lambda it: getattr(it, "name", str(it)))
def test_a_comparator_counts_for_what_is_certain(rule: BandRule, band: Band, unit: str) -> None:
    bound = band.bounds[unit]
    outwards, inwards = (Comparator.GT, Comparator.LT) if rule.above else (Comparator.LT, Comparator.GT)
    assert priorities(rule, bound, unit, comparator=str(outwards))[0] == str(band.priority)
    mildest = rule.bands[0].bounds[unit]
    assert priorities(rule, mildest, unit, comparator=str(inwards)) == []


@pytest.mark.parametrize(("rule", "band", "unit"), BANDS, ids=lambda it: getattr(it, "name", str(it)))
def test_a_preliminary_result_counts_in_the_critical_band(rule: BandRule, band: Band, unit: str) -> None:
    value = float(f"{band.bounds[unit] * (1.001 if rule.above else 0.999):.6g}")
    expected = reached(rule, value, unit) if band.critical else []
    assert priorities(rule, value, unit, status="preliminary") == expected

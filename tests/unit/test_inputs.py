"""A rule reads what it declares and nothing else, and declares nothing that it does not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

import pytest

from models.analytes import Analyte
from models.events import SymptomKind
from models.parsing import Parsed
from models.state import StateCodec
from streams.engine.replay import Replay, parse_line
from streams.rules.api import Limits, PatientRule, PatientView, Rule, UndeclaredInputError, View
from streams.rules.catalogue import ALL_RULES, PATIENT_RULES, RuleSettings, default_settings
from streams.rules.facts import labs
from streams.rules.inputs import ANY_LAB, ANY_SYMPTOM, HELD, SESSION, lab, result_facets, shown, symptom
from tests.contract.corpus import Case, cases
from tests.rules import table
from tests.unit.timeline import FIRST_DAY, Unit

SETTINGS = default_settings()


@cache
def moments() -> list[tuple[Any, datetime]]:
    """Patients and loops as they stood at many moments: of the corpus' longest cases, and of every case of a table."""
    long = [moment for case in cases() if case.name.startswith("random/400") for moment in _moments(case)]
    return long + [moment for case in table.cases() for moment in _moments_of_table(case)]


def _moments_of_table(case: table.Case) -> Iterator[tuple[Any, datetime]]:
    """After each of the last events, since the first ones only make the scene, and at the end."""
    runner = table.Runner(case)
    for number, line in enumerate(case.events):
        runner.play(line)
        if number >= len(case.events) - 3:
            yield from _stand(runner.unit.replay)
    if case.until:
        runner.unit.clock(case.until)
        yield from _stand(runner.unit.replay)


def _moments(case: Case) -> Iterator[tuple[Any, datetime]]:
    replay = Replay(SETTINGS)
    for number, line in enumerate(case.lines):
        parsed = parse_line(line.encode())
        if isinstance(parsed, Parsed):
            list(replay.take(parsed))
        if number % 10 == 0:
            yield from _stand(replay)


def _stand(replay: Replay) -> Iterator[tuple[Any, datetime]]:
    for partition in (replay._patients, replay._loops):
        for state in partition.states.values():
            yield _copy(state), partition.now


def _copy(state: Any) -> Any:
    codec = StateCodec(type(state))
    return codec.decode(codec.encode(state))


def ask(rule: Rule[Any], settings: RuleSettings = SETTINGS) -> None:
    """Ask a rule about every subject of its kind."""
    loop = rule.family == "unit"
    for state, now in moments():
        if hasattr(state, "labs") is not loop:
            list(rule.find(View(state, now, settings, rule)))


@pytest.mark.parametrize("rule", ALL_RULES, ids=[rule.name for rule in ALL_RULES])
def test_a_rule_declares_what_it_reads(rule: Rule[Any]) -> None:
    ask(rule)


@pytest.mark.parametrize(
    ("rule", "number"),
    [(rule, number) for rule in ALL_RULES for number in range(len(rule.inputs))],
    ids=lambda it: it.name if isinstance(it, Rule) else str(it),
)
def test_without_one_of_its_inputs_a_rule_is_refused(rule: Rule[Any], number: int) -> None:
    fewer = replace(rule, inputs=(*rule.inputs[:number], *rule.inputs[number + 1 :]))
    with pytest.raises(UndeclaredInputError, match="add that to its inputs"):
        ask(fewer)


@pytest.mark.parametrize("rule", [rule for rule in PATIENT_RULES if rule.needs], ids=lambda rule: rule.name)
def test_without_what_it_needs_a_rule_finds_nothing_and_waits_for_nothing(rule: PatientRule) -> None:
    asked = 0
    for kept, now in moments():
        if hasattr(kept, "labs"):
            state = _copy(kept)
            state.alerts.clear()
            for kind in rule.needed:
                if kind == "patient_profile":
                    state.profile = None
                else:
                    HELD[kind](state).clear()
            view = View(state, now, SETTINGS, rule)
            assert list(rule.find(view)) == []
            assert view.next_look is None
            asked += 1
    assert asked > 100


def test_a_rule_with_a_look_is_asked_when_its_input_changes_though_what_it_needs_is_gone() -> None:
    unit = Unit()
    unit.symptom("cramp", at="08:00")
    (state,) = unit.replay._patients.states.values()
    assert "symptom_workup_incomplete" in state.looks
    state.symptoms.clear()
    finder = unit.replay._patients._evaluator._finder
    for facets, expected in ((symptom(SymptomKind.CRAMP).facets, True), (SESSION.facets, False)):
        view: PatientView = View(state, FIRST_DAY, SETTINGS, changed=facets)
        assert ("symptom_workup_incomplete" in [found.rule.name for found in finder.find(view, facets)]) is expected
        assert "intradialytic_cramp" not in [found.rule.name for found in finder.find(view, facets)]


def test_the_error_names_what_is_missing() -> None:
    rule = PatientRule("x", 1, "x", "", "x", (lab(Analyte.SODIUM),), Limits, lambda _view: ())
    unit = Unit()
    unit.lab("sodium", 140, "mmol/L", at="08:00")
    view: PatientView = View(unit.replay._patients.states["p1"], FIRST_DAY, SETTINGS, rule)
    assert [result.value for result in labs.results(view, Analyte.SODIUM)] == [140]
    with pytest.raises(UndeclaredInputError, match="lab_result:potassium"):
        labs.results(view, Analyte.POTASSIUM)


def test_a_result_wakes_what_reads_its_analyte() -> None:
    assert result_facets(Analyte.MAGNESIUM) & lab(Analyte.MAGNESIUM).facets
    assert not result_facets(Analyte.POTASSIUM) & lab(Analyte.MAGNESIUM).facets
    for analyte in (None, *Analyte):
        assert result_facets(analyte) & ANY_LAB.facets


def test_facts_are_worked_out_once_a_moment() -> None:
    unit = Unit()
    unit.lab("magnesium", 1.5, at="08:00")
    view: PatientView = View(unit.replay._patients.states["p1"], FIRST_DAY, SETTINGS)
    assert labs.results(view, Analyte.MAGNESIUM) is labs.results(view, Analyte.MAGNESIUM)


def test_two_rules_may_share_a_class_of_thresholds() -> None:
    low = next(rule for rule in ALL_RULES if rule.name == "low_magnesium")
    other = replace(low, name="other")
    found = replace(SETTINGS, by_rule={**SETTINGS.by_rule, "other": low.limits.model_validate({"qtc_ms": 470})})
    assert [found.limits(rule.name, low.limits) == low.limits() for rule in (low, other)] == [True, False]


def test_inputs_are_shown_by_kind() -> None:
    inputs = (lab(Analyte.SODIUM, Analyte.MAGNESIUM), symptom(SymptomKind.CRAMP), SESSION)
    assert shown(inputs) == ["lab_result (magnesium, sodium)", "session", "symptom (cramp)"]
    assert shown((ANY_LAB, ANY_SYMPTOM)) == ["lab_result", "symptom"]

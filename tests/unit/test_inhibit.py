"""Inhibition: the lesser alert is linked and lowered while the greater one is open, and comes up when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import msgspec
import pytest

from models.alerts import AlertRecord, Priority, Reason, Status
from models.state import SCHEMA_VERSION, AlertState, PatientState
from models.state.migrations import NEVER
from streams.engine.factory import patient_partition
from streams.engine.inhibit import inhibit
from streams.rules.api import Finding, PatientRule
from streams.rules.catalogue import ALL_RULES, PATIENT_RULES, default_settings
from streams.rules.inhibition import Inhibition
from tests.unit.timeline import FIRST_DAY, Unit, moment, stamp, to_line

MAGNESIUM, POTASSIUM = "low_magnesium", "low_potassium"
PAIRS = [(rule, each) for rule in PATIENT_RULES for each in rule.yields_to]


def newest(unit: Unit, rule: str) -> AlertRecord:
    return [alert for alert in unit.told if alert.rule == rule][-1]


def both(unit: Unit) -> None:
    unit.lab("potassium", 3.1, "mmol/L", at="08:00", name="k")
    unit.lab("magnesium", 1.5, at="08:30", name="mg")


def test_the_two_alerts_name_each_other() -> None:
    unit = Unit()
    both(unit)
    greater, lesser = newest(unit, MAGNESIUM), newest(unit, POTASSIUM)
    assert (lesser.transition, lesser.reason, lesser.priority) == ("deescalated", "inhibited", "low")
    assert lesser.inhibited_by == [greater.alert_id]
    assert greater.inhibits == [lesser.alert_id]
    assert greater.priority == "medium"


def test_the_end_of_the_greater_brings_the_lesser_up() -> None:
    unit = Unit()
    both(unit)
    unit.lab("magnesium", 2.0, at="09:30")
    greater, lesser = newest(unit, MAGNESIUM), newest(unit, POTASSIUM)
    assert (lesser.transition, lesser.reason, lesser.priority) == ("escalated", "inhibition_ended", "medium")
    assert lesser.inhibited_by == []
    assert (greater.transition, greater.inhibits) == ("resolved", [])


def test_the_end_of_the_lesser_is_shown_by_the_greater() -> None:
    unit = Unit()
    both(unit)
    unit.lab("potassium", 4.5, "mmol/L", at="09:30")
    greater = newest(unit, MAGNESIUM)
    assert (greater.transition, greater.reason, greater.inhibits) == ("updated", "evidence_changed", [])


def test_a_person_who_ends_the_greater_brings_the_lesser_up() -> None:
    unit = Unit()
    both(unit)
    unit.respond(newest(unit, MAGNESIUM), "resolve", at="09:00")
    lesser = newest(unit, POTASSIUM)
    assert (lesser.transition, lesser.reason, lesser.priority) == ("escalated", "inhibition_ended", "medium")
    assert unit.open == {(POTASSIUM, "p1/potassium", "active", "medium")}


def test_who_acknowledged_it_lowered_has_answered_it() -> None:
    """Whether the greater alert came before or after the answer must not matter: no order of arrival does."""
    unit = Unit()
    both(unit)
    unit.respond(newest(unit, POTASSIUM), "acknowledge", at="08:40")
    assert newest(unit, POTASSIUM).status == "acknowledged"
    unit.lab("magnesium", 2.0, at="09:30")
    lesser = newest(unit, POTASSIUM)
    assert (lesser.status, lesser.priority, lesser.reason) == ("acknowledged", "medium", "inhibition_ended")


def test_a_high_one_is_never_touched() -> None:
    unit = Unit()
    unit.lab("magnesium", 1.5, at="08:00")
    unit.lab("potassium", 2.5, "mmol/L", at="08:30")
    lesser = newest(unit, POTASSIUM)
    assert (lesser.priority, lesser.inhibited_by, lesser.reason) == ("high", [], "condition_met")


def test_it_survives_a_restart_on_both_sides() -> None:
    unit = Unit()
    both(unit)
    unit.restart()
    before = len(unit.told)
    unit.lab("sodium", 140, "mmol/L", at="09:00")
    assert len(unit.told) == before
    unit.restart()
    unit.lab("magnesium", 2.0, at="09:30")
    assert newest(unit, POTASSIUM).reason == "inhibition_ended"


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_no_order_changes_what_is_open(order: tuple[int, ...]) -> None:
    labs = [
        ("potassium", 3.1, "mmol/L"),
        ("magnesium", 2.1, "mg/dL"),
        ("magnesium", 1.5, "mg/dL"),
        ("potassium", 3.3, "mmol/L"),
    ]
    times = ["08:00", "08:05", "08:10", "08:15"]
    unit = Unit()
    for place, number in enumerate(order):
        analyte, value, measured = labs[number]
        unit.lab(analyte, value, measured, at=times[number], name=f"r{number}", received=f"09:0{place}")
    assert unit.open == {
        (MAGNESIUM, "p1/magnesium", "active", "medium"),
        (POTASSIUM, "p1/potassium", "active", "low"),
    }


def test_a_pair_may_hold_back_instead() -> None:
    """A lesser alert that is held back is raised when the greater one ends; one that is open stays open."""
    rules = tuple(
        replace(rule, yields_to=(Inhibition(MAGNESIUM, "a test", holds_back=True),)) if rule.name == POTASSIUM else rule
        for rule in PATIENT_RULES
    )
    partition = patient_partition(default_settings(), timedelta(minutes=15), rules=rules)

    def lab(analyte: str, value: float, unit: str, at: str) -> list[str]:
        fields: dict[str, Any] = {"type": "lab_result", "patient_id": "p1", "result_id": at, "analyte": analyte}
        fields |= {"value": value, "unit": unit, "at": moment(at).isoformat()}
        record = to_line(fields).record
        told = [one.alert for one in partition.advance(moment(at))]
        told += partition.take("p1", record, moment(at))[2]
        return [f"{alert.transition} {alert.priority}" for alert in told if alert.rule == POTASSIUM]

    assert moment("08:00") > FIRST_DAY
    assert lab("magnesium", 1.5, "mg/dL", "08:00") == []
    assert lab("potassium", 3.1, "mmol/L", "08:10") == []
    assert lab("magnesium", 2.0, "mg/dL", "09:00") == ["raised medium"]
    assert lab("magnesium", 1.5, "mg/dL", "10:00") == ["deescalated low"]


def test_a_high_one_is_not_held_back() -> None:
    rule = replace(
        next(rule for rule in PATIENT_RULES if rule.name == POTASSIUM),
        yields_to=(Inhibition(MAGNESIUM, "a test", holds_back=True),),
    )
    state = under(MAGNESIUM)
    assert inhibit(state, rule, [finding(Priority.HIGH)]) == [finding(Priority.HIGH)]
    assert inhibit(state, rule, [finding(Priority.MEDIUM)]) == []
    assert inhibit(under(), rule, [finding(Priority.MEDIUM)]) == [finding(Priority.MEDIUM)]


def test_one_that_begins_under_the_greater_says_so_at_once() -> None:
    unit = Unit()
    unit.lab("magnesium", 1.5, at="08:00", name="mg")
    unit.lab("potassium", 3.1, "mmol/L", at="08:30", name="k")
    greater, lesser = newest(unit, MAGNESIUM), newest(unit, POTASSIUM)
    assert (lesser.transition, lesser.reason, lesser.priority) == ("raised", "inhibited", "low")
    assert (lesser.inhibited_by, greater.inhibits) == ([greater.alert_id], [lesser.alert_id])


def test_it_comes_up_when_the_last_of_two_greater_ones_has_ended() -> None:
    rule = replace(
        next(rule for rule in PATIENT_RULES if rule.name == POTASSIUM),
        yields_to=(Inhibition(MAGNESIUM, "a test"), Inhibition("seizure", "another", lower_by=2)),
    )
    both_open, one_open = under(MAGNESIUM, "seizure"), under(MAGNESIUM)
    (lowest,) = inhibit(both_open, rule, [finding(Priority.MEDIUM)])
    (low,) = inhibit(one_open, rule, [finding(Priority.MEDIUM)])
    assert isinstance(lowest, Finding)
    assert isinstance(low, Finding)
    assert (lowest.priority, lowest.inhibited_by) == (Priority.INFO, (MAGNESIUM, "seizure"))
    assert (low.priority, low.inhibited_by) == (Priority.LOW, (MAGNESIUM,))


def test_a_greater_one_that_is_over_lowers_nothing() -> None:
    state = under(MAGNESIUM)
    state.alerts[MAGNESIUM].over_at = moment("09:00")
    (rule,) = (rule for rule in PATIENT_RULES if rule.name == POTASSIUM)
    assert inhibit(state, rule, [finding(Priority.MEDIUM)]) == [finding(Priority.MEDIUM)]


@pytest.mark.parametrize(("rule", "pair"), PAIRS, ids=[f"{rule.name} under {pair.by}" for rule, pair in PAIRS])
def test_every_pair_of_the_catalogue(rule: PatientRule, pair: Inhibition) -> None:
    """Linked, lowered or held back, never a high one; the greater rule exists, and a reason is given for people."""
    assert pair.by in {each.name for each in ALL_RULES} - {rule.name}
    assert pair.why
    assert not pair.why.endswith(".")
    assert pair.lower_by >= 1
    state = under(pair.by)
    rule = replace(rule, yields_to=(replace(pair, applies=None, least=Priority.INFO),))  # tables show both
    for priority in Priority:
        found = inhibit(state, rule, [finding(priority)])
        if priority is Priority.HIGH:
            assert found == [finding(priority)]
        elif pair.holds_back:
            assert found == []
        else:
            (lowered,) = found
            assert isinstance(lowered, Finding)
            assert lowered.priority.rank == max(0, priority.rank - pair.lower_by)
            assert (lowered.inhibited_by, lowered.reason) == ((pair.by,), Reason.INHIBITED)


def finding(priority: Priority) -> Finding:
    at = moment("08:00")
    return Finding("k", ("lab_result:r1",), priority, at, at, at, "a summary", (), ())


def under(*rules: str) -> PatientState:
    """A patient with an open alert of each of some rules; its id is the rule's name."""
    state = PatientState(id="p1", schema_version=SCHEMA_VERSION, heard_at=NEVER)
    for rule in rules:
        state.alerts[rule] = AlertState(
            alert_id=rule,
            rule=rule,
            key="k",
            revision=1,
            status=Status.ACTIVE,
            priority=Priority.MEDIUM,
            onset_at=moment("08:00"),
            at=moment("08:00"),
            value=msgspec.Raw(b""),
            shown="",
            anchors=[],
            grounds=[],
            known_at=moment("08:00"),
            level_known_at=moment("08:00"),
        )
    return state


def rates(unit: Unit, minute: int, rate: float, session: str = "s1") -> None:
    """Six minutes of samples: long enough to count."""
    for second in range(0, 361, 10):
        at = stamp(moment("08:00") + timedelta(minutes=minute, seconds=second))
        unit.telemetry(at=at, session=session, uf_rate_ml_h=rate, blood_flow_ml_min=300.0)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (lambda _lesser, greater: greater == "s1", "low"),
        (lambda lesser, _greater: lesser == "potassium", "low"),
        (lambda _lesser, greater: greater == "s2", "medium"),
        (lambda lesser, _greater: lesser == "sodium", "medium"),
        (None, "low"),
    ],
)
def test_a_pair_may_be_about_some_conditions_alone(pair: Callable[[str, str], bool] | None, expected: str) -> None:
    """`applies` is asked with the keys of both conditions: here of `low_potassium`, and of `uf_rate_high` of s1."""
    yields = Inhibition("uf_rate_high", "a test", applies=pair)
    rules = tuple(
        replace(rule, yields_to=(*rule.yields_to, yields)) if rule.name == POTASSIUM else rule for rule in PATIENT_RULES
    )
    unit = Unit(watch="uf_rate_high")
    unit.replay._patients = patient_partition(unit.settings, timedelta(minutes=15), rules=rules)
    unit.send("patient_profile", "07:00", target_weight_kg=70.0)
    unit.session("s1", at="08:00")
    rates(unit, 1, 1200.0)
    unit.expect("08:06", "raised", priority="medium", session_id="s1")
    unit.lab("potassium", 3.1, "mmol/L", at="08:10")
    lesser = newest(unit, POTASSIUM)
    assert (lesser.priority, bool(lesser.inhibited_by)) == (expected, expected == "low")


def test_a_pair_that_does_not_apply_holds_nothing_back() -> None:
    yields = Inhibition(MAGNESIUM, "a test", holds_back=True, applies=lambda lesser, _greater: lesser != "potassium")
    rules = tuple(replace(rule, yields_to=(yields,)) if rule.name == POTASSIUM else rule for rule in PATIENT_RULES)
    unit = Unit()
    unit.replay._patients = patient_partition(unit.settings, timedelta(minutes=15), rules=rules)
    unit.lab("magnesium", 1.5, at="08:00")
    unit.lab("potassium", 3.1, "mmol/L", at="08:10")
    assert (newest(unit, POTASSIUM).priority, newest(unit, MAGNESIUM).inhibits) == ("medium", [])

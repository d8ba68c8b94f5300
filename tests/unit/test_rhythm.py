"""Rhythms and weights beyond the tables: every order of all messages, floods, arrivals, a factor of another rule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from models.alerts import Priority
from models.state import MAX_EVIDENCE, MAX_OTHERS
from streams.rules.api import Finding, PatientView
from streams.rules.catalogue import default_settings
from streams.rules.rhythm import RISK_RULE
from tests.unit.timeline import Unit, moment, stamp

OURS = {"qtc_prolonged", "arrhythmia_event", "arrhythmia_risk", "interdialytic_weight_gain"}
Message = Callable[[Unit, str], None]


def sent(type_: str, at: str, **fields: Any) -> Message:
    """A message that arrives when it is told to."""
    return lambda unit, received: unit.send(type_, at, received=received, **fields)


#: A treatment with an event in it and one after it, the heart and a QTc: an alert of each of the three rules.
RHYTHM = (
    sent("patient_profile", "07:00", conditions=["cardiomyopathy"]),
    sent("rhythm", "07:30", kind="qtc", qtc_ms=490),
    sent("session_started", "08:00", session_id="s1", machine_id="m1"),
    sent("rhythm", "09:00", kind="pvc_frequent"),
    sent("session_ended", "12:00", session_id="s1"),
    sent("rhythm", "16:00", kind="vt"),
)
WEIGHTS = (
    sent("patient_profile", "07:00", target_weight_kg=70.0),
    sent("session_started", "08:00", session_id="s1", machine_id="m1", pre_weight_kg=75.0),
    sent("session_ended", "12:00", session_id="s1"),
    sent("weight", "12:05", kg=70.0, moment="post"),
    sent("weight", "16:10", kg=73.0, moment="pre"),
    sent("weight", "16:12", kg=74.3, moment="pre"),
)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (
            RHYTHM,
            {
                ("arrhythmia_event", "p1/s1|2026-11-23", "active", "high"),
                ("arrhythmia_risk", "p1/s1", "active", "medium"),
                ("qtc_prolonged", "p1/qtc", "active", "medium"),
            },
        ),
        (WEIGHTS, {("interdialytic_weight_gain", "p1/since:2026-11-23T12:05:00+00:00", "active", "medium")}),
    ],
    ids=["rhythm", "weights"],
)
def test_every_order_of_all_messages_leaves_the_same_alerts(
    messages: tuple[Message, ...], expected: set[tuple[str, str, str, str]]
) -> None:
    for order in permutations(messages):
        unit = Unit()
        for minute, message in enumerate(order):
            message(unit, stamp(moment("16:30") + timedelta(minutes=minute)))
        assert {alert for alert in unit.open if alert[0] in OURS} == expected


def test_premature_beats_push_out_no_tachycardia_and_no_qtc() -> None:
    unit = Unit()
    unit.qtc(490, at="07:30")
    unit.session(at="08:00")
    unit.send("rhythm", "08:30", kind="vt", event_id="grave")
    for number in range(2 * MAX_OTHERS):
        unit.send("rhythm", stamp(moment("09:00") + timedelta(seconds=number)), kind="pvc_frequent")
    (state,) = unit.replay._patients.states.values()
    assert len(state.rhythms) == MAX_OTHERS
    assert {(rule, priority) for rule, _, _, priority in unit.open} == {
        ("arrhythmia_event", "high"),
        ("qtc_prolonged", "medium"),
    }
    newest = unit.told[-1]
    assert newest.rule == "arrhythmia_event"
    assert len(newest.evidence) == MAX_EVIDENCE
    assert newest.evidence[0].id == "grave"


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"type_": "weight", "kg": 73.0, "moment": "pre"}, "interdialytic_weight_gain"),
        ({"type_": "rhythm", "kind": "vt"}, "arrhythmia_event"),
        ({"type_": "rhythm", "kind": "qtc", "qtc_ms": 490}, "qtc_prolonged"),
    ],
    ids=["weight", "event", "qtc"],
)
def test_an_earlier_arrival_that_is_read_later_counts(fields: dict[str, Any], rule: str) -> None:
    """A person who answered between the two arrivals had seen it."""
    unit = Unit(watch=rule)
    unit.send("patient_profile", "07:00", target_weight_kg=70.0)
    unit.send("weight", "07:10", kg=70.0, moment="post")
    unit.send(at="08:00", received="09:00", **fields)
    alert = unit.expect("09:00", "raised")
    unit.send("alert_response", "08:30", received="08:30", alert_id=alert.alert_id, action="acknowledge", by="nurse")
    unit.send(at="08:00", received="08:10", **fields)
    unit.expect("09:00", "acknowledged")
    unit.expect_nothing_more()


def test_arrivals_of_weights_do_not_outlive_them() -> None:
    unit = Unit()
    for number in range(8 * MAX_OTHERS):
        unit.send("weight", stamp(moment("08:00") + timedelta(minutes=number)), kg=70.0, moment="pre")
    (state,) = unit.replay._patients.states.values()
    assert len(state.weights) == MAX_OTHERS
    assert len(state.arrivals) <= 4 * MAX_OTHERS + 8


def test_hypotension_is_a_factor_while_its_rule_finds_it() -> None:
    unit = Unit()
    unit.send("patient_profile", "07:00", conditions=["cardiomyopathy"])
    unit.session(at="08:00")
    (state,) = unit.replay._patients.states.values()
    for held, expected in (({"s1": Priority.MEDIUM}, [Priority.MEDIUM]), ({}, [])):
        state.conditions["intradialytic_hypotension"] = held
        view: PatientView = PatientView(state, moment("09:00"), default_settings(), RISK_RULE)
        found = [one for one in RISK_RULE.find(view) if isinstance(one, Finding)]
        assert [one.priority for one in found] == expected
        assert all("hypotension" in one.summary for one in found)

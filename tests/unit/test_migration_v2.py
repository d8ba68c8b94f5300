"""Records that version 2 stored are taken over: patients with a month behind them and an alert of every rule open.

`data/changelog-v2.jsonl` was written by the last tree of version 2: three patients with 12 sessions and 50 results
each, ended alerts, ids that start anew on another day, standing orders, and answers of people.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from models.alerts import Reason, Status
from models.state import SCHEMA_VERSION, AlertState, LoopState, PatientState, StateCodec
from tests.unit.timeline import Unit

STORED = Path(__file__).parent / "data" / "changelog-v2.jsonl"
RULES = {
    "low_magnesium",
    "aluminum_suspicion",
    "aluminum_level",
    "aluminum_cluster",
    "aluminum_result_overdue",
    "intradialytic_cramp",
    "data_quality",
}
#: What rules that version 2 did not have say of its records.
ADDED = {"arrhythmia_risk", "qtc_prolonged"}


def stored(table: str) -> tuple[datetime, list[bytes]]:
    """The task's clock and the changelog values of a table, as version 2 left them."""
    found: dict[str, tuple[datetime, list[bytes]]] = {}
    values: list[bytes] = []
    for line in STORED.read_text().splitlines():
        entry = json.loads(line)
        if "table" in entry:
            values = []
            found[entry["table"]] = datetime.fromisoformat(entry["now"]), values
        else:
            values.append(entry["value"].encode())
    return found[table]


def upgraded(*, judged_anew: bool) -> Unit:
    """The unit of version 2 in the present program; `judged_anew`: as if its settings had changed, too."""
    # A rule that version 2 did not have may well find something.
    later = ("symptom_workup_incomplete", "recurrent_cramps", "first_month_labs_overdue")
    unit = Unit(calls=True, rules={name: {"enabled": False} for name in later})
    for table, partition, kind in (
        ("patients", unit.replay._patients, PatientState),
        ("loops", unit.replay._loops, LoopState),
    ):
        codec: StateCodec[Any] = StateCodec(kind)
        now, values = stored(table)
        states = [codec.decode(raw) for raw in values]
        for state in states:
            assert state.schema_version == SCHEMA_VERSION
            state.rules = "of other settings" if judged_anew else unit.settings.hash
        partition.now = partition.read_to = now
        unit.told += [told.alert for told in partition.adopt(states)]
    return unit


def held(unit: Unit) -> dict[str, AlertState]:
    """Every open alert, by id."""
    states: list[PatientState | LoopState] = [
        *unit.replay._patients.states.values(),
        *unit.replay._loops.states.values(),
    ]
    return {a.alert_id: a for state in states for a in state.alerts.values() if a.status.is_open}


def held_by_version_2() -> dict[str, dict[str, Any]]:
    alerts = [
        alert
        for table in ("patients", "loops")
        for raw in stored(table)[1]
        for alert in json.loads(raw).get("alerts", {}).values()
    ]
    return {alert["alert_id"]: alert for alert in alerts if Status(alert["status"]).is_open}


def test_every_open_alert_survives_and_nothing_is_told() -> None:
    before = held_by_version_2()
    assert {alert["rule"] for alert in before.values()} == RULES
    assert {alert["status"] for alert in before.values()} == {"active", "acknowledged", "snoozed"}
    unit = upgraded(judged_anew=False)
    unit.clock("d28 08:15")
    unit.expect_nothing_more()
    assert as_held(held(unit).values()) == {
        (a["alert_id"], a["status"], a["priority"], a["revision"]) for a in before.values()
    }


def test_judged_anew_they_keep_their_ids_and_only_what_version_2_misread_is_told() -> None:
    unit = upgraded(judged_anew=True)
    # Rules that version 2 did not have say what its record shows: p1 has a long QTc, and risks beside it.
    unit.expect("d28 08:05", "raised", rule="arrhythmia_risk", patient_id="p1", revision=1)
    unit.expect("d28 08:05", "raised", rule="qtc_prolonged", patient_id="p1", revision=1)
    # Advice has changed since.
    unit.expect("d28 08:07", "updated", rule="aluminum_level", patient_id="p2", revision=4, reason=Reason.SUPERSEDED)
    # Version 2 took a symptom id that starts anew for one of another day.
    unit.expect("d28 08:07", "updated", rule="intradialytic_cramp", patient_id="p2", revision=3)
    unit.expect("d27 17:00", "updated", rule="aluminum_cluster", water_loop_id="loop-a", reason=Reason.SUPERSEDED)
    unit.clock("d28 08:15")
    unit.expect_nothing_more()
    added = [alert for alert in held(unit).values() if alert.rule in ADDED]
    assert sorted((alert.rule, alert.status) for alert in added) == [(rule, "active") for rule in sorted(ADDED)]
    assert {(alert.alert_id, alert.status) for alert in held(unit).values() if alert not in added} == {
        (alert["alert_id"], alert["status"]) for alert in held_by_version_2().values()
    }


def as_held(alerts: Iterable[AlertState]) -> set[tuple[str, str, str, int]]:
    """What must be the same after an upgrade."""
    return {(a.alert_id, a.status.value, a.priority.value, a.revision) for a in alerts}


def named(unit: Unit, rule: str, patient: str) -> str:
    """The id of a patient's open alert of a rule."""
    (found,) = [
        alert.alert_id
        for alert in unit.replay._patients.states[patient].alerts.values()
        if alert.rule == rule and alert.status.is_open and not alert.key.startswith("clock")
    ]
    return found


def test_the_day_goes_on_with_the_same_alerts() -> None:
    unit = upgraded(judged_anew=False)
    ids = {(rule, p): named(unit, rule, p) for rule in ("low_magnesium", "intradialytic_cramp") for p in ("p1", "p2")}
    told = unit.told

    # The same cramp ends; a message of it under its id is not a new one.
    unit.symptom("cramp", at="d28 08:00", name="c28", ended="d28 08:20", received="d28 08:20", patient_id="p1")
    assert [(a.rule, a.transition) for a in told] == [
        ("intradialytic_cramp", "resolved"),
        *((rule, "raised") for rule in sorted(ADDED)),
    ]
    assert told[0].alert_id == ids["intradialytic_cramp", "p1"]
    # The laboratory repeats itself, then corrects itself.
    count = len(told)
    unit.lab("magnesium", 1.6, at="d28 07:00", name="mg-1", patient_id="p1", received="d28 08:21")
    assert len(told) == count
    unit.lab("magnesium", 2.1, at="d28 07:00", name="mg-1", status="corrected", patient_id="p1", received="d28 08:22")
    (withdrawn,) = [a for a in told[count:] if a.rule == "low_magnesium"]
    assert (withdrawn.alert_id, withdrawn.transition) == (ids["low_magnesium", "p1"], "withdrawn")
    # A person answers.
    unit.respond(ids["low_magnesium", "p2"], "resolve", at="d28 08:23", patient_id="p2")
    assert (told[-1].alert_id, told[-1].reason) == (ids["low_magnesium", "p2"], Reason.RESOLVED_BY_PERSON)
    # The session ends, and with it what cramped in it.
    unit.session_end("p2-s28", at="d28 11:00", patient_id="p2")
    assert ids["intradialytic_cramp", "p2"] not in held(unit)
    # What a person ended stays so when it is said again.
    count = len(told)
    unit.lab("magnesium", 0.9, at="d28 07:00:30", name="mg-2", patient_id="p2", received="d28 11:01")
    assert not [a for a in told[count:] if a.rule == "low_magnesium"]


def test_standing_orders_of_version_2_stand() -> None:
    unit = upgraded(judged_anew=True)
    unit.clock("d80 00:00")
    for patient in ("p1", "p3"):
        assert [step.action for step in unit.replay._patients.states[patient].medications.values()] == ["ordered"]

"""The oracle itself, over logs made by hand: each thing that can be wrong is found, and named."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from streams.rules.catalogue import ALL_RULES
from streams.simulator.unit import Scenario
from tests.chaos.clinical import FORM_ALONE, RULES
from tests.chaos.logs import Logs, Record, Sent
from tests.chaos.oracle import Kind, Verdict, judge
from tests.chaos.places import Lost
from tests.chaos.plan import Shape
from tests.chaos.replayed import PARTITIONS, replayed, subjects

_PROBE = subjects(1, "probe-")[0]


@pytest.fixture(scope="module")
def run() -> Logs:
    return replayed(1, Shape(minutes=6, scenario=Scenario.GARBAGE, storm=5))


@pytest.fixture
def logs(run: Logs) -> Logs:
    return copy.deepcopy(run)


def judged(logs: Logs) -> Verdict:
    return judge(logs, timedelta(0))


def found(verdict: Verdict) -> set[tuple[Kind, Lost | None]]:
    return {(finding.kind, finding.place) for finding in verdict.findings}


def first_low(logs: Logs) -> tuple[Sent, Record]:
    """The first low magnesium of a probe, and the record of its raise."""
    sent = next(one for one in logs.sent if one.key == _PROBE.encode())
    told = next(r for r in logs.alerts if r.key == _PROBE.encode())
    return sent, told


def without(records: list[Record], name: bytes) -> list[Record]:
    """All but those of an alert."""
    return [record for record in records if name not in (record.value or b"")]


def unheard(logs: Logs) -> Sent:
    """Nothing is told of the first low magnesium of a probe."""
    sent, told = first_low(logs)
    name = (told.body or {})["alert_id"].encode()
    logs.alerts, logs.active = without(logs.alerts, name), without(logs.active, name)
    return sent


def changed(record: Record, **fields: Any) -> Record:
    return replace(record, value=json.dumps((record.body or {}) | fields).encode())


def known_alert(rule: str) -> dict[str, Any]:
    """As the changelog holds it."""
    return {"rule": rule, "status": "resolved", "anchors": [f"lab_result:{_PROBE}-0"]}


# -- nothing wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [Scenario.DENSE, Scenario.GARBAGE])
@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_the_engine_where_nothing_goes_wrong(scenario: Scenario, seed: int) -> None:
    """Two readings of clinical.md that share no line; the clock goes by record timestamps, to the millisecond."""
    verdict = judged(replayed(seed, Shape(minutes=20, scenario=scenario, storm=10)))
    assert verdict.findings == [], verdict.explained()
    assert verdict.must > 100
    assert len(verdict.latencies) > verdict.must


def test_it_has_a_word_on_every_rule() -> None:
    """A new rule is judged, or said to be held to its form alone."""
    assert not RULES & FORM_ALONE
    assert {rule.name for rule in ALL_RULES} == RULES | FORM_ALONE


@pytest.mark.parametrize("rule", ["post_dialysis_labs_missing", "baclofen_on_dialysis", "iv_magnesium_during_dialysis"])
def test_what_is_played_of_treatments_must_be_told(logs: Logs, rule: str) -> None:
    """A deadline, an order, and a dose that was told before its treatment."""
    told = [record for record in logs.alerts if (record.body or {})["rule"] == rule]
    assert len({record.key for record in told}) >= PARTITIONS
    logs.alerts = [record for record in logs.alerts if record not in told]
    logs.active = [record for record in logs.active if (record.body or {})["rule"] != rule]
    assert found(judged(logs)) == {(Kind.LOST, Lost.NO_EFFECT)}


def test_it_loads_nothing_of_the_engine() -> None:
    barred = ("streams", "models", "aiokafka", "faust")
    code = f"import sys, tests.chaos.oracle; print(*(n for n in sys.modules if n.partition('.')[0] in {barred!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_a_repeat_in_the_same_bytes_is_none_of_its_business(logs: Logs) -> None:
    _, told = first_low(logs)
    headers = tuple((name, b"later" if name == "ce_time" else value) for name, value in told.headers)
    again = replace(told, offset=10_000, headers=headers)
    logs.alerts.append(again)
    verdict = judged(logs)
    assert verdict.findings == []
    assert verdict.repeats == 1


# -- the five places ---------------------------------------------------------------------------------------------------


def test_not_accepted(logs: Logs) -> None:
    sent = unheard(logs)
    logs.inputs = [record for record in logs.inputs if record.value != sent.value]
    assert (Kind.LOST, Lost.NOT_ACCEPTED) in found(judged(logs))


def test_not_consumed(logs: Logs) -> None:
    sent = unheard(logs)
    record = next(one for one in logs.inputs if one.value == sent.value)
    logs.committed[record.topic, record.partition] = record.offset
    assert {(Kind.LOST, Lost.NOT_CONSUMED), (Kind.OFFSETS, None)} <= found(judged(logs))


@pytest.mark.parametrize(
    ("stored", "place"),
    [
        ({}, Lost.NO_EFFECT),
        ({"offsets": {"lab-results": 9999}, "alerts": {}}, Lost.NO_EFFECT),
        ({"alerts": {"x": known_alert("high_magnesium")}}, Lost.NO_EFFECT),
        ({"alerts": {"x": known_alert("low_magnesium")}}, Lost.NOT_SENT),
    ],
)
def test_consumed_and_yet_not_told(logs: Logs, stored: dict[str, Any], place: Lost) -> None:
    unheard(logs)
    logs.stored[_PROBE] = stored
    assert found(judged(logs)) == {(Kind.LOST, place)}


def test_sent_not_read(logs: Logs) -> None:
    _, told = first_low(logs)
    del logs.seen[told.place]
    assert found(judged(logs)) == {(Kind.LOST, Lost.NOT_READ)}


# -- everything else that can be wrong ---------------------------------------------------------------------------------


def end_left_out(logs: Logs) -> None:
    name = (first_low(logs)[1].body or {})["alert_id"]
    logs.alerts = [r for r in logs.alerts if (r.body or {})["alert_id"] != name or (r.body or {})["status"] == "active"]
    logs.active = [r for r in logs.active if (r.body or {})["alert_id"] != name or (r.body or {})["status"] == "active"]


def raised_for_nothing(logs: Logs) -> None:
    _, told = first_low(logs)
    body = {"alert_id": "made-up", "patient_id": "probe-9", "status": "resolved"}
    headers = (("ce_id", b"made-up:1"), ("ce_type", b"dialysis.alert.raised"))
    extra = replace(changed(told, **body), offset=10_000, headers=headers)
    logs.alerts.append(extra)
    logs.seen[extra.place] = 0.0


def raised_by_no_rule(logs: Logs) -> None:
    raised_for_nothing(logs)
    logs.alerts[-1] = changed(logs.alerts[-1], rule="low_spirits")


def ended_too_soon(logs: Logs) -> None:
    """The normal result that ended it was never sent: nobody can know of it."""
    _, told = first_low(logs)
    over = next(one for one in logs.inputs if one.key == told.key and b'"value": 2.0' in (one.value or b""))
    logs.sent = [one for one in logs.sent if one.value != over.value]
    logs.inputs = [one for one in logs.inputs if one.value != over.value]


def repeat_that_differs(logs: Logs) -> None:
    _, told = first_low(logs)
    logs.alerts.append(replace(changed(told, summary="something else"), offset=10_000))


def header_that_differs(logs: Logs) -> None:
    _, told = first_low(logs)
    logs.alerts[logs.alerts.index(told)] = replace(told, headers=(("ce_id", b"x:1"), *told.headers[1:]))


def revision_left_out(logs: Logs) -> None:
    _, told = first_low(logs)
    logs.alerts.remove(told)


def raised_by_the_wall_clock(logs: Logs) -> None:
    _, told = first_low(logs)
    late = changed(told, at=(told.moment + timedelta(hours=1)).isoformat())
    logs.alerts[logs.alerts.index(told)] = late


def deadline_late(logs: Logs) -> None:
    """What a deadline brings has the deadline's own time, whenever it was noticed."""
    told = next(r for r in logs.alerts if (r.body or {})["rule"] == "aluminum_result_overdue")
    at = told.moment + timedelta(seconds=90)
    logs.alerts[logs.alerts.index(told)] = changed(told, at=at.isoformat())


def end_not_shown(logs: Logs) -> None:
    name = (first_low(logs)[1].body or {})["alert_id"]
    logs.active = [r for r in logs.active if (r.body or {})["alert_id"] != name or (r.body or {})["status"] == "active"]


def end_not_shown_but_removed(logs: Logs) -> None:
    end_not_shown(logs)
    name = (first_low(logs)[1].body or {})["alert_id"]
    logs.active.append(Record("alerts.active", 0, 10_000, 0, name.encode(), None))


def letter_left_out(logs: Logs) -> None:
    logs.dead.pop()


def letter_for_another_reason(logs: Logs) -> None:
    headers = tuple((name, b"unknown" if name == "dl_reason" else value) for name, value in logs.dead[0].headers)
    logs.dead[0] = replace(logs.dead[0], headers=headers)


def letter_of_a_good_message(logs: Logs) -> None:
    sent, _ = first_low(logs)
    record = next(one for one in logs.inputs if one.value == sent.value)
    place = {"dl_topic": record.topic, "dl_partition": str(record.partition), "dl_offset": str(record.offset)}
    headers = (*((name, value.encode()) for name, value in place.items()), ("dl_reason", b"invalid_json"))
    logs.dead.append(replace(logs.dead[0], headers=headers))


def left_behind(logs: Logs) -> None:
    topic = next(iter(logs.ends))
    logs.committed[topic] -= 1


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        (end_left_out, Kind.LOST),
        (raised_for_nothing, Kind.EXTRA),
        (raised_by_no_rule, Kind.EXTRA),
        (ended_too_soon, Kind.EXTRA),
        (repeat_that_differs, Kind.DIFFERING),
        (header_that_differs, Kind.DIFFERING),
        (revision_left_out, Kind.GAP),
        (raised_by_the_wall_clock, Kind.TIME),
        (deadline_late, Kind.TIME),
        (end_not_shown, Kind.PICTURE),
        (end_not_shown_but_removed, Kind.PICTURE),
        (letter_left_out, Kind.LOST),
        (letter_for_another_reason, Kind.EXTRA),
        (letter_of_a_good_message, Kind.EXTRA),
        (left_behind, Kind.OFFSETS),
    ],
)
def test_what_is_wrong_is_found(logs: Logs, tamper: Callable[[Logs], None], kind: Kind) -> None:
    assert judged(logs).findings == []
    tamper(logs)
    verdict = judged(logs)
    assert kind in {finding.kind for finding in verdict.findings}, verdict.explained()
    assert str(kind) in verdict.explained(1)


# -- the rules of machines, each in the same three ways ----------------------------------------------------------------

#: With how many subjects at least it is told of in a run of 25 min.
OF_MACHINES = {
    "machine_alarm": 8,
    "machine_silent": 4,
    "dialysate_temperature": 4,
    "intradialytic_hypotension": 3,
    "qtc_prolonged": 4,
    "data_quality": 4,
}


@pytest.fixture(scope="module")
def long_run() -> Logs:
    return replayed(2, Shape(minutes=25))


@pytest.fixture
def at_chairs(long_run: Logs) -> Logs:
    return copy.deepcopy(long_run)


def of_rule(logs: Logs, rule: str, transition: str) -> list[Record]:
    """What was told by a rule of those who are played for it, not of the unit."""
    told = [record for record in logs.alerts if (record.body or {})["rule"] == rule and b"-" in (record.key or b"")]
    return [record for record in told if (record.body or {})["transition"] == transition]


@pytest.mark.parametrize("rule", OF_MACHINES)
def test_what_a_machine_rule_does_not_tell_is_lost(at_chairs: Logs, rule: str) -> None:
    told = [record for record in at_chairs.alerts if (record.body or {})["rule"] == rule]
    assert len({record.key for record in told}) >= OF_MACHINES[rule]
    at_chairs.alerts = [record for record in at_chairs.alerts if record not in told]
    at_chairs.active = [record for record in at_chairs.active if (record.body or {})["rule"] != rule]
    verdict = judged(at_chairs)
    assert found(verdict) == {(Kind.LOST, Lost.NO_EFFECT)}
    assert verdict.lost >= OF_MACHINES[rule]
    assert {finding.text.split()[0] for finding in verdict.findings} == {rule}


@pytest.mark.parametrize("rule", OF_MACHINES)
def test_what_a_machine_rule_makes_up_is_found(at_chairs: Logs, rule: str) -> None:
    """The same alert of another patient, who was only played to carry the clock on."""
    told = of_rule(at_chairs, rule, "raised")[0]
    headers = (("ce_id", b"made-up:1"), *told.headers[1:])
    extra = changed(told, alert_id="made-up", patient_id="closing-0", status="resolved", revision=1)
    extra = replace(extra, offset=10_000, headers=headers)
    at_chairs.alerts.append(extra)
    at_chairs.seen[extra.place] = 0.0
    assert {finding.kind for finding in judged(at_chairs).findings} == {Kind.EXTRA}


@pytest.mark.parametrize("rule", OF_MACHINES)
def test_what_a_machine_rule_does_not_end_is_lost(at_chairs: Logs, rule: str) -> None:
    over = [*of_rule(at_chairs, rule, "resolved"), *of_rule(at_chairs, rule, "expired")]
    end = max(over, key=lambda record: ((record.body or {})["revision"], record.stamp))
    name, revision = ((end.body or {})[field] for field in ("alert_id", "revision"))

    def is_end(record: Record) -> bool:
        body = record.body or {}
        return bool(body["alert_id"] == name and body["revision"] >= revision)

    at_chairs.alerts = [record for record in at_chairs.alerts if not is_end(record)]
    at_chairs.active = [record for record in at_chairs.active if not is_end(record)]
    verdict = judged(at_chairs)
    assert {finding.kind for finding in verdict.findings} == {Kind.LOST}, verdict.explained()
    assert verdict.findings[0].text.startswith(rule)


@pytest.mark.parametrize("rule", OF_MACHINES)
def test_a_machine_rule_that_tells_late_is_found(at_chairs: Logs, rule: str) -> None:
    told = of_rule(at_chairs, rule, "raised")[0]
    late = changed(told, at=(told_at(told) + timedelta(seconds=5)).isoformat())
    at_chairs.alerts[at_chairs.alerts.index(told)] = late
    assert {finding.kind for finding in judged(at_chairs).findings} == {Kind.TIME}


def told_at(record: Record) -> datetime:
    return datetime.fromisoformat((record.body or {})["at"])


@pytest.mark.parametrize(("rule", "subject"), [("machine_alarm", "198244"), ("intradialytic_hypotension", "below 80")])
def test_a_lower_priority_than_the_highest_is_found(at_chairs: Logs, rule: str, subject: str) -> None:
    """A blood leak is high whatever its machine sends, and so is a pressure below 80."""
    for number, record in enumerate(at_chairs.alerts):
        if (record.body or {})["rule"] == rule and subject in json.dumps(record.body):
            at_chairs.alerts[number] = changed(record, priority="medium")
    verdict = judged(at_chairs)
    assert verdict.findings
    assert all("highest priority" in finding.text for finding in verdict.findings)


@pytest.mark.parametrize(("minutes", "is_wrong"), [(2, False), (-1, True)])
def test_silence_may_count_from_when_the_clock_ran_again_but_not_before(
    at_chairs: Logs, minutes: int, *, is_wrong: bool
) -> None:
    """The broker may have been away: nobody could hear the machine meanwhile."""
    told = of_rule(at_chairs, "machine_silent", "raised")[0]
    moved = changed(told, at=(told_at(told) + timedelta(minutes=minutes)).isoformat())
    at_chairs.alerts[at_chairs.alerts.index(told)] = moved
    verdict = judge(at_chairs, timedelta(seconds=60))
    assert {finding.kind for finding in verdict.findings} == ({Kind.LOST, Kind.EXTRA} if is_wrong else set())

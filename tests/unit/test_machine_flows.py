"""Samples of several machines under one session id: the stretches of blood flow of each, in any order of arrival."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from models.state import MAX_MACHINES, PatientState, Session, StateCodec
from models.state.sampled import complete, decode, encode, sampled_of
from streams.rules.facts.treatments import Together, machines_together
from tests.unit.timeline import Unit, moment, stamp


def flow(unit: Unit, since: str, until: str, *machines: str, patient: str = "p1", every: int = 60) -> None:
    """Samples with blood flow, of several machines by turns."""
    at = moment(since)
    while at <= moment(until):
        for machine in machines:
            unit.telemetry(at=stamp(at), machine=machine, patient_id=patient, blood_flow_ml_min=300.0)
        at += timedelta(seconds=every)


def session(unit: Unit, patient: str = "p1") -> Session:
    return unit.replay._patients.states[patient].sessions["s1"]


def stretches(found: Session) -> dict[str, list[tuple[Any, Any]]]:
    return {name: [(one.since, one.until) for one in flows] for name, flows in (found.machine_flows or {}).items()}


def test_one_machine_is_named_and_its_stretches_are_not_kept_twice() -> None:
    unit = Unit()
    unit.session(at="08:00")
    flow(unit, "08:00", "09:00", "m1")
    assert (session(unit).flowed_by, session(unit).machine_flows) == ("m1", None)


def test_what_two_machines_showed_at_the_same_time() -> None:
    unit = Unit(watch="identity_conflict")
    unit.session(at="08:00")
    flow(unit, "08:00", "08:30", "m1")
    flow(unit, "08:31", "08:50", "m1", "m2")
    expected = Together(("m1", "m2"), moment("08:31"), moment("08:50"))
    assert machines_together(session(unit)) == expected
    unit.expect("08:37", "raised", patient_id="p1", session_id="s1")
    unit.expect_nothing_more()


@pytest.mark.parametrize("seed", range(8))
def test_no_order_of_arrival_changes_the_stretches(seed: int) -> None:
    known = Unit()
    known.session(at="08:00")
    flow(known, "08:00", "08:30", "m1", every=300)
    flow(known, "08:32", "09:20", "m1", "m2", every=300)
    flow(known, "10:00", "10:20", "m2", every=300)
    sent = list(known.sent)
    random.Random(seed).shuffle(sent)
    unit = Unit()
    for event in [*sent, *sent[:5]]:
        rest = {name: value for name, value in event.items() if name not in ("type", "at")}
        unit.send(event["type"], event["at"], received="10:21", **rest)
    assert stretches(session(unit)) == stretches(session(known))
    assert set(stretches(session(known))) == {"m1", "m2"}
    conflict = ("identity_conflict", "p1/identity", "active", "medium")
    assert conflict in unit.open & known.open


def test_they_are_stored_with_the_samples_alone() -> None:
    codec, unit = StateCodec(PatientState), Unit()
    unit.session(at="08:00")
    state = unit.replay._patients.states["p1"]
    state.stored_as = 7
    whole = codec.encode(state)
    flow(unit, "08:00", "08:30", "m1")
    flow(unit, "08:10", "08:20", "m2")
    state = unit.replay._patients.states["p1"]
    part = encode(sampled_of(state, [("s1", "m1"), ("s1", "m2")]))
    found = codec.decode(whole)
    assert complete(found, decode(part))
    assert stretches(found.sessions["s1"]) == stretches(session(unit)) != {}
    assert found.sessions["s1"].flowed_by == "m1"


def test_a_session_of_before_gives_its_flow_to_its_machine() -> None:
    unit = Unit()
    unit.session(at="08:00")
    flow(unit, "08:00", "08:30", "m1")
    codec, held = StateCodec(PatientState), unit.replay._patients._states
    fields = msgspec.json.decode(codec.encode(unit.replay._patients.states["p1"]), type=dict[str, Any])
    del fields["sessions"]["s1"]["flowed_by"]
    unit.replay._patients.waiting.stop("p1")
    held["p1"] = codec.decode(msgspec.json.encode(fields))
    flow(unit, "08:31", "08:40", "m2")
    assert stretches(session(unit)) == {
        "m1": [(moment("08:00"), moment("08:30"))],
        "m2": [(moment("08:31"), moment("08:40"))],
    }
    assert machines_together(session(unit)) is None


def test_so_many_machines_are_kept() -> None:
    unit = Unit()
    unit.session(at="08:00")
    for number in range(12):
        flow(unit, f"08:{number:02d}", f"08:{number:02d}", f"m{number}")
    assert len(stretches(session(unit))) == MAX_MACHINES


@pytest.mark.parametrize("together", [True, False])
def test_a_merge_takes_the_stretches_of_each_machine_along(together: bool) -> None:
    unit = Unit()
    unit.session(at="08:00")
    flow(unit, "08:00", "08:30", "m1")
    if not together:
        unit.session(at="08:31", machine="m2")
    flow(unit, "08:31", "09:00", *(("m1", "m2") if together else ("m2",)))
    before = stretches(session(unit))
    unit.send("patient_merged", "09:01", patient_id="p2", merged_id="p1", received="09:01")
    assert stretches(session(unit, "p2")) == before
    raised = {subject for rule, subject, *_ in unit.open if rule == "identity_conflict"}
    assert raised == ({"p2/identity"} if together else set())

"""Stored state: what is written can be read, a newer form is refused, and every window has its bound."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from models import state as bounds
from models.state import SCHEMA_VERSION, LoopState, NewerSchemaError, PatientState, StateCodec
from models.state.history import NO_HISTORY
from models.state.migrations import NEVER
from streams.engine.filing import apply
from streams.rules.catalogue import parse_settings
from tests.unit.timeline import FIRST_DAY, SILENT, Unit, moment, restarted, to_line

PATIENTS, LOOPS = StateCodec(PatientState), StateCodec(LoopState)


def busy() -> Unit:
    """A unit in which everything happened once."""
    ward = Unit(calls=True)
    for patient in ("p1", "p2"):
        ward.session(
            f"{patient}-s", at="08:00", patient_id=patient, machine=patient, water_loop_id="loop-a", chair="1",
            sodium_profile=[{"minute": 0.0, "na_mmol_l": 148.0}],
        )  # fmt: skip
        ward.symptom("jerk", at="08:10", patient_id=patient, name=f"{patient}-j", worse_after_dialysis=True)
    ward.telemetry(at="09:30", received="08:20", session="p1-s", systolic_mmhg=110.0, uf_rate_ml_h=500.0)
    ward.lab("magnesium", 1.2, at="08:30", comparator="<", flags=["LL"])
    ward.lab("aluminum", 450, "?", at="08:31")
    ward.symptom("cramp", at="08:32", score=3)
    ward.qtc(470, at="08:33")
    ward.send("weight", "08:34", kg=70.0, moment="pre")
    ward.send("medication", "08:35", order_id="o1", drug="baclofen", action="ordered", dose_mg=5.0)
    ward.send("schedule", "08:36", session_id="s9", planned_start="2026-11-25T08:00:00Z")
    ward.send("machine_alarm", "08:37", session_id="p1-s", machine_id="p1", code="198244", phase="start")
    ward.send("patient_profile", "08:38", first_dialysis_on="2026-01-31", conditions=["lvh"])
    ward.respond(ward.told[-1], "snooze", at="08:39", until="10:00")
    ward.session_end("p1-s", at="12:00", post_weight_kg=69.0)
    return ward


def test_what_is_written_can_be_read() -> None:
    replay = busy().replay
    for patient in replay._patients.states.values():
        found = PATIENTS.decode(PATIENTS.encode(patient))
        assert (found.history, found) == (patient.history, patient)
    for loop in replay._loops.states.values():
        assert LOOPS.decode(LOOPS.encode(loop)) == loop
    assert set(replay._loops.states) == {"loop-a"}


def test_writing_what_was_read_gives_the_same_bytes() -> None:
    for patient in busy().replay._patients.states.values():
        raw = PATIENTS.encode(patient)
        assert PATIENTS.encode(PATIENTS.decode(raw)) == raw


@pytest.mark.parametrize("codec", [PATIENTS, LOOPS])
def test_the_outbox_is_part_of_the_record(codec: StateCodec[Any]) -> None:
    state = codec.new("x")
    state.outbox.append(bounds.Entry(topic="alerts.active", key="a1"))
    state.outbox.append(bounds.Entry(topic="alerts.cramp", key="x", value=msgspec.Raw(b'{"a":1}'), ce_id="a1:1"))
    again = codec.decode(codec.encode(state)).outbox
    assert [(e.topic, e.key, bytes(e.value), e.ce_id) for e in again] == [
        ("alerts.active", "a1", b"null", ""),
        ("alerts.cramp", "x", b'{"a":1}', "a1:1"),
    ]


@pytest.mark.parametrize("codec", [PATIENTS, LOOPS])
@pytest.mark.parametrize("more", [{}, {"labs": 7, "signals": 7, "unheard_of": [1]}])
def test_a_newer_form_is_refused_whatever_it_looks_like(codec: StateCodec[Any], more: dict[str, Any]) -> None:
    raw = msgspec.json.encode({"id": "x", "schema_version": SCHEMA_VERSION + 1, **more})
    with pytest.raises(NewerSchemaError, match="start the newer version"):
        codec.decode(raw)


@pytest.mark.parametrize("raw", [b"", b"{", b"{}", b'{"id":"p1"}', b'{"id":7,"schema_version":1}'])
def test_a_broken_record_is_an_error_and_not_an_empty_patient(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        PATIENTS.decode(raw)


def test_a_new_subject_is_of_the_present_form() -> None:
    assert PATIENTS.new("p1") == PatientState(id="p1", schema_version=SCHEMA_VERSION, heard_at=NEVER)
    assert b'"schema_version":%d' % SCHEMA_VERSION in PATIENTS.encode(PATIENTS.new("p1"))


# -- bounds ------------------------------------------------------------------------------------------------------------


def fill(window: str, count: int, cap: int, **event: Any) -> PatientState:
    """File `count` events a minute apart and check the cap after each."""
    state = PATIENTS.new("p1")
    dropped = 0
    for number in range(count):
        at = FIRST_DAY + timedelta(minutes=number)
        fields = {name: value.format(n=number) if isinstance(value, str) else value for name, value in event.items()}
        line = to_line({"patient_id": "p1", "at": at.isoformat(), **fields})
        dropped += apply(state, line.record, at, at).dropped  # type: ignore[arg-type]
        assert len(getattr(state, window)) <= cap
    assert dropped in (0, count - cap)
    return state


@pytest.mark.parametrize(
    ("window", "cap", "event"),
    [
        (
            "labs",
            bounds.MAX_LABS,
            {"type": "lab_result", "result_id": "r{n}", "analyte": "sodium", "value": 140.0, "unit": "mmol/L"},
        ),
        ("symptoms", bounds.MAX_SYMPTOMS, {"type": "symptom", "symptom_id": "s{n}", "kind": "nausea"}),
        ("sessions", bounds.MAX_SESSIONS, {"type": "session_ended", "session_id": "s{n}"}),
        (
            "responses",
            bounds.MAX_RESPONSES,
            {"type": "alert_response", "alert_id": "a{n}", "by": "nurse", "action": "resolve"},
        ),
        ("weights", bounds.MAX_OTHERS, {"type": "weight", "kg": 70.0, "moment": "pre"}),
        ("rhythms", bounds.MAX_OTHERS, {"type": "rhythm", "kind": "af"}),
        ("heard", bounds.MAX_SOURCES, {"type": "weight", "kg": 70.0, "moment": "pre", "source": "gateway-{n}"}),
    ],
)
def test_every_window_has_its_cap_and_the_oldest_go_first(window: str, cap: int, event: dict[str, Any]) -> None:
    state = fill(window, cap + 30, cap, **event)
    kept = getattr(state, window)
    assert len(kept) == cap
    newest = FIRST_DAY + timedelta(minutes=cap + 29)
    moments = [item if window == "heard" else getattr(item, "first_at", None) or item.at for item in kept.values()]
    assert (min(moments), max(moments)) == (newest - timedelta(minutes=cap - 1), newest)


def test_sources_with_wrong_clocks_are_capped() -> None:
    state = PATIENTS.new("p1")
    for number in range(bounds.MAX_SOURCES + 30):
        at = FIRST_DAY + timedelta(minutes=number)
        event = {"type": "weight", "patient_id": "p1", "kg": 70.0, "moment": "pre", "source": f"g{number}"}
        line = to_line({**event, "at": (at + timedelta(hours=1)).isoformat()})
        apply(state, line.record, at, at)  # type: ignore[arg-type]
        assert len(state.problems) <= bounds.MAX_SOURCES


def test_what_an_open_alert_rests_on_is_not_pushed_out() -> None:
    ward = Unit(watch="low_magnesium")
    ward.lab("magnesium", 1.2, at="d1 08:00", name="ground")
    for number in range(bounds.MAX_LABS + 20):
        ward.lab("sodium", 140, "mmol/L", at=f"d2 {number // 60:02}:{number % 60:02}", name=f"na{number}")
    held = ward.replay._patients.states["p1"].labs.values()
    assert "ground" in {result.result_id for result in held}
    assert ("low_magnesium", "p1/magnesium", "active", "medium") in ward.open


def test_a_month_of_dialysis_stays_within_the_size_of_a_record() -> None:
    """Three sessions a week, each with a panel, a low magnesium now and then and two cramps."""
    ward = Unit(calls=True)
    for day in range(1, 36, 2):
        ward.session(f"s{day}", at=f"d{day} 08:00", water_loop_id="loop-a", chair="1")
        for analyte, value in (("magnesium", 2.0 if day % 4 == 1 else 0.65), ("potassium", 4.5), ("sodium", 140.0)):
            ward.lab(analyte, value, "mmol/L", at=f"d{day} 08:10")
        for hour in (10, 11):
            ward.symptom("cramp", at=f"d{day} {hour}:00")
        ward.session_end(f"s{day}", at=f"d{day} 12:00")
    (patient,) = ward.replay._patients.states.values()
    assert len(ward.told) > 80
    assert len(PATIENTS.encode(patient)) < 64 * 1024


# -- new rule settings -------------------------------------------------------------------------------------------------


def test_other_rule_settings_evaluate_every_patient_again() -> None:
    ward = Unit()
    ward.lab("magnesium", 1.75, at="08:00")
    ward.lab("magnesium", 1.6, at="08:00", patient_id="p2")
    strict = parse_settings({**SILENT, "low_magnesium": {"low": {"mg/dL": 1.8, "mmol/L": 0.74, "meq/L": 1.48}}})
    again = restarted(ward.replay, strict)
    assert {
        alert.rule for state in again._patients.states.values() for alert in state.alerts.values()
    } == {"low_magnesium"}  # fmt: skip
    assert all(state.rules == strict.hash for state in again._patients.states.values())


def test_a_rule_turned_off_closes_its_alerts_as_superseded() -> None:
    ward = Unit()
    ward.lab("magnesium", 1.6, at="08:00")
    off = parse_settings({**SILENT, "low_magnesium": {"enabled": False, "accept_risk": "a test"}})
    (alert,) = restarted(ward.replay, off)._patients.states["p1"].alerts.values()
    shown = msgspec.json.decode(alert.value)
    assert (shown["status"], shown["reason"], shown["revision"]) == ("resolved", "superseded", 2)


def test_an_empty_history_takes_no_room_once_stored() -> None:
    state = StateCodec(PatientState).new("p1")
    assert state.labs == {}  # as every rule looks that reads results
    assert not state.drop_empty()
    assert state.past is NO_HISTORY
    state.arrivals["symptom:s1"] = moment("08:00")
    assert state.drop_empty()
    assert state.arrivals == {"symptom:s1": moment("08:00")}

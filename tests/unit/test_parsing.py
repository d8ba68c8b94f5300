"""Parsing: strict, worded for people, and never an exception on any bytes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from models import events
from models.parsing import (
    _PATIENT,
    Parsed,
    Rejected,
    RejectReason,
    _parse,
    parse_loop_event,
    parse_patient_event,
)
from models.records import to_record
from streams.engine.replay import parse_line

FEW = settings(max_examples=400, deadline=None, derandomize=True, database=None)
AT = "2026-11-23T08:00:00Z"
COMPLETE: dict[str, dict[str, Any]] = {
    "lab_result": {"result_id": "r1", "analyte": "magnesium", "value": 1.5, "unit": "mg/dL"},
    "session_started": {"session_id": "s1", "machine_id": "m1", "sodium_profile": [{"minute": 0, "na_mmol_l": 148}]},
    "telemetry": {"session_id": "s1", "machine_id": "m1", "systolic_mmhg": 120},
    "machine_alarm": {"session_id": "s1", "machine_id": "m1", "code": "198244", "phase": "start"},
    "session_ended": {"session_id": "s1"},
    "patient_profile": {"first_dialysis_on": "2026-01-31", "conditions": ["lvh"]},
    "patient_merged": {"merged_id": "p2"},
    "record_given_up": {"into": "p2"},
    "record_moved": {},
    "chair_conflict": {"chair": "12", "session_id": "s1", "sequence": 1, "other_id": "p2"},
    "symptom": {"symptom_id": "x1", "kind": "cramp", "score": 7},
    "weight": {"kg": 71.5, "moment": "pre"},
    "medication": {"order_id": "o1", "drug": "baclofen", "action": "ordered", "dose_mg": 5},
    "rhythm": {"kind": "qtc", "qtc_ms": 470},
    "schedule": {"session_id": "s1", "planned_start": AT},
    "alert_response": {"alert_id": "a1", "by": "nurse", "action": "acknowledge"},
}


def message(type_: str = "lab_result", **changes: Any) -> bytes:
    """A complete message with fields changed; `...` leaves one out."""
    fields = {"type": type_, "patient_id": "p1", "at": AT, **COMPLETE.get(type_, {}), **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def rejected(raw: bytes) -> Rejected:
    outcome = parse_patient_event(raw)
    assert isinstance(outcome, Rejected), outcome
    return outcome


def parsed(raw: bytes) -> Any:
    outcome = parse_patient_event(raw)
    assert isinstance(outcome, Parsed), outcome
    return outcome


# -- accepted --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", COMPLETE)
def test_a_complete_message_of_each_type(type_: str) -> None:
    outcome = parsed(message(type_))
    assert type(outcome.record).__struct_config__.tag == type_
    assert outcome.unknown_fields == 0


@pytest.mark.parametrize("type_", COMPLETE)
def test_unknown_fields_are_ignored_and_counted(type_: str) -> None:
    plain, extended = parsed(message(type_)), parsed(message(type_, new_field=[1, {"a": None}], another="x"))
    assert extended.record == plain.record
    assert extended.unknown_fields == 2


@pytest.mark.parametrize("type_", COMPLETE)
def test_optional_fields_may_be_null(type_: str) -> None:
    parsed(message(type_, event_id=None, unit_id=None, source=None))


def test_when_it_was_received_is_no_part_of_what_it_says() -> None:
    plain, late = parsed(message()), parsed(message(received_at="2026-11-23T10:00:00+01:00"))
    assert plain.record == late.record
    assert (plain.received_at, late.received_at) == (None, datetime(2026, 11, 23, 9, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T09:00:00+01:00",
        "2026-11-23T08:00:00.000Z",
        "2026-11-23t08:00:00z",
        "2026-11-23 08:00:00Z",
        "2026-11-22T20:00:00-12:00",
    ],
)
@pytest.mark.parametrize("type_", ["lab_result", "telemetry"])
def test_rfc_3339_with_any_offset_is_the_same_moment(text: str, type_: str) -> None:
    assert parsed(message(type_, at=text)).record.at == datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.mark.parametrize("patient", ["a", "A-z0.9_:-", "x" * 64])
def test_patient_ids(patient: str) -> None:
    assert parsed(message(patient_id=patient)).record.patient_id == patient


@pytest.mark.parametrize("status", ["cancelled", "entered_in_error"])
def test_a_withdrawn_result_needs_no_value(status: str) -> None:
    assert parsed(message(value=..., status=status)).record.value is None


# -- refused ---------------------------------------------------------------------------------------------------------

R = RejectReason
REFUSED: list[tuple[str, dict[str, Any], RejectReason, str]] = [
    ("lab_result", {"value": "1.2"}, R.WRONG_TYPE, "value"),
    ("lab_result", {"value": True}, R.WRONG_TYPE, "value"),
    ("lab_result", {"value": ...}, R.MISSING_FIELD, "message"),
    ("lab_result", {"value": None, "status": "final"}, R.MISSING_FIELD, "message"),
    ("lab_result", {"analyte": ...}, R.MISSING_FIELD, "message"),
    ("lab_result", {"analyte": "unobtainium"}, R.UNKNOWN_VALUE, "analyte"),
    ("lab_result", {"analyte": "Magnesium"}, R.UNKNOWN_VALUE, "analyte"),
    ("lab_result", {"unit": ...}, R.MISSING_FIELD, "unit"),
    ("lab_result", {"unit": None}, R.MISSING_FIELD, "unit"),
    ("lab_result", {"result_id": ...}, R.MISSING_FIELD, "result_id"),
    ("lab_result", {"result_id": 7}, R.WRONG_TYPE, "result_id"),
    ("lab_result", {"comparator": "=="}, R.UNKNOWN_VALUE, "comparator"),
    ("lab_result", {"status": "amended"}, R.UNKNOWN_VALUE, "status"),
    ("lab_result", {"specimen": "tears"}, R.UNKNOWN_VALUE, "specimen"),
    ("lab_result", {"haemolysed": "no"}, R.WRONG_TYPE, "haemolysed"),
    ("lab_result", {"haemolysed": 0}, R.WRONG_TYPE, "haemolysed"),
    ("lab_result", {"at": ...}, R.MISSING_FIELD, "at"),
    ("lab_result", {"at": "2026-11-23T08:00:00"}, R.NAIVE_TIMESTAMP, "at"),
    ("lab_result", {"at": 1795420800}, R.WRONG_TYPE, "at"),
    ("lab_result", {"at": "2026-11-23"}, R.WRONG_TYPE, "at"),
    ("lab_result", {"at": "2026-02-30T08:00:00Z"}, R.WRONG_TYPE, "at"),
    ("lab_result", {"at": "yesterday"}, R.WRONG_TYPE, "at"),
    ("lab_result", {"at": "0001-01-01T00:00:00Z"}, R.OUT_OF_RANGE, "at"),
    ("lab_result", {"at": "9999-12-31T23:59:59Z"}, R.OUT_OF_RANGE, "at"),
    ("lab_result", {"reported_at": "2026-11-23T08:00:00"}, R.NAIVE_TIMESTAMP, "reported_at"),
    ("lab_result", {"received_at": "2026-11-23T08:00:00"}, R.NAIVE_TIMESTAMP, "received_at"),
    ("lab_result", {"patient_id": ...}, R.MISSING_FIELD, "patient_id"),
    ("lab_result", {"patient_id": ""}, R.OUT_OF_RANGE, "patient_id"),
    ("lab_result", {"patient_id": "x" * 65}, R.OUT_OF_RANGE, "patient_id"),
    ("lab_result", {"patient_id": "Zoë"}, R.OUT_OF_RANGE, "patient_id"),
    ("lab_result", {"patient_id": "p1\n"}, R.OUT_OF_RANGE, "patient_id"),
    ("lab_result", {"patient_id": 1}, R.WRONG_TYPE, "patient_id"),
    ("telemetry", {"patient_id": "p1\n"}, R.OUT_OF_RANGE, "patient_id"),
    ("telemetry", {"systolic_mmhg": "120"}, R.WRONG_TYPE, "systolic_mmhg"),
    ("telemetry", {"systolic_mmhg": True}, R.WRONG_TYPE, "systolic_mmhg"),
    ("telemetry", {"machine_id": ...}, R.MISSING_FIELD, "machine_id"),
    ("telemetry", {"at": "2026-11-23T08:00:00"}, R.NAIVE_TIMESTAMP, "at"),
    ("symptom", {"kind": "hiccups"}, R.UNKNOWN_VALUE, "kind"),
    ("symptom", {"ended_at": "2026-11-23T08:00:00"}, R.NAIVE_TIMESTAMP, "ended_at"),
    ("session_started", {"sodium_profile": [{"minute": 0}]}, R.MISSING_FIELD, "sodium_profile.0.na_mmol_l"),
    ("weight", {"kg": 0}, R.OUT_OF_RANGE, "kg"),
    ("weight", {"moment": "during"}, R.UNKNOWN_VALUE, "moment"),
    ("patient_profile", {"first_dialysis_on": "last year"}, R.WRONG_TYPE, "first_dialysis_on"),
    ("alert_response", {"action": "snooze"}, R.MISSING_FIELD, "message"),
    ("alert_response", {"action": "ignore"}, R.UNKNOWN_VALUE, "action"),
    ("birthday", {}, R.UNKNOWN_TYPE, "message"),
]


@pytest.mark.parametrize(("type_", "changes", "reason", "field"), REFUSED)
def test_strictness(type_: str, changes: dict[str, Any], reason: RejectReason, field: str) -> None:
    outcome = rejected(message(type_, **changes))
    assert outcome.reason is reason
    assert outcome.detail.startswith(f"{field}: ")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize(("type_", "field"), [("lab_result", "value"), ("telemetry", "systolic_mmhg")])
def test_a_number_that_is_not_finite(number: str, type_: str, field: str) -> None:
    raw = message(type_, **{field: 12345.5}).replace(b"12345.5", number.encode())
    assert rejected(raw).reason in (R.NOT_FINITE, R.INVALID_JSON)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, R.EMPTY),
        (b"", R.EMPTY),
        (b"   ", R.INVALID_JSON),
        (b"\x00", R.INVALID_JSON),
        (b"\xff\xfe", R.INVALID_JSON),
        (b"{", R.INVALID_JSON),
        (b"MSH|^~\\&|LAB", R.INVALID_JSON),
        (b"null", R.NOT_AN_OBJECT),
        (b"[]", R.NOT_AN_OBJECT),
        (b"7", R.NOT_AN_OBJECT),
        (b'"text"', R.NOT_AN_OBJECT),
        (b"{}", R.MISSING_FIELD),
        (b'{"type": 7}', R.UNKNOWN_TYPE),
        (b'{"type": null}', R.UNKNOWN_TYPE),
        (b"[" * 100_000, R.INVALID_JSON),
        (b'{"a":' * 100_000, R.INVALID_JSON),
        (b'{"type":"telemetry","a":' + b"[" * 100_000, R.INVALID_JSON),
    ],
)
def test_what_is_no_message(raw: bytes | None, reason: RejectReason) -> None:
    outcome = parse_patient_event(raw)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is reason


def test_the_words_name_fields_never_values() -> None:
    outcome = rejected(message(value="Jane Doe", unit=7, patient_id="Jane Doe"))
    assert "Jane" not in outcome.detail
    assert {part.split(":")[0] for part in outcome.detail.split("; ")} == {"value", "unit", "patient_id"}


def test_many_faults_are_cut_short() -> None:
    wrong: dict[str, Any] = {name: {} for name in ("value", "unit", "at", "result_id", "status", "specimen", "loinc")}
    assert rejected(message(**wrong)).detail.endswith("and 2 more")


def test_unit_responses_and_signals_are_of_a_loop() -> None:
    raw = message("alert_response", patient_id=..., water_loop_id="loop-a")
    assert isinstance(parse_loop_event(raw), Parsed)
    assert isinstance(parse_patient_event(raw), Rejected)
    assert isinstance(parse_line(raw), Parsed)


# -- any bytes ----------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(raw=st.binary(max_size=300))
@example(b'{"type":"weight","patient_id":"p","at":"2026-11-23T08:00:00Z","moment":"pre","kg":' + b"1" * 6000 + b"}")
@example(b'{"type":"telemetry","patient_id":"\\ud800"}')
@example(b"\xed\xa0\x80")
@FEW
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    assert isinstance(parse_patient_event(raw), Parsed | Rejected)
    assert isinstance(parse_loop_event(raw), Parsed | Rejected)
    assert isinstance(parse_line(raw), Parsed | Rejected)


@given(
    type_=st.sampled_from([*COMPLETE, "unit_signal", "unknown"]),
    changes=st.dictionaries(
        st.sampled_from(sorted({name for fields in COMPLETE.values() for name in fields} | {"at", "patient_id", "x"})),
        json_values,
        max_size=4,
    ),
)
@FEW
def test_no_json_makes_it_raise_and_a_record_survives_its_own_bytes(type_: str, changes: dict[str, Any]) -> None:
    outcome = parse_patient_event(message(type_, **changes))
    if isinstance(outcome, Parsed):
        again = msgspec.json.decode(msgspec.json.encode(outcome.record), type=type(outcome.record))
        assert again == outcome.record
    else:
        assert outcome.detail


# -- the fast path ----------------------------------------------------------------------------------------------------

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)
zones = st.sampled_from(["Z", "+00:00", "z", "+01:00", "-00:00", "", "-05:30"])
locals_ = st.datetimes(min_value=datetime(1890, 1, 1), max_value=datetime(2210, 1, 1))  # noqa: DTZ001
samples = st.fixed_dictionaries(
    {
        "type": st.just("telemetry"),
        "patient_id": st.sampled_from(["p1", "a:b", "x" * 64, "x" * 65, "", "p 1"]),
        "at": st.builds(lambda local, zone: local.isoformat() + zone, locals_, zones),
        "session_id": st.text(max_size=3),
        "machine_id": st.sampled_from(["m1", "m" * 200, "m" * 201]),
    },
    optional={
        **dict.fromkeys(("systolic_mmhg", "uf_rate_ml_h", "dialysate_temp_c", "body_temp_c"), numbers),
        "setting_origin": st.sampled_from(["ordered", "user", "other", None]),
        "event_id": st.sampled_from(["e1", None, ""]),
        "received_at": st.sampled_from([AT, None, "2026-11-23T08:00:00"]),
        "unknown": json_values,
    },
)


def _same(raw: bytes) -> None:
    """What parsing says is what pydantic alone says."""
    fast, slow = parse_patient_event(raw), _parse(raw, _PATIENT)
    assert fast == slow
    if isinstance(fast, Parsed):
        assert msgspec.json.encode(fast.record) == msgspec.json.encode(slow.record)  # type: ignore[union-attr]


@given(sample=samples)
@FEW
def test_the_fast_path_says_what_pydantic_says(sample: dict[str, Any]) -> None:
    _same(json.dumps(sample).encode())


@given(sample=samples, at=st.integers(0, 400), cut=st.integers(0, 6), put=st.binary(max_size=4))
@example(sample=json.loads(message("telemetry")), at=0, cut=0, put=b"\xef\xbb\xbf")
@FEW
def test_also_for_mutilated_json(sample: dict[str, Any], at: int, cut: int, put: bytes) -> None:
    raw = json.dumps(sample).encode()
    at = at % (len(raw) + 1)
    _same(raw[:at] + put + raw[at + cut :])


@pytest.mark.parametrize(
    "raw",
    [
        message("telemetry")[:-1] + b',"systolic_mmhg":1,"systolic_mmhg":2}',
        message("telemetry")[:-1] + b',"systolic_mmhg":123456789012345678901234567890}',
        message("telemetry")[:-1] + b',"systolic_mmhg":1e400}',
        message("telemetry")[:-1] + b',"systolic_mmhg":-0.0}',
        message("telemetry")[:-1] + b',"systolic_mmhg":5e-324}',
        message("telemetry")[:-1] + b',"type":"telemetry"}',
        message("telemetry")[:-1] + b',"type":"weight"}',
        message("telemetry", at="2026-11-23T08:00:00.123456789Z"),
        message("telemetry", at="2026-11-23T08:00:00.1234565Z"),
        message("telemetry", at="2026-11-23T08:00:00.12345649999Z"),
        message("telemetry", at="2026-11-23T23:59:59.9999999Z"),
        message("telemetry", at="2199-12-31T23:59:59.9999999Z"),
        message("telemetry", at="9999-12-31T23:59:59.9999999Z"),
        message("telemetry", at="2026-11-23T08:00:60Z"),
        message("telemetry", at="2026-11-23T23:59:60Z"),
        message("telemetry", source=7, setting_origin="nurse"),
        message("telemetry", source="\x1b", session_id="a\u202e", machine_id="\x7f"),
        message("telemetry", unit_id=" unit\u00e9 "),
        b"\xef\xbb\xbf" + message("telemetry"),
        message("telemetry", at="2026-11-23T24:00:00Z"),
        message("telemetry", at="2026-11-23T08:00Z"),
        message("telemetry", at="2026-11-23T08:00:00+0100"),
        message("telemetry", at="2026-11-23T08:00:00,5Z"),
        message("telemetry", at=" 2026-11-23T08:00:00Z"),
        message("telemetry", at="2026-11-23T08:00:00Z\n"),
        message("telemetry", session_id="\x00"),
        message("telemetry", session_id="\u00e9" * 200),
        message("telemetry", session_id="\U0001f600" * 200),
        message("telemetry").replace(b'"s1"', b'"\\ud800"'),
        message("telemetry").replace(b'"s1"', b'"\\u0000"'),
        b" \n" + message("telemetry") + b"\n ",
        message("telemetry") + b"x",
        message("telemetry") + b"\x00",
    ],
)
def test_also_at_the_edges(raw: bytes) -> None:
    _same(raw)


@pytest.mark.parametrize("type_", COMPLETE)
def test_a_record_is_its_model_field_by_field(type_: str) -> None:
    model: BaseModel = _PATIENT.validate_json(message(type_, event_id="e1", unit_id="u1", source="lab"))
    record = to_record(model)
    for name in type(model).model_fields:
        if name not in ("type", "received_at", "merged_from", "sodium_profile"):
            assert getattr(record, name) == getattr(model, name)
    assert issubclass(type(model), events.Event)

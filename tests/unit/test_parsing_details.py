"""Details that only describe, null, and noise around words: the event is used all the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from models.fields import descriptive_fields
from models.parsing import _MODELS, _PATIENT, Rejected, RejectReason, _parse, parse_patient_event
from models.records import to_record
from streams.commands.replay import run
from streams.engine.left_out import MAX_SAID, OnceASource
from tests.unit.test_parsing import COMPLETE, FEW, json_values, message, parsed, rejected
from tests.unit.timeline import Unit

DETAILS = [(type_, name) for type_ in COMPLETE for name in sorted(descriptive_fields(_MODELS[type_]))]
OPTIONAL = [
    (type_, name)
    for type_ in COMPLETE
    for name, field in _MODELS[type_].model_fields.items()
    if not field.is_required()
]


def left_out(raw: bytes) -> set[str]:
    return {detail.field for detail in parsed(raw).left_out}


@pytest.mark.parametrize(("type_", "name"), OPTIONAL)
def test_null_is_absent_in_every_optional_field(type_: str, name: str) -> None:
    if name == "type" or (type_, name) in (("lab_result", "value"), ("lab_result", "analyte")):
        return  # needed here: one of its alternatives is not given
    outcome = parsed(message(type_, **{name: None}))
    assert outcome == parsed(message(type_, **{name: ...}))
    assert outcome.left_out == ()


@pytest.mark.parametrize(
    ("type_", "name"),
    [(t, n) for t in COMPLETE for n, f in _MODELS[t].model_fields.items() if f.is_required()],
)
def test_null_in_a_required_field_is_a_missing_field(type_: str, name: str) -> None:
    outcome = rejected(message(type_, **{name: None}))
    assert (outcome.reason, outcome.detail.split(":")[0]) == (RejectReason.MISSING_FIELD, name)


@pytest.mark.parametrize("type_", list(dict.fromkeys(type_ for type_, _ in DETAILS)))
@given(value=json_values)
@FEW
def test_no_value_of_a_detail_makes_an_event_unusable(type_: str, value: Any) -> None:
    for name in [name for of, name in DETAILS if of == type_]:
        raw = message(type_, **{name: value})
        outcome = parsed(raw)
        assert {detail.field for detail in outcome.left_out} <= {name}
        bare, record = parsed(message(type_, **{name: ...})).record, outcome.record
        assert all(getattr(record, f) == getattr(bare, f) for f in record.__struct_fields__ if f != name), name
        if outcome.left_out and not isinstance(value, list):
            assert record == bare, name
        assert _parse(raw, _PATIENT) == outcome, name


@pytest.mark.parametrize(("score", "kept"), [(7.0, 7), (7, 7), (0, None), (11, None), (7.5, None), (True, None)])
def test_a_score(score: Any, kept: int | None) -> None:
    raw = message("symptom", score=score)
    assert parsed(raw).record.score == kept
    assert left_out(raw) == (set() if kept else {"score"})


@pytest.mark.parametrize("value", [0, -1, "71", None, True])
@pytest.mark.parametrize(
    ("type_", "name"),
    [
        *(("session_started", name) for name in ("pre_weight_kg", "target_weight_kg", "planned_minutes")),
        ("session_ended", "post_weight_kg"),
        *(("patient_profile", name) for name in ("height_cm", "target_weight_kg")),
    ],
)
def test_no_weight_costs_the_event_it_stands_beside(type_: str, name: str, value: Any) -> None:
    raw = message(type_, **{name: value})
    assert parsed(raw).record == parsed(message(type_)).record
    assert left_out(raw) == (set() if value is None else {name})


@pytest.mark.parametrize("number", [b"NaN", b"1e999", b'"180"'])
@pytest.mark.parametrize("name", ["uf_goal_ml", "pre_systolic_mmhg"])
def test_nor_does_a_number_of_a_start_that_is_none(name: str, number: bytes) -> None:
    raw = message("session_started", **{name: 12345}).replace(b"12345", number)
    assert (getattr(parsed(raw).record, name), left_out(raw)) == (None, {name})


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        ("session_started", "uf_goal_ml"),
        ("session_started", "pre_systolic_mmhg"),
        ("medication", "dose_mg"),
        *(
            ("telemetry", name)
            for name, field in _MODELS["telemetry"].model_fields.items()
            if "float" in str(field.annotation)
        ),
    ],
)
@pytest.mark.parametrize("value", [0, -1])
def test_zero_and_below_are_numbers(type_: str, name: str, value: float) -> None:
    outcome = parsed(message(type_, **{name: value}))
    assert (getattr(outcome.record, name), outcome.left_out) == (value, ())


def test_a_cramp_is_told_in_a_session_whose_start_has_no_weight() -> None:
    ward = Unit()
    ward.session(at="08:00", pre_weight_kg=0, target_weight_kg=0, planned_minutes=0)
    ward.symptom("cramp", at="08:10")
    assert [told.rule for told in ward.told] == ["intradialytic_cramp"]


@pytest.mark.parametrize("kind", ["vt", "asystole", " vf"])
def test_a_rhythm_is_not_lost_for_a_qtc_that_nobody_measured(kind: str) -> None:
    raw = message("rhythm", kind=kind, qtc_ms=0)
    assert (parsed(raw).record.kind, parsed(raw).record.qtc_ms, left_out(raw)) == (kind.strip(), None, {"qtc_ms"})


@pytest.mark.parametrize("kind", ["qtc", "qtc ", "\tqtc"])
def test_a_qtc_is_what_it_says(kind: str) -> None:
    assert rejected(message("rhythm", kind=kind, qtc_ms=0)).detail.startswith("qtc_ms: ")
    assert parsed(message("rhythm", kind=kind, qtc_ms=None)).record.qtc_ms is None


def test_what_an_event_is_about_is_strict() -> None:
    assert rejected(message("weight", kg=0)).detail.startswith("kg: ")
    assert rejected(message("medication", dose_mg="5")).detail.startswith("dose_mg: ")
    assert rejected(message("session_started", sodium_profile=[7])).detail.startswith("sodium_profile.0: ")


def test_of_a_list_only_the_unusable_items_go() -> None:
    raw = message(flags=["HH", 7, None, "x" * 21])
    assert (parsed(raw).record.flags, left_out(raw)) == (["HH"], {"flags"})
    raw = message("patient_profile", conditions=["lvh", {}, "cardiomyopathy"])
    assert parsed(raw).record.conditions == ["lvh", "cardiomyopathy"]


@pytest.mark.parametrize("name", ["status", "comparator", "specimen", "reported_at", "haemolysed", "replaces"])
def test_what_changes_the_meaning_is_strict_beside_an_unusable_detail(name: str) -> None:
    wrong: dict[str, Any] = {name: {}}
    outcome = rejected(message(**wrong, flags="LL", source=7))
    assert outcome.detail.startswith(f"{name}: ")
    assert "flags" not in outcome.detail


@pytest.mark.parametrize(
    ("type_", "fields"),
    [
        ("lab_result", {"analyte": ..., "loinc": " 19123-9\n"}),
        ("lab_result", {"status": "final ", "specimen": "\tserum", "analyte": "magnesium\u0000"}),
        ("symptom", {"kind": " cramp"}),
        ("medication", {"drug": "baclofen ", "action": "ordered\u200b"}),
        ("weight", {"type": "weight "}),
    ],
)
def test_space_around_a_word_means_nothing(type_: str, fields: dict[str, Any]) -> None:
    clean = {k: v.strip(" \t\n\u0000\u200b") if isinstance(v, str) else v for k, v in fields.items()}
    assert parsed(message(type_, **fields)).record == parsed(message(type_, **clean)).record


def test_a_mark_of_byte_order_is_no_part_of_a_message() -> None:
    for type_ in COMPLETE:
        assert parsed(b"\xef\xbb\xbf" + message(type_)) == parsed(message(type_))
    assert isinstance(parse_patient_event(b"\xef\xbb\xbf" * 2 + b"{}"), Rejected)


@pytest.mark.parametrize("type_", ["lab_result", "telemetry"])
@pytest.mark.parametrize("at", ["2026-12-31T23:59:60Z", "2027-01-01T00:59:60+01:00"])
def test_a_leap_second_is_the_instant_that_follows(type_: str, at: str) -> None:
    assert parsed(message(type_, at=at)).record.at == datetime(2027, 1, 1, tzinfo=UTC)
    assert isinstance(parse_patient_event(message(type_, at="2026-12-31T12:00:60Z")), Rejected)


def test_a_text_that_was_cut_in_the_middle_of_a_character() -> None:
    raw = message("machine_alarm", text="TEXT").replace(b"TEXT", b"low \\ud83d")
    assert parsed(raw).record.text == "low \\ud83d"
    ids = {
        parsed(message("symptom", symptom_id="ID").replace(b"ID", half)).record.symptom_id
        for half in (b"\\ud83d", b"\\ud83e")
    }
    assert len(ids) == 2


def test_the_wording_of_an_unknown_type_repeats_nothing_of_it() -> None:
    outcome = rejected(message("Jane expected tags: Doe, expected \x1b[2J"))
    assert "Jane" not in outcome.detail
    assert outcome.detail.isprintable()
    assert "Doe" not in outcome.detail


def test_a_model_with_null_gives_the_record_without_it() -> None:
    for type_ in COMPLETE:
        nulls = {n: None for t, n in OPTIONAL if t == type_ and n not in ("type", "value", "analyte")}
        model = _PATIENT.validate_json(message(type_, **nulls))
        assert to_record(model) == to_record(_PATIENT.validate_json(message(type_, **dict.fromkeys(nulls, ...))))
    assert json.loads(message("symptom"))["type"] == "symptom"


def test_replay_says_once_a_source_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "events.jsonl"
    lines = [b"\xef\xbb\xbf" + message("symptom", score=0, source="ward"), message("symptom", score=0, source="ward")]
    file.write_bytes(b"\n".join([*lines, message("symptom", score=0, source="other")]))
    assert run(str(file), strict=True) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in said] == [f"{file}:1", f"{file}:3"]
    assert "score: should be greater than or equal to 1; left out of the symptom from ward" in said[0]
    assert "p1" not in said[0].removeprefix(str(file))


def test_what_is_said_is_bounded() -> None:
    said = OnceASource()
    for number in range(MAX_SAID + 10):
        outcome = parsed(message("symptom", score=0, source=f"s{number}"))
        assert len(list(said.news("t", outcome.record, outcome.left_out))) == (number < MAX_SAID)

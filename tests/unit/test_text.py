"""Foreign text: one line, nothing a terminal acts on, and identifiers that differ stay different."""

from __future__ import annotations

import json
import logging
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.parsing import _MODELS, Parsed, parse_patient_event
from models.repair import strings_of
from models.text import REPLACED, one_line, printable, spelled, trimmed
from streams.worker.logs import LineFormatter
from tests.unit.test_parsing import COMPLETE, FEW, message, parsed, rejected
from tests.unit.timeline import Unit

NASTY = [*map(chr, range(0x20)), "\x7f", "\x85", "\x9b", "\u061c", "\u200b", "\u200e", "\u2028", "\u2029", "\u202a",
         "\u202e", "\u2066", "\u2069", "\ufeff", "\ue000", "\U000e0041", "\U0010ffff", "\u0378"]  # fmt: skip
texts = st.text(st.sampled_from(["a", "\\", "u", "0", "1", "b", " ", "é", *NASTY]), max_size=230) | st.text()


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [one for pair in value.items() for item in pair for one in strings(item)]
    if isinstance(value, list):
        return [one for item in value for one in strings(item)]
    return [value] if isinstance(value, str) else []


@given(text=texts)
@FEW
def test_whatever_is_written_fits_to_be_shown(text: str) -> None:
    for made in (one_line(text), spelled(text), printable(text)):
        assert made.isprintable()
    assert len(one_line(text)) <= len(text)
    assert one_line(one_line(text)) == one_line(text)
    assert spelled(spelled(text)) == spelled(text)
    assert len(spelled(text)) <= max(200, len(text))
    assert trimmed(text) == trimmed(trimmed(text))


@given(one=texts, other=texts)
@FEW
def test_identifiers_that_differ_stay_different(one: str, other: str) -> None:
    if one != other and one.isprintable() == other.isprintable():
        assert spelled(one) != spelled(other)


def test_how_they_are_shown() -> None:
    assert one_line("\x1b[2J\x1b[31mALL CLEAR\nsecond line\u202e") == f"[2J{REPLACED}[31mALL CLEAR second line"
    assert spelled("a\x1b\\b") == "a\\u001b\\u005cb"
    assert spelled("DOMAIN\\user") == "DOMAIN\\user"
    assert trimmed(" \ufeff19123-9\x00") == "19123-9"


@pytest.mark.parametrize("bad", NASTY)
@pytest.mark.parametrize("type_", COMPLETE)
def test_no_such_character_leaves_the_parser(type_: str, bad: str) -> None:
    texts = {name: ["a" + bad + "b"] if name in ("flags", "conditions") else "a" + bad + "b"
             for name, _ in strings_of(_MODELS[type_])}  # fmt: skip
    outcome = parsed(message(type_, **texts))
    assert outcome.left_out == ()
    for text in strings(msgspec.to_builtins(outcome.record)):
        assert text.isprintable(), ascii(text)


@given(name=st.sampled_from(["session_id", "machine_id", "unit_id", "source"]), text=texts, escaped=st.booleans())
@FEW
def test_telemetry_neither(name: str, text: str, escaped: bool) -> None:
    fields = json.loads(message("telemetry")) | {name: text}
    outcome = parse_patient_event(json.dumps(fields, ensure_ascii=escaped).encode(errors="replace"))
    if isinstance(outcome, Parsed):
        assert all(text.isprintable() for text in strings(msgspec.to_builtins(outcome.record)))


def test_a_chair_that_is_nothing_but_control_characters_is_left_out() -> None:
    outcome = parsed(message("session_started", chair="\x1b\n"))
    assert (outcome.record.chair, [detail.field for detail in outcome.left_out]) == (None, ["chair"])
    assert rejected(message("medication", drug="\x1b")).detail.startswith("drug: ")


def test_a_summary_is_one_line_whatever_the_state_of_an_older_version_holds() -> None:
    ward = Unit()
    ward.session(at="08:00", chair="7")
    state = ward.replay._patients.states["p1"]
    session = state.sessions["s1"]
    session.starts = [msgspec.structs.replace(cast("Any", session.starts[0]), chair="7\x1b[2K\r\u202e")]
    ward.symptom("cramp", at="08:10")
    told = ward.told[-1]
    assert (told.rule, told.chair) == ("intradialytic_cramp", "7\ufffd[2K")
    assert bytes(state.alerts[told.alert_id].value).decode().isprintable()


def test_a_log_line_is_one_line() -> None:
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "holds %s", ("\x1b[2J\nforged",), None)
    assert LineFormatter("%(message)s").format(record) == "holds ?[2J?forged"

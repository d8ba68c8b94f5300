"""Usable messages of each kind, and what can be wrong with them: by a list, and by chance."""

from __future__ import annotations

import json
import random
from typing import Any

from models.topics import UNIT_SIGNALS
from tests.integration.messages import (
    MEGABYTE,
    Message,
    ago,
    event,
    lab,
    response,
    session_started,
    symptom,
    telemetry,
)


def body(message: Message, **changed: Any) -> bytes:
    assert message.value is not None
    return json.dumps(json.loads(message.value) | changed).encode()


def without(message: Message, name: str) -> bytes:
    assert message.value is not None
    return json.dumps({key: value for key, value in json.loads(message.value).items() if key != name}).encode()


def good_examples(patient: str) -> dict[str, Message]:
    """A usable message of each kind, one of each topic first."""
    return {
        "lab-results": lab(patient, 2.0),
        "machine-events": telemetry(patient, "g-s", heart_rate_bpm=70.0),
        "clinical-events": symptom(patient, "nausea", "g-n"),
        "unit-signals": event(UNIT_SIGNALS, "alert_response", patient, alert_id="none", by="t", action="acknowledge"),
        "session": session_started(patient, "g-s", sodium_profile=[{"minute": 0, "na_mmol_l": 140.0}]),
        "response": response(patient, "none", "snooze", until=ago(-60).isoformat()),
        "alarm": event(
            "machine-events", "machine_alarm", patient, session_id="g-s", machine_id="m", code="1", phase="start"
        ),
    }


def garbage(good: Message, subject: str) -> list[tuple[str, bytes | None, bytes | None, str]]:
    """What is wrong, key, value and the reason that the dead letter must give; the same for every topic."""
    assert good.value is not None
    key = subject.encode()
    name = "water_loop_id" if good.topic == UNIT_SIGNALS else "patient_id"
    # A loop may have any name, so that another one is only seen from the key.
    odd_name = "key_mismatch" if good.topic == UNIT_SIGNALS else "out_of_range"
    foreign = b'{"type":"lab_result"}' if good.topic == UNIT_SIGNALS else b'{"type":"unit_signal"}'
    return [
        ("no value", key, None, "empty"),
        ("empty", key, b"", "empty"),
        ("empty and no key", None, b"", "empty"),
        ("blanks", key, b"   ", "invalid_json"),
        ("no key", None, good.value, "key_mismatch"),
        ("empty key", b"", good.value, "key_mismatch"),
        ("key of bytes", b"\xff\x00\xfe", good.value, "key_mismatch"),
        ("a key of 20 kB", b"k" * 20_000, good.value, "key_mismatch"),
        ("somebody else", key, body(good, **{name: subject + "x"}), "key_mismatch"),
        ("nobody", key, body(good, **{name: ""}), "out_of_range"),
        ("somebody with blanks", key, body(good, **{name: "a b"}), odd_name),
        ("somebody with a final newline", key, body(good, **{name: subject + "\n"}), odd_name),
        ("raw bytes", key, bytes(range(256)), "invalid_json"),
        ("zeros", key, b"\x00" * 1000, "invalid_json"),
        ("HL7", key, b"MSH|^~\\&|LAB|||20261123||ORU^R01|1|P|2.5\rPID|1", "invalid_json"),
        ("Avro", key, b"\x00\x00\x00\x00\x07\x02\x0ap1", "invalid_json"),
        ("gzip", key, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "invalid_json"),
        ("not UTF-8", key, good.value.replace(b'"type"', b'"t\xffpe"'), "invalid_json"),
        ("UTF-16", key, good.value.decode().encode("utf-16"), "invalid_json"),
        ("cut off", key, good.value[:-1], "invalid_json"),
        ("two byte order marks", key, b"\xef\xbb\xbf" * 2 + good.value, "invalid_json"),
        ("two in one", key, good.value + good.value, "invalid_json"),
        ("trailing comma", key, good.value[:-1] + b",}", "invalid_json"),
        ("deep array", key, b"[" * 100_000 + b"]" * 100_000, "invalid_json"),
        ("deep object", key, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "invalid_json"),
        ("deep in a field", key, good.value[:-1] + b',"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "invalid_json"),
        ("array", key, b"[]", "not_an_object"),
        ("text", key, b'"text"', "not_an_object"),
        ("number", key, b"1e999", "not_an_object"),
        ("null", key, b"null", "not_an_object"),
        ("nothing in it", key, b"{}", "missing_field"),
        ("no type", key, without(good, "type"), "missing_field"),
        ("null type", key, body(good, type=None), "unknown_type"),
        ("type in a list", key, body(good, type=["lab_result"]), "unknown_type"),
        ("unknown type", key, body(good, type="heartbeat"), "unknown_type"),
        ("type in capitals", key, body(good, type="LAB_RESULT"), "unknown_type"),
        ("of another kind of topic", key, foreign, "unknown_type"),
        ("no time", key, without(good, "at"), "missing_field"),
        ("no time zone", key, body(good, at="2026-11-23T07:00:00"), "naive_timestamp"),
        ("year 9999", key, body(good, at="9999-12-31T23:59:59Z"), "out_of_range"),
        ("year 1", key, body(good, at="0001-01-01T00:00:00Z"), "out_of_range"),
        ("year 10000", key, body(good, at="10000-01-01T00:00:00Z"), "wrong_type"),
        ("30 February", key, body(good, at="2026-02-30T00:00:00Z"), "wrong_type"),
        ("hour 25", key, body(good, at="2026-02-03T25:00:00Z"), "wrong_type"),
        ("offset of a century", key, body(good, at="2026-02-03T00:00:00+99:99"), "wrong_type"),
        ("time as a number", key, body(good, at=1764000000), "wrong_type"),
        ("time as null", key, body(good, at=None), "missing_field"),
        ("time in words", key, body(good, at="yesterday"), "wrong_type"),
        ("time in other digits", key, body(good, at="٢٠٢٦-11-23T07:00:00Z"), "wrong_type"),
        ("nobody's name is a number", key, body(good, **{name: 7}), "wrong_type"),
    ]


SPECIAL: list[tuple[str, str, dict[str, Any], str]] = [
    ("lab-results", "text for a number", {"value": "1.5"}, "wrong_type"),
    ("lab-results", "flag for a number", {"value": True}, "wrong_type"),
    ("lab-results", "no value", {"value": None}, "missing_field"),
    ("lab-results", "no analyte", {"analyte": None}, "missing_field"),
    ("lab-results", "unknown analyte", {"analyte": "unobtainium"}, "unknown_value"),
    ("lab-results", "unknown status", {"status": "FINAL"}, "unknown_value"),
    ("lab-results", "unknown comparator", {"comparator": "~"}, "unknown_value"),
    ("lab-results", "a unit of a kilobyte", {"unit": "m" * 1000}, "out_of_range"),
    ("machine-events", "text for a number", {"heart_rate_bpm": "70"}, "wrong_type"),
    ("machine-events", "number for an id", {"session_id": 1}, "wrong_type"),
    ("clinical-events", "unknown kind", {"kind": "hiccup"}, "unknown_value"),
    ("response", "snooze for ever", {"until": None}, "missing_field"),
    ("response", "unknown action", {"action": "ignore"}, "unknown_value"),
    ("session", "profile of text", {"sodium_profile": [{"minute": "0", "na_mmol_l": 1}]}, "wrong_type"),
    ("session", "profile without end", {"sodium_profile": [{"minute": 0, "na_mmol_l": 1}] * 101}, "out_of_range"),
    ("alarm", "a novel for a code", {"code": "x" * 3 * MEGABYTE}, "out_of_range"),
    ("alarm", "unknown phase", {"phase": "middle"}, "unknown_value"),
]


def mutated(chance: random.Random, value: bytes) -> bytes | None:
    """One of many things that can happen to a message on its way."""
    raw = bytearray(value)
    match chance.randrange(9):
        case 0:
            for _ in range(chance.randrange(1, 5)):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        case 1:
            del raw[chance.randrange(len(raw)) :]
        case 2:
            start = chance.randrange(len(raw))
            del raw[start : start + chance.randrange(1, 20)]
        case 3:
            start = chance.randrange(len(raw))
            raw[start:start] = chance.randbytes(chance.randrange(1, 20))
        case 4:
            start = chance.randrange(len(raw))
            raw[start:start] = raw[start : start + chance.randrange(1, 40)]
        case 5:
            return chance.choice([None, b"", chance.randbytes(chance.randrange(1, 300))])
        case _:
            fields = json.loads(value)
            name = chance.choice(list(fields))
            odd: list[Any] = [None, True, -1, 0, 1e308, -1e-308, "", "\u0000", "é" * 300, [], {}, [[]], {"a": None}]
            odd += ["2026-11-23T07:00:00Z", 2**70, "NaN", "\ud83d\ude00", "x" * 5000, fields[name], [fields[name]]]
            fields[name] = chance.choice(odd)
            if chance.random() < 0.2:
                fields[chance.choice(["a", "patient_id ", "__class__", "", "type"])] = chance.choice(odd)
            return json.dumps(fields, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")
    return bytes(raw)

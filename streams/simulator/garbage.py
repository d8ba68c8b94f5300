"""Broken messages of every kind, as gateways in the field produce them."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from models.topics import CLINICAL_EVENTS, LAB_RESULTS, MACHINE_EVENTS
from streams.simulator.chance import stream
from streams.simulator.planned import Planted, Scribe, TimedMessage
from streams.simulator.population import Population

#: Seconds between messages: the first of each kind come quickly, later ones rarely, so that topics stay mostly usable.
_FIRST_EVERY: Final = 2.0
_LATER_EVERY: Final = 30.0

_TELEMETRY: Final[dict[str, Any]] = {
    "type": "telemetry",
    "patient_id": "?",
    "at": "?",
    "session_id": "S-garbage",
    "machine_id": "M-garbage",
    "blood_flow_ml_min": 300,
}
_LAB: Final[dict[str, Any]] = {
    "type": "lab_result",
    "patient_id": "?",
    "at": "?",
    "result_id": "garbage",
    "analyte": "magnesium",
    "value": 2.0,
    "unit": "mg/dL",
}
_SYMPTOM: Final[dict[str, Any]] = {
    "type": "symptom",
    "patient_id": "?",
    "at": "?",
    "symptom_id": "garbage",
    "kind": "nausea",
}

Fields = dict[str, Any]
_encode: Final = msgspec.json.encode


def _without(name: str) -> Callable[[Fields], bytes]:
    return lambda body: _encode({key: value for key, value in body.items() if key != name})


def _with(**changed: Any) -> Callable[[Fields], bytes]:
    return lambda body: _encode(body | changed)


def _replacing(old: bytes, new: bytes) -> Callable[[Fields], bytes]:
    return lambda body: _encode(body).replace(old, new)


def _constant(value: bytes | None) -> Callable[[Fields], bytes | None]:
    return lambda _body: value


def _naive(body: Fields) -> bytes:
    return _encode(body | {"at": body["at"].removesuffix("Z")})


#: The defect, the reason of its dead letter (None: usable, with `data_quality` or without consequence), topic, a good
#: body, and how the message is made from it. `garbage` itself makes a mismatched key.
_KINDS: Final[tuple[tuple[str, str | None, str, dict[str, Any], Callable[[Fields], bytes | None]], ...]] = (
    ("not JSON", "invalid_json", MACHINE_EVENTS, _TELEMETRY, _constant(b"\x02TREND;M17;300;36.5\x03")),
    ("cut off", "invalid_json", MACHINE_EVENTS, _TELEMETRY, lambda body: _encode(body)[:-9]),
    ("not UTF-8", "invalid_json", MACHINE_EVENTS, _TELEMETRY, _replacing(b"M-garbage", b"M-\xfcnit")),
    ("nested too deep", "invalid_json", MACHINE_EVENTS, _TELEMETRY, _constant(b"[" * 5000)),
    ("empty", "empty", MACHINE_EVENTS, _TELEMETRY, _constant(b"")),
    ("tombstone", "empty", MACHINE_EVENTS, _TELEMETRY, _constant(None)),
    ("array", "not_an_object", MACHINE_EVENTS, _TELEMETRY, lambda body: _encode([body])),
    ("unknown type", "unknown_type", MACHINE_EVENTS, _TELEMETRY, _with(type="heartbeat")),
    ("no type", "missing_field", CLINICAL_EVENTS, _SYMPTOM, _without("type")),
    ("no session", "missing_field", MACHINE_EVENTS, _TELEMETRY, _without("session_id")),
    ("no value", "missing_field", LAB_RESULTS, _LAB, _without("value")),
    ("text for a number", "wrong_type", MACHINE_EVENTS, _TELEMETRY, _with(blood_flow_ml_min="300")),
    ("flag for a number", "wrong_type", MACHINE_EVENTS, _TELEMETRY, _with(blood_flow_ml_min=True)),
    ("time as a number", "wrong_type", MACHINE_EVENTS, _TELEMETRY, _with(at=1767600000)),
    ("unknown kind", "unknown_value", CLINICAL_EVENTS, _SYMPTOM, _with(kind="hiccup")),
    ("score off the scale", None, CLINICAL_EVENTS, _SYMPTOM, _with(score=11)),
    ("year off the scale", "out_of_range", MACHINE_EVENTS, _TELEMETRY, _with(at="0001-01-01T00:00:00Z")),
    ("no offset", "naive_timestamp", MACHINE_EVENTS, _TELEMETRY, _naive),
    ("NaN", "not_finite", MACHINE_EVENTS, _TELEMETRY, _replacing(b":300", b":NaN")),
    ("infinite", "not_finite", MACHINE_EVENTS, _TELEMETRY, _replacing(b":300", b":1e999")),
    ("another's key", "key_mismatch", MACHINE_EVENTS, _TELEMETRY, _encode),
    ("unknown unit", None, LAB_RESULTS, _LAB, _with(unit="mg/L")),
    ("implausible value", None, LAB_RESULTS, _LAB, _with(value=200.0)),
    ("unknown field", None, CLINICAL_EVENTS, _SYMPTOM, _with(noted_by="N7")),
)
#: Usable messages that should raise `data_quality`.
_DATA_QUALITY: Final = frozenset({"unknown unit", "implausible value"})


def garbage(seed: int, scribe: Scribe, population: Population, patients: int, begin: float) -> Iterator[TimedMessage]:
    """Yield broken messages without end, with their consequences recorded as planted.

    Args:
        seed: The unit's seed.
        scribe: Converts offsets to instants.
        population: The patients that the messages name.
        patients: Number of these patients.
        begin: Messages arrive after this, seconds from the unit's start.
    """
    number, at, rng = 0, begin, stream(seed, "garbage")
    while True:
        name, reason, topic, good, broken = _KINDS[number % len(_KINDS)]
        at += _FIRST_EVERY if number < len(_KINDS) else _LATER_EVERY * rng.uniform(0.5, 1.5)
        patient_id = population[rng.randrange(patients)].patient_id
        happened = scribe.at(at - 1)
        body = good | {"patient_id": patient_id, "at": happened.isoformat().replace("+00:00", "Z")}
        ids: tuple[str, ...] = ()
        for identity in ("result_id", "symptom_id"):
            if identity in body:
                body[identity] = f"garbage-{number}"
                ids = (body[identity],)
        key = f"{patient_id}-other" if reason == "key_mismatch" else patient_id
        planted = None
        if reason:
            planted = Planted("garbage", key, happened, ids=(name,), reason=reason)
        elif name in _DATA_QUALITY:
            planted = Planted("data_quality", key, happened, ids=ids)
        yield TimedMessage(scribe.at(at), happened, topic, key, broken(body), planted)
        number += 1

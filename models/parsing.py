"""From raw bytes to a record, or to the reason why not. Strict, and never raises on any bytes (contract, Parsing).

Telemetry is nearly all of the traffic, so it is first tried by msgspec, which refuses whatever it is not sure
of; pydantic then decides and words the error. A test holds the two to the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Generic, TypeVar

import msgspec
from pydantic import TypeAdapter, ValidationError

from models import events
from models.records import LoopRecord, PatientRecord, SessionEnded, Telemetry, to_record

RecordT = TypeVar("RecordT")


class RejectReason(StrEnum):
    """Why a value is unusable: the `dl_reason` of a dead letter and the label of its metric."""

    EMPTY = "empty"
    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_VALUE = "unknown_value"
    OUT_OF_RANGE = "out_of_range"
    NAIVE_TIMESTAMP = "naive_timestamp"
    NOT_FINITE = "not_finite"
    KEY_MISMATCH = "key_mismatch"
    TOO_LARGE = "too_large"


class FaultReason(StrEnum):
    """Why a dead letter is none of a sender's making: like `RejectReason`, but nothing is wrong with a value."""

    #: Filing the event raised.
    INTERNAL_ERROR = "internal_error"
    #: The changelog refuses the record of the subject.
    STATE_TOO_LARGE = "state_too_large"
    #: Its topic refuses a message of ours.
    MESSAGE_TOO_LARGE = "message_too_large"


class Parsed(msgspec.Struct, Generic[RecordT], frozen=True, gc=False):
    """A usable message: the record, when its line says it was received, and how many fields were unknown.

    `merged_from` names the records from which a merge moved it here, in order.

    A struct, because one is made for every event: it takes a tenth of a frozen dataclass's time.
    """

    record: RecordT
    received_at: datetime | None = None
    unknown_fields: int = 0
    merged_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """An unusable message. `detail` names the field and what it wants, never a value."""

    reason: RejectReason
    detail: str


_PATIENT: Final[TypeAdapter[events.PatientEvent]] = TypeAdapter(events.PatientEvent)
_LOOP: Final[TypeAdapter[events.LoopEvent]] = TypeAdapter(events.LoopEvent)
# A union, because for a single struct msgspec does not insist on the tag.
_TELEMETRY: Final = msgspec.json.Decoder(Telemetry | SessionEnded)

_REASONS: Final = {
    "json_invalid": RejectReason.INVALID_JSON,
    "dict_type": RejectReason.NOT_AN_OBJECT,
    "model_attributes_type": RejectReason.NOT_AN_OBJECT,
    "union_tag_invalid": RejectReason.UNKNOWN_TYPE,
    "union_tag_not_found": RejectReason.MISSING_FIELD,
    "missing": RejectReason.MISSING_FIELD,
    "missing_analyte": RejectReason.MISSING_FIELD,
    "missing_value": RejectReason.MISSING_FIELD,
    "missing_until": RejectReason.MISSING_FIELD,
    "enum": RejectReason.UNKNOWN_VALUE,
    "literal_error": RejectReason.UNKNOWN_VALUE,
    "timezone_aware": RejectReason.NAIVE_TIMESTAMP,
    "finite_number": RejectReason.NOT_FINITE,
    "year": RejectReason.OUT_OF_RANGE,
    "greater_than": RejectReason.OUT_OF_RANGE,
    "greater_than_equal": RejectReason.OUT_OF_RANGE,
    "less_than_equal": RejectReason.OUT_OF_RANGE,
    "string_too_short": RejectReason.OUT_OF_RANGE,
    "string_too_long": RejectReason.OUT_OF_RANGE,
    "string_pattern_mismatch": RejectReason.OUT_OF_RANGE,
    "too_long": RejectReason.OUT_OF_RANGE,
}
_SHOWN_ERRORS: Final = 5


def parse_patient_event(raw: bytes | None) -> Parsed[PatientRecord] | Rejected:
    """Parse a message of a patient topic."""
    if raw:
        try:
            sample = _TELEMETRY.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            at = sample.at
            if at.tzinfo is UTC and events.FIRST_YEAR <= at.year <= events.LAST_YEAR:
                return Parsed(sample)
    return _parse(raw, _PATIENT)


def parse_loop_event(raw: bytes | None) -> Parsed[LoopRecord] | Rejected:
    """Parse a message of `unit-signals`."""
    return _parse(raw, _LOOP)


def _parse(raw: bytes | None, adapter: TypeAdapter[RecordT]) -> Parsed[RecordT] | Rejected:
    if not raw:
        return Rejected(RejectReason.EMPTY, "the message has no value")
    try:
        model = adapter.validate_json(raw)
    except ValidationError as error:
        return _rejected(error)
    assert isinstance(model, events.Message)  # noqa: S101 (for the type checker)
    unknown = len(model.model_extra or ())
    way = tuple(getattr(model, "merged_from", None) or ())
    return Parsed(to_record(model), model.received_at, unknown, way)


def _rejected(error: ValidationError) -> Rejected:
    """Word pydantic's errors: `field: what it wants`. Their input values stay out, they may be a patient's."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    reason = _REASONS.get(errors[0]["type"], RejectReason.WRONG_TYPE)
    lines = []
    for item in errors[:_SHOWN_ERRORS]:
        field = ".".join(str(part) for part in item["loc"][1:]) or "message"
        lines.append(f"{field}: {_wording(item['type'], item['msg'])}")
    if len(errors) > _SHOWN_ERRORS:
        lines.append(f"and {len(errors) - _SHOWN_ERRORS} more")
    return Rejected(reason, "; ".join(lines))


def _wording(kind: str, message: str) -> str:
    if kind == "union_tag_invalid":
        return (
            "unknown `type`" + message[message.find(", expected") :]
            if ", expected" in message
            else ("unknown `type`, expected one of" + message.partition("expected tags:")[2])
        )
    if kind == "union_tag_not_found":
        return "needs `type`"
    if kind == "timezone_aware":
        return "needs an offset, for example 2026-11-23T07:30:00+01:00"
    return message.replace("Input s", "s")

"""From raw bytes to a record, or to the reason why not. Strict, and never raises on any bytes (contract, Parsing).

Telemetry is nearly all of the traffic, so msgspec tries it first and refuses whatever it is not sure of; pydantic
then decides and gives the error. A test requires the same result of both.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar, get_args

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json

from models import events
from models.fields import FIRST_YEAR, LAST_YEAR
from models.records import LoopRecord, PatientRecord, SessionEnded, Telemetry, record_type, to_record
from models.repair import LeftOut, UncleanError, clean, mend, read_json
from models.text import BACKSLASH, DELETE, is_plain

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
    """Why a message is a dead letter though no sender is at fault: like `RejectReason`, but no value is wrong."""

    #: Filing the event raised.
    INTERNAL_ERROR = "internal_error"
    #: The changelog refused the subject's record.
    STATE_TOO_LARGE = "state_too_large"
    #: A topic refused one of our messages.
    MESSAGE_TOO_LARGE = "message_too_large"


class Parsed(msgspec.Struct, Generic[RecordT], frozen=True, gc=False):
    """A usable message: its record, its `received_at` if it has one, how many fields were unknown, what is left out.

    `merged_from` names the records from which a merge moved it here, in order.

    It is a struct because one is made for every event: it takes a tenth of a frozen dataclass's time.
    """

    record: RecordT
    received_at: datetime | None = None
    unknown_fields: int = 0
    merged_from: tuple[str, ...] = ()
    #: Descriptive fields whose values could not be used.
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """An unusable message. `detail` names the field and what it requires, never a value."""

    reason: RejectReason
    detail: str


_PATIENT: Final[TypeAdapter[events.PatientEvent]] = TypeAdapter(events.PatientEvent)
_LOOP: Final[TypeAdapter[events.LoopEvent]] = TypeAdapter(events.LoopEvent)
# A union, because msgspec does not require the tag of a single struct.
_decode_telemetry: Final = msgspec.json.Decoder(Telemetry | SessionEnded).decode

_MODELS: Final[dict[str, type[BaseModel]]] = {
    str(model.model_fields["type"].default): model
    for union in (events.LoopEvent, events.PatientEvent)
    for model in get_args(get_args(union)[0])
}
_ALL: Final[tuple[type[BaseModel], ...]] = (*_MODELS.values(), events.UnitAlertResponse)
_MODEL_OF: Final[dict[Any, type[BaseModel]]] = {record_type(model): model for model in _ALL}
_TYPES: Final = ", ".join(f"'{kind}'" for kind in _MODELS)

_texts: Final = attrgetter("session_id", "event_id", "unit_id", "source")

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
            sample = _decode_telemetry(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            at = sample.at
            if at.tzinfo is UTC and FIRST_YEAR <= at.year <= LAST_YEAR:
                # The same as `is_plain`, without the call. Most of what is not plain has accents only.
                if raw.isascii() and BACKSLASH not in raw and DELETE not in raw:
                    return Parsed(sample)
                texts = (*_texts(sample), getattr(sample, "machine_id", None))
                return Parsed(sample) if "".join(filter(None, texts)).isprintable() else _cleaned(sample, None, 0, {})
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
        return _mended(raw, adapter, error)
    return _parsed(raw, model, {})


def _mended(raw: bytes, adapter: TypeAdapter[RecordT], error: ValidationError) -> Parsed[RecordT] | Rejected:
    """Mend what can be mended and parse again. Each turn mends something, so there are few."""
    errors = _errors(error)
    left_out: dict[str, str] = {}
    try:
        # A mark of byte order, or half a character where a text was cut, leaves the meaning plain.
        message = read_json(raw.removeprefix(BOM_UTF8))
        readable = errors[0]["type"] != "json_invalid"
        while True:
            if readable:
                model = _MODELS.get(str(errors[0]["loc"][0])) if errors[0]["loc"] else None
                rest = mend(message, errors, model, left_out) if isinstance(message, dict) else errors
                if rest:
                    return _rejected(rest)
            try:
                return _parsed(raw, adapter.validate_json(to_json(message)), left_out)
            except ValidationError as again:
                if not readable and _errors(again)[0]["type"] == "json_invalid":
                    return _rejected(errors)
                readable, errors = True, _errors(again)
    except (ValueError, RecursionError):
        return _rejected(errors)


def _errors(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False, include_input=False)


def _parsed(raw: bytes, model: Any, left_out: dict[str, str]) -> Parsed[Any] | Rejected:
    assert isinstance(model, events.Message)  # noqa: S101 (for the type checker)
    record, unknown = to_record(model), len(model.model_extra or ())
    way = tuple(getattr(model, "merged_from", None) or ())
    if left_out or not is_plain(raw):
        return _cleaned(record, model.received_at, unknown, left_out, way)
    return Parsed(record, model.received_at, unknown, way)


def _cleaned(
    record: Any,
    received_at: datetime | None,
    unknown: int,
    left_out: dict[str, str],
    way: tuple[str, ...] = (),
) -> Parsed[Any] | Rejected:
    """Remove characters that must not be shown; reject the message if a strict field has no others."""
    try:
        record = clean(record, _MODEL_OF[type(record)], left_out)
    except UncleanError as error:
        return Rejected(RejectReason.OUT_OF_RANGE, f"{error}: should hold a character that can be shown")
    return Parsed(record, received_at, unknown, way, tuple(LeftOut(*item) for item in left_out.items()))


def _rejected(errors: list[ErrorDetails]) -> Rejected:
    """Write pydantic's errors as `field: what it requires`, without input values, which may be a patient's."""
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
        # Pydantic's sentence repeats the tag, which is foreign text.
        return f"unknown `type`, expected one of {_TYPES}"
    if kind == "union_tag_not_found":
        return "needs `type`"
    if kind == "timezone_aware":
        return "needs an offset, for example 2026-11-23T07:30:00+01:00"
    return message.replace("Input s", "s")

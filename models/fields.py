"""The types of the fields of events: bounds, times, and which of them only describe.

A field marked `DESCRIPTIVE` only describes: an unusable value of it is left out and counted, the event is used.
Every other field is strict, because without it the rest would mean something else. `OR_DEFAULT` lets null stand for
a default that is not null. `ONE_LINE` and `SPELLED` define how the parser replaces characters that must not be shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from models.text import one_line, spelled, trimmed


@dataclass(frozen=True)
class Descriptive:
    """Marks a field that only describes; with `unless` (a field, a value) not where that field has that value."""

    unless: tuple[str, str] | None = None


class OrDefault:
    """Marks a field whose default is not null, and for which null stands for that default."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.nullable_schema(handler(source))


@dataclass(frozen=True)
class Cleaned:
    """Marks a string with the function that makes it fit to be shown."""

    clean: Callable[[str], str]


DESCRIPTIVE: Final = Descriptive()
OR_DEFAULT: Final = OrDefault()
#: A free text, or a code in which a stray character means nothing.
ONE_LINE: Final = Cleaned(one_line)
#: An identifier: two that differ stay different.
SPELLED: Final = Cleaned(spelled)

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?\Z", re.ASCII)
_SECOND: Final = slice(17, 19)
#: Outside these years an instant is a fault of the sender, and arithmetic on it could overflow.
FIRST_YEAR, LAST_YEAR = 1900, 2199


def _rfc3339(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        if match := _RFC3339.match(value):
            # Round what is finer than a microsecond, as the telemetry decoder does; `fromisoformat` would cut it off.
            finer = timedelta(microseconds=(match[1] or "")[7:8] >= "5")
            try:
                return datetime.fromisoformat(value.upper()) + finer
            except ValueError:
                return _leap_second(value) + finer
    except (ValueError, OverflowError):  # a 30 February, or the end of time
        pass
    raise PydanticCustomError("rfc3339", "should be RFC 3339, for example 2026-11-23T07:30:00+01:00")


def _leap_second(value: str) -> datetime:
    """Read `23:59:60Z` as the instant that follows; raise ValueError for a second 60 at another time."""
    if value[_SECOND] != "60":
        raise ValueError
    moment = datetime.fromisoformat((value[:17] + "59" + value[19:]).upper()) + timedelta(seconds=1)
    if moment.tzinfo is not None and moment.astimezone(UTC).time().replace(microsecond=0).isoformat() != "00:00:00":
        raise ValueError
    return moment


def _in_utc(value: datetime) -> datetime:
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise PydanticCustomError("year", f"should lie in the years {FIRST_YEAR} to {LAST_YEAR}")
    return value.astimezone(UTC)


def _whole(value: object) -> object:
    """Take 7.0 as 7: serialisers that know one kind of number write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


PATIENT_ID = r"^[A-Za-z0-9._:-]{1,64}$"

PatientId = Annotated[str, Field(pattern=PATIENT_ID)]
Identifier = Annotated[str, Field(min_length=1, max_length=200), SPELLED]
#: A name or a code: space around it means nothing.
Word = Annotated[str, Field(min_length=1, max_length=200), StringConstraints(strip_whitespace=True), ONE_LINE]
Flag = Annotated[str, Field(max_length=20), StringConstraints(strip_whitespace=True), ONE_LINE]
Unit = Annotated[str, Field(max_length=40), StringConstraints(strip_whitespace=True), ONE_LINE]
#: Free text: kept with the patient, so it has a bound.
Text = Annotated[str, Field(max_length=2000), ONE_LINE]
Instant = Annotated[AwareDatetime, BeforeValidator(_rfc3339), AfterValidator(_in_utc)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Score = Annotated[int, Field(ge=1, le=10), BeforeValidator(_whole)]


def descriptive_fields(model: type[BaseModel], message: Mapping[str, Any] | None = None) -> frozenset[str]:
    """Return the fields of a model that only describe: in every message or, if `message` is given, in that one."""
    always = frozenset(name for name, field in model.model_fields.items() if DESCRIPTIVE in field.metadata)
    if message is None:
        return always
    said = {name: (message.get(other), word) for name, (other, word) in sometimes_strict(model).items()}
    return always | {name for name, (other, word) in said.items() if isinstance(other, str) and trimmed(other) != word}


def sometimes_strict(model: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """Return the fields of a model that only describe unless another field has a value: that field and the value."""
    return {
        name: mark.unless
        for name, field in model.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Descriptive) and mark.unless
    }

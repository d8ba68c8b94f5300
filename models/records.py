"""The same events as slim records, which the engine keeps and the changelog stores.

A record is a `msgspec.Struct` built from its pydantic model, field by field, so there is one definition. It decodes
eight times faster than the model and takes a tenth of its memory. To the type checker a record *is* its model; at run
time it has the same attributes and none of the methods. `received_at` and `merged_from` are left out: when a message
arrived, and through which records, is no part of its content, so repeats stay equal.
"""

from __future__ import annotations

import types
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import annotated_types
import msgspec
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from models import events
from models.fields import OR_DEFAULT

_BUILT: dict[type[BaseModel], type[msgspec.Struct]] = {}
_LEFT_OUT = {"type", "received_at", "merged_from"}
#: For each record class: the fields whose null stands for a default that is not null, and the lists of models.
_NOT_NULL: dict[type[msgspec.Struct], list[str]] = {}
_NESTED: dict[type[msgspec.Struct], list[str]] = {}


def record_type(model: type[BaseModel]) -> type[msgspec.Struct]:
    """Return the record class of a pydantic model: same fields, same bounds, tagged with the model's `type`."""
    if model not in _BUILT:
        fields = [
            (name, _slim(_annotation(field)), *_default(field))
            for name, field in sorted(model.model_fields.items(), key=lambda item: not item[1].is_required())
            if name not in _LEFT_OUT
        ]
        tag = model.model_fields["type"].default if "type" in model.model_fields else None
        _BUILT[model] = msgspec.defstruct(
            model.__name__,
            fields,
            module=__name__,
            tag=tag,
            tag_field="type" if tag else None,
            kw_only=True,
            frozen=True,
            omit_defaults=True,
            forbid_unknown_fields=True,
            # Records cannot refer back to their holder, so the garbage collector needs not visit them.
            gc=False,
        )
        kind, of = _BUILT[model], model.model_fields
        _NOT_NULL[kind] = [name for name, field in of.items() if OR_DEFAULT in field.metadata]
        _NESTED[kind] = [name for name, field in of.items() if _holds_models(field.annotation)]
    return _BUILT[model]


def to_record(model: BaseModel) -> Any:
    """Make the record of a validated model."""
    kind = record_type(type(model))
    values = model.__dict__
    fields = {name: values[name] for name in kind.__struct_fields__}
    for name in _NOT_NULL[kind]:
        if fields[name] is None:
            del fields[name]
    for name in _NESTED[kind]:
        if fields[name]:
            fields[name] = [to_record(item) for item in fields[name]]
    return kind(**fields)


def _holds_models(annotation: Any) -> bool:
    return any(
        (isinstance(part, type) and issubclass(part, BaseModel)) or _holds_models(part) for part in get_args(annotation)
    )


def _annotation(field: FieldInfo) -> Any:
    return Annotated[field.annotation, field] if field.metadata else field.annotation


def _default(field: FieldInfo) -> tuple[Any, ...]:
    return () if field.is_required() else (field.get_default(call_default_factory=True),)


def _slim(annotation: Any) -> Any:
    """Translate a pydantic annotation to msgspec's, bounds included."""
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *extras = get_args(annotation)
        bounds: dict[str, Any] = {}
        for extra in extras:
            for item in extra.metadata if isinstance(extra, FieldInfo) else [extra]:
                bounds |= _bound(item)
        slim = _slim(base)
        return Annotated[slim, msgspec.Meta(**bounds)] if bounds else slim
    if origin in (Union, types.UnionType):
        return Union[tuple(_slim(item) for item in get_args(annotation))]  # noqa: UP007 (built at run time)
    if origin is list:
        return list[_slim(get_args(annotation)[0])]  # type: ignore[misc]
    if annotation is AwareDatetime:
        return Annotated[datetime, msgspec.Meta(tz=True)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return record_type(annotation)
    return annotation


_BOUNDS = {
    annotated_types.Gt: ("gt", "gt"),
    annotated_types.Ge: ("ge", "ge"),
    annotated_types.Le: ("le", "le"),
    annotated_types.MinLen: ("min_length", "min_length"),
    annotated_types.MaxLen: ("max_length", "max_length"),
}


def _bound(item: Any) -> dict[str, Any]:
    """Return the bound that one piece of pydantic metadata sets."""
    if type(item) in _BOUNDS:
        attribute, name = _BOUNDS[type(item)]
        return {name: getattr(item, attribute)}
    pattern = getattr(item, "pattern", None)
    # Python's `$`, unlike pydantic's, also matches before a final newline.
    return {"pattern": pattern.replace("$", r"\Z")} if pattern else {}


if TYPE_CHECKING:
    from models.events import (
        AlertResponse,
        ChairConflict,
        ChairSignal,
        LabResult,
        MachineAlarm,
        Medication,
        PatientMerged,
        PatientProfile,
        RecordGivenUp,
        RecordMoved,
        Rhythm,
        Schedule,
        SessionEnded,
        SessionStarted,
        Symptom,
        Telemetry,
        UnitAlertResponse,
        UnitSignal,
        Weight,
    )
else:
    LabResult = record_type(events.LabResult)
    SessionStarted = record_type(events.SessionStarted)
    Telemetry = record_type(events.Telemetry)
    MachineAlarm = record_type(events.MachineAlarm)
    SessionEnded = record_type(events.SessionEnded)
    PatientProfile = record_type(events.PatientProfile)
    PatientMerged = record_type(events.PatientMerged)
    RecordGivenUp = record_type(events.RecordGivenUp)
    RecordMoved = record_type(events.RecordMoved)
    Symptom = record_type(events.Symptom)
    Weight = record_type(events.Weight)
    Medication = record_type(events.Medication)
    Rhythm = record_type(events.Rhythm)
    Schedule = record_type(events.Schedule)
    AlertResponse = record_type(events.AlertResponse)
    UnitAlertResponse = record_type(events.UnitAlertResponse)
    UnitSignal = record_type(events.UnitSignal)
    ChairConflict = record_type(events.ChairConflict)
    ChairSignal = record_type(events.ChairSignal)

PatientRecord = (
    LabResult
    | SessionStarted
    | Telemetry
    | MachineAlarm
    | SessionEnded
    | PatientProfile
    | PatientMerged
    | RecordGivenUp
    | RecordMoved
    | ChairConflict
    | Symptom
    | Weight
    | Medication
    | Rhythm
    | Schedule
    | AlertResponse
)
LoopRecord = UnitSignal | ChairSignal | UnitAlertResponse

__all__ = [
    "AlertResponse",
    "ChairConflict",
    "ChairSignal",
    "LabResult",
    "LoopRecord",
    "MachineAlarm",
    "Medication",
    "PatientMerged",
    "PatientProfile",
    "PatientRecord",
    "RecordGivenUp",
    "RecordMoved",
    "Rhythm",
    "Schedule",
    "SessionEnded",
    "SessionStarted",
    "Symptom",
    "Telemetry",
    "UnitAlertResponse",
    "UnitSignal",
    "Weight",
    "record_type",
    "to_record",
]

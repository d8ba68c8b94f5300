"""Migration of stored state from older versions to the present form, step by step.

Only the outermost fields change, as raw JSON: alerts and outboxes keep their bytes, so that a message sent again after
an upgrade has the bytes that it had before.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from datetime import UTC, datetime
from typing import Final

import msgspec

from models.identity import symptom_key, version_key
from models.records import LabResult, Symptom

#: A stored state: its fields, each as the JSON that was stored.
Fields = dict[str, msgspec.Raw]

#: The time before any message.
NEVER: Final = datetime.min.replace(tzinfo=UTC)


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


class _Session1(msgspec.Struct):
    first_at: datetime
    told_at: datetime | None = None


class _Times1(msgspec.Struct):
    """Every field of version 1 that holds the time of an arrival."""

    now: datetime | None = None
    arrivals: dict[str, datetime] = {}
    heard: dict[str, datetime] = {}
    sessions: dict[str, _Session1] = {}


def _from_1(fields: Fields, _apart: Set[str]) -> None:
    """Add the newest arrival of a subject, as version 2 keeps it, so that the subject can be retired."""
    times = msgspec.json.decode(msgspec.json.encode(fields), type=_Times1)
    sessions = [moment for session in times.sessions.values() for moment in (session.first_at, session.told_at)]
    moments = [times.now, *times.arrivals.values(), *times.heard.values(), *sessions]
    fields["heard_at"] = _raw(max((moment for moment in moments if moment is not None), default=NEVER))


def _from_2(fields: Fields, _apart: Set[str]) -> None:
    """Keep every version of a result, every start and end of a session, and symptoms by id and hour, as version 3."""
    arrivals = msgspec.json.decode(fields.get("arrivals", _raw({})), type=dict[str, datetime])
    labs = msgspec.json.decode(fields.get("labs", _raw({})), type=dict[str, LabResult])
    fields["labs"] = _raw({version_key(record): record for record in labs.values()})
    symptoms = msgspec.json.decode(fields.get("symptoms", _raw({})), type=dict[str, Symptom])
    for symptom in symptoms.values():
        if (known := arrivals.get(f"symptom:{symptom.symptom_id}")) is not None:
            arrivals[f"symptom:{symptom_key(symptom)}"] = known
    fields["symptoms"] = _raw({symptom_key(symptom): symptom for symptom in symptoms.values()})
    fields["arrivals"] = _raw(arrivals)
    sessions = msgspec.json.decode(fields.get("sessions", _raw({})), type=dict[str, Fields])
    for session in sessions.values():
        for old, new in (("started", "starts"), ("ended", "ends")):
            if old in session:
                session[new] = _raw([session.pop(old)])
    fields["sessions"] = _raw(sessions)


class _Alert3(msgspec.Struct):
    """The end of an alert of version 3, and whether its tombstone was sent."""

    over_at: datetime | None = None
    tombstoned: bool = False


def _from_3(fields: Fields, apart: Set[str]) -> None:
    """Keep buried alerts apart from the others, and a patient's history apart from what samples change."""
    alerts = msgspec.json.decode(fields.pop("alerts", _raw({})), type=Fields)
    ends = {name: msgspec.json.decode(raw, type=_Alert3) for name, raw in alerts.items()}
    buried = {name: end.over_at for name, end in ends.items() if end.tombstoned and end.over_at is not None}
    if len(alerts) > len(buried):
        fields["alerts"] = _raw({name: raw for name, raw in alerts.items() if name not in buried})
    if buried:
        fields["buried"] = _raw({name: alerts[name] for name in buried})
        fields["buried_until"] = _raw(max(buried.values()))
    history = {name: fields.pop(name) for name in sorted(apart) if name in fields}
    if history := {name: window for name, window in history.items() if bytes(window) != b"{}"}:
        fields["past"] = _raw(history)


#: The step that brings a state from this version to the next.
_STEPS: Final[dict[int, Callable[[Fields, Set[str]], None]]] = {1: _from_1, 2: _from_2, 3: _from_3}


def migrate(raw: bytes, to: int, apart: Set[str]) -> bytes:
    """Bring a stored state to the form of version `to`; newer ones and what is no state stay as they are.

    Args:
        raw: a stored state of any version.
        to: the version wanted.
        apart: the fields that its kind keeps in a history of their own since version 4.

    Raises:
        msgspec.DecodeError: It is not a JSON object, or a field that the migration needs is ill-typed.
    """
    fields = msgspec.json.decode(raw, type=Fields)
    version = msgspec.json.decode(fields.get("schema_version", msgspec.Raw(b"0")), type=int)
    if version not in _STEPS:
        return raw
    for step in range(version, to):
        _STEPS[step](fields, apart)
    fields["schema_version"] = _raw(to)
    return msgspec.json.encode(fields)

"""Messages that a test publishes: events of the contract, and any bytes."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from models.topics import UNIT_SIGNALS
from tests import events

MEGABYTE: Final = 1024 * 1024


@dataclass(frozen=True)
class Message:
    """A message for an input topic, named as in the contract.

    Without `partition` the key's murmur2 hash chooses it; `stamp` (ms) counts on topics made with `own_time`.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    stamp: int | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def event(
    topic: str, type_: str, subject: str, at: datetime | None = None, *, tells: datetime | None = None, **fields: Any
) -> Message:
    """An event that is published `at` a moment (now); it `tells` of that moment unless of another one."""
    moment = at or datetime.now(UTC)
    body = events.event(type_, subject, tells or moment, of_loop=topic == UNIT_SIGNALS, **fields)
    return Message(topic, subject.encode(), json.dumps(body).encode(), stamp=int(moment.timestamp() * 1000))


def lab(patient: str, value: float | None, at: datetime | None = None, **fields: Any) -> Message:
    """A result; a magnesium in mg/dL unless told otherwise."""
    fields = {"result_id": uuid.uuid4().hex[:12], "analyte": "magnesium", "unit": "mg/dL", "value": value} | fields
    return event("lab-results", "lab_result", patient, at, **fields)


def symptom(patient: str, kind: str, name: str, at: datetime | None = None, **fields: Any) -> Message:
    """A symptom."""
    return event("clinical-events", "symptom", patient, at, symptom_id=name, kind=kind, **fields)


def session_started(patient: str, name: str, at: datetime | None = None, **fields: Any) -> Message:
    """A session starts on a machine of its own."""
    fields = {"session_id": name, "machine_id": f"machine-{name}"} | fields
    return event("machine-events", "session_started", patient, at, **fields)


def telemetry(patient: str, session: str, at: datetime | None = None, **fields: Any) -> Message:
    """A sample of a session's machine."""
    fields = {"session_id": session, "machine_id": f"machine-{session}"} | fields
    return event("machine-events", "telemetry", patient, at, **fields)


def response(patient: str, alert: str, action: str, at: datetime | None = None, **fields: Any) -> Message:
    """A person answers an alert."""
    fields = {"alert_id": alert, "by": "nurse", "action": action} | fields
    return event("clinical-events", "alert_response", patient, at, **fields)


def ago(seconds: float) -> datetime:
    """A moment in the past."""
    return datetime.now(UTC) - timedelta(seconds=seconds)

"""What a run leaves behind, as the oracle is given it: the topics by offsets, the stored state, who saw what when."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, NamedTuple

LAB_RESULTS: Final = "lab-results"
MACHINE_EVENTS: Final = "machine-events"
CLINICAL_EVENTS: Final = "clinical-events"


class Place(NamedTuple):
    """Where a record lies; topics are named as in the contract, without prefix."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class Plant:
    """What was planted with a message: a condition that must be told, or garbage that must become a dead letter.

    Attributes:
        rule: the rule that must tell of it, or `garbage`.
        subject: whom it is about.
        ids: the identities of the messages behind it; they show in the evidence.
        reason: of the dead letter that garbage must become.
    """

    rule: str
    subject: str
    ids: frozenset[str]
    reason: str | None = None


@dataclass(frozen=True)
class Record:
    """A record of any topic."""

    topic: str
    partition: int
    offset: int
    stamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def place(self) -> Place:
        return Place(self.topic, self.partition, self.offset)

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.stamp / 1000, UTC)

    @cached_property
    def body(self) -> dict[str, Any] | None:
        """The JSON object, or None where it is none."""
        try:
            found = json.loads(self.value or b"")
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


@dataclass
class Sent:
    """A message that was sent; `acknowledged` is when (wall clock) the broker said it has it."""

    topic: str
    key: bytes
    value: bytes | None
    stamp: int
    plants: tuple[Plant, ...] = ()
    acknowledged: float | None = None

    @property
    def identity(self) -> tuple[str, bytes | None, bytes | None, int]:
        return (self.topic, self.key, self.value, self.stamp)


@dataclass
class Logs:
    """All that is left of a run.

    Attributes:
        sent: in the order of sending.
        inputs: the patient topics, as they lie there.
        alerts: the family topics and that of the unit.
        active: `alerts.active`.
        dead: the dead letters.
        committed: the group's offset of each input partition.
        ends: the end of each input partition.
        stored: what the changelog holds of each patient.
        seen: when (wall clock) a live reader first saw an alert record.
    """

    sent: list[Sent] = field(default_factory=list)
    inputs: list[Record] = field(default_factory=list)
    alerts: list[Record] = field(default_factory=list)
    active: list[Record] = field(default_factory=list)
    dead: list[Record] = field(default_factory=list)
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[Place, float] = field(default_factory=dict)

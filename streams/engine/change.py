"""What filing an event did, and how two events of one identity meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from models.alerts import Reason
from models.records import PatientRecord, UnitAlertResponse

#: The canonical bytes of an event.
canonical = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Change:
    """What filing an event did.

    Attributes:
        facets: parts of the state that changed; only rules reading one of them are evaluated.
        corrected: `kind:id` of an input that this event changed after the fact, and the reason to give.
        dropped: records that a cap pushed out.
        filed: False for a repeat, or for an event older than the longest window.
        unmatched: an answer that fits no alert that the subject has.
        unread: a result of an analyte that no rule reads; it is not kept.
    """

    facets: frozenset[str] = frozenset()
    corrected: str | None = None
    reason: Reason | None = None
    dropped: int = 0
    filed: bool = True
    unmatched: bool = False
    unread: bool = False


UNCHANGED: Final = Change()
NOT_FILED: Final = Change(filed=False)


def wins(event: object, known: object) -> bool:
    """Two events of one identity: the greater canonical bytes win."""
    return canonical(event) > canonical(known)


def identity(event: PatientRecord | UnitAlertResponse) -> str:
    """The id of an event that has none of its own: the one given with its day (UTC), else when it happened.

    Senders count from 1 again on another day.
    """
    return f"{event.event_id}|{event.at.date().isoformat()}" if event.event_id else event.at.isoformat()

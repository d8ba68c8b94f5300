"""The result of filing an event, and the tie-break between two events of one identity."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from models.alerts import Reason
from models.events import Event

EventT = TypeVar("EventT", bound=Event)

#: The canonical bytes of an event.
canonical = msgspec.json.Encoder().encode


class Change(msgspec.Struct, frozen=True, gc=False):
    """The result of filing an event. It is a struct because many events make one, some by `msgspec.structs.replace`.

    Attributes:
        facets: parts of the state that changed; only rules whose inputs contain one of them are evaluated.
        corrected: `kind:id` of an input that this event changed after the fact.
        reason: the reason to state for that correction.
        dropped: how many inputs a bound dropped.
        filed: False for a repeat, for an event that loses to the filed one, or for one older than the longest window.
        unmatched: the event is an answer that fits no alert of the subject.
        looks: filing set a look of the subject.
        unread: the event is a result of an analyte, or a dose of a drug, that no rule reads; it is not kept.
    """

    facets: frozenset[str] = frozenset()
    corrected: str | None = None
    reason: Reason | None = None
    dropped: int = 0
    filed: bool = True
    unmatched: bool = False
    unread: bool = False
    looks: bool = False


#: A sample changed no more than its session, and when its machine was heard (models.state.sampled).
SAMPLED: Final = Change()
#: The same, and another sample of that session changed it already since the subject was last stored.
SAMPLED_AGAIN: Final = Change()
#: A sample, or another event, was too old to change more than when the subject was heard.
TOO_OLD: Final = Change(filed=False)
NOT_FILED: Final = Change(filed=False)


def wins(event: object, known: object) -> bool:
    """Return whether `event` replaces `known` of the same identity: the greater canonical bytes win."""
    return canonical(event) > canonical(known)


def standing(event: EventT, known: EventT | None) -> EventT:
    """Return which of two events of one identity stands.

    Without an id of their own both are of one moment. Where the sender's clock was ahead, the arrival replaced that
    moment, and the first arrival is nearest to the truth.
    """
    if known is None:
        return event
    if event.event_id is None:
        at = min(event.at, known.at)
        event, known = (msgspec.structs.replace(one, at=at) for one in (event, known))  # type: ignore[type-var]
    return event if wins(event, known) else known

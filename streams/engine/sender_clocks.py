"""Clocks of senders: which are wrong, how a future time is corrected, and when an input arrived.

A machine with a wrong clock moves nothing but its own samples (docs/decisions/0006-event-time-and-task-clock.md).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from models.events import Event
from models.records import LabResult, LoopRecord, PatientRecord, Symptom
from models.state import LONGEST_WINDOW, MAX_SOURCES, PatientState, Problem, Reading
from streams.engine.windows import prune
from streams.rules.facts.late_clocks import BEHIND_STEADY, BEHIND_STEP, LATE, is_behind, is_machine
from streams.rules.inputs import AHEAD, CLOCK

#: A clock that was wrong is right again when it is at most this far ahead.
BELIEVABLE: Final = timedelta(minutes=1)
EventT = TypeVar("EventT", bound=Event)
_CLOCK: Final = CLOCK.facets
_NOTHING: Final[frozenset[str]] = frozenset()


def check_clock(
    state: PatientState, source: str, event: PatientRecord, received_at: datetime, now: datetime
) -> frozenset[str]:
    """Record whether a source's newest message lies in the future or is late; return the facet `CLOCK` if that is new.

    It is new again once the time that the message before stated has come, for then that one's alert is over.

    Between `BELIEVABLE` and `AHEAD` nothing changes: a clock at the edge must not open and close an alert by turns.
    """
    heard = state.heard.get(source)
    ahead = latest_time(event) - received_at
    if ahead < BEHIND and not (isinstance(event, LabResult) and event.reported_at is None):
        return _check_behind(state, source, ahead, received_at)
    if BELIEVABLE < ahead <= AHEAD:
        return _NOTHING
    if ahead <= AHEAD:
        if heard is None or received_at > heard:
            state.heard[source] = received_at
            if heard is None:
                prune(state.heard, MAX_SOURCES, received_at - LONGEST_WINDOW, lambda moment: moment, frozenset)
        lags = state.behind.get(source, ()) if state.behind else ()
        machine = bool(lags) and is_machine(state, source)
        changed = is_behind(lags, heard, of_machine=machine)
        changed = changed and not is_behind(lags, state.heard[source], of_machine=machine)
        known = state.problems.get(source) if state.problems else None
        if known is not None and known.received_at <= received_at:
            del state.problems[source]
            changed = True
        return _CLOCK if changed else _NOTHING
    known = state.problems.get(source)
    stated = (received_at, latest_time(event))
    if (heard is not None and heard >= received_at) or (known and (known.received_at, known.at) >= stated):
        return _NOTHING
    state.problems[source] = Problem(
        id=known.id if known else event.at.isoformat(),
        since=known.since if known else received_at,
        ahead_s=known.ahead_s if known else ahead.total_seconds(),
        at=latest_time(event),
        received_at=received_at,
    )
    prune(state.problems, MAX_SOURCES, received_at - LONGEST_WINDOW, lambda problem: problem.received_at, frozenset)
    return _NOTHING if known and known.at > now else _CLOCK


def is_in_time(state: PatientState, source: str, ahead: timedelta, received_at: datetime) -> bool:
    """Record a message in time of a source without clock problems; return False where `check_clock` must decide."""
    heard = state.heard.get(source)
    if heard is None or source in state.behind or source in state.problems or not BEHIND <= ahead <= BELIEVABLE:
        return False
    if received_at > heard:
        state.heard[source] = received_at
    return True


#: A message that is later than this may come from a clock that is behind. A result without a report time does not
#: show that: it arrives long after the collection.
BEHIND: Final = BEHIND_STEADY - BEHIND_STEP


def _check_behind(state: PatientState, source: str, ahead: timedelta, received_at: datetime) -> frozenset[str]:
    """Keep the lags of a source's newest late messages: the last of each of three stretches of time."""
    known, heard = state.behind.get(source, []), state.heard.get(source)
    lag = Reading(received_at, -ahead.total_seconds())
    newest: dict[int, Reading] = {}
    for one in sorted((*known, lag), key=_by_arrival):
        newest[int(one.at.timestamp() // _STRETCH_S)] = one
    kept = list(newest.values())[-_STRETCHES:]
    if kept == known:
        return _NOTHING
    machine = is_machine(state, source)
    before = is_behind(known, heard, of_machine=machine)
    state.behind[source] = kept
    prune(state.behind, MAX_SOURCES, received_at - LONGEST_WINDOW, lambda lags: lags[-1].at, lambda: {source})
    return _CLOCK if is_behind(kept, heard, of_machine=machine) != before else _NOTHING


#: The first and the last message of three stretches as long as `LATE` lie further apart than `LATE`.
_STRETCH_S: Final = LATE.total_seconds()
_STRETCHES: Final = 3


def _by_arrival(reading: Reading) -> tuple[datetime, float]:
    return reading.at, reading.value


def latest_time(event: PatientRecord | LoopRecord) -> datetime:
    """Return the latest time that an event states: nobody can report what has not happened."""
    if isinstance(event, LabResult):
        return max(event.at, event.reported_at or event.at)
    if isinstance(event, Symptom):
        return max(event.at, event.ended_at or event.at)
    return event.at


def tamed(event: EventT, received_at: datetime) -> EventT:
    """Correct timestamps that lie more than `AHEAD` after the event's arrival.

    Such a time would outrank every later message. `at` becomes the arrival; a report or an end in the future is
    dropped. Inputs already known do not count here: they depend on the order of arrival.
    """
    changes: dict[str, Any] = {}
    if event.at - received_at > AHEAD:
        changes["at"] = received_at
    for name in ("reported_at", "ended_at"):
        moment = getattr(event, name, None)
        if moment is not None and moment - received_at > AHEAD:
            changes[name] = None
    return msgspec.structs.replace(event, **changes) if changes else event  # type: ignore[type-var]


def arrived(state: PatientState, ref: str, received_at: datetime, *, anew: bool) -> bool:
    """Record when an input arrived, of several arrivals of one version the first; return whether it moved."""
    before = None if anew else state.arrivals.get(ref)
    if before is not None and before <= received_at:
        return False
    state.arrivals[ref] = received_at
    return True


def source_of(event: PatientRecord) -> str:
    """Return whose clock gave an event its time: the machine, the sending system, else the event type's sender."""
    machine = getattr(event, "machine_id", None)
    return machine or event.source or f"the sender of {type(event).__name__}"

"""Treatments, pieced together from messages that may contradict each other.

Machines use a session id again: after an end, on another day, on another machine. A treatment runs while its blood
flows, whatever end was reported. The result is a function of the kept messages, whatever their order was:

- A start within `GOES_ON` of an end under the same id continues the treatment; a later one begins another.
- Blood that flows more than `SKEW` after an end disproves the end: the treatment lasts until `READING_LASTS` after the
  last such sample.
- An end that lies before the newest start of its treatment is no end.
- Without an end a treatment lasts until the next one starts, at most `LONGEST_SESSION`; one that was started and ended
  within `GOES_ON` without blood flow was a mistake and ends no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Final

from models.records import SessionStarted
from models.state import LONGEST_SESSION, Flow, PatientState, Session

#: How far clocks of devices differ: a moment this close to a boundary counts as inside.
SKEW: Final = timedelta(minutes=5)
#: How long blood may stand within one treatment (contract, rulings).
GOES_ON: Final = timedelta(minutes=30)
#: How long a sample is valid (contract, R32).
READING_LASTS: Final = timedelta(minutes=10)

_LASTS_DAYS: Final = "its blood has flowed for more than 24 h"
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Treatment:
    """One treatment of a patient.

    Attributes:
        key: distinguishes the treatments of a patient: the session id; if that was used again, only the newest has it.
        ended_at: when it ended, None if no end is known or believed.
        over_at: when it ended or is taken to have ended.
        contradictions: how its messages contradict each other, as text.
    """

    session: Session
    start: datetime
    key: str = ""
    started: SessionStarted | None = None
    ended_at: datetime | None = None
    over_at: datetime = _NEVER
    flows: list[Flow] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)

    @property
    def session_id(self) -> str:
        """Return the session id of its messages."""
        return self.session.session_id

    @property
    def machine_id(self) -> str:
        """Return its machine, the newest if it moved; empty if unknown."""
        return self.started.machine_id if self.started else self.session.machine_id

    @property
    def flowed_until(self) -> datetime | None:
        """Return when blood flowed last, by its samples."""
        return self.flows[-1].until if self.flows else None

    def flows_at(self, moment: datetime) -> bool:
        """Return whether blood flowed at a moment, as far as samples show."""
        return any(flow.since - SKEW <= moment <= flow.until + READING_LASTS for flow in self.flows)

    def contains(self, moment: datetime, skew: timedelta = timedelta(0)) -> bool:
        """Return whether a moment lies within it."""
        return self.start - skew <= moment <= self.over_at + skew

    @property
    def is_late_end(self) -> bool:
        """Return whether it is nothing but an end that came a day or more after the last word of its session."""
        return self.started is None and not self.flows and self.ended_at == self.start and bool(self.contradictions)

    @property
    def is_mistake(self) -> bool:
        """Return whether it was started and ended within `GOES_ON` without any blood flow."""
        return self.ended_at is not None and not self.flows and self.ended_at - self.start <= GOES_ON


def treatments(state: PatientState) -> list[Treatment]:
    """Return the patient's treatments in the order of their start."""
    found = [piece for session in state.sessions.values() for piece in _pieces(session)]
    found.sort(key=lambda piece: (piece.start, piece.session_id))
    for number, piece in enumerate(found):
        if piece.ended_at is not None:
            continue
        for later in found[number + 1 :]:
            if later.session is piece.session or later.is_mistake or later.start >= piece.over_at:
                continue
            until = piece.flowed_until
            piece.over_at = max(later.start, until + READING_LASTS if until else later.start)
            break
    return found


def may_contradict(session: Session) -> bool:
    """Return whether the messages of a session id could contradict each other: those of an ordinary one do not."""
    if len(session.starts) > 1 or len(session.ends) > 1 or len(session.flows) > 1:
        return True
    if session.flows and session.flows[-1].until > session.first_at + LONGEST_SESSION:
        return True
    if not session.ends:
        return False
    (ended,) = session.ends
    return (
        not session.starts
        or session.first_at != session.starts[0].at
        or not (session.flows[-1].until if session.flows else session.first_at) <= ended.at
        or ended.at > session.first_at + LONGEST_SESSION
    )


def is_still(session: Session) -> bool:
    """Return whether blood stands by the newest sample that shows its flow: the session is paused."""
    if session.still_at is None:
        return False
    return not session.flows or session.still_at > session.flows[-1].until


@dataclass(frozen=True, slots=True)
class Together:
    """Two machines whose samples showed blood flow at the same time under one session id, and when."""

    machines: tuple[str, str]
    since: datetime
    until: datetime


def is_together(flow: Flow, others: Iterable[Flow]) -> bool:
    """Return whether a stretch of blood flow overlaps one of others for longer than clocks may differ."""
    return any(min(flow.until, other.until) - max(flow.since, other.since) > SKEW for other in others)


def machines_together(session: Session) -> Together | None:
    """Return the newest time at which samples of two machines showed blood flow for longer than clocks may differ."""
    held = sorted((session.machine_flows or {}).items())
    found = [
        Together((one, other), max(first.since, second.since), min(first.until, second.until))
        for (one, flows), (other, others) in combinations(held, 2)
        for first in flows
        for second in others
        if is_together(first, (second,))
    ]
    return max(found, key=lambda each: (each.until, each.since, each.machines), default=None)


def is_sure_to_run(state: PatientState, session: Session, moment: datetime) -> bool:
    """Return whether a session's first blood flow changes no treatment: it has a start, and all others have ended.

    This is true of nearly every session; its rules then need no second evaluation.
    """
    if len(session.starts) != 1 or session.ends or session.flows:
        return False
    start = session.starts[0].at
    if not start <= moment <= start + LONGEST_SESSION - READING_LASTS:
        return False
    return all(other is session or _is_over(other, start - GOES_ON) for other in state.sessions.values())


def _is_over(session: Session, by: datetime) -> bool:
    """Return whether all messages of a session lie before a moment and an end is the last of them."""
    if not session.ends or not session.first_at <= session.ends[-1].at < by:
        return False
    ended = session.ends[-1].at
    return (not session.starts or session.starts[-1].at <= ended) and (
        not session.flows or session.flows[-1].until <= ended
    )


def _pieces(session: Session) -> list[Treatment]:
    """Return the treatments of one session id."""
    if len(session.starts) == 1 and (ordinary := _ordinary(session, session.starts[0])) is not None:
        return [ordinary]
    found: list[Treatment] = []
    for at, _, said in sorted(_timeline(session), key=lambda item: item[:2]):
        piece = found[-1] if found else None
        if piece is None or at > _closed_at(piece):
            before, piece = piece, Treatment(session, at)
            found.append(piece)
            if said is None and before is not None and before.ended_at is None:
                hours = (at - before.start) / timedelta(hours=1)
                piece.contradictions.append(f"it is said to have ended {hours:.0f} h after it began")
        _add(piece, at, said)
    if not found:
        found = [Treatment(session, session.first_at)]
    first = found[0]
    if first.started is None and timedelta(0) < first.start - session.first_at <= LONGEST_SESSION:
        first.start = session.first_at
    for piece in found:
        piece.key = session.session_id if piece is found[-1] else f"{session.session_id}@{piece.start.isoformat()}"
        _conclude(piece)
    return found


def _ordinary(session: Session, started: SessionStarted) -> Treatment | None:
    """Return the one treatment of a session id whose messages agree; None if they must be pieced together."""
    start, flows = started.at, session.flows
    if session.ends:
        if may_contradict(session):
            return None
        (ended,) = session.ends
        return Treatment(session, start, session.session_id, started, ended.at, ended.at, flows)
    over_at = start + LONGEST_SESSION
    if flows:
        if len(flows) > 1 or not start <= flows[0].since <= over_at:
            return None
        if flows[0].until > over_at:
            return None
    return Treatment(session, start, session.session_id, started, over_at=over_at, flows=flows)


def _timeline(session: Session) -> Iterator[tuple[datetime, int, SessionStarted | Flow | None]]:
    """Yield starts, stretches of blood flow and ends (None), each with its moment and its place within that moment."""
    yield from ((started.at, 0, started) for started in session.starts)
    yield from ((flow.since, 1, flow) for flow in session.flows)
    yield from ((ended.at, 2, None) for ended in session.ends)


def _closed_at(piece: Treatment) -> datetime:
    """Return the moment after which a message of the same id belongs to another treatment."""
    until = piece.flowed_until
    if piece.ended_at is not None:
        return max(piece.ended_at, until or piece.ended_at) + GOES_ON
    return max(piece.start, until or piece.start) + LONGEST_SESSION


def _add(piece: Treatment, at: datetime, said: SessionStarted | Flow | None) -> None:
    if isinstance(said, SessionStarted):
        if piece.ended_at is not None:
            before = piece.started is None and not piece.flows
            piece.contradictions.append(
                "its end lies before its start" if before else "it was started again after its end"
            )
            piece.ended_at = None
            if before:
                piece.start = at
        elif piece.started is None and piece.flows and at - piece.start <= SKEW:
            piece.start = min(piece.start, at)
        piece.started = said
    elif said is None:
        piece.ended_at = at
    else:
        piece.flows.append(said)


def _conclude(piece: Treatment) -> None:
    """Set when a treatment is over, by its own messages."""
    until = piece.flowed_until
    if until is not None and until > piece.start + LONGEST_SESSION:
        piece.contradictions.append(_LASTS_DAYS)
    if piece.ended_at is None:
        piece.over_at = max(piece.start + LONGEST_SESSION, until + READING_LASTS if until else piece.start)
        return
    piece.over_at = piece.ended_at
    if until is not None and until > piece.ended_at + SKEW:
        piece.contradictions.append("its blood flows after its end")
        piece.over_at = until + READING_LASTS


def treatment_at(found: Iterable[Treatment], moment: datetime, skew: timedelta = SKEW) -> Treatment | None:
    """Return the treatment that ran at a moment.

    Of several it is one that contains the moment without `skew`, then one whose blood flowed, then the latest start.
    """
    earliest, latest = moment - skew, moment + skew
    near = [piece for piece in found if piece.start <= latest and earliest <= piece.over_at]
    if len(near) < 2:  # nearly always
        return near[0] if near else None
    return max(near, key=lambda piece: (piece.contains(moment), piece.flows_at(moment), piece.start, piece.session_id))

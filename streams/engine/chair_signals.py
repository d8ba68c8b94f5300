"""Signals from a patient's treatment to the chair, and their retraction: who is dialysed there, and until when.

A signal is told when the session changes and at a few moments after its start at which its rules look anyway; never
by a sample. What it says until then is what is proved: a treatment whose end nobody told is taken back once its blood
has stood for `GOES_ON`, so that the next patient of the chair meets nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

from models.identity import chair_key
from models.records import ChairSignal
from models.state import LONGEST_SESSION, Entry, PatientState, Session
from models.text import one_line, spelled
from models.topics import UNIT_SIGNALS
from streams.rules import identity_conflict
from streams.rules.api import PatientView
from streams.rules.facts import bedside
from streams.rules.facts.treatments import GOES_ON, READING_LASTS, SKEW, Treatment
from streams.rules.inputs import SESSION

#: Names the look among those of the subject.
LOOK: Final = "chair"
#: The first word after a start: by then the blood of an ordinary treatment has flowed for longer than `SKEW`.
_FIRST: Final = SKEW + READING_LASTS
_encode: Final = msgspec.json.Encoder().encode


def tell_chairs(view: PatientView) -> None:
    """Put into the outbox what is new for the chairs of the patient's treatments, and set the next look."""
    state = view.read()
    if LOOK in state.looks and view.changed is not None and view.changed.isdisjoint(SESSION.facets):
        return  # something else was asked, and the look is still to come
    state.looks.pop(LOOK, None)
    since = view.now - LONGEST_SESSION
    if not state.seats and not any(_may_run(session, since) for session in state.sessions.values()):
        return
    told: dict[str, ChairSignal] = {}
    for treatment in _running(view):
        moment = min(_next_look(treatment, view.now), treatment.over_at)
        state.looks[LOOK] = min(state.looks.get(LOOK, moment), moment)
        if (signal := _signal(state, treatment, view.now)) is not None:
            told[signal.water_loop_id] = signal  # of two on one chair, the one that began last
    for key, known in list(state.seats.items()):
        if key not in told:
            del state.seats[key]
            _send(state, msgspec.structs.replace(known, at=view.now, retracted=True))  # type: ignore[type-var]
    for key, signal in told.items():
        if _is_news(signal, state.seats.get(key)):
            state.seats[key] = _send(state, signal)


def _may_run(session: Session, since: datetime) -> bool:
    """Return whether a session names a chair and was told of since a moment: a cheap test, true of few."""
    if not session.starts or not session.starts[-1].chair:
        return False
    return (session.flows[-1].until if session.flows else session.starts[-1].at) > since


def _running(view: PatientView) -> Iterator[Treatment]:
    """Yield the treatments on a chair that are not over; nobody is dialysed who left, or whose record was given up."""
    if view.read().closed or not view.settings.is_on(identity_conflict.RULE):
        return
    for treatment in bedside.treated(view):
        if treatment.started is not None and treatment.started.chair and treatment.over_at > view.now:
            yield treatment


def _next_look(treatment: Treatment, now: datetime) -> datetime:
    """Return when to look again: a while after the start, then at each half hour of the treatment."""
    if now < treatment.start + _FIRST:
        return treatment.start + _FIRST
    return treatment.start + ((now - treatment.start) // GOES_ON + 1) * GOES_ON


def _signal(state: PatientState, treatment: Treatment, now: datetime) -> ChairSignal | None:
    """Build what a treatment means for its chair; None where no blood has flowed there, or not for `GOES_ON`."""
    started = treatment.started
    if started is None or not treatment.flows or treatment.flows[-1].until + GOES_ON <= now:
        return None
    since, until = max(treatment.flows[-1].since, started.at), treatment.flows[-1].until
    unit_id = started.unit_id or state.unit_id
    unit, chair = spelled(unit_id) if unit_id else None, one_line(started.chair or "")
    if until < since or not chair:
        return None
    return ChairSignal(
        at=now,
        water_loop_id=chair_key(unit, chair),
        patient_id=state.id,
        unit_id=unit,
        chair=chair,
        session_id=treatment.session_id,
        since=since,
        until=until,
        sequence=1,
        retracted=False,
    )


def _is_news(signal: ChairSignal, known: ChairSignal | None) -> bool:
    """Return whether a signal tells more than that blood has flowed for a few minutes more."""
    if known is None or (known.session_id, known.since) != (signal.session_id, signal.since):
        return True
    return abs(signal.until - known.until) >= _TELLING


#: What a sample is valid for: a session whose messages come every minute tells no more often than others.
_TELLING: Final[timedelta] = READING_LASTS


def _send(state: PatientState, signal: ChairSignal) -> ChairSignal:
    """Number a signal and put it into the outbox."""
    state.signal_sequence += 1
    numbered: ChairSignal = msgspec.structs.replace(signal, sequence=state.signal_sequence)  # type: ignore[type-var]
    state.outbox.append(Entry(topic=UNIT_SIGNALS, key=signal.water_loop_id, value=msgspec.Raw(_encode(numbered))))
    return numbered

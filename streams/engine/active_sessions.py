"""The picture of running sessions for screens: what `sessions.active` says, and its tombstone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from models.state import Entry, PatientState
from models.topics import SESSIONS_ACTIVE
from streams.rules.facts.treatments import Treatment, treatment_at, treatments

#: A running session is told of at most this often.
TOLD_EVERY: Final = timedelta(seconds=30)
#: Its place among the moments to look again.
SESSIONS: Final = "sessions"
_encode = msgspec.json.Encoder().encode


def _running(state: PatientState, now: datetime) -> Treatment | None:
    return treatment_at(treatments(state), now, skew=timedelta(0))


def end_sessions(state: PatientState, now: datetime) -> None:
    """Put a tombstone into the outbox for every session that was told of and is over."""
    state.looks.pop(SESSIONS, None)
    told = [session for session in state.sessions.values() if session.told_at is not None]
    running = _running(state, now) if told else None
    for session in told:
        if running is not None and session is running.session:
            _look_again(state, running, now)
        else:
            session.told_at = None
            state.outbox.append(Entry(topic=SESSIONS_ACTIVE, key=session.session_id))


def _look_again(state: PatientState, running: Treatment, now: datetime) -> None:
    """A running session is over a moment after its end, which may lie a little ahead."""
    over = running.over_at + timedelta(microseconds=1)
    if over > now:
        state.looks[SESSIONS] = over


def over_since(state: PatientState, now: datetime, horizon: timedelta) -> list[str]:
    """The sessions that nothing is told of any more, of those that began within the horizon."""
    running = _running(state, now)
    return [
        session.session_id
        for session in state.sessions.values()
        if session.told_at is None
        and (running is None or session is not running.session)
        and now - session.first_at <= horizon
    ]


def tell_session(state: PatientState, now: datetime) -> tuple[str, bytes] | None:
    """Key and value for `sessions.active`, if the running session was not told of lately; notes that it is now."""
    if _was_told(state, now):
        return None
    running = _running(state, now)
    if running is None:
        return None
    session = running.session
    if session.told_at is not None and now - session.told_at < TOLD_EVERY:
        return None
    session.told_at = now
    _look_again(state, running, now)
    return session.session_id, _encode(_shown(state, running, now))


def _was_told(state: PatientState, now: datetime) -> bool:
    """Whether a session was told of lately, and none without an end never: nearly always, in few steps.

    A session that was used again after its end, while another runs, is told of when that one is due again.
    """
    lately = False
    for session in state.sessions.values():
        if session.told_at is None:
            if not session.ends:
                return False
        elif now - session.told_at < TOLD_EVERY:
            lately = True
    return lately


def _shown(state: PatientState, running: Treatment, now: datetime) -> dict[str, Any]:
    """Who is on which chair since when, with the newest blood pressure (mm[Hg]) and UF rate (mL/h)."""
    session, started = running.session, running.started
    return {
        "session_id": session.session_id,
        "patient_id": state.id,
        "unit_id": state.unit_id,
        "machine_id": running.machine_id or None,
        "chair": started.chair if started else None,
        "water_loop_id": started.water_loop_id if started else None,
        "modality": started.modality if started else None,
        "since": running.start,
        "planned_minutes": started.planned_minutes if started else None,
        "elapsed_minutes": int((now - running.start).total_seconds() // 60),
        "systolic_mmhg": session.systolic.value if session.systolic else None,
        "systolic_at": session.systolic.at if session.systolic else None,
        "uf_rate_ml_h": session.uf_rate.value if session.uf_rate else None,
        "uf_rate_at": session.uf_rate.at if session.uf_rate else None,
        "at": now,
    }

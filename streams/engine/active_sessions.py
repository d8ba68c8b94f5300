"""Running sessions for screens: the values and tombstones of `sessions.active`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from models.state import Entry, PatientState
from models.topics import SESSIONS_ACTIVE
from streams.rules.facts.treatments import Treatment, treatment_at, treatments

#: The least time between two messages about a running session.
PUBLISHED_EVERY: Final = timedelta(seconds=30)
#: Key of the sessions' entry in the subject's looks.
SESSIONS: Final = "sessions"
_encode = msgspec.json.Encoder().encode


def _running(state: PatientState, now: datetime) -> Treatment | None:
    return treatment_at(treatments(state), now, skew=timedelta(0))


def end_sessions(state: PatientState, now: datetime) -> None:
    """Put a tombstone into the outbox for every published session that is over."""
    state.looks.pop(SESSIONS, None)
    published = [session for session in state.sessions.values() if session.told_at is not None]
    running = _running(state, now) if published else None
    for session in published:
        if running is not None and session is running.session:
            _look_again(state, running, now)
        else:
            session.told_at = None
            state.outbox.append(Entry(topic=SESSIONS_ACTIVE, key=session.session_id))


def _look_again(state: PatientState, running: Treatment, now: datetime) -> None:
    """Ask for a look just after the end of a running session, which may lie a little ahead."""
    over = running.over_at + timedelta(microseconds=1)
    if over > now:
        state.looks[SESSIONS] = over


def over_since(state: PatientState, now: datetime, horizon: timedelta) -> list[str]:
    """Return the ids of sessions that began within the horizon and are neither running nor published."""
    running = _running(state, now)
    return [
        session.session_id
        for session in state.sessions.values()
        if session.told_at is None
        and (running is None or session is not running.session)
        and now - session.first_at <= horizon
    ]


def publish_session(state: PatientState, now: datetime) -> tuple[str, bytes] | None:
    """Return key and value for `sessions.active` if the running session is due, and record the time of publishing."""
    if published_until(state, now) is not None:
        return None
    running = _running(state, now)
    if running is None:
        return None
    session = running.session
    if session.told_at is not None and now - session.told_at < PUBLISHED_EVERY:
        return None
    session.told_at = now
    _look_again(state, running, now)
    return session.session_id, _encode(_shown(state, running, now))


def published_until(state: PatientState, now: datetime) -> datetime | None:
    """Return until when no sample makes a message due; None if one may be due now.

    None is due while a session was published lately and every session without an end is published. A session whose id
    was used again after its end, while another runs, waits until that one is due.
    """
    newest: datetime | None = None
    for session in state.sessions.values():
        if session.told_at is None:
            if not session.ends:
                return None
        elif newest is None or session.told_at > newest:
            newest = session.told_at
    return None if newest is None or now - newest >= PUBLISHED_EVERY else newest + PUBLISHED_EVERY


def _shown(state: PatientState, running: Treatment, now: datetime) -> dict[str, Any]:
    """Build the value: patient, chair and start, with the newest blood pressure (mm[Hg]) and UF rate (mL/h)."""
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

"""Filing: an event goes into its window, and nothing else happens.

Filing is commutative and idempotent: two events of one identity meet in a tie-break that depends on what they
say, never on which came first. So any order of arrival leaves the same windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec

from models.alerts import Reason
from models.events import ResultStatus
from models.events import Symptom as SymptomModel
from models.records import (
    AlertResponse,
    LabResult,
    MachineAlarm,
    Medication,
    PatientMerged,
    PatientProfile,
    PatientRecord,
    RecordGivenUp,
    RecordMoved,
    Rhythm,
    Schedule,
    SessionEnded,
    SessionStarted,
    Symptom,
    Telemetry,
    Weight,
)
from models.state import (
    LONGEST_SESSION,
    LONGEST_WINDOW,
    MAX_LABS,
    MAX_OTHERS,
    MAX_SESSIONS,
    MAX_SYMPTOMS,
    MAX_TEXT,
    PatientState,
    Reading,
    Session,
)
from streams.engine import merge
from streams.engine.answers import file_response
from streams.engine.change import NOT_FILED, UNCHANGED, Change, canonical, identity, wins
from streams.engine.clocks import AHEAD, arrived, check_clock, source_of, tamed
from streams.engine.windows import prune
from streams.rules.base import MERGE
from streams.rules.labs import analyte_of


def apply(
    state: PatientState, event: PatientRecord, received_at: datetime, now: datetime, way: tuple[str, ...] = ()
) -> Change:
    """File an event into a patient's windows.

    Args:
        state: the patient; changed in place.
        event: what happened.
        received_at: the record's timestamp, against which the sender's clock is checked.
        now: the task's clock, from which the windows reach back.
        way: the records from which merges moved the event here, in order.
    """
    if state.merged_into is not None and not isinstance(event, merge.STATEMENTS):
        if not merge.keeps(state, received_at, way):
            return merge.send_on(state, event, received_at, way)
        change = apply(state, event, received_at, now)
        return replace(change, facets=change.facets | {MERGE})
    horizon = now - LONGEST_WINDOW
    if isinstance(event, Telemetry):
        return _telemetry(state, event, received_at, horizon)
    if event.at < horizon and not isinstance(event, _TIMELESS):
        return NOT_FILED
    change = _FILERS[type(event)](state, event, received_at, horizon)
    # By the clock, not by the next symptom: what the rules see must not depend on which events came.
    prune(state.symptoms, MAX_SYMPTOMS, horizon, lambda s: s.at, _used(state, "symptom"))
    _unit(state, event)
    clock = check_clock(state, source_of(event), event, received_at)
    return replace(change, facets=change.facets | clock) if clock else change


def _unit(state: PatientState, event: PatientRecord) -> None:
    """The newest word on which unit treats the patient."""
    if event.unit_id is None:
        return
    if (
        state.unit_id is None
        or state.unit_id_at is None
        or (event.at, event.unit_id) > (state.unit_id_at, state.unit_id)
    ):
        state.unit_id, state.unit_id_at = event.unit_id, event.at


# -- telemetry: nearly all of the traffic, so this path is kept short ------------------------------------------------

_SESSION: Final = frozenset({"session"})
_SESSION_CHANGED: Final = Change(_SESSION)


def _telemetry(state: PatientState, sample: Telemetry, received_at: datetime, horizon: datetime) -> Change:
    at = sample.at if sample.at - received_at <= AHEAD else received_at
    session = state.sessions.get(sample.session_id)
    change = UNCHANGED
    if session is None or at < session.first_at:
        if at < horizon or received_at - at > LONGEST_SESSION:
            return NOT_FILED  # a clock that went back, or a tale of long ago: no word on when the session began
        session = _session(state, sample.session_id, sample.machine_id, at, horizon)
        change = _SESSION_CHANGED
    if sample.systolic_mmhg is not None:
        session.systolic = _newer(session.systolic, at, sample.systolic_mmhg)
    if sample.uf_rate_ml_h is not None:
        session.uf_rate = _newer(session.uf_rate, at, sample.uf_rate_ml_h)
    if sample.unit_id is not None and (state.unit_id_at is None or at >= state.unit_id_at):
        _unit(state, sample)
    clock = check_clock(state, sample.machine_id, sample, received_at)
    return replace(change, facets=change.facets | clock) if clock else change


def _newer(known: Reading | None, at: datetime, value: float) -> Reading:
    """The later of two readings; of one moment the greater."""
    if known is None or at > known.at or (at == known.at and value > known.value):
        return Reading(at, value)
    return known


# -- sessions ---------------------------------------------------------------------------------------------------------


def _session(state: PatientState, session_id: str, machine_id: str, at: datetime, horizon: datetime) -> Session:
    session = state.sessions.get(session_id)
    if session is None:
        session = state.sessions[session_id] = Session(session_id=session_id, machine_id=machine_id, first_at=at)
        prune(state.sessions, MAX_SESSIONS, horizon, lambda s: s.first_at, _used(state, "session_ended"))
    session.first_at = min(session.first_at, at)
    return session


def _session_started(state: PatientState, event: SessionStarted, received_at: datetime, horizon: datetime) -> Change:
    known = state.sessions.get(event.session_id)
    event = tamed(event, known.started if known else None, received_at)
    moved = known is None or event.at < known.first_at
    session = _session(state, event.session_id, event.machine_id, event.at, horizon)
    if session.started is not None and not wins(event, session.started):
        return _SESSION_CHANGED if moved else NOT_FILED
    session.started, session.machine_id = event, event.machine_id
    return _SESSION_CHANGED


def _session_ended(state: PatientState, event: SessionEnded, received_at: datetime, horizon: datetime) -> Change:
    known = state.sessions.get(event.session_id)
    event = tamed(event, known.ended if known else None, received_at)
    moved = known is None or event.at < known.first_at
    session = _session(state, event.session_id, "", event.at, horizon)
    if session.ended is not None and not wins(event, session.ended):
        return _SESSION_CHANGED if moved else NOT_FILED
    session.ended = event
    return _SESSION_CHANGED


# -- results, symptoms and what people said ---------------------------------------------------------------------------

_RANK: Final = {status: rank for rank, status in enumerate(ResultStatus)}
_SYMPTOM_FIELDS: Final = sorted(
    set(SymptomModel.model_fields) - {"type", "received_at", "merged_from", "patient_id", "symptom_id", "status"}
)
_LAB: Final = frozenset({"lab_result"})
_SYMPTOM: Final = frozenset({"symptom"})
_REASONS: Final = {
    ResultStatus.CANCELLED: Reason.RESULT_CANCELLED,
    ResultStatus.ENTERED_IN_ERROR: Reason.ENTERED_IN_ERROR,
}


def _lab_result(state: PatientState, event: LabResult, received_at: datetime, horizon: datetime) -> Change:
    """The later report of a result stands; at equal times the more final status, then the greater bytes."""
    key, ref = event.result_id, f"lab_result:{event.result_id}"
    known = state.labs.get(key)
    event = tamed(event, known, received_at)
    if known is None:
        state.labs[key] = event
        arrived(state, ref, received_at, anew=True)
        kept = _used(state, "lab_result") | _newest_results(state) | {key}
        dropped = prune(state.labs, MAX_LABS, horizon, lambda r: r.at, kept)
        _forget_arrivals(state)
        return Change(_LAB, dropped=dropped)
    if event == known:
        return Change(_LAB, filed=False) if arrived(state, ref, received_at, anew=False) else NOT_FILED
    if _precedence(event) <= _precedence(known):
        return NOT_FILED
    state.labs[key] = event
    arrived(state, ref, received_at, anew=True)
    return Change(_LAB, ref, _REASONS.get(event.status, Reason.RESULT_CORRECTED))


def _forget_arrivals(state: PatientState) -> None:
    """Arrivals of inputs that have left their window go once they are many."""
    if len(state.arrivals) > 2 * (len(state.labs) + len(state.symptoms)):
        held = {f"lab_result:{name}" for name in state.labs} | {f"symptom:{name}" for name in state.symptoms}
        state.arrivals = {ref: at for ref, at in state.arrivals.items() if ref in held}


def _precedence(result: LabResult) -> tuple[datetime, int, bytes]:
    return result.reported_at or result.at, _RANK[result.status], canonical(result)


def _newest_results(state: PatientState) -> set[str]:
    """The newest results of each analyte: they speak for the patient however old they get."""
    newest: dict[object, list[LabResult]] = {}
    for record in state.labs.values():
        if (analyte := analyte_of(record)) is not None:
            newest.setdefault(analyte, []).append(record)
    kept = (sorted(group, key=lambda r: (r.at, r.result_id))[-3:] for group in newest.values())
    return {record.result_id for group in kept for record in group}


def _symptom(state: PatientState, event: Symptom, received_at: datetime, horizon: datetime) -> Change:
    """Messages of one symptom merge: an end and an `entered_in_error` are never lost to an older message."""
    key, ref = event.symptom_id, f"symptom:{event.symptom_id}"
    known = state.symptoms.get(key)
    event = tamed(event, known, received_at)
    sooner = arrived(state, ref, received_at, anew=known is None)
    if known is None:
        state.symptoms[key] = event
        kept = _used(state, "symptom") | {key}
        dropped = prune(state.symptoms, MAX_SYMPTOMS, horizon, lambda s: s.at, kept)
        _forget_arrivals(state)
        return Change(_SYMPTOM, dropped=dropped)
    merged = _merge(known, event)
    if merged == known:
        return Change(_SYMPTOM, filed=False) if sooner else NOT_FILED
    state.symptoms[key] = merged
    if merged.status == known.status:
        return Change(_SYMPTOM)
    return Change(_SYMPTOM, ref, Reason.ENTERED_IN_ERROR)


def _merge(one: Symptom, other: Symptom) -> Symptom:
    """Field by field the greater word; what only one of them says is kept. Commutative and associative."""
    status = {} if one.status == other.status else {"status": "entered_in_error"}
    greater = {
        name: max((getattr(s, name) for s in (one, other) if getattr(s, name) is not None), default=None)
        for name in _SYMPTOM_FIELDS
    }
    return msgspec.structs.replace(one, **greater, **status)  # type: ignore[type-var]


def _profile(state: PatientState, event: PatientProfile, received_at: datetime, _horizon: datetime) -> Change:
    event = tamed(event, state.profile, received_at)
    if state.profile and (event.at, canonical(event)) <= (state.profile.at, canonical(state.profile)):
        return NOT_FILED
    state.profile = event
    return Change(frozenset({"patient_profile"}))


def _window(name: str, *parts: str) -> Callable[[PatientState, Any, datetime, datetime], Change]:
    """A filer for events that only need their window: the parts tell apart events of one moment."""

    def filer(state: PatientState, event: Any, received_at: datetime, horizon: datetime) -> Change:
        key = "|".join((*(str(getattr(event, part)) for part in parts), identity(event)))
        window: dict[str, Any] = getattr(state, name)
        event = tamed(event, window.get(key), received_at)
        if key in window and not wins(event, window[key]):
            return NOT_FILED
        window[key] = event
        prune(window, MAX_OTHERS, horizon, lambda item: item.at, {key})
        return Change(frozenset({type(event).__struct_config__.tag}))

    return filer


def _machine_alarm(state: PatientState, event: MachineAlarm, received_at: datetime, horizon: datetime) -> Change:
    if event.text and len(event.text) > MAX_TEXT:
        event = msgspec.structs.replace(event, text=event.text[:MAX_TEXT])  # type: ignore[type-var]
    return _file_alarm(state, event, received_at, horizon)


_file_alarm: Final = _window("machine_alarms", "session_id", "code", "phase")


def _used(state: PatientState, kind: str) -> set[str]:
    """Ids of inputs that an open alert rests on; they stay."""
    prefix = f"{kind}:"
    return {
        ground.removeprefix(prefix)
        for alert in state.alerts.values()
        if alert.over_at is None
        for ground in alert.grounds
        if ground.startswith(prefix)
    }


#: What counts however long ago it happened.
_TIMELESS: Final = (PatientProfile, *merge.STATEMENTS)

_FILERS: Final[dict[type, Callable[[PatientState, Any, datetime, datetime], Change]]] = {
    LabResult: _lab_result,
    SessionStarted: _session_started,
    SessionEnded: _session_ended,
    Symptom: _symptom,
    PatientProfile: _profile,
    PatientMerged: merge.file_merge,
    RecordGivenUp: merge.file_given_up,
    RecordMoved: merge.file_moved,
    Rhythm: _window("rhythms", "kind"),
    Weight: _window("weights", "moment"),
    Medication: _window("medications", "order_id", "action"),
    Schedule: _window("schedules", "session_id"),
    MachineAlarm: _machine_alarm,
    AlertResponse: file_response,
}

"""Filing: an event enters its window, and nothing else happens.

Filing is commutative and idempotent: the tie-break between two events of one identity depends on their content, never
on which came first. So any order of arrival leaves the same windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from models.alerts import Reason
from models.events import Event, SymptomKind
from models.identity import symptom_key
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
    MAX_FLOWS,
    MAX_OTHERS,
    MAX_SESSION_MESSAGES,
    MAX_SESSIONS,
    MAX_SYMPTOMS,
    MAX_TEXT,
    Flow,
    PatientState,
    Reading,
    Session,
)
from streams.engine import merge
from streams.engine.answers import file_response
from streams.engine.change import NOT_FILED, SAMPLED, TOO_OLD, Change, canonical, identity, wins
from streams.engine.results import file_result, forget_arrivals
from streams.engine.sender_clocks import AHEAD, arrived, check_clock, is_in_time, source_of, tamed
from streams.engine.windows import AT, prune
from streams.rules.facts.bedside import as_one, rhythm_ref
from streams.rules.facts.treatments import GOES_ON, is_sure_to_run
from streams.rules.inputs import ALL_SYMPTOMS, MERGE, RHYTHM, SESSION, symptom_facets

MessageT = TypeVar("MessageT", SessionStarted, SessionEnded)
MomentT = TypeVar("MomentT", bound=Event)


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
        return replace(change, facets=change.facets | MERGE.facets)
    if isinstance(event, Telemetry):
        return _telemetry(state, event, received_at, now)
    horizon = now - LONGEST_WINDOW
    if event.at < horizon and not isinstance(event, _TIMELESS) and _latest(event) < horizon:
        return TOO_OLD
    change = _FILERS[type(event)](state, event, received_at, horizon)
    # The clock prunes symptoms, not the next symptom: what rules see must not depend on which events came.
    prune(state.symptoms, MAX_SYMPTOMS, horizon, AT, lambda: _used_symptoms(state))
    _unit(state, event)
    if change is _SESSION_CHANGED:
        change = _session_change(state)
    clock = check_clock(state, source_of(event), event, received_at, now)
    return replace(change, facets=change.facets | clock) if clock else change


def _latest(event: PatientRecord) -> datetime:
    """Return the latest moment that an event is about: a treatment planned long ago may lie ahead."""
    return max(event.at, event.planned_start) if isinstance(event, Schedule) else event.at


def _unit(state: PatientState, event: PatientRecord) -> None:
    """Keep the unit that treats the patient, as the newest event names it."""
    if event.unit_id is None:
        return
    if (
        state.unit_id is None
        or state.unit_id_at is None
        or (event.at, event.unit_id) > (state.unit_id_at, state.unit_id)
    ):
        state.unit_id, state.unit_id_at = event.unit_id, event.at


# -- telemetry: nearly all of the traffic, so this path stays short --------------------------------------------------

_MINUTE: Final = timedelta(minutes=1)
_SESSION_CHANGED: Final = Change(SESSION.facets)
_SYMPTOMS_REGROUPED: Final = Change(SESSION.facets | ALL_SYMPTOMS)


def _session_change(state: PatientState) -> Change:
    """Return the change of a session; it also regroups the messages of a symptom id that was used again."""
    ids = {symptom.symptom_id for symptom in state.symptoms.values()} if state.symptoms else ()
    return _SESSION_CHANGED if len(ids) == len(state.symptoms) else _SYMPTOMS_REGROUPED


def _telemetry(state: PatientState, sample: Telemetry, received_at: datetime, now: datetime) -> Change:
    ahead = sample.at - received_at
    at = sample.at if ahead <= AHEAD else received_at
    session = state.sessions.get(sample.session_id)
    change = SAMPLED
    if session is None or at < session.first_at:
        horizon = now - LONGEST_WINDOW
        if at < horizon or received_at - at > LONGEST_SESSION:
            return TOO_OLD  # or a clock that went back: starts no session, moves no start
        session = _session(state, sample.session_id, sample.machine_id, at, horizon)
        change = _SESSION_CHANGED
    if (blood_flow := sample.blood_flow_ml_min) is not None and blood_flow > 0:
        flows = session.flows
        if not session.ends and flows and (newest := flows[-1]).until <= at <= newest.until + GOES_ON:
            newest.until = at  # the same as `_flow`, for nearly every sample without a call
        else:
            change = _flow(state, session, at) or change
    if sample.systolic_mmhg is not None:
        session.systolic = _newer(session.systolic, at, sample.systolic_mmhg)
    if sample.uf_rate_ml_h is not None:
        session.uf_rate = _newer(session.uf_rate, at, sample.uf_rate_ml_h)
    if sample.unit_id is not None and (state.unit_id_at is None or at >= state.unit_id_at):
        _unit(state, sample)
    if change is _SESSION_CHANGED:
        change = _session_change(state)
    if is_in_time(state, sample.machine_id, ahead, received_at):
        return change
    clock = check_clock(state, sample.machine_id, sample, received_at, now)
    return replace(change, facets=change.facets | clock)  # not `SAMPLED`: what is known of clocks may have changed


def _flow(state: PatientState, session: Session, at: datetime) -> Change | None:
    """Record blood flow; it is a change where a stretch begins or moves a boundary of the treatment."""
    flows = session.flows
    if flows and (newest := flows[-1]).since <= at <= newest.until + GOES_ON:
        if at <= newest.until:
            return None
        # A treatment with a reported end needs an evaluation once a minute only.
        news = bool(session.ends) and (at - newest.until >= _MINUTE or at.minute != newest.until.minute)
        newest.until = at
        return _SESSION_CHANGED if news else None
    if any(flow.since <= at <= flow.until for flow in flows):
        return None
    known = is_sure_to_run(state, session, at)
    session.flows = _merged([*flows, Flow(at, at)])
    return None if known else _SESSION_CHANGED


def _merged(flows: list[Flow]) -> list[Flow]:
    """Join stretches of blood flow at most `GOES_ON` apart and return the newest `MAX_FLOWS`."""
    merged: list[Flow] = []
    for flow in sorted(flows, key=lambda flow: (flow.since, flow.until)):
        if merged and flow.since <= merged[-1].until + GOES_ON:
            merged[-1] = Flow(merged[-1].since, max(merged[-1].until, flow.until))
        else:
            merged.append(flow)
    return merged[-MAX_FLOWS:]


def _newer(known: Reading | None, at: datetime, value: float) -> Reading:
    """Return the later of two readings; of one moment the greater."""
    if known is None or at > known.at or (at == known.at and value > known.value):
        return Reading(at, value)
    return known


# -- sessions ---------------------------------------------------------------------------------------------------------


def _session(state: PatientState, session_id: str, machine_id: str, at: datetime, horizon: datetime) -> Session:
    session = state.sessions.get(session_id)
    if session is None:
        session = state.sessions[session_id] = Session(session_id=session_id, machine_id=machine_id, first_at=at)
        prune(state.sessions, MAX_SESSIONS, horizon, lambda s: s.first_at, lambda: _used(state, "session_ended"))
    session.first_at = min(session.first_at, at)
    return session


def _session_started(state: PatientState, event: SessionStarted, received_at: datetime, horizon: datetime) -> Change:
    known = state.sessions.get(event.session_id)
    event = tamed(event, received_at)
    moved = known is None or event.at < known.first_at
    session = _session(state, event.session_id, event.machine_id, event.at, horizon)
    starts = _with_message(session.starts, event)
    if starts is None:
        return _SESSION_CHANGED if moved else NOT_FILED
    session.starts = starts
    session.machine_id = starts[-1].machine_id
    return _SESSION_CHANGED


def _session_ended(state: PatientState, event: SessionEnded, received_at: datetime, horizon: datetime) -> Change:
    known = state.sessions.get(event.session_id)
    event = tamed(event, received_at)
    moved = known is None or event.at < known.first_at
    session = _session(state, event.session_id, "", event.at, horizon)
    ends = _with_message(session.ends, event)
    if ends is None:
        return _SESSION_CHANGED if moved else NOT_FILED
    session.ends = ends
    return _SESSION_CHANGED


def _with_message(held: list[MessageT], event: MessageT) -> list[MessageT] | None:
    """Add a start or end message to those of a session, in order; None if it changes nothing.

    Of two messages of one moment the greater canonical bytes win; the newest `MAX_SESSION_MESSAGES` are kept.
    """
    same = next((known for known in held if known.at == event.at), None)
    if same is not None and not wins(event, same):
        return None
    merged = [known for known in held if known is not same]
    merged.append(event)
    merged.sort(key=lambda message: message.at)
    del merged[:-MAX_SESSION_MESSAGES]
    return merged if event in merged else None


# -- results, symptoms and people's answers ---------------------------------------------------------------------------


def _lab_result(state: PatientState, event: LabResult, received_at: datetime, horizon: datetime) -> Change:
    return file_result(state, event, received_at, horizon, lambda: _used(state, "lab_result"))


def _symptom(state: PatientState, event: Symptom, received_at: datetime, horizon: datetime) -> Change:
    """Merge the messages of one symptom: an older message never undoes an end or an `entered_in_error`."""
    event = tamed(event, received_at)
    key, ref = symptom_key(event), f"symptom:{event.symptom_id}"
    known = state.symptoms.get(key)
    arrived(state, ref, received_at, anew=False)
    sooner = arrived(state, f"symptom:{key}", received_at, anew=False)
    if known is None:
        state.symptoms[key] = event
        dropped = prune(state.symptoms, MAX_SYMPTOMS, horizon, AT, lambda: _used_symptoms(state) | {key})
        forget_arrivals(state)
        facets = ALL_SYMPTOMS if dropped else _symptom_facets(state, event)
        if event.status == "present":
            return Change(facets, dropped=dropped)
        return Change(facets, ref, Reason.ENTERED_IN_ERROR, dropped)
    merged = as_one([known, event])
    if merged == known:
        return Change(_symptom_facets(state, event), filed=False) if sooner else NOT_FILED
    state.symptoms[key] = merged
    facets = _symptom_facets(state, event, known.kind)
    if merged.status == known.status:
        return Change(facets)
    return Change(facets, ref, Reason.ENTERED_IN_ERROR)


def _symptom_facets(state: PatientState, event: Symptom, *kinds: SymptomKind) -> frozenset[str]:
    """Return what a symptom's message changes: messages under its id may be the same symptom and name other kinds."""
    others = (held.kind for held in state.symptoms.values() if held.symptom_id == event.symptom_id)
    return symptom_facets(frozenset((event.kind, *kinds, *others)))


def _used_symptoms(state: PatientState) -> set[str]:
    """Return the keys of the symptoms that an open alert rests on."""
    used = _used(state, "symptom")
    return {key for key, symptom in state.symptoms.items() if symptom.symptom_id in used} if used else used


def _profile(state: PatientState, event: PatientProfile, received_at: datetime, _horizon: datetime) -> Change:
    event = tamed(event, received_at)
    if state.profile and (event.at, canonical(event)) <= (state.profile.at, canonical(state.profile)):
        return NOT_FILED
    state.profile = event
    return Change(frozenset({"patient_profile"}))


def _standing(event: MomentT, known: MomentT | None) -> MomentT:
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


def _window(name: str, *parts: str) -> Callable[[PatientState, Any, datetime, datetime], Change]:
    """Build a filer for events that only need their window; `parts` distinguish events of one moment."""

    def filer(state: PatientState, event: Any, received_at: datetime, horizon: datetime) -> Change:
        key = "|".join((*(str(getattr(event, part)) for part in parts), identity(event)))
        window: dict[str, Any] = getattr(state, name)
        event = _standing(tamed(event, received_at), window.get(key))
        if window.get(key) == event:
            return NOT_FILED
        window[key] = event
        prune(window, MAX_OTHERS, horizon, AT, lambda: {key})
        return Change(frozenset({type(event).__struct_config__.tag}))

    return filer


def _rhythm(state: PatientState, event: Rhythm, received_at: datetime, horizon: datetime) -> Change:
    """File a finding on the electrocardiogram and its arrival, so that a late one makes its alert active again."""
    change = _file_rhythm(state, event, received_at, horizon)
    event = tamed(event, received_at)
    sooner = arrived(state, rhythm_ref(event), received_at, anew=False)
    return Change(RHYTHM.facets, filed=False) if sooner and not change.filed else change


_file_rhythm: Final = _window("rhythms", "kind")
_ENDS_ORDER: Final = frozenset({"stopped", "cancelled"})


def _medication(state: PatientState, event: Medication, received_at: datetime, horizon: datetime) -> Change:
    """File a step of an order. An order stands until it is stopped, whatever its age and whenever it arrives."""
    key = f"{event.order_id}|{event.action}|{identity(event)}"
    event = _standing(tamed(event, received_at), state.medications.get(key))
    if state.medications.get(key) == event:
        return NOT_FILED
    state.medications[key] = event
    dropped = prune(state.medications, MAX_OTHERS, horizon, AT, lambda: _standing_orders(state))
    if key not in state.medications:
        return NOT_FILED
    return Change(frozenset({"medication"}), dropped=dropped)


def _standing_orders(state: PatientState) -> set[str]:
    """Return the keys of the newest order or change, and of the newest step, of each order that nobody stopped."""
    orders: dict[str, list[tuple[datetime, str]]] = {}
    for key, step in state.medications.items():
        orders.setdefault(step.order_id, []).append((step.at, key))
    kept: set[str] = set()
    for steps in orders.values():
        steps.sort()
        if state.medications[steps[-1][1]].action in _ENDS_ORDER:
            continue
        told = [key for _, key in steps if state.medications[key].action in ("ordered", "changed")]
        kept |= {steps[-1][1], *told[-1:]}
    return kept


def _machine_alarm(state: PatientState, event: MachineAlarm, received_at: datetime, horizon: datetime) -> Change:
    if event.text and len(event.text) > MAX_TEXT:
        event = msgspec.structs.replace(event, text=event.text[:MAX_TEXT])  # type: ignore[type-var]
    return _file_alarm(state, event, received_at, horizon)


_file_alarm: Final = _window("machine_alarms", "session_id", "code", "phase")


def _used(state: PatientState, kind: str) -> set[str]:
    """Return the ids of inputs that an open alert rests on, which pruning keeps."""
    prefix = f"{kind}:"
    return {
        ground.removeprefix(prefix)
        for alert in state.alerts.values()
        if alert.over_at is None
        for ground in alert.grounds
        if ground.startswith(prefix)
    }


#: Events that count however long ago they happened.
_TIMELESS: Final = (PatientProfile, Medication, *merge.STATEMENTS)

_FILERS: Final[dict[type, Callable[[PatientState, Any, datetime, datetime], Change]]] = {
    LabResult: _lab_result,
    SessionStarted: _session_started,
    SessionEnded: _session_ended,
    Symptom: _symptom,
    PatientProfile: _profile,
    PatientMerged: merge.file_merge,
    RecordGivenUp: merge.file_given_up,
    RecordMoved: merge.file_moved,
    Rhythm: _rhythm,
    Weight: _window("weights", "moment"),
    Medication: _medication,
    Schedule: _window("schedules", "session_id"),
    MachineAlarm: _machine_alarm,
    AlertResponse: file_response,
}

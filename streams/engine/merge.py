"""Merged records: the record given up sends its inputs and all later events to the record that stays.

`patient_merged` is filed at the record that stays, which sends `record_given_up` to the other, whatever its partition.
The record given up sends its events on, each with the records that it passed (`merged_from`) and its first arrival.
Every message goes through the outbox: stored before it is sent, sent again after a crash. Filing makes repeats safe.

The statements form a graph whose edges no order of arrival changes. An event that reaches a record it passed before
shows a circle: the record with the smallest id of the circle then keeps its events.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from models.alerts import Reason
from models.events import MAX_HOPS
from models.identity import alarm_key, alarm_ref
from models.records import (
    AlertResponse,
    ChairConflict,
    LabResult,
    MachineAlarm,
    PatientMerged,
    PatientProfile,
    PatientRecord,
    RecordGivenUp,
    RecordMoved,
    Rhythm,
    SessionEnded,
    SessionStarted,
    Symptom,
    Telemetry,
    Weight,
)
from models.state import MAX_OTHERS, Channel, Entry, Flow, PatientState, Session
from models.state.channel import NEVER_S
from models.topics import CLINICAL_EVENTS, LAB_RESULTS, MACHINE_EVENTS, SESSIONS_ACTIVE
from streams.engine.change import NOT_FILED, Change, canonical
from streams.engine.sender_clocks import tamed
from streams.engine.told_settings import samples_of
from streams.engine.windows import prune
from streams.rules.facts import bedside, labs
from streams.rules.facts.dry_weight import weight_known_at
from streams.rules.facts.implausible import SAMPLES
from streams.rules.facts.treatments import GOES_ON
from streams.rules.inputs import MERGE

#: Up to how many bytes a record fills its outbox with events at a time; the outbox is stored with the record.
MOST_AT_ONCE: Final = 64 * 1024
#: A statement about records counts however long ago it was made.
_EVER: Final = datetime.min.replace(tzinfo=UTC)
_CHANGED: Final = Change(MERGE.facets)
_SENT_ON: Final = Change()
_UNMATCHED: Final = Change(unmatched=True)
_TOPICS: Final[dict[type, str]] = {
    LabResult: LAB_RESULTS,
    Telemetry: MACHINE_EVENTS,
    SessionStarted: MACHINE_EVENTS,
    SessionEnded: MACHINE_EVENTS,
    MachineAlarm: MACHINE_EVENTS,
}
_WINDOWS: Final = (
    "labs",
    "versions",
    "symptoms",
    "sessions",
    "rhythms",
    "weights",
    "medications",
    "schedules",
    "machine_alarms",
)
#: The blood flow (mL/min) that stands for a past one, of which the state keeps only that it was above 0.
_FLOWED: Final = 1.0
_encode: Final = msgspec.json.Encoder().encode
#: Statements about a record as such: they stay where they are.
STATEMENTS: Final = (PatientMerged, RecordGivenUp)


# -- statements -------------------------------------------------------------------------------------------------------


def file_merge(state: PatientState, event: PatientMerged, received_at: datetime, _horizon: datetime) -> Change:
    """File that another record is merged into this one, and send it `record_given_up`. A repeat changes nothing."""
    known = state.merges.get(event.merged_id)
    event = tamed(event, received_at)
    if known is not None and (event.at, canonical(event)) <= (known.at, canonical(known)):
        return NOT_FILED
    state.merges[event.merged_id] = event
    prune(state.merges, MAX_OTHERS, _EVER, lambda m: m.at, lambda: {event.merged_id})
    if event.merged_id == state.id:
        state.contradictions.setdefault(state.id, received_at)
        return _CHANGED
    given_up = RecordGivenUp(at=event.at, patient_id=event.merged_id, into=state.id)
    state.outbox.append(Entry(topic=CLINICAL_EVENTS, key=event.merged_id, value=msgspec.Raw(_encode(given_up))))
    return _CHANGED


def file_given_up(state: PatientState, event: RecordGivenUp, received_at: datetime, _horizon: datetime) -> Change:
    """File that this record is given up. The latest of several statements stands; those of a known circle do not."""
    if event.into == state.id or event.into in state.contradictions:
        return NOT_FILED
    known = (state.merged_at, state.merged_into)
    if state.merged_into is not None and known >= (event.at, event.into):
        return NOT_FILED
    state.merged_into, state.merged_at = event.into, event.at
    _send_on(state, RecordMoved(at=event.at, patient_id=state.id), received_at, ())
    return _CHANGED


def file_moved(_state: PatientState, _event: RecordMoved, _received_at: datetime, _horizon: datetime) -> Change:
    """File nothing: the statement has reached the record that stays."""
    return NOT_FILED


# -- events of a record that was given up -----------------------------------------------------------------------------


def keeps(state: PatientState, received_at: datetime, way: tuple[str, ...]) -> bool:
    """Return whether a record given up keeps an event after all, because the merges form a circle.

    The record with the smallest id of the circle stays, records the contradiction and is open again.
    """
    if state.id not in way and len(way) < MAX_HOPS:
        return False
    circle = set(way[way.index(state.id) :] if state.id in way else way)
    if state.id > min(circle) and len(way) < MAX_HOPS:
        return False
    for other in circle - {state.id}:
        state.contradictions.setdefault(other, received_at)
    prune(state.contradictions, MAX_OTHERS, _EVER, lambda since: since, lambda: circle)
    state.merged_into = state.merged_at = None
    return True


def send_on(state: PatientState, event: PatientRecord, received_at: datetime, way: tuple[str, ...]) -> Change:
    """Send an event of a record given up to the one that stays; answers end with its alerts and do not move."""
    if isinstance(event, AlertResponse):
        return _UNMATCHED
    if isinstance(event, ChairConflict) or (isinstance(event, PatientProfile) and event.status != "active"):
        return NOT_FILED  # the chair hears from the record that stays, and tells that one
    _send_on(state, event, received_at, way)
    return _SENT_ON


def _send_on(state: PatientState, event: Any, received_at: datetime, way: tuple[str, ...]) -> int:
    assert state.merged_into is not None  # noqa: S101 (for the type checker)
    moved = _encode(msgspec.structs.replace(event, patient_id=state.merged_into))
    tail = _encode({"merged_from": [*way, state.id][-MAX_HOPS:], "received_at": received_at})
    value = msgspec.Raw(moved[:-1] + b"," + tail[1:])
    topic = _TOPICS.get(type(event), CLINICAL_EVENTS)
    state.outbox.append(Entry(topic=topic, key=state.merged_into, value=value))
    return len(moved) + len(tail)


# -- inputs of a record given up --------------------------------------------------------------------------------------


def move_out(state: PatientState) -> bool:
    """Move the inputs of a record given up into its outbox, about `MOST_AT_ONCE` bytes at a time.

    Returns:
        Whether the outbox grew. If so, call again when it is sent.
    """
    if state.merged_into is None:
        return False
    size, before = sum(memoryview(entry.value).nbytes for entry in state.outbox), len(state.outbox)
    while size < MOST_AT_ONCE and (item := _take_one(state)) is not None:
        for event, received_at in item:
            size += _send_on(state, event, received_at, ())
    return len(state.outbox) > before


def _take_one(state: PatientState) -> list[tuple[Any, datetime]] | None:
    """Take one item out of the windows and return equivalent events, each with its arrival; None if all are out."""
    if state.profile is not None:
        profile, state.profile = state.profile, None
        return [(profile, profile.at)] if profile.status == "active" else []
    for name in _WINDOWS:
        window: dict[str, Any] = getattr(state, name)
        if window:
            item = window.pop(next(iter(window)))
            if isinstance(item, Session):
                return list(_of_session(state, item))
            return [(item, _arrival(state, item))]
    for rest in (state.arrivals, state.alarm_runs, state.responses, state.problems, state.heard, state.behind):
        rest.clear()
    return None


def _arrival(state: PatientState, event: Any) -> datetime:
    """Return when an event arrived, or when it happened if its arrival is not kept."""
    if isinstance(event, LabResult):
        return labs.known_at(state, event)
    if isinstance(event, Rhythm):
        return bedside.rhythm_known_at(state, event)
    if isinstance(event, Weight):
        return weight_known_at(state, event)
    if isinstance(event, MachineAlarm):
        return state.arrivals.get(alarm_ref(alarm_key(event)), event.at)
    return bedside.heard_at(state, event) if isinstance(event, Symptom) else event.at


def _of_session(state: PatientState, session: Session) -> Iterator[tuple[Any, datetime]]:
    """Yield messages from which the session can be pieced together again; end its record on `sessions.active`."""
    if session.told_at is not None:
        state.outbox.append(Entry(topic=SESSIONS_ACTIVE, key=session.session_id))
    for event in (*session.starts, *session.ends):
        yield event, event.at
    names = {"patient_id": state.id, "session_id": session.session_id}
    names["machine_id"] = session.machine_id or "unknown"
    for at, values in _readings(session).items():
        yield Telemetry(at=at, **names, **values), at  # type: ignore[arg-type]
    for machine, flows in (session.machine_flows or {session.flowed_by: session.flows}).items():
        told = names | {"machine_id": machine or names["machine_id"]}
        for at in (moment for flow in flows for moment in _moments(flow)):
            yield Telemetry(at=at, blood_flow_ml_min=_FLOWED, **told), at  # type: ignore[arg-type]
    for second, origin, field, value in samples_of(session):
        at = max(second, session.first_at)  # of which the fraction of a second is known
        yield Telemetry(at=at, setting_origin=origin, **names, **{field: value}), at  # type: ignore[arg-type]


def _readings(session: Session) -> dict[datetime, dict[str, float]]:
    """Return samples by their time that give the session's readings, blood flow and channels again."""
    readings: dict[datetime, dict[str, float]] = {}
    # No sample where a start or end message gives `first_at`: it could name a machine that no message named.
    if not any(event.at == session.first_at for event in (*session.starts, *session.ends)):
        readings[session.first_at] = {}
    for name, reading in (("systolic_mmhg", session.systolic), ("uf_rate_ml_h", session.uf_rate)):
        if reading is not None:
            readings.setdefault(reading.at, {})[name] = reading.value
    for field, channel in session.channels.items():
        for minute in channel.minutes:  # enough of its samples that the envelope is the same again
            for second, value in ((minute.first, minute.low), (minute.last, minute.high)):
                at = datetime.fromtimestamp(minute.number * 60 + second, UTC)
                readings.setdefault(at, {})[field] = value
        for second, value in _remembered(channel):
            readings.setdefault(datetime.fromtimestamp(second, UTC), {})[field] = value
    _add_strange(readings, session)
    return readings


def _remembered(channel: Channel) -> Iterator[tuple[int, float]]:
    """Yield samples that tell again where a channel ever lay beyond a bound, as far as its minutes do not."""
    start = channel.minutes[0].number * 60 if channel.minutes else channel.at
    for bound in channel.bounds.values():
        if bound.ever and not bound.is_out and NEVER_S < bound.other < start:
            yield bound.other, math.nextafter(bound.value, math.inf if bound.above else -math.inf)


def _add_strange(readings: dict[datetime, dict[str, float]], session: Session) -> None:
    """Add the numbers of samples that were left out, the first and the newest of each field."""
    for field, strange in session.strange.items():
        for second in (strange.first, strange.last) if field in SAMPLES else ():
            readings.setdefault(datetime.fromtimestamp(second, UTC), {}).setdefault(field, strange.value)


def _moments(flow: Flow) -> Iterator[datetime]:
    """Yield moments of a stretch of blood flow, close enough to be one stretch again when they are filed."""
    at = flow.since
    while at < flow.until:
        yield at
        at += GOES_ON
    yield flow.until


# -- closed records ---------------------------------------------------------------------------------------------------


def closed(state: PatientState) -> Reason | None:
    """Return why a record has no alerts: it was given up, or its patient left and began no session since."""
    if state.merged_into is not None:
        return Reason.PATIENT_MERGED
    profile = state.profile
    if profile is None or profile.status == "active":
        return None
    if any(_begun_at(session) > profile.at for session in state.sessions.values()):
        return None
    return Reason.PATIENT_LEFT


def _begun_at(session: Session) -> datetime:
    """Return when a session last began by its start messages, else the time of its first message."""
    return session.starts[-1].at if session.starts else session.first_at

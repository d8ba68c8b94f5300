"""Sessions: their starts and ends, and the samples of machines, which are nearly all of the traffic.

Everything is filed under its session id; `streams.rules.facts.treatments` makes treatments of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from msgspec import structs

from models.records import PatientRecord, SessionEnded, SessionStarted, Telemetry
from models.state import (
    LONGEST_SESSION,
    LONGEST_WINDOW,
    MAX_FLOWS,
    MAX_SESSION_MESSAGES,
    Bound,
    Channel,
    Flow,
    PatientState,
    Reading,
    Session,
)
from streams.engine.change import NOT_FILED, SAMPLED, TOO_OLD, Change, wins
from streams.engine.sender_clocks import check_clock, is_in_time, tamed
from streams.engine.windows import SESSIONS
from streams.rules.facts.treatments import GOES_ON, is_still, is_sure_to_run
from streams.rules.inputs import AHEAD, ALL_SYMPTOMS, HEARD, HEARD_ANEW, PAUSE, SESSION, channel_facets

MessageT = TypeVar("MessageT", SessionStarted, SessionEnded)


def keep_unit(state: PatientState, event: PatientRecord) -> None:
    """Keep the unit that treats the patient, as the newest event names it."""
    if event.unit_id is None:
        return
    if (
        state.unit_id is None
        or state.unit_id_at is None
        or (event.at, event.unit_id) > (state.unit_id_at, state.unit_id)
    ):
        state.unit_id, state.unit_id_at = event.unit_id, event.at


# -- samples: this path stays short --------------------------------------------------

_MINUTE: Final = timedelta(minutes=1)
SESSION_CHANGED: Final = Change(SESSION.facets)
_SYMPTOMS_REGROUPED: Final = Change(SESSION.facets | ALL_SYMPTOMS)


def session_change(state: PatientState) -> Change:
    """Return the change of a session; it also regroups the messages of a symptom id that was used again."""
    return _SYMPTOMS_REGROUPED if _regrouped(state) else SESSION_CHANGED


def _regrouped(state: PatientState) -> frozenset[str]:
    """Return the facets of symptoms where an id was used again: sessions tell which messages are about one."""
    ids = {symptom.symptom_id for symptom in state.symptoms.values()} if state.symptoms else ()
    return frozenset() if len(ids) == len(state.symptoms) else ALL_SYMPTOMS


def file_sample(
    state: PatientState, sample: Telemetry, received_at: datetime, now: datetime, channels: Iterable[str]
) -> Change:
    """File a sample of a machine; it is kept of these channels, and of the channels that rules watch already."""
    ahead = sample.at - received_at
    at = sample.at if ahead <= AHEAD else received_at
    session = state.sessions.get(sample.session_id)
    change = SAMPLED
    if session is None or at < session.first_at:
        horizon = now - LONGEST_WINDOW
        if at < horizon or received_at - at > LONGEST_SESSION:
            return TOO_OLD  # or a clock that went back: starts no session, moves no start
        session = _session(state, sample.session_id, sample.machine_id, at, horizon, channels)
        change = SESSION_CHANGED
    if (flow := sample.blood_flow_ml_min) is not None and not (flow > 0 and _flows_on(session, at)):
        change = _blood_flow(state, session, at, flow, change)
    if sample.systolic_mmhg is not None:
        session.systolic = newer(session.systolic, at, sample.systolic_mmhg)
    if sample.uf_rate_ml_h is not None:
        session.uf_rate = newer(session.uf_rate, at, sample.uf_rate_ml_h)
    if sample.unit_id is not None and (state.unit_id_at is None or at >= state.unit_id_at):
        keep_unit(state, sample)
    if change.facets >= SESSION.facets and (regrouped := _regrouped(state)):
        change = structs.replace(change, facets=change.facets | regrouped)
    change = _hear(session, received_at, change)
    if session.channels and (turned := _add_to_channels(session.channels, sample, at)):
        change = _turned(state, turned, now, change)
    if is_in_time(state, sample.machine_id, ahead, received_at):
        return change
    clock = check_clock(state, sample.machine_id, sample, received_at, now)
    return structs.replace(
        change, facets=change.facets | clock
    )  # not `SAMPLED`: what is known of clocks may have changed


def _hear(session: Session, received_at: datetime, change: Change) -> Change:
    """Record when a sample of a session arrived; it is news after a silence, and where the first one comes late."""
    heard = session.heard_at
    if heard is not None and received_at <= heard:
        return change
    session.heard_at = received_at
    is_news = received_at - session.first_at > GOES_ON if heard is None else received_at - heard > HEARD_ANEW
    return structs.replace(change, facets=change.facets | HEARD.facets) if is_news else change


def _add_to_channels(
    channels: dict[str, Channel], sample: Telemetry, at: datetime
) -> list[tuple[str, str, Bound]] | None:
    """Add a sample to channels; return each bound that it turned: the channel, its name and itself."""
    second = int(at.timestamp())
    turned: list[tuple[str, str, Bound]] | None = None
    for field, channel in channels.items():
        value = getattr(sample, field)
        if value is not None and (names := channel.add(second, value)):
            turned = turned or []
            turned += [(field, name, channel.bounds[name]) for name in names]
    return turned


def _turned(state: PatientState, turned: list[tuple[str, str, Bound]], now: datetime, change: Change) -> Change:
    """Let rules look when a channel has been on its new side for as long as they wait, or now where that has passed.

    A look that is due earlier stays: a value that swings around a bound evaluates its rule once in that time.
    """
    for field, name, bound in turned:
        rule, moment = name.partition(":")[0], datetime.fromtimestamp(bound.look_at, UTC)
        if moment <= now:
            change = structs.replace(change, facets=change.facets | channel_facets(field))
        else:
            known = state.looks.get(rule)
            if known is None or moment < known:
                known = state.looks[rule] = moment
                change = structs.replace(change, looks=True)
            bound.due = int(known.timestamp())
    return change


def _flows_on(session: Session, at: datetime) -> bool:
    """Extend the newest stretch of blood flow: the same as `_flows`, for nearly every sample. False if that decides."""
    flows = session.flows
    if not flows or session.ends or session.still_at is not None:
        return False
    newest = flows[-1]
    if not newest.until <= at <= newest.until + GOES_ON:
        return False
    newest.until = at
    return True


def _blood_flow(state: PatientState, session: Session, at: datetime, flow: float, change: Change) -> Change:
    """Record that blood flowed, or stood still; return what that changes beside `change`."""
    was_still = is_still(session)
    if flow > 0:
        change = _flows(state, session, at) or change
    elif flow == 0 and (session.still_at is None or at > session.still_at):
        session.still_at = at
    if was_still == is_still(session):
        return change
    return structs.replace(change, facets=change.facets | PAUSE.facets)


def _flows(state: PatientState, session: Session, at: datetime) -> Change | None:
    """Record blood flow; it is a change where a stretch begins or moves a boundary of the treatment."""
    flows = session.flows
    if flows and (newest := flows[-1]).since <= at <= newest.until + GOES_ON:
        if at <= newest.until:
            return None
        # A treatment with a reported end needs an evaluation once a minute only.
        news = bool(session.ends) and (at - newest.until >= _MINUTE or at.minute != newest.until.minute)
        newest.until = at
        return SESSION_CHANGED if news else None
    if any(flow.since <= at <= flow.until for flow in flows):
        return None
    known = is_sure_to_run(state, session, at)
    session.flows = merged([*flows, Flow(at, at)], GOES_ON)[-MAX_FLOWS:]
    return None if known else SESSION_CHANGED


def merged(flows: list[Flow], apart: timedelta) -> list[Flow]:
    """Join stretches that are at most so far apart."""
    found: list[Flow] = []
    for flow in sorted(flows, key=lambda flow: (flow.since, flow.until)):
        if found and flow.since <= found[-1].until + apart:
            found[-1] = Flow(found[-1].since, max(found[-1].until, flow.until))
        else:
            found.append(flow)
    return found


def newer(known: Reading | None, at: datetime, value: float) -> Reading:
    """Return the later of two readings; of one moment the greater."""
    if known is None or at > known.at or (at == known.at and value > known.value):
        return Reading(at, value)
    return known


# -- sessions ---------------------------------------------------------------------------------------------------------


def _session(
    state: PatientState, session_id: str, machine_id: str, at: datetime, horizon: datetime, channels: Iterable[str]
) -> Session:
    session = state.sessions.get(session_id)
    if session is None:
        session = Session(session_id=session_id, machine_id=machine_id, first_at=at)
        session.channels = {name: Channel() for name in channels}
        state.sessions[session_id] = session
        SESSIONS.prune(state, horizon)
    session.first_at = min(session.first_at, at)
    return session


def file_start(
    state: PatientState, event: SessionStarted, received_at: datetime, horizon: datetime, channels: Iterable[str]
) -> Change:
    """File that a session started; its samples are kept of these channels."""
    known = state.sessions.get(event.session_id)
    event = tamed(event, received_at)
    moved = known is None or event.at < known.first_at
    session = _session(state, event.session_id, event.machine_id, event.at, horizon, channels)
    starts = _with_message(session.starts, event)
    if starts is None:
        return SESSION_CHANGED if moved else NOT_FILED
    session.starts = starts
    session.machine_id = starts[-1].machine_id
    return SESSION_CHANGED


def file_end(
    state: PatientState, event: SessionEnded, received_at: datetime, horizon: datetime, channels: Iterable[str]
) -> Change:
    """File that a session ended."""
    known = state.sessions.get(event.session_id)
    event = tamed(event, received_at)
    moved = known is None or event.at < known.first_at
    session = _session(state, event.session_id, "", event.at, horizon, channels)
    ends = _with_message(session.ends, event)
    if ends is None:
        return SESSION_CHANGED if moved else NOT_FILED
    session.ends = ends
    return SESSION_CHANGED


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

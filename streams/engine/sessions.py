"""Sessions: their starts and ends, and the samples of machines, which are nearly all of the traffic.

Everything is filed under its session id; `streams.rules.facts.treatments` makes treatments of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

from msgspec import structs

from models.records import PatientRecord, SessionEnded, SessionStarted, Telemetry
from models.state import (
    LONGEST_SESSION,
    LONGEST_WINDOW,
    MAX_FLOWS,
    MAX_MACHINES,
    MAX_SESSION_MESSAGES,
    Bound,
    Channel,
    Flow,
    PatientState,
    Reading,
    Session,
)
from models.state.channel import NEVER_S
from streams.engine.change import NOT_FILED, SAMPLED, TOO_OLD, Change, wins
from streams.engine.sender_clocks import check_clock, is_in_time, tamed
from streams.engine.told_settings import file_settings, told_of
from streams.engine.windows import SESSIONS, prune
from streams.rules.facts.implausible import MESSAGES, OF_SESSIONS, SAMPLES
from streams.rules.facts.treatments import GOES_ON, is_still, is_sure_to_run, is_together
from streams.rules.inputs import AHEAD, ALL_SYMPTOMS, HEARD, HEARD_ANEW, PAUSE, SESSION, Facets, channel_facets

MessageT = TypeVar("MessageT", SessionStarted, SessionEnded)


class Turn(NamedTuple):
    """A bound of a channel that a sample turned, and the sample's second.

    No bound stands for the first number of a field that cannot be.
    """

    field: str
    name: str
    bound: Bound | None
    second: int


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
_EVER: Final = datetime.min.replace(tzinfo=UTC)
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
    if (flow := sample.blood_flow_ml_min) is not None and not (flow > 0 and _flows_on(session, sample.machine_id, at)):
        change = _blood_flow(state, session, sample.machine_id, at, flow, change)
    if sample.systolic_mmhg is not None:
        change = _systolic(session, at, sample.systolic_mmhg, change)
    if (uf_rate := sample.uf_rate_ml_h) is not None and _UF_RATE.low <= uf_rate <= _UF_RATE.high:
        session.uf_rate = newer(session.uf_rate, at, uf_rate)
    if sample.unit_id is not None and (state.unit_id_at is None or at >= state.unit_id_at):
        keep_unit(state, sample)
    change = _wider(change, file_settings(session, told_of(sample), at))
    if change.facets >= SESSION.facets:
        change = _wider(change, _regrouped(state))
        _keep_channels(session, channels)
    change = _hear(session, at, received_at, change)
    if session.channels and (turned := _add_to_channels(session, sample, at)):
        change = _turned(state, turned, now, change)
    if is_in_time(state, sample.machine_id, ahead, received_at):
        return change
    clock = check_clock(state, sample.machine_id, sample, received_at, now)
    return structs.replace(
        change, facets=change.facets | clock
    )  # not `SAMPLED`: what is known of clocks may have changed


def shorter(gap_s: int, samples: int) -> int:
    """Return how long a gap between samples may be after so many more of them (`Session.gap_s`)."""
    gap_s = max(0, gap_s)
    while gap_s and samples:
        gap_s, samples = gap_s * 7 // 8, samples - 1
    return gap_s


def _hear(session: Session, at: datetime, received_at: datetime, change: Change) -> Change:
    """Record when a sample of a session arrived; it is news after a silence, and where the first one comes late.

    A silence is longer than a minute and than three intervals of the machine.
    """
    heard = session.heard_at
    if heard is not None and received_at <= heard:
        return change
    is_news = False
    if heard is None:
        session.gap_s, is_news = -1, received_at - session.first_at > GOES_ON
    elif (gap := received_at - heard) > HEARD_ANEW:
        is_news = gap >= 3 * timedelta(seconds=session.gap_s)
        session.gap_s = max(int(gap.total_seconds()), shorter(session.gap_s, 1))
    elif session.gap_s and (not session.flows or at >= session.flows[-1].until):  # no repeat, and none that came late
        session.gap_s = shorter(session.gap_s, 1)
    session.heard_at = received_at
    return structs.replace(change, facets=change.facets | HEARD.facets) if is_news else change


def _keep_channels(session: Session, channels: Iterable[str]) -> None:
    """Keep samples of these channels; an end that the first sample after it disproves had let go of them."""
    for name in channels:
        session.channels.setdefault(name, Channel())


def _wider(change: Change, facets: Facets) -> Change:
    return structs.replace(change, facets=change.facets | facets) if facets else change


def _systolic(session: Session, at: datetime, value: float, change: Change) -> Change:
    """Keep a systolic pressure in mm[Hg]; one that cannot be is left out, also where no rule watches the channel."""
    if _SYSTOLIC.low <= value <= _SYSTOLIC.high:
        session.systolic = newer(session.systolic, at, value)
    elif _is_first_strange(session, "systolic_mmhg", value, int(at.timestamp())):
        return structs.replace(change, facets=change.facets | SESSION.facets)
    return change


_EDGES: Final = {field: (each.low, each.high) for field, each in SAMPLES.items()}
_SYSTOLIC: Final = SAMPLES["systolic_mmhg"]
_UF_RATE: Final = SAMPLES["uf_rate_ml_h"]


def _add_to_channels(session: Session, sample: Telemetry, at: datetime) -> list[Turn] | None:
    """Add a sample to channels, without the numbers that cannot be; return each bound that it turned."""
    second = int(at.timestamp())
    turned: list[Turn] | None = None
    for field, channel in session.channels.items():
        value = getattr(sample, field)
        if value is None:
            continue
        low, high = _EDGES[field]
        if not low <= value <= high:
            if _is_first_strange(session, field, value, second):
                turned = [*(turned or ()), Turn(field, "", None, second)]
        elif names := channel.add(second, value):
            turned = turned or []
            turned += [Turn(field, name, channel.bounds[name], second) for name in names]
    return turned


def _is_first_strange(session: Session, field: str, value: float, second: int) -> bool:
    """Note a number that cannot be; return whether it is the first of its field in the session."""
    return OF_SESSIONS[field].is_strange(value) and session.leave_out(field, second, value)


def _turned(state: PatientState, turned: list[Turn], now: datetime, change: Change) -> Change:
    """Let rules look when a channel has been on its new side for as long as they wait, or now where that has passed.

    A look that is due earlier stays: a value that swings around a bound evaluates its rule once in that time.
    """
    for field, name, bound, second in turned:
        if bound is None:
            change = structs.replace(change, facets=change.facets | SESSION.facets)
            continue
        rule, moment = name.partition(":")[0], datetime.fromtimestamp(bound.look_at, UTC)
        wanted = bound.wants_look(second)
        if (wanted and moment <= now) or bound.wants_each(second) or _never_counted(state, rule, bound):
            change = structs.replace(change, facets=change.facets | channel_facets(field))
        elif wanted:
            known = state.looks.get(rule)
            if known is None or moment < known:
                known = state.looks[rule] = moment
                change = structs.replace(change, looks=True)
            bound.due = int(known.timestamp())
    return change


def _never_counted(state: PatientState, rule: str, bound: Bound) -> bool:
    """Return whether a sample that came late shows a bound not crossed when a condition was taken to count."""
    since = state.held_since.get(rule)
    if not since:
        return False
    unmet = bound.other if bound.is_out else bound.since
    return unmet != NEVER_S and datetime.fromtimestamp(unmet, UTC) <= max(since.values())


def _flows_on(session: Session, machine_id: str, at: datetime) -> bool:
    """Extend the newest stretch of blood flow: the same as `_flows`, for nearly every sample. False if that decides."""
    flows = session.flows
    if not flows or session.ends or session.still_at is not None:
        return False
    if machine_id != session.flowed_by or session.machine_flows:
        return False
    newest = flows[-1]
    if not newest.until <= at <= newest.until + GOES_ON:
        return False
    newest.until = at
    return True


def _blood_flow(
    state: PatientState, session: Session, machine_id: str, at: datetime, flow: float, change: Change
) -> Change:
    """Record that blood flowed, or stood still; return what that changes beside `change`."""
    was_still = is_still(session)
    if flow > 0:
        change = _flows_by(session, machine_id, at, change)
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


def _flows_by(session: Session, machine_id: str, at: datetime, change: Change) -> Change:
    """Record whose samples show the blood flow; it is news once two machines show it at the same time.

    Nearly always all of it is one machine's; once another one tells of it, the stretches of each are kept.
    """
    if not session.flowed_by:
        session.flowed_by = session.machine_id if session.flows and session.machine_id else machine_id
    if not session.machine_flows:
        if machine_id == session.flowed_by:
            return change
        session.machine_flows = {session.flowed_by: [Flow(flow.since, flow.until) for flow in session.flows]}
    known = session.machine_flows.get(machine_id, [])
    if any(flow.since <= at <= flow.until for flow in known):
        return change
    others = [flow for name, flows in session.machine_flows.items() if name != machine_id for flow in flows]
    joined = merged([*known, Flow(at, at)], GOES_ON)
    is_news = any(
        is_together(flow, others)
        and not any(is_together(one, others) for one in known if flow.since <= one.since <= flow.until)
        for flow in joined
        if flow.since <= at <= flow.until
    )
    session.machine_flows[machine_id] = joined[-MAX_FLOWS:]
    prune(session.machine_flows, MAX_MACHINES, _EVER, lambda flows: flows[-1].until, lambda: {machine_id})
    return _wider(change, SESSION.facets) if is_news else change


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
    starts = _with_message(session.starts, _without_strange(session, event))
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
    ends = _with_message(session.ends, _without_strange(session, event))
    if ends is None:
        return SESSION_CHANGED if moved else NOT_FILED
    session.ends = ends
    return SESSION_CHANGED


def _without_strange(session: Session, event: MessageT) -> MessageT:
    """Return a start or end message without the numbers that cannot be; the session notes them."""
    left_out: dict[str, Any] = {}
    for field, each in MESSAGES.items():
        value = getattr(event, field, None)
        if value is not None and not each.holds(value):
            left_out[field] = None
            _is_first_strange(session, field, value, int(event.at.timestamp()))
    return structs.replace(event, **left_out) if left_out else event  # type: ignore[type-var]


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

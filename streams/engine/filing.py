"""Filing: an event enters its window, and nothing else happens.

Filing is commutative and idempotent: the tie-break between two events of one identity depends on their content, never
on which came first. So any order of arrival leaves the same windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from models.alerts import Reason
from models.drugs import drugs_of
from models.events import SymptomKind
from models.identity import analyte_of, identity, medication_key, symptom_key
from models.records import (
    AlertResponse,
    ChairConflict,
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
from models.state import LONGEST_WINDOW, PatientState
from streams.engine import merge
from streams.engine.alarm_filing import file_alarm
from streams.engine.answers import file_response
from streams.engine.chair_conflicts import file_conflict
from streams.engine.change import NOT_FILED, TOO_OLD, Change, canonical, standing
from streams.engine.results import file_result, forget_arrivals
from streams.engine.sender_clocks import arrived, check_clock, source_of, tamed
from streams.engine.sessions import SESSION_CHANGED, file_end, file_sample, file_start, keep_unit, session_change
from streams.engine.windows import MEDICATIONS, RHYTHMS, SCHEDULES, SYMPTOMS, WEIGHTS, Window, prune
from streams.rules.facts.bedside import as_one, rhythm_ref
from streams.rules.facts.dry_weight import weight_ref
from streams.rules.inputs import ALL_DRUGS, ALL_SYMPTOMS, MERGE, drug_facets, symptom_facets

MessageT = TypeVar("MessageT", SessionStarted, SessionEnded)


def apply(
    state: PatientState,
    event: PatientRecord,
    received_at: datetime,
    now: datetime,
    way: tuple[str, ...] = (),
    channels: Iterable[str] = (),
) -> Change:
    """File an event into a patient's windows.

    Args:
        state: the patient; changed in place.
        event: what happened.
        received_at: the record's timestamp, against which the sender's clock is checked.
        now: the task's clock, from which the windows reach back.
        way: the records from which merges moved the event here, in order.
        channels: the fields of samples that rules watch.
    """
    if state.merged_into is not None and not isinstance(event, merge.STATEMENTS):
        if not merge.keeps(state, received_at, way):
            return merge.send_on(state, event, received_at, way)
        change = apply(state, event, received_at, now, channels=channels)
        return msgspec.structs.replace(change, facets=change.facets | MERGE.facets)
    if isinstance(event, Telemetry):
        return file_sample(state, event, received_at, now, channels)
    horizon = now - LONGEST_WINDOW
    if isinstance(event, ChairConflict):  # our own word: it says nothing of a sender's clock
        return file_conflict(state, event, received_at, horizon)
    if event.at < horizon and _latest(event) < horizon and not _counts_at_any_age(state, event):
        return TOO_OLD
    if isinstance(event, SessionStarted):
        change = file_start(state, event, received_at, horizon, channels)
    elif isinstance(event, SessionEnded):
        change = file_end(state, event, received_at, horizon, channels)
    else:
        change = _FILERS[type(event)](state, event, received_at, horizon)
    # The clock prunes symptoms, not the next symptom: what rules see must not depend on which events came.
    SYMPTOMS.prune(state, horizon)
    keep_unit(state, event)
    if change is SESSION_CHANGED:
        change = session_change(state)
    clock = check_clock(state, source_of(event), event, received_at, now)
    return msgspec.structs.replace(change, facets=change.facets | clock) if clock else change


def _latest(event: PatientRecord) -> datetime:
    """Return the latest moment that an event is about: a treatment planned long ago may lie ahead."""
    return max(event.at, event.planned_start) if isinstance(event, Schedule) else event.at


def _counts_at_any_age(state: PatientState, event: PatientRecord) -> bool:
    """Return whether an event of long ago counts: it holds for long, or is about a result or symptom that is kept."""
    if isinstance(event, LabResult):
        named, what = (event.result_id, event.replaces), analyte_of(event)
        return any(held.result_id in named and analyte_of(held) == what for held in state.labs.values())
    if isinstance(event, Symptom):
        return symptom_key(event) in state.symptoms
    return isinstance(event, _TIMELESS)


# -- results, symptoms and people's answers ---------------------------------------------------------------------------


def _lab_result(state: PatientState, event: LabResult, received_at: datetime, horizon: datetime) -> Change:
    return file_result(state, event, received_at, horizon)


def _symptom(state: PatientState, event: Symptom, received_at: datetime, horizon: datetime) -> Change:
    """Merge the messages of one symptom: an older message never undoes an end or an `entered_in_error`."""
    event = tamed(event, received_at)
    key, ref = symptom_key(event), f"symptom:{event.symptom_id}"
    known = state.symptoms.get(key)
    arrived(state, ref, received_at, anew=False)
    sooner = arrived(state, f"symptom:{key}", received_at, anew=False)
    if known is None:
        state.symptoms[key] = event
        dropped = SYMPTOMS.prune(state, horizon, lambda: {key})
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


def _profile(state: PatientState, event: PatientProfile, received_at: datetime, _horizon: datetime) -> Change:
    event = tamed(event, received_at)
    if state.profile and (event.at, canonical(event)) <= (state.profile.at, canonical(state.profile)):
        return NOT_FILED
    state.profile = event
    return Change(frozenset({"patient_profile"}))


_Filer = Callable[[PatientState, Any, datetime, datetime], Change]


def _nothing(_state: PatientState) -> set[str]:
    return set()


def _into(window: Window, *parts: str, stay: Callable[[PatientState], set[str]] = _nothing) -> _Filer:
    """Build a filer for events that only need their window.

    Args:
        window: the window.
        parts: the fields that distinguish events of one moment.
        stay: returns the keys of those that are not dropped for lack of room.
    """

    def filer(state: PatientState, event: Any, received_at: datetime, horizon: datetime) -> Change:
        key = "|".join((*(str(getattr(event, part)) for part in parts), identity(event)))
        held = window.of(state)
        event = standing(tamed(event, received_at), held.get(key))
        if held.get(key) == event:
            return NOT_FILED
        held[key] = event
        window.prune(state, horizon, lambda: {key, *stay(state)})
        return Change(window.facets)

    return filer


def _with_arrival(file: _Filer, window: Window, ref: Callable[[Any], str]) -> _Filer:
    """Build a filer that notes the arrival as well, so that a late event makes its alert active again."""

    def filer(state: PatientState, event: Any, received_at: datetime, horizon: datetime) -> Change:
        change = file(state, event, received_at, horizon)
        sooner = arrived(state, ref(tamed(event, received_at)), received_at, anew=False)
        forget_arrivals(state)
        return Change(window.facets, filed=False) if sooner and not change.filed else change

    return filer


#: So many of each kind of rhythm stay: a monitor that tells of every extrasystole pushes out no tachycardia, no QTc.
_RHYTHMS_THAT_STAY: Final = 12


def _newest_rhythms(state: PatientState) -> set[str]:
    """Return the keys of the newest findings on the electrocardiogram of each kind."""
    by_kind: dict[str, list[tuple[datetime, str]]] = {}
    for key, found in state.rhythms.items():
        by_kind.setdefault(found.kind, []).append((found.at, key))
    return {key for kept in by_kind.values() for _, key in sorted(kept)[-_RHYTHMS_THAT_STAY:]}


#: Begins the key of a dose of a drug whose name is not known.
UNKNOWN: Final = "unknown|"
_ENDS_ORDER: Final = frozenset({"stopped", "cancelled"})
_PRESCRIBES: Final = frozenset({"ordered", "changed"})


def _medication(state: PatientState, event: Medication, received_at: datetime, horizon: datetime) -> Change:
    """File a step of an order. An order stands until it is stopped, whatever its age and whenever it arrives.

    Doses of a drug that no rule reads are not kept. Of doses of a drug whose name nobody knows the earliest is kept,
    to be reported once.
    """
    event = tamed(event, received_at)
    key, drugs = medication_key(event), drugs_of(event.drug)
    if event.action == "administered" and not drugs:
        if drugs is not None:
            return Change(unread=True)
        key = f"{UNKNOWN}{event.drug}"
        known = state.medications.get(key)
        if known is not None and (known.at, canonical(known)) <= (event.at, canonical(event)):
            return NOT_FILED
    event = standing(event, state.medications.get(key))
    sooner = arrived(state, f"medication:{key}", received_at, anew=False)
    named = {step.drug for step in state.medications.values() if step.order_id == event.order_id} | {event.drug}
    facets = drug_facets(frozenset().union(*(drugs_of(name) or () for name in named)))
    if state.medications.get(key) == event:
        return Change(facets, filed=False) if sooner else NOT_FILED
    state.medications[key] = event
    dropped = _prune_medications(state, horizon)
    forget_arrivals(state)
    if key not in state.medications:
        return NOT_FILED
    return Change(ALL_DRUGS if dropped else facets, dropped=dropped)


def _prune_medications(state: PatientState, horizon: datetime) -> int:
    """Drop old steps of orders, but not what tells since when, and at which dose, a patient was on a drug.

    Of an order that nobody stopped this stays whatever is received; of one that ended since the horizon it is the first
    to go where there are too many steps.
    """
    standing, ended = _orders_to_keep(state, horizon)
    ended_ids = {id(state.medications[key]) for key in ended}

    def moment(step: Medication) -> datetime:
        return max(step.at, horizon) if id(step) in ended_ids else step.at

    return prune(state.medications, MEDICATIONS.cap, horizon, moment, lambda: standing)


def _orders_to_keep(state: PatientState, horizon: datetime) -> tuple[set[str], set[str]]:
    """Return the keys of what tells of each order that stands, and of each that ended since the horizon.

    That is the newest step of one that stands; and the first order, the one that stood at the horizon, and the newest.
    """
    orders: dict[str, list[tuple[datetime, str]]] = {}
    for key, step in state.medications.items():
        orders.setdefault(step.order_id, []).append((step.at, key))
    standing: set[str] = set()
    ended: set[str] = set()
    for every in orders.values():
        every.sort()
        ends = [number for number, (_, key) in enumerate(every[:-1]) if state.medications[key].action in _ENDS_ORDER]
        steps = every[ends[-1] + 1 :] if ends else every  # an id that is used again is another order
        told = [(at, key) for at, key in steps if state.medications[key].action in _PRESCRIBES]
        keys = [key for _, key in told]
        at_horizon = [key for at, key in told if at < horizon]
        telling = {*keys[:1], *at_horizon[-1:], *keys[-1:]}
        if state.medications[steps[-1][1]].action not in _ENDS_ORDER:
            standing |= {steps[-1][1], *telling}
        elif steps[-1][0] >= horizon:
            ended |= telling
    return standing, ended


#: Events that count however long ago they happened.
_TIMELESS: Final = (PatientProfile, Medication, *merge.STATEMENTS)

_FILERS: Final[dict[type, Callable[[PatientState, Any, datetime, datetime], Change]]] = {
    LabResult: _lab_result,
    Symptom: _symptom,
    PatientProfile: _profile,
    PatientMerged: merge.file_merge,
    RecordGivenUp: merge.file_given_up,
    RecordMoved: merge.file_moved,
    Rhythm: _with_arrival(_into(RHYTHMS, "kind", stay=_newest_rhythms), RHYTHMS, rhythm_ref),
    Weight: _with_arrival(_into(WEIGHTS, "moment"), WEIGHTS, weight_ref),
    Medication: _medication,
    Schedule: _into(SCHEDULES, "session_id"),
    MachineAlarm: file_alarm,
    AlertResponse: file_response,
}

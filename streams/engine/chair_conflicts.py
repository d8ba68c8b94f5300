"""The chair: who is dialysed there by the patients' signals, and word to a patient who is not alone on it.

No task sees two patients, so the chair is a subject of its own beside the water loops. It tells the patient whose
blood began to flow there last, and only that one: two patients on one chair are one alert, `identity_conflict`.
"""

from __future__ import annotations

from datetime import datetime
from itertools import combinations
from typing import Final

import msgspec

from models.identity import chair_key
from models.records import ChairConflict, ChairSignal
from models.state import MAX_SEATS, Entry, LoopState, PatientState
from models.topics import CLINICAL_EVENTS
from streams.engine.change import NOT_FILED, Change
from streams.engine.sender_clocks import tamed
from streams.engine.windows import AT, prune
from streams.rules.api import LoopView
from streams.rules.facts.treatments import SKEW
from streams.rules.inputs import CHAIR

_CHANGED: Final = Change(CHAIR.facets)
_encode: Final = msgspec.json.Encoder().encode


def file_seat(state: LoopState, event: ChairSignal, horizon: datetime) -> Change:
    """File a patient's signal at the chair; the newest of each patient stands, whatever their order."""
    known = state.seats.get(event.patient_id)
    if known is not None and not _is_newer(event, known):
        return NOT_FILED
    state.seats[event.patient_id] = event
    prune(state.seats, MAX_SEATS, horizon, AT, lambda: {event.patient_id})
    return _CHANGED


def tell_patients(view: LoopView) -> None:
    """Put into the outbox what is new for the patients of a chair."""
    state = view.read()
    if view.changed is not None and view.changed.isdisjoint(CHAIR.facets):
        return
    found = _together(state)
    for patient in sorted({*state.chair_conflicts, *found}):
        known = state.chair_conflicts.get(patient)
        conflict = _conflict(*found[patient], view.now) if patient in found else _over(known, view.now)
        if conflict is not None and (known is None or _said(conflict) != _said(known)):
            _tell(state, conflict)


def _together(state: LoopState) -> dict[str, tuple[ChairSignal, ChairSignal]]:
    """Return for each patient the other one who was there before, and the patient's own signal.

    Both treatments run, and both samples show blood that flows at the same time for longer than clocks may differ.
    """
    seated = sorted(
        (signal for signal in state.seats.values() if not signal.retracted),
        key=lambda signal: (signal.since, signal.patient_id),
    )
    found: dict[str, tuple[ChairSignal, ChairSignal]] = {}
    for before, after in combinations(seated, 2):
        if min(before.until, after.until) - after.since > SKEW:
            found.setdefault(after.patient_id, (before, after))
    return found


def _conflict(before: ChairSignal, after: ChairSignal, now: datetime) -> ChairConflict:
    return ChairConflict(
        at=now,
        patient_id=after.patient_id,
        unit_id=after.unit_id,
        chair=after.chair,
        session_id=after.session_id,
        sequence=1,
        other_id=before.patient_id,
        other_session_id=before.session_id,
        since=after.since,
    )


def _over(known: ChairConflict | None, now: datetime) -> ChairConflict | None:
    if known is None:
        return None
    over: ChairConflict = msgspec.structs.replace(known, at=now, other_id=None, other_session_id=None, since=None)  # type: ignore[type-var]
    return over


def _said(conflict: ChairConflict) -> tuple[object, ...]:
    """Return what a patient is told: not when, and not how long it lasts."""
    return conflict.session_id, conflict.other_id, conflict.other_session_id, conflict.since


def _tell(state: LoopState, conflict: ChairConflict) -> None:
    state.conflict_sequence += 1
    told: ChairConflict = msgspec.structs.replace(conflict, sequence=state.conflict_sequence)  # type: ignore[type-var]
    if told.other_id is None:
        del state.chair_conflicts[told.patient_id]
    else:
        state.chair_conflicts[told.patient_id] = told
    state.outbox.append(Entry(topic=CLINICAL_EVENTS, key=told.patient_id, value=msgspec.Raw(_encode(told))))


# -- the patient who is told ------------------------------------------------------------------------------------------


def file_conflict(state: PatientState, event: ChairConflict, received_at: datetime, horizon: datetime) -> Change:
    """File at the patient what a chair tells; the newest word of each chair stands."""
    event = tamed(event, received_at)
    key = chair_key(event.unit_id, event.chair)
    known = state.chair_conflicts.get(key)
    if known is not None and not _is_newer(event, known):
        return NOT_FILED
    state.chair_conflicts[key] = event
    prune(state.chair_conflicts, MAX_SEATS, horizon, AT, lambda: {key})
    return _CHANGED


def _is_newer(one: ChairSignal | ChairConflict, known: ChairSignal | ChairConflict) -> bool:
    return (one.at, one.sequence) > (known.at, known.sequence)

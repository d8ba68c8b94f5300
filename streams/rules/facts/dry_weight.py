"""The weights before and after a treatment, to which rates of fluid removal and gains of weight refer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, TypeGuard

from models.alerts import EvidenceRecord
from streams.rules.api import PatientView
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import PROFILE, SESSION, WEIGHT

#: Weights outside are typing errors or pounds (kg, ours): nothing is calculated from them.
LEAST_KG: Final = 20.0
MOST_KG: Final = 350.0
#: A weighing so long before the start of a treatment, or after it, is the one with which it began (ours).
WEIGHED_BEFORE: Final = timedelta(hours=3)
WEIGHED_AFTER: Final = timedelta(minutes=30)


def weight_after(view: PatientView, treatment: Treatment) -> EvidenceRecord | None:
    """Return the weight in kg: the target of the treatment, else of the profile, else the last one after a treatment.

    That is the order of the contract (R32); the weight before a treatment holds the fluid to be removed.
    """
    state = view.read(SESSION, PROFILE, WEIGHT)
    started, profile = treatment.started, state.profile
    if started is not None and _is_plausible(started.target_weight_kg):
        return _weight(treatment.session_id, "target_weight_kg", started.target_weight_kg, started.at)
    if profile is not None and _is_plausible(profile.target_weight_kg):
        return _weight(state.id, "target_weight_kg", profile.target_weight_kg, profile.at)
    last = last_after(view, treatment)
    return None if last is None else _weight(state.id, "post_weight_kg", last[1], last[0])


def last_after(view: PatientView, treatment: Treatment) -> tuple[datetime, float] | None:
    """Return the last weight in kg after a treatment before this one, and when it was taken."""
    state = view.read(SESSION, WEIGHT)
    weighed = [(one.at, one.kg) for one in state.weights.values() if one.moment == "post" and _is_plausible(one.kg)]
    for session in state.sessions.values():
        weighed += [(end.at, end.post_weight_kg) for end in session.ends if _is_plausible(end.post_weight_kg)]
    return max(((at, kg) for at, kg in weighed if at < treatment.start), default=None)


def weight_before(view: PatientView, treatment: Treatment) -> float | None:
    """Return the weight in kg with which a treatment began: of its start, else the newest weighing near it."""
    started = treatment.started
    if started is not None and _is_plausible(started.pre_weight_kg):
        return started.pre_weight_kg
    since, until = treatment.start - WEIGHED_BEFORE, treatment.start + WEIGHED_AFTER
    weighed = view.read(WEIGHT).weights.values()
    near = [(one.at, one.kg) for one in weighed if one.moment == "pre" and since <= one.at <= until]
    return max(((at, kg) for at, kg in near if _is_plausible(kg)), default=(None, None))[1]


def _is_plausible(kg: float | None) -> TypeGuard[float]:
    return kg is not None and LEAST_KG <= kg <= MOST_KG


def _weight(source: str, name: str, kg: float, at: datetime) -> EvidenceRecord:
    return EvidenceRecord(kind="weight", id=source, name=name, value=float(kg), unit="kg", at=at)

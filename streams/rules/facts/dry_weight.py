"""The weight after a treatment, to which rates of fluid removal refer."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeGuard

from models.alerts import EvidenceRecord
from streams.rules.api import PatientView
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import PROFILE, SESSION, WEIGHT

#: Weights outside are typing errors or pounds (kg, ours): nothing is calculated from them.
LEAST_KG: Final = 20.0
MOST_KG: Final = 350.0


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
    weighed = [(one.at, one.kg) for one in state.weights.values() if one.moment == "post" and _is_plausible(one.kg)]
    for session in state.sessions.values():
        weighed += [(end.at, end.post_weight_kg) for end in session.ends if _is_plausible(end.post_weight_kg)]
    before = [(at, kg) for at, kg in weighed if at < treatment.start]
    if not before:
        return None
    at, kg = max(before)
    return _weight(state.id, "post_weight_kg", kg, at)


def _is_plausible(kg: float | None) -> TypeGuard[float]:
    return kg is not None and LEAST_KG <= kg <= MOST_KG


def _weight(source: str, name: str, kg: float, at: datetime) -> EvidenceRecord:
    return EvidenceRecord(kind="weight", id=source, name=name, value=float(kg), unit="kg", at=at)

"""The weight without the fluid to be removed, to which rates and gains refer, and when a weighing became known."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeGuard

from models.alerts import EvidenceRecord
from models.records import Weight
from models.state import PatientState
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
    return dry_weight(view, treatment, treatment.start)


def dry_weight(view: PatientView, treatment: Treatment | None, moment: datetime) -> EvidenceRecord | None:
    """Return the same for a moment before a treatment of which nothing is told yet (None), or in one."""
    state = view.read(SESSION, PROFILE, WEIGHT)
    started, profile = treatment.started if treatment else None, state.profile
    if treatment is not None and started is not None and is_plausible(started.target_weight_kg):
        return _weight(treatment.session_id, "target_weight_kg", started.target_weight_kg, started.at)
    if profile is not None and is_plausible(profile.target_weight_kg):
        return _weight(state.id, "target_weight_kg", profile.target_weight_kg, profile.at)
    weighed = [(one.at, one.kg) for one in state.weights.values() if one.moment == "post" and is_plausible(one.kg)]
    for session in state.sessions.values():
        weighed += [(end.at, end.post_weight_kg) for end in session.ends if is_plausible(end.post_weight_kg)]
    before = [(at, kg) for at, kg in weighed if at < moment]
    if not before:
        return None
    at, kg = max(before)
    return _weight(state.id, "post_weight_kg", kg, at)


def weight_ref(weight: Weight) -> str:
    """Return the name of a weighing among the arrivals, and as an anchor."""
    return f"weight:{weight.moment}|{weight.event_id or ''}|{weight.at.isoformat()}|{weight.kg}"


def weight_known_at(state: PatientState, weight: Weight) -> datetime:
    """Return when a weighing became known: when it first arrived."""
    return state.arrivals.get(weight_ref(weight), weight.at)


def is_plausible(kg: float | None) -> TypeGuard[float]:
    """Return whether a weight (kg) can be that of a patient."""
    return kg is not None and LEAST_KG <= kg <= MOST_KG


def _weight(source: str, name: str, kg: float, at: datetime) -> EvidenceRecord:
    return EvidenceRecord(kind="weight", id=source, name=name, value=float(kg), unit="kg", at=at)

"""The weight without the fluid to be removed, to which rates and gains refer, and when a weighing became known."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from models.alerts import EvidenceRecord
from models.records import Weight
from models.state import PatientState
from streams.rules.api import PatientView
from streams.rules.facts.implausible import WEIGHT as RANGE
from streams.rules.facts.told_weights import ToldWeight, in_pounds, is_pounds
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import PROFILE, SESSION, WEIGHT

#: Weights outside are typing errors or grams (kg, ours): nothing is calculated from them.
LEAST_KG: Final = RANGE.low
MOST_KG: Final = RANGE.high
#: A weighing so long before the start of a treatment, or after it, is the one with which it began (ours).
WEIGHED_BEFORE: Final = timedelta(hours=3)
WEIGHED_AFTER: Final = timedelta(minutes=30)


def weight_after(view: PatientView, treatment: Treatment) -> EvidenceRecord | None:
    """Return the weight in kg: the target of the treatment, else of the profile, else the last one after a treatment.

    That is the order of the contract (R32); the weight before a treatment holds the fluid to be removed. One that is
    another weight of the patient in pounds is passed over; where nothing else is known, that other one counts.
    """
    return dry_weight(view, treatment, treatment.start)


def dry_weight(view: PatientView, treatment: Treatment | None, moment: datetime) -> EvidenceRecord | None:
    """Return the same for a moment before a treatment of which nothing is told yet (None), or in one."""
    told = _in_order(view, treatment, moment)
    pounds = in_pounds(view) if told else []
    for one in told:
        if not any(is_pounds(one.kg, lower.kg) for _, lower in pounds):
            return one.evidence
    return pounds[0][1].evidence if pounds else None


def last_after(view: PatientView, treatment: Treatment) -> tuple[datetime, float] | None:
    """Return the last weight in kg after a treatment before this one, and when it was taken."""
    return _last_after(view, treatment.start)


def weight_before(view: PatientView, treatment: Treatment) -> float | None:
    """Return the weight in kg with which a treatment began: of its start, else the newest weighing near it."""
    started = treatment.started
    if started is not None and started.pre_weight_kg is not None and RANGE.holds(started.pre_weight_kg):
        return started.pre_weight_kg
    since, until = treatment.start - WEIGHED_BEFORE, treatment.start + WEIGHED_AFTER
    weighed = view.read(WEIGHT).weights.values()
    near = [(one.at, one.kg) for one in weighed if one.moment == "pre" and since <= one.at <= until]
    return max(((at, kg) for at, kg in near if RANGE.holds(kg)), default=(None, None))[1]


def weight_ref(weight: Weight) -> str:
    """Return the name of a weighing among the arrivals, and as an anchor."""
    return f"weight:{weight.moment}|{weight.event_id or ''}|{weight.at.isoformat()}|{weight.kg}"


def weight_known_at(state: PatientState, weight: Weight) -> datetime:
    """Return when a weighing became known: when it first arrived."""
    return state.arrivals.get(weight_ref(weight), weight.at)


def _in_order(view: PatientView, treatment: Treatment | None, moment: datetime) -> list[ToldWeight]:
    """Return the weights that may stand for the one after a treatment, the best first."""
    state = view.read(SESSION, PROFILE, WEIGHT)
    started, profile = treatment.started if treatment else None, state.profile
    found: list[ToldWeight] = []
    if treatment is not None and started is not None and started.target_weight_kg is not None:
        found.append(ToldWeight(started.at, started.target_weight_kg, "target_weight_kg", treatment.session_id))
    if profile is not None and profile.target_weight_kg is not None:
        found.append(ToldWeight(profile.at, profile.target_weight_kg, "target_weight_kg", state.id))
    if (last := _last_after(view, moment)) is not None:
        found.append(ToldWeight(*last, "post_weight_kg", state.id))
    return [one for one in found if one.is_plausible]


def _last_after(view: PatientView, moment: datetime) -> tuple[datetime, float] | None:
    state = view.read(SESSION, WEIGHT)
    weighed = [(one.at, one.kg) for one in state.weights.values() if one.moment == "post"]
    for session in state.sessions.values():
        weighed += [(end.at, end.post_weight_kg) for end in session.ends if end.post_weight_kg is not None]
    return max(((at, kg) for at, kg in weighed if at < moment and RANGE.holds(kg)), default=None)

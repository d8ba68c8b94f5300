"""Cramps and spasms during treatment (R30), of which several rules ask: whether one goes on, and whether they recur."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import Field

from models.analytes import MEQ_L, MG_DL, MMOL_L
from models.events import SymptomKind
from models.records import Symptom
from streams.rules.api import Limits, PatientView
from streams.rules.facts import bedside, labs
from streams.rules.facts.treatments import Treatment, treatment_at
from streams.rules.thresholds import Minutes

#: The rule to which the thresholds belong.
NAME: Final = "intradialytic_cramp"
CRAMPS: Final = frozenset({SymptomKind.CRAMP, SymptomKind.SPASM})


class CrampLimits(Limits):
    """How long a cramp counts without a message of its end, and when hypertonic saline needs a check."""

    silence_minutes: Minutes = Field(default=30, description="minutes without word until it expires (R30)")
    pre_systolic_mmhg: float = Field(
        default=160, ge=60, le=300, description="pre-dialysis systolic (mm[Hg]) from which saline needs a check (2.8)"
    )
    sodium: labs.SodiumBound = Field(
        default={MMOL_L: 145, MEQ_L: 145, MG_DL: 333.3},
        description="serum sodium above which saline needs a check (R30)",
    )


def silence(view: PatientView) -> timedelta:
    """Return for how long a cramp counts of which no end is known, for every rule on cramps."""
    return timedelta(minutes=view.settings.limits(NAME, CrampLimits).silence_minutes)


def in_treatment(view: PatientView) -> list[tuple[Symptom, Treatment]]:
    """Return the cramps that began during a treatment, in the order of onset."""
    cramps = bedside.present(view, CRAMPS)
    if not cramps:
        return []
    found = bedside.sessions(view)
    placed = view.fact(in_treatment, lambda: [(cramp, treatment_at(found, cramp.at)) for cramp in cramps])
    return [(cramp, treatment) for cramp, treatment in placed if treatment is not None]

"""What makes an arrhythmia more likely in a patient at any time (R62): the heart, and a long QTc."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from models.alerts import EvidenceRecord
from streams.rules.api import PatientView
from streams.rules.facts import bedside
from streams.rules.facts.profile import profile_evidence
from streams.rules.inputs import PROFILE

#: What a condition of the profile counts (contract, R62): left ventricular hypertrophy is in 80 % of patients.
WEIGHTS: Final = {"cardiomyopathy": 1.0, "ischaemic_heart_disease": 1.0, "lvh": 0.5}
#: What a long QTc counts.
_QTC_WEIGHT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Risk:
    """How many factors a patient has, by their weights, and what shows them."""

    score: float
    evidence: tuple[EvidenceRecord, ...]


def standing_risk(view: PatientView, since: datetime, qtc_ms: float) -> Risk:
    """Return the factors that do not depend on a session; a QTc counts if it was measured after `since`."""
    found = list(_conditions(view))
    score = sum(WEIGHTS[item.name] for item in found)
    qtc = bedside.long_qtc(view, since, qtc_ms)
    if qtc is not None:
        found.append(bedside.rhythm_evidence(qtc))
        score += _QTC_WEIGHT
    return Risk(score, tuple(found))


def _conditions(view: PatientView) -> Iterator[EvidenceRecord]:
    state = view.read(PROFILE)
    profile = state.profile
    if profile is None:
        return
    named = {word.casefold() for word in profile.conditions or ()}
    for name in WEIGHTS:
        if name in named:
            yield profile_evidence(view, name)

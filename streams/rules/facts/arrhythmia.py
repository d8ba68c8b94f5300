"""What makes an abnormal potassium or calcium after a treatment count one level higher (R65, R62)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from models.alerts import EvidenceRecord
from models.events import SymptomKind
from models.records import Rhythm
from models.state import PatientState
from streams.rules.api import PatientView
from streams.rules.facts import bedside
from streams.rules.facts.known_magnesium import low_limits
from streams.rules.facts.places import AFTER, Phase, Place
from streams.rules.inputs import PROFILE, RHYTHM, SESSION, Input, symptom

#: Symptoms of nerve, muscle and rhythm (the list is ours).
SIGNS: Final = bedside.IRRITABILITY | {SymptomKind.WEAKNESS, SymptomKind.SYNCOPE}
INPUTS: Final[tuple[Input, ...]] = (SESSION, PROFILE, RHYTHM, symptom(*SIGNS))
#: An electrocardiogram counts up to so long before the specimen.
_TRACED: Final = timedelta(hours=24)
_HEART: Final = frozenset({"cardiomyopathy", "ischaemic_heart_disease", "ischemic_heart_disease"})
_LVH: Final = frozenset({"lvh", "left_ventricular_hypertrophy"})
#: So many factors are a risk; LVH, which four of five patients have, counts half.
_ENOUGH: Final = 2.0


@dataclass(frozen=True, slots=True)
class Risk:
    """What raises a result: since when it is known, and from which inputs."""

    known_at: datetime
    evidence: tuple[EvidenceRecord, ...]


def risk_after(view: PatientView, place: Place, drawn_at: datetime) -> Risk | None:
    """Return what makes a result after a treatment more urgent: symptoms, or two factors of an arrhythmia.

    Symptoms count from the start of the treatment to the end of the window after it, a QTc also from 24 h before the
    specimen. What came before or later belongs to another treatment, so time alone changes nothing.
    """
    state = view.read(*INPUTS)
    if place.phase is not Phase.POST or place.treatment is None:
        return None
    treatment, until = place.treatment, place.treatment.over_at + AFTER
    signs = [sign for sign in bedside.present(view, SIGNS) if treatment.start <= sign.at <= until]
    known = [min(bedside.known_at(view, sign) for sign in signs)] if signs else []
    evidence = [bedside.symptom_evidence(sign) for sign in signs]
    qtc, heart = _long_qtc(view, state, drawn_at - _TRACED, until), _heart(state)
    factors = (1.0 if qtc else 0.0) + sum(weight for weight, _, _ in heart)
    if factors >= _ENOUGH:
        known_of = [bedside.qtc_known_at(view, qtc)] if qtc else []
        known.append(max(known_of + [at for _, at, _ in heart]))
        evidence += [*([bedside.rhythm_evidence(qtc)] if qtc else []), *(shown for _, _, shown in heart)]
    return Risk(min(known), tuple(evidence)) if known else None


def _long_qtc(view: PatientView, state: PatientState, since: datetime, until: datetime) -> Rhythm | None:
    """Return the newest QTc of a span, if it is long as `low_magnesium` defines it."""
    measured = [one for one in state.rhythms.values() if one.kind == "qtc" and one.qtc_ms and since < one.at <= until]
    newest = max(measured, key=lambda one: (one.at, one.qtc_ms), default=None)
    return newest if newest and newest.qtc_ms and newest.qtc_ms > low_limits(view).qtc_ms else None


def _heart(state: PatientState) -> list[tuple[float, datetime, EvidenceRecord]]:
    """Return the factors that the profile tells: their weight, since when they are known, and the evidence."""
    profile = state.profile
    if profile is None:
        return []
    told = {"_".join(word.casefold().replace("_", " ").replace("-", " ").split()) for word in profile.conditions or ()}
    return [
        (
            weight,
            profile.at,
            EvidenceRecord(
                kind="patient_profile",
                id=profile.event_id or profile.at.isoformat(),
                name="condition",
                value=min(told & names),
                unit=None,
                at=profile.at,
            ),
        )
        for weight, names in ((1.0, _HEART), (0.5, _LVH))
        if told & names
    ]

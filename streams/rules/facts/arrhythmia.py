"""What makes an arrhythmia likely: for a result after a treatment (R65), and for the patient in one (R62, R63)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from models.alerts import EvidenceRecord
from models.analytes import Analyte
from models.events import SymptomKind
from models.records import Rhythm
from models.state import PatientState
from streams.rules.api import PatientView
from streams.rules.facts import bedside, known_magnesium, labs, low_results
from streams.rules.facts.known_magnesium import low_limits
from streams.rules.facts.places import AFTER, Phase, Place
from streams.rules.inputs import PROFILE, RHYTHM, SESSION, Input, holds, lab, symptom

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
    qtc, told = _long_qtc(view, state, drawn_at - _TRACED, until), heart(state)
    factors = (1.0 if qtc else 0.0) + sum(weight for weight, _, _ in told)
    if factors >= _ENOUGH:
        known_of = [bedside.qtc_known_at(view, qtc)] if qtc else []
        known.append(max(known_of + [at for _, at, _ in told]))
        evidence += [*([bedside.rhythm_evidence(qtc)] if qtc else []), *(shown for _, _, shown in told)]
    return Risk(min(known), tuple(evidence)) if known else None


def _long_qtc(view: PatientView, state: PatientState, since: datetime, until: datetime) -> Rhythm | None:
    """Return the newest QTc of a span, if it is long as `low_magnesium` defines it."""
    measured = [one for one in state.rhythms.values() if one.kind == "qtc" and one.qtc_ms and since < one.at <= until]
    newest = max(measured, key=lambda one: (one.at, one.qtc_ms), default=None)
    return newest if newest and newest.qtc_ms and newest.qtc_ms > low_limits(view).qtc_ms else None


def heart(state: PatientState) -> list[tuple[float, datetime, EvidenceRecord]]:
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


# -- electrolytes -----------------------------------------------------------------------------------------------------

_SIDES: Final = {
    side.rule: side for side in (low_results.LOW_POTASSIUM, low_results.HIGH_POTASSIUM, low_results.LOW_IONIZED_CALCIUM)
}
#: The rules of which one makes an electrolyte a factor (R62); all but the high potassium make a long QTc worse (R63).
LOW_ELECTROLYTES: Final = (known_magnesium.LOW, *(rule for rule, side in _SIDES.items() if not side.above))
ELECTROLYTES: Final = (known_magnesium.LOW, *_SIDES)


@dataclass(frozen=True, slots=True)
class Abnormal:
    """An electrolyte whose rule finds it abnormal now, and the results in a row that are, the newest first."""

    analyte: Analyte
    run: tuple[labs.Result, ...]

    @property
    def since(self) -> datetime:
        """Return when the first of them became known."""
        return min(result.known_at for result in self.run)


def electrolyte_inputs(rules: Iterable[str]) -> tuple[Input, ...]:
    """Return the inputs of `abnormal`: the conditions of these rules, and the results that show them."""
    return (*map(holds, rules), lab(Analyte.POTASSIUM, Analyte.MAGNESIUM, Analyte.IONIZED_CALCIUM))


def abnormal(view: PatientView, rules: Iterable[str]) -> list[Abnormal]:
    """Return the electrolytes of which one of some rules holds."""
    runs = [tuple(_run(view, rule)) for rule in rules if view.holds(holds(rule)) is not None]
    return [Abnormal(run[0].analyte, run) for run in runs if run]


def _run(view: PatientView, rule: str) -> list[labs.Result]:
    if rule == known_magnesium.LOW:
        return known_magnesium.low_in_a_row(view)[::-1]
    return low_results.in_a_row(view, _SIDES[rule])

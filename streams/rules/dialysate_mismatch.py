"""`dialysate_mismatch` (R13): the dialysate potassium is too far from that of the patient."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import Priority
from models.analytes import MEQ_L, MG_DL, MMOL_L, Analyte, per_fence_unit
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import labs
from streams.rules.facts.chair_settings import Set, dialysed_now, endings, look_at_end, set_now
from streams.rules.facts.places import Phase, place_of
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import SESSION, lab, setting
from streams.rules.thresholds import ChangeOf, Hours, UnitsOf

_FIELD: Final = "dialysate_k_mmol_l"
_POTASSIUM: Final = Analyte.POTASSIUM
_REVIEW: Final = guidance(
    "Review the dialysate potassium with the prescriber, and check the rhythm and the potassium during the treatment: "
    "a dialysate potassium of 1 mmol/L with a serum potassium of 5 or more went with a risk 2.87 times as high.",
    "article L22, L44; cohort PMC6204129; clinical.md R13 (the gradient is ours)",
)
_REPEAT: Final = guidance(
    "The specimen was haemolysed, which raises potassium: consider a repeat.", "clinical.md 2.1 (Kost)"
)


class DialysateMismatchLimits(Limits):
    """Bounds of what lies between the potassium of the patient and that of the dialysate."""

    gradient: Annotated[labs.PerUnit, ChangeOf(_POTASSIUM)] = Field(
        default={MMOL_L: 3.0, MEQ_L: 3.0, MG_DL: 11.73},
        description="medium where the serum lies more than this above the dialysate; clinical.md R13 (ours)",
    )
    low_mmol_l: float = Field(
        default=1.0, ge=0, description="mmol/L: a dialysate of this or less is low; PMC6204129, clinical.md R13"
    )
    serum: Annotated[labs.PerUnit, UnitsOf(_POTASSIUM)] = Field(
        default={MMOL_L: 5.0, MEQ_L: 5.0, MG_DL: 19.55},
        description="medium from this on with a low dialysate; PMC6204129, clinical.md R13",
    )
    fresh_hours: Hours = Field(
        default=24, description="hours before a treatment in which its potassium must have been drawn (ours, as R02)"
    )


def find(view: PatientView) -> Iterator[Outcome]:
    """The last potassium before the running treatment, and the dialysate potassium that is set; one alert a treatment.

    Preliminary results do not count, nor those drawn during or after a treatment; a haemolysed specimen counts one
    level lower. Isolated ultrafiltration has no dialysate.
    """
    if not labs.by_analyte(view).get(_POTASSIUM):
        return
    running = dialysed_now(view)
    yield from endings(view)
    found = set_now(view, running, _FIELD, MMOL_L) if running else None
    result = _before(view, running) if running and found else None
    if running is None or found is None or result is None:
        return
    apart = _apart(view.limits(DialysateMismatchLimits), found, result)
    if not apart:
        return
    look_at_end(view, running)
    yield _finding(found, result, apart)


def _before(view: PatientView, treatment: Treatment) -> labs.Result | None:
    """Return the last final potassium from before a treatment; None if it is not fresh."""
    limits = view.limits(DialysateMismatchLimits)
    for result in labs.newest_first(view, _POTASSIUM):
        if treatment.start - result.at > timedelta(hours=limits.fresh_hours):
            return None
        if not result.is_preliminary and _is_before(view, treatment, result):
            return result
    return None


def _is_before(view: PatientView, treatment: Treatment, result: labs.Result) -> bool:
    place = place_of(view, result.at)
    if place.phase is Phase.PRE:
        return place.treatment is not None and place.treatment.start <= treatment.start
    return place.phase is Phase.INTER and result.at <= treatment.start


def _apart(limits: DialysateMismatchLimits, found: Set, result: labs.Result) -> str:
    """Return in words how serum and dialysate do not match; empty if they do."""
    if found.value <= limits.low_mmol_l and result.at_least(limits.serum):
        return f"a dialysate of {limits.low_mmol_l:g} or less with {labs.shown_bound(limits.serum, result)} or more"
    # The bound is made in the unit of the result, so that no result is converted.
    in_unit = found.value / (per_fence_unit(_POTASSIUM, result.unit) / per_fence_unit(_POTASSIUM, MMOL_L))
    if result.above({result.unit: labs.as_compared(limits.gradient[result.unit] + in_unit)}):
        return f"more than {labs.shown_bound(limits.gradient, result)} apart"
    return ""


def _finding(found: Set, result: labs.Result, apart: str) -> Finding:
    treatment, since = found.treatment, found.begun(found.run)
    known = max(since, result.known_at)
    haemolysed = result.record.haemolysed
    mark = ", haemolysed" if haemolysed else ""
    return Finding(
        key=treatment.key,
        anchors=(f"session:{treatment.key}",),
        priority=Priority.LOW if haemolysed else Priority.MEDIUM,
        onset_at=max(since, treatment.start, result.at),
        known_at=known,
        level_known_at=known,
        summary=f"Potassium {result.shown()}{mark}, dialysate {found.value:g} mmol/L: {apart}",
        guidance=tuple_of(_REVIEW, _REPEAT if haemolysed else None),
        evidence=(result.evidence(), found.evidence(found.value, since)),
        session_id=treatment.session_id,
    )


RULE: Final = PatientRule(
    name="dialysate_mismatch",
    version=1,
    family="electrolytes",
    ids="R13 R38",
    title="Dialysate potassium does not match the patient's",
    inputs=(SESSION, setting(_FIELD), lab(_POTASSIUM)),
    needs=(lab(_POTASSIUM),),
    limits=DialysateMismatchLimits,
    find=find,
    sources=("article L22, L44", "PMC6204129", "clinical.md R13"),
    without=("a bound between ionised calcium and dialysate calcium: clinical.md R13 names both and gives none",),
)

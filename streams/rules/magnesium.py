"""`low_magnesium` (R01): magnesium first, because calcium and potassium do not recover without it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import Priority, Reason
from models.analytes import MEQ_L, MG_DL, MMOL_L, Analyte
from models.records import Rhythm, Symptom
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside, labs
from streams.rules.inputs import RHYTHM, lab, symptom
from streams.rules.thresholds import Silences

NAME: Final = "low_magnesium"
_CONTEXT: Final = timedelta(hours=24)


class LowMagnesiumLimits(Limits):
    """Thresholds of `low_magnesium`, each compared in the reported unit, strictly below."""

    ascending = (("severe", "low"),)

    low: Annotated[labs.MagnesiumBound, Silences.LOWERED] = Field(
        default={MG_DL: 1.7, MMOL_L: 0.70, MEQ_L: 1.4},
        description="low below this; article L2 and L16, one bound a unit because they disagree at the edge",
    )
    severe: Annotated[labs.MagnesiumBound, Silences.LOWERED] = Field(
        default={MG_DL: 1.0, MMOL_L: 0.41, MEQ_L: 0.82},
        description="severe, priority high, below this; critical limits of US laboratories (Kost)",
    )
    qtc_ms: Annotated[float, Silences.RAISED] = Field(
        default=480,
        ge=300,
        le=800,
        description="a QTc above this (ms) within 24 h makes it high; below 480 machine QTc is unreliable (2.9)",
    )


_FIRST: Final = guidance(
    "Review magnesium first: low calcium and potassium do not respond to replacement until it is corrected. "
    "Review the dialysate magnesium per unit protocol.",
    "article L2, L14, L16; Kost critical limits",
)
_NO_IV: Final = guidance(
    "The article advises adjusting the dialysate rather than intravenous magnesium during dialysis; the ban is "
    "contested for continuous treatment with citrate (Di Mario 2021). Follow the prescriber.",
    "article L15, L17",
)
_SYMPTOMS: Final = guidance(
    "Signs of nerve and muscle irritability within 24 h, or a long QTc: assess the patient and the rhythm now.",
    "article L3-L8; contract ruling R01",
)


def find(view: PatientView) -> Iterator[Outcome]:
    """The newest usable magnesium is below the limit of its unit.

    Raised medium; high when severe, with signs of irritability in the last 24 h, or with a long QTc.
    """
    limits = view.limits(LowMagnesiumLimits)
    run = _low_in_a_row(view, limits)
    if not run:
        return
    newest, since = run[-1], view.now - _CONTEXT
    symptoms = [s for s in bedside.present(view, bedside.IRRITABILITY) if s.at > since]
    qtc = bedside.long_qtc(view, since, limits.qtc_ms)
    for moment in [s.at for s in symptoms] + ([qtc.at] if qtc else []):
        view.look_at(moment + _CONTEXT)

    first_known = min(result.known_at for result in run)
    high_since = [result.known_at for result in _trailing(run, limits.severe)]
    signs_known = [bedside.known_at(view, sign) for sign in symptoms] + (
        [bedside.qtc_known_at(view, qtc)] if qtc else []
    )
    if signs_known:
        high_since.append(max(first_known, min(signs_known)))
    severe = newest.below(limits.severe) is True
    yield Finding(
        key="magnesium",
        anchors=tuple(result.ref for result in run),
        priority=Priority.HIGH if high_since else Priority.MEDIUM,
        onset_at=run[0].at,
        known_at=max([newest.known_at, *signs_known]),
        level_known_at=min(high_since) if high_since else first_known,
        summary=_summary(newest, limits, symptoms, qtc, severe=severe),
        guidance=tuple_of(_FIRST, _NO_IV, _SYMPTOMS if symptoms or qtc else None),
        evidence=(
            newest.evidence(),
            *(bedside.symptom_evidence(sign) for sign in symptoms),
            *((bedside.rhythm_evidence(qtc),) if qtc else ()),
        ),
        reason=Reason.CONDITION_MET,
    )


def doubts(view: PatientView, result: labs.Result) -> str | None:
    """Return why a readable magnesium cannot be placed, or contradicts its own flags."""
    limits = view.limits(LowMagnesiumLimits)
    if is_undecided(result, limits):
        return f"{result.shown()} leaves open on which side of {labs.shown_bound(limits.low, result)} it lies"
    if labs.is_flagged(result, labs.CALLED_LOW) and result.below(limits.low) is False:
        return "the laboratory flags it critically low, the value is not low"
    return None


def is_undecided(result: labs.Result, limits: LowMagnesiumLimits) -> bool:
    """Return whether `<` or `>` leaves open on which side of the limit a magnesium lies."""
    return result.below(limits.low) is None


def _counts(result: labs.Result, limits: LowMagnesiumLimits) -> bool:
    """Return whether a result counts: a preliminary one for the severe band only, an undecidable one never."""
    if result.is_preliminary:
        return result.below(limits.severe) is True
    return not is_undecided(result, limits)


def _low_in_a_row(view: PatientView, limits: LowMagnesiumLimits) -> list[labs.Result]:
    """Return the newest results in a row that count and are low, the oldest first."""
    run: list[labs.Result] = []
    for result in labs.newest_first(view, Analyte.MAGNESIUM):
        if not _counts(result, limits):
            continue
        if not result.below(limits.low):
            break
        run.append(result)
    return run[::-1]


def _trailing(usable: list[labs.Result], bound: labs.PerUnit) -> list[labs.Result]:
    """Return the newest results in a row that lie below a bound."""
    start = len(usable)
    while start and usable[start - 1].below(bound) is True:
        start -= 1
    return usable[start:]


def _summary(
    newest: labs.Result,
    limits: LowMagnesiumLimits,
    symptoms: list[Symptom],
    qtc: Rhythm | None,
    *,
    severe: bool,
) -> str:
    bound = limits.severe if severe else limits.low
    text = f"Magnesium {newest.shown()}, {'severely ' if severe else ''}low (below {labs.shown_bound(bound, newest)})"
    if newest.is_preliminary:
        text += ", preliminary"
    if symptoms:
        text += " with " + ", ".join(dict.fromkeys(str(sign.kind) for sign in symptoms))
    if qtc:
        text += f", QTc {qtc.qtc_ms:g} ms"
    return text


RULE: Final = PatientRule(
    name=NAME,
    version=1,
    family="low-magnesium",
    ids="R01",
    title="Magnesium below the limit of its unit",
    inputs=(lab(Analyte.MAGNESIUM), symptom(*bedside.IRRITABILITY), RHYTHM),
    needs=(lab(Analyte.MAGNESIUM),),
    limits=LowMagnesiumLimits,
    find=find,
    named_by=labs.every_ref,
    doubts=doubts,
    sources=("article L2, L14-L17", "Kost, US critical limits", "clinical.md 2.4"),
)

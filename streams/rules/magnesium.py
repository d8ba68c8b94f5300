"""`low_magnesium` (R01): calcium and potassium do not recover without it; and `high_magnesium` (E02)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from models.alerts import GuidanceRecord, Priority, Reason
from models.analytes import MEQ_L, MG_DL, MMOL_L, Analyte
from models.drugs import Drug
from models.records import Rhythm, Symptom
from streams.rules.api import Finding, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside, labs
from streams.rules.facts.known_magnesium import (
    LOW,
    LowMagnesiumLimits,
    is_undecided,
    low_in_a_row,
    low_limits,
    trailing,
)
from streams.rules.facts.orders import Order, orders, step_evidence
from streams.rules.inputs import RHYTHM, drug, lab, symptom
from streams.rules.shapes.bands import Band, Context, lab_bands

_CONTEXT: Final = timedelta(hours=24)

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

_LOADED: Final = guidance(
    "Review what brings magnesium: the dialysate, antacids, laxatives, binders and infusions. Check reflexes, blood "
    "pressure and the electrocardiogram, per unit protocol.",
    "article L17 (the risk of loading); MSD manual; clinical.md 2.4, E02",
)
_ORDERED: Final = guidance(
    "An order that brings magnesium stands: review it with the prescriber.", "clinical.md E02; article L15, L17"
)


def find(view: PatientView) -> Iterator[Outcome]:
    """The newest usable magnesium is below the limit of its unit.

    Raised medium; high when severe, with signs of irritability in the last 24 h, or with a long QTc.
    """
    limits = low_limits(view)
    run = low_in_a_row(view)
    if not run:
        return
    newest, since = run[-1], view.now - _CONTEXT
    symptoms = [s for s in bedside.present(view, bedside.IRRITABILITY) if s.at > since]
    qtc = bedside.long_qtc(view, since, limits.qtc_ms)
    for moment in [s.at for s in symptoms] + ([qtc.at] if qtc else []):
        view.look_at(moment + _CONTEXT)

    first_known = min(result.known_at for result in run)
    high_since = [result.known_at for result in trailing(run, limits.severe)]
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
        bound=labs.bound_record(limits.severe if severe else limits.low, newest),
    )


def doubts(view: PatientView, result: labs.Result) -> str | None:
    """Return why a readable magnesium cannot be placed, or contradicts its own flags."""
    limits = low_limits(view)
    if is_undecided(result, limits):
        return f"{result.shown()} leaves open on which side of {labs.shown_bound(limits.low, result)} it lies"
    if labs.is_flagged(result, labs.CALLED_LOW) and result.below(limits.low) is False:
        return "the laboratory flags it critically low, the value is not low"
    return None


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


def _standing(view: PatientView) -> list[Order]:
    return [order for order in orders(view, Drug.MAGNESIUM) if order.stands]


def _high_advice(view: PatientView, _result: labs.Result) -> tuple[GuidanceRecord, ...]:
    return tuple_of(_LOADED, _ORDERED if _standing(view) else None)


def _high_context(view: PatientView, _result: labs.Result) -> Context:
    return Context(evidence=tuple(step_evidence(order.regimens[-1].step) for order in _standing(view)))


RULE: Final = PatientRule(
    name=LOW,
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
HIGH_MAGNESIUM: Final = lab_bands(
    "high_magnesium",
    Analyte.MAGNESIUM,
    above=True,
    bands=(
        Band("raised", Priority.LOW, {MG_DL: 2.6, MMOL_L: 1.05, MEQ_L: 2.1}, "MSD manual; clinical.md 2.4", "high"),
        Band(
            "critical",
            Priority.HIGH,
            {MG_DL: 4.7, MMOL_L: 1.93, MEQ_L: 3.86},
            "Iowa, between Houston 4.5 and Kost 4.9; clinical.md 2.4",
            "critically high",
            critical=True,
            closed=True,
        ),
    ),
    advice=_high_advice,
    context=_high_context,
    notes="A standing order that brings magnesium is shown with it.",
    also=(drug(Drug.MAGNESIUM),),
    family="low-magnesium",
    ids="E02",
    title="Magnesium above the limit of its unit",
    sources=("article L17", "MSD manual", "critical limits of US laboratories", "clinical.md 2.4, E02"),
)
RULES: Final[tuple[PatientRule, ...]] = (RULE, HIGH_MAGNESIUM)

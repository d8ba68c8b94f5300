"""Potassium and calcium in bands (E01, R06, R10, R11): magnesium (R03) and treatments (R65) change what they mean."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from models.alerts import GuidanceRecord, Priority
from models.analytes import MEQ_L, MG_DL, MMOL_L, Analyte
from streams.rules.api import PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside, known_magnesium, labs
from streams.rules.facts.arrhythmia import INPUTS as RISK
from streams.rules.facts.arrhythmia import risk_after
from streams.rules.facts.low_results import HIGH_POTASSIUM as HIGH_POTASSIUM_SIDE
from streams.rules.facts.low_results import LOW_IONIZED_CALCIUM as LOW_CALCIUM_SIDE
from streams.rules.facts.low_results import LOW_POTASSIUM as LOW_POTASSIUM_SIDE
from streams.rules.facts.low_results import Side, is_critical
from streams.rules.facts.places import Phase, place_of
from streams.rules.inhibition import Inhibition
from streams.rules.inputs import holds, lab
from streams.rules.shapes.bands import Advice, Band, Context, lab_bands

LOW, MEDIUM, HIGH = Priority.LOW, Priority.MEDIUM, Priority.HIGH

_LOW_MAGNESIUM: Final = holds("low_magnesium")
_MAGNESIUM: Final = lab(Analyte.MAGNESIUM)
_HIGH_REVIEW: Final = guidance(
    "Review the electrocardiogram, the specimen, diet and medicines, and the time to the next treatment, per unit "
    "protocol.",
    "KDIGO potassium conference; clinical.md 2.1",
)
_REPEAT: Final = guidance(
    "The specimen was haemolysed, which raises potassium: consider a repeat.", "clinical.md 2.1 (Kost)"
)
_LOW_REVIEW: Final = guidance(
    "Review the rhythm, digoxin, losses, and the dialysate potassium of the next treatment, per unit protocol.",
    "article L7, L21; clinical.md 2.1",
)
_NADIR: Final = guidance(
    "Drawn within an hour after dialysis: the lowest value is expected then, and potassium rises again.",
    "clinical.md 2.1, R11",
)
_CALCIUM_NADIR: Final = guidance(
    "Drawn within an hour after dialysis, when values still move: consider a repeat before it is acted on.",
    "clinical.md R65; 2.2 (40-57 % are below the range around dialysis)",
)
_LOW_CALCIUM_REVIEW: Final = guidance(
    "Review the QTc, signs of irritability, citrate, calcimimetics and the dialysate calcium, per unit protocol. "
    "Consider the laboratory's own range.",
    "article L6, L20, L22; clinical.md 2.2",
)
_HIGH_CALCIUM_REVIEW: Final = guidance(
    "Review calcium and vitamin D in medicines and binders, and the dialysate calcium, per unit protocol.",
    "article L22, L44; KDIGO 2017 (avoid hypercalcaemia); clinical.md 2.2",
)
_ASK_IONIZED: Final = guidance(
    "Check an ionised calcium: total calcium misleads with a low albumin or a changed pH, and a correction for albumin "
    "is no substitute for it.",
    "article L6, L20; clinical.md R06",
)
_RISK: Final = guidance(
    "After dialysis, with symptoms or with two factors of an arrhythmia: one level higher. Check the rhythm.",
    "article L51, L53; clinical.md R62, R65",
)
#: From here on a potassium is critical even if the specimen is haemolysed (Kost, 8.0 haemolysed).
_CERTAIN: Final[labs.PerUnit] = {MMOL_L: 8.0, MEQ_L: 8.0, MG_DL: 31.3}
#: How far apart the specimens of one draw may be timed.
_SAME_DRAW: Final = timedelta(minutes=30)


# -- where a result lies among treatments (R11, R65) ------------------------------------------------------------------


def _is_nadir(view: PatientView, result: labs.Result) -> bool:
    return place_of(view, result.at).is_nadir


def _nadir_lowers(view: PatientView, result: labs.Result, priority: Priority) -> Priority | None:
    return LOW if priority is MEDIUM and _is_nadir(view, result) else priority


def _placed(view: PatientView, result: labs.Result, *, is_expected: bool) -> Context:
    """Label a result by its place, and raise one after a treatment where there is a risk, unless it is expected."""
    place = place_of(view, result.at)
    risk = risk_after(view, place, result.at)
    marks = (str(place.phase),) if bedside.sessions(view) else ()
    if risk is None or is_expected:
        return Context(marks)
    return Context((*marks, "at risk of an arrhythmia"), risk.evidence, risk.known_at)


def _high_context(view: PatientView, result: labs.Result) -> Context:
    return _placed(view, result, is_expected=False)


def _at_risk(view: PatientView, result: labs.Result) -> GuidanceRecord | None:
    return _RISK if risk_after(view, place_of(view, result.at), result.at) is not None else None


# -- magnesium first (R03) --------------------------------------------------------------------------------------------


def _low_context(view: PatientView, result: labs.Result) -> Context:
    """The newest magnesium belongs to the evidence: it decides what the advice says."""
    placed, known = _placed(view, result, is_expected=_is_nadir(view, result)), known_magnesium.newest(view)
    gate = (known.evidence(),) if known else ()
    return Context(placed.marks, (*placed.evidence, *gate), placed.raised_at)


def _low_advice(side: Side, what: str, review: GuidanceRecord, nadir: GuidanceRecord) -> Advice:
    """Make the advice on a low value: what magnesium means for it first, whichever of the two was measured first."""
    first = guidance(
        f"Magnesium is low: a low {what} does not respond to replacement until magnesium is corrected.",
        "article L2, L14, L18",
    )
    check = guidance(
        f"Check magnesium: no fresh one is known, and a low {what} does not respond to replacement while it is low.",
        "article L2, L5, L18; clinical.md R03, R04",
    )
    normal = guidance(
        f"A fresh magnesium is not low: it does not keep {what} from responding.", "article L19-L21; clinical.md R03"
    )
    critical = guidance(
        f"The {what} is critical: its protocol is not delayed by magnesium, which is reviewed at the same time.",
        "clinical.md R02, R03 (ours)",
    )

    def advice(view: PatientView, result: labs.Result) -> tuple[GuidanceRecord, ...]:
        is_low, is_fresh = view.holds(_LOW_MAGNESIUM) is not None, known_magnesium.is_fresh(view, result.at)
        return tuple_of(
            first if is_low else None,
            None if is_fresh else check,
            normal if is_fresh and not known_magnesium.low_in_a_row(view) else None,
            critical if is_critical(view, side, result) and (is_low or not is_fresh) else None,
            review,
            nadir if _is_nadir(view, result) else None,
            _at_risk(view, result) if not _is_nadir(view, result) else None,
        )

    return advice


# -- potassium --------------------------------------------------------------------------------------------------------


def _high_adjust(view: PatientView, result: labs.Result, priority: Priority) -> Priority | None:
    """A mild one is nothing after a treatment; a haemolysed specimen lowers one level."""
    if priority is LOW and place_of(view, result.at).phase is Phase.POST:
        return None
    if not result.record.haemolysed or result.at_least(_CERTAIN):
        return priority
    return {HIGH: MEDIUM, MEDIUM: LOW}.get(priority)


def _high_advice(view: PatientView, result: labs.Result) -> tuple[GuidanceRecord, ...]:
    return tuple_of(_HIGH_REVIEW, _REPEAT if result.record.haemolysed else None, _at_risk(view, result))


_AFTER_SESSION: Final = "After a treatment it counts one level higher with symptoms or two factors of an arrhythmia"
_EXPECTED: Final = f"Within an hour after a treatment it is low unless critical.\n{_AFTER_SESSION}."

HIGH_POTASSIUM: Final = lab_bands(
    HIGH_POTASSIUM_SIDE.rule,
    Analyte.POTASSIUM,
    above=True,
    bands=(
        Band("mild", LOW, {MMOL_L: 5.5, MEQ_L: 5.5, MG_DL: 21.5}, "clinical.md 2.1", "high", closed=True),
        Band("moderate", MEDIUM, {MMOL_L: 6.0, MEQ_L: 6.0, MG_DL: 23.46}, "KDIGO, 2.1", "high", closed=True),
        Band(
            "severe",
            HIGH,
            {MMOL_L: 6.5, MEQ_L: 6.5, MG_DL: 25.41},
            "2.1",
            "critically high",
            critical=True,
            closed=True,
        ),
    ),
    advice=_high_advice,
    adjust=_high_adjust,
    context=_high_context,
    notes=f"The mildest band counts before and between treatments, not in the 5 h after one.\n{_AFTER_SESSION};\n"
    "a haemolysed specimen counts one level lower.",
    also=RISK,
    family="electrolytes",
    ids="E01 R65",
    title="Potassium above the limit",
    sources=("article L51, L53", "KDIGO potassium conference", "Kost, US critical limits", "clinical.md 2.1"),
)
LOW_POTASSIUM: Final = lab_bands(
    LOW_POTASSIUM_SIDE.rule,
    Analyte.POTASSIUM,
    above=False,
    bands=(
        Band("low", MEDIUM, {MMOL_L: 3.5, MEQ_L: 3.5, MG_DL: 13.68}, "clinical.md 2.1", "low"),
        Band("critical", HIGH, {MMOL_L: 2.8, MEQ_L: 2.8, MG_DL: 10.95}, "Kost, 2.1", "critically low", critical=True),
    ),
    advice=_low_advice(LOW_POTASSIUM_SIDE, "potassium", _LOW_REVIEW, _NADIR),
    adjust=_nadir_lowers,
    context=_low_context,
    notes=_EXPECTED,
    also=(*RISK, _MAGNESIUM),
    yields_to=(
        Inhibition("low_magnesium", "a low potassium does not respond to replacement until magnesium is corrected"),
    ),
    family="electrolytes",
    ids="R11 R03 R65",
    title="Potassium below the limit",
    sources=("article L2, L7, L18, L21, L51", "Kost, US critical limits", "clinical.md 2.1"),
)

# -- calcium ----------------------------------------------------------------------------------------------------------

LOW_IONIZED_CALCIUM: Final = lab_bands(
    LOW_CALCIUM_SIDE.rule,
    Analyte.IONIZED_CALCIUM,
    above=False,
    bands=(
        Band("mild", LOW, {MMOL_L: 1.12, MG_DL: 4.49, MEQ_L: 2.24}, "reference range; clinical.md 2.2", "low"),
        Band("moderate", MEDIUM, {MMOL_L: 1.0, MG_DL: 4.01, MEQ_L: 2.0}, "clinical.md 2.2", "low"),
        Band(
            "critical", HIGH, {MMOL_L: 0.8, MG_DL: 3.21, MEQ_L: 1.6}, "Kost 0.82; 2.2", "critically low", critical=True
        ),
    ),
    advice=_low_advice(LOW_CALCIUM_SIDE, "calcium", _LOW_CALCIUM_REVIEW, _CALCIUM_NADIR),
    adjust=_nadir_lowers,
    context=_low_context,
    notes=_EXPECTED,
    also=(*RISK, _MAGNESIUM),
    yields_to=(
        Inhibition("low_magnesium", "a low calcium does not respond to replacement until magnesium is corrected"),
    ),
    family="electrolytes",
    ids="R10 R03 R65",
    title="Ionised calcium below the limit",
    sources=("article L2, L6, L18, L20, L51", "Kost, US critical limits", "clinical.md 2.2"),
    without=("the laboratory's own reference range",),
)
HIGH_IONIZED_CALCIUM: Final = lab_bands(
    "high_ionized_calcium",
    Analyte.IONIZED_CALCIUM,
    above=True,
    bands=(
        Band("raised", LOW, {MMOL_L: 1.33, MG_DL: 5.33, MEQ_L: 2.66}, "reference range; clinical.md 2.2", "high"),
        Band(
            "critical",
            HIGH,
            {MMOL_L: 1.5, MG_DL: 6.01, MEQ_L: 3.0},
            "Houston 1.50; 2.2",
            "critically high",
            critical=True,
        ),
    ),
    advice=lambda view, result: tuple_of(_HIGH_CALCIUM_REVIEW, _at_risk(view, result)),
    context=_high_context,
    notes=f"{_AFTER_SESSION}.",
    also=RISK,
    family="electrolytes",
    ids="R10 R65",
    title="Ionised calcium above the limit",
    sources=("article L22, L44, L51", "US critical limits", "KDIGO 2017", "clinical.md 2.2"),
    without=("the laboratory's own reference range",),
)


def _without_ionized(view: PatientView, result: labs.Result, priority: Priority) -> Priority | None:
    """Count a total calcium only while no ionised one of the same draw, or of a later one, has come."""
    ionized = (one for one in labs.newest_first(view, Analyte.IONIZED_CALCIUM) if not one.is_preliminary)
    newest = next(ionized, None)
    return None if newest is not None and newest.at >= result.at - _SAME_DRAW else priority


def _no_ionized(_view: PatientView, _result: labs.Result) -> Context:
    return Context(("no ionised calcium of that draw",))


LOW_TOTAL_CALCIUM: Final = lab_bands(
    "low_total_calcium",
    Analyte.TOTAL_CALCIUM,
    above=False,
    bands=(Band("low", LOW, {MG_DL: 8.4, MMOL_L: 2.1, MEQ_L: 4.2}, "clinical.md R06", "low"),),
    advice=lambda _view, _result: (_ASK_IONIZED,),
    adjust=_without_ionized,
    context=_no_ionized,
    notes="It ends with a final ionised calcium drawn from 30 min before it on, whatever that shows.",
    also=(lab(Analyte.IONIZED_CALCIUM),),
    family="electrolytes",
    ids="R06",
    title="Total calcium below the limit, without an ionised one",
    sources=("article L6, L20", "clinical.md R06"),
    without=("an order for the ionised calcium",),
)
RULES: Final[tuple[PatientRule, ...]] = (
    HIGH_POTASSIUM,
    LOW_POTASSIUM,
    LOW_IONIZED_CALCIUM,
    HIGH_IONIZED_CALCIUM,
    LOW_TOTAL_CALCIUM,
)

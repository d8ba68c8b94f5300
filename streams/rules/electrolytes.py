"""Electrolytes in bands: `high_potassium` (E01) and `low_potassium` (R11)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from models.alerts import GuidanceRecord, Priority
from models.analytes import MEQ_L, MG_DL, MMOL_L, Analyte
from streams.rules.api import Inhibition, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside, labs
from streams.rules.inputs import SESSION, holds
from streams.rules.shapes.bands import Band, lab_bands

LOW, MEDIUM, HIGH = Priority.LOW, Priority.MEDIUM, Priority.HIGH

_LOW_MAGNESIUM: Final = holds("low_magnesium")
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
_MAGNESIUM_FIRST: Final = guidance(
    "Magnesium is low: a low potassium does not respond to replacement until magnesium is corrected.",
    "article L2, L14, L18",
)
_NADIR: Final = guidance(
    "Drawn within an hour after dialysis: the lowest value is expected then, and potassium rises again.",
    "clinical.md 2.1, R11",
)
#: From here on a potassium is critical even if the specimen is haemolysed (Kost, 8.0 haemolysed).
_CERTAIN: Final[labs.PerUnit] = {MMOL_L: 8.0, MEQ_L: 8.0, MG_DL: 31.3}
_EXPECTED_FOR: Final = timedelta(hours=1)


def _haemolysed_lowers(_view: PatientView, result: labs.Result, priority: Priority) -> Priority | None:
    if not result.record.haemolysed or result.at_least(_CERTAIN):
        return priority
    return {HIGH: MEDIUM, MEDIUM: LOW}.get(priority)


def _is_nadir(view: PatientView, result: labs.Result) -> bool:
    """Return whether a result was drawn within an hour after a treatment ended."""
    ends = (treatment.ended_at for treatment in bedside.sessions(view))
    return any(end is not None and timedelta(0) <= result.at - end <= _EXPECTED_FOR for end in ends)


def _nadir_lowers(view: PatientView, result: labs.Result, priority: Priority) -> Priority | None:
    return LOW if priority is MEDIUM and _is_nadir(view, result) else priority


def _high_advice(_view: PatientView, result: labs.Result) -> tuple[GuidanceRecord, ...]:
    return tuple_of(_HIGH_REVIEW, _REPEAT if result.record.haemolysed else None)


def _low_advice(view: PatientView, result: labs.Result) -> tuple[GuidanceRecord, ...]:
    magnesium_first = _MAGNESIUM_FIRST if view.holds(_LOW_MAGNESIUM) else None
    return tuple_of(magnesium_first, _LOW_REVIEW, _NADIR if _is_nadir(view, result) else None)


HIGH_POTASSIUM: Final = lab_bands(
    "high_potassium",
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
    adjust=_haemolysed_lowers,
    family="electrolytes",
    ids="E01",
    title="Potassium above the limit",
    sources=("KDIGO potassium conference", "Kost, US critical limits", "clinical.md 2.1"),
)
LOW_POTASSIUM: Final = lab_bands(
    "low_potassium",
    Analyte.POTASSIUM,
    above=False,
    bands=(
        Band("low", MEDIUM, {MMOL_L: 3.5, MEQ_L: 3.5, MG_DL: 13.68}, "clinical.md 2.1", "low"),
        Band("critical", HIGH, {MMOL_L: 2.8, MEQ_L: 2.8, MG_DL: 10.95}, "Kost, 2.1", "critically low", critical=True),
    ),
    advice=_low_advice,
    adjust=_nadir_lowers,
    also=(SESSION,),
    yields_to=(
        Inhibition("low_magnesium", "a low potassium does not respond to replacement until magnesium is corrected"),
    ),
    family="electrolytes",
    ids="R11",
    title="Potassium below the limit",
    sources=("article L7, L21", "Kost, US critical limits", "clinical.md 2.1"),
)
RULES: Final[tuple[PatientRule, ...]] = (HIGH_POTASSIUM, LOW_POTASSIUM)

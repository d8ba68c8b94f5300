"""Phosphate in bands: `low_phosphate` and `high_phosphate` (R12)."""

from __future__ import annotations

from typing import Final

from models.alerts import GuidanceRecord, Priority
from models.analytes import MG_DL, MMOL_L, Analyte
from streams.rules.api import PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import labs
from streams.rules.facts.places import Phase, place_of
from streams.rules.inputs import SESSION
from streams.rules.shapes.bands import Band, lab_bands

INFO, LOW, MEDIUM, HIGH = Priority.INFO, Priority.LOW, Priority.MEDIUM, Priority.HIGH

_LOW_REVIEW: Final = guidance(
    "Review nutrition, phosphate binders, and weakness of muscles and breathing, per unit protocol.",
    "article L8, L56; clinical.md 2.3",
)
_EXPECTED: Final = guidance(
    "Drawn within 5 h after dialysis: a low phosphate is expected then and rises again. Compare it with the next "
    "value from before dialysis.",
    "clinical.md 2.3 (MiD); article L53",
)
_HIGH_REVIEW: Final = guidance(
    "Review the trend over months, not one value: diet, binders and how they are taken, dialysis time.",
    "KDIGO 2017; article L44",
)
_NO_PRODUCT: Final = guidance(
    "The article speaks of controlling the calcium-phosphate product; KDIGO 2017 asks for trends of each and no "
    "product, so none is calculated here.",
    "article L44 against KDIGO 2017",
)
_HAEMOLYSED: Final = guidance(
    "The specimen was haemolysed, which raises phosphate: consider a repeat.", "clinical.md 2.1, likewise (ours)"
)


def _is_after_dialysis(view: PatientView, result: labs.Result) -> bool:
    return place_of(view, result.at).phase is Phase.POST


def _expected_lowers(view: PatientView, result: labs.Result, priority: Priority) -> Priority:
    """A mild one after dialysis is info: it does not end a low one from before, nor does it ask for anything."""
    return INFO if priority is LOW and _is_after_dialysis(view, result) else priority


def _low_advice(view: PatientView, result: labs.Result) -> tuple[GuidanceRecord, ...]:
    return tuple_of(_LOW_REVIEW, _EXPECTED if _is_after_dialysis(view, result) else None)


def _high_advice(_view: PatientView, result: labs.Result) -> tuple[GuidanceRecord, ...]:
    return tuple_of(_HIGH_REVIEW, _NO_PRODUCT, _HAEMOLYSED if result.record.haemolysed else None)


LOW_PHOSPHATE: Final = lab_bands(
    "low_phosphate",
    Analyte.PHOSPHATE,
    above=False,
    bands=(
        Band("low", LOW, {MG_DL: 2.5, MMOL_L: 0.81}, "clinical.md 2.3; info within 5 h after dialysis (ours)", "low"),
        Band("critical", HIGH, {MG_DL: 1.0, MMOL_L: 0.32}, "Iowa, WakeMed, 2.3", "critically low", critical=True),
    ),
    advice=_low_advice,
    adjust=_expected_lowers,
    also=(SESSION,),
    family="electrolytes",
    ids="R12",
    title="Phosphate below the limit",
    sources=("article L8", "US critical limits (Iowa, WakeMed)", "clinical.md 2.3"),
)
HIGH_PHOSPHATE: Final = lab_bands(
    "high_phosphate",
    Analyte.PHOSPHATE,
    above=True,
    bands=(
        Band("raised", INFO, {MG_DL: 5.5, MMOL_L: 1.78}, "KDOQI target; clinical.md 2.3", "above the target"),
        Band("high", MEDIUM, {MG_DL: 9.0, MMOL_L: 2.9}, "Kost; clinical.md 2.3", "high", closed=True),
    ),
    advice=_high_advice,
    family="electrolytes",
    ids="R12",
    title="Phosphate above the limit",
    sources=("article L44", "KDIGO 2017", "clinical.md 2.3"),
)
RULES: Final[tuple[PatientRule, ...]] = (LOW_PHOSPHATE, HIGH_PHOSPHATE)

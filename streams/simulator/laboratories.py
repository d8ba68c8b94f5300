"""Three laboratories that name and measure the same analytes differently, and the spread of their results."""

import random
from dataclasses import dataclass
from typing import Final

from models.analytes import Analyte
from streams.simulator.rates import Rates


@dataclass(frozen=True, slots=True)
class Range:
    """The spread of a value before dialysis over patients, in the base unit.

    Attributes:
        low: Lower end where nothing may alert.
        high: Upper end where nothing may alert.
        mean: Mean in a real unit.
        sd: Standard deviation in a real unit.
        least: No value is below this.
        most: No value is above this.
        after: Factor over one session where nothing may alert.
        really_after: Factor over one session in a real unit, on average.
        varies: How far a specimen strays from the patient's usual value, as a share of it.
        moves: How far the change over a session strays from its average, likewise.
    """

    low: float
    high: float
    mean: float
    sd: float
    least: float
    most: float
    after: float
    really_after: float
    varies: float = 0.02
    moves: float = 0.05


#: Base units: mg/dL, but ionised calcium, potassium and sodium mmol/L, aluminium ug/L, albumin g/dL.
#: Potassium falls by 1.2 mmol/L and half are below 3.5 after it; half have ionised calcium below 1.12 mmol/L;
#: magnesium runs normal to high (clinical.md 2.1, 2.2 and 0). Sodium hardly varies: 5 mmol/L more after a session is an
#: alert (E11).
RANGES: Final = {
    Analyte.MAGNESIUM: Range(2.00, 2.35, 2.12, 0.28, 0.8, 4.0, 0.95, 0.95),
    Analyte.IONIZED_CALCIUM: Range(1.17, 1.24, 1.13, 0.06, 0.75, 1.60, 1.02, 1.02),
    Analyte.TOTAL_CALCIUM: Range(8.9, 9.6, 9.0, 0.5, 6.5, 12.0, 1.02, 1.02),
    Analyte.POTASSIUM: Range(4.55, 4.80, 4.95, 0.6, 2.8, 7.4, 0.80, 0.74),
    Analyte.PHOSPHATE: Range(3.7, 5.0, 5.2, 1.4, 1.2, 11.0, 0.78, 0.6),
    Analyte.SODIUM: Range(137, 139, 138, 2.4, 124, 147, 1.005, 1.005, varies=0.007, moves=0.012),
    Analyte.CREATININE: Range(6.0, 11.0, 8.5, 2.2, 2.0, 18.0, 0.4, 0.4),
    Analyte.ALBUMIN: Range(3.8, 4.3, 3.85, 0.35, 2.2, 5.0, 1.04, 1.04),
    Analyte.ALUMINUM: Range(2.0, 7.0, 6.5, 4.0, 1.0, 45.0, 1.0, 1.0),
}
PANEL: Final = tuple(analyte for analyte in RANGES if analyte is not Analyte.ALUMINUM)
POST_PANEL: Final = (
    Analyte.MAGNESIUM,
    Analyte.IONIZED_CALCIUM,
    Analyte.POTASSIUM,
    Analyte.PHOSPHATE,
    Analyte.SODIUM,
)


@dataclass(frozen=True, slots=True)
class Measure:
    """A laboratory's unit: its spelling, the factor from the base unit, the reported decimals."""

    unit: str
    factor: float
    decimals: int


@dataclass(frozen=True, slots=True)
class Laboratory:
    """One laboratory: its name, whether it sends a name or a LOINC code or both, and its units."""

    name: str
    sends_name: bool
    sends_loinc: bool
    measures: dict[Analyte, Measure]


_LOINC: Final = {
    Analyte.MAGNESIUM: "19123-9 2601-3",
    Analyte.IONIZED_CALCIUM: "17863-2 1995-0",
    Analyte.TOTAL_CALCIUM: "17861-6 2000-8",
    Analyte.POTASSIUM: "2823-3 6298-4",
    Analyte.PHOSPHATE: "2777-1 14879-1",
    Analyte.SODIUM: "2951-2 2947-0",
    Analyte.CREATININE: "2160-0 14682-9",
    Analyte.ALBUMIN: "1751-7 54347-0",
    Analyte.ALUMINUM: "5574-9 14593-8",
}


def loinc(laboratory: Laboratory, analyte: Analyte) -> str:
    """Return a laboratory's code for an analyte: the molar code for `lab-south`, else the mass code."""
    mass, molar = _LOINC[analyte].split()
    return molar if laboratory is LABORATORIES[1] else mass


_CONVENTIONAL: Final = {
    Analyte.MAGNESIUM: Measure("mg/dL", 1, 1),
    Analyte.IONIZED_CALCIUM: Measure("mmol/L", 1, 2),
    Analyte.TOTAL_CALCIUM: Measure("mg/dL", 1, 1),
    Analyte.POTASSIUM: Measure("mmol/L", 1, 1),
    Analyte.PHOSPHATE: Measure("mg/dL", 1, 1),
    Analyte.SODIUM: Measure("mmol/L", 1, 0),
    Analyte.CREATININE: Measure("mg/dL", 1, 1),
    Analyte.ALBUMIN: Measure("g/dL", 1, 1),
    Analyte.ALUMINUM: Measure("ug/L", 1, 0),
}
_SI: Final = _CONVENTIONAL | {
    Analyte.MAGNESIUM: Measure("mmol/L", 0.411439, 2),
    Analyte.TOTAL_CALCIUM: Measure("mmol/L", 0.249513, 2),
    Analyte.PHOSPHATE: Measure("mmol/L", 0.322855, 2),
    Analyte.CREATININE: Measure("umol/L", 88.402, 0),
    Analyte.ALBUMIN: Measure("g/L", 10, 0),
    Analyte.ALUMINUM: Measure("umol/L", 0.0370624, 2),
}
_EQUIVALENTS: Final = _CONVENTIONAL | {
    Analyte.MAGNESIUM: Measure("mEq/L", 0.822878, 2),
    Analyte.IONIZED_CALCIUM: Measure("mg/dL", 4.0078, 2),
    Analyte.POTASSIUM: Measure("mEq/L", 1, 1),
    Analyte.SODIUM: Measure("mEq/L", 1, 0),
    Analyte.ALUMINUM: Measure("mcg/L", 1, 0),
}
LABORATORIES: Final = (
    Laboratory("lab-north", sends_name=True, sends_loinc=False, measures=_CONVENTIONAL),
    Laboratory("lab-south", sends_name=False, sends_loinc=True, measures=_SI),
    Laboratory("lab-west", sends_name=True, sends_loinc=True, measures=_EQUIVALENTS),
)


def draw_level(rng: random.Random, analyte: Analyte, rates: Rates) -> float:
    """Draw a patient's usual value before dialysis, in the base unit."""
    spread = RANGES[analyte]
    if analyte in rates.calm:
        return rng.uniform(spread.low, spread.high)
    return min(max(rng.gauss(spread.mean, spread.sd), spread.least), spread.most)


#: A rule fires on a result below these bounds, by unit; on aluminium from this value on. Where the rulings give a unit
#: no bound, the bound here keeps clear of the converted bound of another unit.
_BOUNDS: Final = {
    (Analyte.MAGNESIUM, "mg/dL"): 1.7,
    (Analyte.MAGNESIUM, "mmol/L"): 0.70,
    (Analyte.MAGNESIUM, "mEq/L"): 1.4,
    (Analyte.IONIZED_CALCIUM, "mmol/L"): 1.12,
    (Analyte.IONIZED_CALCIUM, "mg/dL"): 4.45,
    (Analyte.POTASSIUM, "mmol/L"): 3.5,
    (Analyte.POTASSIUM, "mEq/L"): 3.5,
    (Analyte.ALUMINUM, "ug/L"): 10,
    (Analyte.ALUMINUM, "mcg/L"): 10,
    (Analyte.ALUMINUM, "umol/L"): 0.38,
}
_RULES: Final = {
    Analyte.MAGNESIUM: "low_magnesium",
    Analyte.IONIZED_CALCIUM: "low_ionized_calcium",
    Analyte.POTASSIUM: "low_potassium",
    Analyte.ALUMINUM: "aluminum_level",
}


def broken_rule(analyte: Analyte, unit: str, value: float) -> str | None:
    """Return the rule that a usable result of this value should raise; None if none, or if this table has no bound."""
    bound = _BOUNDS.get((analyte, unit))
    if bound is None:
        return None
    if analyte is Analyte.ALUMINUM:
        return _RULES[analyte] if value >= bound else None
    return _RULES[analyte] if value < bound else None

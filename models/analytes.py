"""Analytes, their LOINC codes and the units in which laboratories report them (clinical.md 3.1 and 3.2).

Units are UCUM. UCUM is case-sensitive, laboratories are not, so spelling is folded before the look-up; a unit outside
the table is unknown, never guessed. The unit decides how a value is read, not the LOINC code's property: public data
carries 19123-9 (a mass code) with `mmol/L`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final


class Analyte(StrEnum):
    """A substance that a laboratory measures, as named in the contract."""

    MAGNESIUM = "magnesium"
    IONIZED_CALCIUM = "ionized_calcium"
    TOTAL_CALCIUM = "total_calcium"
    POTASSIUM = "potassium"
    PHOSPHATE = "phosphate"
    ALUMINUM = "aluminum"
    SODIUM = "sodium"
    CREATININE = "creatinine"
    ALBUMIN = "albumin"

    @property
    def words(self) -> str:
        """Return its name in a sentence, spelt like the rest of the texts."""
        return _SPELT.get(self, self.value.replace("_", " "))


_SPELT: Final = {Analyte.IONIZED_CALCIUM: "ionised calcium", Analyte.ALUMINUM: "aluminium"}


class Specimen(StrEnum):
    """What was drawn. Red cells, urine and the citrate circuit do not show the patient's serum."""

    SERUM = "serum"
    PLASMA = "plasma"
    BLOOD = "blood"
    URINE = "urine"
    ERYTHROCYTES = "erythrocytes"
    CIRCUIT = "circuit"


#: Specimens whose result describes the patient's blood; an absent specimen counts as one of them.
PATIENT_SPECIMENS: Final = frozenset({Specimen.SERUM, Specimen.PLASMA, Specimen.BLOOD})


@dataclass(frozen=True, slots=True)
class Loinc:
    """The analyte and the specimen that a LOINC code means."""

    analyte: Analyte
    specimen: Specimen


_SERUM_CODES: Final = {
    Analyte.MAGNESIUM: "19123-9 2601-3",
    Analyte.IONIZED_CALCIUM: "17863-2 38230-9 1995-0 1994-3 12180-6",
    Analyte.TOTAL_CALCIUM: "17861-6 2000-8",
    Analyte.POTASSIUM: "2823-3 6298-4",
    Analyte.PHOSPHATE: "2777-1 14879-1",
    Analyte.ALUMINUM: "5574-9 5575-6 14593-8",
    Analyte.SODIUM: "2951-2 2947-0",
    Analyte.CREATININE: "2160-0 14682-9",
    Analyte.ALBUMIN: "1751-7 54347-0",
}
_OTHER_CODES: Final = {
    "2597-3": Loinc(Analyte.MAGNESIUM, Specimen.ERYTHROCYTES),
    "2593-2": Loinc(Analyte.MAGNESIUM, Specimen.ERYTHROCYTES),
    "2598-1": Loinc(Analyte.MAGNESIUM, Specimen.URINE),
    "83064-6": Loinc(Analyte.IONIZED_CALCIUM, Specimen.CIRCUIT),
    "2828-2": Loinc(Analyte.POTASSIUM, Specimen.URINE),
    "2955-3": Loinc(Analyte.SODIUM, Specimen.URINE),
}
#: Every code the product knows; a whitelist, because names mislead (2597-3 is red cells).
LOINC: Final[dict[str, Loinc]] = {
    code: Loinc(analyte, Specimen.SERUM) for analyte, codes in _SERUM_CODES.items() for code in codes.split()
} | _OTHER_CODES

MG_DL, MMOL_L, MEQ_L = "mg/dL", "mmol/L", "meq/L"
UG_L, UMOL_L, NMOL_L = "ug/L", "umol/L", "nmol/L"
G_DL, G_L = "g/dL", "g/L"

_SPELLINGS: Final = {
    MG_DL: "mg/dl mg% mg/100ml",
    MMOL_L: "mmol/l",
    MEQ_L: "meq/l",
    UG_L: "ug/l mcg/l ng/ml ppb",
    UMOL_L: "umol/l",
    NMOL_L: "nmol/l",
    G_DL: "g/dl",
    G_L: "g/l",
}
_UNITS: Final = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}


@dataclass(frozen=True, slots=True)
class Plausible:
    """The fence outside which a value is a swapped unit or a typing error, in one unit.

    Sources: magnesium and potassium clinical.md 3.2; the others are ours, wide on purpose.
    """

    unit: str
    low: float
    high: float


_FENCES: Final = {
    Analyte.MAGNESIUM: Plausible(MG_DL, 0.2, 15),
    Analyte.IONIZED_CALCIUM: Plausible(MMOL_L, 0.2, 3),
    Analyte.TOTAL_CALCIUM: Plausible(MG_DL, 2, 25),
    Analyte.POTASSIUM: Plausible(MMOL_L, 1.0, 12),
    Analyte.PHOSPHATE: Plausible(MG_DL, 0.2, 25),
    Analyte.ALUMINUM: Plausible(UG_L, 0, 5000),
    Analyte.SODIUM: Plausible(MMOL_L, 80, 200),
    Analyte.CREATININE: Plausible(MG_DL, 0.1, 40),
    Analyte.ALBUMIN: Plausible(G_DL, 0.5, 8),
}

#: How many of an analyte's fence units one unit of the key is (clinical.md 3.2). Used for the fence only: results are
#: compared with thresholds in the reported unit.
_FACTORS: Final[dict[Analyte, dict[str, float]]] = {
    Analyte.MAGNESIUM: {MG_DL: 1, MMOL_L: 2.4305, MEQ_L: 2.4305 / 2},
    Analyte.IONIZED_CALCIUM: {MMOL_L: 1, MG_DL: 0.249513, MEQ_L: 0.5},
    Analyte.TOTAL_CALCIUM: {MG_DL: 1, MMOL_L: 4.0078, MEQ_L: 4.0078 / 2},
    Analyte.POTASSIUM: {MMOL_L: 1, MEQ_L: 1, MG_DL: 0.255766},
    Analyte.PHOSPHATE: {MG_DL: 1, MMOL_L: 3.097376},
    Analyte.ALUMINUM: {UG_L: 1, UMOL_L: 26.9815, NMOL_L: 0.0269815},
    Analyte.SODIUM: {MMOL_L: 1, MEQ_L: 1, MG_DL: 0.434976},
    Analyte.CREATININE: {MG_DL: 1, UMOL_L: 1 / 88.402},
    Analyte.ALBUMIN: {G_DL: 1, G_L: 0.1},
}


@lru_cache(maxsize=1024)
def canonical_unit(analyte: Analyte, unit: str) -> str | None:
    """Return the UCUM unit that a reported unit means for an analyte, or None if it is unknown there.

    Both micro signs (U+00B5 and U+03BC) are read as `u`.
    """
    folded = "".join(unit.split()).lower().replace("\u00b5", "u").replace("\u03bc", "u")
    canonical = _UNITS.get(folded)
    return canonical if canonical in _FACTORS[analyte] else None


def units_of(analyte: Analyte) -> list[str]:
    """Return the units that are known for an analyte."""
    return list(_FACTORS[analyte])


def per_fence_unit(analyte: Analyte, unit: str) -> float:
    """Return how many of the analyte's fence units one canonical unit is: to compare bounds with one another.

    Results are never compared through it.
    """
    return _FACTORS[analyte][unit]


def is_plausible(analyte: Analyte, value: float, unit: str, comparator: str | None = None) -> bool:
    """Return whether a value in a canonical unit lies inside the analyte's fence.

    A value off the scale (`<`, `>`) may lie beyond the fence on the side to which it points.
    """
    fence = _FENCES[analyte]
    scaled = value * _FACTORS[analyte][unit]
    low_enough = scaled <= fence.high or (comparator in (">", ">="))
    high_enough = scaled >= fence.low or (comparator in ("<", "<=") and scaled >= 0)
    return low_enough and high_enough

"""Units, codes and fences (clinical.md 3.1 and 3.2): the unit decides, and nothing is guessed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.analytes import _FACTORS, LOINC, Analyte, Specimen, canonical_unit, is_plausible, units_of

A, S = Analyte, Specimen


@pytest.mark.parametrize(
    ("analyte", "spelling", "unit"),
    [
        (A.MAGNESIUM, "mg/dL", "mg/dL"),
        (A.MAGNESIUM, "MG/DL", "mg/dL"),
        (A.MAGNESIUM, "mg%", "mg/dL"),
        (A.MAGNESIUM, "MMOL/L", "mmol/L"),
        (A.MAGNESIUM, "mmol/l", "mmol/L"),
        (A.MAGNESIUM, " mmol / L ", "mmol/L"),
        (A.MAGNESIUM, "mEq/L", "meq/L"),
        (A.MAGNESIUM, "meq/L", "meq/L"),
        (A.ALUMINUM, "ug/L", "ug/L"),
        (A.ALUMINUM, "\u00b5g/L", "ug/L"),
        (A.ALUMINUM, "\u03bcg/L", "ug/L"),
        (A.ALUMINUM, "mcg/L", "ug/L"),
        (A.ALUMINUM, "ng/mL", "ug/L"),
        (A.ALUMINUM, "ppb", "ug/L"),
        (A.ALUMINUM, "\u00b5mol/L", "umol/L"),
        (A.ALUMINUM, "nmol/L", "nmol/L"),
        (A.CREATININE, "umol/L", "umol/L"),
        (A.ALBUMIN, "g/dL", "g/dL"),
        (A.ALBUMIN, "g/L", "g/L"),
        # unknown, missing, or of another analyte
        (A.MAGNESIUM, "", None),
        (A.MAGNESIUM, "?", None),
        (A.MAGNESIUM, "ug/L", None),
        (A.MAGNESIUM, "mg", None),
        (A.MAGNESIUM, "mmol/24h", None),
        (A.ALUMINUM, "mg/dL", None),
        (A.PHOSPHATE, "meq/L", None),  # valence depends on pH: do not convert
    ],
)
def test_spellings(analyte: Analyte, spelling: str, unit: str | None) -> None:
    assert canonical_unit(analyte, spelling) == unit


@given(analyte=st.sampled_from(Analyte), text=st.text(max_size=10))
def test_any_text_is_a_known_unit_or_none(analyte: Analyte, text: str) -> None:
    assert canonical_unit(analyte, text) in (None, *units_of(analyte))


@pytest.mark.parametrize(
    ("analyte", "codes", "specimen"),
    [
        (A.MAGNESIUM, "19123-9 2601-3", S.SERUM),
        (A.MAGNESIUM, "2597-3 2593-2", S.ERYTHROCYTES),
        (A.MAGNESIUM, "2598-1", S.URINE),
        (A.IONIZED_CALCIUM, "17863-2 38230-9 1995-0 1994-3 12180-6", S.SERUM),
        (A.IONIZED_CALCIUM, "83064-6", S.CIRCUIT),
        (A.TOTAL_CALCIUM, "17861-6 2000-8", S.SERUM),
        (A.POTASSIUM, "2823-3 6298-4", S.SERUM),
        (A.POTASSIUM, "2828-2", S.URINE),
        (A.PHOSPHATE, "2777-1 14879-1", S.SERUM),
        (A.ALUMINUM, "5574-9 5575-6 14593-8", S.SERUM),
        (A.SODIUM, "2951-2 2947-0", S.SERUM),
        (A.SODIUM, "2955-3", S.URINE),
        (A.CREATININE, "2160-0 14682-9", S.SERUM),
        (A.ALBUMIN, "1751-7 54347-0", S.SERUM),
    ],
)
def test_codes(analyte: Analyte, codes: str, specimen: Specimen) -> None:
    for code in codes.split():
        assert (LOINC[code].analyte, LOINC[code].specimen) == (analyte, specimen)


def _check_digit(code: str) -> bool:
    """LOINC's mod-10 check digit (Luhn)."""
    number, check = code.split("-")
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(number)))
    return (10 - total % 10) % 10 == int(check)


@pytest.mark.parametrize("code", sorted(LOINC))
def test_no_code_is_mistyped(code: str) -> None:
    assert _check_digit(code)


@pytest.mark.parametrize(
    ("analyte", "one", "other", "factor"),
    [
        # clinical.md 3.2: how many of `one` make one of `other`
        (A.MAGNESIUM, "mg/dL", "mmol/L", 2.4305),
        (A.MAGNESIUM, "meq/L", "mmol/L", 2),
        (A.MAGNESIUM, "meq/L", "mg/dL", 0.822876),
        (A.IONIZED_CALCIUM, "mg/dL", "mmol/L", 4.0078),
        (A.TOTAL_CALCIUM, "mg/dL", "mmol/L", 4.0078),
        (A.TOTAL_CALCIUM, "meq/L", "mmol/L", 2),
        (A.POTASSIUM, "mg/dL", "mmol/L", 3.90983),
        (A.POTASSIUM, "meq/L", "mmol/L", 1),
        (A.SODIUM, "meq/L", "mmol/L", 1),
        (A.SODIUM, "mmol/L", "mg/dL", 0.434976),
        (A.PHOSPHATE, "mg/dL", "mmol/L", 3.097376),
        (A.CREATININE, "umol/L", "mg/dL", 88.402),
        (A.ALUMINUM, "ug/L", "umol/L", 26.9815),
        (A.ALUMINUM, "nmol/L", "ug/L", 37.0624),
    ],
)
def test_factors(analyte: Analyte, one: str, other: str, factor: float) -> None:
    assert math.isclose(_FACTORS[analyte][other] / _FACTORS[analyte][one], factor, rel_tol=1e-4)


@pytest.mark.parametrize(
    ("analyte", "value", "unit", "comparator", "expected"),
    [
        (A.MAGNESIUM, 0.2, "mg/dL", None, True),
        (A.MAGNESIUM, 0.19, "mg/dL", None, False),
        (A.MAGNESIUM, 15, "mg/dL", None, True),
        (A.MAGNESIUM, 15.01, "mg/dL", None, False),
        (A.MAGNESIUM, 6.2, "mmol/L", None, False),
        (A.MAGNESIUM, 1.7, "mmol/L", None, True),
        (A.POTASSIUM, 1.0, "mmol/L", None, True),
        (A.POTASSIUM, 0.99, "mmol/L", None, False),
        (A.POTASSIUM, 12.0, "meq/L", None, True),
        (A.POTASSIUM, 12.01, "mmol/L", None, False),
        (A.MAGNESIUM, 0.1, "mg/dL", "<", True),
        (A.MAGNESIUM, 0.1, "mg/dL", ">", False),
        (A.MAGNESIUM, 20, "mg/dL", ">", True),
        (A.MAGNESIUM, 20, "mg/dL", "<", False),
        (A.MAGNESIUM, -0.1, "mg/dL", "<", False),
    ],
)
def test_fences(analyte: Analyte, value: float, unit: str, comparator: str | None, expected: bool) -> None:
    assert is_plausible(analyte, value, unit, comparator) is expected

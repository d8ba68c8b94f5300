"""`low_magnesium` (R01): what its tables cannot hold (`tests/rules/low_magnesium.toml`, `low_magnesium_reports.toml`).

A table looks at one rule, and runs each case in every order of arrival.
"""

from __future__ import annotations

import pytest

from tests.unit.timeline import Unit


@pytest.mark.parametrize(
    "fields",
    [
        {"loinc": "2597-3"},
        {"loinc": "2593-2"},
        {"loinc": "2598-1"},
        {"specimen": "urine"},
        {"specimen": "erythrocytes"},
        {"specimen": "circuit"},
    ],
)
def test_red_cells_urine_and_circuit_say_nothing_of_the_patient_to_any_rule(fields: dict[str, str]) -> None:
    ward = Unit()
    ward.lab(None if "loinc" in fields else "magnesium", 0.5, at="08:00", **fields)
    ward.expect_nothing_more()


def test_corrections_of_a_result_without_a_report_time_stand_in_their_order_of_arrival() -> None:
    """Where one version has no report time, the status decides, and then the arrival."""
    ward = Unit(watch="low_magnesium")
    ward.lab("magnesium", 1.5, at="08:00", name="r1")
    for value, at in ((0.9, "09:00"), (1.6, "10:00")):
        ward.lab("magnesium", value, at="08:00", name="r1", status="corrected", reported=at, received=at)
    ward.expect("08:00", "raised", priority="medium")
    ward.expect("09:00", "escalated", priority="high", status="active")
    ward.expect("10:00", "deescalated", priority="medium")

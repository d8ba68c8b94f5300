"""`low_magnesium` (R01): where the order of arrival counts. Its cases are in `tests/rules/low_magnesium.toml`.

A table runs each case in every order of arrival, so it cannot hold this one.
"""

from __future__ import annotations

from tests.unit.timeline import Unit


def test_corrections_of_a_result_without_a_report_time_stand_in_their_order_of_arrival() -> None:
    """Where one version has no report time, the status decides, and then the arrival."""
    ward = Unit(watch="low_magnesium")
    ward.lab("magnesium", 1.5, at="08:00", name="r1")
    for value, at in ((0.9, "09:00"), (1.6, "10:00")):
        ward.lab("magnesium", value, at="08:00", name="r1", status="corrected", reported=at, received=at)
    ward.expect("08:00", "raised", priority="medium")
    ward.expect("09:00", "escalated", priority="high", status="active")
    ward.expect("10:00", "deescalated", priority="medium")

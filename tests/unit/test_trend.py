"""The values before the one that decided, which an alert carries for a screen (contract, `context` and `bound`)."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from models.alerts import AlertRecord
from tests.unit.timeline import Unit, moment, stamp


def trend(alert: AlertRecord) -> list[tuple[str, float]]:
    return [(f"{one.at:%d %H:%M}", one.value) for one in alert.context]


def test_the_ten_newest_results_before_it() -> None:
    unit = Unit(watch="low_magnesium")
    for hour in range(14):
        unit.lab("magnesium", round(1.9 + hour / 100, 2), at=f"{hour:02}:00")
    unit.lab("magnesium", 1.2, at="14:00")
    alert = unit.expect("14:00", "raised")
    assert trend(alert) == [(f"23 {hour:02}:00", round(1.9 + hour / 100, 2)) for hour in range(4, 14)]
    assert {one.unit for one in alert.context} == {"mg/dL"}
    assert alert.bound is not None
    assert (alert.bound.value, alert.bound.unit) == (1.7, "mg/dL")


def test_only_values_of_its_unit_that_count() -> None:
    unit = Unit(watch="low_magnesium")
    unit.lab("magnesium", 0.9, "mmol/L", at="08:00")
    unit.lab("magnesium", 2.1, at="09:00")
    unit.lab("magnesium", 2.0, at="10:00", status="entered_in_error")
    unit.lab("magnesium", 1.0, at="11:00", specimen="urine")
    unit.lab("magnesium", 9.0, at="11:30", comparator=">")
    unit.lab("magnesium", 2.2, at="12:30")  # after it
    unit.lab("magnesium", 1.2, at="12:00", received="12:31", name="late")
    assert all(not alert.context or trend(alert) == [("23 09:00", 2.1)] for alert in unit.watched)
    unit.lab("magnesium", 1.3, at="13:00")
    assert trend(unit.watched[-1]) == [("23 09:00", 2.1), ("23 12:00", 1.2), ("23 12:30", 2.2)]


def test_the_first_value_has_none_before_it() -> None:
    unit = Unit(watch="low_magnesium")
    unit.lab("magnesium", 1.2, at="08:00")
    alert = unit.expect("08:00", "raised")
    assert alert.context == []
    assert alert.bound is not None


def test_a_change_of_status_tells_the_same_trend() -> None:
    unit = Unit(watch="low_magnesium")
    unit.lab("magnesium", 2.0, at="08:00")
    unit.lab("magnesium", 1.2, at="09:00")
    raised = unit.expect("09:00", "raised")
    unit.restart()
    unit.respond(raised, "acknowledge", at="09:05")
    acknowledged = unit.expect("09:05", "acknowledged")
    assert (acknowledged.context, acknowledged.bound) == (raised.context, raised.bound)
    assert len(acknowledged.context) == 1


def test_an_earlier_value_alone_is_no_news() -> None:
    unit = Unit(watch="low_magnesium")
    unit.lab("magnesium", 1.2, at="09:00")
    unit.expect("09:00", "raised")
    unit.lab("magnesium", 2.0, at="08:00", received="09:10")
    unit.expect_nothing_more()


def test_pressures_of_the_treatment() -> None:
    unit = Unit(watch="intradialytic_hypotension")
    unit.session(at="08:00")
    for minute, value in enumerate((140.0, 132.0, 121.0, 104.0, 84.0)):
        unit.telemetry(at=stamp(moment("08:00") + timedelta(minutes=15 * minute)), systolic_mmhg=value)
    alert = unit.expect("09:00", "raised")
    assert trend(alert) == [("23 08:00", 140.0), ("23 08:15", 132.0), ("23 08:30", 121.0), ("23 08:45", 104.0)]
    assert alert.bound is not None
    assert (alert.bound.value, alert.bound.unit) == (90.0, "mm[Hg]")


def test_ten_minutes_of_a_channel_at_even_distances() -> None:
    unit = Unit(watch="blood_volume_falling")
    unit.session(at="08:00")
    for second in range(0, 3600, 5):
        fall = max(0, second - 1200) / 3600 * 12
        at = stamp(moment("08:00") + timedelta(seconds=second))
        unit.telemetry(at=at, relative_blood_volume_pct=round(100 - fall, 2), blood_flow_ml_min=300.0)
    alert = unit.watched[0]
    assert len(alert.context) == 10
    assert [one.at for one in alert.context] == sorted(one.at for one in alert.context)
    assert alert.context[-1].at < max(one.at for one in alert.evidence)
    steps = {(later.at - one.at) // timedelta(minutes=1) for one, later in pairwise(alert.context)}
    assert max(steps) - min(steps) <= 1
    assert alert.bound is None  # a slope has no bound in the unit of the values


@pytest.mark.parametrize("told_by", ["scale", "session"])
def test_weights_before_earlier_treatments(told_by: str) -> None:
    unit = Unit(watch="interdialytic_weight_gain")
    unit.send("patient_profile", "07:00", target_weight_kg=70.0)
    for day, kg in ((1, 71.5), (3, 72.0), (5, 75.0)):
        if told_by == "scale":
            unit.send("weight", f"d{day} 07:55", kg=kg, moment="pre")
        told = kg if told_by == "session" else None
        unit.session(f"s{day}", at=f"d{day} 08:00", pre_weight_kg=told)
        unit.session_end(f"s{day}", at=f"d{day} 12:00", post_weight_kg=70.0)
        if day == 5:
            break
    alert = unit.watched[0]
    assert [one.value for one in alert.context] == [71.5, 72.0]
    assert alert.bound is not None
    assert (alert.bound.value, alert.bound.unit) == (74.2, "kg")


def test_earlier_qtc() -> None:
    unit = Unit(watch="qtc_prolonged")
    unit.qtc(440, at="08:00")
    unit.send("rhythm", "d2 08:00", kind="af")
    unit.qtc(510, at="d3 08:00")
    alert = unit.watched[0]
    assert trend(alert) == [("23 08:00", 440.0)]
    assert alert.bound is not None


def test_a_symptom_has_nothing_to_plot() -> None:
    unit = Unit(watch="intradialytic_cramp")
    unit.session(at="08:00")
    unit.lab("ionized_calcium", 0.9, "mmol/L", at="08:30")
    unit.symptom("cramp", at="09:00", severity=8)
    assert unit.watched
    assert all(alert.context == [] and alert.bound is None for alert in unit.watched)

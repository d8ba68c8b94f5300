"""A sensor that stands still for an hour while blood flows is told once; what may well stand is not."""

from __future__ import annotations

from typing import Any

import pytest

from streams.rules.standing_sensors import MEASURED
from tests.unit.watched_fields import Watched

VENOUS, VOLUME, TEMPERATURE = "venous_pressure_mmhg", "relative_blood_volume_pct", "dialysate_temp_c"
STANDS = {VENOUS: 142, VOLUME: 97.3, TEMPERATURE: 36.53}
MOVES = {VENOUS: 141, VOLUME: 97.4, TEMPERATURE: 36.52}


def begun(field: str, *also: str) -> Watched:
    """A session whose sensor moved last at 08:29:40."""
    watched = Watched(field, *also)
    watched.send("08:00", type="session_started")
    watched.samples("08:00", "08:29:40", {field: STANDS[field]})
    watched.samples("08:29:40", "08:30", {field: MOVES[field]})
    return watched


@pytest.mark.parametrize("field", sorted(MEASURED))
def test_an_hour_is_told_once_and_ends_when_it_moves(field: str) -> None:
    watched = begun(field)
    watched.samples("08:30", "11:00", {field: STANDS[field]})
    watched.samples("11:00", "11:01", {field: MOVES[field]})
    watched.samples("11:01", "11:31", {field: STANDS[field]})
    raised, resolved = watched.told
    assert raised.startswith("09:30 raised low: A sensor of machine m1 stands still for an hour")
    assert f"{field} at {STANDS[field]:g}" in raised
    assert resolved.startswith("11:30 resolved low")


def test_from_the_first_sample_on() -> None:
    watched = Watched(VENOUS)
    watched.send("08:00", type="session_started")
    watched.samples("08:00", "10:00", {VENOUS: 142})
    assert [told[:10] for told in watched.told] == ["09:30 rais"]


def test_a_sample_short_of_an_hour_is_none() -> None:
    watched = begun(VENOUS)
    watched.samples("08:30", "09:29:40", {VENOUS: 142})
    watched.samples("09:29:40", "10:20", {VENOUS: 143}, every_s=20)
    assert watched.told == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (VENOUS, 0),
        (VOLUME, 97),
        (VOLUME, 100),
        (TEMPERATURE, 36.5),
        (TEMPERATURE, 36.599998),
        ("dialysate_temp_setting_c", 36.55),
        ("systolic_mmhg", 128),
        ("body_temp_c", 36.52),
    ],
)
def test_what_may_well_stand_is_not_told(field: str, value: float) -> None:
    watched = Watched(field)
    watched.send("08:00", type="session_started")
    watched.samples("08:00", "11:00", {field: value})
    assert watched.told == []


def test_blood_that_stood_begins_the_hour_anew() -> None:
    watched = begun(VENOUS)
    watched.samples("08:30", "09:00", {VENOUS: 142})
    watched.send("09:00", type="telemetry", blood_flow_ml_min=0, venous_pressure_mmhg=142)
    watched.samples("09:00:20", "09:59:40", {VENOUS: 142})
    assert watched.told == []
    watched.samples("09:59:40", "10:31", {VENOUS: 142})
    assert [told[:12] for told in watched.told] == ["10:30 raised"]


def test_two_numbers_an_hour_apart_are_no_sensor_that_stands() -> None:
    watched = begun(VENOUS)
    watched.samples("08:30", "08:35", {VENOUS: 142})
    watched.samples("08:35", "09:25", {})
    watched.samples("09:25", "09:31", {VENOUS: 142})
    assert watched.told == []


def test_it_is_over_with_the_session() -> None:
    watched = begun(VENOUS)
    watched.samples("08:30", "09:40", {VENOUS: 142})
    watched.send("09:40", type="session_ended")
    watched.send("10:30", type="weight", kg=70, moment="post")
    assert [told[:14] for told in watched.told] == ["09:30 raised l", "09:40 resolved"]


def test_samples_twice_and_in_disorder_say_the_same() -> None:
    plain, mixed = begun(VENOUS), begun(VENOUS)
    plain.samples("08:30", "09:40", {VENOUS: 142})
    samples: list[tuple[str, dict[str, Any]]] = [
        (f"{8 + (30 + second // 60) // 60:02}:{(30 + second // 60) % 60:02}:{second % 60:02}", {VENOUS: 142})
        for second in range(0, 4200, 20)
    ]
    for number in range(0, len(samples), 2):
        for at, fields in (samples[number + 1], samples[number], samples[number + 1]):
            mixed.send(at, received=samples[number + 1][0], type="telemetry", blood_flow_ml_min=300, **fields)
    assert mixed.told == plain.told
    assert len(plain.told) == 1

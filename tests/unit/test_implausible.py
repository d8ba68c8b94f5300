"""Numbers that cannot be: left out when they are filed, whatever the order, and told once with both sides."""

from __future__ import annotations

from itertools import permutations

import pytest

from models.events import Event, Telemetry
from streams.rules.facts.implausible import OF_SESSIONS, SAMPLES, as_celsius
from tests.unit.timeline import moment
from tests.unit.watched_fields import SAMPLE, Watched


def test_every_number_of_a_sample_has_a_range() -> None:
    own = set(Telemetry.model_fields) - set(Event.model_fields)
    assert own - {"type", "session_id", "machine_id", "setting_origin"} == set(SAMPLES)


@pytest.mark.parametrize("field", sorted(OF_SESSIONS))
def test_the_bounds_lie_inside(field: str) -> None:
    each = OF_SESSIONS[field]
    assert each.low < each.high
    assert not each.is_strange(each.low)
    assert not each.is_strange(each.high)
    assert each.is_strange(each.high + 0.001)
    assert each.is_strange(each.low - 0.001)
    assert each.is_strange(0) is (each.low > 0 and not each.zero_is_none)


def test_fahrenheit() -> None:
    assert as_celsius(98.6) == pytest.approx(37.0)
    assert as_celsius(95) == pytest.approx(35.0)
    assert as_celsius(36.5) is None
    assert as_celsius(365) is None


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("body_temp_c", 98.6, "body_temp_c >45 Cel (98.6 degrees Fahrenheit would be 37.0)"),
        ("dialysate_temp_c", 96.8, "dialysate_temp_c >65 Cel (96.8 degrees Fahrenheit would be 36.0)"),
        ("dialysate_temp_c", 365, "dialysate_temp_c >65 Cel;"),
        ("relative_blood_volume_pct", 930, "relative_blood_volume_pct >200 %"),
    ],
)
def test_what_a_watched_field_cannot_be_is_told_once(field: str, value: float, shown: str) -> None:
    watched = Watched(field)
    watched.send("08:00", type="session_started")
    watched.samples("08:00:30", "09:00", {field: value}, every_s=60)
    (told,) = watched.told
    assert shown in told


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_what_is_noted_is_the_same_in_every_order(order: tuple[int, ...]) -> None:
    samples = [("08:01", 98.6), ("08:02", 99.5), ("08:03", 36.5), ("08:04", 97.0)]
    watched = Watched("body_temp_c")
    watched.send("08:00", type="session_started")
    for place in order:
        at, value = samples[place]
        watched.send(at, received="08:05", **SAMPLE, body_temp_c=value)
    session = watched.state.sessions["s1"]
    strange = session.strange["body_temp_c"]
    first, last = (int(moment(at).timestamp()) for at in ("08:01", "08:04"))
    assert (strange.first, strange.last, strange.value) == (first, last, 97.0)
    assert session.channels["body_temp_c"].value == 36.5


@pytest.mark.parametrize(("field", "value"), [("dialysate_na_mmol_l", 1400.0), ("dialysate_k_mmol_l", 20.0)])
def test_a_setting_that_cannot_be_is_told_once_without_a_channel(field: str, value: float) -> None:
    watched = Watched()
    watched.send("08:00", type="session_started")
    watched.samples("08:00:30", "09:00", {field: value}, every_s=60)
    (told,) = watched.told
    assert f"{field} >" in told
    assert field not in watched.state.sessions["s1"].channels

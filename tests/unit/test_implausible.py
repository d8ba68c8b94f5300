"""Numbers that cannot be: left out when they are filed, whatever the order, and told once with both sides."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from models.events import Event, Telemetry
from models.state import PatientState
from streams.engine.factory import patient_partition
from streams.rules.catalogue import PATIENT_RULES, default_settings
from streams.rules.facts.implausible import OF_SESSIONS, SAMPLES, as_celsius
from streams.rules.inputs import channel
from tests.unit.timeline import moment, to_line


def watching(*fields: str) -> Any:
    """A partition in which `data_quality` has these fields kept of samples."""
    rules = tuple(
        replace(rule, inputs=(*rule.inputs, *map(channel, fields))) if rule.name == "uf_rate_high" else rule
        for rule in PATIENT_RULES
    )
    return patient_partition(default_settings(), timedelta(minutes=15), rules=rules)


def told(partition: Any, at: str, **fields: Any) -> list[str]:
    event = {"patient_id": "p1", "session_id": "s1", "machine_id": "m1", "at": moment(at).isoformat(), **fields}
    found = [one.alert for one in partition.advance(moment(at))]
    found += partition.take("p1", to_line(event).record, moment(at))[2]
    return [alert.summary for alert in found if alert.rule == "data_quality"]


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
    partition = watching(field)
    found = told(partition, "08:00", type="session_started")
    for minute in range(60):
        found += told(partition, f"08:{minute:02}:30", type="telemetry", blood_flow_ml_min=300, **{field: value})
    (summary,) = found
    assert shown in summary


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_what_is_noted_is_the_same_in_every_order(order: tuple[int, ...]) -> None:
    samples = [("08:01", 98.6), ("08:02", 99.5), ("08:03", 36.5), ("08:04", 97.0)]
    partition = watching("body_temp_c")
    told(partition, "08:00", type="session_started")
    for place in order:
        at, value = samples[place]
        event = {"patient_id": "p1", "session_id": "s1", "machine_id": "m1", "type": "telemetry"}
        event |= {"at": moment(at).isoformat(), "body_temp_c": value, "blood_flow_ml_min": 300}  # type: ignore[dict-item]
        partition.take("p1", to_line(event).record, moment("08:05"))
    state: PatientState = partition.states["p1"]
    strange = state.sessions["s1"].strange["body_temp_c"]
    first, last = (int(moment(at).timestamp()) for at in ("08:01", "08:04"))
    assert (strange.first, strange.last, strange.value) == (first, last, 97.0)
    assert state.sessions["s1"].channels["body_temp_c"].value == 36.5

"""The follow-up of much sodium: any order of arrival, and what an ended session still keeps."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from models.state import PatientState, StateCodec
from tests.unit.timeline import Unit, moment, stamp

#: An event: its type, its time and its fields.
Told = tuple[str, str, dict[str, Any]]
RULE = "high_sodium_follow_up"
FIELD = "dialysate_na_mmol_l"
END = "d8 09:00"


def story() -> list[Told]:
    """Events by type and time: much sodium at noon of the first treatment, a gain before the second, none later."""
    told: list[Told] = []
    for day, name, gain in ((1, "s1", 0.0), (3, "s2", 3.0), (5, "s3", 2.0), (8, "s4", 2.5)):
        started = {"session_id": name, "machine_id": "m1", "target_weight_kg": 70.0, "pre_systolic_mmhg": 130.0}
        told.append(("session_started", f"d{day} 08:00", started))
        told.append(("weight", f"d{day} 07:50", {"kg": 70.0 + gain, "moment": "pre"}))
        told.append(("session_ended", f"d{day} 12:00", {"session_id": name}))
        told.append(("weight", f"d{day} 12:10", {"kg": 70.0, "moment": "post"}))
    for minute in range(10, 60, 10):
        sample = {"session_id": "s1", "machine_id": "m1", FIELD: 142.0 if minute == 30 else 138.0}
        told.append(("telemetry", f"11:{minute}", sample))
    return sorted((one for one in told if moment(one[1]) <= moment(END)), key=lambda one: moment(one[1]))


def opened(events: Iterable[Told], *, late: bool = False) -> set[tuple[str, ...]]:
    """What is open of events, each in time, or those of the first day in its evening and all others on the last."""
    unit = Unit(watch=RULE)
    for number, (type_, at, fields) in enumerate(events):
        arrival = moment("13:00" if moment(at) < moment("d2 00:00") else END) + timedelta(seconds=number)
        unit.send(type_, at, received=stamp(arrival) if late else None, **fields)
    unit.clock("d8 09:10")
    return {alert for alert in unit.open if alert[0] == RULE}


def test_in_order_the_gain_is_open() -> None:
    assert opened(story()) == {(RULE, "p1/follow_up", "active", "low")}


@pytest.mark.parametrize("seed", range(40))
def test_any_order_of_arrival_gives_the_same(seed: int) -> None:
    """A day is long enough for the samples of a session whose sodium nothing told."""
    chance = random.Random(seed)
    days: tuple[list[Told], list[Told]] = ([], [])
    for one in story():
        days[moment(one[1]) >= moment("d2 00:00")].append(one)
    shuffled = [one for day in days for one in chance.sample(day, len(day))]
    assert opened(shuffled, late=True) == opened(story())


def patient(unit: Unit) -> PatientState:
    codec = StateCodec(PatientState)
    return codec.decode(codec.encode(unit.replay._patients.states["p1"]))


def after_a_session() -> Unit:
    unit = Unit(watch=RULE)
    unit.session(at="08:00", target_weight_kg=70.0, pre_systolic_mmhg=130.0)
    for minute in range(50):
        unit.telemetry(
            at=f"08:{minute + 1:02}",
            blood_flow_ml_min=300.0,
            uf_rate_ml_h=300.0,
            dialysate_temp_c=36.5,
            dialysate_na_mmol_l=142.0 if minute == 20 else 138.0,
        )
    unit.session_end(at="09:00", post_weight_kg=70.0)
    unit.clock("09:10")
    return unit


def test_an_ended_session_keeps_its_highest_sodium_and_no_channel() -> None:
    session = patient(after_a_session()).sessions["s1"]
    assert session.channels == {}
    assert [(peak.value, peak.at) for peak in session.settings[FIELD].peaks or ()] == [
        (142.0, int(moment("08:21").timestamp()))
    ]


#: An id that is used again: much sodium without a start, an end, a sample after it, and a start two days later.
AGAIN: list[Told] = [
    ("telemetry", "07:00", {"session_id": "s1", "machine_id": "m1", "blood_flow_ml_min": 0.0, FIELD: 148.0}),
    ("session_ended", "09:00", {"session_id": "s1", "post_weight_kg": 70.0}),
    ("telemetry", "09:33", {"session_id": "s1", "machine_id": "m1", "blood_flow_ml_min": 0.0, FIELD: 138.0}),
    ("session_started", "d3 17:03", {"session_id": "s1", "machine_id": "m1", "pre_systolic_mmhg": 170.0}),
]


@pytest.mark.parametrize("order", list(itertools.permutations(AGAIN)))
def test_an_id_that_is_used_again_tells_the_same_in_any_order(order: tuple[Told, ...]) -> None:
    unit = Unit(watch=RULE)
    for type_, at, fields in order:
        unit.send(type_, at, **fields)
    unit.clock("d5 08:00")
    assert {alert[:3] for alert in unit.open if alert[0] == RULE} == {(RULE, "p1/follow_up", "active")}


def test_a_merged_record_takes_the_remembered_sodium_along() -> None:
    unit = after_a_session()
    unit.send("patient_merged", "10:00", patient_id="p9", merged_id="p1")
    unit.session("s2", at="d3 08:00", patient_id="p9", pre_weight_kg=73.0, target_weight_kg=70.0)
    assert {alert for alert in unit.open if alert[0] == RULE} == {(RULE, "p9/follow_up", "active", "low")}

"""Samples that wait leave the same state and the same transitions as samples that are filed one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from models.parsing import Rejected, parse_patient_event
from models.state import PatientState, StateCodec
from models.state.channel import Bound, Channel
from streams.engine.change import SAMPLED, SAMPLED_AGAIN
from streams.engine.factory import patient_partition
from streams.engine.partition import Partition
from streams.engine.waits import NOTHING_WAITS
from streams.rules.catalogue import default_settings
from tests.events import event

START = datetime(2026, 11, 23, 6, tzinfo=UTC)
RETENTION = timedelta(minutes=15)
SECOND = timedelta(seconds=1)
Arrival = tuple[datetime, Any]


def partition(*, waits: bool) -> Partition[PatientState]:
    made = patient_partition(default_settings(), RETENTION)
    if not waits:
        made.waiting = NOTHING_WAITS
    return made


def parsed(type_: str, at: datetime, **fields: Any) -> Any:
    found = parse_patient_event(msgspec.json.encode(event(type_, "p1", at, **fields)))
    assert not isinstance(found, Rejected), found
    return found.record


def day(seed: int) -> Iterator[Arrival]:
    """A treatment with what machines do: noise around the bounds, gaps, pauses, late, repeated and partial samples."""
    chance = random.Random(seed)
    names = {"session_id": "s1", "machine_id": "m1"}
    yield START, parsed("session_started", START, pre_weight_kg=72.0, target_weight_kg=70.0, **names)
    yield START, parsed("weight", START, moment="pre", kg=72.0, session_id="s1")
    moment, level, sent = START, 600.0, None
    for number in range(700):
        moment += SECOND * chance.choice((0.3, 1, 1, 1, 5, 20, 20, 90))
        dice = chance.random()
        if dice < 0.03:
            level = chance.choice((500.0, 800.0, 1000.0))
        if dice > 0.99:
            moment += timedelta(minutes=chance.choice((9, 11, 40)))
        odd = chance.random() < 0.1
        at = moment + SECOND * (chance.choice((-200, -25, -25, 70, 400)) if odd else 0)
        if 0.9 < dice < 0.91:
            sample = parsed("lab_result", at, result_id=f"r{number}", analyte="magnesium", value=0.6, unit="mmol/L")
        elif sent is not None and 0.91 < dice < 0.93:
            sample = sent
        else:
            fields: dict[str, Any] = {
                "uf_rate_ml_h": level + chance.choice((0, 0, 0, 350, -350)),
                "blood_flow_ml_min": 0 if 0.93 < dice < 0.94 else 300,
                "systolic_mmhg": 100 + number % 40,
                "unit_id": "u1" if seed % 2 else None,
                "dialysate_mg_mmol_l": chance.choice((*[0.5] * 30, 0.3)) if number > 40 * (seed % 4) else None,
                "dialysate_na_mmol_l": 138.0 if seed % 5 == 0 and chance.random() < 0.1 else None,
                "dialysate_k_mmol_l": chance.choice((*[2.0] * 90, 1.0)) if seed % 3 or number % 4 else None,
                "setting_origin": chance.choice((*["ordered"] * 90, "user")) if seed % 2 else None,
            }
            left_out = chance.choice((None, *fields)) if odd else "systolic_mmhg" if number % 3 else None
            present = {name: value for name, value in fields.items() if value is not None and name != left_out}
            who = names | ({"machine_id": "m2"} if 0.94 < dice < 0.95 else {})
            sample = parsed("telemetry", at, **who, **present)
        sent = sample
        yield moment, sample
    if seed % 3 == 0:
        yield moment, parsed("session_ended", moment, **names)


def run(on: Partition[PatientState], arrivals: list[Arrival], seed: int) -> tuple[list[Any], int]:
    """Play a day; return the alerts, what is stored of the patient wherever all settled, and how many waited."""
    told: list[Any] = []
    waited, chance, encode = 0, random.Random(seed), StateCodec(PatientState).encode
    for at, record in arrivals:
        told += [msgspec.json.encode(one.alert) for one in on.advance(at)]
        _, change, alerts = on.take("p1", record, at)
        told += [msgspec.json.encode(alert) for alert in alerts]
        waited += change is SAMPLED_AGAIN
        if chance.random() < 0.05:
            on.waiting.settle_all()
            told.append(_plain(encode(on.states["p1"])))
        elif chance.random() < 0.05:
            on.waiting.settle("p1")
    told += [msgspec.json.encode(one.alert) for one in on.advance(arrivals[-1][0] + timedelta(days=1))]
    return [*told, _plain(encode(on.states["p1"]))], waited


@pytest.mark.parametrize("seed", range(120))
def test_samples_that_wait_are_filed_as_one_by_one(seed: int) -> None:
    arrivals = list(day(seed))
    expected, waited = run(partition(waits=False), arrivals, seed)
    assert waited == 0
    told, waited = run(partition(waits=True), arrivals, seed)
    assert told == expected
    assert waited > 20, "hardly a sample waited, so this shows nothing"


def test_the_days_above_raise_alerts() -> None:
    told = [run(partition(waits=True), list(day(seed)), seed)[0] for seed in range(20)]
    assert sum(any(isinstance(one, bytes) and b"uf_rate_high" in one for one in alerts) for alerts in told) > 10


def _plain(raw: bytes) -> Any:
    found = msgspec.json.decode(raw)
    found.pop("stored_as", None)
    return found


def test_a_sample_is_marked_to_be_stored_once_until_it_is_settled() -> None:
    on, changes = partition(waits=True), []
    names = {"session_id": "s1", "machine_id": "m1", "blood_flow_ml_min": 300, "uf_rate_ml_h": 500}
    on.take("p1", parsed("session_started", START, session_id="s1", machine_id="m1"), START)
    for number in range(1, 12):
        at = START + number * SECOND
        changes.append(on.take("p1", parsed("telemetry", at, **names), at)[1])
        if number == 8:
            on.waiting.settle_all()
    marks = [change is SAMPLED for change in changes]
    # Two are filed at once, then one waits for the others.
    assert marks == [True, True, True, False, False, False, False, False, True, False, False]
    assert all(change is SAMPLED or change is SAMPLED_AGAIN for change in changes)


@pytest.mark.parametrize("seed", range(200))
def test_a_channel_takes_many_values_as_one_by_one(seed: int) -> None:
    chance = random.Random(seed)
    single, together = Channel(), Channel()
    for made in (single, together):
        made.watch({"upper": Bound(10.0, above=True, waits=(300, 300)), "lower": Bound(9.0, above=False)})
    at = 1_700_000_000
    while at < 1_700_002_000:
        at += chance.choice((1, 1, 20, 400))
        value = chance.choice((8.0, 9.5, 9.5, 9.5, 11.0))
        names = single.add(at, value)
        assert together.add(at, value) == names
        for made in (single, together):
            for name in names:
                made.bounds[name].due = made.bounds[name].look_at
        calm = together.calm(at)
        seconds: list[int] = []
        values: list[float] = []
        for _ in range(chance.randrange(0, 20)):
            later, value = at + chance.choice((0, 1, 1, 1, 30)), chance.choice((8.0, 9.5, 9.5, 11.0))
            if later < calm.until and calm.low <= value <= calm.high and (seconds or later > at):
                at = later
                seconds.append(at)
                values.append(value)
                assert single.add(at, value) == []
        together.add_all(seconds, values)
        assert together == single

"""`intradialytic_hypotension` beside what its readings say, in any order of arrival, twice and over restarts."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Final

import pytest

from streams.rules.hypotension import NAME
from tests.unit.timeline import Unit, moment, stamp

SECOND: Final = timedelta(seconds=1)
KEEP: Final = timedelta(minutes=10)
START: Final = moment("08:01")
#: A reading: when, how high, when it arrives.
Reading = tuple[datetime, float, datetime]


def course(seed: int) -> list[Reading]:
    """Two hours of a pressure that swings around both bounds: a sample every five seconds, or every few minutes."""
    chance = random.Random(seed)
    steps = ((5,), (60, 300), (420, 900, 1300), (5, 5, 5, 400))[seed % 4]
    at, found = START, []
    while at < START + timedelta(hours=2):
        value = chance.choice((120.0, 120.0, 95.0, 85.0, 78.0, 0.0 if seed % 3 == 0 else 120.0))
        for _ in range(chance.choice((1, 3, 40, 120) if 5 in steps else (1, 1, 2, 3))):
            found.append((at, value, at))
            at += chance.choice(steps) * SECOND
    return found


def is_low(readings: list[Reading], bound: float, now: datetime) -> bool:
    """Whether a low pressure counts at a moment, said plainly; readings of 0 are none."""
    real = [(at, value) for at, value, _ in readings if value > 0 and at <= now]
    low = [at for at, value in real if value < bound]
    above = [at for at, _ in real if low and at > low[-1]]
    return bool(low) and (len(above) < 2 or now < above[0] + KEEP)


def priority(readings: list[Reading], now: datetime) -> set[str]:
    if is_low(readings, 80, now):
        return {"high"}
    return {"medium"} if is_low(readings, 90, now) else set()


def run(readings: list[Reading], until: datetime, restarts: frozenset[int] = frozenset()) -> Unit:
    unit = Unit(watch=NAME)
    unit.session(at="08:00")
    for number, (at, value, received) in enumerate(readings):
        if number in restarts:
            unit.restart()
        unit.telemetry(at=stamp(at), received=stamp(received), systolic_mmhg=value, blood_flow_ml_min=300.0)
    unit.clock(until)
    return unit


def opened(unit: Unit) -> set[str]:
    return {priority for rule, _, _, priority in unit.open if rule == NAME}


@pytest.mark.parametrize("seed", [seed for seed in range(40) if seed % 3])
def test_it_says_what_the_readings_say_in_any_order(seed: int) -> None:
    chance = random.Random(seed)
    readings = course(seed)
    for _ in range(4):
        now = START + timedelta(seconds=chance.randrange(60, 7200))
        some = [reading for reading in readings if reading[0] <= now - 31 * SECOND]
        expected = priority(some, now)
        assert opened(run(some, now)) == expected
        late = [(at, value, at + chance.uniform(0, 30) * SECOND) for at, value, _ in some]
        late.sort(key=lambda reading: reading[2])
        assert opened(run(late, now)) == expected
        assert opened(run([reading for reading in late for _ in (0, 1)], now)) == expected


@pytest.mark.parametrize("seed", range(12))
def test_a_restart_changes_nothing_and_it_is_no_stream_of_messages(seed: int) -> None:
    readings = course(seed)
    end = readings[-1][0] + timedelta(minutes=1)
    whole = run(readings, end).told
    cuts = frozenset(random.Random(seed).sample(range(len(readings)), 4))
    assert run(readings, end, cuts).told == whole
    said = [alert.transition for alert in whole if alert.rule == NAME]
    assert set(said) <= {"raised", "escalated", "deescalated", "resolved"}, "readings that go on are no news"
    assert len(said) < 40


@pytest.mark.parametrize("late", [0, 90, 600, 660])
def test_a_late_low_reading_is_not_lost(late: int) -> None:
    """Also where a newer one lies above the bound already, and where nobody waits for one."""
    unit = Unit(watch=NAME)
    unit.session(at="08:00")
    for second in range(0, 1200, 10):
        unit.telemetry(at=stamp(START + second * SECOND), systolic_mmhg=120.0, blood_flow_ml_min=300.0)
    low = START + 1195 * SECOND - late * SECOND
    unit.telemetry(at=stamp(low), received=stamp(START + 1196 * SECOND), systolic_mmhg=75.0, blood_flow_ml_min=300.0)
    assert opened(unit) == ({"high"} if late < 660 else set())


def test_a_pressure_within_the_bounds_wakes_nobody() -> None:
    unit = Unit()
    unit.session(at="08:00", pre_systolic_mmhg=150.0)
    unit.telemetry(at="08:01", systolic_mmhg=120.0, blood_flow_ml_min=300.0)
    state = unit.replay._patients.states["p1"]
    looks = dict(state.looks)
    bounds = state.sessions["s1"].channels["systolic_mmhg"].bounds
    assert set(bounds) == {f"{NAME}:{name}" for name in ("low", "very_low", "unreal")}
    for second in range(1, 600):
        channel = state.sessions["s1"].channels["systolic_mmhg"]
        assert channel.add(int(moment("08:01").timestamp()) + second, 90.0 + second % 60) == []
    assert state.looks == looks

"""`blood_volume_falling` beside what its samples say, in any order, twice and over restarts; and its cost."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from streams.rules import blood_volume
from streams.rules.blood_volume import FIELD
from streams.rules.catalogue import PATIENT_RULES
from tests.unit.timeline import Unit, moment, stamp

NAME: Final = "blood_volume_falling"
SECOND: Final = timedelta(seconds=1)
START: Final = moment("08:00")
#: A sample: when, the volume in %, when it arrives.
Sample = tuple[datetime, float, datetime]


def course(seed: int) -> list[Sample]:
    """Two hours of a volume that falls at another pace every few minutes, and rises now and then, with noise."""
    chance = random.Random(seed)
    step = (1, 5, 20, 240)[seed % 4]
    noise = 0.15 if seed % 3 else 0.0
    at, value, found = START + SECOND, 100.0, []
    while at < START + timedelta(hours=2):
        by_hour = chance.choice((0.0, 2.4, 2.4, 6.0, 7.0, 9.0, 14.0, -5.0))
        for _ in range(round(60 * chance.choice((3, 8, 15, 25)) / step)):
            value -= by_hour * step / 3600
            found.append((at, round(value + chance.uniform(-noise, noise), 1 if seed % 2 else 3), at))
            at += step * SECOND
    return found


def is_steep(samples: list[Sample], now: datetime) -> bool:
    """Whether a steep fall counts at a moment, said plainly: by the middles of minutes 15 min apart."""
    by_minute: dict[int, list[float]] = defaultdict(list)
    for at, value, _ in samples:
        by_minute[int(at.timestamp()) // 60].append(value)
    middles = {number: round((min(of) + max(of)) / 2, 2) for number, of in by_minute.items()}
    newest = int(now.timestamp()) // 60 - 2
    for number in range(newest - 9, newest + 1):
        before = [one for one in middles if number - 25 <= one <= number - 15]
        if number in middles and before and samples:
            begun = max(before)
            if middles[begun] - middles[number] > 6.5 * (number - begun) / 60 + 0.01 + 1e-9:
                return True
    return False


def run(samples: list[Sample], until: datetime, restarts: frozenset[int] = frozenset()) -> Unit:
    unit = Unit(watch=NAME)
    unit.session(at="08:00")
    for number, (at, value, received) in enumerate(samples):
        if number in restarts:
            unit.restart()
        values: dict[str, Any] = {FIELD: value}
        unit.telemetry(at=stamp(at), received=stamp(received), blood_flow_ml_min=300.0, **values)
    unit.clock(until)
    return unit


def is_open(unit: Unit) -> bool:
    return any(rule == NAME for rule, *_ in unit.open)


@pytest.mark.parametrize("seed", range(16))
def test_it_says_what_the_samples_say_in_any_order(seed: int) -> None:
    chance = random.Random(seed)
    samples = course(seed)
    for _ in range(3):
        now = START + timedelta(seconds=chance.randrange(1200, 7200))
        some = [sample for sample in samples if sample[0] <= now - 31 * SECOND]
        expected = is_steep(some, now)
        assert is_open(run(some, now)) is expected
        late = [(at, value, at + chance.uniform(0, 30) * SECOND) for at, value, _ in some]
        late.sort(key=lambda sample: sample[2])
        assert is_open(run(late, now)) is expected
        assert is_open(run([sample for sample in late for _ in (0, 1)], now)) is expected


@pytest.mark.parametrize("seed", range(8))
def test_a_restart_changes_nothing_and_disorder_no_message(seed: int) -> None:
    chance = random.Random(seed)
    samples = course(4 * seed + 1)
    end = samples[-1][0] + timedelta(minutes=2)
    whole = run(samples, end).watched
    cuts = frozenset(chance.sample(range(len(samples)), 4))
    assert run(samples, end, cuts).watched == whole
    late = [(at, value, at + chance.uniform(0, 30) * SECOND) for at, value, _ in samples]
    late.sort(key=lambda sample: sample[2])
    assert [(one.at, one.transition, one.onset_at) for one in run(late, end).watched] == [
        (one.at, one.transition, one.onset_at) for one in whole
    ]
    assert {one.transition for one in whole} <= {"raised", "resolved"}, "a fall that goes on is no news"


def test_the_days_above_raise_alerts_and_end_them() -> None:
    told = [str(alert.transition) for seed in range(4) for alert in run(course(4 * seed), moment("10:30")).watched]
    assert told.count("raised") > 3
    assert told.count("raised") == told.count("resolved")


@pytest.mark.parametrize(("by_hour", "most"), [(0.0, 4), (2.4, 12), (9.0, 130)])
def test_it_is_asked_seldom_and_at_most_once_a_minute(
    by_hour: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = evaluations(monkeypatch)
    samples = [(at := START + n * 5 * SECOND, 100 - by_hour * n * 5 / 3600 + n % 3 * 0.1, at) for n in range(1, 1440)]
    run(samples, START + timedelta(hours=2))
    assert len(asked) <= most


def test_nobody_asks_where_the_machine_tells_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = evaluations(monkeypatch)
    unit = Unit()
    unit.session(at="08:00")
    for second in range(0, 3600, 5):
        unit.telemetry(at=stamp(START + second * SECOND), blood_flow_ml_min=300.0, uf_rate_ml_h=500.0)
    assert len(asked) <= 2
    channel = unit.replay._patients.states["p1"].sessions["s1"].channels[FIELD]
    assert not channel.minutes


def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The moments at which the rule is asked, from now on."""
    asked: list[datetime] = []
    (rule,) = (rule for rule in PATIENT_RULES if rule.name == NAME)

    def find(view: Any) -> Any:
        asked.append(view.now)
        return blood_volume.find(view)

    monkeypatch.setitem(rule.__dict__, "find", find)
    return asked

"""A setting beside what its samples say: its runs, and who said so, in any order of arrival."""

from __future__ import annotations

import random
from itertools import groupby

import msgspec
import pytest

from models.state.machine_setting import MOST_PEAKS, MOST_RUNS, PEAK_S, Origin, Setting

START = 1_700_000_000
Sample = tuple[int, float, Origin | None]


def filed(samples: list[Sample]) -> Setting:
    made = Setting()
    for sample in samples:
        made.add(*sample)
    return made


def runs_of(samples: list[Sample]) -> list[tuple[float, int, int]]:
    """The runs, said plainly."""
    stretches = [list(run) for _, run in groupby(sorted(samples), key=lambda sample: sample[1])]
    return [(run[0][1], run[0][0], run[-1][0]) for run in stretches][-MOST_RUNS:]


def walk(seed: int, steps: tuple[int, ...] = (1, 1, 2, 20)) -> list[Sample]:
    """A setting that is changed now and then, by somebody or nobody knows whom; one sample a second at most."""
    chance = random.Random(seed)
    at, value, samples = START, 138.0, []
    origin: Origin | None = chance.choice((None, "ordered", "user"))
    for _ in range(chance.randrange(1, 120)):
        at += chance.choice(steps)
        if chance.random() < 0.05:
            value, origin = chance.choice((138.0, 140.0, 145.0, 148.0)), chance.choice((None, "ordered", "user"))
        samples.append((at, value, origin))
    return samples


@pytest.mark.parametrize("seed", range(200))
def test_in_order_its_runs_are_exact(seed: int) -> None:
    samples = walk(seed)
    assert [(run.value, run.first, run.last) for run in filed(samples).runs] == runs_of(samples)


@pytest.mark.parametrize("seed", range(200))
def test_shuffled_and_twice_it_has_the_same_values_and_the_same_words(seed: int) -> None:
    """Only the second in which a run begins may differ, by what lies between two samples."""
    samples = walk(seed)
    expected = filed(samples)
    chance = random.Random(seed)
    late = sorted(samples * 2, key=lambda sample: sample[0] + chance.uniform(0, 30))
    made = filed(late)
    assert (made.ordered, made.user, made.is_of_user) == (expected.ordered, expected.user, expected.is_of_user)
    assert [run.value for run in made.runs][-3:] == [run.value for run in expected.runs][-3:]
    newest, wanted = made.runs[-1], expected.runs[-1]
    assert (newest.value, newest.last) == (wanted.value, wanted.last)
    assert abs(newest.first - wanted.first) <= 30
    assert made.origin_of(newest) == expected.origin_of(wanted)


@pytest.mark.parametrize("seed", range(100))
def test_a_repeat_changes_nothing_and_says_so(seed: int) -> None:
    samples = walk(seed)
    made = filed(samples)
    before = msgspec.json.encode(made)
    oldest = made.runs[0].first
    for sample in samples:
        if sample[0] >= oldest:
            assert not made.add(*sample)
    assert msgspec.json.encode(made) == before


@pytest.mark.parametrize("seed", range(100))
def test_it_tells_beforehand_which_sample_says_nothing_new(seed: int) -> None:
    made = Setting()
    for at, value, origin in walk(seed):
        expected = bool(made.runs) and made.repeats(at, value, origin)
        assert made.add(at, value, origin) is not expected


def test_stored_and_read_it_is_the_same() -> None:
    made = filed(walk(3))
    assert msgspec.json.decode(msgspec.json.encode(made), type=Setting) == made


def test_the_greatest_value_of_one_second_is_the_newest() -> None:
    samples: list[Sample] = [(START, 1.0, None), (START, 2.0, None)]
    for arrived in (samples, samples[::-1]):
        assert [run.value for run in filed(arrived).runs] == [1.0, 2.0]


def test_a_late_sample_of_another_value_cuts_a_run_in_two() -> None:
    made = filed([(START, 2.0, "ordered"), (START + 60, 2.0, "ordered")])
    assert made.add(START + 30, 1.0, "user")
    assert [(run.value, run.first - START, run.last - START) for run in made.runs] == [
        (2.0, 0, 30),
        (1.0, 30, 30),
        (2.0, 30, 60),
    ]
    assert not made.is_of_user


@pytest.mark.parametrize("seed", range(100))
def test_its_highest_values_are_those_of_the_samples_in_any_order(seed: int) -> None:
    chance = random.Random(seed)
    samples = [
        (START + PEAK_S * chance.randrange(30) + chance.choice((0, 5, 90, PEAK_S - 1)), chance.choice((138.0, 148.0)))
        for _ in range(chance.choice((5, 80)))
    ]
    highest: dict[int, tuple[float, int]] = {}
    for at, value in samples:
        highest[at // PEAK_S] = max(highest.get(at // PEAK_S, (0.0, 0)), (value, -at))
    made = Setting(peaks=[])
    for at, value in chance.sample(samples, len(samples)):
        made.add(at, value, None)
    expected = [(value, -at) for _, (value, at) in sorted(highest.items())][-MOST_PEAKS:]
    assert [(peak.value, peak.at) for peak in made.peaks or ()] == expected


def test_the_first_sample_of_a_quarter_of_a_day_is_news() -> None:
    made, end = Setting(peaks=[]), (START // PEAK_S + 1) * PEAK_S
    assert made.add(START, 138.0, None)
    assert made.repeats(end - 1, 138.0, None)
    assert not made.add(end - 1, 138.0, None)
    assert not made.repeats(end, 138.0, None)
    assert made.add(end, 138.0, None)

"""What every sustained rule keeps to, made from its bands: long enough or not, gaps, pauses, disorder, restarts."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from models.state.channel import LASTS_S
from streams.rules.catalogue import ALL_RULES, default_settings
from streams.rules.shapes.sides import SustainedBand
from streams.rules.shapes.sustained import Policy, SustainedLimits, SustainedRule, SustainedShape
from tests.rules.table import Case, Runner, moment, stamp, sustained

RULES = [rule for rule in ALL_RULES if isinstance(rule, SustainedRule)]
BANDS = [(rule, band) for rule in RULES if rule.shape for band in rule.shape.bands]
CONTEXT = sustained()
BEGAN = moment("08:01")
SECOND = timedelta(seconds=1)
#: Samples as (time, value), each with its arrival.
Samples = list[tuple[Any, float, Any]]


def shape(rule: SustainedRule) -> SustainedShape:
    assert rule.shape is not None
    return rule.shape


def times(rule: SustainedRule, band: SustainedBand) -> tuple[timedelta, timedelta]:
    limits = default_settings().limits(rule.name, SustainedLimits)
    return timedelta(minutes=getattr(limits, band.held_name)), timedelta(minutes=limits.keep_minutes)


def values(rule: SustainedRule, band: SustainedBand) -> tuple[float, float]:
    """The last value inside a band, on its bound unless the bound itself lies beyond, and the first one beyond it."""
    context, is_above = CONTEXT[rule.name], shape(rule).is_above(band)
    bound = band.bound * context.factor
    if band.follows:
        assert context.follows is not None
        bound = context.follows + (bound if is_above else -bound)
    step = bound * (0.001 if is_above else -0.001)
    return (bound - step, bound) if band.closed else (bound, bound + step)


def also(rule: SustainedRule, *bands: SustainedBand) -> dict[str, Any]:
    """What samples tell beside the channel: the setting, for bands that lie about it."""
    context, field = CONTEXT[rule.name], shape(rule).follows
    return {field: context.follows} if field and context.follows and any(band.follows for band in bands) else {}


def at_rest(rule: SustainedRule) -> float:
    """A value inside every band."""
    if (rest := CONTEXT[rule.name].rest) is not None:
        return rest
    return values(rule, shape(rule).bands[0])[0] * (0.8 if shape(rule).above else 1.2)


def run(rule: SustainedRule, samples: Samples, until: Any, *, restart_at: int | None = None, **more: Any) -> Runner:
    runner = Runner(Case(rule.name, "derived", CONTEXT[rule.name].setup, ())).run()
    for number, (at, value, received) in enumerate(samples):
        if number == restart_at:
            runner.unit.restart()
        fields = {shape(rule).field: value, "blood_flow_ml_min": 300.0, **more}
        runner.unit.telemetry(at=stamp(at), received=stamp(received), **fields)
    runner.unit.clock(until)
    return runner


def stretch(begin: Any, end: Any, value: float, every: timedelta = 10 * SECOND) -> Samples:
    """Samples from one time up to, and without, another."""
    samples: Samples = []
    while begin < end:
        samples.append((begin, value, begin))
        begin += every
    return samples


def priorities(runner: Runner) -> list[str]:
    return [f"{alert.transition} {alert.priority}" for alert in runner.unit.watched]


def opened(runner: Runner) -> set[tuple[str, str, str, str]]:
    return {alert for alert in runner.unit.open if alert[0] == runner.case.rule}


def ids(item: object) -> str:
    return str(getattr(item, "name", item))


def test_every_sustained_rule_has_a_context() -> None:
    assert CONTEXT.keys() == {rule.name for rule in RULES}
    assert RULES


@pytest.mark.parametrize(("rule", "band"), BANDS, ids=ids)
def test_exactly_long_enough_counts_at_that_second(rule: SustainedRule, band: SustainedBand) -> None:
    held_for, _ = times(rule, band)
    samples = stretch(BEGAN, BEGAN + held_for + 20 * SECOND, values(rule, band)[1])
    found = run(rule, samples, BEGAN + held_for + 20 * SECOND, **also(rule, band)).unit.watched
    assert found[-1].priority is band.priority
    assert found[-1].at == BEGAN + held_for


@pytest.mark.parametrize(("rule", "band"), BANDS, ids=ids)
def test_one_sample_short_counts_for_nothing(rule: SustainedRule, band: SustainedBand) -> None:
    held_for, _ = times(rule, band)
    inside, beyond = values(rule, band)
    samples = stretch(BEGAN, BEGAN + held_for - 5 * SECOND, beyond)
    samples += stretch(BEGAN + held_for - SECOND, BEGAN + 2 * held_for, inside)
    runner = run(rule, samples, BEGAN + 3 * held_for, **also(rule, band))
    assert all(alert.priority.rank < band.priority.rank for alert in runner.unit.watched)


@pytest.mark.parametrize(("rule", "band"), [(rule, band) for rule, band in BANDS if times(rule, band)[0]], ids=ids)
@pytest.mark.parametrize("beyond_again", [False, True])
def test_a_late_sample_shows_that_it_never_counted(
    rule: SustainedRule, band: SustainedBand, *, beyond_again: bool
) -> None:
    """The sample inside was taken a second too soon and arrives 20 s later: nobody waits until the alert fades out."""
    held_for, _ = times(rule, band)
    inside, beyond = at_rest(rule), values(rule, band)[1]
    counts, late = BEGAN + held_for, BEGAN + held_for + 20 * SECOND
    samples = stretch(BEGAN, counts - SECOND, beyond)
    if beyond_again:
        samples += stretch(counts + SECOND, late, beyond)
    else:
        samples += stretch(counts + SECOND, late, inside)
    assert opened(run(rule, samples, late - SECOND, **also(rule, band)))
    samples.append((counts - SECOND, inside, late))
    assert not opened(run(rule, samples, late, **also(rule, band)))


@pytest.mark.parametrize(("rule", "band"), BANDS, ids=ids)
def test_on_the_bound_is_inside(rule: SustainedRule, band: SustainedBand) -> None:
    held_for, _ = times(rule, band)
    samples = stretch(BEGAN, BEGAN + 3 * held_for, values(rule, band)[0])
    runner = run(rule, samples, BEGAN + 3 * held_for, **also(rule, band))
    assert all(alert.priority.rank < band.priority.rank for alert in runner.unit.watched)


@pytest.mark.parametrize(("rule", "band"), BANDS, ids=ids)
def test_a_gap_ends_or_holds_it_as_the_rule_says(rule: SustainedRule, band: SustainedBand) -> None:
    held_for, keep_for = times(rule, band)
    last = BEGAN + 2 * held_for
    samples = stretch(BEGAN, last + SECOND, values(rule, band)[1])
    over = last + timedelta(seconds=LASTS_S) + keep_for
    assert opened(run(rule, samples, over - SECOND, **also(rule, band)))
    after = opened(run(rule, samples, over + SECOND, **also(rule, band)))
    assert bool(after) is (shape(rule).gap is Policy.HOLDS)


@pytest.mark.parametrize(("rule", "band"), BANDS, ids=ids)
def test_a_pause_ends_or_holds_it_as_the_rule_says(rule: SustainedRule, band: SustainedBand) -> None:
    held_for, keep_for = times(rule, band)
    stands = BEGAN + 2 * held_for
    beyond = values(rule, band)[1]
    runner = run(rule, stretch(BEGAN, stands, beyond), stands - SECOND, **also(rule, band))
    end = stands + keep_for + 20 * SECOND
    for at, value, received in stretch(stands, end, beyond):
        fields: dict[str, Any] = {shape(rule).field: value, "blood_flow_ml_min": 0.0, **also(rule, band)}
        runner.unit.telemetry(at=stamp(at), received=stamp(received), **fields)
    runner.unit.clock(end)
    assert bool(opened(runner)) is (shape(rule).paused is Policy.HOLDS)


def swinging(rule: SustainedRule, seed: int) -> Samples:
    """An hour in which the channel goes through all its bands, with a sample every five seconds."""
    chance = random.Random(seed)
    levels = [at_rest(rule), *(values(rule, band)[1] for band in shape(rule).bands)]
    samples: Samples = []
    at = BEGAN
    while at < BEGAN + timedelta(hours=1):
        end = at + timedelta(minutes=chance.choice((0.5, 2, 4, 7, 12)))
        samples += stretch(at, end, chance.choice(levels), 5 * SECOND)
        at = samples[-1][0] + 5 * SECOND
    return samples


@pytest.mark.parametrize("rule", RULES, ids=ids)
@pytest.mark.parametrize("seed", range(12))
def test_disorder_repeats_and_restarts_change_nothing_that_is_open(rule: SustainedRule, seed: int) -> None:
    chance = random.Random(seed)
    samples = swinging(rule, seed)
    end = samples[-1][0] + timedelta(minutes=2)
    more = also(rule, *shape(rule).bands)
    whole = run(rule, samples, end, **more)
    late = sorted(
        ((at, value, at + chance.uniform(0, 30) * SECOND) for at, value, _ in samples), key=lambda sample: sample[2]
    )
    assert opened(run(rule, late, end, **more)) == opened(whole)
    twice = run(rule, [sample for sample in samples for _ in (0, 1)], end, **more)
    assert priorities(twice) == priorities(whole)
    for cut in chance.sample(range(len(samples)), 5):
        assert priorities(run(rule, samples, end, restart_at=cut, **more)) == priorities(whole)
    assert len(whole.unit.watched) < len(samples) / 20, "an alert, not a stream of messages"

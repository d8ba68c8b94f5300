"""A channel beside what its samples say: since when it lies on which side of a bound, in any order of arrival."""

from __future__ import annotations

import random

import msgspec
import pytest

from models.state.channel import KEPT_MINUTES, LASTS_S, NEVER_S, OLDER_MINUTES, Bound, Channel
from models.state.packed_channel import Packed, Times, pack, unpack

START = 1_700_000_000
Sample = tuple[int, float]
#: (bound, above) of the two bounds that every channel here has.
UPPER, LOWER = (10.0, True), (9.0, False)


def channel(samples: list[Sample]) -> Channel:
    made = Channel()
    made.watch({"upper": Bound(UPPER[0], above=UPPER[1]), "lower": Bound(LOWER[0], above=LOWER[1])})
    for at, value in samples:
        made.add(at, value)
    return made


def side(samples: list[Sample], value: float, *, above: bool) -> tuple[bool, int]:
    """Whether the newest sample lies beyond a bound, and the first of those in a row on its side, said plainly."""
    since, newest, is_out = NEVER_S, NEVER_S, False
    for at, found in sorted(samples):
        out = found > value if above else found < value
        if since == NEVER_S or out != is_out or at - newest > LASTS_S:
            since, is_out = at, out
        newest = at
    return is_out, since


def walk(seed: int) -> list[Sample]:
    """A value that stays for a while and steps around the bounds; at most one sample a second."""
    chance = random.Random(seed)
    steps = ((1, 1, 1, 2), (1, 3, 20), (1, 60, 500), (10, 400, 700))[seed % 4]
    at, value, samples = START + chance.randrange(60), 10.0, []
    for _ in range(chance.randrange(1, 150)):
        at += chance.choice(steps)
        if chance.random() < 0.1:
            value = float(chance.choice((8, 9, 10, 11, 12)))
        samples.append((at, value))
    return samples


def shuffled(samples: list[Sample], seed: int, late_s: float = 30.0) -> list[Sample]:
    chance = random.Random(seed)
    return sorted(samples, key=lambda sample: sample[0] + chance.uniform(0, late_s))


def judged(made: Channel) -> tuple[tuple[bool, int], tuple[bool, int]]:
    upper, lower = made.bounds["upper"], made.bounds["lower"]
    return (upper.is_out, upper.since), (lower.is_out, lower.since)


@pytest.mark.parametrize("seed", range(400))
def test_in_order_shuffled_and_twice_it_says_what_the_samples_say(seed: int) -> None:
    samples = walk(seed)
    expected = side(samples, UPPER[0], above=True), side(samples, LOWER[0], above=False)
    late = shuffled(samples, seed)
    assert judged(channel(samples)) == expected
    assert judged(channel(late)) == expected
    assert judged(channel([sample for sample in late for _ in (0, 1)])) == expected


@pytest.mark.parametrize("seed", range(200))
def test_in_any_order_it_knows_whether_a_sample_ever_lay_beyond(seed: int) -> None:
    samples = walk(seed)
    values = [value for _, value in samples]
    for made in (channel(samples), channel(shuffled(samples, seed, 3000.0))):
        assert made.bounds["upper"].ever is (max(values) > UPPER[0])
        assert made.bounds["lower"].ever is (min(values) < LOWER[0])


@pytest.mark.parametrize("seed", range(100))
def test_stored_between_any_two_samples_it_is_the_same(seed: int) -> None:
    samples = shuffled(walk(seed), seed)
    decoder = msgspec.json.Decoder(Channel)
    made = channel([])
    for at, value in samples:
        made = decoder.decode(msgspec.json.encode(made))
        made.add(at, value)
    assert judged(made) == judged(channel(samples))


@pytest.mark.parametrize("seed", range(100))
def test_a_later_sample_than_is_known_exactly_moves_it_by_a_minute_at_most(seed: int) -> None:
    samples = [sample for sample in walk(4 * seed) if sample[0] < START + 300]
    if not samples:
        return
    late = shuffled(samples, seed, 300.0)
    for (is_out, since), (wanted_out, wanted) in zip(judged(channel(late)), judged(channel(samples)), strict=True):
        assert is_out == wanted_out
        assert 0 <= since - wanted <= 60 or since == wanted


def test_a_bound_that_comes_later_is_judged_by_the_minutes() -> None:
    made = Channel()
    for second in range(600):
        made.add(START + second, 8.0 if second < 200 else 11.0)
    made.watch({"upper": Bound(10.0, above=True)})
    found = made.bounds["upper"]
    assert found.is_out
    assert 0 <= found.since - (START + 200) <= 60
    assert found.crossed == 11.0
    made.watch({"upper": Bound(12.0, above=True)})
    assert not made.bounds["upper"].is_out
    made.watch({})
    assert made.bounds == {}


def test_a_bound_that_comes_later_knows_what_the_minutes_know() -> None:
    made = Channel()
    for second in range(600):
        made.add(START + second, 11.0 if second == 200 else 8.0)
    made.watch({"10": Bound(10.0, above=True), "12": Bound(12.0, above=True), "9": Bound(9.0, above=False)})
    assert {name: bound.ever for name, bound in made.bounds.items()} == {"10": True, "12": False, "9": True}


def test_noise_turns_a_bound_but_asks_for_one_look_in_its_waiting_time() -> None:
    made = Channel()
    made.watch({"upper": Bound(10.0, above=True, waits=(300, 300))})
    asked = []
    for second in range(300):
        for name in made.add(START + second, 9.0 if second % 2 else 11.0):
            asked.append(START + second)
            made.bounds[name].due = made.bounds[name].look_at
    assert asked == [START]


@pytest.mark.parametrize("seed", range(200))
def test_since_when_it_stands_in_any_order(seed: int) -> None:
    """The newest sample of another value; while all have one value, the first sample."""
    samples = walk(seed)
    (_, newest), others = samples[-1], [at for at, value in samples if value != samples[-1][1]]
    since = max(others, default=samples[0][0])
    assert channel(samples).stands_since == since
    assert channel(shuffled(samples, seed, 900.0)).stands_since == since
    assert channel([*samples, *samples]).stands_since == since
    assert channel(samples).value == newest


def test_a_channel_without_a_sample_stands_since_never() -> None:
    assert Channel().stands_since == NEVER_S
    made = Channel()
    made.add(START, 0.0)
    assert made.stands_since == START


def test_of_two_samples_of_one_second_the_greater_counts_and_it_does_not_stand() -> None:
    for values in ((8.0, 9.0), (9.0, 8.0)):
        made = channel([(START, 9.0), *((START + 5, value) for value in values)])
        assert (made.value, made.stands_since) == (9.0, START + 5)


@pytest.mark.parametrize("values", [(9.5, 9.5, 9.5), (9.0, 9.5, 9.5), (9.5, 9.5, 9.0), (0.0,)])
def test_it_comes_out_of_its_packed_form_as_it_was(values: tuple[float, ...]) -> None:
    made = channel([(START + 50 * place, value) for place, value in enumerate(values)])
    times, packed = pack([("a", made)])
    assert unpack(times, packed, {"a": channel([])}) == {"a": made}


def test_it_stays_small() -> None:
    made = Channel()
    made.watch({f"uf_rate_high:{name}": Bound(700.0, above=True, waits=(300, 300)) for name in ("advisory", "warning")})
    for second in range(3 * 3600):
        made.add(START + second, 800.123 + second % 7)
    assert len(made.minutes) == KEPT_MINUTES
    assert len(msgspec.json.encode(made)) < 700


@pytest.mark.parametrize("seed", range(100))
def test_packed_and_read_again_it_is_the_same(seed: int) -> None:
    samples = shuffled(walk(seed), seed)
    decode = msgspec.json.Decoder(tuple[list[Times], dict[str, Packed]]).decode
    made = channel(samples)
    if seed % 2:
        made.older = []
        for at, value in samples:
            made.add(at, value)
    made.bounds = {f"a_rule:{name}": bound for name, bound in made.bounds.items()}
    for bound in made.bounds.values():
        bound.due = made.at + seed % 3 if seed % 5 else NEVER_S
    times, packed = decode(msgspec.json.encode(pack([("rule", made), ("same", made)])))
    known = channel(samples[: len(samples) // 3])
    known.bounds = {f"a_rule:{name}": bound for name, bound in known.bounds.items()}
    again = unpack(times, packed, {"rule": known, "same": known})
    assert again == {"rule": made, "same": made}


def test_what_is_packed_belongs_to_a_channel_with_as_many_bounds() -> None:
    times, packed = pack([("a", channel([(START, 11.0)]))])
    assert unpack(times, packed, {"a": Channel()}) is None
    assert unpack(times, packed, {}) is None


def test_minutes_before_the_envelope_are_kept_where_a_rule_asks_for_them() -> None:
    made = Channel(older=[])
    for second in range(0, 3600, 5):
        made.add(START + second, 100.0 - second / 600)
    assert made.older is not None
    assert len(made.older) == OLDER_MINUTES
    numbers = [one.number for one in made.older] + [one.number for one in made.minutes]
    assert numbers == list(range(numbers[0], numbers[0] + OLDER_MINUTES + KEPT_MINUTES))
    before = list(made.older)
    made.add(START + 1800, 50.0)
    assert made.older == before, "too late for a slope"


def test_a_late_sample_beyond_a_bound_wakes_who_waits_for_none() -> None:
    made = Channel()
    made.watch(
        {"at once": Bound(9.0, above=False, waits=(0, NEVER_S)), "later": Bound(9.0, above=False, waits=(60, 60))}
    )
    made.add(START, 10.0)
    made.add(START + 10, 10.0)
    assert made.add(START + 5, 8.0) == ["at once", "later"]
    assert made.add(START + 4, 8.0) == [], "a newer one has told of it"
    assert made.add(START + 6, 9.0) == ["at once", "later"], "it may show that something never counted"
    assert [name for name, bound in made.bounds.items() if bound.wants_look(START + 6)] == ["later"]

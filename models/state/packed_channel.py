"""Channels of one session in few bytes: most fields of a machine come in the same samples, and many stand still.

The times of their minutes are stored once for all channels that share them. What a channel has of its own is a list
whose last items are left out where they say nothing: extremes that are those of every minute, or the newest value, and
the bounds by their rules, with times that count back from the newest sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Final, cast

import msgspec

from models.state.channel import NEVER_S, Bound, Channel, Minute, Older

#: Of each minute: its number after that of the one before, the first and last second in it, and its seconds as bits.
Times = list[int]
#: Of a bound: its value, three answers as bits, its waits, then the times and the value of its side.
Bounds = dict[str, dict[str, list[float | None]]]
#: Of a channel: its newest value, the place of its times, lows, highs, older minutes and bounds.
Packed = list[float | list[float | None] | Bounds]
_WIDTH: Final = 4
#: More equal extremes in a row than this are stored as one with their number.
_WORTH_IT: Final = 2
#: How the seconds of a minute are stored that has a sample in each.
_WHOLE: Final = -1
_ALL_SECONDS: Final = (1 << 60) - 1
#: Older minutes are stored in hundredths, each after the one before it: they serve slopes.
_STEPS: Final = 100


class PackedChannel(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """A channel of records that were stored before bounds were packed, too."""

    at: int
    value: float
    place: int
    lows: list[float]
    highs: list[float]
    bounds: dict[str, Bound] = {}


def pack(channels: Iterable[tuple[str, Channel]]) -> tuple[list[Times], dict[str, Packed]]:
    """Return the times of channels that have samples, and the channels, by field."""
    times: list[Times] = []
    packed: dict[str, Packed] = {}
    for name, channel in channels:
        mine = _times(channel.minutes)
        if mine not in times:
            times.append(mine)
        lows = _once([minute.low for minute in channel.minutes], channel.value)
        highs = _once([minute.high for minute in channel.minutes], channel.value)
        older = [] if channel.older is None else _flat(channel.older)
        made: Packed = [channel.value, times.index(mine), lows, highs, older, _bounds(channel)]
        while not made[-1] and len(made) > 2:
            made.pop()
        packed[name] = made
    return times, packed


def unpack(times: list[Times], packed: Mapping[str, Packed]) -> dict[str, Channel]:
    """Return the channels that `pack` packed."""
    return {name: _channel(times, one) for name, one in packed.items()}


def unpack_former(times: list[Times], packed: Mapping[str, PackedChannel]) -> dict[str, Channel]:
    """Return the channels of a record that was stored before bounds were packed, too."""
    return {
        name: Channel(one.at, one.value, _minutes(times[one.place], one.lows, one.highs), one.bounds)
        for name, one in packed.items()
    }


def _channel(times: list[Times], packed: Packed) -> Channel:
    value, place = cast("float", packed[0]), int(cast("float", packed[1]))
    lows, highs, older, bounds = (*packed[2:], [], [], [], {})[:4]
    count = len(times[place]) // _WIDTH
    extremes = [_spread(cast("list[float | None]", one), value, count) for one in (lows, highs)]
    minutes = _minutes(times[place], *extremes)
    at = minutes[-1].number * 60 + minutes[-1].last
    made = Channel(at, value, minutes)
    if older:
        made.older = _older(cast("list[float | None]", older))
    for rule, mine in cast("Bounds", bounds).items():
        made.bounds |= {f"{rule}:{name}": _bound(at, one) for name, one in mine.items()}
    return made


# -- bounds


def _bounds(channel: Channel) -> Bounds:
    found: Bounds = {}
    for name, bound in channel.bounds.items():
        rule, _, own = name.partition(":")
        bits = bound.above + 2 * bound.is_out + 4 * bound.ever
        seconds = [None if one == NEVER_S else channel.at - one for one in (bound.since, bound.other, bound.due)]
        since, other, due = seconds
        made: list[float | None] = [bound.value, bits, *bound.waits, since, bound.crossed, other, due]
        while made[-1] is None:
            made.pop()
        found.setdefault(rule, {})[own] = made
    return found


def _bound(at: int, packed: list[float | None]) -> Bound:
    value, bits, beyond, inside, since, crossed, other, due = (*packed, None, None, None, None)[:8]
    flags = int(bits or 0)
    return Bound(
        value or 0.0,
        bool(flags & 1),
        (int(beyond or 0), int(inside or 0)),
        bool(flags & 2),
        _second(at, other),
        _second(at, since),
        crossed or 0.0,
        _second(at, due),
        bool(flags & 4),
    )


def _second(at: int, before: float | None) -> int:
    return NEVER_S if before is None else at - int(before)


# -- minutes


def _times(minutes: list[Minute]) -> Times:
    times: Times = []
    before = 0
    for minute in minutes:
        seconds = _WHOLE if minute.seconds == _ALL_SECONDS else minute.seconds
        times += (minute.number - before, minute.first, minute.last, seconds)
        before = minute.number
    return times


def _minutes(times: Times, lows: list[float], highs: list[float]) -> list[Minute]:
    minutes: list[Minute] = []
    number = 0
    for place in range(0, len(times), _WIDTH):
        after, first, last, seconds = times[place : place + _WIDTH]
        number += after
        at = len(minutes)
        low, high = lows[at if len(lows) > 1 else 0], highs[at if len(highs) > 1 else 0]
        minutes.append(Minute(number, low, high, first, last, _ALL_SECONDS if seconds == _WHOLE else seconds))
    return minutes


def _flat(older: list[Older]) -> list[float | None]:
    """Return older minutes in few bytes: of none, a place that says that they are kept."""
    found: list[float | None] = [0]
    number, steps = 0, 0
    for minute in older:
        value = round(minute.value * _STEPS)
        if minute.number != number + 1:
            found += (None, minute.number - number)
        found.append(value - steps)
        number, steps = minute.number, value
    return found


def _older(flat: list[float | None]) -> list[Older]:
    found: list[Older] = []
    number, steps, is_number = 0, 0, False
    for item in flat[1:]:
        if item is None:
            is_number = True
        elif is_number:
            number, is_number = number + int(item) - 1, False
        else:
            number, steps = number + 1, steps + int(item)
            found.append(Older(number, steps / _STEPS))
    return found


def _once(values: list[float], newest: float) -> list[float | None]:
    """Return values in few bytes: none where all are the newest, one for all, else repeats as a number."""
    if values.count(values[0]) == len(values):
        return [] if values[0] == newest else [values[0]]
    found: list[float | None] = []
    for value, same in groupby(values):
        count = len(list(same))
        found += (value, None, count) if count > _WORTH_IT else (value,) * count
    return found


def _spread(packed: list[float | None], newest: float, count: int) -> list[float]:
    """Return the values of so many minutes that `_once` made smaller."""
    if len(packed) < 2:
        return [packed[0] if packed and packed[0] is not None else newest] * count
    found: list[float] = []
    is_count = False
    for item in packed:
        if item is None:
            is_count = True
        elif is_count:
            found += [found[-1]] * (int(item) - 1)
            is_count = False
        else:
            found.append(item)
    return found

"""Channels of one session in few bytes: most fields of a machine come in the same samples, and many stand still.

The times of their minutes are stored once for all channels that share them. What a channel has of its own is a list
whose last items are left out where they say nothing: extremes that are those of every minute, or the newest value, and
of each bound only what samples change, with times that count back from the newest sample: the rest of it stands in the
record that the samples complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import eq
from typing import Final, cast

import msgspec

from models.state.channel import NEVER_S, Bound, Channel, Minute, Older

#: Of each minute: its number after that of the one before, the first and last second in it, and its seconds as bits.
Times = list[int]
#: What samples change of a bound: the seconds from its `since` to the channel's newest sample, `crossed`, whether it
#: `is_out` (1) and was out `ever` (2), then, where there are such, the seconds since `other` and since `due`.
Side = list[float]
#: Of a channel: its newest value, the place of its times, by how many seconds its `other` lies before the newest sample
#: (below 0, and one less, while all have one value), lows, highs, older minutes, and the sides of its bounds in the
#: order of the record that the samples complete.
Packed = list[float | list[float | Side | None]]
_WIDTH: Final = 4
_EXTREMES: Final = 3
_SIDES: Final = 6
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
        sides: list[float | Side | None] = [_side(bound, channel.at) for bound in channel.bounds.values()]
        stood = channel.at - channel.other if channel.other >= 0 else -1 - (channel.at + channel.other)
        made: Packed = [channel.value, times.index(mine), stood, [*lows], [*highs], [*older], sides]
        while not made[-1] and len(made) > _EXTREMES:
            made.pop()
        packed[name] = made
    return times, packed


def unpack(times: list[Times], packed: Mapping[str, Packed], known: Mapping[str, Channel]) -> dict[str, Channel] | None:
    """Return the channels that `pack` packed; None if they have other bounds than these.

    Args:
        times: of their minutes.
        packed: the channels by field.
        known: the channels of the record that they complete, whose bounds they share.
    """
    made: dict[str, Channel] = {}
    for name, one in packed.items():
        bounds = known[name].bounds if name in known else {}
        sides = cast("list[Side]", one[_SIDES]) if len(one) > _SIDES else []
        if len(bounds) != len(sides):
            return None
        channel = made[name] = _channel(times, one)
        for (each, bound), side in zip(bounds.items(), sides, strict=True):
            channel.bounds[each] = _bound(bound, side, channel.at)
    return made


def unpack_former(times: list[Times], packed: Mapping[str, PackedChannel]) -> dict[str, Channel]:
    """Return the channels of a record that was stored before bounds were packed, too."""
    return {
        name: Channel(one.at, one.value, _minutes(times[one.place], one.lows, one.highs), one.bounds, None, one.at)
        for name, one in packed.items()
    }


def _channel(times: list[Times], packed: Packed) -> Channel:
    value, place = cast("float", packed[0]), int(cast("float", packed[1]))
    stood = int(cast("float", packed[2]))
    lows, highs, older = (*packed[_EXTREMES:_SIDES], [], [], [])[:3]
    count = len(times[place]) // _WIDTH
    extremes = [_spread(cast("list[float | None]", one), value, count) for one in (lows, highs)]
    minutes = _minutes(times[place], *extremes)
    at = minutes[-1].number * 60 + minutes[-1].last
    made = Channel(at, value, minutes)
    made.other = at - stood if stood >= 0 else -(at + stood + 1)
    if older:
        made.older = _older(cast("list[float | None]", older))
    return made


# -- bounds


def _side(bound: Bound, at: int) -> Side:
    side: Side = [at - bound.since, bound.crossed, bound.is_out + 2 * bound.ever]
    if bound.other != NEVER_S or bound.due != NEVER_S:
        side.append(at - bound.other)
    if bound.due != NEVER_S:
        side.append(at - bound.due)
    return side


def _bound(bound: Bound, side: Side, at: int) -> Bound:
    since, crossed, flags, *rest = side
    other, due = [at - int(one) for one in rest] + [NEVER_S] * (2 - len(rest))
    is_out, ever = bool(int(flags) & 1), bool(int(flags) & 2)
    return Bound(bound.value, bound.above, bound.waits, is_out, other, at - int(since), crossed, due, ever)


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
    number, highs = 0, highs or lows
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
    if True not in map(eq, values, values[_WORTH_IT:]):
        return [*values]  # nearly always no extreme comes so often in a row that a number is shorter
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

"""Channels of one session in few bytes: most fields of a machine come in the same samples, and many stand still.

The times of their minutes are stored once for all channels that share them, extremes that are the same in every minute
once for all minutes, and of a bound only what samples change: the rest stands in the record that the samples complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from models.state.channel import NEVER_S, Bound, Channel, Minute

#: Of each minute: its number after that of the one before, the first and last second in it, and its seconds as bits.
Times = list[int]
_WIDTH = 4
#: What samples change of a bound: the seconds from its `since` to the channel's newest sample, `crossed`, whether it
#: `is_out` (1) and was out `ever` (2), then, where there are such, the seconds since `other` and since `due`.
Side = list[float]


class PackedChannel(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """A channel whose minutes lie in the times of this place; one low or high stands for those of all minutes.

    Attributes:
        bounds: of channels that were stored before bounds were packed.
        sides: of each bound that is watched, in the order of the record that the samples complete.
    """

    at: int
    value: float
    place: int
    lows: list[float]
    highs: list[float]
    bounds: dict[str, Bound] = {}
    sides: list[Side] = []


def pack(channels: Iterable[tuple[str, Channel]]) -> tuple[list[Times], dict[str, PackedChannel]]:
    """Return the times of channels and the channels, by field."""
    times: list[Times] = []
    packed: dict[str, PackedChannel] = {}
    for name, channel in channels:
        mine = _times(channel.minutes)
        if mine not in times:
            times.append(mine)
        lows = _once([minute.low for minute in channel.minutes])
        highs = _once([minute.high for minute in channel.minutes])
        sides = [_side(bound, channel.at) for bound in channel.bounds.values()]
        packed[name] = PackedChannel(channel.at, channel.value, times.index(mine), lows, highs, {}, sides)
    return times, packed


def unpack(
    times: list[Times], packed: Mapping[str, PackedChannel], known: Mapping[str, Channel]
) -> dict[str, Channel] | None:
    """Return the channels that `pack` packed; None if they have other bounds than these.

    Args:
        times: of their minutes.
        packed: the channels by field.
        known: the channels of the record that they complete, whose bounds they share.
    """
    made: dict[str, Channel] = {}
    for name, one in packed.items():
        bounds = one.bounds
        if one.sides:
            watched = known[name].bounds if name in known else {}
            if len(watched) != len(one.sides):
                return None
            sides = zip(watched.items(), one.sides, strict=True)
            bounds = {each: _bound(bound, side, one.at) for (each, bound), side in sides}
        made[name] = Channel(one.at, one.value, _minutes(times[one.place], one.lows, one.highs), bounds)
    return made


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


def _times(minutes: list[Minute]) -> Times:
    times: Times = []
    before = 0
    for minute in minutes:
        times += (minute.number - before, minute.first, minute.last, minute.seconds)
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
        minutes.append(Minute(number, low, high, first, last, seconds))
    return minutes


def _once(values: list[float]) -> list[float]:
    return values[:1] if values.count(values[0]) == len(values) else values

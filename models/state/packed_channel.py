"""Channels of one session in few bytes: most fields of a machine come in the same samples, and many stand still.

The times of their minutes are stored once for all channels that share them, and extremes that are the same in every
minute once for all minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from models.state.channel import Bound, Channel, Minute

#: Of each minute: its number after that of the one before, the first and last second in it, and its seconds as bits.
Times = list[int]
_WIDTH = 4


class PackedChannel(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """A channel whose minutes lie in the times of this place; one low or high stands for those of all minutes.

    No highs are those that are the lows.

    `stood` is by how many seconds `Channel.other` lies before `at`; below 0, and one less, while all have one value.
    """

    at: int
    value: float
    place: int
    lows: list[float]
    highs: list[float]
    bounds: dict[str, Bound] = {}
    stood: int = 0


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
        highs = [] if highs == lows else highs
        place = times.index(mine)
        packed[name] = PackedChannel(channel.at, channel.value, place, lows, highs, channel.bounds, _stood(channel))
    return times, packed


def unpack(times: list[Times], packed: Mapping[str, PackedChannel]) -> dict[str, Channel]:
    """Return the channels that `pack` packed."""
    return {
        name: Channel(one.at, one.value, _minutes(times[one.place], one.lows, one.highs), one.bounds, _other(one))
        for name, one in packed.items()
    }


def _stood(channel: Channel) -> int:
    return channel.at - channel.other if channel.other >= 0 else -1 - (channel.at + channel.other)


def _other(packed: PackedChannel) -> int:
    return packed.at - packed.stood if packed.stood >= 0 else -(packed.at + packed.stood + 1)


def _times(minutes: list[Minute]) -> Times:
    times: Times = []
    before = 0
    for minute in minutes:
        times += (minute.number - before, minute.first, minute.last, minute.seconds)
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
        minutes.append(Minute(number, low, high, first, last, seconds))
    return minutes


def _once(values: list[float]) -> list[float]:
    return values[:1] if values.count(values[0]) == len(values) else values

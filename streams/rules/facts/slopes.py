"""How fast a channel falls: the difference of two minutes that lie far enough apart, by the hour.

A minute counts by the middle of its samples, once it is over for a minute: by then samples that came late are there, so
that no order of arrival changes what is told. While a channel stays within a band that is no higher than the fall that
is asked for, it cannot have fallen that far: then nobody needs to look at its slope.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from models.state import Channel
from models.state.channel import Older

_MINUTE_S: Final = 60
_HOUR: Final = 60
#: How many minutes after its beginning a minute counts.
SETTLED_AFTER: Final = 2
#: How many minutes earlier than wanted a slope may begin, for machines that send few samples (ours).
SLACK: Final = 10
#: How much of the band in which no fall is steep lies above the newest values; the rest is room to fall.
_ABOVE: Final = 0.25
#: What rounding of both minutes may add to a fall, in the channel's unit.
_ROUNDING: Final = 0.01 + 1e-9


@dataclass(frozen=True, slots=True)
class Fall:
    """A fall of a channel, or a rise: from the middle of one minute to that of another."""

    begun: Older
    ended: Older

    def is_steeper(self, by_hour: float) -> bool:
        """Return whether it is certainly more than so much an hour."""
        minutes = self.ended.number - self.begun.number
        return self.begun.value - self.ended.value > by_hour * minutes / _HOUR + _ROUNDING


def settled(kept: Channel, now: datetime, after: int) -> list[Older]:
    """Return the minutes with samples that count at a moment, those after a minute's number."""
    newest = minute_of(now) - SETTLED_AFTER
    found = [*(kept.older or ()), *(Older(one.number, one.middle) for one in kept.minutes)]
    return [one for one in found if after < one.number <= newest]


def falls(minutes: list[Older], over: int) -> list[Fall]:
    """Return the falls that end with each minute and last `over` minutes, or a little longer where samples are few."""
    found: list[Fall] = []
    start = 0
    for ended in minutes:
        while start + 1 < len(minutes) and minutes[start + 1].number <= ended.number - over:
            start += 1
        begun = minutes[start]
        if over <= ended.number - begun.number <= over + SLACK:
            found.append(Fall(begun, ended))
    return found


def calm_band(kept: Channel, by_hour: float, over: int, now: datetime) -> tuple[float, float] | None:
    """Return two values between which a channel may go on without a fall that is steeper; None if it has left them.

    Above the lower one no minute is that far below an earlier one; a value above the upper one moves both.
    """
    height, next_one = by_hour * over / _HOUR, minute_of(now) - SETTLED_AFTER + 1
    newest = [minute for minute in kept.minutes if minute.number >= next_one - 1] or kept.minutes[-1:]
    high = max(minute.high for minute in newest)
    top = round(high + _ABOVE * height, 2)
    earlier = [Older(one.number, one.high) for one in kept.minutes]
    floors = (
        one.value - by_hour * max(over, next_one - one.number) / _HOUR
        for one in (*(kept.older or ()), *earlier)
        if next_one - one.number <= over + SLACK
    )
    bottom = round(max([top - height, *floors]), 2)
    return None if min(minute.low for minute in newest) < bottom else (bottom, top)


def minute_of(moment: datetime) -> int:
    """Return the number of a moment's minute."""
    return int(moment.timestamp()) // _MINUTE_S


def start_of(number: int) -> datetime:
    """Return when a minute begins."""
    return datetime.fromtimestamp(number * _MINUTE_S, UTC)

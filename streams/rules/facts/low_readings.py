"""Readings below a bound, and when they are over: a single one counts at once, and two above it end it.

Machines repeat the newest reading of a cuff in every sample or send it once, so a reading is a sample here. What was
low is over when the readings have lain on or above the bound for a while and there were two of them. All of it is read
off the channel: the bound tells the second, and its minutes which readings there were. A reading that cannot be stands
for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from models.state import Bound, Channel
from models.state.channel import KEPT_MINUTES, Minute

_MINUTE_S: Final = 60
_TWO: Final = 2


@dataclass(frozen=True, slots=True)
class Low:
    """Readings below a bound that count.

    Attributes:
        first_at: when they began, as far as is kept; a gap of ten minutes begins them anew.
        value: the first reading.
        last_at: the newest reading below the bound.
        is_over: whether the newest reading lies above it again.
        look_at: when to look again, if no other reading comes.
    """

    first_at: datetime
    value: float
    last_at: datetime
    is_over: bool = False
    look_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LowReadings:
    """A channel at one bound.

    Attributes:
        kept: the channel, with a sample at least.
        bound: what is known of the bound, which lies above what is low.
        unreal: what is known of the bound below which no reading can be.
        keep_for: how long readings must lie above.
    """

    kept: Channel
    bound: Bound
    unreal: Bound
    keep_for: timedelta

    def at(self, now: datetime) -> Low | None:
        """Return what counts at a moment; None if nothing is low, or it is over."""
        if self.bound.is_out and not self.unreal.is_out:
            start = self.bound
            if self.unreal.since > self.bound.since and self.unreal.other >= self.bound.since:
                start = self.unreal  # readings that cannot be came first
            return Low(moment_of(start.since), start.crossed, moment_of(self.kept.at))
        last = self._last_low()
        return None if last is None else self._after(last, now)

    def began(self) -> datetime | None:
        """Return from when all kept readings up to the newest low one were low; None if as far back as any are kept.

        A minute in which some were low counts as low.
        """
        start: int | None = None
        for place in range(len(self.kept.minutes) - 1, -1, -1):
            minute = self.kept.minutes[place]
            if self._is_low(minute):
                start = minute.number * _MINUTE_S + minute.first
            elif start is not None:
                return moment_of(start)
        return None if start is None or len(self.kept.minutes) >= KEPT_MINUTES else moment_of(start)

    def _is_low(self, minute: Minute) -> bool:
        """Return whether a minute has a reading below the bound that can be."""
        floor = self.unreal.value
        lowest = minute.low if minute.low >= floor else minute.high
        return floor <= lowest < self.bound.value

    def _last_low(self) -> tuple[int, float] | None:
        """Return the second and the value of the newest low reading; None if none is known."""
        for minute in reversed(self.kept.minutes):
            if self._is_low(minute):
                start, at = minute.number * _MINUTE_S, minute.number * _MINUTE_S + minute.last
                if not self.bound.is_out and start <= self.bound.other < self.bound.since:
                    at = min(at, self.bound.other)
                return at, minute.low if minute.low >= self.unreal.value else minute.high
        bound, oldest = self.bound, self.kept.minutes[0].number
        if bound.ever and not bound.is_out and bound.other // _MINUTE_S == oldest - 1 and bound.since > bound.other:
            return bound.other, bound.value  # its minute has just left the channel
        return None

    def _after(self, last: tuple[int, float], now: datetime) -> Low | None:
        """Return what was low until it is over: the readings since then must lie above for long enough."""
        first, count = self._above_since(last[0])
        low = Low(moment_of(last[0]), last[1], moment_of(last[0]), is_over=True)
        if first is None:
            return _with_look(low, _next_minute(now))
        over = moment_of(first) + self.keep_for
        if now < over:
            return _with_look(low, over)
        return None if count >= _TWO else _with_look(low, _next_minute(now))

    def _above_since(self, last: int) -> tuple[int | None, int]:
        """Return the second of the first reading above after a low one, and how many there are, of two."""
        first: int | None = None
        count = 0
        for minute in self.kept.minutes:
            start = minute.number * _MINUTE_S
            if start + minute.last <= last or minute.low < self.bound.value:
                continue
            first = start + minute.first if first is None else first
            count += 1 if minute.first == minute.last else _TWO
        since = self.bound.since
        if not self.bound.is_out and last < since and (first is None or since < first):
            first, count = since, count + (1 if since == self.kept.at else _TWO)
        return first, count


def _with_look(low: Low, look_at: datetime) -> Low:
    return Low(low.first_at, low.value, low.last_at, low.is_over, look_at)


def _next_minute(now: datetime) -> datetime:
    return moment_of((int(now.timestamp()) // _MINUTE_S + 1) * _MINUTE_S)


def moment_of(second: int) -> datetime:
    """Return the moment of a second of Unix time."""
    return datetime.fromtimestamp(second, UTC)

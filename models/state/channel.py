"""A channel: one numeric field of a session's samples, kept so that rules can ask since when it lies beyond a bound.

Kept are an envelope of the newest minutes and, for each bound that a rule watches, on which side of it the newest
sample lies, the newest sample on the other side, and the first one after that. They are functions of the samples,
whatever their order: minima, maxima and sets of seconds. The first one is exact to the second as long as samples come
at most `EXACT_MINUTES` late; after a later one it is the beginning of the next minute. All times are whole seconds of
Unix time; samples of one second on both sides of a bound may move it by a second.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from typing import Final, NamedTuple

import msgspec

#: How many minutes with samples are kept, and of how many of them the seconds.
KEPT_MINUTES: Final = 10
EXACT_MINUTES: Final = 3
#: How many minutes before them are kept as one value each, of a channel whose slope a rule asks for.
OLDER_MINUTES: Final = 18
#: How long a sample is valid, in seconds (contract, R32): after a longer gap samples are no longer in a row.
LASTS_S: Final = 600
#: Stands for no second at all.
NEVER_S: Final = -1
_GREATEST: Final = sys.float_info.max


class Minute(msgspec.Struct, array_like=True, gc=False):
    """The samples of one minute: extremes, the first and the last second in it, and all its seconds as bits (or 0)."""

    number: int
    low: float
    high: float
    first: int
    last: int
    seconds: int

    @property
    def middle(self) -> float:
        """Return the middle of its extremes, to two places."""
        return round((self.low + self.high) / 2, 2)

    def add_all(self, seconds: list[int], values: list[float]) -> None:
        """Add samples of the minute, in order and none before its first, by their seconds of Unix time."""
        self.low, self.high = min(self.low, *values), max(self.high, *values)
        start = self.number * 60
        self.last = max(self.last, seconds[-1] - start)
        if self.seconds:
            first, count = seconds[0] - start, len(seconds)
            if self.last - first < count:  # every second of a stretch, as most machines send
                self.seconds |= ((1 << count) - 1) << first
            else:
                for second in seconds:
                    self.seconds |= 1 << second - start

    def add(self, second: int, value: float) -> None:
        """Add a sample of the minute."""
        if value < self.low:
            self.low = value
        elif value > self.high:
            self.high = value
        if second > self.last:
            self.last = second
        elif second < self.first:
            self.first = second
        if self.seconds:
            self.seconds |= 1 << second


class Bound(msgspec.Struct, array_like=True, gc=False):
    """A bound that a rule watches.

    Attributes:
        value: in the unit of the channel.
        above: whether beyond it is above it, not below; a sample on the bound is inside.
        waits: for how many seconds the channel must stay beyond it, and inside it, before the rule wants to know;
            `NEVER_S` for a side of which it does not want to know.
        is_out: whether the newest sample lies beyond it.
        other: the second of the newest sample on the other side.
        since: the first second of the samples on this side in a row up to the newest.
        crossed: the value of that first sample; where it came late, the furthest of its minute.
        due: the second of a look of the rule that is set already; one before it makes a later one needless.
        ever: whether any sample lay beyond it, as far as the envelope reached back when it was first watched.
    """

    value: float
    above: bool
    waits: tuple[int, int] = (0, 0)
    is_out: bool = False
    other: int = NEVER_S
    since: int = NEVER_S
    crossed: float = 0.0
    due: int = NEVER_S
    ever: bool = False

    def is_beyond(self, value: float) -> bool:
        """Whether a value lies beyond it."""
        return value > self.value if self.above else value < self.value

    @property
    def look_at(self) -> int:
        """Return the second at which the rule wants to know of this side, if the channel stays on it."""
        wait = self.waits[0 if self.is_out else 1]
        return NEVER_S if wait == NEVER_S else self.since + wait

    def wants_each(self, second: int) -> bool:
        """Whether the rule wants to know of a late sample, the newest beyond it, while a newer one lies inside."""
        return self.waits[0] == 0 and not self.is_out and self.other == second

    def wants_look(self, at: int) -> bool:
        """Whether a sample that turned it asks for a look: the rule wants one of this side, and none is set before."""
        look_at = self.look_at
        return look_at != NEVER_S and not at < self.due <= look_at


class Older(NamedTuple):
    """A minute with samples before those of the envelope: its number, and the middle of its extremes."""

    number: int
    value: float


class Calm(NamedTuple):
    """Samples before a second ask for no look if they lie from `low` to `high`; none may wait if `low` is greater."""

    until: int
    low: float
    high: float


class Channel(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """One channel of one session; `at` is the second of the newest sample, of one second the greatest value counts."""

    at: int = NEVER_S
    value: float = 0.0
    minutes: list[Minute] = []
    #: By a name that the rule chooses.
    bounds: dict[str, Bound] = {}
    #: The minutes before the envelope, in order; None where no rule asks for them.
    older: list[Older] | None = None
    #: The second of the newest sample of another value; of the first sample, below 0, while all have one value.
    other: int = NEVER_S

    @property
    def stands_since(self) -> int:
        """Return the second after which no sample had another value than the newest; `NEVER_S` before a sample."""
        return self.other if self.at == NEVER_S else abs(self.other)

    def add(self, at: int, value: float) -> list[str]:
        """Add a sample; return the names of the bounds that it turned.

        Left out are those for which a look is set that comes soon enough, unless the sample came late.
        """
        minutes, previous = self.minutes, self.at
        newest = minutes[-1] if minutes else None
        if newest is None or newest.number != at // 60:
            self._into_another(at, value)
        else:
            newest.add(at % 60, value)
        if at > previous:
            if value != self.value or previous == NEVER_S:
                self.other = -at if previous == NEVER_S else previous
            self.at, self.value = at, value
        elif value != self.value or self.other < 0:
            self._add_earlier(at, value)
        return self._turn(at, value, previous)

    def _turn(self, at: int, value: float, previous: int) -> list[str]:
        """Place a sample on its side of each bound; return the names of those that it turned (`add`)."""
        turned: list[str] = []
        in_a_row = previous < at <= previous + LASTS_S
        for name, bound in self.bounds.items():
            is_out = value > bound.value if bound.above else value < bound.value  # `is_beyond`; a call costs more
            if in_a_row and bound.since != NEVER_S:
                if is_out is bound.is_out:
                    continue  # as nearly every sample
                bound.other, bound.is_out, bound.since, bound.crossed = previous, is_out, at, value
                bound.ever = bound.ever or is_out
                if bound.wants_look(at):
                    turned.append(name)
            elif self._place(bound, at, value, previous, is_out=is_out):
                if at < previous or bound.wants_look(at):
                    turned.append(name)
            elif is_out and bound.wants_each(at):
                turned.append(name)
        return turned

    def calm(self, second: int) -> Calm:
        """Tell which samples after this second, in order and without a gap, ask for no look."""
        until, low, high = second + LASTS_S, -_GREATEST, _GREATEST
        if self.at != second or any(bound.since == NEVER_S for bound in self.bounds.values()):
            return Calm(until, high, low)
        for bound in self.bounds.values():
            shortest = min((wait for wait in bound.waits if wait != NEVER_S), default=0)
            if bound.due - shortest <= second < bound.due:
                until = min(until, bound.due)  # its look is set, however often samples turn it
            elif bound.above is bound.is_out:
                low = max(low, math.nextafter(bound.value, math.inf) if bound.is_out else bound.value)
            else:
                high = min(high, math.nextafter(bound.value, -math.inf) if bound.is_out else bound.value)
        return Calm(until, low, high)

    def add_all(self, seconds: list[int], values: list[float]) -> None:
        """Add samples that ask for no look (`calm`): one minimum and one maximum speak for all of a minute."""
        if not seconds:
            return
        newest, before, end = self.minutes[-1], self.at, len(seconds)
        if not before < seconds[0] or len(set(seconds)) < end:
            for at, value in zip(seconds, values, strict=True):
                self.add(at, value)
            return
        self._move(seconds, values)
        low, high = min(values), max(values)
        for bound in self.bounds.values():
            outer, inner = (low, high) if bound.above else (high, low)
            if bound.is_beyond(outer) if bound.is_out else not bound.is_beyond(inner):
                continue  # all of them are on its side, as nearly always
            # The last turn counts: from the newest sample back to one on the other side.
            place, is_out = end - 1, bound.is_beyond(values[-1])
            while place and bound.is_beyond(values[place - 1]) is is_out:
                place -= 1
            if place or is_out is not bound.is_out:
                bound.other, bound.is_out = seconds[place - 1] if place else before, is_out
                bound.since, bound.crossed = seconds[place], values[place]
                bound.ever = bound.ever or bound.is_beyond(max(values) if bound.above else min(values))
        start = 0
        while start < end:
            number = seconds[start] // 60
            stop = bisect_left(seconds, (number + 1) * 60, start)
            if number != newest.number:
                newest = self._new_minute(len(self.minutes), seconds[start], values[start])
            newest.add_all(seconds[start:stop], values[start:stop])
            start = stop

    def _add_earlier(self, at: int, value: float) -> None:
        """Keep what a sample that is not the newest tells of since when the channel stands."""
        if value == self.value:
            self.other = max(self.other, -at)
            return
        self.other = max(self.other, at)
        if at == self.at:
            self.value = max(self.value, value)

    def _move(self, seconds: list[int], values: list[float]) -> None:
        """Set the newest sample of some in order, and the newest one of another value."""
        before, was, place, now = self.at, self.value, len(values) - 1, values[-1]
        if values.count(now) <= place:
            while values[place] == now:
                place -= 1
            self.other = seconds[place]
        elif was != now:
            self.other = before
        self.at, self.value = seconds[-1], now

    def at_bound(self, name: str, bound: Bound) -> Bound:
        """Return what is known of a bound; one that is new or was moved is judged by the envelope."""
        known = self.bounds.get(name)
        if known is not None and (known.value, known.above) == (bound.value, bound.above):
            known.waits = bound.waits
            return known
        return self._judged(bound)

    def watch(self, wanted: dict[str, Bound], of: str = "") -> None:
        """Watch these bounds, for which no look is set yet, and no others whose names begin with `of`."""
        for name, bound in wanted.items():
            known = self.bounds[name] = self.at_bound(name, bound)
            known.due = NEVER_S
        for name in [name for name in self.bounds if name not in wanted and name.startswith(of)]:
            del self.bounds[name]

    # -- the envelope

    def _into_another(self, at: int, value: float) -> None:
        number, second = at // 60, at % 60
        place = len(self.minutes)
        while place and self.minutes[place - 1].number > number:
            place -= 1
        if place and self.minutes[place - 1].number == number:
            self.minutes[place - 1].add(second, value)
            return
        self._new_minute(place, at, value)

    def _new_minute(self, place: int, at: int, value: float) -> Minute:
        """Insert the minute of a sample at a place in the envelope, which then loses its oldest."""
        number, second = divmod(at, 60)
        made = Minute(number, value, value, second, second, 1 << second)
        self.minutes.insert(place, made)
        if self.older is not None:
            self._age(self.older)
        del self.minutes[:-KEPT_MINUTES]
        for minute in self.minutes[:-EXACT_MINUTES]:
            minute.seconds = 0
        return made

    def _age(self, older: list[Older]) -> None:
        """Keep one value of each minute that leaves the envelope; one that came later than its neighbours is lost."""
        for minute in self.minutes[:-KEPT_MINUTES]:
            if not older or minute.number > older[-1].number:
                older.append(Older(minute.number, minute.middle))
        del older[:-OLDER_MINUTES]

    # -- bounds

    def _place(self, bound: Bound, at: int, value: float, previous: int, *, is_out: bool) -> bool:
        """Place a sample that is not simply one more in a row; return whether it moved since when it is on its side."""
        bound.ever = bound.ever or is_out
        if bound.since == NEVER_S:
            bound.is_out, bound.since, bound.crossed = is_out, at, value
        elif is_out is bound.is_out:
            if at <= bound.other or bound.since <= at <= previous:
                return False
            if at > bound.since:  # after a gap
                bound.other, bound.since, bound.crossed = previous, at, value
            elif bound.since - at > LASTS_S:
                return False
            else:
                self._begin(bound)
                if at <= bound.since:
                    bound.since, bound.crossed = at, value
        elif at > previous or (at == previous and not is_out):
            bound.other, bound.is_out, bound.since, bound.crossed = min(previous, at - 1), is_out, at, value
        elif at > bound.other and at < previous:
            bound.other = at
            if at < bound.since:
                return False
            self._begin(bound)
        else:
            return False
        return True

    def _begin(self, bound: Bound) -> None:
        """Set when the samples in a row on this side of a bound began, as far as the envelope shows it."""
        bound.since, bound.crossed = self._since(bound), 0.0
        for minute in self.minutes:
            if minute.number == bound.since // 60:
                bound.crossed = minute.high if bound.above is bound.is_out else minute.low

    def _judged(self, bound: Bound) -> Bound:
        """Return a bound as the envelope shows it: a minute with any sample inside counts as inside."""
        made = Bound(bound.value, bound.above, bound.waits)
        made.ever = any(made.is_beyond(one.high if made.above else one.low) for one in self.minutes)
        sides = [(one, one.low > bound.value if bound.above else one.high < bound.value) for one in self.minutes]
        if sides:
            made.is_out = sides[-1][1]
            others = [minute.number * 60 + minute.last for minute, is_out in sides if is_out is not made.is_out]
            made.other = max(others, default=NEVER_S)
            self._begin(made)
        return made

    def _since(self, bound: Bound) -> int:
        """Return the first second that is kept of the samples in a row after the newest one on the other side."""
        start = previous = NEVER_S
        for minute in self.minutes:
            first = _first_after(minute, bound.other)
            if first == NEVER_S:
                continue
            if previous == NEVER_S or first - previous > LASTS_S:
                start = first
            previous = minute.number * 60 + minute.last
        return start if start != NEVER_S else self.at


def _first_after(minute: Minute, second: int) -> int:
    """Return the first second of a minute after another one; `NEVER_S` if there is none, or it is not known."""
    start = minute.number * 60
    if start + minute.first > second:
        return start + minute.first
    if start + minute.last <= second or not minute.seconds:
        return NEVER_S
    after = second - start + 1
    later = minute.seconds >> after << after
    return start + (later & -later).bit_length() - 1

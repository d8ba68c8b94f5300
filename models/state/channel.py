"""A channel: one numeric field of a session's samples, kept so that rules can ask since when it lies beyond a bound.

Kept are an envelope of the newest minutes and, for each bound that a rule watches, the newest sample inside it. Both
are functions of the samples, whatever their order: minima, maxima and sets of seconds. So is the first sample beyond a
bound after the newest one inside, exactly to the second, as long as samples come at most `EXACT_MINUTES` late; of a
later one inside it is the beginning of the next minute. All times are whole seconds of Unix time.
"""

from __future__ import annotations

from typing import Final

import msgspec

#: How many minutes with samples are kept, and of how many of them the seconds.
KEPT_MINUTES: Final = 12
EXACT_MINUTES: Final = 3
#: How long a sample is valid, in seconds (contract, R32): after a longer gap samples are no longer in a row.
LASTS_S: Final = 600
#: Stands for no second at all.
NEVER_S: Final = -1


class Minute(msgspec.Struct, array_like=True, gc=False):
    """The samples of one minute: extremes, the first and the last second in it, and all its seconds as bits (or 0)."""

    number: int
    low: float
    high: float
    first: int
    last: int
    seconds: int


class Bound(msgspec.Struct, array_like=True, gc=False):
    """A bound that a rule watches.

    Attributes:
        value: in the unit of the channel.
        above: whether beyond it is above it, not below; a sample on the bound is inside.
        inside: the second of the newest sample inside it.
        since: the first second of the samples beyond it in a row up to the newest; `NEVER_S` if that one is inside.
        crossed: the value of that first sample; where it came late, the furthest of its minute.
    """

    value: float
    above: bool
    inside: int = NEVER_S
    since: int = NEVER_S
    crossed: float = 0.0

    def is_beyond(self, value: float) -> bool:
        """Return whether a value lies beyond the bound."""
        return value > self.value if self.above else value < self.value


class Channel(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """One channel of one session; `at` is the second of the newest sample, of one second the greatest value counts."""

    at: int = NEVER_S
    value: float = 0.0
    minutes: list[Minute] = []
    #: By a name that the rule chooses.
    bounds: dict[str, Bound] = {}

    def add(self, at: int, value: float) -> bool:
        """Add a sample; return whether it changed since when the channel lies beyond a bound."""
        newest = self.minutes[-1] if self.minutes else None
        if newest is not None and at // 60 == newest.number:
            self._into(newest, at, value)
        else:
            self._into_another(at, value)
        previous = self.at
        if at > previous or (at == previous and value > self.value):
            self.at, self.value = at, value
        changed = False
        for bound in self.bounds.values():
            if bound.is_beyond(value):
                # One more in a row, as nearly every sample that is not inside.
                if bound.since == NEVER_S or at < bound.since or at - previous > LASTS_S:
                    changed |= self._beyond(bound, at, value)
            elif at > bound.inside:
                bound.inside = at
                if NEVER_S < bound.since <= at:
                    self._begin(bound)
                    changed = True
        return changed

    def at_bound(self, name: str, bound: Bound) -> Bound:
        """Return what is known of a bound; one that is new or was moved is judged by the envelope."""
        known = self.bounds.get(name)
        if known is not None and (known.value, known.above) == (bound.value, bound.above):
            return known
        return self._judged(bound)

    def watch(self, wanted: dict[str, Bound]) -> None:
        """Watch these bounds and no others."""
        for name, bound in wanted.items():
            self.bounds[name] = self.at_bound(name, bound)
        for name in self.bounds.keys() - wanted.keys():
            del self.bounds[name]

    # -- the envelope

    def _into_another(self, at: int, value: float) -> None:
        number = at // 60
        place = len(self.minutes)
        while place and self.minutes[place - 1].number > number:
            place -= 1
        if place and self.minutes[place - 1].number == number:
            self._into(self.minutes[place - 1], at, value)
            return
        self.minutes.insert(place, Minute(number, value, value, at % 60, at % 60, 1 << at % 60))
        del self.minutes[:-KEPT_MINUTES]
        for minute in self.minutes[:-EXACT_MINUTES]:
            minute.seconds = 0

    @staticmethod
    def _into(minute: Minute, at: int, value: float) -> None:
        if value < minute.low:
            minute.low = value
        elif value > minute.high:
            minute.high = value
        second = at % 60
        if second > minute.last:
            minute.last = second
        elif second < minute.first:
            minute.first = second
        if minute.seconds:
            minute.seconds |= 1 << second

    # -- bounds

    def _beyond(self, bound: Bound, at: int, value: float) -> bool:
        """Begin a row of samples beyond a bound with one, or begin it earlier; return whether that changed it."""
        if at <= bound.inside:
            return False
        if bound.since == NEVER_S or at > bound.since:  # after samples inside, or after a gap
            bound.since, bound.crossed = at, value
        elif bound.since - at <= LASTS_S:
            self._begin(bound)
            if at <= bound.since:
                bound.since, bound.crossed = at, value
        else:
            return False
        return True

    def _begin(self, bound: Bound) -> None:
        """Set when the samples in a row beyond a bound began, as far as the envelope shows it."""
        bound.since, bound.crossed = self._since(bound), 0.0
        for minute in self.minutes:
            if minute.number == bound.since // 60:
                bound.crossed = minute.high if bound.above else minute.low

    def _judged(self, bound: Bound) -> Bound:
        """Return a bound as the envelope shows it: a minute with any sample inside counts as inside."""
        inside = [minute.number * 60 + minute.last for minute in self.minutes if not self._lies_beyond(minute, bound)]
        made = Bound(bound.value, bound.above, max(inside, default=NEVER_S))
        self._begin(made)
        return made

    @staticmethod
    def _lies_beyond(minute: Minute, bound: Bound) -> bool:
        return bound.is_beyond(minute.low if bound.above else minute.high)

    def _since(self, bound: Bound) -> int:
        """Return the first second that is kept of the samples in a row after the newest one inside."""
        if bound.inside >= self.at:
            return NEVER_S
        start = previous = NEVER_S
        for minute in self.minutes:
            first = _first_after(minute, bound.inside)
            if first == NEVER_S:
                continue
            if previous == NEVER_S or first - previous > LASTS_S:
                start = first
            previous = minute.number * 60 + minute.last
        return start


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

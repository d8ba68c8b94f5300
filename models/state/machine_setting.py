"""A setting of a machine: what it was set to when, and who last said so.

Every sample repeats the settings, so what is kept are runs of samples with one value, and the newest value that was
ordered and that a user set. All of it is a function of the samples, whatever their order; where a sample that came late
cuts a run in two, both parts reach up to it. Where rules ask for the highest value after its run has left, that of each
quarter of a day is kept: a maximum is exact in any order. All times are whole seconds of Unix time; of one second the
greatest value is the newest.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final, Literal

import msgspec

#: The fields of samples that are settings which rules read. A rate of ultrafiltration is measured, not set.
SETTINGS: Final = ("dialysate_na_mmol_l", "dialysate_k_mmol_l", "dialysate_temp_setting_c")
#: Those of which the highest values are kept.
PEAKED: Final = frozenset({"dialysate_na_mmol_l"})
#: How many runs are kept, the newest.
MOST_RUNS: Final = 6
#: How many highest values are kept, the newest; and of how many seconds each is the highest.
MOST_PEAKS: Final = 16
PEAK_S: Final = 21_600

Origin = Literal["ordered", "user"]


class Run(msgspec.Struct, array_like=True, gc=False):
    """Samples in a row with one value: the second of the first and that of the last."""

    value: float
    first: int
    last: int


class Told(msgspec.Struct, array_like=True, gc=False):
    """The newest value of one origin, and the second of its newest sample."""

    value: float
    at: int


def peak_until(second: int) -> int:
    """Return the first second after the quarter of a day in which a second lies."""
    return (second // PEAK_S + 1) * PEAK_S


class Peak(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The highest value of a quarter of a day, and the second of its first sample with it."""

    value: float
    at: int

    @property
    def until(self) -> int:
        """Return the first second after its quarter of a day."""
        return peak_until(self.at)


class Setting(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """One setting of one session.

    Attributes:
        runs: its values in the order of time; never empty once it holds a sample.
        ordered: the newest value from an order.
        user: the newest value that a user set.
        peaks: its highest values, in the order of time; None where no rule asks for them.
    """

    runs: list[Run] = []
    ordered: Told | None = None
    user: Told | None = None
    peaks: list[Peak] | None = None

    def origin_of(self, run: Run) -> Origin | None:
        """Return who made a run, by the newest word on it; None if no sample of it tells, or an older one did."""
        found: list[tuple[int, Origin]] = []
        if self.ordered is not None and _is_of(self.ordered, run):
            found.append((self.ordered.at, "ordered"))
        if self.user is not None and _is_of(self.user, run):
            found.append((self.user.at, "user"))
        return max(found)[1] if found else None

    @property
    def is_of_user(self) -> bool:
        """Whether the newest word of known origin is a user's."""
        return self.user is not None and (self.ordered is None or self.user.at >= self.ordered.at)

    def repeats(self, at: int, value: float, origin: Origin | None) -> bool:
        """Whether a sample after all others says nothing new: it only moves the time of the newest one."""
        newest = self.runs[-1]
        if value != newest.value or (self.peaks is not None and (not self.peaks or at >= self.peaks[-1].until)):
            return False
        return origin is None or (origin == self.origin_of(newest) and self.is_of_user is (origin == "user"))

    def add(self, at: int, value: float, origin: Origin | None) -> bool:
        """Add a sample; return whether it says anything new."""
        before = self._said()
        if self.peaks is not None:
            self.peaks = _with_peak(self.peaks, Peak(value, at))
        if not self.runs or at > self.runs[-1].last:
            self._add_newest(at, value)
        else:
            self._add_late(at, value)
        if origin == "ordered":
            self.ordered = _newer(self.ordered, at, value)
        elif origin == "user":
            self.user = _newer(self.user, at, value)
        return self._said() != before

    def _said(self) -> tuple[Any, ...]:
        """Return all that rules read of it: no time that every sample moves."""
        if not self.runs:
            return ()
        *older, newest = self.runs
        ordered, user, is_of_user = self.ordered, self.user, self.is_of_user
        return (
            [(run.value, run.first, run.last) for run in older],
            (newest.value, newest.first),
            self.origin_of(newest),
            is_of_user,
            ordered and (ordered.value, ordered.at if is_of_user else None),
            user and (user.value, None if is_of_user else user.at),
            self.peaks,
        )

    def _add_newest(self, at: int, value: float) -> None:
        if self.runs and self.runs[-1].value == value:
            self.runs[-1].last = at
        else:
            self.runs = [*self.runs[1 - MOST_RUNS :], Run(value, at, at)]

    def _add_late(self, at: int, value: float) -> None:
        runs = self.runs
        place = bisect_right([run.first for run in runs], at)
        if any(run.value == value for run in runs[:place] if at <= run.last):
            return
        left, right = runs[place - 1] if place else None, runs[place] if place < len(runs) else None
        if left is not None and at <= left.last:
            runs[place - 1 : place] = _cut(left, at, value)
        elif left is not None and left.value == value:
            left.last = at
        elif left is None and len(runs) == MOST_RUNS:
            return  # it is older than what is kept
        elif right is not None and right.value == value:
            right.first = at
        else:
            runs.insert(place, Run(value, at, at))
        self.runs = _joined(runs)[-MOST_RUNS:]


def _is_of(told: Told, run: Run) -> bool:
    return told.value == run.value and run.first <= told.at <= run.last


def _newer(known: Told | None, at: int, value: float) -> Told:
    return known if known is not None and (known.at, known.value) >= (at, value) else Told(value, at)


def _with_peak(peaks: list[Peak], made: Peak) -> list[Peak]:
    """Return the newest highest values with one more sample; the same list if it changes none."""
    place = next((n for n, known in enumerate(peaks) if known.until >= made.until), len(peaks))
    if place < len(peaks) and (known := peaks[place]).until == made.until:
        if (known.value, -known.at) >= (made.value, -made.at):
            return peaks
        return [*peaks[:place], made, *peaks[place + 1 :]]
    return [*peaks[:place], made, *peaks[place:]][-MOST_PEAKS:]


def _cut(run: Run, at: int, value: float) -> list[Run]:
    """Return a run with a sample of another value inside it; the greater of one second comes last."""
    is_lower = value < run.value
    made = [Run(value, at, at)]
    if run.first < at or not is_lower:
        made.insert(0, Run(run.value, run.first, at))
    if at < run.last or is_lower:
        made.append(Run(run.value, at, run.last))
    return made


def _joined(runs: list[Run]) -> list[Run]:
    """Return runs of which no two neighbours have one value."""
    made: list[Run] = []
    for run in runs:
        if made and made[-1].value == run.value:
            made[-1].last = run.last
        else:
            made.append(run)
    return made

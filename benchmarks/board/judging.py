"""What the figures say: percentiles, whether a heap is flat, and each promise with its verdict. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import median
from typing import Final

#: A heap that is flat has grown by less than this from the first quarter of its samples to the last.
MOST_GROWTH: Final = 0.10
#: One that rises steadily must not even grow by this: a small leak is a leak.
MOST_STEADY_GROWTH: Final = 0.03
#: Mann-Kendall's z that a heap at rest exceeds once in a hundred times.
_STEADY_Z: Final = 2.33


@dataclass(frozen=True, slots=True)
class Heap:
    """Samples of a heap in bytes, evenly spread; the warm-up is left out."""

    samples: Sequence[float]

    @property
    def level(self) -> float:
        """Median of the first quarter of the samples."""
        return median(self.samples[: max(1, len(self.samples) // 4)])

    @property
    def end(self) -> float:
        """Median of the last quarter of the samples."""
        return median(self.samples[-max(1, len(self.samples) // 4) :])

    @property
    def growth(self) -> float:
        """By what share of the level it has grown."""
        return self.end / self.level - 1

    @property
    def steadiness(self) -> float:
        """Mann-Kendall's z: how surely it rises, whatever the amount; 0 without a trend."""
        count = len(self.samples)
        if count < 3:
            return 0.0
        score = sum((later > earlier) - (later < earlier) for earlier, later in combinations(self.samples, 2))
        spread = sqrt(count * (count - 1) * (2 * count + 5) / 18)
        return (score - (score > 0) + (score < 0)) / spread

    @property
    def is_flat(self) -> bool:
        """Whether it neither grew much nor rises steadily."""
        is_steady = self.steadiness > _STEADY_Z
        return self.growth < (MOST_STEADY_GROWTH if is_steady else MOST_GROWTH)

    def told(self) -> str:
        """The figure in words."""
        trend = "rises steadily" if self.steadiness > _STEADY_Z else "no steady rise"
        return f"{self.level / 1e6:.1f} to {self.end / 1e6:.1f} MB ({self.growth:+.1%}, {trend})"


class Lags:
    """From the sending of each transition to its being shown, in seconds.

    An alert that was moved on twice before the screen drew it shows the newer transition: then both are shown. One that
    left the screen shows its end.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._waiting: dict[str, list[tuple[int, float]]] = {}

    def sent(self, alert_id: str, number: int, at: float) -> None:
        """Note that a transition was handed to the producer."""
        self._waiting.setdefault(alert_id, []).append((number, at))

    def seen(self, alert_id: str, number: int | None, at: float) -> None:
        """Note which transition of an alert is shown; None where the alert has left the screen."""
        waiting = self._waiting.pop(alert_id, [])
        shown = [sent for sent in waiting if number is None or sent[0] <= number]
        left = waiting[len(shown) :]
        if left:
            self._waiting[alert_id] = left
        self.seconds += [at - sent for _, sent in shown]

    @property
    def missing(self) -> int:
        """How many were sent and never shown."""
        return sum(len(waiting) for waiting in self._waiting.values())

    def at(self, share: float) -> float:
        """The lag that `share` percent of the transitions do not exceed; infinite where none was shown."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] if ordered else float("inf")


@dataclass(frozen=True, slots=True)
class Picture:
    """One first picture, in milliseconds: the server's answer, what the browser made of it, both."""

    server: float
    browser: float
    whole: float
    tiles: int


@dataclass(frozen=True, slots=True)
class Following:
    """One browser that followed the transitions."""

    lags: Lags
    page_heap: Heap
    server_heap: Heap
    rate: float
    server_busy: float
    blind: int
    #: Cores that processes of others used meanwhile.
    others: float = 0.0


@dataclass(frozen=True, slots=True)
class Crowded:
    """Many browsers that followed the transitions; `gaps` counts what any of them missed."""

    browsers: int
    busy: float
    changes: int
    megabytes: float
    gaps: int
    rate: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run measured."""

    pictures: list[Picture]
    following: Following
    crowded: Crowded
    chairs: int
    wanted: int
    sent_a_second: float
    minutes: float


def median_picture(pictures: Sequence[Picture]) -> Picture:
    """Each part's median."""
    return Picture(
        median(each.server for each in pictures),
        median(each.browser for each in pictures),
        median(each.whole for each in pictures),
        min(each.tiles for each in pictures),
    )


def judge(figures: Figures) -> list[tuple[str, bool]]:
    """Each promise with its figure, and whether it was kept."""
    picture, following, crowded = median_picture(figures.pictures), figures.following, figures.crowded
    worst, missing = following.lags.at(100), following.lags.missing
    late = sum(lag >= 1 for lag in following.lags.seconds)
    fed = f"{figures.sent_a_second:g} transitions a second"
    cost = f"{crowded.browsers} browsers cost the server {crowded.busy:.2f} of a core, under 0.50"
    is_fed = min(following.rate, crowded.rate) > 0.98 * figures.sent_a_second
    return [
        (
            f"{picture.tiles} chairs and {figures.wanted:,} alerts are drawn in {picture.whole:.0f} ms, under 1 s",
            picture.whole < 1000 and picture.tiles == figures.chairs,
        ),
        (f"{fed} were sent ({min(following.rate, crowded.rate):.1f})", is_fed),
        (
            f"{fed} are followed with {worst * 1000:.0f} ms of lag at most, under 1 s: {late} late, {missing} lost",
            worst < 1 and not missing,
        ),
        (f"the banner stays away meanwhile ({following.blind} looks saw it)", following.blind == 0),
        (
            f"the page's heap is flat over {figures.minutes:g} minutes: {following.page_heap.told()}",
            following.page_heap.is_flat,
        ),
        (
            f"the server's memory is flat over {figures.minutes:g} minutes: {following.server_heap.told()}",
            following.server_heap.is_flat,
        ),
        (
            f"{cost}; {crowded.gaps} of them missed something",
            crowded.busy < 0.5 and not crowded.gaps,
        ),
    ]

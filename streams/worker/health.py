"""Judge whether this worker is alive and ready, for `/healthz` and `/readyz` (contract, HTTP of a worker).

The worker reports its actions; this module queries nothing. Alive means that a restart would not help: the worker
waits for a broker that is away. Ready means that alerts are sent now.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

#: How many of a topic's last messages are judged, and at how many unusable ones the worker is not ready.
WINDOW: Final = 200
_HALF: Final = WINDOW // 2
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """How old, in seconds, each sign of life may be.

    Attributes:
        tick_alive: The timer's last run, before a restart is needed.
        tick_ready: The timer's last run, before readers of `worker-status` count the worker as blind.
        poll: An assigned partition's last progress.
        recovery: The start of a recovery, during which nothing can be polled.
        broker: The broker's last answer.
    """

    tick_alive: float = 30.0
    tick_ready: float = 10.0
    poll: float = 30.0
    recovery: float = 300.0
    broker: float = 10.0


class Check(NamedTuple):
    """One check and its result; `why` gives the observation in a few words."""

    name: str
    ok: bool
    why: str


class Health:
    """Judges the worker's reports against `Limits`.

    Not thread-safe: it belongs to the worker's event loop.
    """

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or Limits()
        self._clock = clock
        self._ticked_at = clock()
        self._broker_at: float | None = None
        self._broker_back_at = clock()
        self._assigned_at = clock()
        self._recovered_at: float | None = None
        self._polled_at: dict[tuple[str, int], float] = {}
        self._windows: dict[str, _Window] = {}
        self._topics = ""

    def ticked(self) -> None:
        """Note that the worker's timer ran."""
        self._ticked_at = self._clock()

    def assigned(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Note that the worker owns exactly these (topic, partition) now; their state is not recovered yet."""
        self._assigned_at = now = self._clock()
        self._recovered_at = None
        self._polled_at = dict.fromkeys(partitions, now)

    def recovered(self) -> None:
        """Note that the state of all assigned partitions is complete."""
        self._recovered_at = self._clock()

    def polled(self, topic: str, partition: int) -> None:
        """Note a partition's progress: its task handled records, or a fetch confirmed that there are none."""
        if (topic, partition) in self._polled_at:
            self._polled_at[topic, partition] = self._clock()

    def broker_answered(self) -> None:
        """Note that the broker answered."""
        now = self._clock()
        if self._broker_at is None or now - self._broker_at > self._limits.broker:
            self._broker_back_at = now
        self._broker_at = now

    def topics(self, wrong: str) -> None:
        """Note a check of the topics; `wrong` states their defects, and is empty if there are none."""
        self._topics = wrong

    def usable(self, topic: str, n: int = 1) -> None:
        """Count `n` more messages of a topic that were usable."""
        self.seen(topic, n, 0)

    def unusable(self, topic: str, n: int = 1) -> None:
        """Count `n` more messages of a topic that became dead letters."""
        self.seen(topic, 0, n)

    def seen(self, topic: str, usable: int, unusable: int) -> None:
        """Count a batch of a topic; its unusable messages count as evenly spread over it."""
        window = self._windows.get(topic)
        if window is None:
            window = self._windows[topic] = _Window()
        window.add(usable + unusable, unusable)

    def alive(self) -> list[Check]:
        """Return the checks of `/healthz`."""
        return [self._tick(self._limits.tick_alive), self._progress()]

    def ready(self) -> list[Check]:
        """Return the checks of `/readyz`."""
        count = len(self._polled_at)
        return [
            Check("assigned", count > 0, f"{count} partitions" if count else "no partition is assigned"),
            self._recovery(),
            self._tick(self._limits.tick_ready),
            self._broker(),
            Check("topics", not self._topics, self._topics or "as they must be"),
            self._dead_letters(),
        ]

    def _tick(self, limit: float) -> Check:
        age = self._clock() - self._ticked_at
        return Check("tick", age <= limit, f"the timer last ran {age:.1f} s ago, {limit:g} s are allowed")

    def _recovery(self) -> Check:
        done = self._recovered_at is not None
        since = self._clock() - self._assigned_at
        return Check("recovered", done, "state is complete" if done else f"state is incomplete since {since:.1f} s")

    def _broker(self) -> Check:
        if self._broker_at is None:
            return Check("broker", ok=False, why="the broker has not answered yet")
        age = self._clock() - self._broker_at
        limit = self._limits.broker
        return Check("broker", age <= limit, f"the broker last answered {age:.1f} s ago, {limit:g} s are allowed")

    def _progress(self) -> Check:
        """Judge every assigned partition from the last moment at which it could not be expected to move.

        That is its assignment, the end of recovery, or the return of a broker that was away:

            polled   broker goes away         broker is back         the limit counts from here
            --|-------------|~~~~~ not judged ~~~~~|=================|==> stalled
        """
        name = "partitions"
        if not self._broker().ok:
            return Check(name, ok=True, why="not judged while the broker does not answer")
        floor = max(self._assigned_at, self._broker_back_at, self._recovered_at or 0.0)
        limit = self._limits.poll if self._recovered_at is not None else self._limits.recovery
        now = self._clock()
        stalled = [
            f"{topic}[{partition}] for {now - max(at, floor):.1f} s"
            for (topic, partition), at in self._polled_at.items()
            if now - max(at, floor) > limit
        ]
        if not stalled:
            return Check(name, ok=True, why=f"all {len(self._polled_at)} progress")
        more = f" and {len(stalled) - _SHOWN} more" if len(stalled) > _SHOWN else ""
        return Check(name, ok=False, why=f"no progress: {', '.join(stalled[:_SHOWN])}{more}")

    def _dead_letters(self) -> Check:
        bad = [
            f"{topic}: {window.unusable} of the last {WINDOW} messages unusable"
            for topic, window in self._windows.items()
            if window.unusable >= _HALF
        ]
        return Check("dead_letters", not bad, "; ".join(bad) or "below half of every topic")


class _Window:
    """Counts the unusable ones of the last `WINDOW` messages, as runs of (messages, unusable).

    Until so many have come, missing messages count as usable: one bad message does not make a bad gateway.
    """

    __slots__ = ("_runs", "_size", "unusable")

    def __init__(self) -> None:
        self.unusable = 0
        self._size = 0
        self._runs: deque[tuple[int, int]] = deque()

    def add(self, messages: int, unusable: int) -> None:
        if messages > WINDOW:
            messages, unusable = WINDOW, round(unusable * WINDOW / messages)
        if messages < 1:
            return
        self._runs.append((messages, unusable))
        self._size += messages
        self.unusable += unusable
        while self._size > WINDOW:
            self._drop(self._size - WINDOW)

    def _drop(self, excess: int) -> None:
        """Remove the oldest messages, at most one run; part of a mixed run is removed in proportion."""
        messages, unusable = self._runs.popleft()
        gone = min(excess, messages)
        gone_unusable = round(unusable * gone / messages)
        if gone < messages:
            self._runs.appendleft((messages - gone, unusable - gone_unusable))
        self._size -= gone
        self.unusable -= gone_unusable

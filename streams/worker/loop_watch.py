"""Measure how long the event loop is held: meanwhile every patient of this worker waits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from streams.worker.metrics import Metrics

log = logging.getLogger(__name__)

#: How often the loop wakes the watch, in seconds: the accuracy of a measured pause.
EVERY_S: Final = 0.025
#: How long, in seconds, a pause can count as the worst.
WORST_OF_S: Final = 60.0
#: The shortest pause that is logged, in seconds.
LOGGED_S: Final = 0.25


class LoopWatch:
    """Measures how much later than due the event loop runs a timer.

    This includes time that the machine gave to other processes: either way nothing was handled meanwhile.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        #: Pauses of the last minute of which none later is worse: (when, seconds), the worst first.
        self._worst: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            due = self._clock() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self.saw(self._clock() - due)

    def saw(self, seconds: float) -> None:
        """Note that a timer ran so many seconds late."""
        now, seconds = self._clock(), max(0.0, seconds)
        self._metrics.event_loop_pause_seconds.observe(seconds)
        while self._worst and self._worst[-1][1] <= seconds:
            self._worst.pop()
        self._worst.append((now, seconds))
        while now - self._worst[0][0] > WORST_OF_S:
            self._worst.popleft()
        self._metrics.event_loop_pause_worst_seconds.set(self._worst[0][1])
        if seconds >= LOGGED_S:
            log.warning("The event loop stood for %.2f s: nothing was handled meanwhile", seconds)

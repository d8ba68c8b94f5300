"""How long the event loop is held: whoever holds it keeps every patient of this worker waiting."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from streams.worker.metrics import Metrics

log = logging.getLogger(__name__)

#: How often the loop is asked to wake the watch, in seconds: a pause is seen to within this.
EVERY_S: Final = 0.025
#: How long a pause counts as the worst.
WORST_OF_S: Final = 60.0
#: A pause that is worth a line in the log, in seconds.
LOGGED_S: Final = 0.25


class LoopWatch:
    """Measures how much later than asked for the event loop runs a timer.

    What it sees includes time that the machine gave to others: either way nothing was handled meanwhile.
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
        """A timer ran so much later than it should have."""
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

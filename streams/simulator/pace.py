"""Compute when a message is due: by its own time, or at so many a second."""

import math
import time
from datetime import UTC, datetime
from typing import Final

from streams.simulator.planned import TimedMessage

AS_FAST_AS_POSSIBLE: Final = 0.0


class Pace:
    """Computes the wait before a message. The first call starts the clock."""

    def __init__(self, *, rate: float | None, speed: float, live_at: datetime | None, wall_clock: bool) -> None:
        """Choose the pace.

        Args:
            rate: Messages a second, evenly, whatever their times are; None to follow their times.
            speed: Simulated seconds a second where `rate` is None; 0 is as fast as possible.
            live_at: Messages that arrive before this are due at once (a backfill); None for the first message's time.
            wall_clock: Whether `live_at` is due when the wall clock shows it. The unit then makes up for a backfill
                that takes longer, so that at speed 1 it never lags the clock for long. Otherwise `live_at` is due when
                its first message is reached.
        """
        for name, value in (("rate", rate if rate is not None else 1.0), ("speed", speed)):
            if not math.isfinite(value) or value < 0 or (name == "rate" and value == 0):
                raise ValueError(f"The {name} {value} is out of range")
        self._rate = rate
        self._speed = speed
        self._live_at = live_at
        self._wall_clock = wall_clock
        self._origin: float | None = None
        self._count = 0

    def wait(self, message: TimedMessage) -> float:
        """Return the seconds until the message is due; 0 or less when it is."""
        if self._rate is not None:
            if self._origin is None:
                self._origin = time.monotonic()
            self._count += 1
            return self._origin + (self._count - 1) / self._rate - time.monotonic()
        if self._speed == AS_FAST_AS_POSSIBLE:
            return 0.0
        if self._live_at is None:
            self._live_at = message.received_at
        ahead = (message.received_at - self._live_at).total_seconds()
        if ahead < 0:
            return 0.0
        if self._origin is None:
            self._origin = time.monotonic()
            if self._wall_clock:
                self._origin += (self._live_at - datetime.now(UTC)).total_seconds()
        return self._origin + ahead / self._speed - time.monotonic()

"""Delay repeated corrections of an alert: two writers that contradict each other must not race."""

from __future__ import annotations

import time
from typing import Final

#: The first correction is sent at once, the second after this, each further one after twice the time.
FIRST_S: Final = 5.0
LONGEST_S: Final = 300.0
#: After so long without a correction the count begins anew.
FORGOTTEN_S: Final = 1800.0
_MOST_KEPT: Final = 10_000


class Repeats:
    """The corrections of each alert."""

    def __init__(self) -> None:
        self._given: dict[str, tuple[int, float]] = {}

    def take(self, alert_id: str) -> int | None:
        """Count a correction and return its number in a row, from 0; None where it is too soon for another one."""
        now = time.monotonic()
        count, at = self._given.pop(alert_id, (0, now - FORGOTTEN_S))
        if now - at >= FORGOTTEN_S:
            count = 0
        elif now - at < min(LONGEST_S, FIRST_S * 2 ** min(count - 1, 16)):
            self._given[alert_id] = count, at
            return None
        self._given[alert_id] = count + 1, now
        if len(self._given) > _MOST_KEPT:
            del self._given[next(iter(self._given))]
        return count

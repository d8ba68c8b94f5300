"""How soon a word that contradicts an alert's owner is answered again: two who contradict each other must not race."""

from __future__ import annotations

import time
from typing import Final

#: The first answer is given at once, the second after this, each further one after twice the time.
FIRST_S: Final = 5.0
LONGEST_S: Final = 300.0
#: After so long without a contradiction it begins anew.
FORGOTTEN_S: Final = 1800.0
_MOST_KEPT: Final = 10_000


class Repeats:
    """The answers that were given of each alert."""

    def __init__(self) -> None:
        self._given: dict[str, tuple[int, float]] = {}

    def take(self, alert_id: str) -> int | None:
        """Which answer in a row this is, from 0; None where it is too soon for another one."""
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

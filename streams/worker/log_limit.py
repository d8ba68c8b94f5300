"""Protect the log from a repeated error: it is written once a second, with its number of repeats."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: The same line is written once in so many seconds.
EVERY_S: Final = 1.0
#: How many different lines of one place in the program are written in that time.
MOST_OF_A_PLACE: Final = 10
#: How many lines are remembered; with more, the log is flooded anyhow and the rest counts as one line.
_MOST_KEYS: Final = 500
#: Lines that differ only in numbers and addresses are the same.
_VARIES: Final = re.compile(r"0x[0-9a-fA-F]+|\d+")


@dataclass(slots=True)
class _Seen:
    """A line, or a place in the program: since when, how often written, and how often held back."""

    since: float
    written: int = 0
    held: int = 0
    name: str = ""
    line: str = ""


class LogLimit(logging.Filter):
    """Passes the first of equal warnings and errors and counts the others; add it to every handler.

    Lines below WARNING pass: nothing repeats them. Several threads need a handler's lock to use it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lines: dict[tuple[str, str], _Seen] = {}
        self._places: dict[tuple[str, int], _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide whether to write a record; add the number of those held back before to its text."""
        if record.levelno < logging.WARNING:
            return True
        now, text = self._clock(), record.getMessage()
        if len(self._lines) >= _MOST_KEYS:
            self._forget(now)
        key = (record.name, _VARIES.sub("#", text[:300])) if len(self._lines) < _MOST_KEYS else ("", "")
        line = self._lines.setdefault(key, _Seen(now - EVERY_S))
        line.name, line.line = record.name, text[:120].partition("\n")[0]
        place = self._places.setdefault((record.pathname, record.lineno), _Seen(now))
        if now - place.since >= EVERY_S:
            place.since, place.written = now, 0
        if now - line.since < EVERY_S or place.written >= MOST_OF_A_PLACE:
            line.held += 1
            return False
        place.written += 1
        if line.held:
            record.msg, record.args = f"{text} ({line.held} more like it before)", ()
        line.since, line.held = now, 0
        return True

    def tell(self) -> None:
        """Log the number of each line's repeats once they have been held back long enough; call it every second."""
        now = self._clock()
        for line in [one for one in self._lines.values() if one.held and now - one.since >= EVERY_S]:
            held, line.held, line.since = line.held, 0, now
            logging.getLogger(__name__).info("%d more from %s like: %s", held, line.name, line.line)
        self._forget(now)

    def _forget(self, now: float) -> None:
        self._lines = {key: one for key, one in self._lines.items() if one.held or now - one.since < EVERY_S}
        self._places = {key: one for key, one in self._places.items() if now - one.since < EVERY_S}


def limit_logs() -> LogLimit:
    """Add a limit to the handlers of the root logger, which write for every logger of the process."""
    limit = LogLimit()
    for handler in logging.getLogger().handlers:
        handler.addFilter(limit)
    return limit

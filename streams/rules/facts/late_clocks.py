"""Whether a sender's clock is behind: its messages arrive late by the same whole number of half hours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from models.state import Reading

#: A message that arrives longer than this after the time it states is late.
LATE: Final = timedelta(minutes=5)
#: A clock that missed a change to summer time, or has another time zone, is behind by a multiple of this.
BEHIND_STEP: Final = timedelta(minutes=30)
#: How far a lag may differ from such a multiple, and two lags from one another.
BEHIND_STEADY: Final = timedelta(minutes=2)
_STEADY_S: Final = BEHIND_STEADY.total_seconds()
#: A clock that is further behind than this is no clock in another time zone.
_MOST: Final = timedelta(hours=26)


def is_behind(lags: Sequence[Reading], in_time: datetime | None) -> bool:
    """Return whether a source's newest messages were late by one multiple of half an hour, for at least `LATE`.

    People chart late, too, several things of one moment in one sitting; not by the same half hours minutes later.

    Args:
        lags: late messages in the order of arrival: when they arrived, and by how many seconds they were late.
        in_time: the newest arrival of a message that was not late.
    """
    if not lags or not _is_step(newest := lags[-1]):
        return False
    for earlier in reversed(lags[:-1]):
        if (in_time is not None and earlier.at <= in_time) or abs(newest.value - earlier.value) > _STEADY_S:
            return False
        if newest.at - earlier.at >= LATE:
            return True
    return False


def _is_step(reading: Reading) -> bool:
    lag = timedelta(seconds=reading.value)
    steps = round(lag / BEHIND_STEP)
    return steps > 0 and lag <= _MOST and abs(lag - steps * BEHIND_STEP) <= BEHIND_STEADY

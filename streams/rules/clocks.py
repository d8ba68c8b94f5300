"""When the clock of a sender is behind: its messages come late by the same whole number of half hours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from models.state import Reading

#: A message that arrives longer than this after what it tells of is late.
LATE: Final = timedelta(minutes=5)
#: A clock that missed a change to summer time, or that has another time zone, is behind by a multiple of this.
BEHIND_STEP: Final = timedelta(minutes=30)
#: So much may two lags differ from such a multiple, and from one another.
BEHIND_STEADY: Final = timedelta(minutes=2)
#: A clock that is further behind than all time zones is no clock in another zone.
_MOST: Final = timedelta(hours=26)


def is_behind(lags: Sequence[Reading], in_time: datetime | None) -> bool:
    """Whether the newest two messages of a source came late by the same multiple of half an hour.

    People chart late, too, but not twice by the same half hours to the minute.

    Args:
        lags: the newest two late messages: arrival, and by how many seconds they were late.
        in_time: the newest arrival of a message that was not late.
    """
    if len(lags) < 2 or (in_time is not None and lags[-2].at <= in_time):
        return False
    one, other = (timedelta(seconds=reading.value) for reading in lags[-2:])
    return _is_step(one) and _is_step(other) and abs(one - other) <= BEHIND_STEADY


def _is_step(lag: timedelta) -> bool:
    steps = round(lag / BEHIND_STEP)
    return steps > 0 and lag <= _MOST and abs(lag - steps * BEHIND_STEP) <= BEHIND_STEADY

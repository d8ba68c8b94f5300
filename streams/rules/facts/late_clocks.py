"""Whether a sender's clock is behind: its messages arrive late by the same time, of people a multiple of half hours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from models.state import PatientState, Reading

#: A message that arrives longer than this after the time it states is late.
LATE: Final = timedelta(minutes=5)
#: A clock that missed a change to summer time, or has another time zone, is behind by a multiple of this.
BEHIND_STEP: Final = timedelta(minutes=30)
#: How far a lag may differ from such a multiple, and two lags from one another.
BEHIND_STEADY: Final = timedelta(minutes=2)
_STEADY_S: Final = BEHIND_STEADY.total_seconds()
#: Nobody charts what a machine sends: of a machine any steady lag that is longer than an outage tells of its clock.
_MACHINE_BEHIND: Final = timedelta(hours=1)
#: A clock that is further behind than this is no clock in another time zone.
_MOST: Final = timedelta(hours=26)


def is_machine(state: PatientState, source: str) -> bool:
    """Return whether a source is the machine of a session."""
    return any(session.machine_id == source for session in state.sessions.values())


def is_behind(lags: Sequence[Reading], in_time: datetime | None, *, of_machine: bool) -> bool:
    """Return whether a source's newest messages were late by one multiple of half an hour, for at least `LATE`.

    People chart late, too, several things of one moment in one sitting; not by the same half hours minutes later. Of a
    machine any lag of an hour or more counts that stays the same: what it sends after an outage catches up.

    Args:
        lags: late messages in the order of arrival: when they arrived, and by how many seconds they were late.
        in_time: the newest arrival of a message that was not late.
        of_machine: whether the source is a machine.
    """
    if not lags or not (_is_step(newest := lags[-1]) or (of_machine and _is_long(newest))):
        return False
    for earlier in reversed(lags[:-1]):
        if (in_time is not None and earlier.at <= in_time) or abs(newest.value - earlier.value) > _STEADY_S:
            return False
        if newest.at - earlier.at >= LATE:
            return True
    return False


def _is_long(reading: Reading) -> bool:
    return _MACHINE_BEHIND <= timedelta(seconds=reading.value) <= _MOST


def _is_step(reading: Reading) -> bool:
    lag = timedelta(seconds=reading.value)
    steps = round(lag / BEHIND_STEP)
    return steps > 0 and lag <= _MOST and abs(lag - steps * BEHIND_STEP) <= BEHIND_STEADY

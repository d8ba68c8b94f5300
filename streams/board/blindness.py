"""Whether the screen can be trusted: it never looks calm while it cannot see.

It is blind while the broker does not answer, a partition's owner has sent no status for 10 s, recovers its state or
lags, and while it reads the topics for the first time. Pure: times are given, in seconds of any steady clock (`mono`)
and as instants.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from streams.board.foreign_records import PartitionStatus

#: A reader that has seen no status of a partition for so many seconds is blind (contract, Topics).
SILENT_S: Final = 10.0
#: A worker lags when it is so many seconds behind (clinical base, E09).
LAGS_S: Final = 30.0
#: Two statuses that came at least so many seconds apart were not read from the log in one go.
_APART_S: Final = 2.0
_MOST_PARTITIONS: Final = 1024


class BlindCode(StrEnum):
    """Why the screen cannot be trusted."""

    BROKER = "broker"
    NO_STATUS = "no_status"
    RECOVERING = "recovering"
    LAGGING = "lagging"


@dataclass(slots=True)
class _Heard:
    """The newest status of a partition, and when it came; `alive_at` is when its owner was last known to live."""

    status: PartitionStatus
    came_at: float
    alive_at: float | None


class Blindness:
    """Follows broker and statuses; `reasons` says at any moment why the screen is blind."""

    def __init__(self, partitions: int) -> None:
        self._partitions = range(partitions)
        self._heard: dict[int, _Heard] = {}
        self._is_read = False
        self._broker_is_away = True
        self._since: dict[BlindCode, datetime] = {}

    def watch(self, partitions: int) -> None:
        """Wait for a status of so many partitions: as many as the topics have, whatever the settings say."""
        self._partitions = range(partitions)

    def broker_answers(self, answers: bool) -> None:
        """Note whether the broker answers; before the first word it is away."""
        self._broker_is_away = not answers

    def is_read(self, done: bool) -> None:
        """Note whether the topics are read to what was their end when the reader connected."""
        self._is_read = done

    def status(self, status: PartitionStatus, mono: float, now: datetime) -> None:
        """Take a status.

        Its own time shows whether it is fresh. Where clocks differ by more than 10 s, a partition is alive once two
        different statuses have come one after the other.
        """
        before = self._heard.get(status.partition)
        if not 0 <= status.partition < _MOST_PARTITIONS or (before and status.at < before.status.at):
            return
        fresh = abs((now - status.at).total_seconds()) <= SILENT_S
        follows = (
            before is not None
            and status.at > before.status.at
            and _APART_S <= mono - before.came_at <= SILENT_S
            and status.at - before.status.at <= timedelta(seconds=2 * SILENT_S)
        )
        known = before.alive_at if before else None
        self._heard[status.partition] = _Heard(status, mono, mono if fresh or follows else known)

    def reasons(self, mono: float, now: datetime) -> list[dict[str, Any]]:
        """Return why the screen is blind, as the interface names it; empty when it sees.

        Args:
            mono: The steady clock, in seconds.
            now: The time; the first call with a reason becomes that reason's `since`.
        """
        found = self._found(mono)
        self._since = {code: self._since.get(code, now) for code in found}
        return [
            {"code": code.value, "partitions": numbers, "since": self._since[code].isoformat()}
            for code, numbers in found.items()
        ]

    def _found(self, mono: float) -> dict[BlindCode, list[int]]:
        found: dict[BlindCode, list[int]] = {}
        if self._broker_is_away:
            found[BlindCode.BROKER] = []
        silent = [number for number in self._partitions if not self._is_alive(number, mono)]
        heard = [self._heard[number].status for number in self._partitions if number not in silent]
        recovering = [status.partition for status in heard if status.recovering]
        lagging = [status.partition for status in heard if (status.lag_seconds or 0.0) > LAGS_S]
        if silent:
            found[BlindCode.NO_STATUS] = silent
        if recovering:
            found[BlindCode.RECOVERING] = recovering
        if lagging or not self._is_read:
            found[BlindCode.LAGGING] = lagging
        return found

    def _is_alive(self, number: int, mono: float) -> bool:
        heard = self._heard.get(number)
        return heard is not None and heard.alive_at is not None and mono - heard.alive_at <= SILENT_S

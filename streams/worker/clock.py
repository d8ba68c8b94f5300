"""A task's `now` beside the wall clock: when it follows records, when it runs by itself, and how it is stored.

    records come          now = the highest record timestamp taken
    all ends confirmed    now follows the wall clock at the distance it has
    broker away, lag,     now stands: an outage is not a silence
    recovery

Two looks in a row must find the ends confirmed: the time between them is what the clock gains. What it gains makes
deadlines fire and nothing else: events are evaluated where the records' timestamps are (`Partition.read_to`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from streams.engine.partition import BEGINNING, Partition
from streams.transport.api import Record

log = logging.getLogger(__name__)

#: An end offset counts as confirmed for this long (docs/decisions/0006-event-time-and-task-clock.md).
END_CONFIRMED_S: Final = 5.0
#: A record's timestamp may lie this far ahead of the wall clock where its broker gave it: the clocks of servers.
FURTHEST_AHEAD: Final = timedelta(hours=1)
#: The same where its producer gave it (message.timestamp.type=CreateTime).
PRODUCER_AHEAD: Final = timedelta(seconds=30)
#: How often it is said that a timestamp lies ahead.
SAID_EVERY_S: Final = 60.0
_LOG_APPEND_TIME: Final = 1
#: A clock that moved by itself is stored when it is so far from what was stored.
STORED_EVERY: Final = timedelta(seconds=10)


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The newest record of an input topic that was applied: its offset, and its timestamp in ms."""

    offset: int
    timestamp: int


class Clock(msgspec.Struct, omit_defaults=True):
    """The record that a task keeps of itself.

    Attributes:
        now: its clock.
        marks: how far it has read each input topic (contract name).
    """

    now: datetime
    marks: dict[str, Mark] = {}


_encode: Final = msgspec.json.Encoder().encode


class TaskClock:
    """Moves the clock of a partition's subjects.

    Args:
        subjects: whose `now` it is.
        fire: moves it on to a moment before which deadlines are due.
    """

    def __init__(self, subjects: Partition[Any], fire: Callable[[datetime], None]) -> None:
        self._subjects = subjects
        self._fire = fire
        self._followed_at: float | None = None
        #: Timestamps up to these are believed, by the last look at the wall clock.
        self._brokers_ms = self._producers_ms = 0
        #: Records since `take_ahead` that were not.
        self.ahead = 0
        self._said_at: float | None = None
        self._stored = BEGINNING
        #: How far each input topic was applied, to tell whether it is still the same one.
        self.marks: dict[str, Mark] = {}
        #: The clock that the recovered subjects had; None once it is reached again.
        self._recovered: datetime | None = None

    @property
    def is_recovering(self) -> bool:
        """Whether the clock has not yet come to where it was before the recovery."""
        return self._recovered is not None

    # -- moving

    def advance(self, to: datetime) -> None:
        """Move on to a moment; what is due before it fires first."""
        if self._subjects.is_due(to):
            self._fire(to)
        else:
            self._subjects.now = max(self._subjects.now, to)

    def reach(self, record: Record) -> None:
        """Move on to a record's timestamp: also a record that needs no filing tells how far the world is."""
        instant = self.instant(record)
        if instant > self._subjects.read_to:
            self._subjects.read_to = instant
            self.advance(instant)

    def instant(self, record: Record) -> datetime:
        """A record's timestamp; one that lies too far ahead of the wall clock, or none at all, counts as this moment.

        A producer's own time must not carry the clock away: every later event would lie behind all windows.
        """
        timestamp, by_broker = record.timestamp, record.timestamp_type == _LOG_APPEND_TIME
        if not 0 < timestamp <= (self._brokers_ms if by_broker else self._producers_ms):
            now = datetime.now(UTC)  # what was too far ahead at the last look may not be now
            self._brokers_ms = int((now + FURTHEST_AHEAD).timestamp() * 1000)
            self._producers_ms = int((now + PRODUCER_AHEAD).timestamp() * 1000)
            if not 0 < timestamp <= (self._brokers_ms if by_broker else self._producers_ms):
                self._say_ahead(record)
                return now
        return datetime.fromtimestamp(timestamp / 1000, UTC)

    def _say_ahead(self, record: Record) -> None:
        self.ahead += 1
        if self._said_at is None or time.monotonic() - self._said_at > SAID_EVERY_S:
            self._said_at = time.monotonic()
            log.warning(
                "%s[%d] offset %d has the timestamp %d ms, which is none or lies ahead of the wall clock: it counts "
                "as now, and so do others like it",
                record.topic,
                record.partition,
                record.offset,
                record.timestamp,
            )

    def take_ahead(self) -> int:
        """How many such records there were since this was last asked."""
        ahead, self.ahead = self.ahead, 0
        return ahead

    def follow(self, at_end: Callable[[float], bool]) -> None:
        """Run with the wall clock while every topic is read to an end confirmed since a moment; else stand."""
        now = time.monotonic()
        if not at_end(now - END_CONFIRMED_S):
            self._followed_at = None
            return
        if self._recovered is not None:
            self.advance(self._recovered)
            self._recovered = None
        gained = now - self._followed_at if self._followed_at is not None else 0.0
        # A longer gap was spent waiting for the broker: an outage is not a silence.
        if self._subjects.states and gained <= END_CONFIRMED_S:
            self.advance(self._subjects.now + timedelta(seconds=gained))
        self._followed_at = now

    def handled(self) -> None:
        """Records were handled just now: they brought the clock here."""
        self._followed_at = time.monotonic()
        if self._recovered is not None and self._subjects.now >= self._recovered:
            self._recovered = None

    def stand(self) -> None:
        """What the wall clock does from here to the next look is not counted."""
        self._followed_at = None

    # -- over a restart

    def adopt(self, stored: Clock | None) -> None:
        """Take up the stored clock, once the subjects are recovered: at least where the newest of them was."""
        if stored is not None:
            self._stored = stored.now
            self.marks = dict(stored.marks)
            self._subjects.now = max(self._subjects.now, self._stored)
        self._recovered = self._subjects.now

    def go_back_to(self, record: Record) -> None:
        """Let the first records after a recovery find the clock that they found before.

        What was stored of some subjects may be ahead of what is delivered again for others; looked at with that
        later clock, a silence would seem to have lasted that has long been broken. No subject goes back behind its
        own last evaluation.
        """
        if self._recovered is not None:
            self._subjects.now = min(self._subjects.now, self.instant(record))
            self._subjects.read_to = min(self._subjects.read_to, self._subjects.now)

    @property
    def is_to_be_stored(self) -> bool:
        """Whether the clock alone is worth a write: without one a quiet partition would find itself back hours."""
        return bool(self._subjects.states) and self._subjects.now - self._stored >= STORED_EVERY

    def store_again(self) -> None:
        """What was stored does not hold: the next checkpoint stores it anew."""
        self._stored = BEGINNING

    def store(self, *, always: bool = False) -> bytes | None:
        """The changelog value, None where the clock has not moved on since it was last stored.

        Args:
            always: also then, and where there are no subjects.
        """
        if not always and (not self._subjects.states or self._subjects.now <= self._stored):
            return None
        self._stored = self._subjects.now
        return _encode(Clock(self._stored, self.marks))

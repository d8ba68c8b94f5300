"""A task's `now` beside the wall clock: when it follows records, when it runs by itself, and how it is stored.

    records come          now = the highest record timestamp taken
    all ends confirmed    now follows the wall clock at the distance it has
    broker away, lag,     now stands: an outage is not a silence
    recovery

Two calls of `follow` in a row must find the ends confirmed: the clock gains the time between them. This gain makes
deadlines fire and nothing else: events are evaluated at the records' timestamps (`Partition.read_to`).

After it stood the clock runs anew (`Partition.ran_since`): what nobody could say meanwhile is no silence. In a lag, and
after a restart, it did not stand in that sense: the records tell what was said.
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
#: A timestamp from the broker may lie this far ahead of the wall clock: the clocks of servers differ.
FURTHEST_AHEAD: Final = timedelta(hours=1)
#: The same for a timestamp from the producer (message.timestamp.type=CreateTime).
PRODUCER_AHEAD: Final = timedelta(seconds=30)
#: A timestamp that lies ahead is logged at most this often.
SAID_EVERY_S: Final = 60.0
_LOG_APPEND_TIME: Final = 1
_MOMENT: Final = timedelta(microseconds=1)
#: A first record so far after a clock that stood tells that nobody could be heard in between.
LONGEST_STEP: Final = timedelta(seconds=10)
#: A clock that moved by itself is stored when it is so far ahead of the stored one.
STORED_EVERY: Final = timedelta(seconds=10)


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The newest applied record of an input topic: its offset, and its timestamp in ms."""

    offset: int
    timestamp: int


class Clock(msgspec.Struct, omit_defaults=True):
    """The record in which a task stores its own state.

    Attributes:
        now: its clock.
        marks: how far it has read each input topic (contract name).
        ran_since: since when its clock has run without standing.
    """

    now: datetime
    marks: dict[str, Mark] = {}
    ran_since: datetime = BEGINNING


_encode: Final = msgspec.json.Encoder().encode

#: Milliseconds within a second.
_MILLISECONDS: Final = tuple(timedelta(milliseconds=ms) for ms in range(1000))


class TaskClock:
    """Moves the clock of a partition's subjects.

    Args:
        subjects: whose `now` it is.
        fire: moves it to a moment before which deadlines are due.
    """

    def __init__(self, subjects: Partition[Any], fire: Callable[[datetime], None]) -> None:
        self._subjects = subjects
        self._fire = fire
        self._followed_at: float | None = None
        #: Since when it is idle without a confirmed end, and whether that was long enough to have stood.
        self._unconfirmed_at: float | None = None
        self._stood = False
        #: Timestamps up to these are believed, by the last reading of the wall clock.
        self._brokers_ms = self._producers_ms = 0
        #: The second of the newest record.
        self._second, self._began = 0, datetime.fromtimestamp(0, UTC)
        #: Number of records since `take_ahead` whose timestamp was not believed.
        self.ahead = 0
        self._said_at: float | None = None
        self._stored = BEGINNING
        #: The newest applied record of each input topic, to recognise a topic that was made anew.
        self.marks: dict[str, Mark] = {}
        #: The clock of the recovered subjects; None once it is reached again.
        self._recovered: datetime | None = None

    @property
    def is_recovering(self) -> bool:
        """Whether the clock has not yet reached its value before the recovery."""
        return self._recovered is not None

    # -- moving

    def advance(self, to: datetime) -> None:
        """Move to a moment; deadlines due before it fire first."""
        if not self._subjects.pass_quietly(to):
            self._fire(to)

    def reach(self, record: Record) -> datetime:
        """Move to a record's timestamp and return it: a record that needs no filing drives the clock as well."""
        instant = self.instant(record)
        self._read_to(instant)
        return instant

    def _read_to(self, moment: datetime) -> None:
        if moment > self._subjects.read_to:
            if self._stood:
                self._run_again(moment)
            self._subjects.read_to = moment
            self.advance(moment)

    def _run_again(self, moment: datetime) -> None:
        """Run anew from a record on, if it lies well beyond the moment at which the clock stood."""
        stood_at = max(self._subjects.now, self._recovered or BEGINNING)
        if moment >= stood_at:
            self._stood = False
            if moment - stood_at > LONGEST_STEP:
                self._subjects.stood_until(moment)

    def quiet_until(self) -> float:
        """Return the timestamp (ms) before which records are believed and no deadline is due.

        Such records may be filed before the clock moves to the newest of them (`pass_to`).
        """
        due = self._subjects.first_deadline()
        believed = min(self._brokers_ms, self._producers_ms)
        return believed if due is None else min(believed, due.timestamp() * 1000)

    def pass_to(self, timestamp: int) -> None:
        """Move to a timestamp (ms) before `quiet_until`, if there is one."""
        if timestamp:
            self._read_to(self._moment(timestamp))

    def instant(self, record: Record) -> datetime:
        """Return a record's timestamp; one too far ahead of the wall clock, or none at all, counts as this moment.

        A producer's time must not move the clock far ahead: every later event would lie behind all windows.
        """
        believed = self._believed(record)
        if believed is None:
            self._say_ahead(record)
            return datetime.now(UTC)
        return believed

    def _believed(self, record: Record) -> datetime | None:
        timestamp, by_broker = record.timestamp, record.timestamp_type == _LOG_APPEND_TIME
        if not 0 < timestamp <= (self._brokers_ms if by_broker else self._producers_ms):
            now = datetime.now(UTC)  # a timestamp too far ahead at the last reading may not be so now
            self._brokers_ms = int((now + FURTHEST_AHEAD).timestamp() * 1000)
            self._producers_ms = int((now + PRODUCER_AHEAD).timestamp() * 1000)
            if not 0 < timestamp <= (self._brokers_ms if by_broker else self._producers_ms):
                return None
        return self._moment(timestamp)

    def _moment(self, timestamp: int) -> datetime:
        second, ms = divmod(timestamp, 1000)
        if second != self._second:  # nearly all records of one second follow each other
            self._second, self._began = second, datetime.fromtimestamp(second, UTC)
        return self._began + _MILLISECONDS[ms]

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
        """Return the number of such records since the last call, and reset it."""
        ahead, self.ahead = self.ahead, 0
        return ahead

    def follow(self, at_end: Callable[[float], bool]) -> None:
        """Run with the wall clock while every topic is read to an end that was confirmed recently; else stand."""
        now = time.monotonic()
        if not at_end(now - END_CONFIRMED_S):
            self._followed_at = None
            self._unconfirmed_at = self._unconfirmed_at or now
            self._stood = self._stood or now - self._unconfirmed_at >= END_CONFIRMED_S
            return
        self._unconfirmed_at = None
        if self._stood:
            self._subjects.stood_until(max(self._subjects.now, self._recovered or BEGINNING))
            self._stood = False
        if self._recovered is not None:
            self.advance(self._recovered)
            self._recovered = None
        gained = now - self._followed_at if self._followed_at is not None else 0.0
        # A longer gap was spent waiting for the broker: an outage is not a silence.
        if gained > END_CONFIRMED_S:
            self._subjects.stood_until(self._subjects.now)
        elif len(self._subjects):
            self.advance(self._subjects.now + timedelta(seconds=gained))
        self._followed_at = now

    def begin(self) -> None:
        """Note that records are about to be handled; long after the last ones the task waited for the broker."""
        if self._followed_at is not None and time.monotonic() - self._followed_at > END_CONFIRMED_S:
            self._stood = True

    def handled(self) -> None:
        """Note that records were handled just now, which brought the clock here."""
        self._followed_at, self._unconfirmed_at = time.monotonic(), None
        if self._recovered is not None and self._subjects.now >= self._recovered:
            self._recovered = None

    def stand(self) -> None:
        """Do not count the time from here to the next `follow`."""
        self._followed_at = None

    # -- over a restart

    def adopt(self, stored: Clock | None) -> None:
        """Continue at the stored clock, once subjects are recovered, or at the newest subject's if that is later."""
        if stored is not None:
            self._stored = stored.now
            self.marks = dict(stored.marks)
            self._subjects.now = max(self._subjects.now, self._stored)
            self._subjects.stood_until(stored.ran_since)
        self._recovered = self._subjects.now

    def go_back_to(self, record: Record) -> None:
        """Set the clock back to the first record after a recovery: repeated records find their former clock.

        The stored state of some subjects may be ahead of the records delivered again for others; at that later clock,
        a silence that ended long ago would seem to last. No subject goes back behind its own last evaluation.

        What came due of other subjects until then was perhaps not stored: it is told before the record, for its own
        time, so the record has to lie ahead of what was read.
        """
        if self._recovered is not None:
            self._subjects.now = min(self._subjects.now, self._believed(record) or datetime.now(UTC))
            before = max(self._subjects.now, BEGINNING + _MOMENT) - _MOMENT
            self._subjects.read_to = min(self._subjects.read_to, before)

    @property
    def is_to_be_stored(self) -> bool:
        """Whether the clock alone is worth a write: without it a restart would set a quiet partition back by hours."""
        return len(self._subjects) > 0 and self._subjects.now - self._stored >= STORED_EVERY

    def store_again(self) -> None:
        """Let the next checkpoint store the clock again: the stored one does not hold."""
        self._stored = BEGINNING

    def store(self, *, always: bool = False) -> bytes | None:
        """Return the changelog value; None if there are no subjects, or the clock has not moved since it was stored.

        Args:
            always: return a value in these cases, too.
        """
        if not always and (not len(self._subjects) or self._subjects.now <= self._stored):
            return None
        self._stored = self._subjects.now
        return _encode(Clock(self._stored, self.marks, self._subjects.ran_since))

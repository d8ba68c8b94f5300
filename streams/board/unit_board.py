"""The unit screen without Kafka and without HTTP: records in, pages and events out. It reads given clocks.

A reader fills it through `take`; a timer calls `flush` at least every 250 ms, which coalesces what changed into one
event. When a reader begins again from the beginning, `start_over` and `finish_over` swap the picture at once, so the
old one stays on the screen (under the banner) until the new one is complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from models.alerts import Status
from models.topics import ALERTS_ACTIVE, SESSIONS_ACTIVE, WORKER_STATUS
from streams.board.answer_desk import USUAL, Answer, AnswerDesk, Limits
from streams.board.blindness import BlindCode, Blindness
from streams.board.board_metrics import BoardMetrics
from streams.board.change_feed import ChangeFeed
from streams.board.foreign_records import (
    ShownAlert,
    Unreadable,
    UnreadableError,
    key_of,
    read_alert,
    read_answer,
    read_status,
)
from streams.board.journal import Journal
from streams.board.picture import Picture
from streams.board.site_file import Site
from streams.board.tiles import Filters, Tiles

_encode: Final = msgspec.json.Encoder().encode
Json = dict[str, Any]
#: A room is drawn anew after so long, whether something has changed or not: it shows how long treatments have run.
_ALIKE: Final = timedelta(seconds=1)
#: Rooms that are kept as they were drawn, each with other filters.
_MOST_DRAWN: Final = 8


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A room as it was drawn at a moment."""

    event_id: str
    at: datetime
    room: Json

    def holds(self, event_id: str, now: datetime) -> bool:
        """Return whether it would be drawn alike: nothing has changed, and no time that it shows is old."""
        return self.event_id == event_id and timedelta(0) <= now - self.at < _ALIKE


def _now() -> datetime:
    return datetime.now(UTC)


class UnitBoard:
    """Everything that the screen knows."""

    def __init__(
        self,
        site: Site,
        partitions: int,
        metrics: BoardMetrics,
        limits: Limits = USUAL,
        *,
        now: Callable[[], datetime] = _now,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now, self.mono = now, mono
        self.site = site
        self.metrics = metrics
        self.limits = limits
        self.blindness = Blindness(partitions)
        self.journal = Journal()
        self.desk = AnswerDesk()
        self.feed = ChangeFeed(int(now().timestamp()))
        self.unreadable = 0
        self.picture = Picture()
        self._coming: Picture | None = None
        self._tiles = Tiles(site, self.picture, self.journal, self.desk, limits)
        self._drawn: dict[tuple[tuple[str, str], ...], _Drawn] = {}
        self._flushed_at = now()
        self._shown_at: datetime | None = None

    # -- records

    def take(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Take a record; `topic` is the contract's name. Never raises: what cannot be used is counted."""
        self.metrics.records.labels(topic).inc()
        try:
            self._take(topic, key, value)
        except UnreadableError as error:
            self.unreadable += 1
            self.metrics.unreadable.labels(topic, error.reason.value).inc()

    def _take(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        picture = self._coming or self.picture
        if topic == ALERTS_ACTIVE:
            alert = picture.take_alert(key_of(key), value)
            if alert is not None:
                self.desk.came_back(alert)
                self._told(alert)
        elif topic == SESSIONS_ACTIVE:
            session = picture.take_session(key_of(key), value)
            if session is not None:
                self.journal.load.session(session.session_id, session.at)
        elif topic == WORKER_STATUS:
            self._take_status(key_of(key), value)
        elif value is None:
            raise UnreadableError(Unreadable.NOT_JSON)
        elif topic.startswith("alerts."):
            self._told(read_alert(value))
        elif (answer := read_answer(value)) and self.journal.answered(answer):
            self.picture.touch(answer.alert_id.lower())

    def _take_status(self, key: str, value: bytes | None) -> None:
        if value is None:
            return
        status = read_status(value)
        if key != str(status.partition):
            raise UnreadableError(Unreadable.OTHER_KEY)
        self.blindness.status(status, self.mono(), self.now())

    def _told(self, alert: ShownAlert) -> None:
        if self.journal.take(alert, self.now()):
            self.picture.touch(alert.alert_id)

    def start_over(self) -> None:
        """Prepare for a reading from the beginning: the present picture stays until it is complete."""
        self._coming = Picture()
        self.blindness.is_read(done=False)

    def finish_over(self) -> None:
        """Show what was read from the beginning; everybody gets the whole picture again."""
        if self._coming is not None:
            self.picture, self._coming = self._coming, None
            self.picture.changes()
            self._tiles = Tiles(self.site, self.picture, self.journal, self.desk, self.limits)
            self.feed.begin_again()
        self.blindness.is_read(done=True)

    # -- events

    def flush(self) -> None:
        """Publish what changed since the last call as one event."""
        now = self.now()
        for name in self.desk.became_late(self._flushed_at, now):
            self.picture.touch(name)
        self._flushed_at = now
        changes = self.picture.changes()
        if changes and (event := self._tiles.change(changes, now)):
            self.feed.publish(_encode(event))
            self._drawn.clear()
        self.metrics.alerts.set(len(self.picture.alerts))
        self.metrics.sessions.set(len(self.picture.sessions))

    def status(self) -> Json:
        """Return whether the screen is blind, and up to when what it shows was seen."""
        now = self.now()
        reasons = self.blindness.reasons(self.mono(), now)
        if not reasons or self._shown_at is None:
            self._shown_at = now
        codes = {reason["code"] for reason in reasons}
        for code in BlindCode:
            self.metrics.blind.labels(code.value).set(code.value in codes)
        return {
            "now": now.isoformat(),
            "blind": {"is_blind": bool(reasons), "reasons": reasons},
            "shown_at": self._shown_at.isoformat(),
            "hint": {"unreadable": self.unreadable},
        }

    # -- pages

    def room(self, filters: Filters) -> Json:
        """Return the state of the room page: `event_id` is where the event stream goes on."""
        self.flush()
        return {**self.status(), "event_id": self.feed.event_id, **self._room(filters)}

    def _room(self, filters: Filters) -> Json:
        """Draw a room once for all who ask at once: after a `reload` that is every browser there is."""
        key, now, event_id = tuple(sorted(filters.words.items())), self.now(), self.feed.event_id
        self._drawn = {name: each for name, each in self._drawn.items() if each.holds(event_id, now)}
        if key not in self._drawn:
            if len(self._drawn) >= _MOST_DRAWN:
                self._drawn.clear()
            self._drawn[key] = _Drawn(event_id, now, self._tiles.room(filters, now))
        return self._drawn[key].room

    def alert(self, alert_id: str) -> Json | None:
        """Return the state of an alert's page; None where the alert is not known."""
        self.flush()
        found = self._tiles.full(alert_id, self.now())
        return {**self.status(), "event_id": self.feed.event_id, **found} if found else None

    def load(self) -> Json:
        """Return the alarm load of the last 24 h, and how many alerts wait for an answer now."""
        waiting = sum(
            kept.alert.status is Status.ACTIVE and self._tiles.is_shown(kept.alert)
            for kept in self.picture.alerts.values()
        )
        return {**self.status(), **self.journal.load.report(self.now()), "waiting": waiting}

    # -- people

    def looked(self, alert_id: str) -> None:
        """Note that somebody looks at an alert: one that ended unanswered needs not stay on the room page."""
        kept = self.picture.alerts.get(alert_id)
        if kept is not None and not kept.alert.status.is_open and self.journal.seen(alert_id):
            self.picture.touch(alert_id)

    def sent(self, answer: Answer) -> Json:
        """Note that an answer is on its way; return it as the interface names it."""
        self.desk.sent(answer)
        self.picture.touch(answer.alert_id)
        return answer.told(self.now())

    def failed(self, answer: Answer) -> None:
        """Note that Kafka did not take an answer."""
        self.desk.failed(answer)
        self.picture.touch(answer.alert_id)

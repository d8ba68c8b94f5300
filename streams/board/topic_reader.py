"""Reads the topics into the screen, for ever: whatever Kafka does, the screen goes on and says that it is blind.

Two consumers run side by side. One reads `alerts.active`, `sessions.active` and `worker-status` from their beginning:
they are the picture. The other reads the alert topics and people's answers of the last 24 h: they are the story of the
alerts and the alarm load, and never hold up the picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from models.settings import Settings
from models.topics import (
    ALERTS_ACTIVE,
    ALERTS_UNIT,
    CLINICAL_EVENTS,
    FAMILIES,
    SESSIONS_ACTIVE,
    UNIT_SIGNALS,
    WORKER_STATUS,
)
from streams.board.alarm_load import SPAN
from streams.board.unit_board import UnitBoard
from streams.kafka.clients import admin_client, consumer_client, partition_counts

_Read = Callable[[AIOKafkaConsumer], Awaitable[None]]
log = logging.getLogger(__name__)

PICTURE_TOPICS: Final = (ALERTS_ACTIVE, SESSIONS_ACTIVE, WORKER_STATUS)
STORY_TOPICS: Final = (*(f"alerts.{family}" for family in FAMILIES), ALERTS_UNIT, CLINICAL_EVENTS, UNIT_SIGNALS)
_POLL_MS: Final = 100
_MAX_RECORDS: Final = 500
#: How often the broker is asked for the ends of the topics, and how long its answer may take, in seconds.
_ASK_S: Final = 2.0
_ANSWER_S: Final = 4.0
#: A broker that has been away for so long may come back elsewhere: the client is made anew.
_GIVE_UP_S: Final = 60.0
#: The pause before the next try to connect, in seconds, at most.
_LONGEST_PAUSE_S: Final = 5.0
#: Answers are looked for a little before the first alert that is told of.
_BEFORE: Final = timedelta(minutes=10)


class _BeginAgainError(Exception):
    """What was read does not fit the topics any more; the reading begins again. The message says why, for the log."""


async def read_picture(settings: Settings, board: UnitBoard) -> None:
    """Read the picture for ever."""
    await _for_ever(settings, board, _Picture(settings, board).read, "picture")


async def read_story(settings: Settings, board: UnitBoard) -> None:
    """Read the story for ever."""
    await _for_ever(settings, board, _Story(settings, board).read, "story")


async def _for_ever(settings: Settings, board: UnitBoard, read: _Read, what: str) -> None:
    pause = 0.5
    while True:
        try:
            async with consumer_client(settings) as consumer:
                pause = 0.5
                await read(consumer)
        except _BeginAgainError as why:
            log.warning("reading the %s begins again: %s", what, why)
        except (KafkaError, OSError, TimeoutError) as error:
            if what == "picture":
                board.blindness.broker_answers(answers=False)
            log.warning("the %s cannot be read (%s), trying again", what, type(error).__name__)
        except Exception:  # a fault here must not end the screen, which shows by its banner that it is blind
            if what == "picture":
                board.blindness.broker_answers(answers=False)
            log.exception("the %s cannot be read, trying again", what)
        await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 (no secret)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


async def _partitions(settings: Settings, topics: Iterable[str]) -> list[TopicPartition]:
    """List the partitions of those topics that exist. Asking for one by its name could make it."""
    async with asyncio.timeout(2 * _ANSWER_S), admin_client(settings) as admin:
        present = await partition_counts(admin)
    return [TopicPartition(topic, number) for topic in topics for number in range(present.get(topic, 0))]


class _Picture:
    """One reading of the picture, from the beginning until the connection is given up."""

    def __init__(self, settings: Settings, board: UnitBoard) -> None:
        self._settings = settings
        self._names = {settings.topic(name): name for name in PICTURE_TOPICS}
        self._board = board
        self._away_since: float | None = None
        self._failed: str | None = None

    async def read(self, consumer: AIOKafkaConsumer) -> None:
        """Read from the beginning to the end, then live."""
        self._board.blindness.broker_answers(answers=True)
        tps = await _partitions(self._settings, self._names)
        if {tp.topic for tp in tps} != self._names.keys():
            raise _BeginAgainError("not all topics are there; `dialysis-alerts topics --create` makes them")
        active = next(full for full, name in self._names.items() if name == ALERTS_ACTIVE)
        self._board.blindness.watch(sum(tp.topic == active for tp in tps))
        consumer.assign(tps)
        async with asyncio.timeout(_ANSWER_S):
            begins, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        for tp in tps:
            consumer.seek(tp, begins[tp])
        self._board.start_over()
        self._failed = self._away_since = None
        asking = asyncio.create_task(self._ask(consumer, tps), name="ask the broker")
        try:
            await self._read(consumer, {tp: ends[tp] for tp in tps if begins[tp] < ends[tp]})
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    async def _read(self, consumer: AIOKafkaConsumer, unread: dict[TopicPartition, int]) -> None:
        is_whole = False
        while self._failed is None:
            if not is_whole:
                unread = {tp: end for tp, end in unread.items() if await consumer.position(tp) < end}
                if not unread:
                    is_whole = True
                    self._board.finish_over()
            fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
            for tp, records in fetched.items():
                for record in records:
                    self._board.take(self._names[tp.topic], record.key, record.value)
        raise _BeginAgainError(self._failed)

    async def _ask(self, consumer: AIOKafkaConsumer, tps: list[TopicPartition]) -> None:
        """Ask the broker every two seconds: a consumer says nothing when it goes away."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_ASK_S)
            try:
                positions = {tp: await consumer.position(tp) for tp in tps}
                async with asyncio.timeout(_ANSWER_S):
                    ends = await consumer.end_offsets(tps)
            except (KafkaError, OSError, TimeoutError):
                self._board.blindness.broker_answers(answers=False)
                self._away_since = self._away_since or loop.time()
                if loop.time() - self._away_since > _GIVE_UP_S:
                    self._failed = "the broker has been away for long"
                continue
            self._away_since = None
            self._board.blindness.broker_answers(answers=True)
            if any(ends[tp] < position for tp, position in positions.items()):
                self._failed = "a topic is shorter than before"


class _Story:
    """The reading of the story: it goes on where it was after a lost connection."""

    def __init__(self, settings: Settings, board: UnitBoard) -> None:
        self._settings = settings
        self._names = {settings.topic(name): name for name in STORY_TOPICS}
        self._board = board
        self._next: dict[TopicPartition, int] = {}

    async def read(self, consumer: AIOKafkaConsumer) -> None:
        """Read the last 24 h, then live."""
        tps = await _partitions(self._settings, self._names)
        if not tps:
            raise _BeginAgainError("no topic is there yet")
        consumer.assign(tps)
        since = int((self._board.now() - SPAN - _BEFORE).timestamp() * 1000)
        async with asyncio.timeout(2 * _ANSWER_S):
            found = await consumer.offsets_for_times(dict.fromkeys(tps, since))
            ends = await consumer.end_offsets(tps)
        for tp in tps:
            start = found[tp].offset if found.get(tp) is not None else ends[tp]
            known = self._next.get(tp, start)
            consumer.seek(tp, known if start <= known <= ends[tp] else start)
        while True:
            fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
            for tp, records in fetched.items():
                for record in records:
                    self._board.take(self._names[tp.topic], record.key, record.value)
                self._next[tp] = records[-1].offset + 1
            await asyncio.sleep(0)  # the picture comes first

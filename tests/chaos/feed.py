"""Plays a plan into the topics of a unit, and a reader that notes when each alert could first be seen."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from tests.chaos.logs import Place, Sent
from tests.chaos.plan import Plan
from tests.integration.alert_records import ALERT_TOPICS
from tests.integration.unit_under_test import UnitUnderTest
from tests.integration.worker_process import until

_Consumer: Any = AIOKafkaConsumer
_Producer: Any = AIOKafkaProducer

#: Seconds of unit time in one of ours: a minute, and so a round of the script, passes in a second.
SPEED: Final = 60.0
#: A request to a broker that does not answer is given up after this, and made again.
_REQUEST_MS: Final = 4000


class Feed:
    """Sends each message when its time has come, one after the other, and waits for the broker as long as it takes."""

    def __init__(self, unit: UnitUnderTest, plan: Plan, speed: float = SPEED) -> None:
        self._unit, self._plan, self._speed = unit, plan, speed
        self.started = time.monotonic()

    async def play(self) -> None:
        """Send everything; returns when the broker has acknowledged all of it."""
        producer = _Producer(
            bootstrap_servers=self._unit.bootstrap, linger_ms=0, request_timeout_ms=_REQUEST_MS, retry_backoff_ms=50
        )
        await producer.start()
        try:
            self.started = time.monotonic()
            for _, together in itertools.groupby(self._plan.messages, lambda sent: sent.stamp):
                messages = list(together)
                due = self.started + self._plan.seconds(messages[0]) / self._speed
                if messages[0] in self._plan.closing:  # the last word is said when all else is
                    due = 0.0
                if due > time.monotonic():
                    await asyncio.sleep(due - time.monotonic())
                await asyncio.gather(*(self._send(producer, sent) for sent in messages))
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(producer.stop(), 5)

    async def at_once(self) -> None:
        """Send everything as fast as it goes: a past that waits for a worker."""
        producer = _Producer(bootstrap_servers=self._unit.bootstrap, linger_ms=5, max_batch_size=256 * 1024)
        await producer.start()
        try:
            for start in range(0, len(self._plan.messages), 500):
                part = self._plan.messages[start : start + 500]
                # One after the other into the producer, which keeps the order of a partition.
                futures = [await self._put(producer, sent) for sent in part]
                await asyncio.gather(*futures)
                for sent in part:
                    sent.acknowledged = time.time()
        finally:
            await producer.stop()

    async def _send(self, producer: Any, sent: Sent) -> None:
        while True:
            try:
                await (await self._put(producer, sent))
            except KafkaError as error:
                logging.getLogger(__name__).debug("sent again: %r", error)
                await asyncio.sleep(0.1)
            else:
                sent.acknowledged = time.time()
                return

    async def _put(self, producer: Any, sent: Sent) -> Any:
        return await producer.send(
            self._unit.topic(sent.topic), sent.value, sent.key, self._unit.place(sent.key), timestamp_ms=sent.stamp
        )


class LiveReader:
    """What a screen sees: every alert topic read by offsets from the beginning on, with the time of each record."""

    def __init__(self, unit: UnitUnderTest) -> None:
        self._unit = unit
        self.seen: dict[Place, float] = {}
        self._consumer: Any = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LiveReader:
        self._consumer = _Consumer(
            bootstrap_servers=self._unit.bootstrap,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
            request_timeout_ms=_REQUEST_MS,
            retry_backoff_ms=50,
        )
        await self._consumer.start()
        numbers = {name: 1 if name == "alerts.unit" else self._unit.partitions for name in ALERT_TOPICS}
        self._consumer.assign(
            [TopicPartition(self._unit.topic(name), n) for name, count in numbers.items() for n in range(count)]
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._consumer.stop(), 5)

    async def _read(self) -> None:
        prefix = self._unit.settings.topic_prefix
        while True:
            try:
                found = await self._consumer.getmany(timeout_ms=200)
            except KafkaError:
                await asyncio.sleep(0.1)
                continue
            now = time.time()
            for tp, records in found.items():
                for record in records:
                    self.seen[Place(tp.topic.removeprefix(prefix), tp.partition, record.offset)] = now

    async def until_has(self, places: Sequence[Place], seconds: float) -> None:
        """Wait until it has read these; it may not, which is for the oracle to say."""
        with contextlib.suppress(AssertionError):
            await until(lambda: all(place in self.seen for place in places), seconds, "the reader")

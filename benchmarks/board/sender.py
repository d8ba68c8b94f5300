"""Puts the unit's records on Kafka: what was before, then transitions at a steady rate."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from benchmarks.board.unit_traffic import SESSION_EVERY_S, Record, Sent, UnitTraffic
from models.settings import Settings
from models.topics import ALERTS_UNIT, WORKER_STATUS
from streams.kafka.clients import producer_client

#: Transitions of so many seconds are sent together.
_TICK_S: Final = 0.02
_STATUS_S: Final = 1.0
#: Topics of one partition.
_SINGLE: Final = (ALERTS_UNIT, WORKER_STATUS)
#: Records of the past that may wait for the broker.
_AHEAD: Final = 5000

#: Told of each transition as it is sent: alert, number, Unix time.
Told = Callable[[str, int, float], None]


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass
class Sender:
    """Sends for one unit; use `sender` to start one."""

    settings: Settings
    traffic: UnitTraffic
    producer: AIOKafkaProducer
    sent: int = 0
    _waiting: list[asyncio.Future[Any]] = field(default_factory=list)

    async def before(self, past: int) -> int:
        """Send sessions, the past and the alerts that are open at the start.

        Returns:
            How many records lie on topics that Kafka does not compact: so many every reader gets.
        """
        for number in range(self.traffic.chairs):
            await self._send(self.traffic.session(number, now()))
        count = await self._send_all(self.traffic.past(past, now()))
        for each in self.traffic.opening(now()):
            count += await self._send_all(each.records) - 1  # the one on `alerts.active`
        await self.flush()
        return count

    async def transitions(self, rate: float, seconds: float, told: Told | None = None) -> float:
        """Send transitions at a steady rate; return how many a second it became."""
        began = time.monotonic()
        first = self.sent
        session_at = 0.0
        while (passed := time.monotonic() - began) < seconds:
            while self.sent - first < passed * rate:
                await self._transition(self.traffic.transition(now()), told)
            for each in self.traffic.tombstones(now()):
                await self._send_all(each.records)
            while session_at < passed:
                await self._send(self.traffic.next_session(now()))
                session_at += SESSION_EVERY_S / self.traffic.chairs
            await asyncio.sleep(_TICK_S)
        await self.flush()
        return (self.sent - first) / (time.monotonic() - began)

    async def _transition(self, step: Sent, told: Told | None) -> None:
        self.sent += 1
        if told is not None and step.number is not None:
            told(step.alert_id, step.number, time.time())
        await self._send_all(step.records)

    async def statuses(self) -> None:
        """Send the `worker-status` of all partitions every second, for ever."""
        while True:
            for partition in range(self.settings.partitions):
                await self._send(self.traffic.status(partition, now()))
            await asyncio.sleep(_STATUS_S)

    async def flush(self) -> None:
        """Wait until the broker has everything; what it refused is an error here."""
        waiting, self._waiting = self._waiting, []
        await asyncio.gather(*waiting)

    async def _send_all(self, records: Iterable[Record]) -> int:
        count = 0
        for record in records:
            await self._send(record)
            count += 1
        return count

    async def _send(self, record: Record) -> None:
        is_single = record.topic in _SINGLE
        self._waiting.append(
            await self.producer.send(
                self.settings.topic(record.topic),
                record.value,
                record.key.encode(),
                partition=0 if is_single else _partition(record.owner, self.settings.partitions),
                timestamp_ms=int(record.at.timestamp() * 1000) if record.at else None,
            )
        )
        if len(self._waiting) >= _AHEAD:
            await self.flush()


def _partition(owner: str, partitions: int) -> int:
    return int((murmur2(owner.encode()) & 0x7FFFFFFF) % partitions)


@contextlib.asynccontextmanager
async def sender(settings: Settings, traffic: UnitTraffic) -> AsyncIterator[Sender]:
    """Start a producer for a unit, which tells of its workers every second until the end."""
    async with producer_client(settings) as producer:
        started = Sender(settings, traffic, producer)
        telling = asyncio.create_task(started.statuses())
        try:
            yield started
        finally:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling

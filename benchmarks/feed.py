"""Publishing prepared batches: all at once before a catch-up run, or each at its time."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import murmur2

from benchmarks.workload import Message
from models.settings import Settings
from models.topics import PATIENT_TOPICS
from streams.kafka.clients import admin_client
from streams.kafka.topic_setup import ensure_topics

#: Largest batch: the default of Java's producer, as gateways send them.
BATCH_BYTES: Final = 16 * 1024
#: Messages of so many milliseconds travel together when sent in real time.
TICK_MS: Final = 20


@dataclass(slots=True)
class Parcel:
    """One prepared batch of a partition; `due_ms` is when it is sent, Unix time."""

    batch: Any
    records: int = 0
    due_ms: float = 0.0
    causes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Sent:
    """What was sent: how much, when each cause was handed to the producer, and how late the sender was."""

    records: int = 0
    seconds: float = 0.0
    at: dict[str, float] = field(default_factory=dict)
    latest_s: float = 0.0


class Feed:
    """The messages of one run as batches, and a producer to send them; use it as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Any = None
        self._parcels: dict[tuple[str, int], list[Parcel]] = defaultdict(list)

    async def __aenter__(self) -> Feed:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.brokers, acks="all", max_batch_size=BATCH_BYTES, max_request_size=4 << 20
        )
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    def pack(self, messages: Iterable[Message], *, timed: bool) -> int:
        """Put messages into batches; timed ones are sent when the clock reaches them. Returns how many."""
        count = 0
        tick = TICK_MS if timed else 1 << 60
        for message in messages:
            place = message.topic, _partition(message.key, self._settings.partitions)
            parcels, due = self._parcels[place], message.sent_ms // tick * tick + tick if timed else 0
            if not parcels or parcels[-1].due_ms != due or not self._append(parcels[-1], message):
                parcels.append(Parcel(self._producer.create_batch(), due_ms=due))
                if not self._append(parcels[-1], message):
                    raise ValueError("a message is larger than a batch")
            count += 1
        return count

    def _append(self, parcel: Parcel, message: Message) -> bool:
        if parcel.batch.append(timestamp=message.sent_ms, key=message.key, value=message.value) is None:
            return False
        parcel.records += 1
        if message.cause:
            parcel.causes.append(message.cause)
        return True

    async def send(self) -> Sent:
        """Send everything, each batch when it is due; returns when the broker has acknowledged all."""
        sent, began = Sent(), time.time()
        await asyncio.gather(*(self._pump(*place, parcels, sent) for place, parcels in self._parcels.items()))
        await self._producer.flush()
        sent.seconds = time.time() - began
        self._parcels.clear()
        return sent

    async def _pump(self, topic: str, partition: int, parcels: list[Parcel], sent: Sent) -> None:
        name = self._settings.topic(topic)
        for parcel in parcels:
            wait = parcel.due_ms / 1000 - time.time() if parcel.due_ms else 0.0
            if wait > 0:
                await asyncio.sleep(wait)
            now = time.time()
            if parcel.due_ms:
                sent.latest_s = max(sent.latest_s, now - parcel.due_ms / 1000)
            for cause in parcel.causes:
                sent.at[cause] = now
            await self._producer.send_batch(parcel.batch, name, partition=partition)
            sent.records += parcel.records


@lru_cache(100_000)
def _partition(key: bytes, partitions: int) -> int:
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


async def make_topics(settings: Settings, *, recorded: bool) -> None:
    """All topics of the contract. `recorded`: input keeps its own timestamps, as a log of the past would have them."""
    if recorded:
        async with admin_client(settings) as admin:
            await admin.create_topics(
                [
                    NewTopic(settings.topic(name), settings.partitions, 1, topic_configs={"retention.ms": "-1"})
                    for name in PATIENT_TOPICS
                ]
            )
    await ensure_topics(settings)


async def drop_topics(settings: Settings) -> None:
    """Delete every topic of a run."""
    async with admin_client(settings) as admin:
        names = [
            name
            for name in await _names(admin)
            if name.startswith((settings.topic_prefix, f"{settings.group}-")) and not name.startswith("__")
        ]
        await admin.delete_topics(names)


async def _names(admin: AIOKafkaAdminClient) -> list[str]:
    return list(await admin.list_topics())

"""From an event to its alert, under a steady load in real time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from benchmarks.catch_up import Offsets, fresh
from benchmarks.feed import Feed
from benchmarks.peers import Peer
from benchmarks.workload import SESSIONS_MS, Generator, Load
from models.settings import Settings

#: The families that the causes raise alerts of.
_TOPICS: Final = ("alerts.low-magnesium", "alerts.cramp")
#: Time to prepare the load before its first message is due.
_LEAD_S: Final = 1.0
#: What is sent in the first seconds is no steady load yet: it warms up, and does not count.
_WARM_UP_S: Final = 3.0
_GRACE_S: Final = 10.0


class _Evidence(msgspec.Struct):
    id: str


class _Alert(msgspec.Struct):
    evidence: list[_Evidence]


_decode: Final = msgspec.json.Decoder(_Alert).decode


@dataclass(frozen=True, slots=True)
class Latency:
    """From the producer's call with the event to the alert in a consumer's hands, in milliseconds.

    Attributes:
        wanted: events a second that were to be sent.
        rate: events a second that were sent.
        busy: share of a core that the worker used.
        sender_late_ms: how far the sender was behind its plan at worst; it counts in no alert's latency.
    """

    wanted: float
    rate: float
    alerts: int
    missing: int
    p50: float
    p99: float
    worst: float
    busy: float
    cpu_us: float
    sender_late_ms: float


async def latency(brokers: str, load: Load, folder: Path) -> Latency:
    """Start a worker, send the load in real time, and match alerts with the events that caused them."""
    async with fresh(brokers, recorded=False) as settings, Peer(settings, folder) as peer:
        await peer.ready()
        async with Feed(settings) as feed, _Arrivals(settings) as arrivals:
            lead = _LEAD_S + SESSIONS_MS / 1000 + load.patients * load.samples / 100_000
            shifted = replace(load, start_ms=int((time.time() + lead) * 1000))
            feed.pack(Generator(shifted).messages(), timed=True)
            late = time.time() - (shifted.start_ms - SESSIONS_MS) / 1000
            if late > 0:
                raise TimeoutError(f"preparing the load took {late:.1f} s longer than planned")
            gc.freeze()  # the messages: a collection in the sender would look like latency
            sending = asyncio.create_task(feed.send())
            await asyncio.sleep(max(0.0, shifted.start_ms / 1000 + _WARM_UP_S - time.time()))
            before = peer.usage()
            sent = await sending
            after = peer.usage()
            gc.unfreeze()
            await arrivals.until({*sent.at}, _GRACE_S)
            async with Offsets(settings) as offsets:
                await offsets.until_done(peer)
    steady = {cause: at for cause, at in sent.at.items() if at >= shifted.start_ms / 1000 + _WARM_UP_S}
    waits = sorted((arrivals.at[cause] - at) * 1000 for cause, at in steady.items() if cause in arrivals.at)
    seconds = after.at - before.at
    return Latency(
        wanted=load.rate,
        rate=(sent.records - load.patients) / load.seconds,
        alerts=len(waits),
        missing=len(steady) - len(waits),
        p50=percentile(waits, 50),
        p99=percentile(waits, 99),
        worst=waits[-1] if waits else float("inf"),
        busy=(after.cpu - before.cpu) / seconds,
        cpu_us=(after.cpu - before.cpu) / (load.rate * seconds) * 1e6,
        sender_late_ms=sent.latest_s * 1000,
    )


def percentile(values: list[float], share: float) -> float:
    """The smallest of the sorted values that `share` percent of them do not exceed; infinite if there are none."""
    if not values:
        return float("inf")
    return values[min(len(values) - 1, max(0, -(-len(values) * share // 100).__int__() - 1))]


class _Arrivals:
    """Reads alerts and notes when each piece of evidence was first seen; use it as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self.at: dict[str, float] = {}
        self._settings = settings
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> _Arrivals:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.brokers, enable_auto_commit=False, fetch_max_wait_ms=100
        )
        await consumer.start()
        self._stack.push_async_callback(consumer.stop)
        consumer.assign(
            [
                TopicPartition(self._settings.topic(topic), number)
                for topic in _TOPICS
                for number in range(self._settings.partitions)
            ]
        )
        await consumer.seek_to_beginning()
        reading = asyncio.create_task(self._read(consumer))

        async def stop() -> None:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

        self._stack.push_async_callback(stop)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        async for values in _values(consumer):
            now = time.time()
            for value in values:
                for item in _decode(value).evidence:
                    self.at.setdefault(item.id, now)

    async def until(self, causes: set[str], seconds: float) -> None:
        """Wait until all causes were seen, at most so long."""
        deadline = time.monotonic() + seconds
        while not causes <= self.at.keys() and time.monotonic() < deadline:  # noqa: ASYNC110 (seen by another task)
            await asyncio.sleep(0.05)


async def _values(consumer: AIOKafkaConsumer) -> AsyncIterator[list[bytes]]:
    while True:
        fetched = await consumer.getmany(timeout_ms=1000)
        yield [record.value for records in fetched.values() for record in records if record.value]

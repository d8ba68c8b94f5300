"""A catch-up round: a recorded log lies on the broker, a fresh peer works it off."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from benchmarks.feed import Feed, drop_topics, make_topics
from benchmarks.peers import Peer, Usage
from benchmarks.reference import alerts_sent
from benchmarks.workload import Message
from models.alerts import AlertRecord
from models.settings import Settings
from models.topics import PATIENT_TOPICS
from streams.kafka.clients import admin_client, committed, consumer_client

_POLL_S: Final = 0.025
_LONGEST_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class CatchUp:
    """One round. The time runs from the first event until the committed offsets are at the end of the log."""

    peer: str
    events: int
    seconds: float
    cpu: float
    rss_before: int
    rss_after: int
    alerts: list[AlertRecord]

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds an event, all threads of the peer."""
        return self.cpu / self.events * 1e6

    @property
    def per_cpu_second(self) -> float:
        """Events per CPU-second."""
        return self.events / self.cpu


@contextlib.asynccontextmanager
async def fresh(brokers: str, *, recorded: bool) -> AsyncIterator[Settings]:
    """Settings with topics and a group of their own, which are gone afterwards."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(brokers=brokers, topic_prefix=f"{name}.", group=name, http=f"127.0.0.1:{port}", partitions=8)
    await make_topics(settings, recorded=recorded)
    try:
        yield settings
    finally:
        await drop_topics(settings)


async def catch_up(settings: Settings, kind: type[Peer], messages: Iterable[Message], folder: Path) -> CatchUp:
    """Publish the messages, start the peer, measure until all is committed, and read its alerts."""
    async with Feed(settings) as feed:
        feed.pack(messages, timed=False)
        sent = await feed.send()
    async with Offsets(settings) as offsets, kind(settings, folder) as peer:
        first = await peer.first()
        await offsets.until_done(peer)
        last = peer.usage()
    return _round(kind.name, sent.records, first, last, await alerts_sent(settings))


def _round(name: str, events: int, first: Usage, last: Usage, alerts: list[AlertRecord]) -> CatchUp:
    return CatchUp(name, events, last.at - first.at, last.cpu - first.cpu, first.rss, last.rss, alerts)


class Offsets:
    """Compares what a group has committed with where the input ends; use it as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = contextlib.AsyncExitStack()
        self._admin: AIOKafkaAdminClient
        self._ends: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Offsets:
        self._admin = await self._stack.enter_async_context(admin_client(self._settings))
        tps = [
            TopicPartition(self._settings.topic(name), number)
            for name in PATIENT_TOPICS
            for number in range(self._settings.partitions)
        ]
        async with consumer_client(self._settings) as consumer:
            self._ends = {tp: end for tp, end in (await consumer.end_offsets(tps)).items() if end}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def until_done(self, peer: Peer) -> None:
        """Wait until everything is committed.

        Raises:
            TimeoutError: it takes too long.
            PeerError: the peer ended.
        """
        deadline = time.monotonic() + _LONGEST_S
        while time.monotonic() < deadline:
            peer.usage()
            done = await committed(self._admin, self._settings.group, list(self._ends))
            if all(tp in done and done[tp].offset >= end for tp, end in self._ends.items()):
                return
            await asyncio.sleep(_POLL_S)
        raise TimeoutError(f"{peer.name} did not reach the end of the log in {_LONGEST_S:.0f} s")

"""A whole transport without a broker: the real app, agents, tables, queues and delivery loop on a pretended thread.

    bench = await Bench(monkeypatch).start()
    await bench.assign(0)                # a generation of the group: this worker owns partition 0
    bench.put(3)                         # three records on the input topic
    await bench.until(lambda: len(bench.got) == 3)
    await bench.stop()

A test holds the code at a dangerous place with a `Hold`: it is awaited there, tells that it was reached, and returns
when it is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.consumer import ConsumerThread as FaustThread
from mode import Service

from models.settings import Settings
from streams.transport import TP, App, Batch, TopicSet, batches, create_app, run
from streams.transport import consumer as consumer_module
from streams.transport import recovery as recovery_module
from streams.transport.changelog import Replica
from streams.transport.thread import Answer, LightRecord

TOPICS = TopicSet("toys", ("in", "more"), 2)


class Hold:
    """A place in the code at which it stops until let go."""

    def __init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, *_: Any, **__: Any) -> None:
        self.reached.set()
        await self.go.wait()


async def passes(*_: Any, **__: Any) -> None:
    """Holds nothing."""


async def spin(turns: int = 50) -> None:
    """Lets everything that can go on go on."""
    for _ in range(turns):
        await asyncio.sleep(0)


class FakeThread(Service):
    """What `ConsumerThread` is to the consumer: logs, positions and committed offsets, all in memory."""

    def __init__(self, consumer: Any, **_: Any) -> None:
        super().__init__()
        self.consumer = consumer
        self.logs: dict[TP, list[LightRecord]] = defaultdict(list)
        self.positions: dict[TP, int] = {}
        self.committed: dict[TP, int] = {}
        #: What each call to commit asked for, and what it shall answer; True when nothing is left.
        self.commits: list[dict[TP, int]] = []
        self.answers_to_commit: list[bool | Exception] = []
        self.generation = -1
        self.assigned: set[TP] = set()
        self.subscribed = asyncio.Event()
        self.created: list[str] = []
        self.answers: dict[TP, Answer] = {}
        self.fetched: dict[TP, int] = {}
        self.heartbeat_at: float | None = None
        self.on_fetched: Callable[[], Awaitable[None]] = passes
        self.on_sought: Callable[[], Awaitable[None]] = passes
        self.on_commit: Callable[[], Awaitable[None]] = passes
        self._woken = asyncio.Event()

    # -- as the consumer uses it

    async def subscribe(self, topics: Iterable[str]) -> None:
        self.subscribed.set()

    def assignment(self) -> set[TP]:
        return set(self.assigned)

    def wake(self) -> None:
        self._woken.set()

    def next_offset(self, tp: TP) -> int | None:
        return self.positions.get(tp)

    def close(self) -> None:
        pass

    def verify_event_path(self, now: float, tp: TP) -> None:
        pass

    async def create_topic(self, topic: str, *_: Any, **__: Any) -> None:
        self.created.append(topic)

    async def start_at_committed(self, tps: Iterable[TP]) -> dict[TP, int]:
        positions = {TP(*tp): self.committed.get(TP(*tp), 0) for tp in tps}
        self.positions |= positions
        await self.on_sought()
        return positions

    async def fetch(self, active: frozenset[TP], epoch: int, turn: int, size: int) -> list[tuple[TP, Any]]:
        while True:
            self._woken.clear()
            if (self.consumer.epoch, self.consumer.turn) != (epoch, turn):
                return []
            if slices := [(tp, records) for tp in sorted(active) if (records := self._next(tp, size))]:
                await self.on_fetched()
                return slices
            await self._woken.wait()

    def _next(self, tp: TP, size: int) -> list[LightRecord]:
        start = self.positions.get(tp, 0)
        records = self.logs[tp][start : start + size]
        self.positions[tp] = start + len(records)
        return records

    async def commit(self, offsets: Mapping[Any, int]) -> bool:
        asked = {TP(*tp): offset for tp, offset in offsets.items()}
        self.commits.append(asked)
        await self.on_commit()
        answer = self.answers_to_commit.pop(0) if self.answers_to_commit else True
        if isinstance(answer, Exception):
            raise answer
        if answer:
            self.committed |= asked
        return answer

    # Faust's threads run these two in the main loop; here is no other.
    on_partitions_revoked = FaustThread.on_partitions_revoked
    on_partitions_assigned = FaustThread.on_partitions_assigned


class FakeProducer:
    """An `AIOKafkaProducer` that is never asked for anything but to start and stop."""

    _message_accumulator = SimpleNamespace(drain_by_nodes=None)

    start = stop = flush = passes


class Bench:
    """A running app; its agent keeps what it is given, and acknowledges it if `acks`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings | None = None) -> None:
        monkeypatch.setattr(consumer_module, "ConsumerThread", FakeThread)
        monkeypatch.setattr(consumer_module.Producer, "_new_producer", lambda *_: FakeProducer())
        monkeypatch.setattr(recovery_module, "read_changelogs", self._read_changelogs)
        self.app: App = create_app(settings or Settings(group="bench", partitions=TOPICS.partitions, batch_max=1))
        self.got: list[Batch] = []
        self.acks = True
        self.handle: Callable[[Batch], Awaitable[None]] = passes
        #: What the listener was told, in order.
        self.told: list[tuple[str, set[int]]] = []
        self.on_told_assigned: Callable[[], Awaitable[None]] = passes
        self.on_told_revoked: Callable[[], Awaitable[None]] = passes
        self.on_read: Callable[[], Awaitable[None]] = passes
        self.agent: Any = self.app.agent(self.app.attach(TOPICS, self))(self._agent)
        self._stop = asyncio.Event()
        self._started = False
        self.running: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def _agent(self, stream: Any) -> None:
        async for batch in batches(stream):
            self.got.append(batch)
            await self.handle(batch)
            if self.acks:
                batch.ack()

    async def _read_changelogs(self, _: Any, wanted: Mapping[str, Iterable[int]], *__: Any) -> Any:
        await self.on_read()
        return {topic: {number: Replica() for number in numbers} for topic, numbers in wanted.items()}

    async def on_assigned(self, partitions: set[int], recovered: Any) -> None:
        self.told.append(("assigned", partitions))
        await self.on_told_assigned()

    async def on_revoked(self, partitions: set[int]) -> set[int]:
        self.told.append(("revoked", partitions))
        await self.on_told_revoked()
        return set()

    # -- what tests do

    @property
    def consumer(self) -> Any:
        return self.app.batch_consumer

    @property
    def thread(self) -> Any:
        return self.consumer.thread

    @property
    def delivered(self) -> list[tuple[str, int, int]]:
        """Topic, partition and offset of every record that the agent was given."""
        return [(batch.topic, batch.partition, record.offset) for batch in self.got for record in batch.records]

    async def start(self) -> Bench:
        self._started = True
        self.running = asyncio.ensure_future(run(self.app, self._stop))
        await self.until(self.thread.subscribed.is_set)
        return self

    async def stop(self) -> None:
        self._stop.set()
        async with asyncio.timeout(5):
            await self.running

    async def end(self) -> None:
        """Stops what a failed test has left running."""
        if self._started and not self.running.done():
            with contextlib.suppress(BaseException):
                await self.stop()
            self.running.cancel()

    async def revoke(self) -> None:
        """What a rebalance begins with."""
        self.app.on_rebalance_start()
        await self.consumer.on_partitions_revoked(self.thread.assignment())

    async def assign(self, *numbers: int, wait: bool = True) -> None:
        """What a rebalance ends with, in a new generation; returns when the flow is open, unless told not to wait."""
        thread = self.thread
        thread.generation = max(1, thread.generation + 1)
        topics = (*TOPICS.topics, TOPICS.changelog(self.app.settings.group))
        thread.assigned = {TP(topic, number) for topic in topics for number in numbers}
        self.app.rebalancing = True
        self.app.consumer_generation_id = thread.generation
        await self.consumer.on_partitions_assigned(thread.assignment(), thread.generation)
        if wait:
            await self.until(lambda: not self.app.rebalancing)

    def put(self, count: int, topic: str = "in", partition: int = 0) -> None:
        """Appends records to a log."""
        tp = TP(topic, partition)
        log = self.thread.logs[tp]
        for _ in range(count):
            log.append(LightRecord(*tp, len(log), 1000, 0, b"k", b"v", ()))
        self.thread.wake()

    async def until(self, condition: Callable[[], Any], seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                if self.running.done():
                    self.running.result()
                await asyncio.sleep(0)

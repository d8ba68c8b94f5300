"""What the changelog writer repeats, and when it refuses; and that a batch does not outlive its time."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, MessageSizeTooLargeError

from models.settings import Settings
from streams.transport import TP, StaleGenerationError, TopicSet, create_app
from streams.transport.app import HEARTBEAT_SHARE, REQUEST_SHARE, App
from streams.transport.changelog import Stamp
from streams.transport.ownership import Claim
from streams.worker import sender
from streams.worker.changelog_writer import ChangelogWriter, UnstoredError
from streams.worker.sender import NeverSendsError

TOPICS = TopicSet("toys", ("in",), 1)
SETTINGS = Settings()


class FakeBatch:
    """Takes two records."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None, Stamp]] = []

    def append(self, *, timestamp: None, key: bytes, value: bytes | None, headers: Any) -> object | None:
        if len(self.records) == 2:
            return None
        self.records.append((key, value, Stamp.of(headers)))
        return self

    def close(self) -> None:
        pass

    def record_count(self) -> int:
        return len(self.records)


class FakeApp:
    """An owner of partition 0 whose producer fails as it is told."""

    def __init__(self, *failures: Exception | None) -> None:
        self.settings = SETTINGS
        self.failures = list(failures)
        self.sent: list[FakeBatch] = []
        self.claim: Claim | None = Claim(3, Stamp(0, 3, 1), 0)
        self.beating = True
        self.kafka_producer = SimpleNamespace(create_batch=FakeBatch, send_batch=self._send_batch)
        self.attempts = 0
        self.end = 0

    @property
    def heartbeat_at(self) -> float:
        return time.monotonic() if self.beating else 0.0

    def claim_of(self, table: str, partition: int) -> Claim:
        if self.claim is None or partition != 0:
            raise StaleGenerationError
        return self.claim

    async def _send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        self.attempts += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            future.set_exception(failure)
        else:
            self.sent.append(batch)
            future.set_result(SimpleNamespace(offset=self.end))
            self.end += len(batch.records)
        return future

    @property
    def keys(self) -> list[list[bytes]]:
        return [[key for key, _, _ in batch.records] for batch in self.sent]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "RETRY_SECONDS", 0)


def writer(app: FakeApp) -> ChangelogWriter:
    return ChangelogWriter(app, TOPICS)  # type: ignore[arg-type]


ENTRIES: dict[bytes, bytes | None] = {b"a": b"1", b"b": None, b"c": b"3", b"d": b"4", b"e": b"5"}


async def test_a_write_is_cut_into_batches_under_one_stamp() -> None:
    app = FakeApp()
    await writer(app).write(0, ENTRIES)
    await writer(app).write(0, {b"a": b"2"})
    assert app.keys == [[b"a", b"b"], [b"c", b"d"], [b"e"], [b"a"]]
    stamps = [stamp for batch in app.sent for _, _, stamp in batch.records]
    assert stamps == [Stamp(0, 3, 1)] * 5 + [Stamp(0, 3, 2)]


async def test_only_what_failed_is_repeated() -> None:
    app = FakeApp(None, KafkaConnectionError(), None, KafkaTimeoutError())
    await writer(app).write(0, ENTRIES)
    assert app.keys == [[b"a", b"b"], [b"e"], [b"c", b"d"]]


async def test_it_is_not_repeated_when_the_partition_is_lost_meanwhile() -> None:
    app = FakeApp(KafkaTimeoutError())

    class Lost(FakeBatch):
        def close(self) -> None:
            app.failures = [KafkaTimeoutError()]
            app.kafka_producer.send_batch = self._lose

        async def _lose(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[Any]:
            app.claim = None
            return await app._send_batch(batch, topic, partition=partition)

    app.kafka_producer.create_batch = Lost
    with pytest.raises(StaleGenerationError):
        await writer(app).write(0, {b"a": b"1"})
    assert app.attempts == 1


async def test_a_task_that_outlived_its_partition_cannot_write_into_the_next_generation() -> None:
    app = FakeApp()
    app.beating = False
    waiting = asyncio.ensure_future(writer(app).write(0, {b"a": b"old"}))
    await asyncio.sleep(0.1)
    app.claim = Claim(4, Stamp(0, 4, 1), 0)  # lost and won again while it waited
    app.beating = True
    with pytest.raises(StaleGenerationError):
        await waiting
    with pytest.raises(StaleGenerationError):
        await writer(app).write(0, {b"a": b"old"}, generation=3)
    assert app.attempts == 0


@pytest.mark.parametrize("value", [b"x" * (SETTINGS.max_message_bytes + 1), b"x"])
async def test_what_is_hopeless_is_said(value: bytes) -> None:
    with pytest.raises(NeverSendsError):
        await writer(FakeApp(MessageSizeTooLargeError())).write(0, {b"a": value})


async def test_what_the_broker_refuses_is_named_and_the_rest_is_stored() -> None:
    app = FakeApp()
    send = app.kafka_producer.send_batch

    async def narrow(batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        if any(len(value or b"") > 2 for _, value, _ in batch.records):
            app.failures = [MessageSizeTooLargeError()]
        sent: asyncio.Future[Any] = await send(batch, topic, partition=partition)
        return sent

    app.kafka_producer.send_batch = narrow
    entries = {b"a": b"1", b"b": b"large", b"c": b"2", b"d": b"3", b"e": b"x" * (SETTINGS.max_message_bytes + 1)}
    with pytest.raises(UnstoredError) as raised:
        await writer(app).write(0, entries)
    assert raised.value.keys == {b"b", b"e"}
    assert sorted(key for keys in app.keys for key in keys) == [b"a", b"c", b"d"]


def test_the_shares_of_the_session_leave_no_time_for_two_owners() -> None:
    # A heartbeat may be this old; then a batch waits for its last attempt; then the attempt takes its time.
    assert HEARTBEAT_SHARE + 2 * REQUEST_SHARE < 1
    assert max(HEARTBEAT_SHARE, REQUEST_SHARE) < 0.5
    # And heartbeats come often enough for one to be lost.
    assert HEARTBEAT_SHARE > 2 / 6


def unstarted_producer() -> tuple[Any, Any]:
    """The app's producer and what it has to send."""
    transport: Any = create_app(SETTINGS).producer
    producer = transport._new_producer()
    accumulator = producer._message_accumulator
    accumulator._cluster = SimpleNamespace(leader_for_partition=lambda _: 1)
    return producer, accumulator


@pytest.mark.parametrize(("age", "leaves"), [(HEARTBEAT_SHARE + REQUEST_SHARE, True), (1.01 - REQUEST_SHARE, False)])
async def test_no_attempt_begins_that_may_end_in_another_generation(
    monkeypatch: pytest.MonkeyPatch, age: float, leaves: bool
) -> None:
    """Whoever was frozen after the fence let it pass has a batch that is made just now."""
    producer, accumulator = unstarted_producer()
    heartbeat = time.monotonic() - SETTINGS.session_timeout * age
    monkeypatch.setattr(App, "heartbeat_at", heartbeat)
    made = await accumulator.add_message(TopicPartition("t", 0), b"k", b"v", 1)
    await asyncio.sleep(0.01)
    nodes, _ = accumulator.drain_by_nodes(ignore_nodes=set(), muted_partitions=set())
    assert bool(nodes) is leaves
    assert made.done() is not leaves
    if not leaves:
        assert isinstance(made.exception(), KafkaTimeoutError)
    producer._closed = True  # it was never started


async def test_no_attempt_begins_after_a_batch_has_expired() -> None:
    producer, accumulator = unstarted_producer()
    old, new = TopicPartition("t", 0), TopicPartition("t", 1)
    expired = await accumulator.add_message(old, b"k", b"v", 1)
    accumulator._batches[old][0]._ttl = 0
    fresh = await accumulator.add_message(new, b"k", b"v", 1)
    await asyncio.sleep(0.01)
    nodes, _ = accumulator.drain_by_nodes(ignore_nodes=set(), muted_partitions=set())
    assert {tp for batches in nodes.values() for tp in batches} == {new}
    assert isinstance(expired.exception(), KafkaTimeoutError)
    assert not fresh.done()
    producer._closed = True  # it was never started


async def test_what_others_wrote_between_our_writes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[range, Stamp]] = []

    async def foreign(settings: Settings, tp: TP, offsets: range, ours: Stamp) -> set[bytes]:
        asked.append((offsets, ours))
        return {b"z"}

    monkeypatch.setattr("streams.worker.changelog_writer.foreign_keys", foreign)
    app = FakeApp()
    assert not await writer(app).write(0, ENTRIES)
    assert asked == []
    app.end += 2  # a worker that had been frozen, between its last look and its last write
    assert await writer(app).write(0, {b"a": b"1"}) == {b"z"}
    assert [offsets for offsets, _ in asked] == [range(5, 7)]
    assert asked[0][1][:2] == (0, 3)
    assert not await writer(app).write(0, {b"a": b"2"})


async def test_the_known_end_is_that_of_the_log_while_nobody_else_writes() -> None:
    app = FakeApp(None, KafkaConnectionError())
    await writer(app).write(0, ENTRIES)
    assert app.claim is not None
    assert app.claim.end == app.end == 5

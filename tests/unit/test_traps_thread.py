"""More traps of Faust 0.15.3 and aiokafka (see test_traps.py): the thread that talks to the broker.

The thread is the real one, run in this loop, on a pretended aiokafka consumer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaTimeoutError,
)
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread as FaustThread

from models.settings import Settings
from streams.transport import TP, TopicSet, create_app
from streams.transport import thread as thread_module
from streams.transport.api import Slice
from streams.transport.thread import FETCH_WAIT_MS, LightRecord
from tests.unit.fake_thread import Hold, passes, spin

IN = TopicPartition("in", 0)
ACTIVE = frozenset({TP("in", 0)})
TOPICS = TopicSet("toys", ("in",), 1)


class FakeFetcher:
    """Holds records that were fetched and not handed out."""

    def __init__(self) -> None:
        self._closed = False
        self._records: dict[Any, Any] = {}
        #: One partition is assigned; the last answer about it came a second after the process began.
        assignment = SimpleNamespace(active=True, state_value=lambda _: SimpleNamespace(timestamp=1000.0))
        self._subscriptions = SimpleNamespace(
            fetch_context=nullcontext,
            reassignment_in_progress=False,
            subscription=SimpleNamespace(assignment=assignment),
        )
        self.waiter: asyncio.Future[None] | None = None
        self.on_request = passes

    def has(self, *offsets: int) -> None:
        self._records[IN] = Slice(LightRecord(*IN, offset, 0, 0, None, b"", ()) for offset in offsets)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def _create_fetch_waiter(self) -> asyncio.Future[None]:
        self.waiter = asyncio.get_running_loop().create_future()
        return self.waiter

    async def fetched_records(self, tps: set[Any], **_: int) -> dict[Any, Any]:
        return {tp: self._records.pop(tp) for tp in tps}

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        await self.on_request()
        return True


class FakeConsumer:
    """An `AIOKafkaConsumer` of one partition with the offsets 3 to 10."""

    def __init__(self) -> None:
        self._closed = False
        self._fetcher = FakeFetcher()
        self._coordinator = SimpleNamespace(
            generation=1, fetch_committed_offsets=self._fetch_committed, _do_heartbeat=self._heartbeat
        )
        self.committed: dict[Any, Any] = {}
        self.commits: list[dict[Any, Any]] = []
        self.sought: dict[Any, int] = {}
        self.paused: set[Any] = set()
        self.on_heartbeat = passes
        self.answered = True
        self.refuses: Exception | None = None
        self.on_commit = passes

    async def _heartbeat(self) -> bool:
        await self.on_heartbeat()
        return self.answered

    async def _fetch_committed(self, tps: Any) -> dict[Any, Any]:
        return self.committed

    async def beginning_offsets(self, tps: Any) -> dict[Any, int]:
        return dict.fromkeys(tps, 3)

    async def end_offsets(self, tps: Any) -> dict[Any, int]:
        return dict.fromkeys(tps, 10)

    async def commit(self, offsets: dict[Any, Any]) -> None:
        await self.on_commit()
        if self.refuses is not None:
            raise self.refuses
        self.commits.append(offsets)

    def seek(self, tp: Any, offset: int) -> None:
        self.sought[tp] = offset

    def pause(self, *tps: Any) -> None:
        self.paused.update(tps)


@pytest.fixture
async def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeConsumer:
    made = FakeConsumer()

    async def starts(thread: Any) -> None:
        thread._consumer = made

    monkeypatch.setattr(FaustThread, "on_start", starts)
    monkeypatch.setattr(FaustThread, "on_partitions_assigned", passes)
    monkeypatch.setattr(FaustThread, "assignment", lambda _: {IN})
    return made


@pytest.fixture
async def thread(kafka: FakeConsumer) -> Any:
    app = create_app(Settings(group="g", rebalance_timeout=6))
    app.attach(TOPICS, None)  # type: ignore[arg-type]
    made = app.batch_consumer.thread
    await made.on_start()
    return made


# -- fetching ----------------------------------------------------------------------------------------------------------


async def test_nothing_leaves_aiokafka_once_a_rebalance_has_begun(thread: Any, kafka: FakeConsumer) -> None:
    """What leaves it after the seek of the next generation is thrown away, and never comes again (#596)."""
    fetcher = kafka._fetcher
    fetching = asyncio.ensure_future(thread._fetch(ACTIVE, thread.consumer.epoch, thread.consumer.turn, 10))
    await spin()
    assert fetcher.waiter is not None
    thread.consumer.epoch += 1  # the main loop begins a rebalance, and at the same moment records come
    fetcher.has(0, 1)
    assert await fetching == []
    assert IN in fetcher._records


async def test_nothing_leaves_aiokafka_while_it_is_assigned_anew(thread: Any, kafka: FakeConsumer) -> None:
    """Its `fetched_records` would wait there, for as long as the rebalance lasts, and then hand out."""
    kafka._fetcher._subscriptions.reassignment_in_progress = True
    kafka._fetcher.has(0)
    fetching = asyncio.ensure_future(thread._fetch(ACTIVE, thread.consumer.epoch, thread.consumer.turn, 10))
    await spin()
    assert IN in kafka._fetcher._records
    thread.consumer.epoch += 1
    thread._wake.set()
    assert await fetching == []


async def test_a_wake_between_the_look_and_the_wait_is_not_lost(
    thread: Any, kafka: FakeConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost, a resumed partition would wait out an idle fetch."""
    monkeypatch.setattr(thread_module, "_IDLE_SECONDS", 60)

    class Looked:
        """The main loop resumes a partition in the moment in which the fetch has just looked."""

        epoch = 0
        looks = 0

        @property
        def turn(self) -> int:
            self.looks += 1
            if self.looks == 1:
                thread._wake.set()
                return 0
            return 1

    thread.consumer = Looked()
    async with asyncio.timeout(2):
        assert await thread._fetch(ACTIVE, 0, 0, 10) == []


async def test_a_fetch_does_not_wait_long_at_the_broker(thread: Any) -> None:
    """Faust's waits 1.5 s, and a partition that is resumed meanwhile waits with it."""
    made = thread._create_worker_consumer(thread.transport)
    assert made._fetch_max_wait_ms == FETCH_WAIT_MS <= 100
    made._closed = True  # it was never started


async def test_an_end_is_confirmed_by_an_answer_only(thread: Any, kafka: FakeConsumer) -> None:
    """aiokafka returns from a request that failed as from one that was answered."""
    state = SimpleNamespace(timestamp=None, highwater=None, lso=None)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    request = SimpleNamespace(topics=[("in", [(0, 3)])])
    await kafka._fetcher._proc_fetch_request(assignment, 1, request)
    assert thread.answers == {}

    async def answers() -> None:
        state.timestamp, state.highwater = 1, 10

    kafka._fetcher.on_request = answers
    await thread.on_start()
    await kafka._fetcher._proc_fetch_request(assignment, 1, request)
    assert thread.answers[TP("in", 0)].highwater == 10


async def test_an_answer_of_the_last_generation_confirms_nothing(thread: Any) -> None:
    thread.answers[TP("in", 0)], thread.fetched[TP("in", 0)] = object(), 7
    await thread.on_partitions_assigned({TP("in", 0)}, 2)
    assert thread.answers == thread.fetched == {}


async def test_the_changelog_is_not_fetched_by_the_group(thread: Any, kafka: FakeConsumer) -> None:
    """Faust reads it through its stream, one record at a time: 4,000 a second."""
    await thread.on_partitions_assigned({TP("in", 0), TP("g-toys-changelog", 0)}, 2)
    assert kafka.paused == {TopicPartition("g-toys-changelog", 0)}


async def test_faust_guesses_at_no_stalls(thread: Any, caplog: pytest.LogCaptureFixture) -> None:
    """From books that batches bypass it would call every healthy partition stuck."""
    thread.time_started = 0.0
    with caplog.at_level(logging.ERROR):
        thread.verify_event_path(time.monotonic() + 1e6, TP("in", 0))
        thread.verify_recovery_event_path(time.monotonic() + 1e6, TP("in", 0))
    assert not caplog.records


# -- heartbeats --------------------------------------------------------------------------------------------------------


async def test_a_heartbeat_counts_from_when_it_was_sent_and_if_it_was_answered(
    thread: Any, kafka: FakeConsumer
) -> None:
    """The broker's session clock starts when it gets one: the time of the answer would be too late for a fence."""
    thread.heartbeat_at = None
    beating = kafka.on_heartbeat = Hold()
    await thread.on_start()
    sent = asyncio.ensure_future(kafka._coordinator._do_heartbeat())
    await beating.reached.wait()
    held_at = time.monotonic()
    beating.go.set()
    await sent
    at = thread.heartbeat_at
    assert at is not None
    assert at <= held_at
    kafka.answered = False
    await kafka._coordinator._do_heartbeat()
    assert thread.heartbeat_at == at


# -- offsets -----------------------------------------------------------------------------------------------------------


async def test_a_fresh_group_commits_the_earliest_before_it_reads(thread: Any, kafka: FakeConsumer) -> None:
    """Faust does not even seek where nothing is committed: who dies before its first commit leaves no trace."""
    assert await thread._start_at_committed([TP("in", 0)]) == {TP("in", 0): 3}
    assert kafka.commits == [{IN: 3}]
    assert kafka.sought == {IN: 3}


@pytest.mark.parametrize("offset", [3, 7, 10])
async def test_a_committed_offset_stands(offset: int, thread: Any, kafka: FakeConsumer) -> None:
    kafka.committed = {IN: SimpleNamespace(offset=offset)}
    assert await thread._start_at_committed([TP("in", 0)]) == {TP("in", 0): offset}
    assert kafka.commits == []
    assert kafka.sought == {IN: offset}


@pytest.mark.parametrize("offset", [2, 11])
async def test_where_the_log_does_not_reach_the_committed_offset_it_is_read_from_its_beginning(
    offset: int, thread: Any, kafka: FakeConsumer, caplog: pytest.LogCaptureFixture
) -> None:
    """aiokafka would find out while it fetches, and say so to nobody."""
    kafka.committed = {IN: SimpleNamespace(offset=offset)}
    assert await thread._start_at_committed([TP("in", 0)]) == {TP("in", 0): 3}
    assert kafka.sought == {IN: 3}
    assert "records were deleted" in caplog.text


@pytest.mark.parametrize(
    "error", [CommitFailedError(), IllegalStateError(), KafkaTimeoutError(), CoordinatorNotAvailableError()]
)
async def test_a_commit_that_failed_is_said_and_no_crash(error: Exception, thread: Any, kafka: FakeConsumer) -> None:
    """Faust crashes on most of these; each is cured by time or by the next generation."""
    kafka.refuses = error
    assert not await thread._commit({TP("in", 0): 5})
    kafka.refuses = GroupAuthorizationFailedError("g")
    with pytest.raises(GroupAuthorizationFailedError):
        await thread._commit({TP("in", 0): 5})


async def test_a_commit_to_a_broker_that_is_away_ends(thread: Any, kafka: FakeConsumer) -> None:
    """aiokafka tries for ever: a rebalance, and the end, would wait for it."""
    kafka.on_commit = Hold()
    async with asyncio.timeout(3):
        assert not await thread._commit({TP("in", 0): 5})

"""The consumer's own thread: fetch in slices, and note the broker's answers."""

# ruff: noqa: SLF001 - the one module that looks inside aiokafka; tests/contract names all that it uses.

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    KafkaError,
    KafkaTimeoutError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from streams.transport.api import TP, Oversized, Records, Slice, size_of_headers
from streams.transport.bootstrap import install as ask_the_next_server
from streams.transport.committed import Withheld
from streams.transport.record_reader import install as read_any_header_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.transport.host import FetchOwner

log = logging.getLogger(__name__)

ask_the_next_server()
read_any_header_name()

# How long a fetch may wait at the broker for records. aiokafka has one fetch in flight a broker, and a partition that
# is resumed meanwhile waits for it to return: Faust's 1.5 s would be an idle 1.5 s.
FETCH_WAIT_MS = 100
_IDLE_SECONDS = 0.5
# A slice ends with the record that makes it this large, a round of slices with the slice that does.
_SLICE_BYTES = 1024 * 1024
_ROUND_BYTES = 8 * 1024 * 1024
# The bytes that are kept of a value that is too large to be used.
_KEPT_BYTES = 64 * 1024


class LightRecord(msgspec.Struct, gc=False):
    """A record that is built in a third of the time of aiokafka's frozen dataclass."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def _light(tp: TP, record: Any) -> LightRecord:
    return LightRecord(
        tp.topic,
        tp.partition,
        record.offset,
        record.timestamp,
        record.timestamp_type,
        record.key,
        record.value,
        tuple(record.headers),
    )


def _getall(result: Any, max_records: int, max_value: int) -> Slice:
    """Take records like aiokafka's `FetchResult.getall`, bounded in bytes as well; cut values above `max_value`."""
    found = Slice()
    if not result.check_assignment(result._topic_partition) or not result.has_more():
        return found
    nbytes = 0
    for record in result._partition_records:
        value, key = record.value, record.key
        if value is not None:
            if len(value) > max_value and not isinstance(value, Oversized):
                record.value = value = _cut(value, max_value)
            nbytes += len(value)
        if key is not None:
            nbytes += len(key)
        if record.headers:
            nbytes += size_of_headers(record.headers)
        found.append(record)
        if nbytes >= _SLICE_BYTES or len(found) >= max_records:
            result._update_position()
            break
    else:
        result._update_position()
        result._partition_records = None
    found.nbytes = nbytes
    return found


def _cut(value: bytes, most: int) -> Oversized:
    """Keep the beginning of a value that is larger than an input message may be."""
    return Oversized.of(
        value[:_KEPT_BYTES],
        f"the value has {len(value)} bytes, {most} are allowed (DIALYSIS_MAX_MESSAGE_BYTES)",
        (("dl_size", b"%d" % len(value)), ("dl_sha256", hashlib.sha256(value).hexdigest().encode())),
    )


class Answer(NamedTuple):
    """A fetch response's information about a partition.

    `highwater` is the log's end; `stable` is the start of the first open transaction, or that end: no record behind it
    is delivered.
    """

    at: float  # monotonic
    highwater: int
    empty: bool
    stable: int | None = None

    @property
    def end(self) -> int:
        """The end of the committed records."""
        return self.highwater if self.stable is None or self.stable < 0 else min(self.stable, self.highwater)


class ConsumerThread(AIOKafkaConsumerThread):
    """Runs aiokafka's consumer in a thread with its own loop: heartbeats never wait for our work.

    Methods that start with an underscore run in that thread; all others are called from the main thread.
    """

    consumer: FetchOwner  # type: ignore[assignment]  # of a Consumer all that this file needs

    def __post_init__(self) -> None:
        super().__post_init__()
        self.answers: dict[TP, Answer] = {}
        self.fetched: dict[TP, int] = {}  # next offset after the last record that left aiokafka
        self.heartbeat_at: float | None = None
        self._wake = asyncio.Event()
        self._withheld = Withheld()

    # -- starting

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer: Any = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # read when it starts; Faust has no setting for these
        # Records of an aborted transaction must not raise an alert. Faust reads committed only in its own transactions.
        consumer._isolation_level = "read_committed"
        return consumer

    async def on_start(self) -> None:
        """Start the consumer and wrap its heartbeats and fetches."""
        await super().on_start()
        consumer: Any = self._ensure_consumer()
        coordinator, fetcher = consumer._coordinator, consumer._fetcher
        do_heartbeat, proc_fetch_request = coordinator._do_heartbeat, fetcher._proc_fetch_request

        async def heartbeat() -> bool:
            # The time before the request: the broker's session clock starts no earlier.
            sent = time.monotonic()
            answered: bool = await do_heartbeat()
            if answered:
                self.heartbeat_at = sent
            return answered

        async def proc(assignment: Any, node_id: int, request: Any) -> bool:
            asked = {
                TP(topic, partition): assignment.state_value(TP(topic, partition)).timestamp
                for topic, partitions in request.topics
                for partition, *_ in partitions
            }
            woken: bool = await proc_fetch_request(assignment, node_id, request)
            for tp in asked:
                found = fetcher._records.get(tp)
                if isinstance(found, FetchResult) and found._partition_records is not None:
                    self._bound(found)
            if assignment.active:
                now = time.monotonic()
                for tp, before in asked.items():
                    state = assignment.state_value(tp)
                    if state.timestamp != before:
                        answer = Answer(now, state.highwater, tp not in fetcher._records, state.lso)
                        self.answers[tp] = answer
                        self._withheld.look(tp, answer.end, answer.highwater, now)
            return woken

        coordinator._do_heartbeat = heartbeat
        fetcher._proc_fetch_request = proc

    def _bound(self, found: Any) -> None:
        """Unpack a fetch into light records, a bounded number of bytes at a time."""
        settings = self.consumer.app.settings
        most = settings.max_message_bytes
        found._partition_records._consumer_record = _light
        found._partition_records._records.limit = settings.max_batch_bytes
        found.getall = MethodType(lambda result, max_records: _getall(result, max_records, most), found)

    # -- observations, for the main thread

    @property
    def generation(self) -> int:
        """The generation that the coordinator has now; -1 while this worker is in no group."""
        if self._consumer is None or self._consumer._coordinator is None:
            return -1
        generation: int = self._consumer._coordinator.generation
        return generation

    def next_offset(self, tp: TP) -> int | None:
        """Return the next offset that aiokafka will deliver; None if unknown."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        state = assignment.state_value(tp) if assignment is not None else None
        if state is None or not state.has_valid_position:
            return None
        position: int = state.position
        return position

    # -- rebalance

    async def on_partitions_assigned(self, assigned: set[Any], generation_id: int = 0) -> None:
        """Drop the last generation's answers; do not fetch changelogs here, recovery reads them."""
        self.heartbeat_at = time.monotonic()  # the group's coordinator has just answered
        self.answers.clear()
        self.fetched.clear()
        changelogs = self.app.tables.changelog_topics
        consumer: Any = self._ensure_consumer()
        consumer.pause(*(TopicPartition(*tp) for tp in assigned if tp.topic in changelogs))
        await super().on_partitions_assigned(assigned, generation_id)

    # -- fetching

    def wake(self) -> None:
        """Make a waiting fetch return: its request is outdated."""
        self.thread_loop.call_soon_threadsafe(self._wake.set)

    async def fetch(self, active: frozenset[TP], epoch: int, turn: int, size: int) -> list[tuple[TP, Records]]:
        """Fetch the next records of the partitions in `active`, at most `size` of each; [] if none come in a while.

        Guarantees: no record leaves aiokafka once the consumer's `epoch` has changed; the call returns soon after a
        change of `turn`. So a changed epoch, then a seek, loses nothing.
        """
        work = asyncio.run_coroutine_threadsafe(self._fetch(active, epoch, turn, size), self.thread_loop)
        return await asyncio.wrap_future(work)

    async def _fetch(self, active: frozenset[TP], epoch: int, turn: int, size: int) -> list[tuple[TP, Records]]:
        consumer: Any = self._ensure_consumer()
        fetcher = consumer._fetcher
        deadline = time.monotonic() + _IDLE_SECONDS
        with fetcher._subscriptions.fetch_context():
            while True:
                if consumer._closed or fetcher._closed:
                    raise ConsumerStoppedError
                # Cleared before `turn` is read: a later `wake` sets it again.
                self._wake.clear()
                if self.consumer.epoch != epoch or self.consumer.turn != turn:
                    return []
                slices = (
                    []
                    if fetcher._subscriptions.reassignment_in_progress
                    else (await self._drain(fetcher, active, size))
                )
                left = deadline - time.monotonic()
                if slices or left <= 0:
                    return slices
                await self._more(fetcher, left)

    async def _drain(self, fetcher: Any, active: frozenset[TP], size: int) -> list[tuple[TP, Records]]:
        # With no timeout and no reassignment `fetched_records` does not wait: records leave aiokafka here in one step,
        # in the epoch that was just checked.
        slices, room = [], _ROUND_BYTES
        for tp in [tp for tp in fetcher._records if tp in active]:
            for records in (await fetcher.fetched_records({tp}, timeout=0, max_records=size)).values():
                if records[0].offset < self.fetched.get(tp, 0):
                    # aiokafka has reset the position of a log that is shorter than before. To continue would file new
                    # records under used offsets; a restart reads the log as it is now.
                    raise RuntimeError(f"{tp.topic}[{tp.partition}] went back to offset {records[0].offset}")
                self.fetched[TP(*tp)] = records[-1].offset + 1
                slices.append((TP(*tp), records))
                room -= records.nbytes
            if room <= 0:
                break
        return slices

    async def _more(self, fetcher: Any, seconds: float) -> None:
        """Wait for records, an error of the group (raised), or `wake`."""
        waiter = fetcher._create_fetch_waiter()
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({waiter, woken}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if waiter.done():
                waiter.result()
        finally:
            waiter.cancel()
            woken.cancel()

    # -- offsets

    async def start_at_committed(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Seek every partition to its committed offset and return these.

        Without a committed offset, the earliest is committed and used: otherwise the time of a worker's start would
        decide whether records before the first commit are skipped. A committed offset holds; only if the log does not
        contain it (expired, or the topic was made anew) reading starts at the earliest.
        """
        result: dict[TP, int] = await self.call_thread(self._start_at_committed, list(tps))
        return result

    async def _start_at_committed(self, tps: list[TP]) -> dict[TP, int]:
        consumer: Any = self._ensure_consumer()
        partitions = [TopicPartition(*tp) for tp in tps]
        if not partitions:
            return {}
        committed = await consumer._coordinator.fetch_committed_offsets(partitions)
        earliest = await consumer.beginning_offsets(partitions)
        latest = await consumer.end_offsets(partitions)
        positions: dict[TP, int] = {}
        missing: dict[Any, int] = {}
        for tp in partitions:
            offset = committed[tp].offset if tp in committed else -1
            if offset < 0:
                missing[tp] = offset = earliest[tp]
            elif not earliest[tp] <= offset <= latest[tp]:
                log.error(
                    "%s[%d] has offsets %d to %d, not the committed %d: records were deleted, or the topic "
                    "was made anew; starting at %d",
                    *tp,
                    earliest[tp],
                    latest[tp],
                    offset,
                    earliest[tp],
                )
                offset = earliest[tp]
            positions[TP(*tp)] = offset
        if missing:
            await consumer.commit(missing)
        for tp in partitions:
            consumer.seek(tp, positions[TP(*tp)])
        return positions

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        """Commit; False if it did not succeed, whether or not another attempt can."""
        consumer: Any = self._ensure_consumer()
        try:
            # aiokafka tries again for ever while the broker is away; neither a rebalance nor a stop may wait for it.
            async with asyncio.timeout(self.app.conf.broker_rebalance_timeout / 5):
                await consumer.commit(
                    {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
                )
        except (TimeoutError, CommitFailedError, IllegalStateError, KafkaTimeoutError) as error:
            log.warning("Offsets not committed, what follows them will be delivered again: %r", error)
            return False
        except KafkaError as error:
            if not error.retriable:
                raise
            log.warning("Offsets not committed yet: %r", error)
            return False
        return True

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Do nothing: Faust would infer stalls from its own bookkeeping, which batches bypass."""

    def verify_recovery_event_path(self, now: float, tp: Any) -> None:
        """Do nothing, as above."""

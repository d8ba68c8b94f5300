"""The Faust app: the settings that its guarantees need, and its interface to the layers above."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import faust
import mode
from yarl import URL

from streams.transport.api import TP, Batch, Listener, StaleGenerationError, TopicSet
from streams.transport.consumer import BatchMessage, Consumer, Transport
from streams.transport.ownership import Attached, Claim
from streams.transport.recovery import TableManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping

    from models.settings import Settings
    from streams.transport.changelog import Stamp

log = logging.getLogger(__name__)

# The fence (docs/architecture.md, Failure). A write begins only when a heartbeat was answered within HEARTBEAT_SHARE of
# the session timeout; a batch may wait REQUEST_SHARE of it before its last attempt begins, and this attempt may take as
# long again. The sum is below one: by then nobody else can own the partition.
HEARTBEAT_SHARE = 0.4
REQUEST_SHARE = 0.29

_COMMIT_SECONDS = 0.5
_METADATA_MS = 30_000
_BUFFERED_BATCHES = 16
# Most bytes of a partition in one answer, Kafka's own default: more makes a worker larger and not faster. The broker
# sends a larger batch all the same, alone (KIP-74).
_FETCH_BYTES = 1024 * 1024
_PRODUCER_BATCH_BYTES = 256 * 1024
_HEADROOM_BYTES = 64 * 1024  # bytes that a record's key, headers and framing may add to its value
_STOP_MARGIN_SECONDS = 5.0


class BatchSchema(faust.Schema):  # type: ignore[type-arg]
    """Passes a `Batch` through unchanged: the task decodes it."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Return the decoder that Faust calls for each message."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001
            return create_event(None, message.value, None, message)

        return decode


class App(faust.App):
    """Faust's app with the batching transport."""

    settings: Settings
    attached: list[Attached]
    recovery_seconds: float | None = None
    #: The partitions of each table that are being recovered.
    recovering: Mapping[str, set[int]] = MappingProxyType({})

    # -- assembling

    def attach(self, topics: TopicSet, listener: Listener) -> Any:
        """Register a table and the listener of its partitions; return the topic for an agent."""
        self.Table(topics.table, partitions=topics.partitions, key_type=bytes, value_type=bytes)
        self.attached.append(Attached(topics, topics.changelog(self.settings.group), listener))
        return self.topic(*topics.topics, schema=BatchSchema(), partitions=topics.partitions)

    def _new_transport(self) -> Any:
        return Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Do nothing: no state is kept in files."""

    @property
    def batch_consumer(self) -> Consumer:
        """The consumer, typed."""
        return cast("Consumer", self.consumer)

    @property
    def kafka_producer(self) -> Any:
        """The `AIOKafkaProducer`; Faust starts and stops it."""
        producer: Any = self.producer
        return producer._ensure_producer()  # noqa: SLF001

    # -- flow

    def pause(self, tps: Iterable[TP]) -> None:
        """Stop batches of these partitions, except at most one each that is on its way."""
        self.batch_consumer.hold(tps)

    def resume(self, tps: Iterable[TP]) -> None:
        """Deliver batches of these partitions again, at once. A new generation begins with nothing paused."""
        self.batch_consumer.unhold(tps)

    @property
    def waiting_share(self) -> int:
        """The bytes of one input partition that may wait: all of this worker's partitions share `waiting_bytes`."""
        return self.settings.waiting_bytes // max(1, len(self.batch_consumer.ledgers))

    # -- observations

    def end_confirmed_at(self, tp: TP) -> float | None:
        """Return when a fetch last confirmed (`time.monotonic()`) that all records up to the log's end were delivered.

        None while known records wait for an agent, or before the first answer. While no records come and the broker
        answers, it is never older than a fraction of a second.
        """
        return self.batch_consumer.end_confirmed_at(tp)

    def lag(self, tp: TP) -> int | None:
        """Return how many offsets the broker has beyond those that an agent has taken; None while unknown.

        As of the last answer: a paused partition with fetched records gets no more answers.
        """
        return self.batch_consumer.lag(tp)

    def end_offset(self, tp: TP) -> int | None:
        """Return the log's end as of the last answer; None while unknown."""
        answer = self.batch_consumer.thread.answers.get(tp)
        return None if answer is None else answer.highwater

    @property
    def polled_at(self) -> float:
        """When the delivery loop last ran (`time.monotonic()`): it runs even while no records come.

        It stands while an agent does not take its batches.
        """
        return self.batch_consumer.polled_at

    @property
    def heartbeat_at(self) -> float | None:
        """When the last heartbeat was sent that the group's coordinator answered (`time.monotonic()`)."""
        return self.batch_consumer.thread.heartbeat_at

    # -- ownership

    def claim(self, attached: Attached, generation: int, latest: Mapping[int, tuple[Stamp, int]]) -> None:
        """Note this worker's claims from now on: above the latest stamp, behind the end of each log."""
        attached.claims = {p: Claim(generation, stamp.next(generation), end) for p, (stamp, end) in latest.items()}
        attached.kept = {}

    @property
    def generation(self) -> int:
        """The generation of the last assignment: `Batch.generation_id` of the batches that follow."""
        return int(self.consumer_generation_id)

    def claim_of(self, table: str, partition: int) -> Claim:
        """Return the right to write a partition's changelog.

        Raises:
            StaleGenerationError: It is not ours, or not any more.
        """
        for attached in self.attached:
            claim = attached.claims.get(partition)
            if attached.topics.table == table and claim is not None:
                if claim.generation == self.batch_consumer.thread.generation:
                    return claim
                break
        raise StaleGenerationError(f"partition {partition} of {table} is not ours any more")

    def owns(self, table: str, partition: int) -> bool:
        """Whether writes for this partition are (still) ours to make."""
        with contextlib.suppress(StaleGenerationError):
            self.claim_of(table, partition)
            return True
        return False

    async def revoke_listeners(self) -> None:
        """Let every listener store what it holds, all at once and in bounded time, and void the claims."""
        await cast("TableManager", self.tables).recovery.abort()
        told = [attached for attached in self.attached if attached.told]
        results: list[Collection[int] | BaseException] = []
        try:
            if told and not self.crashed:
                async with asyncio.timeout(self.settings.rebalance_timeout / 2):
                    results = await asyncio.gather(
                        *(a.listener.on_revoked(set(a.claims)) for a in told), return_exceptions=True
                    )
        except TimeoutError:
            log.error("Tasks did not finish in time; what they hold will be delivered again")
        finally:
            for attached, result in zip(told, results, strict=False):
                if not isinstance(result, BaseException):
                    attached.kept = {p: attached.claims[p] for p in result}
            for attached in self.attached:
                attached.claims, attached.told = {}, False
        for result in results:
            if isinstance(result, StaleGenerationError):
                log.warning("Partitions were lost before they were released: %s", result)
            elif isinstance(result, BaseException):
                # aiokafka would only log it and join the next generation.
                await self.crash(result)

    async def _stop_consumer(self) -> None:
        if self._consumer is not None:
            await self.batch_consumer.release()
        await super()._stop_consumer()


def create_app(settings: Settings) -> App:
    """Build an app with every setting that the project relies on, without connecting."""
    session = settings.session_timeout
    app = App(
        settings.group,
        broker=[URL(f"kafka://{server.strip()}") for server in settings.brokers.split(",")],
        # An agent that raises stops the worker, and a supervisor outside starts it again; any other policy would
        # continue past an event that was not handled.
        agent_supervisor=mode.CrashingSupervisor,
        TableManager=TableManager,
        # The group.
        broker_session_timeout=session,
        broker_heartbeat_interval=session / 6,
        broker_rebalance_timeout=settings.rebalance_timeout,
        # Joining the group is one request, which lasts as long as the slowest member needs.
        broker_request_timeout=max(session, settings.rebalance_timeout) + 5.0,
        broker_commit_interval=_COMMIT_SECONDS,
        consumer_auto_offset_reset="earliest",
        # A topic that the broker did not know yet is assigned at the next metadata refresh; Faust's is after 5 minutes.
        consumer_metadata_max_age_ms=_METADATA_MS,
        consumer_max_fetch_size=_FETCH_BYTES,
        stream_buffer_maxsize=_BUFFERED_BATCHES,
        # Tasks hold batches until a checkpoint; `release` requests it, in bounded time, and then does not wait.
        stream_wait_empty=False,
        # The producer. aiokafka's partitioner is murmur2, like Java's and as the contract requires. No idempotence:
        # with it aiokafka repeats a batch until it is sent, however long another worker has owned the partition;
        # without it a batch ends with its request timeout, and the changelog's writer checks again whether it may
        # write. Order needs no idempotence: aiokafka has one batch of a partition in flight.
        producer_acks=-1,
        producer_linger=0.002,
        producer_max_batch_size=_PRODUCER_BATCH_BYTES,
        producer_max_request_size=settings.max_message_bytes + _HEADROOM_BYTES,
        producer_request_timeout=session * REQUEST_SHARE,
        # State lives in the tasks; the changelog is its source of truth.
        store="memory://",
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication,
        web_enabled=False,
    )
    app.settings = settings
    app.attached = []
    return app


async def batches(stream: Any) -> AsyncIterator[Batch]:
    """Yield the batches of an agent's stream, without stale ones; only `Batch.ack` acknowledges them."""
    async for event in stream.noack().events():
        message = cast("BatchMessage", event.message)
        message.entry.taken = True
        yield cast("Batch", message.value)


async def run(app: App, stop: asyncio.Event) -> None:
    """Run the app until `stop` is set, then release its partitions and stop.

    Return within seconds of `stop`: half the rebalance timeout for the tasks, and a margin.

    Raises:
        BaseException: The error that crashed the app, after it was stopped.
        TimeoutError: It did not stop in time; end the process: what is not stored will be delivered again.
    """
    starting = asyncio.ensure_future(app.start())
    stopping = asyncio.ensure_future(stop.wait())
    crashing = asyncio.ensure_future(app.wait_until_stopped())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done() and starting.exception() is None:
            await asyncio.wait({stopping, crashing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped = await _stop(app)
        for task in (starting, stopping, crashing):
            task.cancel()
        await asyncio.gather(starting, stopping, crashing, return_exceptions=True)
    # The operator must see the first error, not its consequences.
    if app.crash_reason is not None:
        raise app.crash_reason
    if not starting.cancelled() and (error := starting.exception()) is not None:
        raise error
    if stopped is not None:
        raise stopped


async def _stop(app: App) -> BaseException | None:
    try:
        async with asyncio.timeout(app.settings.rebalance_timeout / 2 + _STOP_MARGIN_SECONDS):
            await app.stop()
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller raises it in its turn
        log.error("Stopping failed: %r", error)
        return error
    return None

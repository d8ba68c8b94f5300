"""Faust's consumer, made to deliver batches and to commit no further than the finished ones."""

# ruff: noqa: SLF001, ARG002 - overrides of Faust's methods; tests/contract names all that they use.

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, cast

from aiokafka.errors import KafkaError, KafkaTimeoutError
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerMessage, tuples

from streams.transport.api import TP, Batch, Records
from streams.transport.host import ConsumerHost
from streams.transport.ledger import Entry, Ledger
from streams.transport.thread import ConsumerThread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = logging.getLogger(__name__)


class BatchMessage(ConsumerMessage):
    """Faust's envelope of one batch; its offset is that of the last record."""

    def __init__(self, batch: Batch, entry: Entry) -> None:
        last = batch.records[-1]
        super().__init__(
            batch.topic,
            batch.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            None,
            None,
            cast("Any", batch),
            None,
            tp=tuples.TP(batch.topic, batch.partition),
            generation_id=batch.generation_id,
        )
        self.entry = entry


class Consumer(driver.Consumer):
    """Delivers batches to agents and keeps a `Ledger` of each partition.

    Guarantees, in every generation: batches of a partition are delivered in order and without overlap; none before the
    tables are recovered and the seek to the committed offsets is done, none after a revocation has begun; offsets are
    committed up to the first unfinished batch only, also when a commit failed before; batches acknowledged before or
    during a revocation are committed before the partitions are given up, if the broker answers in time.
    """

    app: ConsumerHost  # type: ignore[assignment]  # of an App all that this file needs
    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.ledgers: dict[TP, Ledger] = {}
        self.epoch = 0  # a change: records fetched before are not delivered any more
        self.turn = 0  # a change: a waiting fetch requests the wrong partitions
        self.polled_at = time.monotonic()
        self._paused: set[TP] = set()
        self._commit_lock = asyncio.Lock()
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def thread(self) -> ConsumerThread:
        """The thread that exchanges requests with the broker."""
        return self._thread

    # -- generations

    async def begin(self, tps: Iterable[TP]) -> None:
        """Seek to the committed offsets and open the ledgers; delivery starts with `resume_flow`."""
        self.interrupt()
        positions = await self._thread.start_at_committed(tps)
        self.ledgers = {tp: Ledger(offset) for tp, offset in positions.items()}
        self._paused.clear()

    def interrupt(self) -> None:
        """Stop delivery and drop fetched records, until `begin` and `resume_flow`."""
        self.epoch += 1
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        self._thread.wake()

    async def release(self) -> None:
        """Let the listeners store what they hold, commit, and drop the ledgers. Bounded in time.

        After a crash do not commit: what the tasks hold cannot be trusted, and the thread is gone.
        """
        self.interrupt()
        await self.app.revoke_listeners()
        if not self.app.crashed:
            with contextlib.suppress(KafkaError):
                await self.force_commit()
        self.ledgers = {}

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Release everything first: Faust drops acknowledgements before it commits (faust-streaming#502)."""
        await self.release()
        await super().on_partitions_revoked(revoked)

    # -- flow

    def hold(self, tps: Iterable[TP]) -> None:
        """See `App.pause`."""
        self._paused.update(TP(*tp) for tp in tps)
        self.turn += 1

    def unhold(self, tps: Iterable[TP]) -> None:
        """See `App.resume`."""
        self._paused.difference_update(TP(*tp) for tp in tps)
        self.turn += 1
        self._thread.wake()

    def on_buffer_full(self, tp: Any) -> None:
        """Do nothing: Faust would stop fetching and sleep; here a full queue blocks the delivery loop."""

    def on_buffer_drop(self, tp: Any) -> None:
        """Do nothing, as above."""

    # -- delivery

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                self.polled_at = time.monotonic()
                if not self.flow_active:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.can_resume_flow.wait(), 0.5)
                    continue
                await self._deliver_next()
                await asyncio.sleep(0)  # agents first, even if fetching never waits
        except asyncio.CancelledError:
            # A fetcher that is stopped during a rebalance would take this for a crash.
            if not self.app.should_stop:
                raise
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise

    async def _deliver_next(self) -> None:
        epoch = self.epoch
        active = frozenset(self.ledgers.keys() - self._paused)
        slices = await self._thread.fetch(active, epoch, self.turn, self.app.settings.batch_max)
        for tp, records in slices:
            if self.epoch != epoch:
                return  # the seek that follows fetches them again
            await self._deliver(tp, records)

    async def _deliver(self, tp: TP, records: Records) -> None:
        ledger = self.ledgers[tp]
        records = ledger.admit(records)
        if not records:
            return
        entry = ledger.deliver(records)
        batch = Batch(*tp, records, self.app.consumer_generation_id, lambda: ledger.finish(entry))
        await self.callback(BatchMessage(batch, entry))

    def ack(self, message: Any) -> bool:
        """Do nothing, only `Batch.ack` acknowledges: without Cython Faust calls this for events that it skips."""
        return False

    # -- commit

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit the finished batches of all partitions; one commit at a time, each with the newest offsets."""
        async with self._commit_lock:
            ledgers = self.ledgers
            offsets: dict[TP, int] = {}
            for tp, ledger in ledgers.items():
                if (offset := ledger.to_commit) is not None:
                    offsets[tp] = offset
            if not offsets or not await self._commit(cast("Mapping[Any, int]", offsets)):
                return False
            for tp, offset in offsets.items():
                ledgers[tp].committed(offset)
            return True

    # -- observations

    def lag(self, tp: TP) -> int | None:
        """See `App.lag`."""
        ledger, answer = self.ledgers.get(tp), self._thread.answers.get(tp)
        if ledger is None or answer is None:
            return None
        taken = answer.end if self.end_confirmed_at(tp) is not None else ledger.taken
        return max(0, answer.highwater - taken)

    def end_confirmed_at(self, tp: TP) -> float | None:
        """See `App.end_confirmed_at`."""
        ledger, answer = self.ledgers.get(tp), self._thread.answers.get(tp)
        if ledger is None or answer is None or ledger.taken != ledger.position:
            return None
        if self._thread.fetched.get(tp, 0) > ledger.position:
            return None  # on its way from the other thread
        # The position passes control records; an answer without records passes what compaction removed. Records of an
        # open transaction, and all behind it, are not input yet: waiting for them would delay all other alerts for as
        # long as a stranger likes. They come late, and are counted in the lag.
        position = self._thread.next_offset(tp)
        at_end = answer.empty or (position is not None and position >= answer.end)
        return answer.at if at_end else None


class Producer(driver.Producer):
    """Faust's producer, whose batches expire in time.

    Guarantees: no attempt to send a batch begins later than the request timeout after the batch was made. aiokafka
    checks a batch's age only after a failed attempt, and may then hold it for as long as the broker's address is
    unknown: it could send a write long after the fence allowed it. Nor does an attempt begin that might end after
    another worker owns the partitions: a worker that was frozen since the fence's check sends nothing of an old
    generation, except bytes that were already in the socket.
    """

    app: ConsumerHost  # type: ignore[assignment]  # of an App all that this file needs

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        producer: Any = super()._new_producer(transactional_id)
        accumulator = producer._message_accumulator
        drain_by_nodes = accumulator.drain_by_nodes
        attempt_s = producer._request_timeout_ms / 1000

        def drain(ignore_nodes: Any, muted_partitions: Any = frozenset()) -> Any:
            heartbeat = self.app.heartbeat_at
            frozen = heartbeat is not None and (
                time.monotonic() - heartbeat > self.app.settings.session_timeout - attempt_s
            )
            for tp in [tp for tp in accumulator._batches if tp not in muted_partitions]:
                while (waiting := accumulator._batches.get(tp)) and (frozen or waiting[0].expired()):
                    accumulator._pop_batch(tp).failure(exception=KafkaTimeoutError())
            return drain_by_nodes(ignore_nodes=ignore_nodes, muted_partitions=muted_partitions)

        accumulator.drain_by_nodes = drain
        return producer


class Transport(driver.Transport):
    """Faust's Kafka transport with this module's consumer and producer."""

    Consumer = Consumer
    Producer = Producer

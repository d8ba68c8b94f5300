"""Write a table's changelog."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError

from streams.transport import TP, StaleGenerationError
from streams.transport.app import HEARTBEAT_SHARE
from streams.transport.changelog import foreign_keys
from streams.worker.sender import TOO_LARGE, NeverSendsError, may_repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from streams.transport import App, TopicSet
    from streams.transport.ownership import Claim

log = logging.getLogger(__name__)

_FENCE_SECONDS = 0.05


class UnstoredError(NeverSendsError):
    """The entries of these keys are too large for the changelog; all others of the call were stored.

    `foreign` is what `ChangelogWriter.write` returns otherwise.
    """

    def __init__(self, keys: Collection[bytes], foreign: Collection[bytes] = ()) -> None:
        super().__init__(f"{len(keys)} records are too large for the changelog")
        self.keys, self.foreign = keys, foreign


class ChangelogWriter:
    """Writes the changed keys of a partition as one checkpoint.

    Guarantees: when `write` returns, the broker has acknowledged every entry on all in-sync replicas. Before each
    attempt the partition is ours, and the group's coordinator has answered a heartbeat recently enough that nobody else
    can own it before the attempt is over. Every record carries its `Stamp`: a worker frozen between check and write
    writes an older one, which recovery recognises. A write that cannot reach the broker is repeated until it does or
    the partition is lost.
    """

    def __init__(self, app: App, topics: TopicSet) -> None:
        self._app = app
        self._table = topics.table
        self._topic = topics.changelog(app.settings.group)
        self._freshness = app.settings.session_timeout * HEARTBEAT_SHARE
        self._limit = app.settings.max_message_bytes
        self._locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def write(
        self, partition: int, entries: Mapping[bytes, bytes | None], *, generation: int | None = None
    ) -> Collection[bytes]:
        """Store the entries; None deletes a key.

        One write of a partition at a time: calls for the same partition wait for each other, in order. When
        cancelled, some entries may be stored and others not.

        Args:
            partition: Number of the partition.
            entries: What to store.
            generation: The generation whose state this is (`App.generation` in `on_assigned`). With it a task that
                outlived its partition cannot write in the next generation, even if that is ours again.

        Returns:
            Keys that others have written since the last write: their records come later in the log than ours, but do
            not hold. The caller writes these keys again before compaction leaves only the others' records.

        Raises:
            StaleGenerationError: The partition is not ours any more; some entries may have been stored.
            UnstoredError: Entries are larger than a message may be; all others are stored.
            NeverSendsError: The topic refuses us.
        """
        # Before waiting for the lock: meanwhile the partition may be lost and assigned to us again.
        claim = self._app.claim_of(self._table, partition)
        if generation is not None and claim.generation != generation:
            raise StaleGenerationError(f"generation {generation} of {self._table} {partition} is over")
        if not entries:
            return ()
        async with self._locks[partition]:
            producer = self._app.kafka_producer
            refused = {key for key, value in entries.items() if len(key) + len(value or b"") > self._limit}
            headers = [claim.next_stamp().header()]
            built = self._build(producer, headers, {k: v for k, v in entries.items() if k not in refused})
            keys, unsent, gaps = dict(built), [batch for batch, _ in built], list[range]()
            while unsent:
                await self._fence(partition, claim)
                unsent, large, unknown, error = await self._send(producer, partition, claim, unsent)
                gaps += unknown
                for batch in large:
                    if len(keys[batch]) == 1:
                        refused.update(keys[batch])
                        continue
                    for key in keys[batch]:  # one of them is too large, or all of them together
                        single = self._build(producer, headers, {key: entries[key]})
                        keys |= dict(single)
                        unsent += [batch for batch, _ in single]
                if error is not None:
                    await may_repeat(producer, self._topic, error)
            foreign = await self._foreign(partition, claim, gaps) if gaps else ()
            if refused:
                raise UnstoredError(refused, foreign)
            return foreign

    @staticmethod
    def _build(
        producer: Any, headers: list[tuple[str, bytes]], entries: Mapping[bytes, bytes | None]
    ) -> list[tuple[Any, list[bytes]]]:
        """Pack the entries into batches, each with its keys."""
        built: list[tuple[Any, list[bytes]]] = []
        for key, value in entries.items():
            if not built or built[-1][0].append(timestamp=None, key=key, value=value, headers=headers) is None:
                batch = producer.create_batch()
                # An empty batch accepts any record, also one that is larger than a batch.
                batch.append(timestamp=None, key=key, value=value, headers=headers)
                built.append((batch, []))
            built[-1][1].append(key)
        for batch, _ in built:
            batch.close()
        return built

    async def fence(self, generation: int) -> None:
        """Wait until this generation may send, and will be allowed to for the time of an attempt.

        Raises:
            StaleGenerationError: The generation is over.
        """

        def check() -> None:
            if self._app.batch_consumer.thread.generation != generation:
                raise StaleGenerationError(f"generation {generation} of {self._table} is over")

        await self._wait(check)

    async def _fence(self, partition: int, claim: Claim) -> None:
        """Wait until the partition is ours and will be for the time of an attempt."""

        def check() -> None:
            if self._app.claim_of(self._table, partition) is not claim:
                # The partition may be ours again since, but not with the state that is to be written.
                raise StaleGenerationError(f"partition {partition} of {self._table} was lost meanwhile")

        await self._wait(check)

    async def _wait(self, check: Callable[[], None]) -> None:
        waiting = False
        while True:
            check()
            heartbeat = self._app.heartbeat_at
            if heartbeat is not None and time.monotonic() - heartbeat < self._freshness:
                return
            if not waiting:
                waiting = True
                log.warning("No heartbeat was answered for %.1f s: not writing to %s", self._freshness, self._topic)
            await asyncio.sleep(_FENCE_SECONDS)

    async def _foreign(self, partition: int, claim: Claim, gaps: list[range]) -> set[bytes]:
        """Find the keys that others have written between our writes; our own repeats are in such gaps, too."""
        found: set[bytes] = set()
        for gap in gaps:
            while True:
                try:
                    found |= await foreign_keys(self._app.settings, TP(self._topic, partition), gap, claim.stamp)
                    break
                except KafkaError as error:
                    await may_repeat(self._app.kafka_producer, self._topic, error)
        if found:
            log.warning(
                "%s[%d]: %d keys were written by a worker that had lost the partition; they are written again",
                self._topic,
                partition,
                len(found),
            )
        return found

    async def _send(
        self, producer: Any, partition: int, claim: Claim, batches: list[Any]
    ) -> tuple[list[Any], list[Any], list[range], BaseException | None]:
        """Send batches; return those that failed, those that are too large, offsets unknown to us, the first error.

        Their order does not matter: a key is in one of them only. Each waits until the one before it has left.
        """
        sent: list[asyncio.Future[Any]] = []
        refused: BaseException | None = None
        for batch in batches:
            try:
                sent.append(await producer.send_batch(batch, self._topic, partition=partition))
            except (KafkaError, AssertionError) as error:
                refused = error
                break
        results = await asyncio.gather(*sent, return_exceptions=True)
        errors = [
            result for result in results if isinstance(result, BaseException) and not isinstance(result, TOO_LARGE)
        ]
        failed: list[Any] = []
        large: list[Any] = []
        gaps: list[range] = []
        for batch, result in zip(batches, results, strict=False):
            if isinstance(result, TOO_LARGE):
                large.append(batch)
            elif isinstance(result, BaseException):
                failed.append(batch)
            else:
                gaps.append(claim.wrote(result.offset, batch.record_count()))
        return [*failed, *batches[len(sent) :]], large, list(filter(None, gaps)), errors[0] if errors else refused

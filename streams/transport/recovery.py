"""The steps between an assignment and the first batch: read the tables back, then open the flow."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.tables.manager import TableManager as FaustTableManager
from faust.tables.recovery import Recovery as FaustRecovery
from mode import Service

from streams.transport.api import TP, StaleGenerationError
from streams.transport.changelog import read_changelogs
from streams.transport.host import Flow, RecoveryHost

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_ABORTED = -1


class Recovery(FaustRecovery):
    """Reads the changelogs of a generation and hands its partitions to their listeners.

    Guarantees: no batch is delivered before the recovery is complete; delivery cannot begin between the seek and the
    clearing of queues, where Faust loses events (faust-streaming#596): the flow stops at the revocation and is opened
    here, in one step. A rebalance in the middle restarts the recovery in the new generation.
    """

    app: RecoveryHost  # type: ignore[assignment]  # of an App all that this file needs

    def __post_init__(self) -> None:
        self._running: asyncio.Task[None] | None = None

    @Service.task
    async def _restart_recovery(self) -> None:
        while not await self.wait_for_stopped(cast("Any", self.signal_recovery_start)):
            self.signal_recovery_start.clear()
            if self._generation_id == _ABORTED:
                continue
            self._running = asyncio.ensure_future(self._recover(self._generation_id))
            try:
                await self._running
            except asyncio.CancelledError:
                if self.should_stop:
                    break
            except StaleGenerationError as error:
                log.warning("Partitions were lost before they were taken over: %s", error)
            finally:
                self.app.recovering = {}

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Do nothing: no changelog record passes through Faust's queue."""

    @Service.task
    async def _publish_stats(self) -> None:
        """Do nothing, as above."""

    async def on_stop(self) -> None:
        """Stop, also in the middle of a recovery."""
        await self.abort()

    async def abort(self) -> None:
        """End the running recovery and wait for it; none runs before the next assignment."""
        self._generation_id = _ABORTED
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _recover(self, generation: int) -> None:
        app, started = self.app, time.monotonic()
        consumer = app.batch_consumer
        consumer.interrupt()
        assigned = {TP(*tp) for tp in consumer.assignment()}
        owned = {attached.topics.table: attached.partitions_of(assigned) for attached in app.attached}
        app.recovering = owned
        inputs = [tp for tp in assigned if tp.topic not in app.tables.changelog_topics]

        wanted = {a.changelog: owned[a.topics.table] for a in app.attached}
        known = {TP(a.changelog, p): claim.end for a in app.attached for p, claim in a.kept.items()}
        replicas = await read_changelogs(app.settings, wanted, known)
        count = sum(replica.count for found in replicas.values() for replica in found.values())
        log.info("%d changelog records read in %.3f s", count, time.monotonic() - started)
        while True:
            try:
                await consumer.begin(inputs)
                break
            except (KafkaError, TimeoutError) as error:
                # Also raised when the group has a new generation: then a rebalance is about to cancel this.
                log.warning("Looking up the committed offsets failed, trying again: %r", error)
                await asyncio.sleep(_RETRY_SECONDS)

        for attached in app.attached:
            partitions, found = owned[attached.topics.table], replicas[attached.changelog]
            kept = attached.still_kept(partitions, found)
            app.claim(attached, generation, {p: (r.latest, r.end) for p, r in found.items()} | kept)
            log.info(
                "Generation %d: %s owns partitions %s (%d kept), %d keys recovered",
                generation,
                attached.topics.table,
                sorted(partitions),
                len(kept),
                sum(len(replica.values) for replica in found.values()),
            )
            attached.told = True
            await attached.listener.on_assigned(partitions, {p: r.recovered() for p, r in found.items()})
        app.recovery_seconds = time.monotonic() - started
        await self._open(consumer)

    async def _open(self, consumer: Flow) -> None:
        app = self.app
        await app.on_rebalance_complete.send()
        self.completed.set()
        app.flow_control.resume()  # clears the queues ...
        consumer.resume_flow()  # ... and nothing can be put into them before this: no await in between
        await app._fetcher.maybe_start()  # noqa: SLF001
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()


class TableManager(FaustTableManager):
    """Faust's table manager with the recovery above, without its wait of one second at the start."""

    @property
    def recovery(self) -> Recovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return cast("Recovery", self._recovery)

    async def on_start(self) -> None:
        """Register the changelogs at once: all agents were started before the tables."""
        await self._update_channels()
        await self.recovery.start()

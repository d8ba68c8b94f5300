"""The Faust agents, which only hand batches to the tasks, and the tasks of this worker's partitions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic

from models.settings import Settings
from models.state import NewerSchemaError
from streams.rules.api import StateT
from streams.transport import TP, App, Batch, StaleGenerationError, TopicSet, batches
from streams.transport.api import Recovered
from streams.worker.changelog_writer import ChangelogWriter
from streams.worker.health import Health
from streams.worker.metrics import Metrics
from streams.worker.ports import Kind
from streams.worker.recovered_state import BadStateError
from streams.worker.sender import Outgoing, Sender
from streams.worker.task import PartitionTask

log = logging.getLogger(__name__)


class KafkaPort:
    """The transport as the tasks of one generation use it (see `streams.worker.ports.Port`).

    A task that outlives its generation can neither write nor send, even if its partition comes back to this worker.
    """

    def __init__(self, app: App, writer: ChangelogWriter, sender: Sender) -> None:
        self._app, self._writer, self._sender, self._generation = app, writer, sender, app.generation
        self.pause, self.resume = app.pause, app.resume
        self.end_confirmed_at, self.end_offset = app.end_confirmed_at, app.end_offset

    @property
    def waiting_share(self) -> int:
        """The bytes of one input partition that may wait."""
        return self._app.waiting_share

    async def write(self, partition: int, entries: Mapping[bytes, bytes | None]) -> Collection[bytes]:
        """Write the changelog; return when the broker has acknowledged it."""
        return await self._writer.write(partition, entries, generation=self._generation)

    async def send_all(self, messages: Sequence[Outgoing]) -> None:
        """Send messages; return when the broker has acknowledged them."""
        await self._sender.send_all(messages, lambda: self._writer.fence(self._generation))


class Assignment(Generic[StateT]):
    """The tasks of one kind that this worker runs: one for each partition it owns.

    Args:
        kind: patients or water loops.
        changed: called when partitions have come, with their state complete, and when they have gone.
        fail: called with the error that must stop the worker.
    """

    def __init__(
        self,
        app: App,
        kind: Kind[StateT],
        settings: Settings,
        metrics: Metrics,
        health: Health,
        changed: Callable[[], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        topics = TopicSet(kind.table, tuple(settings.topic(name) for name in kind.topics), settings.partitions)
        self.kind = kind
        self.tasks: dict[int, PartitionTask[StateT]] = {}
        self.topics = topics
        #: Whether the group has assigned partitions to this worker and they are recovered.
        self.ready = False
        self._settings, self._metrics, self._health = settings, metrics, health
        self._changed, self._fail = changed, fail
        self._runners: dict[int, asyncio.Task[None]] = {}
        #: Tasks of the last generation that hold exactly what is stored.
        self._kept: dict[int, PartitionTask[StateT]] = {}
        self._app, self._writer, self._sender = app, ChangelogWriter(app, topics), Sender(app)
        source = app.attach(topics, self)
        app.agent(source, name=kind.table)(self._take)

    async def _take(self, stream: Any) -> None:
        async for batch in batches(stream):
            await self._hand_over(batch)

    async def _hand_over(self, batch: Batch) -> None:
        task = self.tasks.get(batch.partition)
        if task is not None:
            await task.put(batch)

    @property
    def tps(self) -> list[TP]:
        """Every input partition this worker owns."""
        return [TP(topic, number) for topic in self.topics.topics for number in self.tasks]

    async def on_assigned(self, partitions: set[int], recovered: Mapping[int, Recovered]) -> None:
        """Start a task for each partition, once it has sent what its predecessor may not have sent.

        A task whose partition came back unchanged continues.
        """
        port = KafkaPort(self._app, self._writer, self._sender)
        kept, self._kept = self._kept, {}
        self.tasks = {number: kept[number] for number in partitions - recovered.keys()}
        for task in self.tasks.values():
            task.rejoin(port)
        tasks = {
            number: PartitionTask(self.kind, number, self._settings, port, self._metrics, self._health)
            for number in sorted(recovered)
        }
        try:
            await asyncio.gather(*(task.adopt(recovered[number]) for number, task in tasks.items()))
        except (NewerSchemaError, BadStateError) as error:
            # Raised here it would crash Faust with a traceback; the decision is the operator's.
            self.tasks = {}
            self._fail(error)
            return
        self.tasks |= tasks
        for number, task in self.tasks.items():
            runner = self._runners[number] = asyncio.create_task(task.run(), name=f"{self.kind.table}[{number}]")
            runner.add_done_callback(self._ended)
        self.ready = True
        self._changed()
        log.info("%s: %d partitions, %d subjects", self.kind.table, len(self.tasks), self.subjects)

    async def on_revoked(self, partitions: set[int]) -> Collection[int]:
        """Let every task finish its turn, store and acknowledge what it handled, and stop."""
        del partitions  # all of them go
        tasks, self.tasks = self.tasks, {}
        runners, self._runners = self._runners, {}
        try:
            for task in tasks.values():
                task.stop()
            await asyncio.gather(*runners.values(), return_exceptions=True)
            released = await asyncio.gather(*(task.release() for task in tasks.values()))
            self._kept = {number: tasks[number] for number, stored in zip(tasks, released, strict=True) if stored}
            return self._kept.keys()
        finally:
            for runner in runners.values():
                runner.cancel()
            self.ready = False
            self._changed()

    @property
    def subjects(self) -> int:
        """How many patients, or water loops, this worker keeps."""
        return sum(len(task.subjects) for task in self.tasks.values())

    def _ended(self, runner: asyncio.Task[None]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            error = runner.exception()
            if isinstance(error, StaleGenerationError):
                log.warning("%s stops: %s", runner.get_name(), error)
            elif error is not None:
                log.error("%s failed", runner.get_name(), exc_info=error)
                self._fail(error)

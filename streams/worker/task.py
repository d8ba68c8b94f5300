"""The task that owns one partition: its subjects, clock, deadlines, and what is not yet stored, sent or committed.

    batches ──▶ Intake ──▶ subjects ──▶ Publisher ──▶ changelog, then alert topics
                  │                         │
                  └────▶ Checkpoint ◀───────┘   changelog, then the acknowledgement of the batches

Guarantees beyond those of its parts:
    - While transitions are stored and sent, the task handles later records; the next checkpoint waits for the sending.
    - The clock follows the records; while every topic is read to a confirmed end it follows the wall clock.

Nothing else touches the subjects: one lock holds off the timer while a batch is handled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Generic

from models.settings import Settings
from models.state import PatientState
from streams.rules.api import StateT
from streams.transport.api import Batch, Recovered
from streams.worker.checkpoint import Checkpoint
from streams.worker.clock import END_CONFIRMED_S, TaskClock
from streams.worker.contradictions import Corrector
from streams.worker.gc_pause import collector_rests
from streams.worker.health import Health
from streams.worker.intake import Intake
from streams.worker.metrics import Metrics
from streams.worker.outbox import TaskOutput
from streams.worker.owned import Owned
from streams.worker.ports import Kind, NamedRecord, Port
from streams.worker.publisher import Publisher
from streams.worker.recovered_state import Stored
from streams.worker.set_aside import SetAside

log = logging.getLogger(__name__)

#: Response times run only while the clock is at most this far behind the wall clock.
SEEN_LAG: Final = timedelta(seconds=30)
#: The timer of a task.
TICK_S: Final = 0.1


class PartitionTask(Generic[StateT]):
    """One partition of one kind of subject."""

    def __init__(
        self, kind: Kind[StateT], partition: int, settings: Settings, port: Port, metrics: Metrics, health: Health
    ) -> None:
        self.kind = kind
        self.number = partition
        self.subjects = subjects = kind.make()
        self._metrics = metrics
        self._clock = TaskClock(subjects, lambda to: self._publisher.note(list(subjects.advance(to))))
        output = TaskOutput(settings, partition, metrics, health, kind.table)
        self._owned = owned = Owned(kind, partition, settings, metrics, subjects, self._clock, output)
        set_aside = SetAside(kind.codec, subjects, output, metrics, (kind.table, partition))
        self._corrector = Corrector(kind, subjects, output, owned.by_key)
        self._checkpoint = Checkpoint(owned, port, set_aside)
        self._wake = asyncio.Event()
        self._publisher = Publisher(owned, port, set_aside, self._checkpoint, self._wake.set)
        self._intake = Intake(owned, port, self._publisher, self._checkpoint)
        self._lock = asyncio.Lock()
        self._port = port
        self._stopping = False
        self._failed = False

    # -- life of the task ---------------------------------------------------------------------------------------------

    async def adopt(self, recovered: Recovered) -> None:
        """Take over what the changelog holds; send again what may be unsent, and the newest state of alerts."""
        by_key, output = self._owned.by_key, self._owned.output
        found = Stored(self.kind.table, self.kind.codec, self.number, self._owned.settings, recovered)
        with collector_rests():
            async for states in found.all_states(recovered):
                by_key |= {state.id.encode(): state for state in states}
                self._publisher.note(self.subjects.adopt(states))
        self._checkpoint.adopt(found.sources, is_blank=found.is_blank)
        await found.set_aside(self._port)
        self._metrics.state_set_aside.labels(self.kind.table).inc(len(found.bad))
        self._clock.adopt(found.clock)
        self._checkpoint.store_again(recovered.shadowed)
        for key, state in by_key.items():
            output.adopt(state, self.subjects.now)
            self._publisher.adopt(key, state)
            if isinstance(state, PatientState):
                for session in state.sessions.values():
                    if session.told_at is not None:
                        session.told_at = datetime.min.replace(tzinfo=UTC)
                        self._checkpoint.touch(key, state)
        async with self._lock:
            await self._publisher.finish()
            await self._checkpoint.send(output.final_states())
            await self._store()

    async def put(self, batch: Batch) -> None:
        """Take a batch and return at once; the inbox pauses its partition when it holds enough."""
        self._intake.put(batch)
        self._wake.set()

    async def run(self) -> None:
        """Handle input until stopped; raise an error that no repetition can mend."""
        try:
            while not self._stopping:
                self._wake.clear()
                if await self.step():
                    await asyncio.sleep(0)
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(TICK_S):
                            await self._wake.wait()
            await self.publish()
        except BaseException as error:
            self._failed = isinstance(error, Exception)
            self._publisher.cancel()
            raise

    def wake(self) -> None:
        """Let `run` take its next turn at once."""
        self._wake.set()

    def stop(self) -> None:
        """End `run` after the turn it is in."""
        self._stopping = True
        self._wake.set()

    async def release(self) -> bool:
        """Store and acknowledge all that was handled: the partition goes to another owner.

        A task that failed in the middle of its turn drops everything instead: what it could not store or send is
        delivered again.

        Returns:
            Whether all that it holds is stored, so that it can continue if the partition comes back.
        """
        if self._failed:
            return False
        async with self._lock:
            await self._store()
        return True

    def rejoin(self, port: Port) -> None:
        """Continue in a new generation after a `release`: the partition came back before anybody else wrote.

        Unhandled batches are delivered again; the clock stands until their end is confirmed again.
        """
        self._port = self._checkpoint.port = self._publisher.port = port
        self._intake.rejoin(port)
        self._clock.stand()
        self._owned.output.count_open()
        self._stopping = False

    async def correct(self, records: Iterable[NamedRecord]) -> set[str]:
        """Correct the last records of alerts on `alerts.active` that this task did not write (see `Corrector`).

        Returns:
            The alerts that it is too soon to correct: the caller asks again.
        """
        async with self._lock:
            await self._publisher.finish()
            answers = self._corrector.answer(records, self.lag())
            if number := len(answers.messages) + len(answers.restated):
                log.warning("%d alerts on alerts.active were not as they are: said again", number)
            await self._checkpoint.send(answers.messages)
            for state, alert in answers.restated:
                key = state.id.encode()
                self._owned.output.note(alert, None)
                self._checkpoint.touch(key, state)
                self._publisher.add(key, state)
            await self._publisher.finish()
        return answers.put_off

    # -- what others may know of it -----------------------------------------------------------------------------------

    @property
    def handled(self) -> int:
        """Records handled so far; its growth is a sign of life."""
        return self._intake.handled

    @property
    def is_publishing(self) -> bool:
        """Whether transitions are being stored and sent."""
        return self._publisher.is_running

    @property
    def is_stored(self) -> bool:
        """Whether all that was handled is stored and acknowledged."""
        return self._checkpoint.is_empty

    def lag(self) -> timedelta:
        """Return how far the task is behind the world: zero once all input is handled, else by its clock.

        A clock that stood through an outage stays behind until the next record; that is no lag.
        """
        return timedelta(0) if self.is_current() else datetime.now(UTC) - self.subjects.now

    def is_current(self) -> bool:
        """Whether everything that was delivered is handled and every topic is at a confirmed end."""
        return self._intake.is_drained(time.monotonic() - END_CONFIRMED_S)

    # -- one turn -----------------------------------------------------------------------------------------------------

    async def step(self) -> bool:
        """Handle a slice of the input, move the clock, publish, checkpoint; True if there may be more input."""
        async with self._lock:
            busy = self.handle()
            if not busy:
                self._clock.follow(self._intake.is_drained)
                self._checkpoint.pack_quiet()
            self._publisher.start()
            if self._publisher.is_urgent:
                await self._publisher.finish()
            if not self._clock.is_recovering and self.lag() < SEEN_LAG:
                self._publisher.mark_seen()
            if self._checkpoint.is_due():
                await self._store()
            return busy

    def handle(self) -> bool:
        """Handle a slice of the input and nothing else; False if there is none."""
        return self._intake.take_slices()

    async def publish(self) -> None:
        """Store and send all pending transitions."""
        async with self._lock:
            await self._publisher.finish()

    async def _store(self) -> None:
        await self._publisher.finish()
        await self._checkpoint.store()

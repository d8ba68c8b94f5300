"""Store the subjects with pending outboxes, then send what lies in these outboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Generic

from streams.engine.partition import SubjectTransition
from streams.rules.api import StateT
from streams.worker.checkpoint import Checkpoint
from streams.worker.owned import Owned
from streams.worker.ports import Port
from streams.worker.set_aside import SetAside

#: The unsent transitions of one subject may take this part (one in so many) of the largest message.
OUTBOX_SHARE: Final = 8


class Publisher(Generic[StateT]):
    """The pending outboxes of one task; one publish is in flight at a time.

    Guarantees: a transition is stored in the changelog before it is sent. What a crash interrupts is sent again.

    Args:
        owned: the subjects.
        port: the transport.
        set_aside: stores and sends.
        checkpoint: stores again what a publish has changed.
        ended: called when a publish has ended.
    """

    def __init__(
        self,
        owned: Owned[StateT],
        port: Port,
        set_aside: SetAside[StateT],
        checkpoint: Checkpoint[StateT],
        ended: Callable[[], None],
    ) -> None:
        self.port = port
        self._owned, self._set_aside, self._checkpoint, self._ended = owned, set_aside, checkpoint, ended
        self._pending: dict[bytes, StateT] = {}
        #: Subjects whose alerts were sent; from when somebody could see them is not stored yet.
        self._unseen: dict[bytes, StateT] = {}
        self._running: asyncio.Task[None] | None = None
        # An outbox is stored with its subject, in one message.
        self._outbox_max = owned.settings.max_message_bytes // OUTBOX_SHARE
        self._is_urgent = False

    @property
    def is_running(self) -> bool:
        """Whether a publish is in flight."""
        return self._running is not None

    @property
    def is_urgent(self) -> bool:
        """Whether so much waits that it must be sent before more is handled."""
        return self._is_urgent or self._owned.output.much_waits

    def adopt(self, key: bytes, state: StateT) -> None:
        """Take over a recovered subject: what its outbox holds may be unsent."""
        if state.outbox or self._owned.subjects.go_on(state):
            self._pending[key] = state
        if any(alert.over_at is None and alert.seen_at is None for alert in state.alerts.values()):
            self._unseen[key] = state

    def add(self, key: bytes, state: StateT) -> None:
        """Publish a subject's outbox soon."""
        self._pending[key] = state

    def is_full(self, state: StateT) -> bool:
        """Return whether a subject's outbox is so large that it must be sent before more of it is handled."""
        full = sum(memoryview(entry.value).nbytes for entry in state.outbox) > self._outbox_max
        self._is_urgent |= full
        return full

    def note(self, transitions: list[SubjectTransition[StateT]]) -> None:
        """Note the transitions of subjects whose deadline fired; they are in their outboxes."""
        for one in transitions:
            self._owned.output.note(one.alert, None)
        for state in self._owned.subjects.take_fired():
            key = state.id.encode()
            self._checkpoint.touch(key, state)
            if state.outbox:
                self._pending[key] = state

    def mark_seen(self) -> None:
        """Let the response times of alerts that were sent count from now on."""
        for key, state in self._unseen.items():
            # A subject with an unsent outbox comes back once it is sent: it may concern a newer alert.
            if not state.outbox and self._owned.subjects.seen(state):
                self._checkpoint.touch(key, state)
        self._unseen.clear()

    def start(self) -> None:
        """Publish pending outboxes unless a publish is in flight; raise the error of the one that ended."""
        if self._running is not None:
            if not self._running.done():
                return
            self._running.result()
            self._running = None
        if self._pending or self._owned.output.waiting:
            name = f"{self._owned.kind.table}[{self._owned.partition}] publishes"
            self._running = asyncio.create_task(self._publish(), name=name)
            self._running.add_done_callback(lambda _: self._ended())

    async def finish(self) -> None:
        """Publish until all outboxes are stored and sent. The caller handles nothing meanwhile."""
        self.start()
        while self._running is not None:
            await self._running
            self.start()
        self._is_urgent = False

    def cancel(self) -> None:
        """Give up the publish in flight: what it did not send is sent again by the next owner."""
        if self._running is not None:
            self._running.cancel()

    async def _publish(self) -> None:
        """Store the subjects with pending outboxes, then send these outboxes.

        Records handled meanwhile append to the same outboxes: only their stored beginning is sent. Dead letters go
        first: once a subject is stored, its records up to the newest applied are never handled again.
        """
        output, checkpoint = self._owned.output, self._checkpoint
        pending, self._pending = self._pending, {}
        lengths = {key: len(state.outbox) for key, state in pending.items()}
        transitions = output.take_noted()
        messages = output.of_outboxes([state.outbox for state in pending.values()], transitions)
        stored = self._set_aside.encode(pending)  # after `of_outboxes`: what cannot be encoded loses its outbox
        waiting = output.take_waiting()
        await checkpoint.send(waiting)
        # A refused subject's outbox is sent all the same: its input is acknowledged once a checkpoint made it fit.
        checkpoint.store_again(await self._set_aside.store_what_fits(self.port, stored))
        await checkpoint.send(messages)
        output.acknowledged(transitions)
        for key, state in pending.items():
            # The stored outbox is dropped by the next checkpoint; until then a crash sends the same bytes again.
            del state.outbox[: lengths[key]]
            checkpoint.touch(key, state)
            if not state.outbox and self._owned.subjects.go_on(state):
                self._pending[key] = state
            elif not state.outbox:
                self._unseen[key] = state

"""The task that owns one partition: its subjects, clock, deadlines, and what is not yet stored, sent or committed.

Guarantees:
    - Input of several topics is handled in the order of record timestamps; the task waits for a topic that lags.
    - A transition is stored in the changelog before it is sent; it is sent before its input is acknowledged.
    - A batch is acknowledged only when every state it changed, every transition it made and every dead letter it
      left is stored. What a crash interrupts is delivered, and sent, again.
    - While transitions are stored and sent, the task handles later records; the next checkpoint waits for the sending.
    - The clock follows the records; while every topic is read to a confirmed end it follows the wall clock.
    - No turn holds the event loop much longer than `TURN_S`, however expensive the records of one subject are.

Nothing else touches the subjects: one lock holds off the timer while a batch is handled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final, Generic

from models.parsing import Rejected, RejectReason
from models.settings import Settings
from models.state import PatientState
from streams.engine.change import NOT_FILED, UNCHANGED
from streams.engine.partition import BEGINNING, Told
from streams.rules.api import StateT
from streams.rules.facts.late_clocks import LATE
from streams.transport.api import TP, Batch, Oversized, Recovered
from streams.worker.clock import END_CONFIRMED_S, Mark, TaskClock
from streams.worker.contradictions import Corrector
from streams.worker.gc_pause import collector_rests
from streams.worker.health import Health
from streams.worker.input_queue import Inbox
from streams.worker.metrics import Metrics
from streams.worker.outbox import Mail
from streams.worker.ports import CLOCK_KEY, Kind, Port, Word
from streams.worker.recovered_state import Stored, was_made_anew
from streams.worker.sender import Outgoing
from streams.worker.set_aside import SetAside

log = logging.getLogger(__name__)

#: Response times run only while the clock is at most this far behind the wall clock.
SEEN_LAG: Final = timedelta(seconds=30)
#: A task that receives nothing for this share of the checkpoint interval does not wait for the rest of it.
REST_SHARE: Final = 0.25
#: The timer of a task.
TICK_S: Final = 0.1
#: How long, in seconds, a task handles records before it gives way to others; one record may take longer.
TURN_S: Final = 0.025
#: How often a task retires subjects, by its clock.
RETIRE_EVERY: Final = timedelta(days=1)
#: The unsent transitions of one subject may take this part (one in so many) of the largest message.
OUTBOX_SHARE: Final = 8


class PartitionTask(Generic[StateT]):
    """One partition of one kind of subject."""

    def __init__(
        self, kind: Kind[StateT], partition: int, settings: Settings, port: Port, metrics: Metrics, health: Health
    ) -> None:
        self.kind = kind
        self.number = partition
        self.subjects = kind.make()
        self._clock = TaskClock(self.subjects, lambda to: self._note(list(self.subjects.advance(to))))
        self._settings = settings
        self._port = port
        self._metrics = metrics
        self._short = {settings.topic(name): name for name in kind.topics}
        self._inbox = Inbox([TP(topic, partition) for topic in self._short], settings.batch_max, port)
        self._mail = Mail(settings, partition, metrics, health, kind.table)
        self._set_aside = SetAside(kind.codec, self.subjects, self._mail, metrics, (kind.table, partition))
        self._by_key: dict[bytes, StateT] = {}
        self._corrector = Corrector(kind, self.subjects, self._mail, self._by_key)
        #: What the next checkpoint stores; None deletes.
        self._dirty: dict[bytes, StateT | None] = {}
        self._talking: dict[bytes, StateT] = {}
        self._unseen: dict[bytes, StateT] = {}
        #: How to acknowledge each handled batch; the records themselves are dropped.
        self._done: list[Callable[[], None]] = []
        #: The rest of an interrupted slice.
        self._rest: tuple[Batch, Sequence[Any], bool] | None = None
        # An outbox is stored with its subject, in one message.
        self._outbox_max = settings.max_message_bytes // OUTBOX_SHARE
        self._must_speak = False
        self._turn_ends = 0.0
        self._dirty_since: float | None = None
        self._handled_at = 0.0
        self._retired_at = BEGINNING
        self._checked: set[str] = set()
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._speaking: asyncio.Task[None] | None = None
        self._stopping = False
        self._failed = False
        #: Whether nothing was ever stored here.
        self._is_blank = False
        #: Records handled so far; its growth is a sign of life.
        self.handled = 0

    # -- life of the task ---------------------------------------------------------------------------------------------

    async def adopt(self, recovered: Recovered) -> None:
        """Take over what the changelog holds; send again what may be unsent, and the newest state of alerts."""
        found = Stored(self.kind.table, self.kind.codec, self.number, self._settings, recovered)
        with collector_rests():
            async for states in found.all_states(recovered):
                self._by_key |= {state.id.encode(): state for state in states}
                self._note(self.subjects.adopt(states))
        await found.set_aside(self._port)
        self._metrics.state_set_aside.labels(self.kind.table).inc(len(found.bad))
        self._is_blank = found.is_blank
        self._clock.adopt(found.clock)
        self._write_again(recovered.shadowed)
        for key, state in self._by_key.items():
            self._mail.adopt(state, self.subjects.now)
            if state.outbox or self.subjects.go_on(state):
                self._talking[key] = state
            if any(alert.over_at is None and alert.seen_at is None for alert in state.alerts.values()):
                self._unseen[key] = state
            if isinstance(state, PatientState):
                for session in state.sessions.values():
                    if session.told_at is not None:
                        session.told_at = datetime.min.replace(tzinfo=UTC)
                        self._dirty[key] = state
        async with self._lock:
            await self._say_everything()
            await self._send(self._mail.last_words())
            await self._checkpoint()

    async def put(self, batch: Batch) -> None:
        """Take a batch and return at once; the inbox pauses its partition when it holds enough."""
        self._check_topic(batch)
        self._inbox.put(batch)
        self._metrics.batch_size.observe(len(batch))
        self._wake.set()

    async def run(self) -> None:
        """Handle input until stopped; raise an error that no repetition can mend."""
        try:
            while not self._stopping:
                self._wake.clear()
                async with self._lock:
                    busy = await self._turn()
                if not busy:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(TICK_S):
                            await self._wake.wait()
                else:
                    await asyncio.sleep(0)
            async with self._lock:
                await self._say_everything()
        except BaseException as error:
            self._failed = isinstance(error, Exception)
            if self._speaking is not None:
                self._speaking.cancel()
            raise

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
            await self._checkpoint()
        return True

    def rejoin(self, port: Port) -> None:
        """Continue in a new generation after a `release`: the partition came back before anybody else wrote.

        Unhandled batches are delivered again; the clock stands until their end is confirmed again.
        """
        self._port = port
        self._inbox = Inbox(self._inbox.tps, self._settings.batch_max, port)
        self._rest = None
        self._checked.clear()
        self._clock.stand()
        self._mail.count_open()
        self._stopping = False

    async def correct(self, words: Iterable[Word]) -> set[str]:
        """Correct the last records of alerts on `alerts.active` that this task did not write (see `Corrector`).

        Returns:
            The alerts that it is too soon to correct: the caller asks again.
        """
        async with self._lock:
            await self._say_everything()
            answers = self._corrector.answer(words, self.lag())
            if number := len(answers.messages) + len(answers.restated):
                log.warning("%d alerts on alerts.active were not as they are: said again", number)
            await self._send(answers.messages)
            for state, alert in answers.restated:
                key = state.id.encode()
                self._mail.told(alert, None)
                self._touch(key, state)
                self._talking[key] = state
            await self._say_everything()
        return answers.put_off

    def lag(self) -> timedelta:
        """Return how far the task is behind the world: zero once all input is handled, else by its clock.

        A clock that stood through an outage stays behind until the next record; that is no lag.
        """
        return timedelta(0) if self.is_current() else datetime.now(UTC) - self.subjects.now

    def is_current(self) -> bool:
        """Whether everything that was delivered is handled and every topic is at a confirmed end."""
        return self._rest is None and self._inbox.is_drained(time.monotonic() - END_CONFIRMED_S)

    # -- one turn -----------------------------------------------------------------------------------------------------

    async def _turn(self) -> bool:
        """Handle a slice of the input, move the clock, publish, checkpoint; True if there may be more input."""
        busy = self._take_slices()
        if not busy:
            self._clock.follow(self._inbox.is_drained)
        self._start_speaking()
        if self._must_speak or self._mail.much_waits:
            await self._say_everything()
            self._must_speak = False
        if self._unseen and not self._clock.is_recovering and self.lag() < SEEN_LAG:
            self._mark_seen()
        if self._checkpoint_due():
            await self._checkpoint()
        return busy

    def _checkpoint_due(self) -> bool:
        if self._dirty_since is None:
            return self._clock.is_to_be_stored
        now, interval = time.monotonic(), self._settings.checkpoint_interval
        return (
            len(self._dirty) >= self._settings.checkpoint_patients
            or now - self._dirty_since >= interval
            or now - max(self._handled_at, self._dirty_since) >= interval * REST_SHARE
        )

    def _note(self, told: list[Told[StateT]]) -> None:
        """Mark subjects whose deadline fired as changed; their transitions are in their outbox."""
        for one in told:
            self._mail.told(one.alert, None)
        for state in self.subjects.take_fired():
            key = state.id.encode()
            self._touch(key, state)
            if state.outbox:
                self._talking[key] = state

    def _touch(self, key: bytes, state: StateT | None) -> None:
        self._dirty[key] = state
        if self._dirty_since is None:
            self._dirty_since = time.monotonic()

    def _mark_seen(self) -> None:
        for key, state in self._unseen.items():
            # A subject with an unsent outbox comes back once it is sent: it may concern a newer alert.
            if not state.outbox and self.subjects.seen(state):
                self._touch(key, state)
        self._unseen.clear()

    # -- input --------------------------------------------------------------------------------------------------------

    def _check_topic(self, batch: Batch) -> None:
        """Drop the applied offsets of a topic that was made anew: they mean nothing any more."""
        if batch.topic in self._checked:
            return
        self._checked.add(batch.topic)
        name = self._short[batch.topic]
        applied = max((state.offsets.get(name, -1) for state in self._by_key.values()), default=-1)
        if was_made_anew(batch, self._port.end_offset(batch.tp), applied, self._clock.marks.get(name)):
            self._clock.marks.pop(name, None)
            for key, state in self._by_key.items():
                if state.offsets.pop(name, None) is not None:
                    self._touch(key, state)

    def _take_slices(self) -> bool:
        """Handle as many slices as one turn may; False if there is nothing.

        Slices are short where several topics interleave: one store and one send serve all of them.
        """
        goal = self.handled + self._settings.batch_max
        self._turn_ends = time.monotonic() + TURN_S
        busy = self._take_slice()
        while busy and not self._is_turn_over() and self.handled < goal and self._take_slice():
            pass
        return busy

    def _is_turn_over(self) -> bool:
        return self._rest is not None or self._mail.much_waits or time.monotonic() > self._turn_ends

    def _take_slice(self) -> bool:
        """Handle the oldest records that may be handled now; False if there are none."""
        found = self._rest or self._inbox.next_slice(time.monotonic() - END_CONFIRMED_S)
        if found is None:
            return False
        batch, records, finished = found
        if self.handled == 0:
            self._clock.go_back_to(records[0])
        count = self._handle(batch.topic, records)
        self.handled += count
        if self._clock.ahead:
            self._metrics.records_ahead.labels(self.kind.table).inc(self._clock.take_ahead())
        self._rest = (batch, records[count:], finished) if count < len(records) else None
        if finished and self._rest is None:
            self._done.append(batch.ack)
            if self._dirty_since is None:
                self._dirty_since = time.monotonic()
        return True

    def _handle(self, topic: str, records: Sequence[Any]) -> int:  # noqa: C901, PLR0915 (a call costs more)
        """File records and collect the transitions. The hot path: no await, no work twice.

        Returns:
            How many it handled, at least one: fewer than all when an outbox is so large that it must be stored first,
            or when the turn has lasted long enough.
        """
        count = len(records)
        name, subject_of = self._short[topic], attrgetter(self.kind.subject)
        subjects, parse, by_key, dirty = self.subjects, self.kind.parse, self._by_key, self._dirty
        clock, turn_ends = self._clock, self._turn_ends
        counts = self._mail.counts(topic)
        instant_ms: int | None = None
        instant = subjects.now
        was_dear = False
        for number, record in enumerate(records):
            if was_dear and time.monotonic() > turn_ends:
                count = number
                break
            was_dear = True  # all but an event that changed nothing may have been expensive
            key = record.key
            state = by_key.get(key)
            if state is not None and state.offsets.get(name, -1) >= record.offset:
                counts.duplicates += 1
                clock.reach(record)
                continue
            parsed = parse(record.value)
            if isinstance(parsed, Rejected):
                self._refuse(record, parsed)
                continue
            event = parsed.record
            subject = subject_of(event)
            if subject != state.id if state is not None else not self._belongs(record, subject):
                self._refuse(record, Rejected(RejectReason.KEY_MISMATCH, f"the key should be the {self.kind.subject}"))
                continue
            if record.timestamp != instant_ms:
                instant_ms = record.timestamp
                instant = clock.instant(record)
                if instant > subjects.read_to:
                    subjects.read_to = instant
                    clock.advance(instant)
            way = parsed.merged_from
            # An event that a merge moved here arrived when it came to the record that was given up.
            arrived = min(parsed.received_at or instant, instant) if way else instant
            try:
                state, change, told = subjects.take(subject, event, arrived, way)
            except Exception:  # noqa: BLE001 (logged there; a fault of ours costs this event, not the partition)
                self._mail.not_filed(record, event)
                state, change, told = subjects.state_of(subject), NOT_FILED, []  # keeps what it changed until then
            by_key[key] = dirty[key] = state
            state.offsets[name] = record.offset
            counts.add(event, parsed.unknown_fields, change, parsed.left_out, late=arrived - event.at > LATE)
            if state.outbox:
                self._mail.all_told(told, instant)
                self._talking[key] = state
                if (told or state.closed) and self._has_much_to_say(state):
                    self._must_speak = True
                    count = number + 1
                    break
            was_dear = change is not UNCHANGED
        newest = records[count - 1]
        clock.marks[name] = Mark(newest.offset, newest.timestamp)
        clock.handled()
        self._handled_at = time.monotonic()
        self._dirty_since = self._dirty_since or (self._handled_at if dirty else None)
        counts.flush(count)
        return count

    def _has_much_to_say(self, state: StateT) -> bool:
        return sum(memoryview(entry.value).nbytes for entry in state.outbox) > self._outbox_max

    def _belongs(self, record: Any, subject: str) -> bool:
        """Whether a record of a new subject lies on the partition of its key, and its key names the subject."""
        return record.key == subject.encode() and self._mail.is_placed_here(record)

    def _refuse(self, record: Any, why: Rejected) -> None:
        """Send an unusable record on to the partition of its key, or make it a dead letter."""
        if isinstance(record.value, Oversized):
            self._mail.dead_letter(record, RejectReason.TOO_LARGE, record.value.detail)
        elif self._mail.is_placed_here(record):
            self._mail.dead_letter(record, why.reason, why.detail)
        else:
            self._mail.send_on(record)

    # -- output -------------------------------------------------------------------------------------------------------

    def _start_speaking(self) -> None:
        """Publish pending outboxes unless a publish is in flight; raise the error of the one that ended."""
        if self._speaking is not None:
            if not self._speaking.done():
                return
            self._speaking.result()
            self._speaking = None
        if self._talking or self._mail.waiting:
            self._speaking = asyncio.create_task(self._speak(), name=f"{self.kind.table}[{self.number}] speaks")
            self._speaking.add_done_callback(lambda _: self._wake.set())

    async def _say_everything(self) -> None:
        """Publish until all outboxes are stored and sent. Nothing is handled meanwhile."""
        self._start_speaking()
        while self._speaking is not None:
            await self._speaking
            self._start_speaking()

    async def _speak(self) -> None:
        """Store the subjects with pending outboxes, then send these outboxes.

        Records handled meanwhile append to the same outboxes: only their stored beginning is sent. Dead letters go
        first: once a subject is stored, its records up to the newest applied are never handled again.
        """
        talking, self._talking = self._talking, {}
        lengths = {key: len(state.outbox) for key, state in talking.items()}
        told = self._mail.take_told()
        messages = self._mail.of_outboxes([state.outbox for state in talking.values()], told)
        stored = self._set_aside.encode(talking)  # after `of_outboxes`: what cannot be encoded loses its outbox
        waiting = self._mail.take_waiting()
        await self._send(waiting)
        # A refused subject's outbox is sent all the same: its input is acknowledged once a checkpoint made it fit.
        self._write_again(await self._set_aside.store_what_fits(self._port, stored))
        await self._send(messages)
        self._mail.acknowledged(told)
        for key, state in talking.items():
            # The stored outbox is dropped by the next checkpoint; until then a crash sends the same bytes again.
            del state.outbox[: lengths[key]]
            self._touch(key, state)
            if not state.outbox and self.subjects.go_on(state):
                self._talking[key] = state
            elif not state.outbox:
                self._unseen[key] = state

    async def _checkpoint(self) -> None:
        """Publish all outboxes, store every changed subject, then acknowledge the batches that changed them."""
        await self._say_everything()
        started = time.monotonic()
        self._retire()
        done, self._done = self._done, []
        dirty, self._dirty = self._dirty, {}
        self._dirty_since = None
        shown = self._mail.running_sessions(dirty.values(), self.subjects)
        entries = self._set_aside.encode(dirty)
        if (clock := self._clock.store(always=bool(done) and self._is_blank)) is not None:
            # Also without subjects: an empty changelog of inputs that were read would count as lost.
            entries[CLOCK_KEY] = clock
            self._is_blank = False
        self._write_again(await self._set_aside.store(self._port, entries, dirty))
        self._set_aside.count()
        await self._send(shown)
        for acknowledge in done:
            acknowledge()
        if dirty:
            self._metrics.checkpoint_seconds.observe(time.monotonic() - started)
            self._metrics.checkpointed_keys.inc(len(dirty))

    def _retire(self) -> None:
        """Retire once a day, by the clock, subjects without messages for so long that their state cannot matter."""
        if self.subjects.now - self._retired_at < RETIRE_EVERY:
            return
        self._retired_at = self.subjects.now
        for subject in self.subjects.retire():
            key = subject.encode()
            self._dirty[key] = None
            self._unseen.pop(key, None)
            del self._by_key[key]

    async def _send(self, messages: Sequence[Outgoing]) -> None:
        await self._set_aside.send(self._port, messages)

    def _write_again(self, keys: Collection[bytes]) -> None:
        """Mark keys for storing whose newest record in the log is not ours, though ours holds."""
        for key in keys:
            if key == CLOCK_KEY:
                self._clock.store_again()
            else:
                self._touch(key, self._by_key.get(key))

"""The task that owns one partition: its subjects, clock, deadlines, and what is not yet stored, sent or committed.

Guarantees:
    - Input of several topics is handled in the order of record timestamps; a topic that lags is waited for.
    - A transition is in the changelog before it is sent, and sent and acknowledged before its input is.
    - A batch is acknowledged only when every state it changed, every transition it made and every dead letter it
      left is stored. What a crash interrupts is delivered, and sent, again.
    - While transitions are stored and sent, later records are handled, until the next checkpoint, which waits for that.
    - The clock follows the records; while every topic is read to a confirmed end it follows the wall clock.

Nothing else touches the subjects: one lock holds off the timer while a batch is handled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final, Generic, Protocol

from models.parsing import Parsed, Rejected, RejectReason
from models.settings import Settings
from models.state import PatientState, StateCodec
from streams.engine.partition import Partition, Told
from streams.engine.sessions import tell_session
from streams.health import Health
from streams.inbox import Inbox
from streams.mail import Mail
from streams.outgoing import Outgoing
from streams.rules.base import StateT
from streams.telemetry import Metrics
from streams.transport.api import TP, Batch

log = logging.getLogger(__name__)

#: An end offset counts as confirmed for this long (design.md, Time).
END_CONFIRMED_S: Final = 5.0
#: Response times run only while the clock is at most this far behind the wall clock.
SEEN_LAG: Final = timedelta(seconds=30)
#: A record's timestamp may lie this far ahead of the wall clock: what Kafka's brokers let producers say.
FURTHEST_AHEAD: Final = timedelta(hours=1)
#: A task to which nothing comes for this share of the checkpoint interval does not wait for the rest of it.
REST_SHARE: Final = 0.25
#: The timer of a task.
TICK_S: Final = 0.1
#: Part of the largest message that the unsent transitions of one subject may take.
OUTBOX_SHARE: Final = 8
#: An event that took longer than this from its own time to its record counts as late.
LATE: Final = timedelta(minutes=5)


class Port(Protocol):
    """What a task may ask of the transport."""

    async def write(self, partition: int, entries: Mapping[bytes, bytes | None]) -> None:
        """Write the changelog; returns when the broker has acknowledged it."""

    async def send_all(self, messages: Sequence[Outgoing]) -> None:
        """Send messages; returns when the broker has acknowledged them."""

    def pause(self, tps: set[TP]) -> None:
        """Stop delivery of partitions."""

    def resume(self, tps: set[TP]) -> None:
        """Go on with delivery."""

    def end_confirmed_at(self, tp: TP) -> float | None:
        """When a fetch last confirmed that all of a partition was handed over."""

    def end_offset(self, tp: TP) -> int | None:
        """The end of a partition's log, as last heard."""


@dataclass(frozen=True)
class Kind(Generic[StateT]):
    """A kind of task: which subjects it keeps and how its messages are read.

    Attributes:
        table: name of the table, and of the changelog.
        topics: contract names of its input topics.
        subject: the field of an event that names the subject; the record's key must equal it.
        make: an empty partition of subjects.
    """

    table: str
    topics: tuple[str, ...]
    subject: str
    codec: StateCodec[StateT]
    parse: Callable[[bytes | None], Parsed[Any] | Rejected]
    make: Callable[[], Partition[StateT]]


class PartitionTask(Generic[StateT]):
    """One partition of one kind of subject."""

    def __init__(
        self, kind: Kind[StateT], partition: int, settings: Settings, port: Port, metrics: Metrics, health: Health
    ) -> None:
        self.kind = kind
        self.number = partition
        self.subjects = kind.make()
        self._settings = settings
        self._port = port
        self._metrics = metrics
        self._short = {settings.topic(name): name for name in kind.topics}
        self._inbox = Inbox([TP(topic, partition) for topic in self._short], settings.batch_max, port)
        self._mail = Mail(settings, partition, metrics, health, kind.table)
        self._by_key: dict[bytes, StateT] = {}
        self._dirty: dict[bytes, StateT] = {}
        self._talking: dict[bytes, StateT] = {}
        self._unseen: dict[bytes, StateT] = {}
        #: How to acknowledge each batch that was handled; the records themselves are let go of.
        self._done: list[Callable[[], None]] = []
        #: What is left of a slice that was interrupted.
        self._rest: tuple[Batch, Sequence[Any], bool] | None = None
        # An outbox is stored with its subject, in one message.
        self._outbox_max = settings.max_message_bytes // OUTBOX_SHARE
        self._dirty_since: float | None = None
        self._followed_at: float | None = None
        self._handled_at = 0.0
        self._credible_ms = 0
        self._checked: set[str] = set()
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._speaking: asyncio.Task[None] | None = None
        self._stopping = False
        self._failed = False
        #: The clock that the recovered subjects had; None once it is reached again.
        self._recovered_now: datetime | None = None
        #: Records handled so far; that it grows is a sign of life.
        self.handled = 0

    # -- life of the task ---------------------------------------------------------------------------------------------

    async def adopt(self, recovered: dict[bytes, bytes]) -> None:
        """Take over what the changelog holds, and send again what may not have left, and what is open."""
        states = [self.kind.codec.decode(value) for value in recovered.values()]
        self._by_key = {state.id.encode(): state for state in states}
        told = self.subjects.adopt(states)
        self._recovered_now = self.subjects.now
        self._note(told)
        for key, state in self._by_key.items():
            self._mail.adopt(state)
            if state.outbox:
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
            await self._port.send_all(self._mail.open_alerts())
            await self._checkpoint()

    async def put(self, batch: Batch) -> None:
        """Take a batch; returns at once, the inbox pauses its partition when it holds enough."""
        self._check_topic(batch)
        self._inbox.put(batch)
        self._metrics.batch_size.observe(len(batch))
        self._wake.set()

    async def run(self) -> None:
        """Handle what comes until stopped; raises what no repetition can mend."""
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

    async def release(self) -> None:
        """Store and acknowledge all that was handled: the partition goes to somebody else.

        A task that failed in the middle of its turn lets go of everything instead: what it could not store or send
        is delivered again.
        """
        if self._failed:
            return
        async with self._lock:
            await self._checkpoint()

    def lag(self) -> timedelta:
        """How far behind the world the task is: nothing once all there is was handled, else as its clock says.

        A clock that stood through an outage stays behind until the next record; that is no lag.
        """
        return timedelta(0) if self.is_current() else datetime.now(UTC) - self.subjects.now

    def is_current(self) -> bool:
        """Whether everything that was delivered is handled and every topic is at a confirmed end."""
        return self._rest is None and self._inbox.is_drained(time.monotonic() - END_CONFIRMED_S)

    # -- one turn -----------------------------------------------------------------------------------------------------

    async def _turn(self) -> bool:
        """Handle a slice of the input, let the clock move, speak, checkpoint; True if there may be more."""
        busy = self._take_slices()
        if not busy:
            self._follow_wall_clock()
        self._start_speaking()
        if self._rest is not None:
            await self._say_everything()
        if self._unseen and self._recovered_now is None and self.lag() < SEEN_LAG:
            self._mark_seen()
        if self._checkpoint_due():
            await self._checkpoint()
        return busy

    def _checkpoint_due(self) -> bool:
        if self._dirty_since is None:
            return False
        now, interval = time.monotonic(), self._settings.checkpoint_interval
        return (
            len(self._dirty) >= self._settings.checkpoint_patients
            or now - self._dirty_since >= interval
            or now - max(self._handled_at, self._dirty_since) >= interval * REST_SHARE
        )

    def _follow_wall_clock(self) -> None:
        """Let the clock run while every topic is read to a confirmed end; else it stands.

        Two looks in a row must find the ends confirmed: the time between them is what the clock gains.
        """
        now = time.monotonic()
        if not self._inbox.is_drained(now - END_CONFIRMED_S):
            self._followed_at = None
            return
        if self._recovered_now is not None:
            self._advance(self._recovered_now)
            self._recovered_now = None
        gained = now - self._followed_at if self._followed_at is not None else 0.0
        # A longer gap was spent waiting for the broker: an outage is not a silence.
        if self.subjects.states and gained <= END_CONFIRMED_S:
            self._advance(self.subjects.now + timedelta(seconds=gained))
        self._followed_at = now

    def _advance(self, to: datetime) -> None:
        if self.subjects.is_due(to):
            self._note(list(self.subjects.advance(to)))
        else:
            self.subjects.now = max(self.subjects.now, to)

    def _instant(self, timestamp_ms: int) -> datetime:
        """A record's timestamp; one that no broker's clock gave (far ahead, or none at all) counts as this moment.

        A producer's own time must not carry the clock away: every later event would lie behind all windows.
        """
        if not 0 < timestamp_ms <= self._credible_ms:  # what was not too far ahead at the last look is not now
            now = datetime.now(UTC)
            self._credible_ms = int((now + FURTHEST_AHEAD).timestamp() * 1000)
            if not 0 < timestamp_ms <= self._credible_ms:
                return now
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC)

    def _reach(self, timestamp_ms: int) -> None:
        """Move the clock to a record's timestamp: also a record that needs no filing tells how far the world is."""
        instant = self._instant(timestamp_ms)
        if instant > self.subjects.now:
            self._advance(instant)

    def _note(self, told: list[Told[StateT]]) -> None:
        """Subjects whose deadline fired: their transitions are in their outbox."""
        for one in told:
            self._mail.told(one.alert, None)
        for state in self.subjects.take_fired():
            key = state.id.encode()
            self._touch(key, state)
            if state.outbox:
                self._talking[key] = state

    def _touch(self, key: bytes, state: StateT) -> None:
        self._dirty[key] = state
        if self._dirty_since is None:
            self._dirty_since = time.monotonic()

    def _mark_seen(self) -> None:
        for key, state in self._unseen.items():
            if self.subjects.seen(state):
                self._touch(key, state)
        self._unseen.clear()

    # -- input --------------------------------------------------------------------------------------------------------

    def _check_topic(self, batch: Batch) -> None:
        """A topic whose end lies before what was applied was made anew: its offsets mean nothing any more."""
        if batch.topic in self._checked:
            return
        self._checked.add(batch.topic)
        name, end = self._short[batch.topic], self._port.end_offset(batch.tp)
        applied = max((state.offsets.get(name, -1) for state in self._by_key.values()), default=-1)
        if end is not None and applied >= end:
            log.warning(
                "%s[%d] ends at %d, before offset %d that was applied: it was made anew", *batch.tp, end, applied
            )
            for key, state in self._by_key.items():
                if state.offsets.pop(name, None) is not None:
                    self._touch(key, state)

    def _take_slices(self) -> bool:
        """Handle as much as one turn may; False if there is nothing.

        Slices are short where several topics interleave: stored and spoken is once for all of them.
        """
        goal = self.handled + self._settings.batch_max
        busy = self._take_slice()
        while busy and self._rest is None and self.handled < goal and self._take_slice():
            pass
        return busy

    def _take_slice(self) -> bool:
        """Handle the oldest records that may be handled now; False if there are none."""
        found = self._rest or self._inbox.next_slice(time.monotonic() - END_CONFIRMED_S)
        if found is None:
            return False
        batch, records, finished = found
        if self.handled == 0:
            self._go_back_to(records[0].timestamp)
        count = self._handle(batch.topic, records)
        self.handled += count
        self._rest = (batch, records[count:], finished) if count < len(records) else None
        if finished and self._rest is None:
            self._done.append(batch.ack)
            if self._dirty_since is None:
                self._dirty_since = time.monotonic()
        if self._recovered_now is not None and self.subjects.now >= self._recovered_now:
            self._recovered_now = None
        return True

    def _go_back_to(self, timestamp_ms: int) -> None:
        """Let the first records after a recovery find the clock that they found before.

        What was stored of some subjects may be ahead of what is delivered again for others; looked at with that
        later clock, a silence would seem to have lasted that has long been broken. No subject goes back behind its
        own last evaluation.
        """
        if self._recovered_now is not None:
            self.subjects.now = min(self.subjects.now, self._instant(timestamp_ms))

    def _handle(self, topic: str, records: Sequence[Any]) -> int:
        """File records and collect the transitions. The hot path: no await, no work twice.

        Returns:
            How many it handled: fewer than all when a subject has so much to say that it must be stored first.
        """
        count = len(records)
        name, subject_of = self._short[topic], attrgetter(self.kind.subject)
        subjects, parse, by_key, dirty = self.subjects, self.kind.parse, self._by_key, self._dirty
        counts = self._mail.counts(topic)
        instant_ms: int | None = None
        instant = subjects.now
        for record in records:
            key = record.key
            state = by_key.get(key)
            if state is not None and state.offsets.get(name, -1) >= record.offset:
                counts.duplicates += 1
                self._reach(record.timestamp)
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
                instant = self._instant(record.timestamp)
                if instant > subjects.now:
                    self._advance(instant)
            state, change, told = subjects.take(subject, event, instant)
            by_key[key] = dirty[key] = state
            state.offsets[name] = record.offset
            counts.add(event, parsed.unknown_fields, change, late=instant - event.at > LATE)
            for alert in told:
                self._mail.told(alert, instant)
            if state.outbox:
                self._talking[key] = state
                if told and self._has_much_to_say(state):
                    count = next(number for number, one in enumerate(records, 1) if one is record)
                    break
        self._followed_at = self._handled_at = time.monotonic()
        self._dirty_since = self._dirty_since or (self._followed_at if dirty else None)
        counts.flush(count)
        return count

    def _has_much_to_say(self, state: StateT) -> bool:
        return sum(memoryview(entry.value).nbytes for entry in state.outbox) > self._outbox_max

    def _belongs(self, record: Any, subject: str) -> bool:
        """Whether a record of a subject not seen before lies where its key says, and its key says the subject."""
        return record.key == subject.encode() and self._mail.is_placed_here(record)

    def _refuse(self, record: Any, why: Rejected) -> None:
        """What cannot be used here: sent on to the partition of its key, or a dead letter."""
        if self._mail.is_placed_here(record):
            self._mail.dead_letter(record, why.reason, why.detail)
        else:
            self._mail.send_on(record)

    # -- output -------------------------------------------------------------------------------------------------------

    def _start_speaking(self) -> None:
        """Let what there is to say be said, unless something is being said; raises what went wrong with that."""
        if self._speaking is not None:
            if not self._speaking.done():
                return
            self._speaking.result()
            self._speaking = None
        if self._talking or self._mail.waiting:
            self._speaking = asyncio.create_task(self._speak(), name=f"{self.kind.table}[{self.number}] speaks")
            self._speaking.add_done_callback(lambda _: self._wake.set())

    async def _say_everything(self) -> None:
        """Return when all that there is to say is stored and sent. Nothing is handled meanwhile."""
        self._start_speaking()
        while self._speaking is not None:
            await self._speaking
            self._start_speaking()

    async def _speak(self) -> None:
        """Store the subjects that have something to say, then say it.

        Records handled meanwhile append to the same outboxes: what is sent is their beginning, as it was stored. Dead
        letters go first: once a subject is stored, its records up to the newest applied are never looked at again.
        """
        talking, self._talking = self._talking, {}
        encode = self.kind.codec.encode
        stored = {key: encode(state) for key, state in talking.items()}
        lengths = {key: len(state.outbox) for key, state in talking.items()}
        messages = self._mail.of_outbox([entry for state in talking.values() for entry in state.outbox])
        waiting, told = self._mail.take_waiting(), self._mail.take_told()
        if waiting:
            await self._port.send_all(waiting)
        await self._write(stored)
        if messages:
            await self._port.send_all(messages)
        self._mail.acknowledged(told)
        for key, state in talking.items():
            # The stored outbox is dropped by the next checkpoint; until then a crash sends the same bytes again.
            del state.outbox[: lengths[key]]
            self._touch(key, state)
            if not state.outbox:
                self._unseen[key] = state

    async def _checkpoint(self) -> None:
        """Say what there is to say, store every changed subject, then acknowledge the batches that changed them."""
        await self._say_everything()
        started = time.monotonic()
        done, self._done = self._done, []
        dirty, self._dirty = self._dirty, {}
        self._dirty_since = None
        shown = self._running_sessions(dirty)
        encode = self.kind.codec.encode
        await self._write({key: encode(state) for key, state in dirty.items()})
        if shown:
            await self._port.send_all(shown)
        for acknowledge in done:
            acknowledge()
        if dirty:
            self._metrics.checkpoint_seconds.observe(time.monotonic() - started)
            self._metrics.checkpointed_keys.inc(len(dirty))

    async def _write(self, entries: Mapping[bytes, bytes | None]) -> None:
        if entries:
            await self._port.write(self.number, entries)

    def _running_sessions(self, dirty: dict[bytes, StateT]) -> list[Outgoing]:
        messages = []
        for state in dirty.values():
            if isinstance(state, PatientState) and state.sessions and (told := tell_session(state, self.subjects.now)):
                messages.append(self._mail.session(*told))
                self.subjects.rearm(state)
        return messages

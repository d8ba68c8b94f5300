"""Handle the input of a task in the order of record timestamps: file each record and collect what follows from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, Generic

from models.alerts import AlertRecord
from models.parsing import Rejected, RejectReason
from streams.engine.change import NOT_FILED, SAMPLED, SAMPLED_AGAIN, TOO_OLD, Change
from streams.rules.api import StateT
from streams.rules.facts.late_clocks import LATE
from streams.transport.api import TP, Batch, Oversized
from streams.worker.checkpoint import Checkpoint
from streams.worker.clock import END_CONFIRMED_S, Mark
from streams.worker.input_queue import Inbox
from streams.worker.owned import Owned
from streams.worker.ports import Port
from streams.worker.publisher import Publisher
from streams.worker.recovered_state import was_made_anew

#: How long, in seconds, a task handles records before it gives way to others; one record may take longer.
TURN_S: Final = 0.025


class Intake(Generic[StateT]):
    """The input side of one task.

    Guarantees: input of several topics is handled in the order of record timestamps; a topic that lags holds the others
    back. No turn holds the event loop much longer than `TURN_S`, however expensive the records of one subject are.
    """

    def __init__(
        self, owned: Owned[StateT], port: Port, publisher: Publisher[StateT], checkpoint: Checkpoint[StateT]
    ) -> None:
        self._owned, self._port = owned, port
        self._publisher, self._checkpoint = publisher, checkpoint
        self._short = {owned.settings.topic(name): name for name in owned.kind.topics}
        self._inbox = self._empty_inbox(port)
        #: The rest of an interrupted slice.
        self._rest: tuple[Batch, Sequence[Any], bool] | None = None
        self._checked: set[str] = set()
        self._turn_ends = 0.0
        #: Records handled so far; its growth is a sign of life.
        self.handled = 0

    def _empty_inbox(self, port: Port) -> Inbox:
        tps = [TP(topic, self._owned.partition) for topic in self._short]
        return Inbox(tps, self._owned.settings.batch_max, port)

    def rejoin(self, port: Port) -> None:
        """Begin anew in a new generation: unhandled batches are delivered again."""
        self._port = port
        self._inbox = self._empty_inbox(port)
        self._rest = None
        self._checked.clear()

    def put(self, batch: Batch) -> None:
        """Queue a batch; the inbox pauses its partition when it holds enough."""
        self._check_topic(batch)
        self._inbox.put(batch)
        self._owned.metrics.batch_size.observe(len(batch))

    def is_drained(self, confirmed_since: float) -> bool:
        """Whether all is handled and every topic's end was confirmed since a moment (`time.monotonic()`)."""
        return self._rest is None and self._inbox.is_drained(confirmed_since)

    def _check_topic(self, batch: Batch) -> None:
        """Drop the applied offsets of a topic that was made anew: they mean nothing any more."""
        if batch.topic in self._checked:
            return
        self._checked.add(batch.topic)
        by_key, clock, name = self._owned.by_key, self._owned.clock, self._short[batch.topic]
        applied = max((state.offsets.get(name, -1) for state in by_key.values()), default=-1)
        if was_made_anew(batch, self._port.end_offset(batch.tp), applied, clock.marks.get(name)):
            clock.marks.pop(name, None)
            for key, state in by_key.items():
                if state.offsets.pop(name, None) is not None:
                    self._checkpoint.touch(key, state)

    # -- handling -----------------------------------------------------------------------------------------------------

    def take_slices(self) -> bool:
        """Handle as many slices as one turn may; False if there is nothing.

        Slices are short where several topics interleave: one store and one send serve all of them.
        """
        goal = self.handled + self._owned.settings.batch_max
        self._turn_ends = time.monotonic() + TURN_S
        busy = self._take_slice()
        while busy and not self._is_turn_over() and self.handled < goal and self._take_slice():
            pass
        return busy

    def _is_turn_over(self) -> bool:
        return self._rest is not None or self._owned.output.much_waits or time.monotonic() > self._turn_ends

    def _take_slice(self) -> bool:
        """Handle the oldest records that may be handled now; False if there are none."""
        found = self._rest or self._inbox.next_slice(time.monotonic() - END_CONFIRMED_S)
        if found is None:
            return False
        batch, records, finished = found
        clock = self._owned.clock
        clock.begin()
        if self.handled == 0:
            clock.go_back_to(records[0])
        count = self._handle(batch.topic, records)
        self.handled += count
        if clock.ahead:
            self._owned.metrics.records_ahead.labels(self._owned.kind.table).inc(clock.take_ahead())
        self._rest = (batch, records[count:], finished) if count < len(records) else None
        if finished and self._rest is None:
            self._checkpoint.acknowledge_later(batch.ack)
        return True

    def _handle(self, topic: str, records: Sequence[Any]) -> int:
        """File records and collect the transitions; return how many, at least one. The hot path: no await.

        Fewer than all when an outbox is so large that it must be stored first, or the turn has lasted long enough.
        """
        owned, turn_ends = self._owned, self._turn_ends
        name, subject_of, parse = self._short[topic], attrgetter(owned.kind.subject), owned.kind.parse
        by_key, clock, waits = owned.by_key, owned.clock, owned.subjects.waiting.take
        counts = owned.output.counts(topic)
        count, was_dear, quiet_until, waited_to = len(records), False, clock.quiet_until(), 0
        for number, record in enumerate(records):
            if was_dear and time.monotonic() > turn_ends:
                count = number
                break
            was_dear = True  # all but a sample that changed nothing else may have been expensive
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
            if (state is None or subject != state.id) and not self._admits(record, subject, state):
                continue
            ms, change, way = record.timestamp, None, parsed.merged_from
            if 0 < ms < quiet_until and state is not None and not (way or parsed.unknown_fields or parsed.left_out):
                change = waits(subject, event, ms / 1000)
                if change is SAMPLED_AGAIN:  # nearly always
                    state.offsets[name] = record.offset
                    counts.samples, was_dear, waited_to = counts.samples + 1, False, max(waited_to, ms)
                    continue
            clock.pass_to(waited_to)
            instant = clock.reach(record)
            # An event that a merge moved here arrived when it came to the record that was given up.
            arrived = min(parsed.received_at or instant, instant) if way else instant
            transitions: list[AlertRecord] = []
            if state is None or change is None:
                state, change, transitions = self._file(record, subject, event, arrived, way)
                by_key[key] = state
            state.offsets[name] = record.offset
            counts.add(event, parsed.unknown_fields, change, parsed.left_out, late=arrived - event.at > LATE)
            was_dear = change is not SAMPLED
            self._to_be_stored(key, state, change, event)
            quiet_until = clock.quiet_until()
            if state.outbox and self._publish(key, state, transitions, instant):
                count = number + 1
                break
        clock.pass_to(waited_to)
        self._handled_up_to(name, records[count - 1])
        counts.flush(count)
        return count

    def _to_be_stored(self, key: bytes, state: StateT, change: Change, event: Any) -> None:
        """Mark a subject to be stored after an event of it changed something."""
        checkpoint = self._checkpoint
        if change is SAMPLED_AGAIN:
            return
        if change is SAMPLED:
            checkpoint.sampled[key] = state
            checkpoint.sources[key].add((event.session_id, event.machine_id))
        elif change is TOO_OLD:
            checkpoint.sampled[key] = state
        else:
            checkpoint.changed[key] = state

    def _handled_up_to(self, name: str, newest: Any) -> None:
        """Note that the records of a topic up to this one were handled just now."""
        self._owned.clock.marks[name] = Mark(newest.offset, newest.timestamp)
        self._owned.clock.handled()
        self._checkpoint.has_handled()

    def _admits(self, record: Any, subject: str, state: StateT | None) -> bool:
        """Whether a record begins a subject: its key names it, and belongs on this partition. Refuse it if not."""
        if state is None and record.key == subject.encode() and self._owned.output.is_placed_here(record):
            return True
        self._refuse(record, Rejected(RejectReason.KEY_MISMATCH, f"the key should be the {self._owned.kind.subject}"))
        return False

    def _file(
        self, record: Any, subject: str, event: Any, arrived: datetime, way: tuple[str, ...]
    ) -> tuple[StateT, Change, list[AlertRecord]]:
        """File and evaluate an event. If that raises, it is a dead letter; its subject keeps what it changed till then.

        A fault of ours costs this event, not the partition.
        """
        try:
            return self._owned.subjects.take(subject, event, arrived, way)
        except Exception:  # noqa: BLE001 (logged there)
            self._owned.output.not_filed(record, event)
            return self._owned.subjects.state_of(subject), NOT_FILED, []

    def _publish(self, key: bytes, state: StateT, transitions: list[AlertRecord], instant: datetime) -> bool:
        """Publish what an event told soon; return whether it must be sent before the next event is handled."""
        self._owned.output.note_all(transitions, instant)
        self._publisher.add(key, state)
        return bool(transitions or state.closed) and self._publisher.is_full(state)

    def _refuse(self, record: Any, why: Rejected) -> None:
        """Send an unusable record on to the partition of its key, or make it a dead letter."""
        output = self._owned.output
        if isinstance(record.value, Oversized):
            output.dead_letter(record, RejectReason.TOO_LARGE, record.value.detail)
        elif output.is_placed_here(record):
            output.dead_letter(record, why.reason, why.detail)
        else:
            output.send_on(record)

"""The engine without a broker: every patient and water loop as one partition (contract, Command line, `replay`).

The clock of a line is its `received_at`, else the latest time it states: `at`, `reported_at` or `ended_at` (nobody
can report what has not happened). Signals to water loops are handled at once, so unit alerts appear as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from models.alerts import AlertRecord
from models.parsing import Parsed, Rejected, parse_loop_event, parse_patient_event
from models.records import ChairSignal, LoopRecord, PatientRecord, UnitAlertResponse, UnitSignal
from models.state import Entry
from models.topics import PATIENT_TOPICS, UNIT_SIGNALS
from streams.engine.factory import loop_partition, patient_partition
from streams.engine.partition import Partition
from streams.engine.sender_clocks import latest_time
from streams.rules.api import StateT
from streams.rules.catalogue import RuleSettings

Line = Parsed[PatientRecord] | Parsed[LoopRecord]
#: `replay` keeps alerts as long as a worker with default settings does.
_RETENTION: Final = timedelta(minutes=15)


class Replay:
    """Every patient and water loop as one partition; transitions count as sent and seen at once."""

    def __init__(self, settings: RuleSettings) -> None:
        self._patients = patient_partition(settings, _RETENTION)
        self._loops = loop_partition(settings, _RETENTION)

    def take(self, line: Line) -> Iterator[AlertRecord]:
        """Move the clock to a line, file it, and yield the transitions in order."""
        event = line.record
        now = line.received_at or latest_time(event)
        yield from self.advance(now)
        received_at = line.received_at or latest_time(event)
        if isinstance(event, UnitSignal | ChairSignal | UnitAlertResponse):
            yield from self._file(self._loops, event.water_loop_id, event, received_at)
        else:
            yield from self._file(self._patients, event.patient_id, event, received_at)

    def advance(self, to: datetime) -> Iterator[AlertRecord]:
        """Move the clock on to a moment; yield the transitions of the deadlines on the way."""
        while (moment := self._next_deadline()) is not None and moment <= to:
            yield from self._fire(self._patients, moment)
            yield from self._fire(self._loops, moment)
        yield from self._fire(self._patients, to)
        yield from self._fire(self._loops, to)

    def _next_deadline(self) -> datetime | None:
        moments = (self._patients.next_deadline(), self._loops.next_deadline())
        return min((moment for moment in moments if moment), default=None)

    def _fire(self, partition: Partition[StateT], to: datetime) -> Iterator[AlertRecord]:
        for transitions in partition.advance(to):
            yield transitions.alert
        for state in partition.take_fired():
            yield from self._sent(partition, state)

    def _file(self, partition: Partition[StateT], subject: str, event: Any, at: datetime) -> Iterator[AlertRecord]:
        state, _, transitions = partition.take(subject, event, at)
        yield from transitions
        yield from self._sent(partition, state)

    def _sent(self, partition: Partition[StateT], state: StateT) -> Iterator[AlertRecord]:
        """Treat the outbox as sent, and file what it holds for water loops, chairs and other patients."""
        entries = [entry for entry in state.outbox if entry.topic in (UNIT_SIGNALS, *PATIENT_TOPICS)]
        state.outbox.clear()
        while partition.go_on(state):
            entries += state.outbox
            state.outbox.clear()
        partition.seen(state)
        for entry in entries:
            if entry.topic in PATIENT_TOPICS:
                yield from self._moved(entry, partition.now)
                continue
            parsed = parse_loop_event(bytes(entry.value))
            if isinstance(parsed, Parsed):
                self._loops.now = max(self._loops.now, partition.now)
                yield from self._file(self._loops, entry.key, parsed.record, partition.now)

    def _moved(self, entry: Entry, now: datetime) -> Iterator[AlertRecord]:
        """File what a merge, or a chair, sends to a patient."""
        parsed = parse_patient_event(bytes(entry.value))
        if isinstance(parsed, Parsed):
            at = min(parsed.received_at or now, now)
            state, _, transitions = self._patients.take(entry.key, parsed.record, at, parsed.merged_from)
            yield from transitions
            yield from self._sent(self._patients, state)


def parse_line(raw: bytes) -> Line | Rejected:
    """Parse one line: an event of a patient, or one of a water loop."""
    parsed = parse_patient_event(raw)
    if isinstance(parsed, Rejected):
        of_loop = parse_loop_event(raw)
        return of_loop if isinstance(of_loop, Parsed) else parsed
    return parsed

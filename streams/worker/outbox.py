"""Build what a task sends: outbox entries as Kafka messages, dead letters, records sent on; count its input."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final

import msgspec
from aiokafka.partitioner import DefaultPartitioner

from models.alerts import AlertRecord, Priority
from models.parsing import FaultReason, RejectReason
from models.records import Telemetry
from models.repair import LeftOut
from models.settings import Settings
from models.state import NO_VALUE, Entry, LoopState, PatientState, SubjectState
from models.topics import ALERTS_ACTIVE, DEAD_LETTERS, PATIENT_TOPICS, SESSIONS_ACTIVE
from streams.engine.active_sessions import over_since, publish_session, published_until
from streams.engine.change import Change
from streams.engine.partition import Partition
from streams.kafka.dead_letter import as_read, dead_letter
from streams.worker.health import Health
from streams.worker.metrics import Metrics
from streams.worker.sender import Outgoing

log = logging.getLogger(__name__)

#: CloudEvents' `source`: the same for every worker, so that a repeat differs in `ce_time` alone.
_SOURCE: Final = b"/dialysis-alerts"
#: Header of a record that was sent on from a partition where its key does not belong.
MOVED_FROM: Final = "dl_moved_from"
#: Bytes that the header, and a batch of its own, add to a record.
_MOVED_BYTES: Final = 256
#: When so many bytes of dead letters and records to be sent on wait, they are sent before more is handled.
MUCH_WAITS: Final = 4 * 1024 * 1024
#: A new owner re-sends the final state of alerts that ended within this period.
LAST_WORD: Final = timedelta(days=1)
_NO_VALUE: Final = bytes(NO_VALUE)
_partition_of = DefaultPartitioner()
#: An alert's id; any other name in an answer may identify a person.
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

#: A transition, and the timestamp of the record that made it; None for a deadline.
Noted = tuple[AlertRecord, datetime | None]


class _Transition(msgspec.Struct):
    """Just enough of an alert to repeat its headers."""

    revision: int
    transition: str


_transition: Final = msgspec.json.Decoder(_Transition)


class Counts:
    """The counts of one batch, which are added to the metrics together."""

    __slots__ = (
        "_health",
        "_metrics",
        "_topic",
        "_topic_metrics",
        "_types",
        "duplicates",
        "late",
        "samples",
        "unknown",
        "unusable",
    )

    def __init__(self, topic: str, metrics: Metrics, health: Health) -> None:
        self._topic = topic
        self._metrics, self._health = metrics, health
        self._topic_metrics = metrics.topic(topic)
        self._types: dict[type, int] = {}
        self.duplicates = self.late = self.unknown = self.unusable = 0
        #: Usable samples, in time, of which nothing else is to be counted.
        self.samples = 0

    def add(
        self, event: object, unknown_fields: int, change: Change, left_out: tuple[LeftOut, ...] = (), *, late: bool
    ) -> None:
        """Count one usable event and the effects of filing it."""
        kind = type(event)
        self._types[kind] = self._types.get(kind, 0) + 1
        self.unknown += unknown_fields
        self.late += late
        self.duplicates += not change.filed
        if change.unmatched:
            self._unmatched(event)
        if change.unread:
            self._metrics.unread_results.inc()
        if change.dropped:
            self._metrics.cap_drops.labels(kind.__name__).inc(change.dropped)

        if left_out:
            self._left_out(event, left_out)

    def _unmatched(self, answer: Any) -> None:
        """Count an answer that fits no alert, and log it: a device that shows old alerts, or an id typed wrongly."""
        self._metrics.unmatched_responses.inc()
        name = answer.alert_id if _UUID.fullmatch(answer.alert_id) else "by an id that is no UUID"
        log.warning("%s: an answer (%s) fits no alert of its patient or loop: %s", self._topic, answer.action, name)

    def _left_out(self, event: Any, details: tuple[LeftOut, ...]) -> None:
        """Count details that were left out of an event, and log each once a source."""
        kind = str(type(event).__struct_config__.tag)
        for detail in details:
            self._metrics.details_left_out.labels(kind, detail.field).inc()
        for sentence in self._metrics.left_out_said.news(self._topic, event, details):
            log.warning("%s: %s", self._topic, sentence)

    def flush(self, records: int) -> None:
        """Add the counts of so many records to the metrics, and report to health how many were usable."""
        self._health.seen(self._topic, records - self.unusable, self.unusable)
        if self.samples:
            self._types[Telemetry] = self._types.get(Telemetry, 0) + self.samples
        for kind, number in self._types.items():
            self._topic_metrics.events[str(kind.__struct_config__.tag)].inc(number)  # type: ignore[attr-defined]
        self._types.clear()
        self._topic_metrics.duplicates.inc(self.duplicates)
        self._topic_metrics.late.inc(self.late)
        self._topic_metrics.unknown_fields.inc(self.unknown)
        self.duplicates = self.late = self.unknown = self.unusable = self.samples = 0


class TaskOutput:
    """The outgoing side of one task."""

    def __init__(self, settings: Settings, partition: int, metrics: Metrics, health: Health, table: str) -> None:
        self._settings = settings
        self._partition = partition
        self._metrics = metrics
        self._health = health
        self._owner = (table, partition)
        self._partitions = list(range(settings.partitions))
        self._active = settings.topic(ALERTS_ACTIVE)
        self._counts: dict[str, Counts] = {}
        self._extra: list[Outgoing] = []
        self._extra_bytes = 0
        self._noted: list[Noted] = []
        #: Open alerts: id to rule, priority and newest bytes.
        self._open: dict[str, tuple[str, Priority, bytes]] = {}
        #: Until when no sample of a subject makes a message about its session due.
        self._published_until: dict[str, datetime] = {}
        #: Adopted alerts that are over: id to newest bytes, empty once the tombstone was sent; and adopted sessions.
        self._over: dict[str, bytes] = {}
        self._over_sessions: list[str] = []
        self._moved_topics: set[str] = set()

    # -- input side

    def counts(self, topic: str) -> Counts:
        """Return the counts of a topic, by its full name."""
        if topic not in self._counts:
            self._counts[topic] = Counts(topic, self._metrics, self._health)
        return self._counts[topic]

    def is_placed_here(self, record: Any) -> bool:
        """Whether murmur2 of the key gives this partition. A record without a key is handled where it lies."""
        return record.key is None or _partition_of(record.key, self._partitions, self._partitions) == self._partition

    def send_on(self, record: Any) -> None:
        """Send a record that another partitioner put here to the partition of its key."""
        size = sum(len(part) for name, value in record.headers for part in (name, value or b""))
        size += len(record.key) + len(record.value or b"")
        if size > self._settings.max_message_bytes - _MOVED_BYTES:
            # Its topic would always refuse it; a redrive brings it to the right partition.
            self.dead_letter(record, RejectReason.KEY_MISMATCH, "it lies on a wrong partition, too large to be sent on")
            return
        right = _partition_of(record.key, self._partitions, self._partitions)
        moved = (MOVED_FROM, f"{record.partition}:{record.offset}".encode())
        self._wait(Outgoing(record.topic, record.key, record.value, (*record.headers, moved), right))
        self._metrics.topic(record.topic).misplaced.inc()
        if record.topic not in self._moved_topics:
            self._moved_topics.add(record.topic)
            log.warning(
                "A producer of %s does not partition by murmur2 of the key (librdkafka: partitioner=murmur2_random); "
                "its records are sent on",
                record.topic,
            )

    def dead_letter(self, record: Any, reason: str, detail: str) -> None:
        """Queue an unusable record for `dead-letters`."""
        letter = dead_letter(record, reason, detail, self._settings.max_message_bytes)
        self._wait(Outgoing(self._settings.topic(DEAD_LETTERS), letter.key, letter.value, letter.headers))
        self._metrics.topic(record.topic).dead_letters[reason].inc()
        self.counts(record.topic).unusable += 1

    def not_filed(self, record: Any, event: object) -> None:
        """Log an event whose filing raised and make it a dead letter; call this in the exception's handler."""
        log.exception("filing a %s failed", type(event).__name__)
        self.dead_letter(record, FaultReason.INTERNAL_ERROR, "filing it failed: see the worker's log")

    def unsent(self, messages: Iterable[Outgoing]) -> list[Outgoing]:
        """Make dead letters of our messages that their topic refused; none of dead letters themselves."""
        topic, limit = self._settings.topic(DEAD_LETTERS), self._settings.max_message_bytes
        letters = []
        for message in messages:
            self._metrics.topic(message.topic).dead_letters[FaultReason.MESSAGE_TOO_LARGE].inc()
            if message.topic == topic:
                continue
            record = as_read(message.topic, message.partition or 0, message.key, message.value, message.headers)
            letter = dead_letter(record, FaultReason.MESSAGE_TOO_LARGE, "its topic refused it for its size", limit)
            letters.append(Outgoing(topic, letter.key, letter.value, letter.headers))
        return letters

    # -- output side

    @property
    def waiting(self) -> bool:
        """Whether a message waits that is in no outbox."""
        return bool(self._extra)

    @property
    def much_waits(self) -> bool:
        """Whether so many bytes of such messages wait that they must be sent before more are added."""
        return self._extra_bytes >= MUCH_WAITS

    def _wait(self, message: Outgoing) -> None:
        self._extra.append(message)
        self._extra_bytes += len(message.key or b"") + len(message.value or b"")

    def note(self, alert: AlertRecord, appended_at: datetime | None) -> None:
        """Note a transition; `appended_at` is the timestamp of the record that made it, None for a deadline."""
        self._noted.append((alert, appended_at))

    def note_all(self, alerts: Iterable[AlertRecord], appended_at: datetime) -> None:
        """Note the transitions that one record made."""
        self._noted += [(alert, appended_at) for alert in alerts]

    def take_waiting(self) -> list[Outgoing]:
        """Take the dead letters and the records to be sent on; the caller sends them now."""
        waiting, self._extra, self._extra_bytes = self._extra, [], 0
        return waiting

    def of_outboxes(self, outboxes: Iterable[Iterable[Entry]], transitions: Iterable[Noted]) -> list[Outgoing]:
        """Build the messages of several subjects, in the order in which their transitions were made.

        Each subject's own order stays; entries that a predecessor left were made before everything noted.
        """
        places = {f"{alert.alert_id}:{alert.revision}": place for place, (alert, _) in enumerate(transitions, 1)}
        placed: list[tuple[int, Entry]] = []
        for entries in outboxes:
            place = 0
            for entry in entries:
                place = max(place, places.get(entry.ce_id, 0))
                placed.append((place, entry))
        placed.sort(key=itemgetter(0))
        return [message for _, entry in placed for message in self._of_entry(entry)]

    def take_noted(self) -> list[Noted]:
        """Take the transitions noted until now; `acknowledged` counts them when the broker has them."""
        transitions, self._noted = self._noted, []
        return transitions

    def acknowledged(self, transitions: list[Noted]) -> None:
        """Count transitions that the broker has acknowledged."""
        now = time.time()
        for alert, appended_at in transitions:
            self._metrics.alert_transitions.labels(alert.rule, alert.priority, alert.transition).inc()
            if appended_at is not None:
                seconds = max(0.0, now - appended_at.timestamp())
                self._metrics.event_to_alert_seconds.labels(alert.family).observe(seconds)
            self._follow(alert.alert_id, alert.rule, alert.priority, is_open=alert.status.is_open)

    def adopt(self, state: SubjectState, now: datetime) -> None:
        """Take over the alerts of a recovered subject."""
        assert isinstance(state, PatientState | LoopState)  # noqa: S101 (for the type checker)
        for alert in state.alerts.values():
            if alert.over_at is None:
                self._follow(alert.alert_id, alert.rule, alert.priority, is_open=True, value=bytes(alert.value))
            elif now - alert.over_at <= LAST_WORD:
                self._over[alert.alert_id] = bytes(alert.value)
        if state.buried_until is not None and now - state.buried_until <= LAST_WORD:
            for alert in state.buried.values():
                if alert.over_at is not None and now - alert.over_at <= LAST_WORD:
                    self._over[alert.alert_id] = b""
        if isinstance(state, PatientState):
            self._over_sessions += over_since(state, now, LAST_WORD)

    def count_open(self) -> None:
        """Report all open alerts to the metrics again, which drop them with the partition."""
        counts = Counter((rule, str(priority)) for rule, priority, _ in self._open.values())
        self._metrics.open_alerts.replace(self._owner, counts)

    def final_states(self) -> list[Outgoing]:
        """Build the newest message of each adopted alert, and a tombstone for each session that is over.

        Ended alerts included: a frozen predecessor may have published them as open after they ended, and compaction
        keeps the last record of a key.
        """
        over, self._over = self._over, {}
        sessions, self._over_sessions = self._over_sessions, []
        shown = {alert_id: value for alert_id, (_, _, value) in self._open.items() if value}
        topic = self._settings.topic(SESSIONS_ACTIVE)
        ended = [Outgoing(topic, name.encode(), None, (), self._partition) for name in sessions]
        return [self.shown_again(alert_id, value or None) for alert_id, value in (shown | over).items()] + ended

    def shown_again(self, alert_id: str, value: bytes | None) -> Outgoing:
        """Build the newest transition of an alert, or its tombstone, for `alerts.active`."""
        headers = () if value is None else self._repeated_headers(alert_id, value)
        return Outgoing(self._active, alert_id.encode(), value, headers, self._partition)

    def is_open(self, alert_id: str) -> bool:
        """Whether the alert is open and ours."""
        return alert_id in self._open

    def open_again(self, alert_id: str, states: Iterable[SubjectState]) -> Outgoing | None:
        """Build the newest message of an alert that a late tombstone hides; None if it is not open."""
        if alert_id not in self._open:
            return None
        value = next(bytes(state.alerts[alert_id].value) for state in states if alert_id in state.alerts)
        return self.shown_again(alert_id, value)

    def running_sessions(
        self, changed: Iterable[SubjectState | None], sampled: Iterable[SubjectState], subjects: Partition[Any]
    ) -> list[Outgoing]:
        """Build the `sessions.active` messages of subjects, on the patient's partition number.

        Args:
            changed: subjects of whom anything may have changed.
            sampled: those of whom samples alone changed, which make a message due no sooner than it was.
            subjects: all of the task.
        """
        topic, now = self._settings.topic(SESSIONS_ACTIVE), subjects.now
        messages = []
        for state in (*changed, *(one for one in sampled if self._published_until.get(one.id, now) <= now)):
            if not isinstance(state, PatientState) or not state.sessions:
                continue
            if (until := published_until(state, now)) is not None:
                self._published_until[state.id] = until
                continue
            self._published_until.pop(state.id, None)
            if (shown := publish_session(state, now)) is not None:
                session_id, value = shown
                messages.append(Outgoing(topic, session_id.encode(), value, (), self._partition))
                subjects.rearm(state)
        return messages

    def _follow(self, alert_id: str, rule: str, priority: Priority, *, is_open: bool, value: bytes = b"") -> None:
        before = self._open.pop(alert_id, None)
        if is_open:
            self._open[alert_id] = (rule, priority, value)
        self._metrics.open_alerts.moved(self._owner, rule, before[1] if before else None, priority if is_open else None)

    def _of_entry(self, entry: Entry) -> list[Outgoing]:
        value = bytes(entry.value)
        topic, key = self._settings.topic(entry.topic), entry.key.encode()
        if not entry.ce_type:
            if entry.topic in PATIENT_TOPICS:
                self._metrics.events_moved.labels(topic).inc()
            keyed_elsewhere = entry.topic in (ALERTS_ACTIVE, SESSIONS_ACTIVE)
            partition = self._partition if keyed_elsewhere else None
            return [Outgoing(topic, key, None if value == _NO_VALUE else value, (), partition)]
        headers = _headers(entry.ce_id, entry.ce_type)
        alert_id = entry.ce_id.partition(":")[0].encode()
        return [
            Outgoing(topic, key, value, headers),
            Outgoing(self._active, alert_id, value, headers, self._partition),
        ]

    @staticmethod
    def _repeated_headers(alert_id: str, value: bytes) -> tuple[tuple[str, bytes], ...]:
        shown = _transition.decode(value)
        return _headers(f"{alert_id}:{shown.revision}", f"dialysis.alert.{shown.transition}")


def _headers(ce_id: str, ce_type: str) -> tuple[tuple[str, bytes], ...]:
    """Build the headers of CloudEvents 1.0, binary mode. Repeats differ in `ce_time` alone."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", ce_id.encode()),
        ("ce_type", ce_type.encode()),
        ("ce_source", _SOURCE),
        ("ce_time", datetime.now(UTC).isoformat().encode()),
        ("content-type", b"application/json"),
    )

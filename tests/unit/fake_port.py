"""A broker for tasks, in memory: it takes what `Port` (streams.worker.ports) lets a task send, and can die.

    kafka = FakeKafka()
    kafka.put("lab-results", key, event, at=1_000)       # a record on an input topic, with its timestamp (ms)
    host = Host(kafka)                                   # a worker of one partition
    await host.settle()                                  # deliver, and turn until everything is acknowledged

With `kafka.crash_at = n` the n-th moment of danger raises `Crash`: before a call, in its middle (half of its entries
or messages are through), or after it and before the caller hears of it. A new `Host` on the same `FakeKafka` is the
process that comes after: it has what the changelog holds and is delivered what was not acknowledged.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import ConsumerRecord

from models.parsing import parse_loop_event, parse_patient_event
from models.settings import Settings
from models.state import LoopState, PatientState, StateCodec
from models.topics import PATIENT_TOPICS, UNIT_SIGNALS
from streams.engine.factory import loop_partition, patient_partition
from streams.rules.catalogue import RuleSettings, parse_settings
from streams.transport.api import TP, Batch, Recovered
from streams.worker.changelog_writer import UnstoredError
from streams.worker.health import Health
from streams.worker.metrics import Metrics
from streams.worker.ports import Kind
from streams.worker.sender import Outgoing, UnsentError
from streams.worker.task import PartitionTask
from tests.events import event

PARTITIONS = 4
PREFIX = "t."
DEAD = PREFIX + "dead-letters"
EPOCH = datetime(2026, 11, 23, 6, tzinfo=UTC)
_partition_of = DefaultPartitioner()


def settings(**changed: Any) -> Settings:
    """Settings that leave nothing to chance: a checkpoint as soon as something is to be stored."""
    values: dict[str, Any] = {
        "topic_prefix": PREFIX,
        "partitions": PARTITIONS,
        "checkpoint_interval": 1e-9,
        "batch_max": 10,
    }
    return Settings(**(values | changed))


def place(key: bytes) -> int:
    """The partition of a key."""
    numbers = list(range(PARTITIONS))
    return int(_partition_of(key, numbers, numbers))


def subjects(partition: int, count: int, prefix: str = "p") -> list[str]:
    """The first names that belong on a partition."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        if place(f"{prefix}{number}".encode()) == partition:
            found.append(f"{prefix}{number}")
        number += 1
    return found


def patients(rules: RuleSettings, retention: timedelta = timedelta(minutes=15)) -> Kind[PatientState]:
    """The kind of task that keeps patients."""
    return Kind(
        "patients",
        PATIENT_TOPICS,
        "patient_id",
        StateCodec(PatientState),
        parse_patient_event,
        lambda: patient_partition(rules, retention),
    )


def loops(rules: RuleSettings, retention: timedelta = timedelta(minutes=15)) -> Kind[LoopState]:
    """The kind of task that keeps water loops."""
    return Kind(
        "loops",
        (UNIT_SIGNALS,),
        "water_loop_id",
        StateCodec(LoopState),
        parse_loop_event,
        lambda: loop_partition(rules, retention),
    )


class Crash(BaseException):
    """The process is gone: nothing of the task runs after this."""


class Clock:
    """Stands in for the module `time` and the class `datetime` in a task; moves only when told to."""

    min: Final = datetime.min  # noqa: DTZ901 (as the class has it)
    fromtimestamp: Final = datetime.fromtimestamp

    def __init__(self) -> None:
        self.elapsed = 1000.0

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return self.elapsed

    def now(self, _zone: object = None) -> datetime:
        """As `datetime.now`: the wall clock began at `EPOCH` when `elapsed` was 1000."""
        return EPOCH + timedelta(seconds=self.elapsed - 1000.0)


@dataclass
class FakeKafka:
    """What outlives a process: logs, changelog, committed offsets, and what readers have been sent."""

    clock: Clock = field(default_factory=Clock)
    partition: int = 0
    logs: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    changelog: dict[bytes, bytes] = field(default_factory=dict)
    committed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    sent: list[Outgoing] = field(default_factory=list)
    #: What was asked of the port, in order: ("write", keys), ("send", topics), ("ack", topic, last offset).
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    crash_at: int | None = None
    dangers: int = 0
    fail_sends: BaseException | None = None
    fail_writes: BaseException | None = None
    #: A changelog record, or a message, with more bytes is refused; the rest of the call is stored or sent.
    largest_record: int | None = None
    largest_message: int | None = None
    #: Full names of topics whose ends no fetch confirms, and of those that are paused.
    unconfirmed: set[str] = field(default_factory=set)
    paused: set[TP] = field(default_factory=set)
    #: How far each topic was handed to the process that runs now.
    delivered: dict[str, int] = field(default_factory=dict)
    #: How often others may run before, within and after a call.
    slowness: int = 0
    #: What the next write answers: keys that a worker without the partition has written.
    foreign: set[bytes] = field(default_factory=set)

    # -- what tests do

    def put(
        self,
        topic: str,
        key: bytes | None,
        value: Any,
        at: float,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        type_: int = 1,
    ) -> int:
        """Append a record to an input topic, `at` seconds after `EPOCH`; returns its offset.

        The timestamp is the broker's; with `type_` 0 it is the producer's.
        """
        raw = value if isinstance(value, bytes | None) else msgspec.json.encode(value)
        log = self.logs[PREFIX + topic]
        stamp = int((EPOCH.timestamp() + at) * 1000)
        log.append(
            ConsumerRecord(PREFIX + topic, self.partition, len(log), stamp, type_, key, raw, None, 0, 0, tuple(headers))
        )
        return len(log) - 1

    def event(self, topic: str, subject: str, type_: str, at: float, *, tells: float | None = None, **more: Any) -> int:
        """Append an event; `tells` is its `at` where that is not the record's timestamp."""
        told = stamp(at if tells is None else tells)
        value = event(type_, subject, told, of_loop=topic == UNIT_SIGNALS, **more)
        return self.put(topic, subject.encode(), value, at)

    def lab(self, patient: str, at: float, value: float, **more: Any) -> int:
        """Append a magnesium in mg/dL."""
        offset = len(self.logs[PREFIX + "lab-results"])
        fields = {"result_id": f"r{offset}", "analyte": "magnesium", "unit": "mg/dL"} | more
        return self.event("lab-results", patient, "lab_result", at, value=value, **fields)

    # -- what the task does

    async def write(self, partition: int, entries: Mapping[bytes, bytes | None]) -> Collection[bytes]:
        """As `Port.write`."""
        assert partition == self.partition
        await self._wait()
        self._danger()
        if self.fail_writes is not None:
            raise self.fail_writes
        refused = {
            k for k, v in entries.items() if self.largest_record is not None and len(v or b"") > self.largest_record
        }
        entries = {key: value for key, value in entries.items() if key not in refused}
        half = len(entries) // 2
        for number, (key, value) in enumerate(entries.items()):
            if number == half:
                await self._wait()
                self._danger()
            if value is None:
                self.changelog.pop(key, None)
            else:
                self.changelog[key] = value
        self.calls.append(("write", tuple(entries)))
        await self._wait()
        self._danger()
        foreign, self.foreign = self.foreign, set()
        if refused:
            raise UnstoredError(refused, foreign)
        return foreign

    async def send_all(self, messages: Sequence[Outgoing]) -> None:
        """As `Port.send_all`."""
        if not messages:
            return
        await self._wait()
        self._danger()
        if self.fail_sends is not None:
            raise self.fail_sends
        large = self.largest_message
        refused = [m for m in messages if large is not None and m.topic != DEAD and len(m.value or b"") > large]
        messages = [message for message in messages if message not in refused]
        half = len(messages) // 2
        for number, message in enumerate(messages):
            if number == half:
                await self._wait()
                self._danger()
            self.sent.append(message)
        self.calls.append(("send", tuple(message.topic.removeprefix(PREFIX) for message in messages)))
        await self._wait()
        self._danger()
        if refused:
            raise UnsentError(refused)

    def ack(self, batch: Batch) -> None:
        """The offset of an acknowledged batch is committed at once."""
        self._danger()
        self.committed[batch.topic] = batch.last_offset + 1
        self.calls.append(("ack", batch.topic.removeprefix(PREFIX), batch.last_offset))
        self._danger()

    def pause(self, tps: set[TP]) -> None:
        """As `Port.pause`."""
        self.paused |= tps

    def resume(self, tps: set[TP]) -> None:
        """As `Port.resume`."""
        self.paused -= tps

    waiting_share = 2 * 1024 * 1024

    def end_confirmed_at(self, tp: TP) -> float | None:
        """As `Port.end_confirmed_at`."""
        at_end = self.delivered.get(tp.topic, 0) == len(self.logs[tp.topic])
        return self.clock.elapsed if at_end and tp.topic not in self.unconfirmed else None

    def end_offset(self, tp: TP) -> int | None:
        """As `Port.end_offset`."""
        return len(self.logs[tp.topic])

    async def _wait(self) -> None:
        for _ in range(self.slowness):
            await asyncio.sleep(0)

    def _danger(self) -> None:
        self.dangers += 1
        if self.dangers == self.crash_at:
            raise Crash

    # -- what readers see

    def transitions(self) -> list[dict[str, Any]]:
        """The alerts in the order of sending, repeats included; not those on `alerts.active`."""
        return [json.loads(m.value or b"") for m in self.sent if m.topic.startswith(PREFIX + "alerts.") and is_new(m)]

    def told(self, **fields: Any) -> list[str]:
        """The transitions of alerts with these fields, repeats left out."""
        found = {
            (alert["alert_id"], alert["revision"]): alert["transition"]
            for alert in self.transitions()
            if all(alert[name] == value for name, value in fields.items())
        }
        return list(found.values())

    def topic(self, name: str) -> list[Outgoing]:
        """What was sent to a topic."""
        return [message for message in self.sent if message.topic == PREFIX + name]


def is_new(message: Outgoing) -> bool:
    """Whether a message is on a topic of an alert family, not on `alerts.active`."""
    return message.topic != PREFIX + "alerts.active"


def stamp(at: float) -> str:
    """A moment so many seconds after `EPOCH`, in RFC 3339."""
    return (EPOCH + timedelta(seconds=at)).isoformat()


def frozen(message: Outgoing) -> tuple[Any, ...]:
    """A message without what may differ between repeats."""
    headers = tuple(header for header in message.headers if header[0] != "ce_time")
    return message.topic, message.key, message.value, headers, message.partition


class Host:
    """A process with one task."""

    def __init__(self, kafka: FakeKafka, *, kind: Any = None, rules: Mapping[str, Any] | None = None, **changed: Any):
        self.kafka = kafka
        self.settings = settings(**changed)
        self.metrics, self.health = Metrics(), Health()
        self.kind = kind or patients(parse_settings(dict(rules or {})), self.settings.retention)
        self.task: PartitionTask[Any] = PartitionTask(
            self.kind, kafka.partition, self.settings, kafka, self.metrics, self.health
        )
        kafka.delivered, kafka.paused = dict(kafka.committed), set()
        self.adopted = False

    async def start(self) -> Host:
        """Take over what the changelog holds."""
        self.adopted = True
        await self.task.adopt(Recovered(self.kafka.changelog))
        return self

    async def deliver(self, topic: str, size: int | None = None) -> bool:
        """Hand over the next batch of a topic, unless it is paused; True if there was one."""
        name = PREFIX + topic
        tp = TP(name, self.kafka.partition)
        start = self.kafka.delivered.get(name, 0)
        records = self.kafka.logs[name][start : start + (size or self.settings.batch_max)]
        if not records or tp in self.kafka.paused:
            return False
        self.kafka.delivered[name] = start + len(records)
        batch = Batch(name, self.kafka.partition, records, 1, lambda: self.kafka.ack(batch))
        await self.task.put(batch)
        return True

    async def turn(self) -> bool:
        """One turn of the task; True if there may be more to do. A quick broker has it all when this returns."""
        busy = await self.task.step()
        if not self.kafka.slowness:
            await self.task.publish()
        elif not busy:
            await asyncio.sleep(0)
        return busy or self.task.is_publishing

    async def settle(self, topics: Sequence[str] | None = None, size: int | None = None) -> Host:
        """Deliver everything and turn until all of it is handled, stored, sent and acknowledged."""
        if not self.adopted:
            await self.start()
        for _ in range(10_000):
            came = [await self.deliver(topic, size) for topic in topics or self.kind.topics]
            busy = await self.turn()
            self.kafka.clock.elapsed += 1e-6
            if not any(came) and not busy and self.task.is_stored:
                return self
        raise AssertionError("the task does not come to rest")

    async def idle(self, seconds: float, step: float = 1.0) -> None:
        """Let the wall clock run, with a turn every `step` seconds."""
        end = self.kafka.clock.elapsed + seconds
        while self.kafka.clock.elapsed < end:
            self.kafka.clock.elapsed = min(end, self.kafka.clock.elapsed + step)
            await self.turn()

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where there is none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def install(clock: Clock, monkeypatch: Any) -> None:
    """Let a task and its parts live by a `Clock`."""
    for module in ("task", "clock", "intake", "checkpoint"):
        monkeypatch.setattr(f"streams.worker.{module}.time", clock)
    for module in ("task", "clock"):
        monkeypatch.setattr(f"streams.worker.{module}.datetime", clock)

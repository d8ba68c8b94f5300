"""A dialysis unit of its own for each test: topics, real workers, events in, and all that readers can see.

    async with UnitUnderTest(bootstrap) as unit:
        worker = await unit.start_worker()
        await unit.publish([lab("p1", 1.5)])
        await unit.until_told(rule="low_magnesium", transition="raised")

Workers are real processes of `dialysis-alerts worker`. Nothing sleeps for luck: everything is waited for, with a
deadline, and a worker that dies while something is waited for fails the test with the end of its log.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import functools
import json
import os
import signal
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.partitioner import DefaultPartitioner

from models.settings import Settings
from models.state import LoopState, PatientState, StateCodec
from models.topics import FAMILIES, PATIENT_TOPICS, UNIT_SIGNALS, changelog
from streams.kafka.topic_setup import ensure_topics, wanted_topics
from streams.transport.changelog import read_changelogs
from streams.transport.record_reader import install as read_any_header_name
from tests.integration.worker_process import COMMAND, Pulse, WorkerProcess, until
from tests.stored_subjects import as_fields, subjects_of

_Admin: Any = AIOKafkaAdminClient
_Consumer: Any = AIOKafkaConsumer
_Producer: Any = AIOKafkaProducer
_partition_of = DefaultPartitioner()

read_any_header_name()
ALERT_TOPICS: Final = (*(f"alerts.{family}" for family in FAMILIES), "alerts.unit")
INPUTS: Final = (*PATIENT_TOPICS, UNIT_SIGNALS)
#: Nobody is called again: what is told depends on the events alone, not on when a test looks.
SILENT: Final = "[responses]\nhigh = []\nmedium = []\naccept_risk = 'a test that answers nothing'\n"
MEGABYTE: Final = 1024 * 1024


@dataclass(frozen=True)
class Message:
    """A message for an input topic, named as in the contract.

    Without `partition` the key's murmur2 hash chooses it; `stamp` (ms) counts on topics made with `own_time`.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    stamp: int | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def event(
    topic: str, type_: str, subject: str, at: datetime | None = None, *, tells: datetime | None = None, **fields: Any
) -> Message:
    """An event that is published `at` a moment (now); it `tells` of that moment unless of another one."""
    moment = at or datetime.now(UTC)
    name = "water_loop_id" if topic == UNIT_SIGNALS else "patient_id"
    body = {"type": type_, name: subject, "at": (tells or moment).isoformat()} | fields
    return Message(topic, subject.encode(), json.dumps(body).encode(), stamp=int(moment.timestamp() * 1000))


def lab(patient: str, value: float | None, at: datetime | None = None, **fields: Any) -> Message:
    """A result; a magnesium in mg/dL unless told otherwise."""
    fields = {"result_id": uuid.uuid4().hex[:12], "analyte": "magnesium", "unit": "mg/dL", "value": value} | fields
    return event("lab-results", "lab_result", patient, at, **fields)


def symptom(patient: str, kind: str, name: str, at: datetime | None = None, **fields: Any) -> Message:
    """A symptom."""
    return event("clinical-events", "symptom", patient, at, symptom_id=name, kind=kind, **fields)


def session_started(patient: str, name: str, at: datetime | None = None, **fields: Any) -> Message:
    """A session starts on a machine of its own."""
    fields = {"session_id": name, "machine_id": f"machine-{name}"} | fields
    return event("machine-events", "session_started", patient, at, **fields)


def telemetry(patient: str, session: str, at: datetime | None = None, **fields: Any) -> Message:
    """A sample of a session's machine."""
    fields = {"session_id": session, "machine_id": f"machine-{session}"} | fields
    return event("machine-events", "telemetry", patient, at, **fields)


def response(patient: str, alert: str, action: str, at: datetime | None = None, **fields: Any) -> Message:
    """A person answers an alert."""
    fields = {"alert_id": alert, "by": "nurse", "action": action} | fields
    return event("clinical-events", "alert_response", patient, at, **fields)


def ago(seconds: float) -> datetime:
    """A moment in the past."""
    return datetime.now(UTC) - timedelta(seconds=seconds)


class Tail:
    """Reads topics from their beginning on, and keeps all it has read."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.records: list[Any] = []

    async def poll(self) -> list[Any]:
        """All records so far."""
        for records in (await self._consumer.getmany(timeout_ms=20)).values():
            self.records += records
        return self.records


@dataclass
class UnitUnderTest:
    """Topics with a prefix of their own, a consumer group of its own, and workers on them.

    Args:
        own_time: the patient topics take the time of a record from its producer, as a backfill needs it.
        rules: a site's rule settings, as TOML.
        environment: more settings for the workers.
    """

    bootstrap: str
    partitions: int = 2
    own_time: bool = False
    rules: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    name: str = field(default_factory=lambda: f"ut-{uuid.uuid4().hex[:8]}")
    workers: list[WorkerProcess] = field(default_factory=list)
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _producer: Any = None
    _tail: Tail | None = None

    @functools.cached_property
    def settings(self) -> Settings:
        return Settings(
            brokers=self.bootstrap,
            topic_prefix=f"{self.name}.",
            group=self.name,
            partitions=self.partitions,
            **{name.removeprefix("DIALYSIS_").lower(): value for name, value in self.environment.items()},  # type: ignore[arg-type]
        )

    async def __aenter__(self) -> Self:
        # Not changed afterwards: the broker would give its own time to what comes first.
        await ensure_topics(self.settings, producer_time=self.own_time)
        self._producer = await self._started(
            _Producer(
                bootstrap_servers=self.bootstrap, linger_ms=2, max_batch_size=512 * 1024, max_request_size=5 * MEGABYTE
            )
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
        await self._stack.aclose()

    async def _started(self, client: Any) -> Any:
        await client.start()
        self._stack.push_async_callback(client.stop)
        return client

    # -- topics

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return self.settings.topic(name)

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncIterator[Any]:
        """An admin client."""
        admin = _Admin(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def configure(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Change settings of topics, named as in the contract; a changelog by its full name."""
        async with self.admin() as admin:
            for name, values in configs.items():
                topic = name if name.endswith("-changelog") else self.topic(name)
                described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
                entries = described[0].to_object()["resources"][0]["config_entries"]
                kept = {e["config_names"]: e["config_value"] for e in entries if e["config_source"] == 1}
                resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=kept | dict(values))
                await admin.alter_configs([resource])

    async def recreate(self, *names: str) -> None:
        """Delete topics of the contract and make them anew, empty."""
        full = {self.topic(name) for name in names}
        async with self.admin() as admin:
            await admin.delete_topics(list(full))

            async def gone() -> bool:
                return not full & set(await admin.list_topics())

            await until(gone, 20, "the topics to be gone")
        await until(self._made, 20, "the topics to be made anew", every=0.3)

    async def remove(self) -> None:
        """Delete all its topics: a broker that serves many units stays small."""
        async with self.admin() as admin:
            await admin.delete_topics([topic.name for topic in wanted_topics(self.settings)])

    async def _made(self) -> bool:
        outcome = await ensure_topics(self.settings, producer_time=self.own_time)
        return not outcome.created  # made in an earlier round, and still there

    def place(self, key: bytes) -> int:
        """The partition where a key belongs."""
        numbers = list(range(self.partitions))
        return int(_partition_of(key, numbers, numbers))

    def subjects(self, count: int, prefix: str = "p", partition: int | None = None) -> list[str]:
        """Names of patients (or loops) that belong on a partition, or on all in turn."""
        found: list[str] = []
        number = 0
        while len(found) < count:
            wanted = len(found) % self.partitions if partition is None else partition
            if self.place(f"{prefix}{number}".encode()) == wanted:
                found.append(f"{prefix}{number}")
            number += 1
        return found

    # -- in

    async def publish(self, messages: Iterable[Message]) -> list[Any]:
        """Send messages in order and wait for the broker; returns where they lie."""
        pending = []
        for message in messages:
            partition = self.place(message.key or b"") if message.partition is None else message.partition
            stamp = message.stamp if self.own_time and message.topic in PATIENT_TOPICS else None
            future = await self._producer.send(
                self.topic(message.topic),
                message.value,
                message.key,
                partition,
                timestamp_ms=stamp,
                headers=list(message.headers) or None,
            )
            pending.append(future)
        return list(await asyncio.gather(*pending))

    async def publish_raw(self, topic: str, partition: int, key: bytes, value: bytes, headers: list[Any]) -> None:
        """Write one record wherever it does not belong; the topic's name is the full one."""
        await self._producer.send_and_wait(topic, value, key, partition, headers=headers)

    # -- workers

    def environ(self, **changed: str) -> dict[str, str]:
        """What a worker of this unit is given."""
        return {
            "DIALYSIS_BROKERS": self.bootstrap,
            "DIALYSIS_TOPIC_PREFIX": f"{self.name}.",
            "DIALYSIS_GROUP": self.name,
            "DIALYSIS_PARTITIONS": str(self.partitions),
            "DIALYSIS_HTTP": "127.0.0.1:0",
            **({"DIALYSIS_RULES": str(self._rules_file())} if self.rules else {}),
            **self.environment,
            **changed,
        }

    def _rules_file(self) -> Path:
        path = Path(os.environ.get("TMPDIR", "/tmp")) / f"{self.name}.toml"
        if not path.exists():
            path.write_text(self.rules)
            self._stack.callback(path.unlink, missing_ok=True)
        return path

    def worker(self, *command: str | Path, **changed: str) -> WorkerProcess:
        """A worker process, not waited for; of another make where a command is given."""
        made = WorkerProcess(self.environ(**changed), command or (COMMAND, "worker"))
        self.workers.append(made)
        return made

    async def start_worker(self, **changed: str) -> WorkerProcess:
        """A worker that is ready."""
        return await self.worker(**changed).until_ready()

    @contextlib.asynccontextmanager
    async def pulse(self, worker: WorkerProcess) -> AsyncIterator[Pulse]:
        """Ask `/healthz` all the time from when it first answers; ends with the block."""
        await worker.until(lambda: worker.port, 20, "the port")
        pulse = Pulse()

        async def ask() -> None:
            while worker.running:
                status, _ = await worker.get("/healthz")
                if worker.running:
                    pulse.answers.append((time.monotonic(), status))
                await asyncio.sleep(0.05)

        asking = asyncio.create_task(ask())
        try:
            yield pulse
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    # -- out

    async def read(self, *names: str) -> list[Any]:
        """All records of topics (named as in the contract, or in full) up to their present ends."""
        consumer = _Consumer(
            bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=8 * MEGABYTE
        )
        await consumer.start()
        try:
            tps = await self._tps(consumer, names)
            consumer.assign(tps)
            ends = await consumer.end_offsets(tps)
            found: list[Any] = []
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def _tps(self, consumer: Any, names: Sequence[str]) -> list[Any]:
        full = [name if name.startswith(self.name) else self.topic(name) for name in names]
        counts = {topic: await self._producer.partitions_for(topic) for topic in full}
        return [TopicPartition(topic, number) for topic, numbers in counts.items() for number in sorted(numbers)]

    async def alerts(self) -> list[Any]:
        """All records of the alert topics so far, read to their ends."""
        return await self.read(*ALERT_TOPICS)

    async def tail(self) -> Tail:
        """What has come on the alert topics, read on from call to call."""
        if self._tail is None:
            consumer = await self._started(
                _Consumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50)
            )
            consumer.assign(await self._tps(consumer, ALERT_TOPICS))
            self._tail = Tail(consumer)
        return self._tail

    async def until_told(self, seconds: float = 20, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """Wait until so many different transitions with these fields were told; returns them."""
        tail = await self.tail()

        async def look() -> list[dict[str, Any]] | None:
            self._no_worker_died()
            found = matching(await tail.poll(), **fields)
            return found if len(found) >= count else None

        try:
            told: list[dict[str, Any]] = await until(look, seconds, f"{count} transitions with {fields}")
        except AssertionError as error:
            seen = [(a["rule"], a["transition"], a["patient_id"]) for a in matching(tail.records)]
            logs = "\n".join(worker.said[-3000:] for worker in self.workers)
            raise AssertionError(f"{error}; told so far: {seen[-20:]}\n{logs}") from None
        return told

    def _no_worker_died(self) -> None:
        for worker in self.workers:
            if worker.process.poll() not in (None, 0, -signal.SIGKILL):
                raise AssertionError(f"a worker ended with status {worker.process.poll()}:\n{worker.said[-6000:]}")

    async def committed(self) -> dict[Any, int]:
        """The group's offsets of the input topics."""
        try:
            async with self.admin() as admin:
                found = await admin.list_consumer_group_offsets(self.settings.group)
        except GroupCoordinatorNotAvailableError:  # for a moment, of a group that nobody has joined yet
            return {}
        return {tp: entry.offset for tp, entry in found.items() if tp.topic.startswith(self.name + ".")}

    async def ends(self) -> dict[Any, int]:
        """The ends of the input topics."""
        consumer = _Consumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            found: dict[Any, int] = await consumer.end_offsets(await self._tps(consumer, INPUTS))
            return found
        finally:
            await consumer.stop()

    async def handled(self) -> int:
        """How many records of the patient topics are behind the committed offsets."""
        committed = (await self.committed()).items()
        return sum(max(0, offset) for tp, offset in committed if tp.topic != self.topic(UNIT_SIGNALS))

    async def until_done(self, seconds: float = 60) -> None:
        """Wait until everything on the input topics is committed: handled, stored, sent."""

        async def done() -> bool:
            self._no_worker_died()
            committed = await self.committed()
            return all(committed.get(tp, 0) == end for tp, end in (await self.ends()).items())

        try:
            await until(done, seconds, "everything to be committed", every=0.2)
        except AssertionError as error:
            state = {
                str(tp): (offset, end)
                for tp, end in (await self.ends()).items()
                if (offset := (await self.committed()).get(tp, 0)) != end
            }
            logs = "\n".join(worker.said[-3000:] for worker in self.workers)
            raise AssertionError(f"{error}: committed and end {state}\n{logs}") from None

    async def stored(self, table: str = "patients") -> dict[bytes, Any]:
        """The states that the changelog holds, by key."""
        name = changelog(self.settings.group, table)
        found = await read_changelogs(self.settings, {name: range(self.partitions)})
        values = dict(entry for replica in found[name].values() for entry in replica.values.items())
        codec: StateCodec[Any] = StateCodec(PatientState if table == "patients" else LoopState)
        return {key: as_fields(state, codec) for key, state in subjects_of(values, codec).items()}

    async def compacted(self, name: str) -> dict[bytes, Any]:
        """What a reader of a compacted topic ends with: the newest record of each key."""
        return {record.key: record for record in await self.read(name)}


# -- judging what was told ---------------------------------------------------------------------------------------------


def headers_of(record: Any) -> dict[str, bytes]:
    return dict(record.headers)


def matching(records: Iterable[Any], **fields: Any) -> list[dict[str, Any]]:
    """The different transitions among alert records that have these fields, in the order of the log."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for record in records:
        alert = json.loads(record.value)
        if all(alert[name] == value for name, value in fields.items()):
            found.setdefault((alert["alert_id"], alert["revision"]), alert)
    return list(found.values())


def by_revision(records: Iterable[Any]) -> dict[tuple[str, int], set[Any]]:
    """Key, value and headers but `ce_time` of every alert record, under its (alert_id, revision)."""
    found: dict[tuple[str, int], set[Any]] = defaultdict(set)
    for record in records:
        alert = json.loads(record.value)
        headers = tuple(header for header in record.headers if header[0] != "ce_time")
        found[alert["alert_id"], alert["revision"]].add((record.topic, record.key, record.value, headers))
    return dict(found)


def repeats_are_identical(records: Iterable[Any]) -> None:
    """Every repeat of one (alert_id, revision) has the same key, value and headers but `ce_time`."""
    different = {name: bodies for name, bodies in by_revision(records).items() if len(bodies) > 1}
    shown = "\n".join(differences(*list(bodies)[:2]) for bodies in list(different.values())[:5])
    assert not different, f"{len(different)} were told in two ways, such as\n{shown}"


def differences(one: Sequence[Any], other: Sequence[Any]) -> str:
    """Where two records differ, line by line; each is (topic, key, value …), its value a JSON object."""

    def lines(record: Sequence[Any]) -> list[str]:
        topic, key, value, *rest = record
        body = json.dumps(json.loads(value), indent=1, sort_keys=True)
        return [f"{topic} {key!r}", *(str(part) for part in rest), *body.splitlines()]

    return "\n".join(difflib.unified_diff(lines(one), lines(other), "one", "other", lineterm=""))

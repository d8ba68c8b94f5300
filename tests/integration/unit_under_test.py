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
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from models.state import LoopState, PatientState, StateCodec
from models.topics import PATIENT_TOPICS, UNIT_SIGNALS, changelog
from streams.kafka.topic_setup import ensure_topics
from streams.transport.changelog import read_changelogs
from streams.transport.record_reader import install as read_any_header_name
from tests.integration.alert_records import ALERT_TOPICS, matching
from tests.integration.messages import MEGABYTE, Message
from tests.integration.unit_topics import UnitTopics
from tests.integration.worker_process import COMMAND, Pulse, WorkerProcess, until
from tests.stored_subjects import as_fields, subjects_of

_Consumer: Any = AIOKafkaConsumer
_Producer: Any = AIOKafkaProducer

read_any_header_name()
INPUTS: Final = (*PATIENT_TOPICS, UNIT_SIGNALS)
#: Nobody is called again: what is told depends on the events alone, not on when a test looks.
SILENT: Final = "[responses]\nhigh = []\nmedium = []\naccept_risk = 'a test that answers nothing'\n"


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
class UnitUnderTest(UnitTopics):
    """Topics and a consumer group of its own, and workers on them.

    Args:
        rules: a site's rule settings, as TOML.
    """

    rules: str = ""
    workers: list[WorkerProcess] = field(default_factory=list)
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _producer: Any = None
    _tail: Tail | None = None

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

    async def ends(self) -> dict[Any, int]:
        """The ends of the input topics."""
        consumer = _Consumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            found: dict[Any, int] = await consumer.end_offsets(await self._tps(consumer, INPUTS))
            return found
        finally:
            await consumer.stop()

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

"""What the transport's tests share: topics, records, toy workers and what they left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from models.settings import Settings
from streams.transport import PartitionCountError, check_partitions
from streams.transport.changelog import Stamp, read_changelogs
from tests.integration.worker_process import until

if TYPE_CHECKING:
    from collections.abc import Callable

_Admin: Any = AIOKafkaAdminClient
_Consumer: Any = AIOKafkaConsumer
_NewTopic: Any = NewTopic
_Producer: Any = AIOKafkaProducer

KEYS = 100


async def known(settings: Settings, counts: dict[str, int | None]) -> bool:
    """Whether the broker has heard of topics that its controller has made."""
    with contextlib.suppress(PartitionCountError):
        await check_partitions(settings, counts)
        return True
    return False


@dataclass
class Playground:
    """Topics of one test, and workers on them."""

    bootstrap: str
    partitions: int = 4
    name: str = field(default_factory=lambda: f"toy-{uuid.uuid4().hex[:8]}")
    sent: Counter[bytes] = field(default_factory=Counter)
    workers: list[Worker] = field(default_factory=list)

    @property
    def inputs(self) -> tuple[str, ...]:
        return f"{self.name}-one", f"{self.name}-two"

    @property
    def alerts(self) -> str:
        return f"{self.name}-alerts"

    @property
    def changelog(self) -> str:
        return f"{self.name}-toys-changelog"

    @property
    def settings(self) -> Settings:
        return Settings(brokers=self.bootstrap, group=self.name, partitions=self.partitions, batch_max=200)

    async def create(self) -> Playground:
        admin = _Admin(bootstrap_servers=self.bootstrap)
        await admin.start()
        large = {"max.message.bytes": str(8 * 1024 * 1024)}
        topics = [_NewTopic(name, self.partitions, 1) for name in (*self.inputs, self.alerts)]
        compacted = {**large, "cleanup.policy": "compact"}
        topics.append(_NewTopic(self.changelog, self.partitions, 1, topic_configs=compacted))
        await admin.create_topics(topics)
        await admin.close()
        counts: dict[str, int | None] = {topic.name: self.partitions for topic in topics}
        await until(lambda: known(self.settings, counts), 20, "the topics to be known")
        return self

    async def produce(self, count: int, size: int = 50) -> None:
        producer = _Producer(bootstrap_servers=self.bootstrap, linger_ms=5, max_batch_size=100_000)
        await producer.start()
        for number in range(count):
            key = b"k%d" % (number % KEYS)
            await producer.send(self.inputs[number // KEYS % 2], b"x" * size, key)
            self.sent[key] += 1
        await producer.stop()

    def worker(self, **env: object) -> Worker:
        worker = Worker(self, {key: str(value) for key, value in env.items()})
        self.workers.append(worker)
        return worker

    async def ends(self, topics: tuple[str, ...]) -> dict[Any, int]:
        consumer = _Consumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            found: dict[Any, int] = await consumer.end_offsets(
                [TopicPartition(topic, p) for topic in topics for p in range(self.partitions)]
            )
            return found
        finally:
            await consumer.stop()

    async def committed(self) -> dict[Any, int]:
        admin = _Admin(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(self.name)
            return {tp: meta.offset for tp, meta in offsets.items()}
        finally:
            await admin.close()

    async def until_done(self, seconds: float = 60) -> None:
        """Waits until everything sent is committed."""

        async def done() -> bool:
            committed = await self.committed()
            return all(committed.get(tp, 0) == end for tp, end in (await self.ends(self.inputs)).items())

        await until(done, seconds)

    async def counts(self) -> Counter[bytes]:
        found = await read_changelogs(self.settings, {self.changelog: range(self.partitions)})
        return Counter(
            {
                key: json.loads(value)["n"]
                for replica in found[self.changelog].values()
                for key, value in replica.values.items()
            }
        )

    async def rewrite_changelog(self, stamp: Stamp) -> None:
        found = await read_changelogs(self.settings, {self.changelog: range(self.partitions)})
        producer = _Producer(bootstrap_servers=self.bootstrap)
        await producer.start()
        for partition, replica in found[self.changelog].items():
            for key, value in replica.values.items():
                await producer.send(self.changelog, value, key, partition, headers=[stamp.header()])
        await producer.stop()

    async def read(self, topic: str) -> list[Any]:
        consumer = _Consumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            tps = [TopicPartition(topic, p) for p in range(self.partitions)]
            consumer.assign(tps)
            ends = await consumer.end_offsets(tps)
            found: list[Any] = []
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def check(self) -> Counter[bytes]:
        """Every record counted once, every alert sent at least once; returns the alerts sent more than once."""
        assert await self.counts() == self.sent
        alerts = Counter((r.key, int(r.value)) for r in await self.read(self.alerts))
        assert set(alerts) == {(k, n) for k, total in self.sent.items() for n in range(10, total + 1, 10)}
        return Counter({key: n - 1 for (key, _), n in alerts.items() if n > 1})

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()


class Worker:
    """A toy worker as a process."""

    def __init__(self, playground: Playground, env: dict[str, str]) -> None:
        self._log = Path(os.devnull)
        settings = playground.settings
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.toy_worker"],
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={
                **os.environ,
                "DIALYSIS_BROKERS": playground.bootstrap,
                "DIALYSIS_GROUP": settings.group,
                "DIALYSIS_BATCH_MAX": str(settings.batch_max),
                "TOY_TOPICS": ",".join(playground.inputs),
                "TOY_PARTITIONS": str(playground.partitions),
                "TOY_ALERTS": playground.alerts,
                **env,
            },
        )
        self.lines: list[dict[str, Any]] = []
        self.noise: list[str] = []
        self._reader = asyncio.get_running_loop().run_in_executor(None, self._read)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.noise.append(line)

    def said(self, what: str) -> list[dict[str, Any]]:
        return [line for line in list(self.lines) if line["what"] == what]

    async def until(self, what: str, where: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        async def found() -> bool:
            assert self.process.poll() is None or any(map(where, self.said(what))), "".join(self.noise[-60:])
            return any(map(where, self.said(what)))

        await until(found, 40)
        return next(line for line in self.said(what) if where(line))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, seconds: float = 20) -> int:
        code = await asyncio.to_thread(self.process.wait, seconds)
        await self._reader
        return code

    async def stops(self, seconds: float = 4) -> None:
        """SIGTERM is obeyed in time and with status 0."""
        started = time.monotonic()
        self.signal(signal.SIGTERM)
        assert await self.ended() == 0, "".join(self.noise[-60:])
        assert time.monotonic() - started < seconds

    async def counted(self, records: int) -> None:
        """Waits until the worker has seen more records than that."""
        await self.until("progress", lambda line: line["records"] > records)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

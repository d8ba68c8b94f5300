"""A worker that counts records per key, on the real transport: `python -m tests.integration.toy_worker`.

Its state is `{"n": count, "offsets": {"topic": applied offset}}` per key. Every tenth record of a key is an
alert, sent after the checkpoint that stores its count. It writes a JSON line to stderr for each thing that
happens. Environment: TOY_TOPICS, TOY_PARTITIONS, TOY_ALERTS, TOY_SLEEP (seconds a batch), TOY_FAIL_AT
(records), TOY_EMPTY.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import deque
from typing import Any

from models.settings import Settings
from streams.transport import (
    TP,
    App,
    Batch,
    PartitionCountError,
    StaleGenerationError,
    TopicSet,
    batches,
    check_partitions,
    create_app,
    run,
)
from streams.worker.changelog_writer import ChangelogWriter
from streams.worker.sender import Outgoing, Sender

SLEEP = float(os.environ.get("TOY_SLEEP", "0"))
FAIL_AT = int(os.environ.get("TOY_FAIL_AT", "0"))
FAIL_IN = os.environ.get("TOY_FAIL_IN", "task")
EMPTY = os.environ.get("TOY_EMPTY") == "1"
MANY = 4


def say(what: str, **facts: object) -> None:
    sys.stderr.write(json.dumps({"at": time.time(), "what": what, **facts}) + "\n")
    sys.stderr.flush()


class Counting:
    """One partition's counts, its queue and what is not stored yet."""

    def __init__(self, toys: Toys, partition: int, recovered: dict[bytes, bytes]) -> None:
        self.toys, self.partition = toys, partition
        self.state: dict[bytes, Any] = {key: json.loads(value) for key, value in recovered.items()}
        self.queue: deque[Batch] = deque()
        self.paused: set[TP] = set()
        self.held: list[Batch] = []
        self.dirty: set[bytes] = set()
        self.alerts: list[Outgoing] = []
        self.lock = asyncio.Lock()
        self.wake = asyncio.Event()

    def put(self, batch: Batch) -> None:
        self.queue.append(batch)
        if len(self.queue) >= MANY:
            self.paused.add(batch.tp)
            self.toys.app.pause({batch.tp})
        self.wake.set()

    async def work(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            while self.queue:
                batch = self.queue.popleft()
                # All of them: nothing may be left in the queue of a topic that another one's batch had paused.
                if len(self.queue) < MANY and self.paused:
                    self.toys.app.resume(self.paused)
                    self.paused = set()
                async with self.lock:
                    self.apply(batch)
                await asyncio.sleep(SLEEP)

    def apply(self, batch: Batch) -> None:
        for record in batch.records if not EMPTY else ():
            key = record.key or b""
            state = self.state.setdefault(key, {"n": 0, "offsets": {}})
            if record.offset <= state["offsets"].get(record.topic, -1):
                continue
            state["offsets"][record.topic] = record.offset
            state["n"] += 1
            self.dirty.add(key)
            if state["n"] % 10 == 0:
                self.alerts.append(
                    Outgoing(self.toys.alerts, record.key, b"%d" % state["n"], (("n", b"1"),), self.partition)
                )
        self.held.append(batch)
        self.toys.count(len(batch))

    async def checkpoint(self) -> None:
        async with self.lock:
            held, self.held = self.held, []
            alerts, self.alerts = self.alerts, []
            dirty, self.dirty = self.dirty, set()
            await self.toys.writer.write(self.partition, {k: json.dumps(self.state[k]).encode() for k in dirty})
            await self.toys.sender.send_all(alerts)
            for batch in held:
                batch.ack()


class Toys:
    """All partitions of this worker."""

    def __init__(self, app: App, topics: TopicSet, alerts: str) -> None:
        self.app, self.alerts = app, alerts
        self.writer, self.sender = ChangelogWriter(app, topics), Sender(app)
        self.tasks: dict[int, Counting] = {}
        self.workers: list[asyncio.Task[None]] = []
        self.records = self.taken = 0
        self.first: float | None = None

    def count(self, records: int) -> None:
        self.first = self.first or time.monotonic()
        self.records += records
        if FAIL_IN == "task":
            self.fail_after(self.records)

    def take(self, batch: Batch) -> None:
        # What it has taken, not counted: all may be taken before it has counted enough, and nothing more comes.
        self.taken += len(batch)
        if FAIL_IN == "agent":
            self.fail_after(self.taken)
        self.tasks[batch.partition].put(batch)

    def fail_after(self, records: int) -> None:
        if FAIL_AT and records >= FAIL_AT:
            raise RuntimeError("told to fail")

    async def on_assigned(self, partitions: set[int], recovered: Any) -> None:
        self.tasks = {p: Counting(self, p, recovered[p]) for p in partitions}
        self.workers = [asyncio.ensure_future(task.work()) for task in self.tasks.values()]
        keys = sum(len(task.state) for task in self.tasks.values())
        say("assigned", partitions=sorted(partitions), keys=keys, seconds=self.app.recovery_seconds)

    async def on_revoked(self, partitions: set[int]) -> tuple[()]:
        say("revoked", partitions=sorted(partitions))
        for worker in self.workers:
            worker.cancel()
        await asyncio.gather(*(task.checkpoint() for task in self.tasks.values()))
        self.tasks, self.workers = {}, []
        say("flushed")
        return ()

    async def tick(self) -> None:
        reported = 0
        while True:
            await asyncio.sleep(0.2)
            with contextlib.suppress(StaleGenerationError):
                await asyncio.gather(*(task.checkpoint() for task in self.tasks.values()))
            for worker in self.workers:
                if worker.done() and not worker.cancelled() and (error := worker.exception()):
                    await self.app.crash(error)
            if self.records != reported and self.first is not None:
                if not reported:
                    say("first")
                reported = self.records
                say("progress", records=self.records, seconds=time.monotonic() - self.first)


async def main() -> int:
    settings = Settings()
    partitions = int(os.environ["TOY_PARTITIONS"])
    topics = TopicSet("toys", tuple(os.environ["TOY_TOPICS"].split(",")), partitions)
    app = create_app(settings)
    toys = Toys(app, topics, os.environ["TOY_ALERTS"])

    @app.agent(app.attach(topics, toys))
    async def toy(stream: Any) -> None:
        async for batch in batches(stream):
            toys.take(batch)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        await check_partitions(settings, dict.fromkeys((*topics.topics, topics.changelog(settings.group)), partitions))
    except PartitionCountError as error:
        say("refused", why=str(error))
        return 2
    ticking = asyncio.ensure_future(toys.tick())
    say("started")
    try:
        await run(app, stop)
    except RuntimeError as error:
        say("crashed", why=repr(error))
        return 1
    finally:
        ticking.cancel()
    say("stopped")
    return 0


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=os.environ.get("TOY_LOG", "WARNING"), format="%(asctime)s %(name)s %(message)s")
    say("start")
    sys.exit(asyncio.run(main()))

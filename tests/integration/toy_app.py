"""The app of the transport in this process, with a listener and an agent that keep what they are given."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer

from streams.transport import App, Batch, TopicSet, batches, create_app, run
from streams.worker.changelog_writer import ChangelogWriter
from streams.worker.sender import Sender
from tests.integration.messages import MEGABYTE
from tests.integration.toys import Playground
from tests.integration.worker_process import until

_Producer: Any = AIOKafkaProducer


class Worker:
    """An app that keeps what it is given and acknowledges at once, if it `acks`."""

    def __init__(self, play: Playground, *, start: bool = True) -> None:
        self.play = play
        self.topics = TopicSet("toys", play.inputs, play.partitions)
        self.app: App = create_app(play.settings)
        self.writer, self.sender = ChangelogWriter(self.app, self.topics), Sender(self.app)
        self.recovered: dict[int, dict[bytes, bytes]] | None = None
        self.got: list[Batch] = []
        self.stop = asyncio.Event()
        self.revoked = 0
        self.acks = True
        self.app.agent(self.app.attach(self.topics, self))(self._agent)
        self.running: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if start:
            self.start()

    def start(self) -> None:
        self.running = asyncio.ensure_future(run(self.app, self.stop))

    async def _agent(self, stream: Any) -> None:
        async for batch in batches(stream):
            self.got.append(batch)
            if self.acks:
                batch.ack()

    async def on_assigned(self, partitions: set[int], recovered: Any) -> None:
        assert set(recovered) == partitions
        self.recovered = recovered

    async def on_revoked(self, partitions: set[int]) -> tuple[()]:
        self.revoked += 1
        return ()

    async def ready(self) -> Worker:
        async def assigned() -> bool:
            if self.running.done():
                self.running.result()
            return self.recovered is not None

        await until(assigned, 30)
        return self

    async def end(self) -> None:
        self.stop.set()
        await self.running


async def put(bootstrap: str, topic: str, partition: int, *values: bytes) -> None:
    producer = _Producer(bootstrap_servers=bootstrap, max_request_size=5 * MEGABYTE)
    await producer.start()
    for value in values:
        await producer.send_and_wait(topic, value, partition=partition)
    await producer.stop()

"""More traps of Faust 0.15.3 (see test_traps.py): what is written, and when it counts as written."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from streams.transport import StaleGenerationError
from streams.worker.assignment import KafkaPort
from streams.worker.changelog_writer import ChangelogWriter
from streams.worker.sender import Outgoing, Sender
from tests.unit import test_changelog_writer as checkpoint
from tests.unit.fake_port import PREFIX, FakeKafka, Host
from tests.unit.fake_thread import Bench, Hold, spin
from tests.unit.task_events import P1, telemetry
from tests.unit.test_sender import FakeProducer


class SlowProducer:
    """Takes everything at once; the broker has it when `arrived` is let go."""

    def __init__(self) -> None:
        self.arrived = Hold()
        self.asked = 0
        self.create_batch = checkpoint.FakeBatch

    async def send_batch(self, *_: Any, **__: Any) -> asyncio.Future[Any]:
        return self._later()

    async def send(self, *_: Any, **__: Any) -> asyncio.Future[Any]:
        return self._later()

    def _later(self) -> asyncio.Future[Any]:
        self.asked += 1

        async def arrives() -> Any:
            await self.arrived()
            return SimpleNamespace(offset=0)

        return asyncio.ensure_future(arrives())

    async def partitions_for(self, topic: str) -> set[int]:
        return {0}


@pytest.mark.parametrize("what", ["changelog", "messages"])
async def test_a_send_returns_when_the_broker_has_it_and_not_before(what: str) -> None:
    """Faust's `flush` before a commit gives up after 0.1 s, and a delivery that failed is a line in the log."""
    app: Any = checkpoint.FakeApp()
    producer = app.kafka_producer = SlowProducer()
    sending: asyncio.Future[Any] = asyncio.ensure_future(
        ChangelogWriter(app, checkpoint.TOPICS).write(0, {b"k": b"v"})
        if what == "changelog"
        else Sender(app).send_all([Outgoing("t", b"k", b"v")])
    )
    await producer.arrived.reached.wait()
    await asyncio.sleep(0.15)
    assert not sending.done()
    producer.arrived.go.set()
    await sending
    assert producer.asked == 1


async def test_keys_are_placed_by_murmur2() -> None:
    """librdkafka's default is CRC32: kcat and many gateways put a patient elsewhere than Java and aiokafka do."""
    hashes = {  # from Kafka's own UtilsTest
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    producer = FakeProducer()
    producer.partitions = set(range(12))
    held: Any = SimpleNamespace(kafka_producer=producer)
    await Sender(held).send_all([Outgoing("t", key, key) for key in hashes])
    placed = {value: partition for partition, values in producer.logs.items() for value in values}
    assert placed == {key: (number & 0x7FFFFFFF) % 12 for key, number in hashes.items()}


async def test_a_task_of_an_older_generation_neither_writes_nor_sends(bench: Bench) -> None:
    """Faust compares generations when it delivers, and never again: what was begun then goes out now."""
    await bench.start()
    await bench.assign(0)
    bench.thread.heartbeat_at = 1e12  # in time, whatever the time is
    producer = SlowProducer()
    producer.arrived.go.set()
    app: Any = bench.app
    writer = ChangelogWriter(app, checkpoint.TOPICS)
    held = SimpleNamespace(kafka_producer=producer)
    old = KafkaPort(app, writer, Sender(held))  # type: ignore[arg-type]
    await bench.revoke()
    await bench.assign(0)  # the same partition, once more ours
    with pytest.raises(StaleGenerationError):
        await old.write(0, {b"k": b"v"})
    with pytest.raises(StaleGenerationError):
        await old.send_all([Outgoing("t", b"k", b"v")])
    assert producer.asked == 0
    await KafkaPort(app, writer, Sender(held)).send_all([Outgoing("t", b"k", b"v")])  # type: ignore[arg-type]
    assert producer.asked == 1
    await bench.stop()


async def test_a_write_that_waits_for_another_is_not_made_for_the_next_generation() -> None:
    """The partition may be lost and won again while it waits: its state is of before."""
    app: Any = checkpoint.FakeApp()
    producer = app.kafka_producer = SlowProducer()
    writer = ChangelogWriter(app, checkpoint.TOPICS)
    first = asyncio.ensure_future(writer.write(0, {b"k": b"1"}))
    await producer.arrived.reached.wait()
    second = asyncio.ensure_future(writer.write(0, {b"k": b"2"}))
    await spin()
    app.claim = replace(app.claim, generation=4)
    producer.arrived.go.set()
    await first
    with pytest.raises(StaleGenerationError):
        await second
    assert producer.asked == 1


async def test_a_release_waits_for_the_checkpoint_that_is_being_written(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch and a checkpoint that overlap lose updates, or acknowledge what is not stored: one lock for both."""
    host = await Host(kafka).start()
    telemetry(kafka, P1, 1)
    await host.deliver("machine-events")
    storing, write = Hold(), kafka.write

    async def held(*args: Any) -> Any:
        await storing()
        return await write(*args)

    monkeypatch.setattr(kafka, "write", held)
    running = asyncio.ensure_future(host.task.run())
    await spin()
    kafka.clock.elapsed += 1  # the checkpoint is due
    host.task.wake()
    await storing.reached.wait()
    releasing = asyncio.ensure_future(host.task.release())
    await spin()
    assert not releasing.done()
    assert not kafka.committed
    storing.go.set()
    await releasing
    assert kafka.committed == {PREFIX + "machine-events": 1}
    host.task.stop()
    await running


async def test_nothing_is_handled_while_a_checkpoint_is_written(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes in between would be acknowledged by a checkpoint that does not hold it (1,495 of 2,000 were wrong)."""
    host = await Host(kafka, checkpoint_interval=60).start()
    telemetry(kafka, P1, 1)
    await host.deliver("machine-events")
    await host.turn()
    storing, write = Hold(), kafka.write

    async def held(*args: Any) -> Any:
        await storing()
        return await write(*args)

    monkeypatch.setattr(kafka, "write", held)
    releasing = asyncio.ensure_future(host.task.release())
    await storing.reached.wait()
    telemetry(kafka, P1, 2)
    await host.deliver("machine-events")
    running = asyncio.ensure_future(host.task.run())
    await spin()
    assert host.task.handled == 1
    storing.go.set()
    await releasing
    assert kafka.committed == {PREFIX + "machine-events": 1}
    host.task.stop()
    await running

"""What the transport tells and lets do, with the app in this process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer

from streams.broker.kafka import EmbeddedKafka
from streams.transport import (
    TP,
    PartitionCountError,
    StaleGenerationError,
    TopicSet,
    check_partitions,
)
from streams.transport.changelog import read_changelogs
from streams.worker.changelog_writer import ChangelogWriter
from streams.worker.sender import NeverSendsError, Outgoing
from tests.integration.messages import MEGABYTE
from tests.integration.toy_app import Worker, put
from tests.integration.toys import Playground
from tests.integration.worker_process import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_Producer: Any = AIOKafkaProducer


@pytest.fixture
async def worker(bootstrap: str) -> AsyncIterator[Worker]:
    made = await Worker(await Playground(bootstrap).create()).ready()
    yield made
    with contextlib.suppress(Exception):
        await made.end()


async def test_the_end_is_confirmed_while_nothing_comes(worker: Worker) -> None:
    tps = [TP(topic, p) for topic in worker.play.inputs for p in range(4)]

    async def confirmed() -> bool:
        return all(worker.app.end_confirmed_at(tp) is not None for tp in tps)

    await until(confirmed, 5)
    await asyncio.sleep(1)
    ages = [time.monotonic() - (worker.app.end_confirmed_at(tp) or 0) for tp in tps]
    assert max(ages) < 1
    assert {worker.app.lag(tp) for tp in tps} == {0}
    assert {worker.app.end_offset(tp) for tp in tps} == {0}


async def test_a_paused_partition_waits_alone(worker: Worker) -> None:
    held, free = TP(worker.play.inputs[0], 0), TP(worker.play.inputs[0], 1)
    worker.app.pause({held})
    await asyncio.sleep(0.2)
    await put(worker.play.bootstrap, *held, b"a", b"b")
    await put(worker.play.bootstrap, *free, b"c")

    async def came() -> bool:
        return any(batch.tp == free for batch in worker.got)

    await until(came, 2)
    assert not [batch for batch in worker.got if batch.tp == held]
    assert worker.app.lag(held)
    assert worker.app.end_confirmed_at(held) is None
    started = time.monotonic()
    worker.app.resume({held})

    async def resumed() -> bool:
        return sum(len(batch) for batch in worker.got if batch.tp == held) == 2

    await until(resumed, 2)
    assert time.monotonic() - started < 0.2  # Faust would have slept a second

    async def at_end() -> bool:
        return worker.app.end_confirmed_at(held) is not None and worker.app.lag(held) == 0

    await until(at_end, 2)


async def test_records_come_within_milliseconds(worker: Worker) -> None:
    topic = worker.play.inputs[0]
    producer = _Producer(bootstrap_servers=worker.play.bootstrap)
    await producer.start()
    took = []
    for number in range(20):
        await asyncio.sleep(0.05)
        sent = time.monotonic()
        await producer.send_and_wait(topic, b"x", partition=number % 4)
        while sum(map(len, worker.got)) <= number:  # noqa: ASYNC110 - measured to the millisecond
            await asyncio.sleep(0.001)
        took.append(time.monotonic() - sent)
    await producer.stop()
    assert sorted(took)[10] < 0.1


async def test_large_messages_pass(worker: Worker) -> None:
    large = b"x" * (4 * MEGABYTE - 1000)
    tp = TP(worker.play.inputs[0], 2)
    await worker.writer.write(2, {b"big": large, b"small": b"1", b"big2": large})
    found = await read_changelogs(worker.play.settings, {worker.play.changelog: [2]})
    assert {k: len(v) for k, v in found[worker.play.changelog][2].values.items()} == {
        b"big": len(large),
        b"small": 1,
        b"big2": len(large),
    }
    with pytest.raises(NeverSendsError):
        await worker.writer.write(2, {b"too big": b"x" * (5 * MEGABYTE)})
    with pytest.raises(NeverSendsError):
        await worker.sender.send_all([Outgoing(tp.topic, b"k", b"x" * (5 * MEGABYTE))])


async def test_what_was_written_is_recovered(worker: Worker) -> None:
    await worker.writer.write(1, {b"%d" % n: b"a" * 500 for n in range(3_000)})
    await worker.writer.write(1, {b"7": b"b", b"8": None})
    await worker.writer.write(1, {})
    await worker.end()
    assert worker.revoked == 1
    again = await Worker(worker.play).ready()
    assert again.recovered is not None
    expected = {b"%d" % n: b"a" * 500 for n in range(3_000)} | {b"7": b"b"}
    del expected[b"8"]
    assert again.recovered == {0: {}, 1: expected, 2: {}, 3: {}}
    await again.end()


async def test_messages_are_sent_in_order_and_in_full(worker: Worker) -> None:
    messages = [Outgoing(worker.play.alerts, b"%d" % (n % 7), b"%d" % n, (("h", b"1"),)) for n in range(2_000)]
    await worker.sender.send_all(messages)
    await worker.sender.send_all([Outgoing(worker.play.alerts, b"tombstone", None, partition=3)])
    await worker.sender.send_all([])
    found = await worker.play.read(worker.play.alerts)
    assert sorted(int(r.value) for r in found if r.value) == list(range(2_000))
    for key in {r.key for r in found if r.value}:
        values = [int(r.value) for r in found if r.key == key]
        assert values == sorted(values)
    assert [r.partition for r in found if r.value is None] == [3]


async def test_what_can_never_be_sent_is_an_error(worker: Worker) -> None:
    for message in (Outgoing("no-such-topic", b"k", b"v"), Outgoing(worker.play.alerts, b"k", b"v", partition=9)):
        async with asyncio.timeout(20):
            with pytest.raises(NeverSendsError):
                await worker.sender.send_all([message])


async def test_nothing_is_written_for_a_partition_that_is_not_ours(worker: Worker) -> None:
    assert worker.app.owns("toys", 0)
    assert not worker.app.owns("toys", 4)
    assert not worker.app.owns("others", 0)
    with pytest.raises(StaleGenerationError):
        await worker.writer.write(4, {b"k": b"v"})
    with pytest.raises(StaleGenerationError):
        await worker.writer.write(0, {b"k": b"v"}, generation=worker.app.generation - 1)
    await worker.writer.write(0, {b"k": b"v"}, generation=worker.app.generation)
    await worker.end()
    assert not worker.app.owns("toys", 0)
    with pytest.raises(StaleGenerationError):
        worker.app.claim_of("toys", 0)


async def test_nothing_is_written_without_a_recent_heartbeat(worker: Worker) -> None:
    thread = worker.app.batch_consumer.thread
    coordinator: Any = thread._ensure_consumer()._coordinator
    beats = coordinator._do_heartbeat

    async def unanswered() -> bool:
        return False

    coordinator._do_heartbeat = unanswered
    await asyncio.sleep(worker.play.settings.session_timeout * 0.4 + 0.1)
    writing = asyncio.ensure_future(worker.writer.write(0, {b"k": b"v"}))
    await asyncio.sleep(0.5)
    assert not writing.done()
    coordinator._do_heartbeat = beats
    async with asyncio.timeout(5):
        await writing


async def test_control_records_do_not_hold_up_recovery_or_the_end(worker: Worker) -> None:
    topic, changelog = worker.play.inputs[0], worker.play.changelog
    producer = _Producer(bootstrap_servers=worker.play.bootstrap, transactional_id=worker.play.name)
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(topic, b"v", partition=0)
        await producer.send_and_wait(changelog, b"v", b"k", partition=0)
    await producer.stop()
    tp = TP(topic, 0)

    async def at_end() -> bool:
        return worker.app.end_offset(tp) == 2 and worker.app.lag(tp) == 0

    await until(at_end, 5)
    async with asyncio.timeout(5):
        found = await read_changelogs(worker.play.settings, {changelog: range(4)})
    assert found[changelog][0].values == {b"k": b"v"}
    assert found[changelog][0].end == 2
    # Only a log that ends just where it is known to is left out: a shorter one was made anew.
    for end, left_out in ((1, False), (2, True), (3, False)):
        known = {TP(changelog, 0): end}
        again = await read_changelogs(worker.play.settings, {changelog: range(4)}, known)
        assert (0 not in again[changelog]) is left_out


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_broker_that_is_away_is_waited_for(how: str) -> None:
    with EmbeddedKafka() as broker:
        play = await Playground(broker.bootstrap).create()
        worker = await Worker(play).ready()
        tp = TP(play.inputs[0], 0)

        async def confirmed() -> bool:
            return worker.app.end_confirmed_at(tp) is not None

        await until(confirmed, 5)
        await asyncio.to_thread(broker.kill if how == "killed" else broker.suspend)
        await asyncio.sleep(1)
        work = asyncio.gather(
            worker.writer.write(0, {b"k": b"v"}),
            worker.sender.send_all([Outgoing(play.alerts, b"k", b"%d" % n) for n in range(5)]),
            return_exceptions=True,
        )
        checking = asyncio.ensure_future(check_partitions(play.settings, {play.alerts: 4}))
        await asyncio.sleep(3 if how == "killed" else 8)
        assert not work.done()
        assert not checking.done()
        at = worker.app.end_confirmed_at(tp)
        assert at is None or time.monotonic() - at > 3
        await asyncio.to_thread(broker.start if how == "killed" else broker.resume)
        async with asyncio.timeout(60):
            wrote, sent = await work
            await checking
        assert sent is None
        # The session may have expired meanwhile: then the write was refused, and the state recovered anew.
        assert isinstance(wrote, StaleGenerationError) or not wrote
        assert {int(r.value) for r in await play.read(play.alerts)} == set(range(5))
        await put(broker.bootstrap, *tp, b"after")

        async def came() -> bool:
            return any(batch.records[-1].value == b"after" for batch in worker.got)

        await until(came, 30)
        await worker.end()


async def test_a_listener_that_fails_while_revoked_stops_the_worker(worker: Worker) -> None:
    async def fails(partitions: set[int]) -> tuple[()]:
        raise ValueError("cannot store")

    worker.on_revoked = fails  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="cannot store"):
        await worker.end()


async def test_a_listener_that_hangs_does_not_hold_up_the_end(worker: Worker) -> None:
    async def hangs(partitions: set[int]) -> tuple[()]:
        await asyncio.sleep(1000)
        return ()

    worker.on_revoked = hangs  # type: ignore[method-assign]
    started = time.monotonic()
    await worker.end()
    assert time.monotonic() - started < 7


@pytest.mark.parametrize("seconds", [0, 0.05, 0.2, 0.4])
async def test_it_stops_at_any_moment_of_its_start(bootstrap: str, seconds: float) -> None:
    worker = Worker(await Playground(bootstrap).create())
    await asyncio.sleep(seconds)
    async with asyncio.timeout(5):
        await worker.end()


async def test_two_topic_sets_are_kept_apart(bootstrap: str) -> None:
    patients, loops = await Playground(bootstrap).create(), Playground(bootstrap, partitions=2)
    loops.name = patients.name + "-loops"
    await loops.create()
    worker = Worker(patients, start=False)
    other = Worker(patients, start=False)
    # The second table's changelog is named after the one group: `<group>-loops-toys`.
    other.topics = TopicSet("loops-toys", loops.inputs, 2)
    worker.app.agent(worker.app.attach(other.topics, other), name="other")(other._agent)
    worker.start()
    # Topics made a moment ago may not be known in the first generation: then there is a second one.
    await until(lambda: worker.recovered == {p: {} for p in range(4)}, 30)
    await until(lambda: other.recovered == {p: {} for p in range(2)}, 30)
    await put(bootstrap, patients.inputs[0], 1, b"1")
    await put(bootstrap, loops.inputs[1], 1, b"2")

    async def came() -> bool:
        return [batch.topic for batch in worker.got] == [patients.inputs[0]] and (
            [batch.topic for batch in other.got] == [loops.inputs[1]]
        )

    await until(came, 5)
    await ChangelogWriter(worker.app, other.topics).write(1, {b"k": b"v"})
    await worker.end()
    assert worker.revoked == other.revoked == 1
    found = await read_changelogs(patients.settings, {loops.changelog: [0, 1]})
    assert [replica.values for replica in found[loops.changelog].values()] == [{}, {b"k": b"v"}]


async def test_a_worker_without_partitions_waits_for_its_turn(bootstrap: str) -> None:
    play = await Playground(bootstrap, partitions=1).create()
    first = await Worker(play).ready()
    second = await Worker(play).ready()

    async def one_owner() -> bool:
        return first.app.owns("toys", 0) != second.app.owns("toys", 0)

    await until(one_owner, 10)
    owner, idle = (first, second) if first.app.owns("toys", 0) else (second, first)
    await owner.end()

    async def taken_over() -> bool:
        return idle.app.owns("toys", 0)

    await until(taken_over, 10)
    await put(bootstrap, play.inputs[0], 0, b"x")

    async def came() -> bool:
        return bool(idle.got)

    await until(came, 5)
    await idle.end()


async def test_a_log_that_goes_back_stops_the_worker(worker: Worker) -> None:
    tp = TP(worker.play.inputs[0], 0)
    await put(worker.play.bootstrap, *tp, b"1", b"2")

    async def came() -> bool:
        return bool(worker.got)

    await until(came, 5)
    thread = worker.app.batch_consumer.thread
    thread.thread_loop.call_soon_threadsafe(thread._ensure_consumer().seek, tp, 0)
    async with asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="went back"):
            await worker.running


async def test_check_partitions_names_what_is_wrong(worker: Worker) -> None:
    with pytest.raises(PartitionCountError, match=r"has 4 partitions, not 5.*nowhere does not exist"):
        await check_partitions(worker.play.settings, {worker.play.alerts: 5, "zz-nowhere": 1})

"""The simulator against a real broker: what it sends is what one reads, and it stops when told."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from models.settings import Settings
from models.topics import LAB_RESULTS, MACHINE_EVENTS, PATIENT_TOPICS
from streams.simulator.planned import Scenario, TimedMessage
from streams.simulator.publish import publish
from streams.simulator.target import PublishError
from streams.simulator.unit import unit_events

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)


@pytest.fixture
async def settings(bootstrap: str) -> AsyncIterator[Settings]:
    """Input topics of this test alone; `lab-results` stamps records on arrival."""
    settings = Settings(brokers=bootstrap, topic_prefix=f"sim-{uuid.uuid4().hex[:8]}.")
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(
                    settings.topic(name),
                    4,
                    1,
                    topic_configs={"message.timestamp.type": "LogAppendTime"} if name == LAB_RESULTS else {},
                )
                for name in PATIENT_TOPICS
            ]
        )
        yield settings
        await admin.delete_topics([settings.topic(name) for name in PATIENT_TOPICS])
    finally:
        await admin.close()


async def read(settings: Settings, count: int) -> list[tuple[str, int, bytes, bytes | None, int]]:
    """Topic, partition, key, value and timestamp (ms) of the first records."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.brokers)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(settings.topic(name), n) for name in PATIENT_TOPICS for n in range(4)])
        await consumer.seek_to_beginning()
        found: list[tuple[str, int, bytes, bytes | None, int]] = []
        async with asyncio.timeout(20):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [(r.topic, r.partition, r.key or b"", r.value, r.timestamp) for r in records]
        return found
    finally:
        await consumer.stop()


def milliseconds(message: TimedMessage) -> int:
    return (message.received_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


async def test_what_is_sent_is_read_back(settings: Settings) -> None:
    sent = list(islice(unit_events(1, START, 12, Scenario.GARBAGE, 2.0), 200))
    summary = await publish(settings, iter(sent), speed=0)
    assert summary.sent == 200
    assert summary.append_time == {LAB_RESULTS}
    assert summary.last == sent[-1].received_at
    found = await read(settings, 200)
    assert sorted((topic, key, value or b"") for topic, _, key, value, _ in found) == sorted(
        (settings.topic(m.topic), m.key.encode(), m.value or b"") for m in sent
    )
    partitions: dict[bytes, set[int]] = {}
    for _, partition, key, _, _ in found:
        partitions.setdefault(key, set()).add(partition)
    assert all(len(numbers) == 1 for numbers in partitions.values())
    stamped = sorted(time for topic, *_, time in found if topic == settings.topic(MACHINE_EVENTS))
    assert stamped == sorted(milliseconds(m) for m in sent if m.topic == MACHINE_EVENTS)


async def test_order_of_a_patient_is_kept_and_the_pace_is_held(settings: Settings) -> None:
    messages = unit_events(1, START, 4, Scenario.QUIET, 0.5)
    summary = await publish(settings, messages, rate=200, limit=300)
    assert summary.sent == 300
    assert summary.seconds == pytest.approx(1.5, abs=0.6)
    found = await read(settings, 300)
    for number in range(4):
        times = [time for topic, n, *_, time in found if topic == settings.topic(MACHINE_EVENTS) and n == number]
        assert times == sorted(times)


async def test_a_backfill_goes_at_once_and_then_keeps_to_the_clock(settings: Settings) -> None:
    live = datetime.now(UTC) + timedelta(seconds=3)
    unit = unit_events(1, live, 4, Scenario.QUIET, 5.0, backfill=timedelta(hours=1))
    stop = asyncio.Event()
    task = asyncio.create_task(
        publish(settings, unit, live_at=live, wall_clock=True, until=live + timedelta(hours=1), stop=stop)
    )
    await asyncio.sleep(max(0.0, (live - datetime.now(UTC)).total_seconds()) + 2)
    stop.set()
    summary = await task
    assert summary.stopped
    assert summary.sent > 1000
    assert summary.last
    assert live - timedelta(seconds=6) < summary.last <= datetime.now(UTC)


async def test_missing_topics_are_named(bootstrap: str) -> None:
    settings = Settings(brokers=bootstrap, topic_prefix="nobody-made-")
    with pytest.raises(PublishError, match=r"nobody-made-clinical-events, .* do not exist: make them with"):
        await publish(settings, unit_events(1, START, 1), limit=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly(settings: Settings, number: signal.Signals) -> None:
    code = "from models.settings import Settings; from streams.simulator.command import run; "
    process = subprocess.Popen(  # noqa: ASYNC220 (starting is quick, waiting is in a thread)
        [sys.executable, "-c", f"{code}raise SystemExit(run(Settings(), 8))"],
        env=os.environ | {"DIALYSIS_BROKERS": settings.brokers, "DIALYSIS_TOPIC_PREFIX": settings.topic_prefix},
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        await read(settings, 20)
        process.send_signal(number)
        _, said = await asyncio.to_thread(process.communicate, timeout=15)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "Sent " in said
    assert "Traceback" not in said

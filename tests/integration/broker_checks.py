"""What tests of the embedded Kafka ask of it: topics, records, and whether it is gone."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiokafka
import aiokafka.admin
import psutil

# Most of it is untyped, which strict mypy would say at every call.
clients: Any = aiokafka


async def create(bootstrap: str, topic: str) -> None:
    admin = clients.admin.AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    response = await admin.create_topics([clients.admin.NewTopic(topic, 1, 1)])
    await admin.close()
    assert [error_code for _, error_code, *_ in response.topic_errors] == [0]


async def send(bootstrap: str, topic: str, value: bytes) -> None:
    async with clients.AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=8_000_000) as producer:
        await producer.send_and_wait(topic, value)


async def read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    async with clients.AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        consumer.assign([clients.TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        return [(await asyncio.wait_for(consumer.getone(), 30)).value for _ in range(count)]


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def eventually(check: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not check() and time.monotonic() < deadline:
        time.sleep(0.05)
    return check()

"""aiokafka's clients for the small commands: bounded in time; an error is one sentence."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NoBrokersAvailable,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
)
from aiokafka.structs import ConsumerRecord, TopicPartition
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from models.settings import Settings
from streams.transport.bootstrap import install as ask_the_next_server
from streams.transport.record_reader import install as read_any_header_name

ask_the_next_server()
read_any_header_name()

Record = ConsumerRecord[bytes | None, bytes | None]

#: Longest wait for one answer, and for a message to be acknowledged.
REQUEST_S = 10.0
SEND_S = 30.0


class KafkaFailedError(Exception):
    """Kafka does not do what a command needs; the message is one sentence for the person who ran the command."""


@contextlib.asynccontextmanager
async def explained(settings: Settings) -> AsyncIterator[None]:
    """Turn aiokafka's errors inside into `KafkaFailedError`, and hide its log lines."""
    logger = logging.getLogger("aiokafka")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except (
        OSError,
        TimeoutError,
        KafkaConnectionError,
        KafkaTimeoutError,
        NoBrokersAvailable,
        NodeNotReadyError,
    ):
        raise KafkaFailedError(
            f"No Kafka broker answers at {settings.brokers}: is it running, and is DIALYSIS_BROKERS right?"
        ) from None
    except KafkaError as error:
        raise KafkaFailedError(f"Kafka at {settings.brokers} refused: {error}") from error
    finally:
        logger.setLevel(before)


@contextlib.asynccontextmanager
async def admin_client(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Start an admin client, and close it at the end."""
    client = AIOKafkaAdminClient(
        bootstrap_servers=settings.brokers,
        request_timeout_ms=int(REQUEST_S * 1000),
        client_id="dialysis-alerts",
    )
    try:
        async with asyncio.timeout(2 * REQUEST_S):
            await client.start()
        yield client
    finally:
        await client.close()


async def partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Return the partition counts of all topics that are ready, in one request: one for a name may create the topic."""
    return {
        topic["topic"]: len(topic["partitions"])
        for topic in await admin.describe_topics()
        if topic["error_code"] == 0 and all(part["leader"] >= 0 for part in topic["partitions"])
    }


@contextlib.asynccontextmanager
async def consumer_client(settings: Settings, group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    """Start a consumer that commits only on request and has no partitions yet; `read_to_end` assigns them."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.brokers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=int(REQUEST_S * 1000),
        client_id="dialysis-alerts",
    )
    try:
        async with asyncio.timeout(2 * REQUEST_S):
            await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def read_to_end(
    consumer: AIOKafkaConsumer, topic: str, partitions: int, starts: Mapping[int, int] | None = None
) -> AsyncIterator[list[Record]]:
    """Read a topic from `starts` (else its beginning) to its end at the time of the call.

    Yields:
        The next records of one partition, in offset order, never empty.

    Raises:
        KafkaFailedError: No record came for a while though there are more.
    """
    tps = [TopicPartition(topic, partition) for partition in range(partitions)]
    consumer.assign(tps)
    async with asyncio.timeout(2 * REQUEST_S):
        begins, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
    for tp in tps:
        consumer.seek(tp, max(begins[tp], (starts or {}).get(tp.partition, 0)))
    unread = set(tps)
    heard = time.monotonic()
    while unread := {tp for tp in unread if await consumer.position(tp) < ends[tp]}:
        fetched = await consumer.getmany(*unread, timeout_ms=500, max_records=500)
        for tp, records in fetched.items():
            heard = time.monotonic()
            if known := [record for record in records if record.offset < ends[tp]]:
                yield known
        if time.monotonic() - heard > 2 * REQUEST_S:
            raise KafkaFailedError(f"Kafka sends nothing more of {topic}, though there is more to read.")


@contextlib.asynccontextmanager
async def producer_client(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """Start a producer that keeps the order of a partition; not idempotent: a refused message would break the rest."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.brokers,
        acks="all",
        max_request_size=2 * settings.max_message_bytes,
        request_timeout_ms=int(SEND_S * 1000),
        client_id="dialysis-alerts",
    )
    try:
        async with asyncio.timeout(2 * REQUEST_S):
            await producer.start()
        yield producer
    finally:
        await producer.stop()


@retry(
    # A broker that has not yet made its offsets topic has no coordinator for a moment.
    retry=retry_if_exception_type(
        (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
    ),
    stop=stop_after_delay(REQUEST_S),
    wait=wait_fixed(0.2),
    reraise=True,
)
async def committed(admin: AIOKafkaAdminClient, group: str, tps: list[TopicPartition]) -> dict[TopicPartition, Any]:
    """Return the committed offsets of a consumer group; -1 where there is none."""
    return await admin.list_consumer_group_offsets(group, partitions=tps)

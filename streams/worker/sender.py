"""Send messages to Kafka: alerts, dead letters, status."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RecordListTooLargeError,
    RecordTooLargeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import DefaultPartitioner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from streams.transport import App

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
_partition_of = DefaultPartitioner()  # murmur2 of the key; any partition without one


class NeverSendsError(Exception):
    """No repetition can send this message: too large, not allowed, no such topic. Stops the worker."""


#: Errors of a too large message, from aiokafka or from a broker with a smaller `max.message.bytes` than ours.
TOO_LARGE: Final = (MessageSizeTooLargeError, RecordTooLargeError, RecordListTooLargeError)


class UnsentError(NeverSendsError):
    """These messages are too large for their topic; all others of the call were sent."""

    def __init__(self, messages: Sequence[Outgoing]) -> None:
        topics = ", ".join(sorted({message.topic for message in messages}))
        super().__init__(f"{len(messages)} messages are too large: raise max.message.bytes of {topics}")
        self.messages = messages


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. Without `partition` the key's murmur2 hash chooses it, as Java's producer does."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


async def may_repeat(producer: Any, topic: str, error: BaseException) -> None:
    """Return, after a pause, if a failed send is worth repeating.

    Raises:
        NeverSendsError: It is not.
        BaseException: `error` itself, where the producer is closed or the failure is not Kafka's.
    """
    if isinstance(error, AssertionError):
        raise NeverSendsError(f"{topic} has no such partition") from error
    if not isinstance(error, KafkaError) or isinstance(error, ProducerClosed):
        raise error
    if isinstance(error, UnknownTopicOrPartitionError):
        # aiokafka raises it also when no broker could be asked. Ask again: only a broker's answer counts.
        client = producer.client
        if await client.force_metadata_update() and topic not in client.cluster.topics():
            raise NeverSendsError(f"topic {topic} does not exist") from error
    elif not error.retriable and not isinstance(error, KafkaTimeoutError):
        raise NeverSendsError(f"{topic} refused a message: {error!r}") from error
    log.warning("Sending to %s failed, trying again: %r", topic, error)
    await asyncio.sleep(RETRY_SECONDS)


class Sender:
    """Sends messages and waits for the broker's acknowledgement.

    Guarantees: when `send_all` returns, all in-sync replicas have acknowledged all messages. The last message of a
    partition in the call is also the last in the log: after a failure the messages of the partition are repeated
    from the first failed one on, so that no repeat leaves an older message behind a newer one.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def send_all(self, messages: Sequence[Outgoing], fence: Callable[[], Awaitable[None]] | None = None) -> None:
        """Send all messages at once; wait for a broker that is away.

        Args:
            messages: What to send, in order.
            fence: Awaited before each attempt; an error that it raises ends the sending.

        Raises:
            UnsentError: Some are too large; all others were sent.
            NeverSendsError: One can never succeed; others may have been sent.
        """
        producer = self._app.kafka_producer
        queues: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        for message in messages:
            queues[message.topic, await self._place(producer, message)].append(message)
        refused: list[Outgoing] = []
        #: Partitions where one of several messages is too large: they send one at a time, to find it.
        alone: set[tuple[str, int]] = set()
        while queues:
            if fence is not None:
                await fence()
            failed = await self._attempt(producer, queues, alone)
            for place in [place for place, error in failed.items() if isinstance(error, TOO_LARGE)]:
                del failed[place]
                if place in alone or len(queues[place]) == 1:
                    refused.append(queues[place].pop(0))
                    alone.discard(place)
                else:
                    alone.add(place)
            for topic, error in {topic: error for (topic, _), error in failed.items()}.items():
                await may_repeat(producer, topic, error)
            queues = {place: queue for place, queue in queues.items() if queue}
        if refused:
            raise UnsentError(refused)

    async def _place(self, producer: Any, message: Outgoing) -> int:
        if message.partition is not None:
            return message.partition
        while True:
            try:
                numbers = sorted(await producer.partitions_for(message.topic))
            except KafkaError as error:
                await may_repeat(producer, message.topic, error)
            else:
                return int(_partition_of(message.key, numbers, numbers))

    async def _attempt(
        self, producer: Any, queues: dict[tuple[str, int], list[Outgoing]], alone: set[tuple[str, int]]
    ) -> dict[tuple[str, int], BaseException]:
        """Send every queue, remove the acknowledged messages, and return the error of each queue that failed."""
        errors = await asyncio.gather(
            *(
                self._send(producer, *place, queue, 1 if place in alone else len(queue))
                for place, queue in queues.items()
            )
        )
        return {place: error for place, error in zip(queues, errors, strict=True) if error is not None}

    async def _send(
        self, producer: Any, topic: str, partition: int, queue: list[Outgoing], most: int
    ) -> BaseException | None:
        futures: list[asyncio.Future[object]] = []
        refused: BaseException | None = None
        for message in queue[:most]:
            try:
                futures.append(
                    await producer.send(topic, message.value, message.key, partition, headers=list(message.headers))
                )
            except (KafkaError, AssertionError) as error:
                refused = error
                break
        results = await asyncio.gather(*futures, return_exceptions=True)
        for number, result in enumerate(results):
            if isinstance(result, BaseException):
                del queue[:number]
                return result
        del queue[: len(futures)]
        return refused

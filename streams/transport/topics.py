"""Do the topics on the broker have the partitions that this worker counts on?"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, NoError, UnknownTopicOrPartitionError, for_code
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

from streams.transport.api import PartitionCountError
from streams.transport.bootstrap import install as ask_the_next_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.settings import Settings

log = logging.getLogger(__name__)

ask_the_next_server()


async def check_partitions(settings: Settings, topics: Mapping[str, int | None]) -> None:
    """Returns when every topic exists with the number of partitions given for it; None takes any number.

    A broker that does not answer is waited for, for ever, with a log line now and then; the event loop stays
    free meanwhile.

    Raises:
        PartitionCountError: A topic is missing or has another number; the text names every such topic.
    """

    def say(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        log.warning("Kafka at %s does not answer, waiting for it: %s", settings.brokers, error)

    counts: dict[str, int] = {}
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, KafkaError) and error.retriable),
        wait=wait_exponential(multiplier=0.25, max=5.0),
        before_sleep=say,
    ):
        with attempt:
            counts = await _count(settings.brokers, list(topics))
    wrong = [
        f"{topic} does not exist" if topic not in counts else f"{topic} has {counts[topic]} partitions, not {count}"
        for topic, count in sorted(topics.items())
        if topic not in counts or count not in (None, counts[topic])
    ]
    if wrong:
        raise PartitionCountError("; ".join(wrong))


async def _count(brokers: str, topics: list[str]) -> dict[str, int]:
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=5000)
    try:
        await admin.start()
        described = await admin.describe_topics(topics)
    finally:
        await admin.close()
    for topic in described:
        error = for_code(topic["error_code"])
        if error not in {NoError, UnknownTopicOrPartitionError}:
            raise error
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["partitions"]}

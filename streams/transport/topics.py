"""Do the topics on the broker have the partitions, and take the messages, that this worker counts on?"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, NoError, UnknownTopicOrPartitionError, for_code
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

from models.topics import MAX_MESSAGE, too_small
from streams.transport.api import PartitionCountError
from streams.transport.bootstrap import install as ask_the_next_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.settings import Settings

log = logging.getLogger(__name__)

ask_the_next_server()


async def check_partitions(
    settings: Settings, topics: Mapping[str, int | None], needs: Mapping[str, int] | None = None
) -> None:
    """Returns when every topic exists with the number of partitions given for it; None takes any number.

    `needs` are the smallest `max.message.bytes` that topics may have. Where the broker does not tell settings (its
    access rules), they are taken to be right.

    A broker that does not answer is waited for, for ever, with a log line now and then; the event loop stays
    free meanwhile.

    Raises:
        PartitionCountError: A topic is missing, has another number or takes too small messages; the text names every
            such topic.
    """

    def say(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        log.warning("Kafka at %s does not answer, waiting for it: %s", settings.brokers, error)

    counts: dict[str, int] = {}
    sizes: dict[str, str | None] = {}
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, KafkaError) and error.retriable),
        wait=wait_exponential(multiplier=0.25, max=5.0),
        before_sleep=say,
    ):
        with attempt:
            counts, sizes = await _look(settings.brokers, list(topics), needs or {})
    wrong = [
        f"{topic} does not exist" if topic not in counts else f"{topic} has {counts[topic]} partitions, not {count}"
        for topic, count in sorted(topics.items())
        if topic not in counts or count not in (None, counts[topic])
    ]
    wrong += [small for topic, size in sorted(sizes.items()) if (small := too_small(topic, size, (needs or {})[topic]))]
    if wrong:
        raise PartitionCountError("; ".join(wrong))


async def _look(
    brokers: str, topics: list[str], needs: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, str | None]]:
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=5000)
    try:
        await admin.start()
        described = await admin.describe_topics(topics)
        there = {topic["topic"] for topic in described if topic["partitions"]}
        sizes = await _message_sizes(admin, sorted(there & needs.keys()))
    finally:
        await admin.close()
    for topic in described:
        error = for_code(topic["error_code"])
        if error not in {NoError, UnknownTopicOrPartitionError}:
            raise error
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["partitions"]}, sizes


async def _message_sizes(admin: Any, topics: list[str]) -> dict[str, str | None]:
    """`max.message.bytes` of topics; those of which the broker does not tell it are left out."""
    if not topics:
        return {}
    found: dict[str, str | None] = {}
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]):
        for resource in answer.to_object()["resources"]:
            entries = {entry["config_names"]: entry["config_value"] for entry in resource["config_entries"] or ()}
            if not resource["error_code"] and MAX_MESSAGE in entries:
                found[resource["resource_name"]] = entries[MAX_MESSAGE]
    return found

"""Check that the broker's topics have the partitions and the message size that this worker relies on."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, NoError, UnknownTopicOrPartitionError, for_code
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

from models.topics import MAX_MESSAGE, too_small
from streams.transport.api import PartitionCountError
from streams.transport.bootstrap import install as ask_the_next_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from models.settings import Settings

log = logging.getLogger(__name__)

ask_the_next_server()

#: How often a running worker checks that its topics are unchanged.
WATCH_SECONDS: Final = 3.0


async def check_partitions(
    settings: Settings, topics: Mapping[str, int | None], needs: Mapping[str, int] | None = None
) -> None:
    """Return when every topic exists with its given number of partitions; None allows any number.

    `needs` are the smallest allowed `max.message.bytes` of topics. If the broker does not show settings (its access
    rules), they count as right.

    Wait for ever for a broker that does not answer, with a log line at each attempt; the event loop stays free.

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
    wrong = _wrong(topics, counts)
    wrong += [small for topic, size in sorted(sizes.items()) if (small := too_small(topic, size, (needs or {})[topic]))]
    if wrong:
        raise PartitionCountError("; ".join(wrong))


class TopicMadeAnewError(Exception):
    """A topic was deleted and made again while the worker ran; the text names it."""


class TopicWatch:
    """Reports topics that change under a running worker.

    Args:
        settings: Where the broker is.
        topics: As for `check_partitions`.
        tell: Called after every check with a statement of what is wrong; empty if all is right.
    """

    def __init__(self, settings: Settings, topics: Mapping[str, int | None], tell: Callable[[str], None]) -> None:
        self._settings, self._topics, self._tell = settings, topics, tell
        self._absent: set[str] = set()  # at the last check
        self._missing: set[str] = set()  # at two checks in a row: one broker may not know a topic yet
        self._said = ""

    async def watch(self) -> None:
        """Check every few seconds until cancelled; ask a broker that does not answer again.

        Raises:
            TopicMadeAnewError: A topic came back that was missing: it is not the topic that was read and written.
        """
        while True:
            try:
                await self._watch()
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("Looking at the topics failed, trying again: %r", error)
            await asyncio.sleep(WATCH_SECONDS)

    async def _watch(self) -> None:
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=self._settings.brokers, request_timeout_ms=5000)
        try:
            await admin.start()
            while True:
                # All topics in one request: a request for one by name may create it.
                found = await admin.describe_topics()
                self.judge(_counts([topic for topic in found if topic["topic"] in self._topics]))
                await asyncio.sleep(WATCH_SECONDS)
        finally:
            await admin.close()

    def judge(self, counts: Mapping[str, int]) -> None:
        """Compare the numbers of partitions with those wanted, and report."""
        if back := self._missing & counts.keys():
            raise TopicMadeAnewError(
                f"{', '.join(sorted(back))} was deleted and made anew: the worker ends, to be started on the new topic"
            )
        absent = self._topics.keys() - counts.keys()
        self._missing, self._absent = absent & self._absent, absent
        seen = {topic: count for topic, count in self._topics.items() if topic not in absent - self._missing}
        wrong = "; ".join(_wrong(seen, counts))
        if wrong != self._said:
            log.log(
                logging.ERROR if wrong else logging.WARNING,
                "Topics were changed under this worker: %s",
                wrong or "they are as they must be again",
            )
            self._said = wrong
        self._tell(wrong)


def _wrong(topics: Mapping[str, int | None], counts: Mapping[str, int]) -> list[str]:
    return [
        f"{topic} does not exist" if topic not in counts else f"{topic} has {counts[topic]} partitions, not {count}"
        for topic, count in sorted(topics.items())
        if topic not in counts or count not in (None, counts[topic])
    ]


async def _look(
    brokers: str, topics: list[str], needs: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, str | None]]:
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=5000)
    try:
        await admin.start()
        described = await admin.describe_topics(topics)
        there = {topic["topic"] for topic in described if topic["partitions"]}
        sizes = await _message_sizes(admin, sorted(there & needs.keys()))
        return _counts(described), sizes
    finally:
        await admin.close()


def _counts(described: list[Any]) -> dict[str, int]:
    for topic in described:
        error = for_code(topic["error_code"])
        if error not in {NoError, UnknownTopicOrPartitionError}:
            raise error
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["partitions"]}


async def _message_sizes(admin: Any, topics: list[str]) -> dict[str, str | None]:
    """Return `max.message.bytes` of topics, except of those for which the broker does not show it."""
    if not topics:
        return {}
    found: dict[str, str | None] = {}
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]):
        for resource in answer.to_object()["resources"]:
            entries = {entry["config_names"]: entry["config_value"] for entry in resource["config_entries"] or ()}
            if not resource["error_code"] and MAX_MESSAGE in entries:
                found[resource["resource_name"]] = entries[MAX_MESSAGE]
    return found

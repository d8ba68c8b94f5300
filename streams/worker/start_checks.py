"""Check, before a worker takes partitions, whether its state was lost and who sets record timestamps."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from tenacity import AsyncRetrying, retry_if_exception, wait_exponential

from models.settings import Settings
from models.topics import PATIENT_TOPICS, UNIT_SIGNALS, changelog
from streams.kafka.clients import admin_client, committed, consumer_client
from streams.kafka.topic_setup import topic_settings

log = logging.getLogger(__name__)

#: The tables, with the input topics whose committed offsets belong to their changelog.
TABLES: Final[Mapping[str, Sequence[str]]] = {"patients": PATIENT_TOPICS, "loops": (UNIT_SIGNALS,)}


class LostStateError(Exception):
    """The changelog is empty though the group has read its inputs; the text states what to do."""


async def check_state(settings: Settings) -> None:
    """Return if no table's state is lost, and log which inputs let producers set record timestamps.

    A changelog is lost if it has no record in any partition and the group has committed an offset beyond the beginning
    of one of its inputs. A worker writes to its changelog before it commits, so this is never true of a fresh group, of
    one without input, or of one that read only unusable messages. A failing broker is asked again, for ever.

    Raises:
        LostStateError: A table's state is lost, and `DIALYSIS_ON_LOST_STATE` is `stop`.
    """

    def is_passing(error: BaseException) -> bool:
        return isinstance(error, TimeoutError | OSError) or (isinstance(error, KafkaError) and error.retriable)

    async for attempt in AsyncRetrying(
        retry=retry_if_exception(is_passing),
        wait=wait_exponential(multiplier=0.25, max=5.0),
        before_sleep=lambda _: log.warning("Kafka at %s does not answer, waiting for it", settings.brokers),
    ):
        with attempt:
            async with admin_client(settings) as admin, consumer_client(settings) as consumer:
                for table, topics in TABLES.items():
                    await _check_table(settings, admin, consumer, table, topics)
                await _say_times(settings, admin)


async def _check_table(settings: Settings, admin: Any, consumer: Any, table: str, topics: Sequence[str]) -> None:
    name, numbers = changelog(settings.group, table), range(settings.partitions)
    own = [TopicPartition(name, number) for number in numbers]
    begins, ends = await consumer.beginning_offsets(own), await consumer.end_offsets(own)
    if any(begins[tp] < ends[tp] for tp in own):
        return
    inputs = [TopicPartition(settings.topic(topic), number) for topic in topics for number in numbers]
    starts = await consumer.beginning_offsets(inputs)
    read = {tp: entry.offset for tp, entry in (await committed(admin, settings.group, inputs)).items()}
    beyond = [tp for tp in inputs if read.get(tp, -1) > starts[tp]]
    if not beyond:
        return
    tp = max(beyond, key=lambda one: read[one])
    found = (
        f"The changelog {name} is empty, but the group {settings.group} has read its inputs "
        f"({tp.topic}[{tp.partition}] up to offset {read[tp]}): the state of {table} is lost"
    )
    if settings.on_lost_state == "continue":
        log.warning("%s; going on with empty state, as DIALYSIS_ON_LOST_STATE says", found)
        return
    raise LostStateError(
        f"{found}. Either reset the group's offsets to the earliest, so that the inputs are read again "
        f"(kafka-consumer-groups --group {settings.group} --all-topics --reset-offsets --to-earliest --execute), "
        "or set DIALYSIS_ON_LOST_STATE=continue to go on with empty state."
    )


async def _say_times(settings: Settings, admin: Any) -> None:
    names = [settings.topic(topic) for topics in TABLES.values() for topic in topics]
    try:
        found = await topic_settings(admin, names)
    except Exception as error:  # noqa: BLE001 (who may not describe topics may work all the same)
        log.warning("Whether producers give the time of records is not known: %s", error)
        return
    for name in names:
        if found.get(name, {}).get("message.timestamp.type") == "CreateTime":
            log.warning(
                "%s has message.timestamp.type=CreateTime: producers give its records their time, and the clock "
                "follows them up to the wall clock; LogAppendTime is wanted",
                name,
            )

"""`dialysis-alerts dead-letters redrive`: publish dead letters again after a fix.

Committed offsets record which dead letters were redriven. A run with a filter must not mark those as done that the
filter excluded, so each filter has its own consumer group, and a dead letter is done when any group whose filter it
passes has committed beyond it:

    dead letter                      0 A   1 B   2 A   3 B  | end
    redrive --reason A               sent   -    sent   -   | <group>-redrive.reason.A commits 4
    redrive                           -    sent   -    sent | <group>-redrive commits 4
    redrive --reason B                -     -     -     -   | nothing is left

The run after an interrupted one sends uncommitted dead letters again, and so does a run after the broker has dropped
the offsets (`offsets.retention.minutes`); filing makes both safe.
"""

import asyncio
from asyncio import Future
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.structs import TopicPartition

from models.settings import Settings
from models.topics import DEAD_LETTERS, INGEST, PATIENT_TOPICS, UNIT_SIGNALS
from streams.commands.console import complain, say
from streams.commands.dead_letters import dead_letter_partitions
from streams.exit_status import DONE, FAILED, WRONG_USE
from streams.kafka.clients import (
    KafkaFailedError,
    Record,
    admin_client,
    committed,
    consumer_client,
    explained,
    partition_counts,
    producer_client,
    read_to_end,
)
from streams.kafka.dead_letter import REASON, REDRIVEN, Origin

#: How many skipped messages are named one by one.
_NAMED: Final = 5


class _Outcome(StrEnum):
    SENT = "published again"
    CUT = "skipped: they were cut when they were stored, so their source has to send them again"
    FOREIGN = "skipped: not dead letters of an input topic"
    TOO_LARGE = "not sent: their topic does not take messages of that size any more"


@dataclass(frozen=True, slots=True)
class _Filter:
    """The dead letters that a run selects; `topic` is a full name."""

    reason: str | None
    topic: str | None

    def group(self, settings: Settings) -> str:
        """Return the consumer group that records runs with this filter."""
        name = f"{settings.group}-redrive"
        if self.reason is not None:
            name += f".reason.{self.reason}"
        return name if self.topic is None else f"{name}.topic.{self.topic}"


def redrive(settings: Settings, reason: str | None = None, topic: str | None = None, dry_run: bool = False) -> int:
    """Publish dead letters again, to their original topic and key, once each.

    Read everything up to the end of `dead-letters` at the start. The key chooses the partition; a message without a key
    goes to its original partition. A message that is no dead letter of an input topic, whatever its headers state, is
    skipped and never published; the first of them are named. A message that was cut, or is too large for its topic now,
    is counted and skipped for good.

    Args:
        settings: Where the broker is.
        reason: Only of this reason.
        topic: Only from this topic, by its full name.
        dry_run: Count; send and commit nothing.

    Returns:
        The exit status: 1 where something could not be sent, 2 where a filter cannot be right.
    """
    inputs = input_topics(settings)
    if reason is not None and not REASON.fullmatch(reason):
        complain(f"{reason!r} is no reason: `dialysis-alerts dead-letters` lists them.")
        return WRONG_USE
    if topic is not None and topic not in inputs:
        complain(f"{topic!r} is no input topic: choose one of {', '.join(inputs)}.")
        return WRONG_USE
    counts: Counter[_Outcome] = Counter()
    failure = None
    try:
        asyncio.run(_redrive(settings, _Filter(reason, topic), dry_run, counts))
    except KafkaFailedError as error:
        failure = str(error)
    sent = counts.pop(_Outcome.SENT, 0)
    say(f"{sent} would be published again." if dry_run else f"{sent} {_Outcome.SENT}.")
    for outcome, count in sorted(counts.items()):
        say(f"{count} {outcome}.")
    if failure is not None:
        complain(failure)
    return FAILED if failure is not None or counts[_Outcome.TOO_LARGE] else DONE


def input_topics(settings: Settings) -> list[str]:
    """List the full names of the topics that a dead letter may come from."""
    return [settings.topic(name) for name in (*PATIENT_TOPICS, UNIT_SIGNALS, INGEST)]


async def _redrive(settings: Settings, wanted: _Filter, dry: bool, counts: Counter[_Outcome]) -> None:
    async with explained(settings):
        partitions = await dead_letter_partitions(settings)
        async with (
            admin_client(settings) as admin,
            consumer_client(settings, wanted.group(settings)) as consumer,
            producer_client(settings) as producer,
        ):
            run = _Run(settings, wanted, partitions, admin, await partition_counts(admin), producer, counts)
            starts = await run.done(wanted)
            async for records in read_to_end(consumer, run.source, partitions, starts):
                await run.handle(records, None if dry else consumer)


def _why(origin: Origin | None) -> str:
    return "its headers are not those of a dead letter" if origin is None else f"{origin.topic} is no input topic"


class _Run:
    def __init__(
        self,
        settings: Settings,
        wanted: _Filter,
        partitions: int,
        admin: AIOKafkaAdminClient,
        topics: dict[str, int],
        producer: AIOKafkaProducer,
        counts: Counter[_Outcome],
    ) -> None:
        self.source = settings.topic(DEAD_LETTERS)
        self._settings = settings
        self._wanted = wanted
        self._tps = [TopicPartition(self.source, number) for number in range(partitions)]
        self._admin = admin
        self._inputs = input_topics(settings)
        self._topics = topics
        self._producer = producer
        self._counts = counts
        self._done: dict[_Filter, dict[int, int]] = {}

    async def done(self, filter_: _Filter) -> dict[int, int]:
        """Return the offsets before which earlier runs with a filter have finished, by partition."""
        if filter_ not in self._done:
            found = await committed(self._admin, filter_.group(self._settings), self._tps)
            self._done[filter_] = {tp.partition: max(0, entry.offset) for tp, entry in found.items()}
        return self._done[filter_]

    async def handle(self, records: list[Record], consumer: AIOKafkaConsumer | None) -> None:
        """Publish the next records of one partition and commit; without a consumer, only count them.

        Commit up to the first record that failed before raising its error.
        """
        sends: list[tuple[Record, Future[Any]]] = []
        for record in records:
            origin = await self._take(record)
            if origin is None:
                continue
            if consumer is None:
                self._counts[_Outcome.SENT] += 1
            else:
                sends.append((record, await self._send(record, origin)))
        if consumer is None:
            return
        tp = TopicPartition(self.source, records[0].partition)
        await asyncio.gather(*(future for _, future in sends), return_exceptions=True)
        for record, future in sends:
            error = future.exception()
            if error is None:
                self._counts[_Outcome.SENT] += 1
            elif isinstance(error, MessageSizeTooLargeError):
                self._counts[_Outcome.TOO_LARGE] += 1
            else:
                await consumer.commit({tp: record.offset})
                raise error
        await consumer.commit({tp: records[-1].offset + 1})

    async def _take(self, record: Record) -> Origin | None:
        """Return the origin of a record that is to be sent now, else None; count foreign and cut records."""
        origin = Origin.of(record)
        if origin is None or origin.topic not in self._inputs:
            self._counts[_Outcome.FOREIGN] += 1
            if self._counts[_Outcome.FOREIGN] <= _NAMED:
                complain(f"{record.topic}[{record.partition}] offset {record.offset} is passed over: {_why(origin)}.")
            return None
        if not origin.matches(self._wanted.reason, self._wanted.topic):
            return None
        for reason in (None, origin.reason):
            for topic in (None, origin.topic):
                done = await self.done(_Filter(reason, topic))
                if record.offset < done.get(record.partition, 0):
                    return None
        if origin.cut:
            self._counts[_Outcome.CUT] += 1
            return None
        return origin

    async def _send(self, record: Record, origin: Origin) -> Future[Any]:
        if origin.topic not in self._topics:
            raise KafkaFailedError(f"There is no topic {origin.topic}: `dialysis-alerts topics --create` makes it.")
        keyless = record.key is None and origin.partition < self._topics[origin.topic]
        headers = [*origin.headers, (REDRIVEN, b"%d:%d" % (record.partition, record.offset))]
        try:
            future: Future[Any] = await self._producer.send(
                origin.topic,
                value=record.value,
                key=record.key,
                partition=origin.partition if keyless else None,
                headers=headers,
            )
        except MessageSizeTooLargeError as error:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
        return future

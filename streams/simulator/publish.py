"""Send simulated messages to Kafka, paced."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError, KafkaConnectionError, KafkaError

from models.settings import Settings
from models.topics import PATIENT_TOPICS
from streams.simulator.pace import Pace
from streams.simulator.planned import TimedMessage
from streams.simulator.target import PublishError, append_time_topics

_START_S: Final = 15.0
_STOP_S: Final = 10.0
#: The shortest sleep: messages closer together than this are sent together.
_TICK_S: Final = 0.005
#: Other tasks may run after so many messages that were due at once.
_BURST: Final = 200


@dataclass(slots=True)
class PublishSummary:
    """The result of `publish`.

    Attributes:
        by_topic: Number of acknowledged messages by topic of the contract.
        seconds: How long it took.
        last: When the last of them arrived, in simulated time.
        stopped: Whether `stop` was set.
        append_time: Topics that stamp records on arrival (`LogAppendTime`) and so replace our timestamps.
    """

    by_topic: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    last: datetime | None = None
    stopped: bool = False
    append_time: frozenset[str] = frozenset()

    @property
    def sent(self) -> int:
        """The number of acknowledged messages."""
        return self.by_topic.total()


async def publish(
    settings: Settings,
    messages: Iterable[TimedMessage],
    *,
    rate: float | None = None,
    speed: float = 1.0,
    live_at: datetime | None = None,
    wall_clock: bool = False,
    until: datetime | None = None,
    limit: int | None = None,
    stop: asyncio.Event | None = None,
) -> PublishSummary:
    """Send messages to their topics; `Pace` explains `rate`, `speed`, `live_at` and `wall_clock`.

    A record's timestamp is the message's `received_at`. Topics with `LogAppendTime`, as in production, replace it:
    there a backfill arrives "now", and at a speed other than 1 event times drift away from record times. For a demo
    with a past make the input topics with `CreateTime`; even then a broker refuses timestamps more than
    `message.timestamp.after.max.ms` (an hour) ahead.

    Args:
        settings: Where Kafka is, and the names of topics.
        messages: In order of arrival; may be endless.
        rate: Messages a second, or None.
        speed: Simulated seconds a second; 0 is as fast as possible.
        live_at: Where a backfill ends.
        wall_clock: Whether `live_at` is a time of the real clock.
        until: Messages that arrive from this simulated time on are not sent.
        limit: Not more messages than this.
        stop: Ends it early; messages sent before are still delivered.

    Returns:
        The messages that the broker has acknowledged.

    Raises:
        PublishError: Kafka cannot be reached, lacks a topic or refuses a message; a sentence for people.
    """
    pace = Pace(rate=rate, speed=speed, live_at=live_at, wall_clock=wall_clock)
    stop = stop or asyncio.Event()
    summary = PublishSummary(append_time=await append_time_topics(settings))
    producer = _producer(settings)
    delivery = _Delivery(producer, settings, summary)
    began = time.monotonic()
    try:
        await _reach(producer, settings)
        for number, message in enumerate(messages):
            if (until and message.received_at >= until) or (limit is not None and delivery.given >= limit):
                break
            await _wait(pace.wait(message), number, stop)
            if stop.is_set():
                break
            await delivery.send(message)
        await delivery.finish()
    finally:
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(producer.stop(), _STOP_S)
        summary.seconds = time.monotonic() - began
        summary.stopped = stop.is_set()
    return summary


def _producer(settings: Settings) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=settings.brokers,
        client_id="dialysis-simulator",
        enable_idempotence=True,
        linger_ms=5,
        max_batch_size=256 * 1024,
        max_request_size=settings.max_message_bytes,
    )


class _Delivery:
    """Hands messages to the producer, counts acknowledgements and keeps a failure."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings, summary: PublishSummary) -> None:
        self._producer = producer
        self._topics = {name: settings.topic(name) for name in PATIENT_TOPICS}
        self._summary = summary
        self._failure: BaseException | None = None
        self.given = 0

    async def send(self, message: TimedMessage) -> None:
        if self._failure:
            raise _worded(self._failure)
        try:
            future = await self._producer.send(
                self._topics[message.topic],
                message.value,
                message.key.encode(),
                timestamp_ms=round(message.received_at.timestamp() * 1000),
            )
        except KafkaError as error:
            raise _worded(error) from error
        self.given += 1

        def done(finished: "asyncio.Future[Any]") -> None:
            if finished.cancelled():
                return
            if error := finished.exception():
                self._failure = error
                return
            self._summary.by_topic[message.topic] += 1
            if self._summary.last is None or message.received_at > self._summary.last:
                self._summary.last = message.received_at

        future.add_done_callback(done)

    async def finish(self) -> None:
        """Wait until the broker has acknowledged all messages."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._producer.flush(), _STOP_S)
        if self._failure:
            raise _worded(self._failure)
        missing = self.given - self._summary.sent
        if missing:
            raise PublishError(f"Kafka has not acknowledged the last {missing} messages within {_STOP_S:g} s.")


async def _reach(producer: AIOKafkaProducer, settings: Settings) -> None:
    try:
        await asyncio.wait_for(producer.start(), _START_S)
    except (KafkaConnectionError, TimeoutError) as error:
        raise PublishError.unreachable(settings) from error


async def _wait(seconds: float, number: int, stop: asyncio.Event) -> None:
    """Wait until a message is due, or `stop` is set; messages that are due at once give way after every burst."""
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(seconds, _TICK_S))
    elif number % _BURST == 0:
        await asyncio.sleep(0)


def _worded(error: BaseException) -> PublishError:
    if isinstance(error, InvalidTimestampError):
        return PublishError(
            "Kafka refuses timestamps that far from its clock: use a lower speed, a start in the past, "
            "or topics with LogAppendTime."
        )
    return PublishError(f"Kafka did not take a message: {error or type(error).__name__}.")

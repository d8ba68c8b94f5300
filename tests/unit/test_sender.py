"""What is repeated when the broker fails, and in which order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from streams.worker import sender
from streams.worker.sender import NeverSendsError, Outgoing, Sender, UnsentError


class FakeProducer:
    """Appends to logs, and fails the sends that it is told to fail: when asked, or later."""

    def __init__(self, *, at_once: dict[int, Exception] | None = None, later: dict[int, Exception] | None = None):
        self.at_once, self.later = at_once or {}, later or {}
        self.logs: dict[int, list[bytes]] = {}
        self.sends = 0
        self.topics = {"t"}
        self.partitions = {0, 1}
        self.metadata = True
        cluster = SimpleNamespace(topics=lambda: self.topics)
        self.client = SimpleNamespace(force_metadata_update=self._update, cluster=cluster)

    async def _update(self) -> bool:
        return self.metadata

    async def partitions_for(self, topic: str) -> set[int]:
        return self.partitions

    async def send(self, topic: str, value: Any, key: Any, partition: int, headers: Any) -> asyncio.Future[object]:
        self.sends += 1
        if (error := self.at_once.pop(self.sends, None)) is not None:
            raise error
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if (error := self.later.pop(self.sends, None)) is not None:
            future.set_exception(error)
        else:
            self.logs.setdefault(partition, []).append(value)
            future.set_result(None)
        return future


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "RETRY_SECONDS", 0)


async def send(producer: FakeProducer, *messages: Outgoing) -> None:
    await Sender(SimpleNamespace(kafka_producer=producer)).send_all(messages)  # type: ignore[arg-type]


def numbered(count: int, partition: int = 0) -> list[Outgoing]:
    return [Outgoing("t", b"k", b"%d" % n, partition=partition) for n in range(count)]


async def test_a_repeat_begins_at_the_first_that_failed() -> None:
    producer = FakeProducer(later={2: KafkaTimeoutError()})
    await send(producer, *numbered(4))
    # 1 failed while 2 and 3 got through: all three come again, so that 3 is the last in the log.
    assert producer.logs == {0: [b"0", b"2", b"3", b"1", b"2", b"3"]}


async def test_another_partition_is_not_repeated() -> None:
    producer = FakeProducer(later={1: KafkaConnectionError()})
    await send(producer, *numbered(1), *numbered(2, partition=1))
    assert producer.logs == {0: [b"0"], 1: [b"0", b"1"]}


async def test_what_could_not_even_be_queued_is_repeated() -> None:
    producer = FakeProducer(at_once={2: KafkaTimeoutError()})
    await send(producer, *numbered(3))
    assert producer.logs == {0: [b"0", b"1", b"2"]}


async def test_the_key_chooses_the_partition_as_java_does() -> None:
    producer = FakeProducer()
    await send(producer, *(Outgoing("t", key, key) for key in (b"patient-1", b"patient-2", b"patient-3", b"21")))
    placed = {value: partition for partition, values in producer.logs.items() for value in values}
    # murmur2(b"21") is -973932308 in Kafka's own tests (UtilsTest), 1173551340 without its sign bit.
    assert placed[b"21"] == (-973932308 & 0x7FFFFFFF) % 2


@pytest.mark.parametrize(
    "error", [MessageSizeTooLargeError(), TopicAuthorizationFailedError("t"), AssertionError("Unrecognized partition")]
)
async def test_what_is_hopeless_is_not_repeated(error: Exception) -> None:
    producer = FakeProducer(at_once={1: error})
    with pytest.raises(NeverSendsError):
        await send(producer, *numbered(1))
    assert producer.sends == 1


async def test_an_unknown_topic_is_hopeless_only_if_a_broker_says_so() -> None:
    producer = FakeProducer(at_once={1: UnknownTopicOrPartitionError()})
    producer.metadata = False  # nobody answered
    await send(producer, *numbered(1))
    assert producer.logs == {0: [b"0"]}
    producer = FakeProducer(at_once={1: UnknownTopicOrPartitionError()})
    producer.topics = set()
    with pytest.raises(NeverSendsError, match="topic t does not exist"):
        await send(producer, *numbered(1))


async def test_a_producer_at_its_end_is_not_asked_again() -> None:
    with pytest.raises(ProducerClosed):
        await send(FakeProducer(at_once={1: ProducerClosed()}), *numbered(1))


async def test_nothing_to_send() -> None:
    producer = FakeProducer()
    await send(producer)
    assert producer.sends == 0


class Narrow(FakeProducer):
    """A topic that takes no value longer than two bytes; what is sent with such a one in a batch fails, too."""

    async def send(self, topic: str, value: Any, key: Any, partition: int, headers: Any) -> asyncio.Future[object]:
        future = await super().send(topic, value, key, partition, headers)
        if len(value) > 2:
            self.logs[partition].pop()
            future = asyncio.get_running_loop().create_future()
            future.set_exception(MessageSizeTooLargeError())
        return future


async def test_one_that_is_too_large_does_not_hold_back_the_others() -> None:
    producer = Narrow()
    messages = [*numbered(3), Outgoing("t", b"k", b"large", partition=0), *numbered(2), *numbered(1, partition=1)]
    with pytest.raises(UnsentError) as raised:
        await send(producer, *messages)
    assert [message.value for message in raised.value.messages] == [b"large"]
    assert producer.logs[0][-2:] == [b"0", b"1"]
    assert producer.logs[1] == [b"0"]


async def test_several_that_are_too_large_are_all_named() -> None:
    messages = [Outgoing("t", b"k", value, partition=0) for value in (b"large1", b"1", b"large2", b"large3", b"2")]
    producer = Narrow()
    with pytest.raises(UnsentError) as raised:
        await send(producer, *messages)
    assert [message.value for message in raised.value.messages] == [b"large1", b"large2", b"large3"]
    assert set(producer.logs[0]) == {b"1", b"2"}
    assert producer.logs[0][-1] == b"2"

"""Listing and redriving dead letters on a real Kafka."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import ConsumerRecord

from models.settings import Settings
from streams.commands.dead_letters import list_dead_letters
from streams.commands.redrive import redrive
from streams.kafka.clients import Record, consumer_client, producer_client, read_to_end
from streams.kafka.dead_letter import dead_letter
from streams.kafka.topic_setup import ensure_topics

LABS, MACHINES = "lab-results", "machine-events"
PARTITIONS = 3


@dataclass
class Unit:
    """A set of topics of its own, to write dead letters to and read inputs from."""

    settings: Settings
    offsets: dict[str, int] = field(default_factory=dict)

    def unusable(self, topic: str, key: bytes | None, value: bytes | None, reason: str, **more: Any) -> None:
        """A worker could not use a record."""
        offset = self.offsets[topic] = self.offsets.get(topic, -1) + 1
        record: Record = ConsumerRecord(
            self.settings.topic(topic), 1, offset, 0, 1, key, value, None, 0, 0, more.get("headers", ())
        )
        letter = dead_letter(record, reason, f"{reason} in field x", more.get("limit", 64 * 1024))
        self.send(self.settings.topic("dead-letters"), letter.key, letter.value, list(letter.headers))

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        async def run() -> None:
            async with producer_client(self.settings) as producer:
                await producer.send_and_wait(topic, value=value, key=key, headers=headers)

        asyncio.run(run())

    def inputs(self, topic: str) -> list[Record]:
        async def run() -> list[Record]:
            async with consumer_client(self.settings) as consumer:
                read = read_to_end(consumer, self.settings.topic(topic), PARTITIONS)
                return [record async for records in read for record in records]

        return asyncio.run(run())

    def values(self, topic: str) -> list[bytes | None]:
        return sorted((record.value for record in self.inputs(topic)), key=lambda value: value or b"")


@pytest.fixture
def unit(bootstrap: str) -> Unit:
    name = uuid4().hex[:8]
    settings = Settings(
        brokers=bootstrap,
        topic_prefix=f"{name}.",
        group=f"group-{name}",
        partitions=PARTITIONS,
        max_message_bytes=1048576,
    )
    asyncio.run(ensure_topics(settings))
    return Unit(settings)


def test_the_list_counts_by_reason_and_topic(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_dead_letters(unit.settings) == 0
    assert capsys.readouterr().out == "No dead letters.\n"
    for number in range(3):
        unit.unusable(LABS, b"secret-%d" % number, b'{"name": "Miller"}', "missing_field")
    unit.unusable(MACHINES, b"secret-9", b"{", "invalid_json", headers=(("dl_redriven", b"0:1"),))
    unit.unusable(MACHINES, b"secret-9", b"x" * 200, "invalid_json", limit=100)
    unit.send(unit.settings.topic("dead-letters"), b"k", b"not ours", [])

    assert list_dead_letters(unit.settings) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    assert rows[1][:5] == ["missing_field", unit.settings.topic(LABS), "3", "0", "0"]
    assert rows[2][:5] == ["invalid_json", unit.settings.topic(MACHINES), "2", "1", "1"]
    assert rows[1][-4:] == ["missing_field", "in", "field", "x"]
    assert "1 messages there are not dead letters of ours." in printed
    assert "Miller" not in printed
    assert "secret" not in printed

    assert list_dead_letters(unit.settings, reason="invalid_json") == 0
    assert "missing_field" not in capsys.readouterr().out


def test_redrive_restores_topic_key_and_value_once(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(20):
        unit.unusable(LABS, b"p-%d" % number, b"value-%d" % number, "unknown_type", headers=(("trace", b"7"),))
    unit.unusable(MACHINES, None, b"no key", "key_mismatch")
    unit.unusable(MACHINES, b"p-1", None, "empty")

    assert redrive(unit.settings, dry_run=True) == 0
    assert capsys.readouterr().out == "22 would be published again.\n"
    assert unit.inputs(LABS) == []

    assert redrive(unit.settings) == 0
    assert capsys.readouterr().out == "22 published again.\n"
    back = unit.inputs(LABS)
    assert {(record.key, record.value) for record in back} == {(b"p-%d" % n, b"value-%d" % n) for n in range(20)}
    every = list(range(PARTITIONS))
    for record in back:
        assert record.partition == DefaultPartitioner()(record.key, every, every)
        headers = dict(record.headers)
        assert set(headers) == {"trace", "dl_redriven"}
        partition, _, offset = headers["dl_redriven"].partition(b":")
        assert int(partition) in every
        assert int(offset) >= 0
    machines = {record.value: record for record in unit.inputs(MACHINES)}
    assert machines[b"no key"].partition == 1
    assert machines[None].key == b"p-1"

    assert redrive(unit.settings) == 0
    assert capsys.readouterr().out == "0 published again.\n"
    unit.unusable(LABS, b"p-1", b"later", "unknown_type")
    assert redrive(unit.settings) == 0
    assert len(unit.inputs(LABS)) == 21


def test_a_filter_marks_only_its_own_as_done(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    for key in (b"p-1", b"p-2", b"p-3"):
        unit.unusable(LABS, key, b"a" + key, "wrong_type")
        unit.unusable(LABS, key, b"b" + key, "missing_field")
        unit.unusable(MACHINES, key, b"c" + key, "wrong_type")
    labs = unit.settings.topic(LABS)

    def sent(**filters: Any) -> str:
        assert redrive(unit.settings, **filters) == 0
        return capsys.readouterr().out

    assert sent(reason="wrong_type", topic=labs) == "3 published again.\n"
    assert sent(reason="wrong_type", topic=labs) == "0 published again.\n"
    assert unit.values(LABS) == [b"ap-1", b"ap-2", b"ap-3"]
    assert sent(reason="wrong_type") == "3 published again.\n"
    assert unit.values(MACHINES) == [b"cp-1", b"cp-2", b"cp-3"]
    assert sent(topic=labs) == "3 published again.\n"
    assert sent() == "0 published again.\n"
    unit.unusable(LABS, b"p-1", b"new", "wrong_type")
    assert sent() == "1 published again.\n"
    assert sent(reason="wrong_type") == "0 published again.\n"
    assert unit.values(LABS) == [b"ap-1", b"ap-2", b"ap-3", b"bp-1", b"bp-2", b"bp-3", b"new"]


def test_what_cannot_be_sent_is_said_and_does_not_stop_the_rest(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    unit.unusable(LABS, b"p-1", b"x" * 200, "invalid_json", limit=100)
    unit.unusable("alerts.session", b"p-1", b"{}", "invalid_json")
    unit.send(unit.settings.topic("dead-letters"), b"p-1", b"not ours", [])
    unit.unusable(LABS, b"p-1", b"y" * 1_100_000, "invalid_json", limit=1_200_000)
    unit.unusable(LABS, b"p-1", b"good", "invalid_json")
    assert redrive(unit.settings) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 published again."
    assert sorted(line.partition(":")[0] for line in lines[1:]) == ["1 not sent", "1 skipped", "2 skipped"]
    assert unit.values(LABS) == [b"good"]
    assert redrive(unit.settings) == 0
    assert unit.values(LABS) == [b"good"]


def test_a_forged_dead_letter_is_passed_over_and_named(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    labs, active = unit.settings.topic(LABS), unit.settings.topic("alerts.active")
    letters = unit.settings.topic("dead-letters")

    def headers(topic: str, partition: bytes) -> list[tuple[str, bytes]]:
        named = ("dl_topic", topic.encode()), ("dl_partition", partition), ("dl_offset", b"1")
        return [*named, ("dl_reason", b"invalid_json"), ("dl_detail", b"x")]

    for partition in (b"-5", b"99999999999", "\u0663".encode()):
        unit.send(letters, None, b"forged", headers(labs, partition))
    unit.send(letters, b"k", b"forged", headers(active, b"0"))
    unit.unusable(LABS, b"p-1", b"good", "invalid_json")
    assert redrive(unit.settings) == 0
    said = capsys.readouterr()
    assert said.out == "1 published again.\n4 skipped: not dead letters of an input topic.\n"
    assert said.err.count("is passed over: its headers are not those of a dead letter.") == 3
    assert f"is passed over: {active} is no input topic." in said.err
    assert unit.values(LABS) == [b"good"]
    assert unit.inputs("alerts.active") == []
    assert redrive(unit.settings) == 0
    assert capsys.readouterr().out == "0 published again.\n"


@pytest.mark.parametrize("filters", [{"reason": "Not A Reason"}, {"topic": "lab-results"}, {"topic": "x.alerts.unit"}])
def test_a_filter_that_cannot_be_right_is_wrong_use(unit: Unit, filters: dict[str, str]) -> None:
    assert redrive(unit.settings, **filters) == 2  # type: ignore[arg-type]


def test_without_topic_or_broker_it_says_so(bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(brokers=bootstrap, topic_prefix=f"{uuid4().hex[:8]}.")
    for command in (list_dead_letters, redrive):
        assert command(settings) == 1
        assert "`dialysis-alerts topics --create` makes it." in capsys.readouterr().err
    nowhere = Settings(brokers="127.0.0.1:1")
    for command in (list_dead_letters, redrive):
        assert command(nowhere) == 1
        assert capsys.readouterr().err.startswith("No Kafka broker answers at 127.0.0.1:1")

"""The `topics` command against a real Kafka."""

import asyncio
from uuid import uuid4

import pytest
from aiokafka.admin import NewTopic

from models.settings import Settings
from models.topics import PATIENT_TOPICS, all_topics
from streams.commands import topics
from streams.kafka.clients import admin_client, partition_counts
from streams.kafka.topic_setup import ensure_topics, wanted_topics
from streams.transport import PartitionCountError, check_partitions


@pytest.fixture
def settings(bootstrap: str) -> Settings:
    name = uuid4().hex[:8]
    return Settings(brokers=bootstrap, topic_prefix=f"{name}.", group=f"group-{name}", partitions=2)


async def make(settings: Settings, name: str, partitions: int, config: dict[str, str]) -> None:
    wanted = NewTopic(name, partitions, 1, topic_configs=config)
    async with admin_client(settings) as admin:
        await admin.create_topics([wanted])


async def counts(settings: Settings) -> dict[str, int]:
    async with admin_client(settings) as admin:
        present = await partition_counts(admin)
    return {
        name: number for name, number in present.items() if name.startswith((settings.topic_prefix, settings.group))
    }


def test_it_makes_every_topic_once(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert topics.create(settings) == 0
    number = len(all_topics(settings.group, settings.max_message_bytes))
    first = capsys.readouterr()
    assert f"{number} created, 0 were there." in first.out
    assert not first.err
    present = asyncio.run(counts(settings))
    assert len(present) == number
    assert {present[settings.topic(name)] for name in (*PATIENT_TOPICS, "alerts.active", "sessions.active")} == {2}
    assert present[f"{settings.group}-patients-changelog"] == 2
    assert present[settings.topic("worker-status")] == present[settings.topic("alerts.unit")] == 1

    assert topics.create(settings) == 0
    again = capsys.readouterr()
    assert again.out == f"0 created, {number} were there.\n"
    assert not again.err


async def test_two_at_a_time_make_each_topic_once(settings: Settings) -> None:
    one, two = await asyncio.gather(ensure_topics(settings), ensure_topics(settings))
    names = {topic.name for topic in wanted_topics(settings)}
    assert set(one.created) | set(two.created) == names
    assert not set(one.created) & set(two.created)
    assert not one.differences + two.differences + one.notes + two.notes


async def test_a_demo_lets_producers_give_the_time(settings: Settings) -> None:
    made = await ensure_topics(settings, producer_time=True)
    assert made.created
    again = await ensure_topics(settings, producer_time=True)
    assert not again.created + again.differences + again.notes
    ordinary = await ensure_topics(settings)
    wanted = "has message.timestamp.type=CreateTime, LogAppendTime is wanted."
    assert sorted(ordinary.notes) == sorted(f"{settings.topic(name)} {wanted}" for name in PATIENT_TOPICS)


def test_a_wrong_partition_count_and_cleanup_policy_are_said(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    labs, active = settings.topic("lab-results"), settings.topic("alerts.active")
    asyncio.run(make(settings, labs, 3, {"message.timestamp.type": "LogAppendTime"}))
    asyncio.run(make(settings, active, 2, {"cleanup.policy": "delete"}))
    assert topics.create(settings) == 1
    printed = capsys.readouterr()
    assert f"{labs} has 3 partitions, 2 are wanted." in printed.err
    assert f"{active} has cleanup.policy=delete, compact is wanted." in printed.err
    assert f"note: {labs} has retention.ms=" in printed.out
    assert "timestamp" not in printed.out + printed.err
    assert asyncio.run(counts(settings))[labs] == 3


def test_a_topic_that_takes_too_small_messages_is_named_with_the_fix(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    alerts, labs = settings.topic("alerts.session"), settings.topic("lab-results")
    asyncio.run(make(settings, alerts, 2, {"max.message.bytes": "2000"}))
    asyncio.run(make(settings, labs, 2, {"max.message.bytes": "2000", "message.timestamp.type": "LogAppendTime"}))
    assert topics.create(settings) == 1
    printed = capsys.readouterr()
    assert f"{alerts} takes messages of 2000 bytes, 131072 are needed: `kafka-configs.sh" in printed.err
    assert f"note: {labs} has max.message.bytes=2000," in printed.out, "an input may be as small as a site likes"
    wanted = {topic.name: topic.spec for topic in wanted_topics(settings)}
    needs = {name: spec.needs for name, spec in wanted.items() if spec.needs}
    with pytest.raises(PartitionCountError, match=r"alerts\.session takes messages of 2000 bytes") as raised:
        asyncio.run(check_partitions(settings, dict.fromkeys(wanted), needs))
    assert str(raised.value).count("takes messages") == 1


def test_a_refusal_is_one_sentence(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert topics.create(settings.model_copy(update={"replication": 3})) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"Kafka refused to create {settings.topic_prefix}")
    assert "replication factor" in printed.lower()
    assert printed.count("\n") == 1


def test_no_broker_is_one_sentence(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    assert topics.create(settings.model_copy(update={"brokers": "127.0.0.1:1"})) == 1
    printed = capfd.readouterr()
    assert printed.err == "No Kafka broker answers at 127.0.0.1:1: is it running, and is DIALYSIS_BROKERS right?\n"
    assert not printed.out


def test_show_asks_no_broker(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert topics.show(settings.model_copy(update={"brokers": "127.0.0.1:1"})) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["topic", "key", "partitions", "replicas", "carries", "settings"]
    labs = next(line for line in lines if line.startswith(settings.topic("lab-results") + " "))
    assert labs.split()[:5] == [settings.topic("lab-results"), "patient_id", "2", "1", "lab_result"]
    assert "message.timestamp.type=LogAppendTime" in labs
    assert any(line.startswith(f"{settings.group}-loops-changelog ") for line in lines)

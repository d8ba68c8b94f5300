"""The required topics, and making them on a broker."""

from dataclasses import dataclass, field, replace
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code
from tenacity import retry, retry_if_result, stop_after_delay, wait_exponential

from models.settings import Settings
from models.topics import ALERTS_UNIT, MAX_MESSAGE, PATIENT_TOPICS, WORKER_STATUS, TopicSpec, all_topics, too_small
from streams.kafka.clients import KafkaFailedError, admin_client, explained, partition_counts

#: A busy controller, or one that had to start a broker, needs time; a caller that makes topics can wait.
_LEADERS_S: Final = 60.0
#: One order for all readers matters more here than capacity: a unit's alerts are few, a status is 5 s apart.
_SINGLE: Final = (ALERTS_UNIT, WORKER_STATUS)
_CHECKED: Final = "cleanup.policy"
_PRODUCER_TIME: Final = {"message.timestamp.type": "CreateTime"}


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic as this deployment requires it."""

    name: str
    partitions: int
    spec: TopicSpec


@dataclass(slots=True)
class Outcome:
    """The result of `ensure_topics`.

    Attributes:
        created: Names of topics that it made.
        existing: Names of topics that existed before.
        differences: A sentence for each reason why a topic cannot be used as it is.
        notes: A sentence for each setting that somebody chose otherwise.
    """

    created: list[str] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def wanted_topics(settings: Settings) -> list[WantedTopic]:
    """List every topic with its full name and number of partitions.

    Inputs, changelogs and the topics of open alerts and running sessions (`alerts.active`, `sessions.active`) have the
    patient topics' number: partition n of all belongs to one task. The alert families have it because readers may join
    them by patient, `dead-letters` and `ingest` because, when a gateway fails, they carry as much as the inputs.
    """
    return [
        WantedTopic(
            name=spec.name if spec.internal else settings.topic(spec.name),
            partitions=1 if spec.name in _SINGLE else settings.partitions,
            spec=spec,
        )
        for spec in all_topics(settings.group, settings.max_message_bytes)
    ]


async def ensure_topics(settings: Settings, *, producer_time: bool = False) -> Outcome:
    """Make the missing topics and check the others.

    Safe to repeat and to run from several places at once: the slower one finds the topic made. When it returns, the
    broker knows all of them.

    Args:
        settings: Where the broker is, and the names of topics.
        producer_time: Let the patient topics keep the timestamps of producers, for a past that is sent afterwards.
            Never in production: the clock of a task follows them (docs/decisions/0006-event-time-and-task-clock.md).

    Raises:
        KafkaFailedError: The broker does not answer, or refuses to make a topic.
    """
    outcome = Outcome()
    wanted = wanted_topics(settings)
    if producer_time:
        wanted = [_with_producer_time(topic) for topic in wanted]
    async with explained(settings), admin_client(settings) as admin:
        present = await partition_counts(admin)
        missing = [topic for topic in wanted if topic.name not in present]
        if missing:
            outcome.created = await _create(admin, missing, settings.replication)
            present = await _wait_until_known(admin, {topic.name for topic in wanted})
        outcome.existing = [topic.name for topic in wanted if topic.name not in outcome.created]
        configs = await topic_settings(admin, outcome.existing)
    for topic in wanted:
        if topic.name in configs:
            _compare(topic, present[topic.name], configs[topic.name], outcome)
    return outcome


def _with_producer_time(topic: WantedTopic) -> WantedTopic:
    if topic.spec.name not in PATIENT_TOPICS:
        return topic
    return replace(topic, spec=replace(topic.spec, config=topic.spec.config | _PRODUCER_TIME))


def _compare(topic: WantedTopic, partitions: int, config: dict[str, str | None], outcome: Outcome) -> None:
    if partitions != topic.partitions:
        outcome.differences.append(f"{topic.name} has {partitions} partitions, {topic.partitions} are wanted.")
    small = too_small(topic.name, config.get(MAX_MESSAGE), topic.spec.needs)
    if small:
        outcome.differences.append(f"{small}.")
    for key, value in topic.spec.config.items():
        found = config.get(key)
        if found == value or (key == MAX_MESSAGE and small):
            continue
        sentence = f"{topic.name} has {key}={found}, {value} is wanted"
        if key == _CHECKED:
            outcome.differences.append(f"{sentence}.")
        else:
            outcome.notes.append(f"{sentence}.")


async def _create(admin: AIOKafkaAdminClient, topics: list[WantedTopic], replication: int) -> list[str]:
    requests = [
        NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.spec.config) for topic in topics
    ]
    response = (await admin.create_topics(requests)).to_object()
    created, refused = [], []
    for answer in response["topic_errors"]:
        name, code, message = answer["topic"], answer["error_code"], answer["error_message"]
        if code == 0:
            created.append(name)
        elif code != TopicAlreadyExistsError.errno:
            refused.append(f"{name} ({message or for_code(code).description})")
    if refused:
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        raise KafkaFailedError(f"Kafka refused to create {refused[0]}{more}.")
    return created


async def _wait_until_known(admin: AIOKafkaAdminClient, names: set[str]) -> dict[str, int]:
    """Wait until the brokers know the topics that the controller has made."""

    @retry(
        retry=retry_if_result(lambda present: not names <= present.keys()),
        stop=stop_after_delay(_LEADERS_S),
        wait=wait_exponential(multiplier=0.05, max=1.0),
        retry_error_callback=lambda _state: None,
    )
    async def look() -> dict[str, int] | None:
        return await partition_counts(admin)

    present = await look()
    if present is None:
        raise KafkaFailedError(f"Kafka made the topics, but not all have a leader after {_LEADERS_S:.0f} s.")
    return present


async def topic_settings(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str | None]]:
    """Return the settings of topics, by name."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found: dict[str, dict[str, str | None]] = {}
    for answer in await admin.describe_configs(resources):
        for resource in answer.to_object()["resources"]:
            name = resource["resource_name"]
            if resource["error_code"]:
                raise KafkaFailedError(f"Kafka does not tell the settings of {name}: {resource['error_message']}.")
            found[name] = {entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]}
    return found

"""The topics of a unit under test: their names, settings and partitions, and what its group has committed."""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.partitioner import DefaultPartitioner

from models.settings import Settings
from models.topics import UNIT_SIGNALS
from streams.kafka.topic_setup import ensure_topics, wanted_topics
from tests.integration.worker_process import until

_Admin: Any = AIOKafkaAdminClient
_partition_of = DefaultPartitioner()


@dataclass
class UnitTopics:
    """Topics with a prefix of their own, and a consumer group of its own.

    Args:
        own_time: the patient topics take the time of a record from its producer, as a backfill needs it.
        environment: more settings for the workers.
    """

    bootstrap: str
    partitions: int = 2
    own_time: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    name: str = field(default_factory=lambda: f"ut-{uuid.uuid4().hex[:8]}")

    @functools.cached_property
    def settings(self) -> Settings:
        return Settings(
            brokers=self.bootstrap,
            topic_prefix=f"{self.name}.",
            group=self.name,
            partitions=self.partitions,
            **{name.removeprefix("DIALYSIS_").lower(): value for name, value in self.environment.items()},  # type: ignore[arg-type]
        )

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return self.settings.topic(name)

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncIterator[Any]:
        """An admin client."""
        admin = _Admin(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def configure(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Change settings of topics, named as in the contract; a changelog by its full name."""
        async with self.admin() as admin:
            for name, values in configs.items():
                topic = name if name.endswith("-changelog") else self.topic(name)
                described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
                entries = described[0].to_object()["resources"][0]["config_entries"]
                kept = {e["config_names"]: e["config_value"] for e in entries if e["config_source"] == 1}
                resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=kept | dict(values))
                await admin.alter_configs([resource])

    async def recreate(self, *names: str) -> None:
        """Delete topics of the contract and make them anew, empty."""
        full = {self.topic(name) for name in names}
        async with self.admin() as admin:
            await admin.delete_topics(list(full))

            async def gone() -> bool:
                return not full & set(await admin.list_topics())

            await until(gone, 20, "the topics to be gone")
        await until(self._made, 20, "the topics to be made anew", every=0.3)

    async def remove(self) -> None:
        """Delete all its topics: a broker that serves many units stays small."""
        async with self.admin() as admin:
            await admin.delete_topics([topic.name for topic in wanted_topics(self.settings)])

    async def _made(self) -> bool:
        outcome = await ensure_topics(self.settings, producer_time=self.own_time)
        return not outcome.created  # made in an earlier round, and still there

    def place(self, key: bytes) -> int:
        """The partition where a key belongs."""
        numbers = list(range(self.partitions))
        return int(_partition_of(key, numbers, numbers))

    def subjects(self, count: int, prefix: str = "p", partition: int | None = None) -> list[str]:
        """Names of patients (or loops) that belong on a partition, or on all in turn."""
        found: list[str] = []
        number = 0
        while len(found) < count:
            wanted = len(found) % self.partitions if partition is None else partition
            if self.place(f"{prefix}{number}".encode()) == wanted:
                found.append(f"{prefix}{number}")
            number += 1
        return found

    async def committed(self) -> dict[Any, int]:
        """The group's offsets of the input topics."""
        try:
            async with self.admin() as admin:
                found = await admin.list_consumer_group_offsets(self.settings.group)
        except GroupCoordinatorNotAvailableError:  # for a moment, of a group that nobody has joined yet
            return {}
        return {tp: entry.offset for tp, entry in found.items() if tp.topic.startswith(self.name + ".")}

    async def handled(self) -> int:
        """How many records of the patient topics are behind the committed offsets."""
        committed = (await self.committed()).items()
        return sum(max(0, offset) for tp, offset in committed if tp.topic != self.topic(UNIT_SIGNALS))

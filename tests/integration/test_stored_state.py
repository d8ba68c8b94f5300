"""Stored state that was broken, deleted or outgrown, on a real Kafka with a real worker."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewPartitions

from models.settings import Settings
from streams.kafka.clients import admin_client, consumer_client, read_to_end
from streams.kafka.topic_setup import ensure_topics
from tests.integration.worker_process import WorkerProcess

PARTITIONS = 2
#: Above whatever a worker has written.
STAMP = [("s", struct.pack(">HIQ", 60_000, 1, 1))]
BAD = {
    b"x-truncated": b'{"id":"x-truncated","schema_ver',
    b"x-empty": b"",
    b"x-list": b"[1]",
    b"x-id": b'{"id":"p1","schema_version":2,"heard_at":"2026-11-25T00:00:00Z"}',
    b"x-version": b'{"id":"x-version","schema_version":"2","heard_at":"2026-11-25T00:00:00Z"}',
    b"\xfe\xff": b"hello",
    b"\xffclock": b'{"now":"9999-12-31T23:59:59Z"}',
    b"#clock": b"garbage",
}


class Site:
    """Topics, settings and a worker of one deployment."""

    def __init__(self, bootstrap: str) -> None:
        name = uuid4().hex[:8]
        self.settings = Settings(brokers=bootstrap, topic_prefix=f"{name}.", group=f"g-{name}", partitions=PARTITIONS)
        self.environment = {
            "DIALYSIS_BROKERS": bootstrap,
            "DIALYSIS_TOPIC_PREFIX": f"{name}.",
            "DIALYSIS_GROUP": f"g-{name}",
            "DIALYSIS_PARTITIONS": str(PARTITIONS),
            "DIALYSIS_HTTP": "127.0.0.1:0",
        }
        self.workers: list[WorkerProcess] = []

    @property
    def changelog(self) -> str:
        return f"{self.settings.group}-patients-changelog"

    def start(self, **more: str) -> WorkerProcess:
        worker = WorkerProcess(self.environment | more)
        self.workers.append(worker)
        return worker

    async def send(self, topic: str, *records: tuple[bytes, bytes, int | None], **more: Any) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.brokers)
        await producer.start()
        try:
            for key, value, partition in records:
                await producer.send_and_wait(topic, value, key, partition=partition, **more)
        finally:
            await producer.stop()

    async def labs(self, *patients: str) -> None:
        now = datetime.now(UTC).isoformat()
        await self.send(
            self.settings.topic("lab-results"),
            *(
                (
                    patient.encode(),
                    json.dumps(
                        {
                            "type": "lab_result",
                            "patient_id": patient,
                            "at": now,
                            "result_id": f"r-{patient}",
                            "analyte": "magnesium",
                            "value": 0.5,
                            "unit": "mg/dL",
                        }
                    ).encode(),
                    None,
                )
                for patient in patients
            ),
        )

    async def read(self, topic: str, partitions: int) -> list[Any]:
        async with consumer_client(self.settings) as consumer:
            return [record async for records in read_to_end(consumer, topic, partitions) for record in records]

    async def told(self) -> set[bytes]:
        name = self.settings.topic("alerts.low-magnesium")
        return {record.key for record in await self.read(name, PARTITIONS)}

    async def until_told(self, worker: WorkerProcess, *patients: str) -> None:
        async def look() -> bool:
            return {patient.encode() for patient in patients} <= await self.told()

        await worker.until(look, 20, f"alerts of {patients}")

    async def delete_records(self) -> None:
        """Empty the changelog: deleted and made anew."""
        async with admin_client(self.settings) as admin:
            await admin.delete_topics([self.changelog])
        made = await ensure_topics(self.settings)
        assert made.created == [self.changelog]


@pytest.fixture
async def site(bootstrap: str) -> Any:
    site = Site(bootstrap)
    await ensure_topics(site.settings)
    yield site
    for worker in site.workers:
        worker.kill()


async def test_broken_records_are_set_aside_once_and_all_others_alerted(site: Site) -> None:
    worker = await site.start().until_ready()
    old = [f"p{number}" for number in range(6)]
    await site.labs(*old)
    await site.until_told(worker, *old)
    await worker.stop()
    await site.send(site.changelog, *((key, value, 0) for key, value in BAD.items()), headers=STAMP)
    await site.send(site.changelog, (b"x-no-stamp", b"hello", 1))

    worker = await site.start().until_ready()
    await site.labs("n1", "n2", "n3")
    await site.until_told(worker, "n1", "n2", "n3")
    assert await worker.metric("dialysis_state_set_aside_total", table="patients") == len(BAD) + 1
    assert worker.said.count(f"{site.changelog}[0] offset ") == len(BAD)
    assert "x-truncated" not in worker.said
    letters = await site.read(site.settings.topic("dead-letters"), 1 + PARTITIONS - 1)
    assert {record.key: record.value for record in letters} == BAD | {b"x-no-stamp": b"hello"}
    await worker.stop()

    worker = await site.start(DIALYSIS_ON_BAD_STATE="stop").until_ready()  # nothing is left to stop at
    await worker.stop()
    assert len(await site.read(site.settings.topic("dead-letters"), PARTITIONS)) == len(letters)

    await site.send(site.changelog, (b"x-again", b"hello", 0), headers=[("s", struct.pack(">HIQ", 60_100, 1, 1))])
    worker = site.start(DIALYSIS_ON_BAD_STATE="stop")
    assert await worker.ended() == 1
    assert f"The changelog record {site.changelog}[0] offset" in worker.said
    assert "Traceback" not in worker.said


async def test_a_changelog_that_was_emptied_is_said_and_two_ways_lead_on(site: Site) -> None:
    worker = await site.start().until_ready()  # a fresh group
    await worker.stop()
    worker = await site.start().until_ready()  # one to which nothing came
    # One that read only what it could not use.
    await site.send(site.settings.topic("lab-results"), (b"p", b"\xff", None))

    async def letters() -> bool:
        return len(await site.read(site.settings.topic("dead-letters"), PARTITIONS)) == 1

    await worker.until(letters, 20, "the dead letters")
    await worker.stop()
    worker = await site.start().until_ready()
    await worker.stop()
    await site.delete_records()
    worker = site.start()
    assert await worker.ended() == 2
    (line,) = [line for line in worker.lines if "is empty" in line]
    assert f"The changelog {site.changelog} is empty" in line
    assert "--reset-offsets" in line
    assert "DIALYSIS_ON_LOST_STATE=continue" in line
    assert "Traceback" not in worker.said
    worker = await site.start(DIALYSIS_ON_LOST_STATE="continue").until_ready()
    await site.labs("n1")
    await site.until_told(worker, "n1")
    await worker.stop()
    await (await site.start().until_ready()).stop()


async def test_partitions_added_to_a_topic_are_said_at_once(site: Site) -> None:
    worker = await site.start().until_ready()
    name = site.settings.topic("lab-results")
    async with admin_client(site.settings) as admin:
        await admin.create_partitions({name: NewPartitions(total_count=4)})
    await worker.until_said(f"{name} has 4 partitions, not 2", 15)
    status, body = await worker.get("/readyz")
    assert status == 503
    assert f"{name} has 4 partitions, not 2" in body
    worker.kill()
    again = site.start()
    assert await again.ended() == 2
    assert f"{name} has 4 partitions, not 2" in again.said

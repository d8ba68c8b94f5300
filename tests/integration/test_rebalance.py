"""What a rebalance costs those who keep their partitions, and a record that a zombie left in the changelog."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from models.topics import changelog
from streams.transport.changelog import Stamp
from tests.integration.alert_records import matching
from tests.integration.messages import ago, lab, telemetry
from tests.integration.unit_under_test import SILENT, UnitUnderTest
from tests.integration.worker_process import WorkerProcess, until


@pytest.fixture
async def unit(bootstrap: str) -> AsyncIterator[UnitUnderTest]:
    async with UnitUnderTest(bootstrap, partitions=4, rules=SILENT) as made:
        yield made


async def test_partitions_that_stay_with_their_worker_are_not_read_again(unit: UnitUnderTest) -> None:
    patients = unit.subjects(40)
    await unit.publish([lab(patient, 1.5, ago(60)) for patient in patients])
    first = await unit.start_worker()
    await unit.until_told(count=40, rule="low_magnesium")
    await unit.until_done()
    before = len(await unit.read("alerts.active"))
    second = await unit.start_worker()
    await first.until_said(r"patients owns partitions \[.*\] \(2 kept\), 0 keys recovered")
    await second.until_said(r"patients owns partitions \[.*\] \(0 kept\), \d\d keys recovered")
    assert [await open_alerts(worker) for worker in (first, second)] == [20, 20]
    # Who takes a partition shows its open alerts again; who keeps one has nothing to say.
    assert len(await unit.read("alerts.active")) == before + 20
    # What is kept is what is stored: it goes on where it was, and so does who takes it next.
    await unit.publish([lab(patient, 2.1, ago(30)) for patient in patients[:20]])
    await unit.until_told(count=20, transition="resolved")
    await first.stop()
    await second.until_said(r"patients owns partitions \[0, 1, 2, 3\] \(2 kept\), \d\d keys recovered")
    await second.until_ready()
    assert await open_alerts(second) == 20
    await unit.publish([lab(patient, 2.1, ago(10)) for patient in patients[20:]])
    await unit.until_told(count=40, transition="resolved")
    assert {alert["revision"] for alert in matching(await unit.alerts())} == {1, 2}


async def open_alerts(worker: WorkerProcess) -> float:
    return await worker.metric("dialysis_alerts_active", rule="low_magnesium", priority="medium")


async def test_a_joining_worker_stops_the_others_for_less_than_a_second_and_a_half(unit: UnitUnderTest) -> None:
    first = await unit.start_worker()
    name = unit.subjects(1)[0]
    took: list[float] = []
    stop = asyncio.Event()

    async def ask() -> None:
        """A condition that comes and goes, twenty times a second; how long each alert takes."""
        number = 0
        while not stop.is_set():
            number += 1
            started = time.monotonic()
            transition = "raised" if number % 2 else "resolved"
            await unit.publish([lab(name, 1.5 if number % 2 else 2.1)])
            await unit.until_told(count=(number + 1) // 2, transition=transition)
            took.append(time.monotonic() - started)

    asking = asyncio.create_task(ask())
    await until(lambda: len(took) > 5, 10, "alerts")
    await unit.start_worker()
    await first.until_said(r"patients owns partitions .* \(2 kept\)")
    there = len(took)
    await until(lambda: len(took) > there + 5, 10, "alerts after the join")
    stop.set()
    await asking
    assert max(took) < 1.5


async def test_a_zombies_late_record_is_noticed_and_written_over(unit: UnitUnderTest) -> None:
    patient, other = unit.subjects(2, partition=1)
    worker = await unit.start_worker()
    await unit.publish([lab(patient, 1.5), telemetry(other, "s1")])
    await unit.until_told(rule="low_magnesium", transition="raised")
    await unit.until_done()
    name = changelog(unit.settings.group, "patients")
    await unit.publish_raw(name, 1, patient.encode(), b'{"id":"zombie"}', [Stamp(0, 0, 7).header()])
    await worker.until_said("keys were written by a worker that had lost the partition", 20)

    async def last() -> Any:
        records = [record for record in await unit.read(name) if record.key == patient.encode()]
        return re.search(b'"low_magnesium"', records[-1].value)

    await worker.until(last, 10, "our record after the zombie's")
    assert not re.search("failed", worker.said)


async def test_a_zombies_late_word_on_alerts_active_is_answered(unit: UnitUnderTest) -> None:
    patient = unit.subjects(1, partition=2)[0]
    worker = await unit.start_worker()
    await unit.publish([lab(patient, 1.5)])
    await unit.until_told(rule="low_magnesium", transition="raised")
    (raised,) = [record for record in await unit.read("alerts.active") if record.value]
    await unit.publish([lab(patient, 2.1)])
    await unit.until_told(rule="low_magnesium", transition="resolved")
    # Frozen before it could send what it had stored, and awake again.
    await unit.publish_raw(raised.topic, raised.partition, raised.key, raised.value, list(raised.headers))
    await worker.until_said("alerts on alerts.active were not as they are", 20)

    async def last() -> bool:
        records = [record for record in await unit.read("alerts.active") if record.key == raised.key]
        return b'"resolved"' in records[-1].value

    await worker.until(last, 10, "the owner's word after the zombie's")

"""`kill -9` in the middle, and everything else that ends a worker or a broker: nothing lost, nothing made up."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest

from models.topics import PATIENT_TOPICS
from streams.broker.kafka import EmbeddedKafka
from streams.kafka.topic_setup import ensure_topics
from tests.integration.alert_records import matching, repeats_are_identical
from tests.integration.messages import ago, lab, telemetry
from tests.integration.traffic import (
    OPEN,
    Record,
    busy_days,
    busy_unit,
    evaluated,
    everything_adds_up,
    reached,
    read_back,
    told_by_workers,
)
from tests.integration.unit_under_test import SILENT, UnitUnderTest
from tests.integration.worker_process import WorkerProcess, until


@pytest.mark.timeout(600)  # the events are played twice, and evaluated once beside it
async def test_kill_9_in_the_middle_of_100_000_waiting_events_loses_nothing(bootstrap: str) -> None:
    chance = random.Random(9)
    async with busy_unit(bootstrap, partitions=4) as unit:
        days = busy_days(unit, 100_000)
        await unit.publish(days.messages)
        killed_at = []
        for share in (0.1, 0.5):
            worker = unit.worker()
            async with unit.pulse(worker) as pulse:
                await reached(unit, worker, int(len(days.messages) * (share + 0.1 * chance.random())))
                await asyncio.sleep(chance.random() * 0.3)
                # Ready once recovered, though much is still to be done; alive all the time.
                await worker.is_ready()
                worker.kill()
            killed_at.append(await unit.handled())
            assert pulse.statuses == {200}
            assert pulse.longest_s < 5
        assert killed_at[-1] < len(days.messages), "the kills came too late to prove anything"
        worker = unit.worker()
        async with unit.pulse(worker) as pulse:
            await unit.until_done(90)
        assert pulse.statuses == {200}
        assert pulse.longest_s < 5
        assert len(days.expected.told) > 1_000
        await everything_adds_up(unit, days.expected)
        assert len(await unit.read("dead-letters")) >= days.expected.garbage > 100
        await worker.stop()
        assert not any(state.get("outbox") for state in (await unit.stored()).values())


async def test_kills_at_moments_of_chance(bootstrap: str) -> None:
    """While it starts, recovers, works: whenever."""
    chance = random.Random(4)
    # Small batches and slow checkpoints: much is unstored and unacknowledged at any moment.
    settings = {"DIALYSIS_BATCH_MAX": "100", "DIALYSIS_CHECKPOINT_INTERVAL": "0.7"}
    async with busy_unit(bootstrap, partitions=2, environment=settings) as unit:
        days = busy_days(unit, 15_000, seed=4, patients=30)
        await unit.publish(days.messages)
        for _ in range(3):
            worker = unit.worker()
            await worker.until_said("owns partitions")
            await asyncio.sleep(chance.random() * 0.8)
            worker.kill()
        worker = unit.worker()
        await everything_adds_up(unit, days.expected)
        await worker.stop()


async def test_a_worker_told_to_stop_in_the_middle_stores_all_it_did(bootstrap: str) -> None:
    async with busy_unit(bootstrap, environment={"DIALYSIS_BATCH_MAX": "20"}) as unit:
        days = busy_days(unit, 30_000, seed=2, patients=30)
        await unit.publish(days.messages)
        worker = unit.worker()
        machines = unit.topic("machine-events")

        async def at_work() -> bool:
            return await worker.metric("dialysis_events_total", topic=machines, type="telemetry") > 1_000

        await worker.until(at_work, 30, "work")
        await worker.stop()
        assert await unit.handled() < len(days.messages)
        assert not any(state.get("outbox") for state in (await unit.stored()).values())
        await unit.start_worker()
        # Everything was stored, sent and committed: nothing is even told twice.
        assert await everything_adds_up(unit, days.expected) == 0


async def test_two_workers_share_the_work_and_one_leaves(bootstrap: str) -> None:
    async with busy_unit(bootstrap, partitions=4) as unit:
        messages = busy_days(unit, 24_000, seed=3, patients=30).messages
        await unit.publish(messages[:8_000])
        first = await unit.start_worker()
        second = await unit.start_worker()

        async def shared() -> bool:
            owned = [await owned_by(unit, worker) for worker in (first, second)]
            return sorted(map(len, owned)) == [2, 2] and not owned[0] & owned[1]

        await until(shared, 30, "two partitions for each worker")
        await unit.publish(messages[8_000:16_000])
        await first.stop()
        await unit.publish(messages[16_000:])

        async def all_four() -> bool:
            return len(await owned_by(unit, second)) == 4

        await second.until(all_four, 30, "all partitions for the one that is left")
        await unit.until_done()
        # Published while workers were at the end of some topics: the order of topics is not that of the records'
        # own times then, but nothing is lost and no repeat differs.
        alerts = await unit.alerts()
        repeats_are_identical(alerts)
        records = await read_back(unit)
        assert open_alerts(alerts) == open_in(records)
        await second.stop()


async def owned_by(unit: UnitUnderTest, worker: WorkerProcess) -> set[int]:
    """The partitions of which a worker tells the clock."""
    _, text = await worker.get("/metrics")
    return {
        int(number)
        for number in re.findall(r'^dialysis_clock_timestamp_seconds\{partition="(\d+)"\}', text, re.MULTILINE)
    }


def open_alerts(records: list[Any]) -> set[tuple[str, str, str, str]]:
    newest: dict[str, dict[str, Any]] = {}
    for alert in matching(records):
        if alert["patient_id"] and alert["revision"] > newest.get(alert["alert_id"], {"revision": 0})["revision"]:
            newest[alert["alert_id"]] = alert
    return {(a["rule"], a["patient_id"], a["status"], a["priority"]) for a in newest.values() if a["status"] in OPEN}


def open_in(records: list[Record]) -> set[tuple[str, str, str, str]]:
    return {(a.rule, state.id, str(a.status), str(a.priority)) for state, a in evaluated(records).open}


# -- the changelog is all that is kept ---------------------------------------------------------------------------------


async def test_a_worker_rebuilt_from_the_changelog_alone_goes_on(bootstrap: str, tmp_path: Path) -> None:
    """Another machine: no file, no memory, and input topics that no longer hold what was handled."""
    async with busy_unit(bootstrap) as unit:
        messages = busy_days(unit, 4_000, seed=5, patients=10).messages
        await unit.publish(messages[:2_000])
        first = await unit.read(*PATIENT_TOPICS)
        worker = await unit.start_worker()
        await unit.until_done()
        worker.kill()
        before = await read_back(unit)
        await delete_records(unit)
        assert await read_back(unit) == []
        elsewhere = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
        again = await unit.start_worker(**elsewhere)
        assert not await asyncio.to_thread(os.listdir, tmp_path)
        await again.until(lambda: again.metric("dialysis_state_recovery_seconds"), 5, "how long the recovery took")
        await unit.publish(messages[2_000:])
        await unit.until_done()
        assert len(first) == len(before)
        alerts = await unit.alerts()
        repeats_are_identical(alerts)
        assert open_alerts(alerts) == open_in(before + await read_back(unit))
        assert "was made anew" not in again.said


async def delete_records(unit: UnitUnderTest) -> None:
    from aiokafka.admin import RecordsToDelete  # noqa: PLC0415

    ends = await unit.ends()
    before: Any = RecordsToDelete
    async with unit.admin() as admin:
        await admin.delete_records(
            {tp: before(before_offset=end) for tp, end in ends.items() if not tp.topic.endswith("unit-signals") and end}
        )


async def test_input_topics_made_anew_keep_the_state_and_clear_the_offsets(bootstrap: str) -> None:
    async with UnitUnderTest(bootstrap, rules=SILENT) as unit:
        patients = unit.subjects(6)
        for minutes, value in ((9, 2.0), (8, 2.1), (7, 2.2), (6, 1.5)):
            await unit.publish([lab(patient, value, ago(60 * minutes)) for patient in patients])
        worker = await unit.start_worker()
        for patient in patients:
            await unit.until_told(patient_id=patient, transition="raised")
        await unit.until_done()
        await worker.stop()
        await unit.recreate(*PATIENT_TOPICS)
        # One patient of each partition is heard of again; the others are only known from the changelog.
        await unit.publish([lab(patient, 2.3, ago(10)) for patient in patients[:2]])
        worker = await unit.start_worker()
        for patient in patients[:2]:
            (resolved,) = await unit.until_told(patient_id=patient, transition="resolved")
            assert resolved["revision"] == 2
        assert "made anew" in worker.said
        await unit.until_done()
        await worker.stop()
        stored = await unit.stored()
        assert {key: len(state["labs"]) for key, state in stored.items()} == {
            patient.encode(): 5 if patient in patients[:2] else 4 for patient in patients
        }
        assert all(state.get("offsets", {}).get("lab-results", 0) == 0 for state in stored.values())
        # The log grows beyond what was applied once: what the others send is not taken for known.
        await unit.publish([lab(patients[0], 2.3, ago(5)) for _ in range(15)])
        await unit.publish([lab(patients[1], 2.3, ago(5)) for _ in range(15)])
        await unit.publish([lab(patient, 2.4, ago(1)) for patient in patients[2:]])
        await unit.start_worker()
        for patient in patients[2:]:
            await unit.until_told(patient_id=patient, transition="resolved")


async def test_a_fresh_consumer_group_tells_everything_again_in_the_same_bytes(bootstrap: str) -> None:
    async with busy_unit(bootstrap) as unit:
        days = busy_days(unit, 3_000, seed=6, patients=10)
        await unit.publish(days.messages)
        worker = await unit.start_worker()
        assert await everything_adds_up(unit, days.expected) == 0
        await worker.stop()
        once, _ = await told_by_workers(unit)
        group = f"{unit.name}-second"
        fresh = unit.settings.model_copy(update={"group": group})
        await ensure_topics(fresh)
        unit.settings = fresh
        await unit.start_worker(DIALYSIS_GROUP=group)
        assert await everything_adds_up(unit, days.expected) == len(once)


# -- the broker --------------------------------------------------------------------------------------------------------


async def test_a_broker_that_restarts_makes_alerts_late_and_loses_none(tmp_path: Path) -> None:
    with EmbeddedKafka() as broker:
        async with UnitUnderTest(broker.bootstrap, rules=SILENT) as unit:
            patients = unit.subjects(40)
            worker = await unit.start_worker()
            await unit.publish([telemetry(patient, f"s-{patient}") for patient in patients])
            await unit.publish([lab(patient, 1.5, ago(60)) for patient in patients[:20]])
            await worker.until(lambda: all_run(unit, worker), 10, "clocks that run")
            await asyncio.to_thread(broker.stop)
            async with unit.pulse(worker) as pulse:

                async def not_ready() -> bool:
                    return (await worker.get("/readyz"))[0] == 503

                stood = await clocks(unit, worker)
                await worker.until(not_ready, 20, "503 of /readyz")
                checks = json.loads((await worker.get("/readyz"))[1])["checks"]
                assert not checks["broker"]["ok"]
                # An outage is not a silence: after the seconds for which an end counts as confirmed the clock stands.
                assert await clocks(unit, worker) == pytest.approx(stood, abs=6.5)
                still = await clocks(unit, worker)
                await asyncio.sleep(1.5)
                assert await clocks(unit, worker) == still
                await asyncio.to_thread(broker.start)
                await worker.until_ready(40)
            assert pulse.statuses == {200}
            await unit.publish([lab(patient, 1.4, ago(1)) for patient in patients[20:]])
            for patient in patients:
                await unit.until_told(patient_id=patient, rule="low_magnesium", transition="raised")
            await unit.until_done()
            alerts = await unit.alerts()
            repeats_are_identical(alerts)
            assert len(matching(alerts)) == 40
            await worker.stop()


async def all_run(unit: UnitUnderTest, worker: WorkerProcess) -> bool:
    return all(await clocks(unit, worker))


async def clocks(unit: UnitUnderTest, worker: WorkerProcess) -> list[float]:
    return [
        await worker.metric("dialysis_clock_timestamp_seconds", partition=str(number))
        for number in range(unit.partitions)
    ]

"""A worker that froze comes back after its partitions went to somebody else: nothing of it may count.

    zombie      works, SIGSTOP ............................ SIGCONT, finds it has lost, joins anew
    successor   . . . . . . takes over after 6 s, goes on . . . . . . . . . . kill -9
    third       . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . recovers, goes on

Several units at a time: most of it is waiting for sessions to expire.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from models.state import PatientState, StateCodec
from models.state.sampled import PREFIX
from models.topics import changelog
from streams.transport.changelog import Stamp
from streams.worker.ports import CLOCK_KEY
from tests.integration.messages import ago, lab
from tests.integration.traffic import (
    Expected,
    busy_days,
    busy_unit,
    evaluated,
    everything_adds_up,
    reached,
    read_back,
)
from tests.integration.unit_under_test import UnitUnderTest
from tests.integration.worker_process import WorkerProcess, until
from tests.stored_subjects import as_fields, subjects_of

MOMENTS = ("fenced", "storing", "stored", "sending", "committing")
FREEZING = (sys.executable, "-m", "tests.integration.freezing_worker")
TREE = str(Path(__file__).parents[2])


async def rejoined(zombie: WorkerProcess) -> None:
    """Wait until it has found out, and has partitions in a new generation."""
    before = zombie.said.count("patients owns partitions")
    zombie.thaw()
    await zombie.until(lambda: zombie.said.count("patients owns partitions") > before, 30, "a new generation")


async def test_a_worker_that_froze_and_comes_back_to_a_successor_changes_nothing(bootstrap: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        # Made one after the other: a broker on a busy machine takes its time over a hundred topics.
        units = {moment: await stack.enter_async_context(busy_unit(bootstrap)) for moment in MOMENTS}
        # Tiny batches make it slow: there is always something handled and not stored, stored and not sent.
        slow = busy_unit(bootstrap, partitions=4, environment={"DIALYSIS_BATCH_MAX": "2"})
        await stack.enter_async_context(slow)
        quiet = await stack.enter_async_context(busy_unit(bootstrap, partitions=4))
        async with asyncio.TaskGroup() as plays:
            for moment, unit in units.items():
                plays.create_task(frozen_at(unit, moment), name=moment)
            plays.create_task(frozen_at_work(slow), name="at work")
            plays.create_task(late_word_before_a_rebalance(quiet), name="late word")


async def frozen_at(unit: UnitUnderTest, moment: str) -> None:
    """The play of this module around one alert; see `freezing_worker` for the moments."""
    begin = ago(6 * 3600).replace(microsecond=0)

    def low(patient: str, value: float, minutes: float) -> Any:
        return lab(patient, value, begin + timedelta(minutes=minutes))

    patient, other = unit.subjects(2, partition=0)
    (elsewhere,) = unit.subjects(1, "q", partition=1)
    zombie = unit.worker(*FREEZING, FREEZE_FOR=patient, FREEZE_AT=moment, PYTHONPATH=TREE)
    await zombie.until_ready()
    await unit.publish([low(other, 1.5, 0), low(elsewhere, 1.5, 0)])
    await unit.until_done()
    await unit.publish([low(patient, 1.5, 5)])
    await zombie.until_frozen()
    # It gets worse and better; when the zombie comes back this is long over, and even its tombstone is out.
    await unit.publish([low(patient, 0.9, 10), low(elsewhere, 0.9, 10), low(patient, 2.0, 20), low(other, 2.0, 20)])
    successor = await unit.start_worker()
    await unit.publish([low(name, 2.1, 40) for name in (patient, other, elsewhere)])
    await unit.until_done()
    assert await buried(unit) == {patient, other}
    await rejoined(zombie)

    async def buried_again() -> bool:
        return await buried(unit) == {patient, other}

    # Also where a screen starts now, and compaction has left the last records only.
    await until(buried_again, 20, f"the tombstones to be the last word again ({moment})", every=0.5)
    await unit.publish([low(name, 1.4, 60) for name in (patient, elsewhere)])
    await unit.until_done()
    # The moments on the wire let one last word of the zombie through; else this proves nothing.
    assert await stale_stores(unit) == ({patient} if moment == "storing" else set()), moment
    assert await stale_alerts(unit) == ({patient} if moment == "sending" else set()), moment
    zombie.kill()
    successor.kill()
    await unit.start_worker()
    await unit.publish([low(name, 2.2, 80) for name in (other, elsewhere)])
    await unit.until_done()
    expected = evaluated(await read_back(unit))
    assert len(expected.told) == 11
    await everything_adds_up(unit, expected)
    await is_kept_right(unit, expected)


async def buried(unit: UnitUnderTest) -> set[str]:
    """Patients of whose alerts the last that was written to `alerts.active` is a tombstone."""
    patients = {json.loads(r.value)["alert_id"].encode(): r.key.decode() for r in await unit.alerts()}
    return {patients[key] for key, record in (await unit.compacted("alerts.active")).items() if record.value is None}


async def stale_stores(unit: UnitUnderTest) -> set[str]:
    """Patients of whom the changelog has a record behind one with a higher stamp."""
    records: dict[bytes, list[Stamp]] = {}
    for record in await unit.read(changelog(unit.settings.group, "patients")):
        if record.key == CLOCK_KEY:
            continue
        records.setdefault(record.key, []).append(Stamp.of(record.headers))
    return {
        key.removeprefix(PREFIX).decode() for key, stamps in records.items() if any(a > b for a, b in pairwise(stamps))
    }


async def stale_alerts(unit: UnitUnderTest) -> set[str]:
    """Patients of whom a topic of alerts has an older revision behind a newer one."""
    revisions: dict[str, list[int]] = {}
    patients: dict[str, str] = {}
    for record in await unit.alerts():
        alert = json.loads(record.value)
        revisions.setdefault(alert["alert_id"], []).append(alert["revision"])
        patients[alert["alert_id"]] = alert["patient_id"]
    return {patients[name] for name, numbers in revisions.items() if any(a > b for a, b in pairwise(numbers))}


async def is_kept_right(unit: UnitUnderTest, expected: Expected) -> None:
    """What recovery finds is what the events say; and so it is where compaction has left the last records only."""
    codec = StateCodec(PatientState)
    states = {
        state.id.encode(): kept(as_fields(state, codec))
        for partition in expected.partitions.values()
        for state in partition.states.values()
    }
    assert {key: kept(state) for key, state in (await unit.stored()).items()} == states
    last = await unit.compacted(changelog(unit.settings.group, "patients"))
    compacted = subjects_of({key: record.value for key, record in last.items() if record.value}, codec)
    assert {key: kept(as_fields(state, codec)) for key, state in compacted.items()} == states
    shown = {key: json.loads(r.value) for key, r in (await unit.compacted("alerts.active")).items() if r.value}
    newest = {alert.alert_id: alert.revision for _, alert in expected.open}
    assert {alert["alert_id"]: alert["revision"] for alert in shown.values() if alert["status"] == "active"} == newest


def kept(state: dict[str, Any]) -> dict[str, Any]:
    """A stored state without what the events do not say: offsets, and when somebody could see its alerts."""
    for alert in state.get("alerts", {}).values():
        alert.pop("seen_at", None)
    return {name: value for name, value in state.items() if name not in ("offsets", "outbox")}


async def frozen_at_work(unit: UnitUnderTest) -> None:
    """The play in the middle of much work, at whatever moment."""
    days = busy_days(unit, 15_000, seed=8)
    await unit.publish(days.messages)
    zombie = unit.worker()
    await reached(unit, zombie, 500)
    zombie.freeze()
    await zombie.until_frozen()
    successor = unit.worker()
    await successor.until_said("patients owns partitions")
    assert await unit.handled() < len(days.messages), "it comes back too late to do harm"
    await rejoined(zombie)
    successor.kill()
    third = await unit.start_worker()
    await everything_adds_up(unit, days.expected)
    await third.stop()


async def late_word_before_a_rebalance(unit: UnitUnderTest) -> None:
    """A zombie speaks, and then joins: nobody has had time to notice when partitions are handed out anew."""
    patients = unit.subjects(4)
    worker = await unit.start_worker()
    for minutes, value in ((10, 1.5), (5, 2.0)):
        await unit.publish([lab(patient, value, ago(60 * minutes)) for patient in patients])
        await unit.until_done()
    first = [record for record in await unit.read("alerts.active") if b'"raised"' in record.value]
    assert len(first) == 4
    second = unit.worker()
    await second.until_said("Starting")
    for record in first:
        await unit.publish_raw(record.topic, record.partition, record.key, record.value, list(record.headers))
    await worker.until_said(r"patients owns partitions .* \(2 kept\)")

    async def right() -> bool:
        newest = (await unit.compacted("alerts.active")).values()
        return all(b'"resolved"' in record.value for record in newest)

    await until(right, 20, "the last words to be the owners'", every=0.5)

"""One patient whose accepted inputs are too much to keep: stored in bounds or set aside, and all others are alerted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from models.topics import MAX_MESSAGE, STATE_BYTES, changelog
from tests.integration.messages import Message, ago, lab
from tests.integration.unit_under_test import UnitUnderTest
from tests.unit.test_size_bounds import flood

TOPIC_OF = {
    "lab_result": "lab-results",
    "session_started": "machine-events",
    "session_ended": "machine-events",
    "machine_alarm": "machine-events",
}


@pytest.fixture
async def unit(bootstrap: str) -> AsyncIterator[UnitUnderTest]:
    """A unit with one partition: nobody is out of the way."""
    async with UnitUnderTest(bootstrap, partitions=1) as made:
        yield made


def poison(patient: str) -> list[Message]:
    """A thousand events with ids of 200 characters of four bytes each."""
    events = [fields | {"patient_id": patient} for fields in flood(5, ago(3000))]
    return [
        Message(TOPIC_OF.get(e["type"], "clinical-events"), patient.encode(), json.dumps(e).encode()) for e in events
    ]


async def alerted(unit: UnitUnderTest, patients: list[str]) -> None:
    for patient in patients:
        await unit.until_told(patient_id=patient, rule="low_magnesium", transition="raised")


async def test_the_record_stays_in_bounds_and_everybody_else_is_alerted(unit: UnitUnderTest) -> None:
    worker = await unit.start_worker()
    poisoned, *others = unit.subjects(8)
    await unit.publish([lab(others[0], 0.5), *poison(poisoned)])
    await unit.until_done()
    await alerted(unit, others[:1])
    await unit.until_told(patient_id=poisoned, rule="data_quality", priority="low", transition="raised")
    stored = await unit.stored()
    assert len(json.dumps(stored[poisoned.encode()], ensure_ascii=False).encode()) < 1024 * 1024
    # A restart does not notice, and nor does anybody who comes after.
    await worker.stop()
    worker = await unit.start_worker()
    await unit.publish([lab(patient, 0.5) for patient in others[1:]])
    await alerted(unit, others)
    assert poisoned not in worker.said


async def test_a_changelog_that_refuses_the_record_sets_that_patient_aside(unit: UnitUnderTest) -> None:
    worker = await unit.start_worker()
    poisoned, *others = unit.subjects(8)
    await unit.publish([lab(patient, 2.0) for patient in others])
    await unit.until_done()
    name = changelog(unit.settings.group, "patients")
    await unit.configure({name: {MAX_MESSAGE: "60000"}})
    await unit.publish([lab(others[0], 0.5), *poison(poisoned)])
    await unit.until_done()
    await worker.until(lambda: "the changelog refuses the record" in worker.said, 20, "a refusal in the log")
    assert await worker.metric("dialysis_records_refused_total", how="reduced") >= 1
    await worker.stop()
    # On so small a changelog no worker starts.
    await unit.configure({name: {MAX_MESSAGE: str(STATE_BYTES)}})
    worker = await unit.start_worker()
    await unit.publish([lab(patient, 0.5) for patient in others[1:]])
    await alerted(unit, others)
    assert poisoned not in worker.said

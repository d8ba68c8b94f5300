"""Records merged over partitions and workers, one of which is killed in the middle."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.integration.alert_records import matching, repeats_are_identical
from tests.integration.messages import Message, ago, event, lab
from tests.integration.unit_under_test import SILENT, UnitUnderTest
from tests.integration.worker_process import until

PAIRS = 60
RESULTS = 30


@pytest.fixture
async def unit(bootstrap: str) -> AsyncIterator[UnitUnderTest]:
    async with UnitUnderTest(bootstrap, partitions=4, rules=SILENT) as made:
        yield made


def merge(merged_id: str, into: str) -> Message:
    return event("clinical-events", "patient_merged", into, merged_id=merged_id)


def history(patient: str) -> list[Message]:
    """A severe magnesium, and much that is normal."""
    normal = [
        lab(patient, 4.2, ago(900 - number), analyte="potassium", unit="mmol/L", result_id=f"{patient}-{number}")
        for number in range(RESULTS)
    ]
    return [*normal, lab(patient, 0.8, ago(60), result_id=f"{patient}-low")]


@pytest.mark.parametrize("killed", [False, True])
async def test_merges_over_partitions_and_workers(unit: UnitUnderTest, killed: bool) -> None:
    given_up, stay = unit.subjects(PAIRS, prefix="old"), unit.subjects(PAIRS + 1, prefix="new")[1:]
    assert all(unit.place(a.encode()) != unit.place(b.encode()) for a, b in zip(given_up, stay, strict=True))
    await unit.publish([message for patient in given_up for message in history(patient)])
    first = await unit.start_worker()
    second = await unit.start_worker()
    await second.until_said(r"patients owns partitions \[\d, \d\]")
    await unit.until_told(count=PAIRS, rule="low_magnesium", transition="raised")
    await unit.publish([merge(a, b) for a, b in zip(given_up, stay, strict=True)])
    if killed:

        async def moving() -> bool:
            topic = unit.topic("lab-results")
            return sum([await w.metric("dialysis_events_moved_total", topic=topic) for w in (first, second)]) > 0

        await until(moving, 20, "events on the move")
        first.kill()
        unit.workers.remove(first)
    await unit.publish([lab(a, 0.7, result_id=f"{a}-later") for a in given_up])
    await unit.until_told(60, count=PAIRS, rule="low_magnesium", transition="resolved", reason="patient_merged")

    async def all_moved() -> bool:
        newest: dict[str, dict[str, object]] = {}
        for alert in sorted(matching(await unit.alerts(), rule="low_magnesium"), key=lambda a: a["revision"]):
            newest[alert["alert_id"]] = alert
        still_open = Counter(str(a["patient_id"]) for a in newest.values() if a["status"] == "active")
        return still_open == Counter(stay)

    await until(all_moved, 60, "one open alert for each record that stays")
    await unit.until_done()
    repeats_are_identical(await unit.alerts())
    for worker in unit.workers:
        await worker.stop()
    stored = await unit.stored()
    wanted = {*map(str, range(RESULTS)), "low", "later"}
    for a, b in zip(given_up, stay, strict=True):
        assert {r["result_id"].removeprefix(f"{a}-") for r in stored[b.encode()]["labs"].values()} == wanted
        assert stored[a.encode()]["merged_into"] == b
        assert not stored[a.encode()].get("labs")
    assert not await unit.read("dead-letters")

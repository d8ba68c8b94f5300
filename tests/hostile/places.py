"""Attacks on what lies in Kafka: stored state and topics, broken, emptied or made anew by an operator."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any, Final

from aiokafka.admin import NewPartitions

from models.state.sampled import key_of
from models.topics import ALERTS_ACTIVE, LAB_RESULTS, changelog
from streams.kafka.topic_setup import ensure_topics
from tests.hostile.stage import Case, Stage
from tests.integration.messages import lab
from tests.integration.worker_process import until

#: Ranks above whatever a worker has written.
_STAMP: Final = [("s", struct.pack(">HIQ", 60_000, 1, 1))]
_HEARD: Final = b'"heard_at":"2026-11-25T00:00:00Z"'
#: (key, value, headers) that no worker wrote, or that a disk, a tool or another version spoiled.
_BAD: Final[tuple[tuple[bytes, bytes, list[Any]], ...]] = (
    (b"truncated", b'{"id":"truncated","schema_ver', _STAMP),
    (b"no-stamp", b"hello", []),
    (b"empty", b"", _STAMP),
    (b"other-id", b'{"id":"p1","schema_version":2,' + _HEARD + b"}", _STAMP),
    (b"version-in-words", b'{"id":"version-in-words","schema_version":"2",' + _HEARD + b"}", _STAMP),
    (b"list", b"[1]", _STAMP),
    (b"\xfe\xff", b"hello", _STAMP),
    (key_of(b"truncated"), b'{"of":1,"heard_', _STAMP),
)
#: The same for the record of the clock, one on each partition: they have one key.
_BAD_CLOCKS: Final[tuple[tuple[bytes, list[Any]], ...]] = (
    (b'{"now":"9999-12-31T23:59:59Z"}', _STAMP),
    (b"garbage", _STAMP),
    (b'{"now":"2027-11-25T00:00:00Z"}', []),
)
_OLD_AND_NEW_CLOCK: Final = (b"#clock", b"\xffclock")


def _state(stage: Stage) -> str:
    return changelog(stage.unit.settings.group, "patients")


async def _open_patients(stage: Stage) -> set[str]:
    records = (await stage.unit.compacted(ALERTS_ACTIVE)).values()
    alerts = [json.loads(record.value) for record in records if record.value]
    return {alert["patient_id"] for alert in alerts if alert["status"] == "active"}


async def _bad_state(stage: Stage) -> None:
    """Whoever is hit begins anew; everybody else is alerted, and what was open stays open; over a restart too."""
    await stage.opened()
    unit = stage.unit
    before = {patient for patient, _ in stage.planted}
    await stage.down()
    for number, (key, value, headers) in enumerate(_BAD):
        await unit.publish_raw(_state(stage), number % unit.partitions, key, value, headers)
    for key in _OLD_AND_NEW_CLOCK:
        for partition, (value, headers) in enumerate(_BAD_CLOCKS):
            await unit.publish_raw(_state(stage), partition, key, value, headers)
    stage.begins()
    await stage.plant("while-down")
    post = stage.scene.hire()
    await stage.scene.ready(post)
    async with stage.others():
        await asyncio.sleep(1.5)
        await stage.restart()
        await asyncio.sleep(1)
    stage.holds(before <= await _open_patients(stage), "alerts from before are no longer open")


async def _emptied(stage: Stage) -> None:
    """State that is gone is said, not begun anew in silence; who decides to go on has new alerts."""
    await stage.opened()
    await stage.down()
    await _make_anew(stage, _state(stage))
    await stage.refuses(stage.unit.worker(), "is empty", "DIALYSIS_ON_LOST_STATE")
    stage.unit.environment["DIALYSIS_ON_LOST_STATE"] = "continue"
    stage.begins()
    await stage.plant("while-down")
    await stage.scene.ready(stage.scene.hire())
    async with stage.others():
        await asyncio.sleep(2)


async def _deleted(stage: Stage) -> None:
    """Somebody deletes the changelog under a worker; that is said, and who makes it anew decides to go on."""
    await stage.opened()
    async with stage.unit.admin() as admin:
        await admin.delete_topics([_state(stage)])
    await stage.said_unready(_state(stage))
    stage.scene.posts[0].wanted = False
    stage.worker.kill()
    stage.scene.posts.clear()
    await ensure_topics(stage.unit.settings)
    stage.unit.environment["DIALYSIS_ON_LOST_STATE"] = "continue"
    stage.begins()
    await stage.scene.ready(stage.scene.hire())
    async with stage.others():
        await asyncio.sleep(2)


async def _make_anew(stage: Stage, name: str) -> None:
    """Delete a topic, by its full name, and make it anew."""
    async with stage.unit.admin() as admin:
        await admin.delete_topics([name])

        async def gone() -> bool:
            return name not in await admin.list_topics()

        await until(gone, 20, "a topic to be gone")

    async def made() -> bool:
        return name in (await ensure_topics(stage.unit.settings)).existing

    await until(made, 20, "a topic to be made anew", every=0.3)


async def _more_partitions(stage: Stage) -> None:
    """What lies on the new ones is read by nobody: that must be said. Everybody else is alerted as before."""
    await stage.opened()
    async with stage.others():
        async with stage.unit.admin() as admin:
            await admin.create_partitions({stage.unit.topic(LAB_RESULTS): NewPartitions(total_count=4)})
        await stage.said_unready(stage.unit.topic(LAB_RESULTS))
    await until(stage.all_told, 10, "the alerts")
    stage.scene.posts[0].wanted = False  # It would not start again before the numbers agree.


async def _anew_under_a_worker(stage: Stage) -> None:
    """An input topic is deleted and made anew while the worker runs."""
    await stage.opened()
    await stage.unit.publish([lab(f"filler{number}", 2.1) for number in range(50)])
    await until(stage.all_told, 20, "the alerts")
    await _make_anew(stage, stage.unit.topic(LAB_RESULTS))
    stage.begins()
    await stage.plant()
    async with stage.others():
        await stage.in_time(stage.all_told, 60, "an alert waited for more than a minute")
        await asyncio.sleep(1)


async def _anew_while_down(stage: Stage) -> None:
    """The new topic has grown beyond the old offsets when the worker starts: its records are no repeats."""
    await stage.opened()
    unit = stage.unit
    known = unit.subjects(8, "known")
    fillers = unit.subjects(60, "filler")
    await stage.publish_and_wait(lab(name, 2.1) for name in [*fillers, *known])
    await stage.down()
    await _make_anew(stage, unit.topic(LAB_RESULTS))
    stage.begins()
    await stage.plant(*known)
    await unit.publish([lab(name, 2.1) for name in unit.subjects(200, "more")])
    await stage.scene.ready(stage.scene.hire())
    async with stage.others():
        await asyncio.sleep(1)


CASES: Final = (
    Case(
        "bad-state",
        f"{len(_BAD) + 2 * len(_BAD_CLOCKS)} changelog records that cannot be read",
        _bad_state,
        partitions=3,
    ),
    Case("state-emptied", "the changelog is made anew, offsets are committed", _emptied),
    Case("state-deleted", "the changelog is deleted under the worker", _deleted),
    Case("more-partitions", "partitions are added to an input topic", _more_partitions),
    Case("topic-anew", "an input topic is made anew under the worker", _anew_under_a_worker),
    Case("topic-anew-while-down", "the same while no worker runs, and it has grown", _anew_while_down),
)

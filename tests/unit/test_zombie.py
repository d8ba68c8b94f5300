"""A worker that freezes at any moment, and comes back when its partition has long been somebody else's.

    zombie      handles, freezes at the n-th moment ............ goes on: one more effect, then the fence
    successor   . . . . . . . . . . takes over, does everything . . . . . is killed
    third       . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . recovers

The fence lets through what was on its way when the worker froze, and nothing after it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from models.state import PatientState
from streams.transport.api import Batch, StaleGenerationError
from streams.transport.changelog import Replica, Stamp
from streams.worker.sender import Outgoing
from tests.unit.fake_port import FakeKafka, Host
from tests.unit.task_events import stored_patients
from tests.unit.whole_day import busy_day, check_against, pictures, undisturbed


class Changelog:
    """The log of one changelog partition, as the broker keeps it."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def append(self, key: bytes, value: bytes | None, stamp: Stamp) -> None:
        offset = len(self.records)
        self.records.append(ConsumerRecord("log", 0, offset, 0, 0, key, value, None, 0, 0, (stamp.header(),)))

    def replica(self) -> Replica:
        """What a recovery finds."""
        found = Replica()
        found.add(self.records)
        return found

    def compacted(self) -> dict[bytes, bytes]:
        """What compaction leaves, in the worst case: the last record of each key."""
        last = {record.key: record.value for record in self.records}
        return {key: value for key, value in last.items() if value is not None}


class Owner(FakeKafka):
    """What one generation's owner may ask of a shared broker; it freezes at a moment."""

    def __init__(self, shared: FakeKafka, log: Changelog, generation: int, freeze_at: int = 0) -> None:
        super().__init__(
            clock=shared.clock, logs=shared.logs, committed=shared.committed, sent=shared.sent, calls=shared.calls
        )
        self.log = log
        self.stamp = log.replica().latest.next(generation)
        self.end = len(log.records)
        self.freeze_at, self.moments = freeze_at, 0
        self.frozen, self.thawed = asyncio.Event(), asyncio.Event()

    @property
    def is_lost(self) -> bool:
        return self.thawed.is_set()

    async def _moment(self) -> None:
        self.moments += 1
        if self.moments == self.freeze_at:
            self.frozen.set()
            await self.thawed.wait()

    def _fence(self) -> None:
        if self.is_lost:
            raise StaleGenerationError

    async def write(self, partition: int, entries: Mapping[bytes, bytes | None]) -> Collection[bytes]:
        self._fence()
        await self._moment()
        foreign = {record.key for record in self.log.records[self.end :]}
        for key, value in entries.items():
            self.log.append(key, value, self.stamp)
        self.end = len(self.log.records)
        self.stamp = self.stamp._replace(sequence=self.stamp.sequence + 1)
        await self._moment()
        return foreign

    async def send_all(self, messages: Sequence[Outgoing]) -> None:
        self._fence()
        half = len(messages) // 2
        for number, message in enumerate(messages):
            if number in (0, half):
                await self._moment()
            self.sent.append(message)

    def ack(self, batch: Batch) -> None:
        if not self.is_lost:  # the coordinator refuses the commit of an old generation
            super().ack(batch)

    async def host(self) -> Host:
        """A worker that has taken the partition over."""
        host = Host(self)
        host.adopted = True
        await host.task.adopt(self.log.replica().recovered())
        return host


def subjects(values: Mapping[bytes, bytes]) -> dict[bytes, PatientState]:
    """Patients of a changelog, without what may differ: what screens were told, and when somebody could see it."""
    found = stored_patients(values)
    for state in found.values():
        for session in state.sessions.values():
            session.told_at = None
        for alert in state.alerts.values():
            alert.seen_at = None
        state.looks.pop("lifecycle", None)
        state.looks.pop("sessions", None)
    return found


def running(kafka: FakeKafka) -> set[bytes | None]:
    """The sessions that a screen ends with."""
    last = {message.key: message.value for message in kafka.topic("sessions.active")}
    return {key for key, value in last.items() if value is not None}


async def freeze_and_take_over(kafka: FakeKafka, size: int, moment: int) -> tuple[FakeKafka, Changelog, bool]:
    """The play of this module; returns the broker after it, and whether the moment came at all."""
    broken, log = FakeKafka(kafka.clock), Changelog()
    busy_day(broken)
    zombie = Owner(broken, log, 1, moment)
    working = asyncio.create_task((await Host(zombie).start()).settle(size=size))
    freezing = asyncio.create_task(zombie.frozen.wait())
    await asyncio.wait({working, freezing}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        freezing.cancel()
        working.result()
        return broken, log, False
    successor = await Owner(broken, log, 2).host()
    await successor.settle(size=size + moment % 3)
    zombie.thawed.set()
    with contextlib.suppress(StaleGenerationError):
        await working
    third = await Owner(broken, log, 3).host()
    await third.settle()
    return broken, log, True


@pytest.mark.parametrize("size", [1, 3, 10])
async def test_a_zombie_that_froze_at_any_moment_changes_nothing(kafka: FakeKafka, size: int) -> None:
    whole = await undisturbed(kafka, size)
    assert pictures(whole)
    moment, came = 0, True
    while came:
        moment += 1
        broken, log, came = await freeze_and_take_over(kafka, size, moment)
        try:
            check_against(whole, broken)
            assert running(broken) == running(whole)
            expected = subjects(whole.changelog)
            assert subjects(log.replica().values) == expected
            assert subjects(log.compacted()) == expected
        except AssertionError as error:
            raise AssertionError(f"frozen at moment {moment}: {error}") from error
    assert moment > 20

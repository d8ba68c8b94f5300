"""Watch `alerts.active`: an owner corrects what a worker wrote there after it had lost the partition.

    zombie     outbox stored ── fence passed ── frozen ··································· sends revision 1
    successor                                    sends 1 again, 2 (resolved), a tombstone ─┐
    log                                                                1     2     ∅     1 ▼ → ∅ again

A reader that keeps the newest revision is not misled. But compaction keeps the last record of a key, and a screen that
starts then shows an alert that nobody will ever close. So the owner reads the topic as a screen does, from its end
before the takeover. When the last record of an alert has been there for a while and is not the owner's, the owner
corrects it. The same holds for what a stranger writes there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from models.settings import Settings
from models.topics import ALERTS_ACTIVE
from streams.transport import StaleGenerationError
from streams.worker.ports import NO_REVISION, Claimed, NamedRecord, Shown

if TYPE_CHECKING:
    from streams.transport import App
    from streams.worker.assignment import Assignment

log = logging.getLogger(__name__)

_Consumer: Any = AIOKafkaConsumer
#: A record is judged when it has been the last of its key for so long: until then our next record may be under way.
SETTLED_S: Final = 5.0
#: The broker answers when it has many bytes, or after this time: one answer an alert would cost as much as the alerts,
#: and no record is judged before it has settled.
_FETCH_WAIT_MS: Final = 2000
_FETCH_BYTES: Final = 512 * 1024
_RETRY_S: Final = 1.0
_REQUEST_MS: Final = 10_000
#: A rebalance must be noticed before it is over.
_POLL_MS: Final = 250
_REBALANCE_S: Final = 0.25
_decode: Final = msgspec.json.Decoder(Claimed).decode


class ActiveAlertsWatch:
    """Reads `alerts.active` of this worker's partitions and lets their tasks correct it."""

    def __init__(self, app: App, settings: Settings, assignments: Sequence[Assignment[Any]]) -> None:
        self._app, self._settings, self._assignments = app, settings, assignments
        self._topic = settings.topic(ALERTS_ACTIVE)

    async def watch(self) -> None:
        """Watch until cancelled; wait for a broker that is away."""
        while True:
            try:
                await self._watch()
            except KafkaError as error:
                log.warning("Reading %s failed, trying again: %r", self._topic, error)
                await asyncio.sleep(_RETRY_S)

    async def _watch(self) -> None:
        consumer = _Consumer(
            bootstrap_servers=self._settings.brokers,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            fetch_min_bytes=_FETCH_BYTES,
            request_timeout_ms=_REQUEST_MS,
        )
        try:
            await consumer.start()
            generation: int | None = None
            #: The topic's ends during the rebalance, before owners re-sent anything; empty once they were used.
            ends: dict[TopicPartition, int] = {}
            waiting: dict[tuple[int, bytes], tuple[float, bytes | None]] = {}
            while True:
                if not all(assignment.ready for assignment in self._assignments):
                    ends = ends or await self._ends(consumer, range(self._settings.partitions))
                    await asyncio.sleep(_REBALANCE_S)
                    continue
                if generation != self._app.generation:
                    generation = self._app.generation
                    stayed = await self._take_over(consumer, ends)
                    ends = {}
                    waiting = {place: known for place, known in waiting.items() if place[0] in stayed}
                if not consumer.assignment():
                    await asyncio.sleep(_RETRY_S)
                    continue
                now = time.monotonic()
                for tp, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                    waiting |= {(tp.partition, record.key): (now, record.value) for record in records}
                settled = {place: value for place, (at, value) in waiting.items() if at < now - SETTLED_S}
                # A record that no task could judge waits: its partition may stay ours in the next generation.
                judged = await self._judge(settled)
                waiting = {place: known for place, known in waiting.items() if place not in settled.keys() & judged}
        finally:
            await consumer.stop()

    async def _take_over(self, consumer: Any, ends: dict[TopicPartition, int]) -> set[int]:
        """Seek to the topic's ends before the tasks re-sent their alerts; return the partitions that stayed.

        There the watch goes on at its position: an owner that keeps a partition re-sends nothing, and a zombie sends
        just before it joins. A rebalance that ended unnoticed leaves no ends: then the watch starts at the present end.
        """
        numbers = {number for assignment in self._assignments for number in assignment.tasks}
        tps = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        stayed = {tp: await consumer.position(tp) for tp in consumer.assignment() & set(tps)}
        ends = ends or await self._ends(consumer, numbers)
        consumer.assign(tps)
        for tp in tps:
            consumer.seek(tp, stayed.get(tp, ends[tp]))
        return {tp.partition for tp in stayed}

    async def _ends(self, consumer: Any, numbers: Iterable[int]) -> dict[TopicPartition, int]:
        tps = [TopicPartition(self._topic, number) for number in numbers]
        return dict(await consumer.end_offsets(tps)) if tps else {}

    async def _judge(self, settled: dict[tuple[int, bytes], bytes | None]) -> set[tuple[int, bytes]]:
        """Let the tasks judge the last records; return the places of those that are dealt with."""
        found: dict[int, list[NamedRecord]] = {}
        for (number, key), value in settled.items():
            try:
                found.setdefault(number, []).append((key.decode(), None if value is None else _shown(value)))
            except UnicodeDecodeError:
                # No alert of ours has such an id, so this record is not ours to remove.
                log.warning("%s[%d] holds something under %r, which is no alert id", self._topic, number, key[:100])
        left: set[tuple[int, bytes]] = set()
        for number, records in found.items():
            put_off = await self._correct(number, records)
            names = [name for name, _ in records] if put_off is None else put_off
            left |= {(number, name.encode()) for name in names}
        return settled.keys() - left

    async def _correct(self, number: int, records: Sequence[NamedRecord]) -> set[str] | None:
        """Let the tasks of a partition correct records; return the alerts that it is too soon to correct.

        None if the partition has no task, or a task lost it meanwhile.
        """
        put_off: set[str] = set()
        tasks = [
            (assignment, task) for assignment in self._assignments if (task := assignment.tasks.get(number)) is not None
        ]
        for assignment, task in tasks:
            try:
                put_off |= await task.correct(records)
            except StaleGenerationError:
                log.info("%s[%d] was lost meanwhile", assignment.kind.table, number)
                return None
            except asyncio.CancelledError:
                watching = asyncio.current_task()
                if watching is None or watching.cancelling():
                    raise
                # The task for which we waited was cancelled, by a revocation that ran out of time.
                log.info("%s[%d] was given up meanwhile", assignment.kind.table, number)
                return None
        return put_off if tasks else None


def _shown(value: bytes) -> Shown:
    """Read any value of the topic: one that is no alert hides an alert all the same."""
    try:
        found = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Shown(NO_REVISION, value=value)
    return Shown(found.revision, found.patient_id, found.water_loop_id, value)

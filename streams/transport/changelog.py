"""The changelog of a table: stamps of records, and reading whole partitions back in batches."""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.transport.api import TP, Recovered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.settings import Settings
    from streams.transport.api import Records

log = logging.getLogger(__name__)

_Consumer: Any = AIOKafkaConsumer  # which has no types

STAMP_HEADER = "s"
_STAMP = struct.Struct(">HIQ")
#: We never write a stamp of the last era: no stamp could rank above it.
_NO_ERA = b"\xff\xff"
_FETCH_WAIT_MS = 100
_REQUEST_MS = 10_000  # with aiokafka's 40 s, a broker that hangs would block for as long


class Stamp(NamedTuple):
    """The writer of a changelog record, in an order that no frozen worker can break: the highest of a key holds.

    `generation` is the consumer group's: a worker that lost the partition has a lower one than its successor. Kafka
    counts generations anew when a group was deleted or its offsets expired; the first owner after that finds its
    generation or a higher one in the changelog and begins a new `era`. `sequence` counts the writes of one owner.
    """

    era: int
    generation: int
    sequence: int

    def next(self, generation: int) -> Stamp:
        """Return the first stamp of a later owner, of this generation: it ranks above this stamp."""
        return Stamp(self.era + (generation <= self.generation), generation, 1)

    def header(self) -> tuple[str, bytes]:
        """Pack it into a record header of 14 bytes."""
        return STAMP_HEADER, _STAMP.pack(*self)

    @classmethod
    def of(cls, headers: Sequence[tuple[str, bytes]]) -> Stamp:
        """Read the stamp of a record; a record without one (written by hand) ranks below all others."""
        for name, value in headers:
            if name == STAMP_HEADER and value is not None and len(value) == _STAMP.size and value < _NO_ERA:
                return cls._make(_STAMP.unpack(value))
        return UNSTAMPED


UNSTAMPED = Stamp(0, 0, 0)


class Replica:
    """One changelog partition while it is read.

    Guarantees: after all records were added in log order, `values` holds for each key the value with the highest stamp
    (the later record among equals), and no key whose highest record is a tombstone.
    """

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.offsets: dict[bytes, int] = {}
        self.latest = UNSTAMPED
        self.shadowed: set[bytes] = set()
        #: The log's end when it was read, and the number of its records.
        self.end = 0
        self.count = 0
        # Packed stamps, not tuples: big-endian bytes compare like the numbers they hold, so no record is unpacked.
        self._stamps: dict[bytes, bytes] = {}

    def add(self, records: Records) -> None:
        """Apply records in the order of the log."""
        values, offsets, stamps, shadowed = self.values, self.offsets, self._stamps, self.shadowed
        lowest = _STAMP.pack(*UNSTAMPED)
        latest = _STAMP.pack(*self.latest)
        self.count += len(records)
        for record in records:
            key = record.key
            if key is None:
                continue
            headers = record.headers
            stamp = headers[0][1] or lowest if len(headers) == 1 and headers[0][0] == STAMP_HEADER else lowest
            if len(stamp) != _STAMP.size or stamp >= _NO_ERA:
                stamp = lowest
            if stamps.get(key, lowest) > stamp:
                shadowed.add(key)  # written by a worker that had lost the partition already
                continue
            if shadowed:
                shadowed.discard(key)
            stamps[key] = stamp
            latest = max(latest, stamp)
            if record.value is None:
                values.pop(key, None)  # the stamp stays: an older record may still follow
            else:
                values[key] = record.value
                offsets[key] = record.offset
        self.latest = Stamp._make(_STAMP.unpack(latest))

    def recovered(self) -> Recovered:
        """Return the values that hold, for a listener."""
        found = Recovered(self.values)
        found.shadowed = frozenset(self.shadowed)
        found.offsets = self.offsets
        return found


async def read_changelogs(
    settings: Settings, wanted: Mapping[str, Iterable[int]], known: Mapping[TP, int] | None = None
) -> dict[str, dict[int, Replica]]:
    """Read partitions of changelog topics (name -> partitions) from their beginning to their end.

    Guarantees: the result contains everything that was acknowledged before the call. Gaps in the offsets, a tail that
    compaction has emptied and control records do not block it. A failing broker is tried again for ever: bound the call
    by cancelling it.

    Args:
        settings: Where the broker is.
        wanted: What to read.
        known: The offsets up to which partitions are known. A partition that ends there is left out.
    """
    tps = [TopicPartition(topic, number) for topic, numbers in wanted.items() for number in numbers]
    replicas = {tp: Replica() for tp in tps}
    while tps:
        try:
            await _read(settings, replicas, known or {})
            break
        except KafkaError as error:
            log.warning("Reading the changelog failed, trying again: %s", error)
            replicas = {tp: Replica() for tp in tps}
            await asyncio.sleep(1.0)
    found: dict[str, dict[int, Replica]] = {topic: {} for topic in wanted}
    for tp, replica in replicas.items():
        found[tp.topic][tp.partition] = replica
    return found


async def foreign_keys(settings: Settings, tp: TP, offsets: range, ours: Stamp) -> set[bytes]:
    """Find the keys of the records in a range of a changelog partition whose stamp is not of our generation.

    Raises:
        KafkaError: The broker fails.
    """
    consumer = await _reader(settings, [TopicPartition(*tp)])
    found: set[bytes] = set()
    try:
        consumer.seek(TopicPartition(*tp), offsets.start)
        progress = _Progress(offsets.stop)
        while not progress.is_over(
            await consumer.position(TopicPartition(*tp)),
            consumer.last_poll_timestamp(TopicPartition(*tp)),
            consumer.highwater(TopicPartition(*tp)),
        ):
            for records in (await consumer.getmany(timeout_ms=_FETCH_WAIT_MS)).values():
                found |= {
                    record.key
                    for record in records
                    if record.key is not None
                    and record.offset < offsets.stop
                    and Stamp.of(record.headers)[:2] != ours[:2]
                }
    finally:
        await consumer.stop()
    return found


async def _reader(settings: Settings, tps: list[TopicPartition]) -> Any:
    # A consumer of its own, without a group: plain public API, nothing to clean up in the group's consumer, and its
    # fetches do not wait behind those of the input topics.
    consumer = _Consumer(
        bootstrap_servers=settings.brokers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        request_timeout_ms=_REQUEST_MS,
        max_partition_fetch_bytes=max(4 * 1024 * 1024, settings.max_message_bytes),
    )
    try:
        await consumer.start()
    except BaseException:
        await consumer.stop()
        raise
    consumer.assign(tps)
    return consumer


async def _read(settings: Settings, replicas: dict[TopicPartition, Replica], known: Mapping[TP, int]) -> None:
    consumer = await _reader(settings, list(replicas))
    try:
        ends = await consumer.end_offsets(list(replicas))
        for tp in [tp for tp, end in ends.items() if known.get(TP(*tp)) == end]:
            del replicas[tp], ends[tp]
        if not replicas:
            return
        consumer.assign(list(replicas))
        starts = await consumer.beginning_offsets(list(replicas))
        for tp, start in starts.items():
            consumer.seek(tp, start)
            replicas[tp].end = ends[tp]
        behind = {tp: _Progress(end) for tp, end in ends.items() if starts[tp] < end}
        while behind:
            batches = await consumer.getmany(*behind, timeout_ms=_FETCH_WAIT_MS, max_records=5000)
            for tp, records in batches.items():
                replicas[tp].add(records)
            for tp in list(behind):
                answer = consumer.last_poll_timestamp(tp), consumer.highwater(tp)
                if behind[tp].is_over(await consumer.position(tp), *answer):
                    del behind[tp]
            await asyncio.sleep(0)
    finally:
        await consumer.stop()


class _Progress:
    """Judges whether one partition was read to the end that it had at the start.

    The position alone does not show it: compaction may have removed the last records before `end`; then every fetch is
    empty and the position stays. So answers in a row without progress count too, if they come from a leader that knows
    `end` (a new leader may take a moment).
    """

    def __init__(self, end: int) -> None:
        self._end = end
        self._position = -1
        self._answers: set[int] = set()

    def is_over(self, position: int, answered_ms: int | None, highwater: int | None) -> bool:
        """Judge the state after a poll."""
        if position != self._position:
            self._position = position
            self._answers.clear()
        if answered_ms is not None and highwater is not None and highwater >= self._end:
            self._answers.add(answered_ms)
        # The first answer of a position may be the one that led to it; the second and third brought no records.
        return position >= self._end or len(self._answers) > 2

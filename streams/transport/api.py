"""The transport's interface to the layers above: plain types, none of Faust's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


class Record(Protocol):
    """A record as the broker stores it; aiokafka's `ConsumerRecord` is one."""

    @property
    def topic(self) -> str:
        """Its topic."""

    @property
    def partition(self) -> int:
        """Its partition."""

    @property
    def offset(self) -> int:
        """Its offset."""

    @property
    def timestamp(self) -> int:
        """Unix time in milliseconds, from the producer or the broker (`timestamp_type`)."""

    @property
    def timestamp_type(self) -> int:
        """0: the producer's time, 1: when the broker appended it."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Its headers."""


Records: TypeAlias = Sequence[Record]


class Slice(list["Record"]):
    """Records that left the consumer together, and how many bytes their keys, values and headers are."""

    nbytes: int = 0


class Oversized(bytes):
    """Stands for a value, or a whole batch of records, that is too large to be used: its beginning, or its packed form.

    Attributes:
        detail: what is too large, for people.
        headers: further headers of its dead letter, besides the origin.
    """

    detail: str = ""
    headers: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def of(cls, kept: bytes, detail: str, headers: tuple[tuple[str, bytes], ...]) -> Self:
        """Make one that holds `kept`."""
        made = cls(kept)
        made.detail, made.headers = detail, headers
        return made


def size_of(record: Record) -> int:
    """Count the bytes of a record's key, value and headers."""
    return len(record.value or b"") + len(record.key or b"") + size_of_headers(record.headers)


def size_of_headers(headers: Sequence[tuple[str, bytes]]) -> int:
    """Count the bytes of headers; their values may be missing."""
    return sum(len(name) + len(value or b"") for name, value in headers)


class TP(NamedTuple):
    """A partition of a topic; equal to (and hashing like) Faust's and aiokafka's own tuples."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class TopicSet:
    """Input topics that are consumed together, and the table that keeps their state.

    All topics and the changelog have `partitions` partitions; partition number `n` of all of them always has the same
    owner, so `n` alone names a unit of work.
    """

    table: str
    topics: tuple[str, ...]
    partitions: int

    def changelog(self, group: str) -> str:
        """Return the full name of the table's changelog topic."""
        return f"{group}-{self.table}-changelog"


class Batch:
    """A slice of the fetched records of ONE partition, delivered as one Faust message.

    Guarantees: records are raw bytes, in offset order, at most `Settings.batch_max`, at least one; batches of a
    partition arrive in order, without overlap, and no record between two of them is left out (gaps between their
    offsets are records that the broker no longer has).

    The receiver calls `ack()` once, when all effects of the records are stored. Batches may be acknowledged in any
    order: the committed offset never passes the first batch that is not acknowledged. A batch of an older generation
    may be acknowledged too; that commits nothing.
    """

    __slots__ = ("ack", "generation_id", "partition", "records", "topic")

    def __init__(
        self, topic: str, partition: int, records: Records, generation_id: int, ack: Callable[[], None]
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.generation_id = generation_id
        #: Acknowledges the batch: all effects of its records are stored. Keeping only this releases the records.
        self.ack = ack

    @property
    def tp(self) -> TP:
        """Where the records come from."""
        return TP(self.topic, self.partition)

    @property
    def first_offset(self) -> int:
        """Offset of the first record."""
        return self.records[0].offset

    @property
    def last_offset(self) -> int:
        """Offset of the last record; once the batch is acknowledged, `last_offset + 1` may be committed."""
        return self.records[-1].offset

    @property
    def nbytes(self) -> int:
        """The bytes of its records."""
        records = self.records
        return records.nbytes if isinstance(records, Slice) else sum(map(size_of, records))

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return (
            f"<Batch {self.topic}[{self.partition}] {self.first_offset}..{self.last_offset}"
            f" generation {self.generation_id}>"
        )


class Recovered(dict[bytes, bytes]):
    """The value of each key in the changelog of one partition.

    Attributes:
        shadowed: keys whose last record is not the one that holds, because a worker that had lost the partition wrote
            after its successor. The owner writes them again: compaction keeps the last record, not the one that holds.
        offsets: the offset of each key's record in the log.
    """

    shadowed: frozenset[bytes] = frozenset()
    offsets: Mapping[bytes, int] = MappingProxyType({})


class Listener(Protocol):
    """Receives the partitions of a `TopicSet` that this worker owns."""

    async def on_assigned(self, partitions: set[int], recovered: Mapping[int, Recovered]) -> None:
        """Take over exactly these partitions; called once a generation.

        Guarantees: `on_revoked` was called before; `recovered[p]` is the complete changelog of `p`. It is left out for
        partitions that `on_revoked` has returned and in whose changelog nobody wrote since: the listener still holds
        their state. No batch of this generation is delivered before this returns. May write to the changelog and send.
        A rebalance that interrupts this cancels it, calls `on_revoked`, and calls this again in a new generation.
        """

    async def on_revoked(self, partitions: set[int]) -> Collection[int]:
        """Give up all partitions, which the worker loses by a rebalance or because it stops.

        Nothing more is delivered. Store and acknowledge held batches at once: those acknowledged when this returns are
        committed. Called after every `on_assigned`, also one that was cancelled. Writes are still accepted, unless the
        partitions were lost already (the session expired): then they raise `StaleGenerationError`; drop all held state.
        Bounded by half the rebalance timeout: then it is cancelled, and unacknowledged batches are delivered again to
        the next owner.

        Returns:
            Partitions all of whose state is stored exactly as the listener holds it: it stays valid if they come back
            at once. All other state is void.
        """


class StaleGenerationError(Exception):
    """This worker does not own the partition any more: drop its state, without acknowledging."""


class PartitionCountError(Exception):
    """Topics do not exist, or lack the required partitions or message size; the text names them."""

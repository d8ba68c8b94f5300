"""What the layers above see of the transport: plain types, none of Faust's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


class Record(Protocol):
    """A record as the broker has it; aiokafka's `ConsumerRecord` is one."""

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
        headers: what a dead letter says of it besides its origin.
    """

    detail: str = ""
    headers: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def of(cls, kept: bytes, detail: str, headers: tuple[tuple[str, bytes], ...]) -> Self:
        """Keeps `kept`."""
        made = cls(kept)
        made.detail, made.headers = detail, headers
        return made


def size_of(record: Record) -> int:
    """The bytes of a record's key, value and headers."""
    return len(record.value or b"") + len(record.key or b"") + size_of_headers(record.headers)


def size_of_headers(headers: Sequence[tuple[str, bytes]]) -> int:
    """The bytes of headers; their values may be missing."""
    return sum(len(name) + len(value or b"") for name, value in headers)


class TP(NamedTuple):
    """A partition of a topic; equal to (and hashing like) Faust's and aiokafka's own tuples."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class TopicSet:
    """Input topics that are consumed together, and the table that keeps their state.

    All topics and the changelog have `partitions` partitions; partition number `n` of all of them always has
    the same owner, so that `n` alone names a unit of work.
    """

    table: str
    topics: tuple[str, ...]
    partitions: int

    def changelog(self, group: str) -> str:
        """Full name of the table's changelog topic."""
        return f"{group}-{self.table}-changelog"


class Batch:
    """A slice of the fetched records of ONE partition, handed over as one Faust message.

    Guarantees: records are raw bytes, in offset order, at most `Settings.batch_max`, at least one; batches of
    a partition arrive in order, without overlap, and nothing between two of them was left out (gaps between
    their offsets are records that the broker no longer has).

    The receiver calls `ack()` once, when all that the records cause is stored. Batches may be acknowledged in
    any order: the offset committed never passes the first batch that is not acknowledged. A batch of an older
    generation may be acknowledged too; that commits nothing.
    """

    __slots__ = ("ack", "generation_id", "partition", "records", "topic")

    def __init__(
        self, topic: str, partition: int, records: Records, generation_id: int, ack: Callable[[], None]
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.generation_id = generation_id
        #: Everything these records cause is stored. Who keeps only this lets go of the records.
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
        """Offset of the last record; acknowledged, it lets `last_offset + 1` be committed."""
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
    """What the changelog of one partition says: the value of each key.

    Attributes:
        shadowed: keys whose last record is not the one that holds, because a worker that had lost the partition
            wrote after its successor. To be written again: compaction keeps the last record, not the one that holds.
        offsets: where in the log the record of each key lies.
    """

    shadowed: frozenset[bytes] = frozenset()
    offsets: Mapping[bytes, int] = MappingProxyType({})


class Listener(Protocol):
    """Told which partitions of a `TopicSet` this worker owns."""

    async def on_assigned(self, partitions: set[int], recovered: Mapping[int, Recovered]) -> None:
        """The worker owns exactly these partitions now; called once a generation.

        Guarantees: `on_revoked` came first; `recovered[p]` is what the changelog says of `p`, complete. It is left
        out for partitions that `on_revoked` has returned and in whose changelog nobody wrote since: their state is
        what the listener still holds. No batch of this generation was delivered yet and none is before this
        returns. May write to the changelog and send. Called again from the start, in a new generation, when a
        rebalance interrupts it (it is cancelled then, and `on_revoked` is called).
        """

    async def on_revoked(self, partitions: set[int]) -> Collection[int]:
        """The worker is about to lose all its partitions, by a rebalance or because it stops.

        Nothing more is delivered. Store and acknowledge what is held, at once: what is acknowledged when this
        returns is committed. Called after every `on_assigned`, also one that was cancelled. Writes are still
        accepted, unless the partitions were lost already (the session expired): then they raise
        `StaleGenerationError` and what is held is to be dropped.
        Bounded by half the rebalance timeout: then it is cancelled, and what was not acknowledged is delivered
        again to whoever owns it next.

        Returns:
            Partitions all of whose state is stored just as the listener holds it: it is still good if they come
            back at once. All other state is void.
        """


class StaleGenerationError(Exception):
    """This worker does not own the partition any more: drop what it holds, without acknowledging it."""


class PartitionCountError(Exception):
    """Topics do not exist, or have not the partitions or the message size they must have; the text says which."""

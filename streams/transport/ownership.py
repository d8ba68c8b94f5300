"""What this worker owns: its claims on changelogs, one a partition and generation. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from streams.transport.api import TP, Listener, PartitionCountError, TopicSet
from streams.transport.changelog import Stamp


@dataclass(slots=True)
class Claim:
    """This worker's right to write one partition's changelog in one generation.

    `end` is the log's end after all that is known to be in it: read at the recovery, or written by us since.
    """

    generation: int
    stamp: Stamp
    end: int

    def next_stamp(self) -> Stamp:
        """The stamp of the next write."""
        stamp = self.stamp
        self.stamp = stamp._replace(sequence=stamp.sequence + 1)
        return stamp

    def wrote(self, offset: int, count: int) -> range:
        """Notes records of ours at an offset; returns the offsets before them of which we know nothing."""
        unknown = range(self.end, offset)
        self.end = offset + count
        return unknown


@dataclass(slots=True)
class Attached:
    """A topic set, its listener, and what is claimed for it."""

    topics: TopicSet
    changelog: str
    listener: Listener
    claims: dict[int, Claim] = field(default_factory=dict)
    told: bool = False  # whether the listener knows of the claims
    #: Claims of the generation before whose state the listener still holds.
    kept: dict[int, Claim] = field(default_factory=dict)

    def still_kept(self, owned: set[int], read: Collection[int]) -> dict[int, tuple[Stamp, int]]:
        """Latest stamp and log end of the partitions that came back and in whose changelog nobody wrote."""
        return {p: (claim.stamp, claim.end) for p, claim in self.kept.items() if p in owned and p not in read}

    def partitions_of(self, assigned: Collection[TP]) -> set[int]:
        """The partition numbers of an assignment: the same for every topic and the changelog."""
        by_topic = {
            topic: {tp.partition for tp in assigned if tp.topic == topic}
            for topic in (*self.topics.topics, self.changelog)
        }
        if len({frozenset(numbers) for numbers in by_topic.values()}) > 1:
            counts = ", ".join(f"{topic}: {len(numbers)}" for topic, numbers in sorted(by_topic.items()))
            raise PartitionCountError(
                f"The topics of {self.topics.table} were assigned different partitions ({counts}): was one deleted, or "
                "given more partitions, while the worker ran?"
            )
        return by_topic[self.changelog]

"""This worker's claims on changelogs, one a partition and generation. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from streams.transport.api import TP, Listener, PartitionCountError, TopicSet
from streams.transport.changelog import Stamp


@dataclass(slots=True)
class Claim:
    """This worker's right to write one partition's changelog in one generation.

    `end` is the end of the known part of the log: read at the recovery, or written by us since.
    """

    generation: int
    stamp: Stamp
    end: int

    def next_stamp(self) -> Stamp:
        """Return the stamp of the next write, and count it."""
        stamp = self.stamp
        self.stamp = stamp._replace(sequence=stamp.sequence + 1)
        return stamp

    def wrote(self, offset: int, count: int) -> range:
        """Note `count` records of ours from an offset on; return the unknown offsets before them."""
        unknown = range(self.end, offset)
        self.end = offset + count
        return unknown


@dataclass(slots=True)
class Attached:
    """A topic set, its listener, and its claims."""

    topics: TopicSet
    changelog: str
    listener: Listener
    claims: dict[int, Claim] = field(default_factory=dict)
    told: bool = False  # whether the listener knows of the claims
    #: Claims of the previous generation whose state the listener still holds.
    kept: dict[int, Claim] = field(default_factory=dict)

    def still_kept(self, owned: set[int], read: Collection[int]) -> dict[int, tuple[Stamp, int]]:
        """Return stamp and log end of the partitions that came back and in whose changelog nobody wrote."""
        return {p: (claim.stamp, claim.end) for p, claim in self.kept.items() if p in owned and p not in read}

    def partitions_of(self, assigned: Collection[TP]) -> set[int]:
        """Return the partition numbers of an assignment: the same for every topic and the changelog."""
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

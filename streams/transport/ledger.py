"""The delivered, acknowledged and committed batches of one partition. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.transport.api import Records


class Entry:
    """One delivered batch."""

    __slots__ = ("done", "last_offset", "taken")

    def __init__(self, last_offset: int) -> None:
        self.last_offset = last_offset
        self.taken = False
        self.done = False


class Ledger:
    """The batches of one partition in one generation, in the order of their delivery.

    Guarantees: `to_commit` never passes the first unfinished batch, whatever the order of `finish`
    (faust-streaming#606); it is offered until `committed` confirms that the broker has it, so that a failed commit is
    repeated (robinhood/faust#316). Missing offsets (compaction, deleted or control records) need no care: the order of
    batches counts, not the distance of offsets.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self._entries: deque[Entry] = deque()
        self._finished = position
        self._committed = position

    def admit(self, records: Records) -> Records:
        """Return the records that were not delivered yet; a fetch may repeat some after a seek."""
        if records and records[0].offset < self.position:
            return [record for record in records if record.offset >= self.position]
        return records

    def deliver(self, records: Records) -> Entry:
        """Note a batch on its way to an agent."""
        entry = Entry(records[-1].offset)
        self.position = entry.last_offset + 1
        self._entries.append(entry)
        return entry

    def finish(self, entry: Entry) -> None:
        """Note that all effects of a batch are stored; a second call changes nothing."""
        entry.taken = entry.done = True
        while self._entries and self._entries[0].done:
            self._finished = self._entries.popleft().last_offset + 1

    @property
    def taken(self) -> int:
        """The offset up to which an agent has taken batches."""
        if not self._entries or self._entries[-1].taken:
            return self.position  # agents take batches in order: if the last one is taken, all are
        for previous, entry in zip([None, *self._entries], self._entries, strict=False):
            if not entry.taken:
                return previous.last_offset + 1 if previous else self._finished
        return self.position

    @property
    def unfinished(self) -> int:
        """How many batches are delivered and not before the commit point."""
        return len(self._entries)

    @property
    def to_commit(self) -> int | None:
        """The offset to commit, if the broker does not have it yet."""
        return self._finished if self._finished != self._committed else None

    def committed(self, offset: int) -> None:
        """Note that the broker has stored this offset."""
        self._committed = offset

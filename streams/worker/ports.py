"""What a task is built from: its kind, and the port to the transport."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, Protocol

import msgspec

from models.parsing import Parsed, Rejected
from models.state import StateCodec
from streams.engine.partition import Partition
from streams.rules.api import StateT
from streams.transport.api import TP
from streams.worker.sender import Outgoing

#: The changelog key of a task's clock. No subject can have it: it is not UTF-8, and the key of every subject is.
CLOCK_KEY: Final = b"\xffclock"
#: The clock's key in earlier versions. A water loop may have this name, too.
OLD_CLOCK_KEY: Final = b"#clock"


class Claimed(msgspec.Struct):
    """The fields of an alert on `alerts.active` that show its subject and whether it is the newest."""

    revision: int
    patient_id: str | None = None
    water_loop_id: str | None = None


#: The revision of a value that is no alert.
NO_REVISION: Final = -1


class Shown(NamedTuple):
    """A record about an alert, from any writer; `value` is its value, byte for byte."""

    revision: int
    patient_id: str | None = None
    water_loop_id: str | None = None
    value: bytes | None = None


#: An alert's id, and a record about it; None for a tombstone.
NamedRecord = tuple[str, Shown | None]


class Port(Protocol):
    """The part of the transport that a task may use."""

    async def write(self, partition: int, entries: Mapping[bytes, bytes | None]) -> Collection[bytes]:
        """Write the changelog; return when the broker has acknowledged it.

        Returns:
            Keys that a worker which had lost the partition has written meanwhile. The caller writes them again, or
            compaction would keep only that worker's records.

        Raises:
            UnstoredError: Records are too large for the changelog; all others are stored.
        """

    async def send_all(self, messages: Sequence[Outgoing]) -> None:
        """Send messages; return when the broker has acknowledged them.

        Raises:
            UnsentError: Some are too large for their topic; all others were sent.
        """

    def pause(self, tps: set[TP]) -> None:
        """Stop delivery of partitions."""

    def resume(self, tps: set[TP]) -> None:
        """Resume delivery of partitions."""

    def end_confirmed_at(self, tp: TP) -> float | None:
        """Return when a fetch last confirmed that all records of a partition were delivered."""

    @property
    def waiting_share(self) -> int:
        """The bytes of one input partition that may wait."""

    def end_offset(self, tp: TP) -> int | None:
        """Return the end of a partition's log, as of the broker's last answer."""


@dataclass(frozen=True)
class Kind(Generic[StateT]):
    """A kind of task: which subjects it keeps and how its messages are read.

    Attributes:
        table: name of the table, and of the changelog.
        topics: contract names of its input topics.
        subject: the field of an event that names the subject; the record's key must equal it.
        make: an empty partition of subjects.
    """

    table: str
    topics: tuple[str, ...]
    subject: str
    codec: StateCodec[StateT]
    parse: Callable[[bytes | None], Parsed[Any] | Rejected]
    make: Callable[[], Partition[StateT]]

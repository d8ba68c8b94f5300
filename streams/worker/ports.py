"""What a task is made of and what it may ask for: its kind, and the port to the transport."""

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

#: The changelog key of a task's clock. No subject can have it: it is no UTF-8, as the key of every subject is.
CLOCK_KEY: Final = b"\xffclock"
#: The key that earlier versions gave the clock. A water loop may have this name, too.
OLD_CLOCK_KEY: Final = b"#clock"


class Claimed(msgspec.Struct):
    """As much of an alert on `alerts.active` as tells whose it is and whether it is the newest."""

    revision: int
    patient_id: str | None = None
    water_loop_id: str | None = None


#: The revision of what is no alert.
NO_REVISION: Final = -1


class Shown(NamedTuple):
    """A word on an alert, as anybody may have said it; the value is what was said, byte for byte."""

    revision: int
    patient_id: str | None = None
    water_loop_id: str | None = None
    value: bytes | None = None


#: An alert's id, and what was said of it; None for a tombstone.
Word = tuple[str, Shown | None]


class Port(Protocol):
    """What a task may ask of the transport."""

    async def write(self, partition: int, entries: Mapping[bytes, bytes | None]) -> Collection[bytes]:
        """Write the changelog; returns when the broker has acknowledged it.

        Returns:
            Keys that somebody else, who had lost the partition already, has written meanwhile: to be written again,
            lest compaction keep that other's word alone.

        Raises:
            UnstoredError: Records are too large for the changelog; all others are stored.
        """

    async def send_all(self, messages: Sequence[Outgoing]) -> None:
        """Send messages; returns when the broker has acknowledged them.

        Raises:
            UnsentError: Some are too large for their topic; all others were sent.
        """

    def pause(self, tps: set[TP]) -> None:
        """Stop delivery of partitions."""

    def resume(self, tps: set[TP]) -> None:
        """Go on with delivery."""

    def end_confirmed_at(self, tp: TP) -> float | None:
        """When a fetch last confirmed that all of a partition was handed over."""

    @property
    def waiting_share(self) -> int:
        """The bytes of one input partition that may wait."""

    def end_offset(self, tp: TP) -> int | None:
        """The end of a partition's log, as last heard."""


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

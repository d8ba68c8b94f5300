"""Read a changelog record by record: subjects, the clock, and unreadable records.

An unreadable record concerns one subject. It is set aside to `dead-letters`, and a tombstone is written over it once
that is acknowledged, so that a restart does not meet it again; the state of all other subjects is taken over.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final, Generic, Protocol

import msgspec

from models.settings import Settings
from models.state import PatientState, StateCodec
from models.state.sampled import PREFIX, Sampled, Source, complete, key_of, sources_of
from models.state.sampled import decode as decode_sampled
from models.topics import DEAD_LETTERS, changelog
from streams.kafka.dead_letter import dead_letter
from streams.rules.api import StateT
from streams.transport.api import Batch, Recovered
from streams.worker.clock import Clock, Mark
from streams.worker.ports import CLOCK_KEY, OLD_CLOCK_KEY
from streams.worker.sender import Outgoing

log = logging.getLogger(__name__)

#: The reason of such a dead letter.
REASON: Final = "bad_state"
#: A clock stored further ahead of the wall clock is not believed: the newest subject's evaluation is the clock then.
CLOCK_BELIEVED: Final = timedelta(days=1)
#: How many subjects are taken over before the event loop serves others.
ADOPT_AT_ONCE: Final = 200
#: A subject last evaluated in such a year or later is not ours, and no calendar could go on from there.
_LAST_YEAR: Final = 9000
#: The errors of decoding a value that is no state.
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)


class BadStateError(Exception):
    """A record of the changelog cannot be read, and `DIALYSIS_ON_BAD_STATE` is `stop`."""


class _Named(msgspec.Struct):
    """Tells state from clock: the state of a subject has an id, a clock has none."""

    id: Any = None


_clock: Final = msgspec.json.Decoder(Clock)
_named: Final = msgspec.json.Decoder(_Named)


@dataclass(frozen=True, slots=True)
class BadRecord:
    """An unreadable record of a changelog, with the attributes of a Kafka record that a dead letter needs."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    why: str
    headers: Sequence[tuple[str, bytes]] = ()

    def __str__(self) -> str:
        digest = hashlib.sha256(self.key).hexdigest()[:16]
        return f"{self.topic}[{self.partition}] offset {self.offset} (SHA-256 of the key: {digest}…): {self.why}"


class Stored(Generic[StateT]):
    """Reads the changelog of one partition.

    What samples changed of a subject is added to its record where it belongs to that very form of it; else it is older.

    Args:
        table: name of the table.
        partition: its number.
        recovered: the values of the changelog; the task's own records (the clock) are removed from it.
    """

    def __init__(
        self, table: str, codec: StateCodec[StateT], partition: int, settings: Settings, recovered: Recovered
    ) -> None:
        self._codec, self._settings, self._partition = codec, settings, partition
        self._topic = changelog(settings.group, table)
        self._offsets = recovered.offsets
        #: Whether nothing was ever stored here.
        self.is_blank = not recovered
        #: Unreadable records.
        self.bad: list[BadRecord] = []
        #: Keys of the task's own records that are no longer used.
        self.outdated: list[bytes] = []
        #: What samples changed of each subject, by its key; and the sources of those that count.
        self._sampled = {key.removeprefix(PREFIX): recovered.pop(key) for key in list(recovered) if key[:1] == PREFIX}
        self.sources: dict[bytes, set[Source]] = {}
        self.clock = self._own(recovered)

    def _own(self, recovered: Recovered) -> Clock | None:
        found = []
        if (raw := recovered.pop(CLOCK_KEY, None)) is not None:
            found.append(self._read_clock(CLOCK_KEY, raw))
        if (raw := recovered.get(OLD_CLOCK_KEY)) is not None and _is_clock(raw):
            del recovered[OLD_CLOCK_KEY]
            self.outdated.append(OLD_CLOCK_KEY)
            found.append(self._read_clock(OLD_CLOCK_KEY, raw))
        return max((clock for clock in found if clock is not None), key=lambda clock: clock.now, default=None)

    def _read_clock(self, key: bytes, raw: bytes) -> Clock | None:
        try:
            clock = _clock.decode(raw)
            clock.now = clock.now.astimezone(UTC)
            ahead = clock.now - datetime.now(UTC)
        except _UNREADABLE as error:
            self._is_bad(key, raw, f"it is no clock ({type(error).__name__})")
            return None
        if ahead > CLOCK_BELIEVED:
            self._is_bad(key, raw, "it is a clock more than a day ahead")
            return None
        return clock

    async def all_states(self, items: Mapping[bytes, bytes]) -> AsyncIterator[list[StateT]]:
        """Decode the subjects of all records, a part at a time; between parts the event loop answers health checks.

        Raises:
            NewerSchemaError: See `states`.
        """
        left = iter(items.items())
        while some := list(islice(left, ADOPT_AT_ONCE)):
            yield self.states(some)
            await asyncio.sleep(0)
        for key, raw in self._sampled.items():  # of records that are gone, or broken
            self._read_sampled(key, raw)

    def states(self, items: Iterable[tuple[bytes, bytes]]) -> list[StateT]:
        """Decode the subjects of some records; add unreadable ones to `bad`.

        Raises:
            NewerSchemaError: A newer version of the product wrote one: this is a rollback, and nothing is broken.
        """
        states = []
        for key, raw in items:
            try:
                state = self._codec.decode(raw)
                state.check()
                belongs = state.id.encode() == key
                is_past = state.now is None or state.now.year < _LAST_YEAR
            except _UNREADABLE as error:
                self._is_bad(key, raw, f"it is no state ({type(error).__name__})")
                continue
            self._complete(key, state)
            if belongs and is_past and state.heard_at.year < _LAST_YEAR:
                states.append(state)
            else:
                self._is_bad(key, raw, "it holds another id than its key" if not belongs else "its time cannot be")
        return states

    def _complete(self, key: bytes, state: StateT) -> None:
        """Add to a subject what samples have changed since its record was stored whole."""
        raw = self._sampled.pop(key, None)
        found = None if raw is None else self._read_sampled(key, raw)
        try:
            if found is not None and isinstance(state, PatientState) and complete(state, found):
                self.sources[key] = sources_of(found)
        except (ValueError, IndexError) as error:
            self._is_bad(key_of(key), raw or b"", f"it is no record of samples ({type(error).__name__})")

    def _read_sampled(self, key: bytes, raw: bytes) -> Sampled | None:
        try:
            return decode_sampled(raw)
        except _UNREADABLE as error:
            self._is_bad(key_of(key), raw, f"it is no record of samples ({type(error).__name__})")
            return None

    def _is_bad(self, key: bytes, raw: bytes, why: str) -> None:
        bad = BadRecord(self._topic, self._partition, self._offsets.get(key, -1), key, raw, why)
        if self._settings.on_bad_state == "stop":
            raise BadStateError(
                f"The changelog record {bad}; it cannot be read. Set DIALYSIS_ON_BAD_STATE=set_aside to move it to "
                "dead-letters and go on without it."
            )
        log.error("The changelog record %s; it cannot be read and is set aside to dead-letters", bad)
        self.bad.append(bad)

    async def set_aside(self, port: Writer) -> None:
        """Publish unreadable records as dead letters, then delete them, outdated keys, and samples alone."""
        if self.bad:
            await port.send_all([self._letter(bad) for bad in self.bad])
        alone = [key_of(key) for key in self._sampled]
        if gone := [*(bad.key for bad in self.bad), *self.outdated, *alone]:
            await port.write(self._partition, dict.fromkeys(gone))

    def _letter(self, bad: BadRecord) -> Outgoing:
        letter = dead_letter(bad, REASON, bad.why, self._settings.max_message_bytes)
        return Outgoing(self._settings.topic(DEAD_LETTERS), letter.key, letter.value, letter.headers)


class Writer(Protocol):
    """The part of `streams.worker.ports.Port` that setting aside needs."""

    async def write(self, partition: int, entries: Mapping[bytes, bytes | None]) -> Collection[bytes]:
        """Write the changelog."""

    async def send_all(self, messages: Sequence[Any]) -> None:
        """Send messages."""


def _is_clock(raw: bytes) -> bool:
    """Whether a record under the old clock's key is a clock, or broken; a water loop of that name has an id."""
    try:
        return _named.decode(raw).id is None
    except _UNREADABLE:
        return True


def was_made_anew(batch: Batch, end: int | None, applied: int, mark: Mark | None) -> bool:
    """Whether the first batch shows that the topic is not the one whose offsets were applied.

    The log's end does not lie beyond the applied offset; or, where the log has grown beyond it already, the first
    record is newer than the one applied at the same or a later offset. This comparison needs the broker's timestamps
    (LogAppendTime). If they went back between two brokers, records are filed once more, which filing makes safe.

    Args:
        batch: the first batch.
        end: the end of the log, if known.
        applied: the newest offset applied to any subject, -1 for none.
        mark: the newest handled record.
    """
    first = batch.records[0]
    is_shorter = end is not None and applied >= end
    is_newer = mark is not None and first.offset <= mark.offset and first.timestamp > mark.timestamp
    if is_shorter or is_newer:
        log.warning(
            "%s[%d] was made anew: it begins at offset %d and ends at %s, and offset %d was applied; it is read as new",
            *batch.tp,
            first.offset,
            end,
            applied,
        )
    return is_shorter or is_newer

"""Store what a task changed, then acknowledge the input that changed it.

Of a subject that samples alone have changed, only their part is stored (models.state.sampled): a few hundred bytes
instead of the whole record, and nobody encodes the patient's past.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Final, Generic

from models.state.sampled import PREFIX, Source, key_of
from streams.engine.partition import BEGINNING
from streams.rules.api import StateT
from streams.worker.owned import Owned
from streams.worker.ports import CLOCK_KEY, Port
from streams.worker.sender import Outgoing
from streams.worker.set_aside import SetAside

#: A task that receives nothing for this share of the checkpoint interval does not wait for the rest of it.
REST_SHARE: Final = 0.25
#: Multiples of the golden ratio spread evenly, whichever partitions a worker owns.
_GOLDEN: Final = 0.6180339887
#: How often a task retires subjects, by its clock.
RETIRE_EVERY: Final = timedelta(days=1)
#: With samples of more sessions and machines than this since it was stored, a record is stored whole.
MOST_SOURCES: Final = 4
#: The history of a subject whose record was last stored whole so many seconds ago is packed.
QUIET_S: Final = 60.0
#: How many histories a task packs in one turn in which it has nothing else to do.
PACKED_AT_ONCE: Final = 20


class Checkpoint(Generic[StateT]):
    """The changed subjects and the unacknowledged batches of one task.

    Guarantees: a batch is acknowledged only when every state it changed and every dead letter it left is stored. The
    caller publishes all outboxes first.
    """

    def __init__(self, owned: Owned[StateT], port: Port, set_aside: SetAside[StateT]) -> None:
        self.port = port
        self._owned, self._set_aside = owned, set_aside
        #: Subjects to be stored whole (None deletes one), and those of which samples alone are to be stored.
        self.changed: dict[bytes, StateT | None] = {}
        self.sampled: dict[bytes, StateT] = {}
        #: The sources of the samples of each subject since its record was stored whole.
        self.sources: defaultdict[bytes, set[Source]] = defaultdict(set)
        #: How to acknowledge each handled batch; the records themselves are dropped.
        self._handled: list[Callable[[], None]] = []
        #: Since when something waits to be stored, and for how many seconds at the longest.
        self._since: float | None = None
        self._longest = 0.0
        self._handled_at = 0.0
        self._retired_at = BEGINNING
        #: Whether nothing was ever stored here.
        self._is_blank = False
        #: Subjects with an unpacked history, and when they were last stored whole; the oldest first.
        self._unpacked: dict[bytes, float] = {}

    def adopt(self, sources: Mapping[bytes, set[Source]], *, is_blank: bool) -> None:
        """Take over what was recovered: the sources of stored samples, and whether nothing was ever stored."""
        self.sources |= sources
        self._is_blank = is_blank
        self._unpacked = dict.fromkeys(self._owned.by_key, 0.0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be stored or acknowledged."""
        return not (self.changed or self.sampled or self._handled)

    # -- what is to be stored

    def touch(self, key: bytes, state: StateT | None) -> None:
        """Mark a subject to be stored whole; None deletes it."""
        self.changed[key] = state
        self._begin()

    def has_handled(self) -> None:
        """Note that records were handled just now; the caller has put what they changed into the mappings."""
        self._handled_at = time.monotonic()
        if self.changed or self.sampled:
            self._begin()

    def acknowledge_later(self, acknowledge: Callable[[], None]) -> None:
        """Acknowledge a handled batch once what it changed is stored."""
        self._handled.append(acknowledge)
        self._begin()

    def store_again(self, keys: Collection[bytes]) -> None:
        """Mark keys for storing whose newest record in the log is not ours, though ours holds."""
        for key in keys:
            if key == CLOCK_KEY:
                self._owned.clock.store_again()
            else:
                # Stored whole, a subject outdates all of its samples, whoever wrote them.
                subject = key.removeprefix(PREFIX)
                self.touch(subject, self._owned.by_key.get(subject))

    def _begin(self) -> None:
        """Note that something waits to be stored, until the next of this partition's own moments.

        Each partition has one an interval, at a distance from those of the others: an alert would wait for all of them
        if they stored together.
        """
        if self._since is None:
            self._since, interval = time.monotonic(), self._owned.settings.checkpoint_interval
            own = self._owned.partition * _GOLDEN % 1 * interval
            self._longest = interval - (self._since - own) % interval

    def is_due(self) -> bool:
        """Whether it is time to store."""
        if self._since is None:
            return self._owned.clock.is_to_be_stored
        settings, now = self._owned.settings, time.monotonic()
        return (
            len(self.changed) + len(self.sampled) >= settings.checkpoint_patients
            or now - self._since >= self._longest
            or now - max(self._handled_at, self._since) >= settings.checkpoint_interval * REST_SHARE
        )

    # -- storing

    async def store(self) -> None:
        """Store every changed subject, then acknowledge the batches that changed them."""
        started, owned = time.monotonic(), self._owned
        self._retire()
        owned.subjects.waiting.settle_all()
        handled, self._handled = self._handled, []
        changed, self.changed = self.changed, {}
        sampled, self.sampled = self.sampled, {}
        self._since = None
        only_sampled = (state for key, state in sampled.items() if key not in changed)
        shown = owned.output.running_sessions(changed.values(), only_sampled, owned.subjects)
        entries = self._encode(changed, sampled)
        if (clock := owned.clock.store(always=bool(handled) and self._is_blank)) is not None:
            # Also without subjects: an empty changelog of inputs that were read would count as lost.
            entries[CLOCK_KEY] = clock
            self._is_blank = False
        self.store_again(await self._set_aside.store(self.port, entries, sampled | changed))
        self._set_aside.count()
        await self.send(shown)
        for acknowledge in handled:
            acknowledge()
        if changed or sampled:
            owned.metrics.checkpoint_seconds.observe(time.monotonic() - started)
            owned.metrics.checkpointed_keys.inc(len(changed) + len(sampled))

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Send messages; those that are too large become dead letters."""
        await self._set_aside.send(self.port, messages)

    def _encode(self, changed: dict[bytes, StateT | None], sampled: dict[bytes, StateT]) -> dict[bytes, bytes | None]:
        """Encode the changelog values; a subject that was never stored whole, or has many sources, is stored whole."""
        entries: dict[bytes, bytes | None] = {}
        for key, state in sampled.items():
            if key in changed:
                continue
            sources = self.sources.get(key, set())
            raw = self._set_aside.encode_sampled(state, sources) if len(sources) <= MOST_SOURCES else None
            if raw is None:
                changed[key] = state
            else:
                entries[key_of(key)] = raw
        entries |= self._set_aside.encode(changed)
        now = time.monotonic()
        for key, stored in changed.items():
            self.sources.pop(key, None)
            self._unpacked.pop(key, None)
            if stored is not None and stored.drop_empty():
                self._unpacked[key] = now
        return entries

    def _retire(self) -> None:
        """Retire once a day, by the clock, subjects without messages for so long that their state cannot matter."""
        subjects = self._owned.subjects
        if subjects.now - self._retired_at < RETIRE_EVERY:
            return
        self._retired_at = subjects.now
        for subject in subjects.retire():
            key = subject.encode()
            self.changed[key] = None
            self.sampled.pop(key, None)
            del self._owned.by_key[key]

    # -- memory

    def pack_quiet(self) -> None:
        """Pack the histories of a few subjects that were not stored whole for `QUIET_S`."""
        until, packed = time.monotonic() - QUIET_S, 0
        while self._unpacked and packed < PACKED_AT_ONCE:
            key, stored_at = next(iter(self._unpacked.items()))
            if stored_at > until:
                return
            del self._unpacked[key]
            state = self._owned.by_key.get(key)
            if state is not None and key not in self.changed:
                state.pack()
                packed += 1

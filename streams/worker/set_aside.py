"""Handle records that the changelog refuses: reduce that subject, or begin it anew; no other subject is affected."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Generic

from models.parsing import FaultReason
from models.state import PatientState, StateCodec
from models.state.bounds import DROPS_FORGOTTEN
from models.state.sampled import PREFIX, Source, key_of, sampled_of
from models.state.sampled import encode as encode_sampled
from streams.engine.partition import Partition
from streams.kafka.dead_letter import as_read
from streams.rules.api import StateT
from streams.worker.changelog_writer import UnstoredError
from streams.worker.metrics import Metrics
from streams.worker.outbox import TaskOutput
from streams.worker.ports import Port
from streams.worker.sender import Outgoing, UnsentError

log = logging.getLogger(__name__)

#: How a refused record is made to fit, in order.
REDUCED: Final = "reduced"
NO_ALARMS: Final = "no_alarms"
ANEW: Final = "anew"
_NEXT: Final = {REDUCED: NO_ALARMS, NO_ALARMS: ANEW, ANEW: ANEW}
_SAID: Final = {
    REDUCED: "only its open alerts are kept",
    NO_ALARMS: "only its open alerts are kept, without those that repeat machines' alarms",
    ANEW: "it is set aside and begins anew",
}


class SetAside(Generic[StateT]):
    """Stores the records, and sends the messages, of one task; a refusal affects its own subject alone.

    A refused record is reduced to the open alerts and their grounds. If that is refused as well, those that repeat the
    alarms of machines go: they must not cost the patient another alert. If that is refused, or a record cannot be
    encoded, its bytes become a dead letter and the subject begins anew, with its input applied up to here. If even that
    is refused, the changelog keeps its previous version.
    """

    def __init__(
        self,
        codec: StateCodec[StateT],
        subjects: Partition[StateT],
        output: TaskOutput,
        metrics: Metrics,
        place: tuple[str, int],
    ) -> None:
        self._codec, self._subjects, self._output, self._metrics = codec, subjects, output, metrics
        self._place = place
        #: Subjects that began anew, and until when the metric counts them.
        self._until: dict[bytes, datetime] = {}

    def encode(self, states: Mapping[bytes, StateT | None]) -> dict[bytes, bytes | None]:
        """Encode subjects whole; one that cannot be encoded begins anew. None deletes a subject and its samples."""
        entries: dict[bytes, bytes | None] = {}
        for key, state in states.items():
            if state is None:
                entries |= {key: None, key_of(key): None}
            else:
                self._subjects.waiting.settle(state.id)
                entries[key] = self._encode(key, state)
        return entries

    @staticmethod
    def encode_sampled(state: StateT, sources: Collection[Source]) -> bytes | None:
        """Encode what samples changed of a subject; None where it must be stored whole."""
        if not isinstance(state, PatientState) or not state.stored_as:
            return None
        try:
            return encode_sampled(sampled_of(state, sources))
        except Exception:
            log.exception("samples of a subject cannot be encoded apart from its record")
            return None

    def _encode(self, key: bytes, state: StateT) -> bytes:
        state.stored_as = random.getrandbits(_FORM_BITS)
        try:
            return self._codec.encode(state)
        except Exception:
            log.exception("%s[%d]: the record of key %s cannot be encoded", *self._place, shown(key))
            self._begin_anew(key, state, b"")
            return self._codec.encode(state)

    async def send(self, port: Port, messages: Sequence[Outgoing]) -> None:
        """Send messages; those that their topic refuses for their size become dead letters instead."""
        if not messages:
            return
        try:
            await port.send_all(messages)
        except UnsentError as error:
            log.error("%s", error)
            with contextlib.suppress(UnsentError):
                await port.send_all(self._output.unsent(error.messages))

    async def store_what_fits(self, port: Port, entries: Mapping[bytes, bytes | None]) -> Collection[bytes]:
        """Write the entries that are not refused; return what `Port.write` returns."""
        try:
            return await port.write(self._place[1], entries) if entries else ()
        except UnstoredError as error:
            return error.foreign

    async def store(
        self, port: Port, entries: Mapping[bytes, bytes | None], states: Mapping[bytes, StateT | None]
    ) -> set[bytes]:
        """Write entries and make refused ones fit; return what `Port.write` returns.

        Dead letters are sent first: a write destroys what it replaces.
        """
        foreign: set[bytes] = set()
        left, how = dict(entries), REDUCED
        while left:
            await self.send(port, self._output.take_waiting())
            try:
                return foreign | set(await port.write(self._place[1], left))
            except UnstoredError as error:
                foreign |= set(error.foreign)
                left, how = self._made_smaller(left, states, error.keys, how), _NEXT[how]
        return foreign

    def _made_smaller(
        self,
        entries: Mapping[bytes, bytes | None],
        states: Mapping[bytes, StateT | None],
        refused: Collection[bytes],
        how: str,
    ) -> dict[bytes, bytes | None]:
        smaller: dict[bytes, bytes | None] = {}
        for refused_key in sorted(refused):
            # Where its samples are refused, the whole record would be.
            key, raw = refused_key.removeprefix(PREFIX), entries[refused_key] or b""
            state = states.get(key)
            if state is None or (key in self._until and how != REDUCED and len(raw) < _SMALLEST):
                if state is not None:
                    state.stored_as = 0  # no form of it is stored that samples could complete
                log.error("%s[%d]: the changelog refuses every record of key %s", *self._place, shown(key))
                continue
            step = self._make_smaller(key, state, raw, how)
            place = (*self._place, shown(key), len(raw), _SAID[step])
            log.error("%s[%d]: the changelog refuses the record of key %s, %d bytes: %s", *place)
            smaller[key] = self._encode(key, state)
        return smaller

    def _make_smaller(self, key: bytes, state: StateT, raw: bytes, how: str) -> str:
        """Make a subject smaller; return how, which is the next way where this one leaves nothing out."""
        if how == REDUCED:
            self._subjects.reduce(state)
        elif how == ANEW or not self._subjects.forget_alarms(state):
            self._begin_anew(key, state, raw)
            return ANEW
        self._metrics.records_refused.labels(how).inc()
        return how

    def _begin_anew(self, key: bytes, state: StateT, raw: bytes) -> None:
        self._metrics.records_refused.labels(ANEW).inc()
        table, partition = self._place
        record = as_read(table, partition, key, raw)
        self._output.dead_letter(record, FaultReason.STATE_TOO_LARGE, "the stored record of the subject, not an input")
        self._subjects.begin_anew(state)
        self._until[key] = self._subjects.now + DROPS_FORGOTTEN
        self.count()

    def count(self) -> None:
        """Report the number of subjects that began anew within the last day of the task's clock."""
        if self._until:
            now = self._subjects.now
            self._until = {key: until for key, until in self._until.items() if until > now}
            self._metrics.subjects_set_aside.labels(*map(str, self._place)).set(len(self._until))


#: A stored form is named by a random number of so many bits: two owners of a partition never give one name.
_FORM_BITS: Final = 53
#: A record that began anew is smaller than this.
_SMALLEST: Final = 4096


def shown(key: bytes) -> str:
    """Return a digest of a key: a log must not name a patient."""
    return hashlib.blake2s(key, digest_size=6).hexdigest()

"""All that is kept of one patient. Windows hold the events themselves, by identity.

What a sample may change is at hand. The rest is the patient's history, which is decoded when somebody asks for it.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from models.records import (
    AlertResponse,
    ChairConflict,
    ChairSignal,
    LabResult,
    MachineAlarm,
    Medication,
    PatientMerged,
    PatientProfile,
    Rhythm,
    Schedule,
    Symptom,
    UnitSignal,
    Weight,
)
from models.state.history import NO_HISTORY, Held, History, pack, unpack
from models.state.session import Flow, Reading, Session
from models.state.subject import AlertState, SubjectState

_EMPTY: Final = History()


class Problem(msgspec.Struct, frozen=True, gc=False):
    """A source whose newest message states a time ahead of its arrival."""

    id: str
    #: Arrival of the first such message in a row, and how far it was ahead then, in seconds.
    since: datetime
    ahead_s: float
    at: datetime
    received_at: datetime


class PatientState(SubjectState, omit_defaults=True, kw_only=True, gc=False):
    """All that is kept of one patient."""

    unit_id: str | None = None
    unit_id_at: datetime | None = None
    profile: PatientProfile | None = None
    sessions: dict[str, Session] = {}
    #: Sources whose newest message states a time in the future.
    problems: dict[str, Problem] = {}
    #: The newest arrival of a message of each source whose time is believable.
    heard: dict[str, datetime] = {}
    #: Late messages of each source, the last of each of three stretches: arrival, and by how many seconds.
    behind: dict[str, list[Reading]] = {}
    #: The signal last sent to a water loop about each alert.
    signals: dict[str, UnitSignal] = {}
    signal_sequence: int = 0
    #: The signal last sent to each chair on which the patient is dialysed.
    seats: dict[str, ChairSignal] = {}
    #: What each chair told last of another patient on it, by the chair's key.
    chair_conflicts: dict[str, ChairConflict] = {}
    #: Records that were merged into this one, by their id.
    merges: dict[str, PatientMerged] = {}
    #: The record into which this one was merged, and when: all of this one's events move there.
    merged_into: str | None = None
    merged_at: datetime | None = None
    #: Records with which this one was merged in contradiction (itself, or a circle), and when that became known.
    contradictions: dict[str, datetime] = {}
    #: Decoded by `history` when it is needed.
    if TYPE_CHECKING:
        past: Held = NO_HISTORY
    else:
        past: msgspec.Raw = NO_HISTORY

    @property
    def history(self) -> History:
        """Return the patient's history, decoded."""
        past = self.past
        if type(past) is not History:
            self.past = past = unpack(past)
        return past

    def check(self) -> None:
        """Raise msgspec.ValidationError if the history cannot be decoded."""
        unpack(self.past)

    def pack(self) -> None:
        """Keep the history in its smallest form until somebody asks for it."""
        self.past = pack(self.past)

    def drop_empty(self) -> bool:
        """Let go of a history that holds nothing, as that of a new patient; return whether there is one to pack."""
        if type(self.past) is History and self.past == _EMPTY:
            self.past = NO_HISTORY
        return self.past is not NO_HISTORY

    @property
    def labs(self) -> dict[str, LabResult]:
        """See `History`."""
        return self.history.labs

    @property
    def versions(self) -> dict[str, LabResult]:
        """See `History`."""
        return self.history.versions

    @property
    def symptoms(self) -> dict[str, Symptom]:
        """See `History`."""
        return self.history.symptoms

    @property
    def rhythms(self) -> dict[str, Rhythm]:
        """See `History`."""
        return self.history.rhythms

    @property
    def weights(self) -> dict[str, Weight]:
        """See `History`."""
        return self.history.weights

    @property
    def medications(self) -> dict[str, Medication]:
        """See `History`."""
        return self.history.medications

    @property
    def schedules(self) -> dict[str, Schedule]:
        """See `History`."""
        return self.history.schedules

    @property
    def machine_alarms(self) -> dict[str, MachineAlarm]:
        """See `History`."""
        return self.history.machine_alarms

    @property
    def alarm_runs(self) -> dict[str, list[Flow]]:
        """See `History`."""
        return self.history.alarm_runs

    @property
    def responses(self) -> dict[str, AlertResponse]:
        """See `History`."""
        return self.history.responses

    @property
    def arrivals(self) -> dict[str, datetime]:
        """See `History`."""
        return self.history.arrivals

    @property
    def buried(self) -> dict[str, AlertState]:
        """See `History`."""
        return self.history.buried

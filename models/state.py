"""What is kept of a patient and of a water loop, and its bounds. One instance is one changelog record.

Windows hold the events themselves, by identity; everything the rules say is a function of them and of the clock.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

import msgspec

from models.alerts import Priority, Status
from models.bounds import Drops
from models.migrations import NEVER, migrate
from models.records import (
    AlertResponse,
    LabResult,
    MachineAlarm,
    Medication,
    PatientMerged,
    PatientProfile,
    Rhythm,
    Schedule,
    SessionEnded,
    SessionStarted,
    Symptom,
    UnitAlertResponse,
    UnitSignal,
    Weight,
)

#: Version of the stored form. An older one is migrated (models.migrations), a newer one refuses to start.
SCHEMA_VERSION: Final = 3

#: The longest window of any rule (a month of cramps, aluminium on a loop) with five days for late messages.
#: An event older than this when it arrives raises nothing.
LONGEST_WINDOW: Final = timedelta(days=35)
#: A session of which no end is known is taken to be over after this (SLED runs longest).
LONGEST_SESSION: Final = timedelta(hours=24)
#: A subject of which nothing was heard for so long leaves the table, unless an alert is open or a deadline lives.
RETIRE_AFTER: Final = timedelta(days=400)

#: How many records of a kind are kept of one patient; the oldest go first and are counted.
MAX_LABS: Final = 200
#: Versions of results that no longer stand; and of a single result, those that stand and those that do not.
MAX_VERSIONS: Final = 100
MAX_VERSIONS_OF_RESULT: Final = 10
#: Start and end messages of one session id, and the stretches in which its blood flowed.
MAX_SESSION_MESSAGES: Final = 20
MAX_FLOWS: Final = 10
MAX_SYMPTOMS: Final = 200
MAX_SESSIONS: Final = 40
MAX_RESPONSES: Final = 100
MAX_OTHERS: Final = 100
MAX_OVER_ALERTS: Final = 100
MAX_SIGNALS: Final = 500
MAX_SOURCES: Final = 50
#: How many inputs an alert shows and rests on: the first, and the newest.
MAX_EVIDENCE: Final = 20
#: How much of a free text is kept, in characters; the whole is on the input topic.
MAX_TEXT: Final = 200


#: Stands for "no value" in an outbox entry: no message of ours is a bare null.
NO_VALUE: Final = msgspec.Raw(b"null")


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One message of the outbox, stored before it is sent.

    `topic` is the contract's name without prefix. With `ce_type` the value is an alert transition: it carries
    CloudEvents headers and goes to `alerts.active` as well, under `ce_id`'s alert id. `NO_VALUE` is a tombstone.
    """

    topic: str
    key: str
    value: msgspec.Raw = NO_VALUE
    ce_id: str = ""
    ce_type: str = ""


class AlertState(msgspec.Struct, omit_defaults=True, gc=False):
    """An alert that is open, or over and still within reach of a late event."""

    alert_id: str
    rule: str
    key: str
    revision: int
    status: Status
    priority: Priority
    onset_at: datetime
    at: datetime
    #: The newest transition's exact bytes: resent as they are when a partition changes hands.
    value: msgspec.Raw
    #: Digest of what the newest transition showed, to tell whether an update is due.
    shown: str
    #: Inputs of the episode: a response to any of the ids they would give is one to this alert.
    anchors: list[str]
    #: `kind:id` of the evidence; if one of them is corrected away the alert is withdrawn, not resolved.
    grounds: list[str]
    #: When the newest of its evidence, and the evidence of its priority, became known: a person's response
    #: counts only for what could be known when it was given.
    known_at: datetime
    level_known_at: datetime
    escalation: int = 0
    #: First moment of the clock at which somebody could have seen the alert; response times count from it.
    seen_at: datetime | None = None
    over_at: datetime | None = None
    tombstoned: bool = False


class Reading(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value and when it was measured."""

    at: datetime
    value: float


class Flow(msgspec.Struct, array_like=True, gc=False):
    """A stretch of time in which blood flowed, from the first to the last sample that said so."""

    since: datetime
    until: datetime


class Session(msgspec.Struct, omit_defaults=True, gc=False):
    """Everything that arrived under one session id; `streams.rules.treatments` pieces treatments together from it.

    Senders use an id again: after an end, on another day, or on another machine.
    """

    session_id: str
    machine_id: str
    #: The earliest time that any message of it told of.
    first_at: datetime
    starts: list[SessionStarted] = []
    ends: list[SessionEnded] = []
    flows: list[Flow] = []
    systolic: Reading | None = None
    uf_rate: Reading | None = None
    #: When `sessions.active` last told of it.
    told_at: datetime | None = None


class Problem(msgspec.Struct, frozen=True, gc=False):
    """A source whose newest message told of a time ahead of its arrival."""

    id: str
    #: Arrival of the first such message in a row, and how far it was ahead then, in seconds.
    since: datetime
    ahead_s: float
    at: datetime
    received_at: datetime


SelfT = TypeVar("SelfT", bound="SubjectState")


class SubjectState(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """What patients and water loops have in common."""

    id: str
    #: Has no default here: a default is not written, and would be read as the reader's own version.
    schema_version: int
    #: Newest arrival of anything about it.
    heard_at: datetime
    #: Hash of the rule settings of the last evaluation.
    rules: str = ""
    #: The clock at the last evaluation; none goes back behind it.
    now: datetime | None = None
    #: Applied offset of each input topic (contract name); what is at or below it is skipped.
    offsets: dict[str, int] = {}
    alerts: dict[str, AlertState] = {}
    #: When each rule, and the life cycle, wants to look again with no new event.
    looks: dict[str, datetime] = {}
    #: Rules that raised an exception at their last evaluation, and since when.
    failing: dict[str, datetime] = {}
    outbox: list[Entry] = []
    #: What was dropped because too much was received (models.bounds).
    drops: Drops | None = None
    #: Whether the last evaluation found the record closed: its patient left, or it was given up in a merge.
    closed: bool = False


class PatientState(SubjectState, omit_defaults=True, kw_only=True, gc=False):
    """All that is kept of one patient."""

    unit_id: str | None = None
    unit_id_at: datetime | None = None
    profile: PatientProfile | None = None
    #: The versions of results that stand, and those that were replaced (see `streams.engine.results`).
    labs: dict[str, LabResult] = {}
    versions: dict[str, LabResult] = {}
    symptoms: dict[str, Symptom] = {}
    sessions: dict[str, Session] = {}
    rhythms: dict[str, Rhythm] = {}
    weights: dict[str, Weight] = {}
    medications: dict[str, Medication] = {}
    schedules: dict[str, Schedule] = {}
    machine_alarms: dict[str, MachineAlarm] = {}
    responses: dict[str, AlertResponse] = {}
    #: Sources whose newest message came from the future, and the newest believable arrival of each source.
    problems: dict[str, Problem] = {}
    #: When each input (`kind:id`), and each value of a result, first arrived: it could not be known before.
    arrivals: dict[str, datetime] = {}
    heard: dict[str, datetime] = {}
    #: Late messages of each source, the last of each of three stretches: arrival, and by how many seconds.
    behind: dict[str, list[Reading]] = {}
    #: What was last told to a water loop about each alert.
    signals: dict[str, UnitSignal] = {}
    signal_sequence: int = 0
    #: Records that were merged into this one, by their id.
    merges: dict[str, PatientMerged] = {}
    #: The record into which this one was merged, and when that happened: all of this one's events go there.
    merged_into: str | None = None
    merged_at: datetime | None = None
    #: Records with which this one was merged in contradiction (itself, or a circle), and since when that is known.
    contradictions: dict[str, datetime] = {}


class LoopState(SubjectState, omit_defaults=True, kw_only=True, gc=False):
    """All that is kept of one water loop."""

    signals: dict[str, UnitSignal] = {}
    responses: dict[str, UnitAlertResponse] = {}


StateT = TypeVar("StateT", bound=SubjectState)
_ENCODER = msgspec.json.Encoder()


class NewerSchemaError(Exception):
    """The changelog was written by a newer version of the product, which this one cannot read."""


class _Version(msgspec.Struct):
    """Of a stored state nothing but its version."""

    schema_version: int = 0


_version: Final = msgspec.json.Decoder(_Version)


class StateCodec(Generic[StateT]):
    """Turns the state of one kind of subject into a changelog value and back."""

    def __init__(self, kind: type[StateT]) -> None:
        self.kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def new(self, subject: str) -> StateT:
        """The state of a subject of which nothing is known yet."""
        return self.kind(id=subject, schema_version=SCHEMA_VERSION, heard_at=NEVER)

    def encode(self, state: StateT) -> bytes:
        """The state's changelog value."""
        return _ENCODER.encode(state)

    def decode(self, raw: bytes) -> StateT:
        """The state of a changelog value, migrated where an older version of the product wrote it.

        Raises:
            NewerSchemaError: a newer version of the product wrote it.
            msgspec.DecodeError: it is no state.
        """
        try:
            state = self._decoder.decode(raw)
        except msgspec.ValidationError:
            self._check_version(_version.decode(raw).schema_version)
            state = self._decoder.decode(migrate(raw, SCHEMA_VERSION))
        self._check_version(state.schema_version)
        if state.schema_version < SCHEMA_VERSION:
            state = self._decoder.decode(migrate(raw, SCHEMA_VERSION))
        return state

    def _check_version(self, version: int) -> None:
        if version > SCHEMA_VERSION:
            raise NewerSchemaError(
                f"the changelog holds schema version {version}, this program reads up to {SCHEMA_VERSION}: "
                "start the newer version"
            )

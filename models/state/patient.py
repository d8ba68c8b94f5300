"""All that is kept of one patient. Windows hold the events themselves, by identity."""

from __future__ import annotations

from datetime import datetime

import msgspec

from models.records import (
    AlertResponse,
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
from models.state.session import Reading, Session
from models.state.subject import SubjectState


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
    #: Sources whose newest message states a time in the future.
    problems: dict[str, Problem] = {}
    #: When each input (`kind:id`), and each value of a result, first arrived: it could not be known before.
    arrivals: dict[str, datetime] = {}
    #: The newest arrival of a message of each source whose time is believable.
    heard: dict[str, datetime] = {}
    #: Late messages of each source, the last of each of three stretches: arrival, and by how many seconds.
    behind: dict[str, list[Reading]] = {}
    #: The signal last sent to a water loop about each alert.
    signals: dict[str, UnitSignal] = {}
    signal_sequence: int = 0
    #: Records that were merged into this one, by their id.
    merges: dict[str, PatientMerged] = {}
    #: The record into which this one was merged, and when: all of this one's events move there.
    merged_into: str | None = None
    merged_at: datetime | None = None
    #: Records with which this one was merged in contradiction (itself, or a circle), and when that became known.
    contradictions: dict[str, datetime] = {}

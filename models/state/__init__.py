"""The state of a patient and of a water loop, and its bounds. One instance is one changelog record.

Windows hold the events themselves, by identity; every finding of a rule is a function of them and of the clock.
"""

from models.state.bounds import (
    LONGEST_SESSION,
    LONGEST_WINDOW,
    MAX_ALARM_RUNS,
    MAX_ALARM_STARTS,
    MAX_ALARMS,
    MAX_EVIDENCE,
    MAX_FLOWS,
    MAX_LABS,
    MAX_MACHINES,
    MAX_MEDICATIONS,
    MAX_OTHERS,
    MAX_OVER_ALERTS,
    MAX_RESPONSES,
    MAX_SEATS,
    MAX_SESSION_MESSAGES,
    MAX_SESSIONS,
    MAX_SIGNALS,
    MAX_SOURCES,
    MAX_SYMPTOMS,
    MAX_TEXT,
    MAX_VERSIONS,
    MAX_VERSIONS_OF_RESULT,
    RETIRE_AFTER,
)
from models.state.channel import Bound, Channel
from models.state.codec import SCHEMA_VERSION, NewerSchemaError, StateCodec
from models.state.loop import LoopState
from models.state.machine_setting import Setting
from models.state.patient import PatientState, Problem
from models.state.session import Flow, Reading, Session, Strange
from models.state.subject import NO_VALUE, AlertState, Entry, StateT, SubjectState

__all__ = [
    "LONGEST_SESSION",
    "LONGEST_WINDOW",
    "MAX_ALARMS",
    "MAX_ALARM_RUNS",
    "MAX_ALARM_STARTS",
    "MAX_EVIDENCE",
    "MAX_FLOWS",
    "MAX_LABS",
    "MAX_MACHINES",
    "MAX_MEDICATIONS",
    "MAX_OTHERS",
    "MAX_OVER_ALERTS",
    "MAX_RESPONSES",
    "MAX_SEATS",
    "MAX_SESSIONS",
    "MAX_SESSION_MESSAGES",
    "MAX_SIGNALS",
    "MAX_SOURCES",
    "MAX_SYMPTOMS",
    "MAX_TEXT",
    "MAX_VERSIONS",
    "MAX_VERSIONS_OF_RESULT",
    "NO_VALUE",
    "RETIRE_AFTER",
    "SCHEMA_VERSION",
    "AlertState",
    "Bound",
    "Channel",
    "Entry",
    "Flow",
    "LoopState",
    "NewerSchemaError",
    "PatientState",
    "Problem",
    "Reading",
    "Session",
    "Setting",
    "StateCodec",
    "StateT",
    "Strange",
    "SubjectState",
]

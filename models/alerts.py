"""The messages that are sent: one `Alert` per transition of an alert's life cycle (contract, Alerts)."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID, uuid5

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from models.records import record_type

#: Namespace of alert ids; fixed for ever, or a repeat would get another id.
_NAMESPACE: Final = UUID("5d3c1a52-8f0e-5b4d-9c55-0f5a5f6b7c21")


class Priority(StrEnum):
    """The terms of IEC 60601-1-8, mildest first; `rank` orders them."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """Return 0 for info up to 3 for high."""
        return _RANKS[self]


_RANKS: Final = {priority: rank for rank, priority in enumerate(Priority)}


class Status(StrEnum):
    """The state of an alert in its life cycle."""

    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"

    @property
    def is_open(self) -> bool:
        """Return whether the alert is not over."""
        return self in (Status.ACTIVE, Status.ACKNOWLEDGED, Status.SNOOZED)


class Transition(StrEnum):
    """The step of the life cycle that a message states."""

    RAISED = "raised"
    UPDATED = "updated"
    ESCALATED = "escalated"
    DEESCALATED = "deescalated"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    REMINDED = "reminded"
    RESOLVED = "resolved"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class Reason(StrEnum):
    """Why a transition was made. `result_cancelled` is ours: the laboratory gave no result after all.

    So is `contradicted`: somebody else has sent a later revision; the alert is as it was.
    """

    CONDITION_MET = "condition_met"
    CONDITION_CLEARED = "condition_cleared"
    SEVERITY_CHANGED = "severity_changed"
    EVIDENCE_CHANGED = "evidence_changed"
    GATE_OPENED = "gate_opened"
    GATE_CLOSED = "gate_closed"
    RESULT_CORRECTED = "result_corrected"
    RESULT_CANCELLED = "result_cancelled"
    ENTERED_IN_ERROR = "entered_in_error"
    DEADLINE_PASSED = "deadline_passed"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    SNOOZE_ENDED = "snooze_ended"
    RESOLVED_BY_PERSON = "resolved_by_person"
    UNCONFIRMED_END = "unconfirmed_end"
    SUPERSEDED = "superseded"
    RESULT_REPLACED = "result_replaced"
    PATIENT_LEFT = "patient_left"
    PATIENT_MERGED = "patient_merged"
    UNACKNOWLEDGED_BY_PERSON = "unacknowledged_by_person"
    CONTRADICTED = "contradicted"
    INHIBITED = "inhibited"
    INHIBITION_ENDED = "inhibition_ended"


class Guidance(BaseModel):
    """What to review, and the basis of the advice: the article's line and the second source."""

    model_config = ConfigDict(strict=True, frozen=True)

    text: str
    basis: str


class Evidence(BaseModel):
    """One input that made the alert, with value and unit as reported."""

    model_config = ConfigDict(strict=True, frozen=True)

    kind: str
    id: str
    name: str
    value: float | str | None
    unit: str | None
    at: AwareDatetime


class Earlier(BaseModel):
    """A value before the one that decided, in the unit of that one or another name of it."""

    model_config = ConfigDict(strict=True, frozen=True)

    at: AwareDatetime
    value: float
    unit: str | None


class DecidingBound(BaseModel):
    """The bound that decided, in the unit of the first piece of evidence."""

    model_config = ConfigDict(strict=True, frozen=True)

    value: float
    unit: str | None


class Alert(BaseModel):
    """One transition. Every key is present but those that may be absent; an unknown value is null.

    It holds no wall-clock time: that is `ce_time`.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    alert_id: str
    revision: Annotated[int, Field(ge=1)]
    rule: str
    rule_version: Annotated[int, Field(ge=1)]
    family: str
    status: Status
    transition: Transition
    reason: Reason
    priority: Priority
    escalation: Annotated[int, Field(ge=0, le=2)]
    patient_id: str | None
    unit_id: str | None
    session_id: str | None
    chair: str | None
    water_loop_id: str | None
    onset_at: AwareDatetime
    at: AwareDatetime
    summary: str
    guidance: list[Guidance]
    evidence: list[Evidence]
    #: Up to ten values before the one that decided, the oldest first, and the bound: what a screen plots. Absent where
    #: there is none.
    context: Annotated[list[Earlier], Field(max_length=10)] = []
    bound: DecidingBound | None = None
    #: The greater alerts that lower this one, and the lesser ones that it lowers; absent where there is none.
    inhibited_by: list[str] = []
    inhibits: list[str] = []


if TYPE_CHECKING:
    GuidanceRecord = Guidance
    EvidenceRecord = Evidence
    EarlierRecord = Earlier
    BoundRecord = DecidingBound
    AlertRecord = Alert
else:
    #: The same as slim records, for the engine (see `models.records`).
    GuidanceRecord = record_type(Guidance)
    EvidenceRecord = record_type(Evidence)
    EarlierRecord = record_type(Earlier)
    BoundRecord = record_type(DecidingBound)
    AlertRecord = record_type(Alert)


@lru_cache(maxsize=65536)
def alert_id(rule: str, subject: str, anchor: str) -> str:
    """Return the deterministic id of an alert: UUIDv5 of rule, patient (or water loop) and anchor."""
    return str(uuid5(_NAMESPACE, f"{rule}|{subject}|{anchor}"))

"""What patients and water loops have in common: alerts, outbox, offsets, looks."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeVar

import msgspec

from models.alerts import Priority, Status
from models.state.bounds import Drops

#: Stands for "no value" in an outbox entry: none of our messages is a bare null.
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
    #: The newest transition's exact bytes, sent again as they are when a partition gets another owner.
    value: msgspec.Raw
    #: Digest of the newest finding, to decide whether an update is due.
    shown: str
    #: Inputs of the episode: an answer to any alert id that they give is an answer to this alert.
    anchors: list[str]
    #: `kind:id` of the evidence; if one of them is corrected away the alert is withdrawn, not resolved.
    grounds: list[str]
    #: When the newest of its evidence, and the evidence of its priority, became known: a person's answer
    #: counts only for what was known when it arrived.
    known_at: datetime
    level_known_at: datetime
    escalation: int = 0
    #: First moment of the clock at which somebody could have seen the alert; response times count from it.
    seen_at: datetime | None = None
    over_at: datetime | None = None
    #: The greater alerts that lower it, and the lesser ones that it lowers, as its newest message shows them.
    inhibited_by: list[str] = []
    inhibits: list[str] = []


class SubjectState(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """What patients and water loops have in common."""

    id: str
    #: Has no default here: a default is not written, and would be read as the reader's own version.
    schema_version: int
    #: Newest arrival of a message about it.
    heard_at: datetime
    #: Names this stored form, to which the samples stored after it belong (models.state.sampled); 0 before the first.
    stored_as: int = 0
    #: Hash of the rule settings of the last evaluation.
    rules: str = ""
    #: The clock at the last evaluation; no later evaluation goes back behind it.
    now: datetime | None = None
    #: Applied offset of each input topic (contract name); what is at or below it is skipped.
    offsets: dict[str, int] = {}
    #: Alerts that are open, or over and still on `alerts.active`.
    alerts: dict[str, AlertState] = {}
    #: When the newest of the buried alerts was over.
    buried_until: datetime | None = None
    #: The conditions that hold, of rules whose conditions are inputs of others, with priorities by key. An answer to an
    #: alert changes none of them.
    conditions: dict[str, dict[str, Priority]] = {}
    #: The keys of the conditions that count, of rules that keep them for a while (streams/engine/hold.py).
    held: dict[str, list[str]] = {}
    #: Since when those conditions count, where their rule tells.
    held_since: dict[str, dict[str, datetime]] = {}
    #: The look of each rule and of the life cycle: when to evaluate without a new event.
    looks: dict[str, datetime] = {}
    #: Rules that raised an exception at their last evaluation, and since when.
    failing: dict[str, datetime] = {}
    outbox: list[Entry] = []
    #: What was dropped because too much was received (models.state.bounds).
    drops: Drops | None = None
    #: Whether the last evaluation found the record closed: its patient left, or it was given up in a merge.
    closed: bool = False

    def check(self) -> None:
        """Raise msgspec.ValidationError if a part that was not decoded yet cannot be."""

    def pack(self) -> None:
        """Keep what is rarely needed in its smallest form; most kinds have nothing of the sort."""

    def drop_empty(self) -> bool:
        """Let go of what holds nothing; return whether there is something to pack later."""
        return False


StateT = TypeVar("StateT", bound=SubjectState)

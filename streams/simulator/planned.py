"""The output of the virtual unit: messages ready to send, and the conditions planted in them.

Inside the simulator time is a float: seconds since the unit's start, negative in a backfill. Only `Scribe` converts it
into instants, so a unit started at another moment yields the same events, shifted.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

#: Laboratories write local time; machines and nurses' tablets write UTC.
_LOCAL: Final = timezone(timedelta(hours=1))


class Scenario(StrEnum):
    """How much goes wrong in the virtual unit; `streams.simulator.rates` has the figures.

    `quiet`: nothing should alert. `normal`: realistic rates (clinical.md section 2). `dense`: for the demo, milder than
    `normal`, and a script plants conditions from the start on, all its kinds within the first minute.
    `garbage`: `normal` with broken messages of every kind between. `catalogue`: `quiet`, and from the next midnight
    (UTC) on two patients more for each rule: for one it raises an alert, for the other it nearly does.
    """

    QUIET = "quiet"
    NORMAL = "normal"
    DENSE = "dense"
    GARBAGE = "garbage"
    CATALOGUE = "catalogue"


@dataclass(frozen=True, slots=True)
class Planted:
    """A condition that a rule should find once the message that completes it has arrived.

    Every planted condition must be raised; not every alert was planted (one may follow from several values).

    Attributes:
        rule: The contract's name of the rule, `garbage` for a message that must become a dead letter.
        patient_id: The patient; for garbage the message's key.
        at: Onset at the bedside.
        ends_at: When a later message of the simulator ends or withdraws it; None when none surely does.
        ids: Identities of the messages behind it, e.g. a `result_id`.
        reason: For garbage, the reason of the dead letter, else None.
    """

    rule: str
    patient_id: str
    at: datetime
    ends_at: datetime | None = None
    ids: tuple[str, ...] = ()
    reason: str | None = None


class TimedMessage(NamedTuple):
    """One message, with the times when it happened and arrived; `topic` is the contract's name without prefix."""

    received_at: datetime
    at: datetime
    topic: str
    key: str
    value: bytes | None
    planted: Planted | None = None


class Scribe:
    """Builds messages: offsets in seconds from the unit's start become instants, fields become JSON."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("The start of a simulated unit needs an offset, for example +00:00")
        start = start.astimezone(UTC)
        #: The unit's start in UTC, to the millisecond like Kafka's timestamps.
        self.start: Final = start.replace(microsecond=start.microsecond // 1000 * 1000)

    def at(self, offset: float) -> datetime:
        """Return the instant `offset` seconds after the start, to the millisecond."""
        return self.start + timedelta(milliseconds=round(offset * 1000))

    def local(self, offset: float) -> datetime:
        """Return the same instant in the laboratories' time zone."""
        return self.at(offset).astimezone(_LOCAL)

    def event(
        self,
        topic: str,
        kind: str,
        patient_id: str,
        at: float,
        *,
        delay: float = 1.0,
        fields: dict[str, Any],
        planted: Planted | None = None,
    ) -> TimedMessage:
        """Build an event of type `kind` that happened at `at` and arrives `delay` seconds later.

        Fields that are None are left out; instants among them keep their offset.
        """
        happened = fields.pop("at", None) or self.at(at)
        body = {"type": kind, "patient_id": patient_id, "at": happened}
        body.update((name, value) for name, value in fields.items() if value is not None)
        return TimedMessage(self.at(at + delay), self.at(at), topic, patient_id, msgspec.json.encode(body), planted)

"""A session: all messages under one session id."""

from __future__ import annotations

from datetime import datetime

import msgspec

from models.records import SessionEnded, SessionStarted
from models.state.channel import Channel
from models.state.machine_setting import Setting


class Reading(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value and when it was measured."""

    at: datetime
    value: float


class Flow(msgspec.Struct, array_like=True, gc=False):
    """A stretch of time in which blood flowed, from the first to the last sample that shows it."""

    since: datetime
    until: datetime


class Strange(msgspec.Struct, array_like=True, gc=False):
    """The numbers of one field that cannot be (`streams.rules.facts.implausible`), which are left out.

    Attributes:
        first: the second of the first of them.
        last: the second of the newest of them.
        value: that one; of one second the greatest.
    """

    first: int
    last: int
    value: float


class Session(msgspec.Struct, omit_defaults=True, gc=False):
    """Everything that arrived under one session id; `streams.rules.facts.treatments` makes treatments of it.

    Senders use an id again: after an end, on another day, or on another machine.
    """

    session_id: str
    machine_id: str
    #: The earliest time that any of its messages states.
    first_at: datetime
    starts: list[SessionStarted] = []
    ends: list[SessionEnded] = []
    flows: list[Flow] = []
    systolic: Reading | None = None
    uf_rate: Reading | None = None
    #: The machine whose samples showed it, and the stretches of each machine once there are several.
    flowed_by: str = ""
    machine_flows: dict[str, list[Flow]] | None = None
    #: The newest sample whose blood flow is 0.
    still_at: datetime | None = None
    #: The channels that rules watch, by the field of a sample.
    channels: dict[str, Channel] = {}
    #: The machine's settings, by the field of a sample.
    settings: dict[str, Setting] = {}
    #: What was left out of its messages and samples because it cannot be, by field.
    strange: dict[str, Strange] = {}
    #: When it was last published on `sessions.active`; None if it is not shown there.
    told_at: datetime | None = None
    #: The newest arrival of a sample, whatever its machine's clock says.
    heard_at: datetime | None = None
    #: How many seconds it may come after the one before: the longest gap of more than a minute, which each later
    #: sample shortens by an eighth, so that one long gap is forgotten. Below 0 while there is no other sample.
    gap_s: int = 0

    def leave_out(self, field: str, second: int, value: float) -> bool:
        """Note a number that was left out; return whether it is the first of its field."""
        known = self.strange.get(field)
        if known is None:
            self.strange[field] = Strange(second, second, value)
            return True
        known.first = min(known.first, second)
        known.last, known.value = max((known.last, known.value), (second, value))
        return False

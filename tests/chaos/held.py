"""What a rule of the oracle says of a patient at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass
class Held:
    """A condition that holds.

    Attributes:
        ids: identities that its evidence must show.
        severe: it must have the highest priority.
        may_be_severe: it may have it.
        due: since when it holds, where the clock made it so.
        expires: where the clock ends it, nobody knows that it is over.
    """

    ids: set[str]
    severe: bool = False
    may_be_severe: bool = False
    due: datetime | None = None
    expires: bool = False

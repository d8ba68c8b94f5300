"""Where a moment lies among a patient's treatments: before, during, after, or between them (R11, R53, R65)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from streams.rules.api import PatientView
from streams.rules.facts.bedside import sessions
from streams.rules.facts.treatments import SKEW, Treatment, treatment_at

#: The window after a treatment (article L51, L53), and the part of it in which the lowest values are expected.
AFTER: Final = timedelta(hours=5)
NADIR: Final = timedelta(hours=1)
#: A specimen drawn at most this long before a treatment is one from before it (ours: blood is drawn at the chair).
BEFORE: Final = timedelta(hours=2)


class Phase(StrEnum):
    """Where a moment lies among treatments."""

    PRE = "pre-dialysis"
    INTRA = "intradialytic"
    POST = "post-dialysis"
    INTER = "interdialytic"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a moment lies.

    Attributes:
        phase: before, during, after or between treatments.
        treatment: the treatment that it lies before, in or after; None between treatments.
        since_end: how long after the treatment, in the phase after it.
    """

    phase: Phase
    treatment: Treatment | None = None
    since_end: timedelta | None = None

    @property
    def is_nadir(self) -> bool:
        """Return whether the lowest values are expected then: within an hour after a treatment."""
        return self.since_end is not None and self.since_end <= NADIR


_BETWEEN: Final = Place(Phase.INTER)


def place_of(view: PatientView, moment: datetime) -> Place:
    """Return where a moment lies. A specimen drawn up to `SKEW` after the start is one from before it.

    That is how blood is drawn: from the needle that has just been placed, by a clock that differs from the machine's.
    """
    found = sessions(view)
    if not found:
        return _BETWEEN
    running = treatment_at(found, moment, timedelta(0))
    if running is not None and running.start + SKEW < moment < running.over_at:
        return Place(Phase.INTRA, running)
    coming = [one for one in found if timedelta(0) <= one.start + SKEW - moment <= BEFORE + SKEW]
    if coming:
        return Place(Phase.PRE, coming[0])
    # Where no end is known, nobody knows how long after it a specimen was drawn.
    over = [
        one for one in found if one.ended_at and not one.is_mistake and timedelta(0) <= moment - one.over_at <= AFTER
    ]
    if over:
        return Place(Phase.POST, over[-1], moment - over[-1].over_at)
    return _BETWEEN


def watched_treatment(found: Iterable[Treatment], moment: datetime) -> Treatment | None:
    """Return the treatment in which a moment lies, else the one that ended at most `AFTER` before it (R61, R62)."""
    real = [one for one in found if not one.is_mistake]
    running = treatment_at(real, moment)
    if running is not None:
        return running
    over = [one for one in real if one.ended_at and timedelta(0) <= moment - one.over_at <= AFTER]
    return over[-1] if over else None


def watched_until(treatment: Treatment) -> datetime:
    """Return until when moments belong to a treatment: nobody knows what lies after one without a known end."""
    return treatment.over_at + (AFTER if treatment.ended_at else SKEW)

"""Which QTc is long (R63), for every rule that asks for it."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise, takewhile
from typing import Annotated, Final

from pydantic import Field

from models.records import Rhythm
from streams.rules.api import Limits, PatientView
from streams.rules.facts import bedside
from streams.rules.inputs import PROFILE
from streams.rules.thresholds import Days, Silences

#: The rule to which the thresholds belong.
NAME: Final = "qtc_prolonged"
#: A QTc that can be one (ms, ours): seconds and typing errors lie outside, and say nothing.
LEAST_MS: Final = 200.0
MOST_MS: Final = 900.0


class QtcLimits(Limits):
    """From which QTc on it is long, and for how long one tells of the patient."""

    ascending = (("men_ms", "medium_ms", "high_ms"), ("women_ms", "medium_ms", "high_ms"))

    men_ms: float = Field(
        default=450, ge=300, le=800, description="ms: low above this, also where the sex is unknown; PACE, 2.9"
    )
    women_ms: float = Field(default=460, ge=300, le=800, description="ms: low above this in women; PACE, 2.9")
    medium_ms: float = Field(
        default=480, ge=300, le=800, description="ms: medium above this; of a machine's QTc 95.2 % are right then (2.9)"
    )
    high_ms: Annotated[float, Silences.RAISED] = Field(
        default=500, ge=300, le=800, description="ms: high above this with a low electrolyte; AHA, clinical.md 2.9"
    )
    counts_days: Annotated[Days, Silences.LOWERED] = Field(
        default=7, description="days for which a QTc tells of the patient: the treatments of a week (ours)"
    )


def qtc_limits(view: PatientView) -> QtcLimits:
    """Return the thresholds in force of a long QTc."""
    return view.settings.limits(NAME, QtcLimits)


def bound_of(view: PatientView) -> float:
    """Return from which QTc (ms) on it is long in this patient; the lower bound where the sex is unknown."""
    profile, limits = view.read(PROFILE).profile, qtc_limits(view)
    return limits.women_ms if profile is not None and profile.sex == "female" else limits.men_ms


def long_in_a_row(view: PatientView) -> list[Rhythm]:
    """Return the newest QTc measurements in a row that are long, the newest first; empty if the newest is not.

    One that had expired before the next came belongs to an earlier episode.
    """
    found = bedside.rhythms_of(view, ("qtc",))
    usable = [one for one in reversed(found) if one.qtc_ms is not None and LEAST_MS <= one.qtc_ms <= MOST_MS]
    run = longer_than(usable, bound_of(view))
    counts = timedelta(days=qtc_limits(view).counts_days)
    gaps = (number for number, (later, earlier) in enumerate(pairwise(run), 1) if later.at - earlier.at >= counts)
    return run[: next(gaps, len(run))]


def longer_than(found: list[Rhythm], bound: float) -> list[Rhythm]:
    """Return the first in a row of some QTc measurements that are longer than a bound (ms)."""
    return list(takewhile(lambda one: (one.qtc_ms or 0.0) > bound, found))

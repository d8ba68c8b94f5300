"""What is known of a patient's magnesium: is it low, and is there a fresh one (R01 to R04)?

Calcium, potassium and the rules of magnesium ask the same questions, so low and fresh mean one thing for all of them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from models.analytes import MEQ_L, MG_DL, MMOL_L, Analyte
from streams.rules.api import Limits, PatientView
from streams.rules.facts import labs
from streams.rules.inputs import lab
from streams.rules.thresholds import Hours, Minutes, Silences

#: The rules to which the thresholds belong.
LOW: Final = "low_magnesium"
UNKNOWN: Final = "magnesium_unknown"


class LowMagnesiumLimits(Limits):
    """Thresholds of `low_magnesium`, each compared in the reported unit, strictly below."""

    ascending = (("severe", "low"),)

    low: Annotated[labs.MagnesiumBound, Silences.LOWERED] = Field(
        default={MG_DL: 1.7, MMOL_L: 0.70, MEQ_L: 1.4},
        description="low below this; article L2 and L16, one bound a unit because they disagree at the edge",
    )
    severe: Annotated[labs.MagnesiumBound, Silences.LOWERED] = Field(
        default={MG_DL: 1.0, MMOL_L: 0.41, MEQ_L: 0.82},
        description="severe, priority high, below this; critical limits of US laboratories (Kost)",
    )
    qtc_ms: Annotated[float, Silences.RAISED] = Field(
        default=480,
        ge=300,
        le=800,
        description="a QTc above this (ms) within 24 h makes it high; below 480 machine QTc is unreliable (2.9)",
    )


class MagnesiumUnknownLimits(Limits):
    """How old a magnesium may be, and how long one may be missing; of `magnesium_unknown`."""

    fresh_hours: Hours = Field(
        default=24,
        description="a magnesium collected up to so many hours before what asks for it is fresh; clinical.md 1, R02",
    )
    result_minutes: Minutes = Field(
        default=60, description="min without a result until it is medium; article L2 (`immediately`), clinical.md R04"
    )
    dose_hours: Hours = Field(
        default=24, description="hours for which a dose that nobody ordered counts as replacement (ours)"
    )


def low_limits(view: PatientView) -> LowMagnesiumLimits:
    """Return the thresholds in force of a low magnesium, for every rule that asks for it."""
    return view.settings.limits(LOW, LowMagnesiumLimits)


def unknown_limits(view: PatientView) -> MagnesiumUnknownLimits:
    """Return the times in force of a fresh magnesium and of a replacement, for every rule that asks for them."""
    return view.settings.limits(UNKNOWN, MagnesiumUnknownLimits)


def is_undecided(result: labs.Result, limits: LowMagnesiumLimits) -> bool:
    """Return whether `<` or `>` leaves open on which side of the limit a magnesium lies."""
    return result.below(limits.low) is None


def counts(result: labs.Result, limits: LowMagnesiumLimits) -> bool:
    """Return whether a result counts: a preliminary one for the severe band only, an undecidable one never."""
    if result.is_preliminary:
        return result.below(limits.severe) is True
    return not is_undecided(result, limits)


def newest(view: PatientView) -> labs.Result | None:
    """Return the newest magnesium that counts; None if there is none."""
    limits, found = low_limits(view), labs.newest_first(view, Analyte.MAGNESIUM)
    return view.fact((LOW, newest), lambda: next((result for result in found if counts(result, limits)), None))


def low_in_a_row(view: PatientView) -> list[labs.Result]:
    """Return the newest results in a row that count and are low, the oldest first; empty while magnesium is not low.

    Do not change the list, others share it.
    """
    view.read(lab(Analyte.MAGNESIUM))
    return view.fact((LOW, low_in_a_row), lambda: _low_in_a_row(view, low_limits(view)))


def _low_in_a_row(view: PatientView, limits: LowMagnesiumLimits) -> list[labs.Result]:
    run: list[labs.Result] = []
    for result in labs.newest_first(view, Analyte.MAGNESIUM):
        if not counts(result, limits):
            continue
        if not result.below(limits.low):
            break
        run.append(result)
    return run[::-1]


def trailing(run: list[labs.Result], bound: labs.PerUnit) -> list[labs.Result]:
    """Return the newest results in a row that lie below a bound."""
    start = len(run)
    while start and run[start - 1].below(bound) is True:
        start -= 1
    return run[start:]


def is_fresh(view: PatientView, moment: datetime) -> bool:
    """Return whether the newest magnesium that counts was collected after a moment, or shortly enough before it.

    So what asked for a magnesium and got one does not ask again when time passes.
    """
    found = newest(view)
    return found is not None and found.at >= moment - timedelta(hours=unknown_limits(view).fresh_hours)

"""Low potassium and ionised calcium, by the bands of their rules, for rules that ask what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from models.analytes import Analyte
from streams.rules.api import Limits, PatientView
from streams.rules.facts import labs
from streams.rules.inputs import lab


@dataclass(frozen=True, slots=True)
class LowSide:
    """A rule on the low values of an analyte.

    Attributes:
        rule: its name.
        analyte: what it reads.
        mildest: the threshold of its mildest band.
        critical: the threshold of its critical band.
    """

    rule: str
    analyte: Analyte
    mildest: str
    critical: str


LOW_POTASSIUM: Final = LowSide("low_potassium", Analyte.POTASSIUM, "low", "critical")
LOW_IONIZED_CALCIUM: Final = LowSide("low_ionized_calcium", Analyte.IONIZED_CALCIUM, "mild", "critical")


def low_in_a_row(view: PatientView, side: LowSide) -> list[labs.Result]:
    """Return the newest results in a row that count and are low, the newest first; do not change the list."""
    view.read(lab(side.analyte))
    return view.fact(side, lambda: _low_in_a_row(view, side))


def is_critical(view: PatientView, side: LowSide, result: labs.Result) -> bool:
    """Return whether a result certainly lies in the critical band."""
    return result.below(_bound(view, side, side.critical)) is True


def _low_in_a_row(view: PatientView, side: LowSide) -> list[labs.Result]:
    mildest = _bound(view, side, side.mildest)
    run: list[labs.Result] = []
    for result in labs.newest_first(view, side.analyte):
        is_low = result.below(mildest)
        if is_low is None or (result.is_preliminary and not is_critical(view, side, result)):
            continue
        if not is_low:
            break
        run.append(result)
    return run


def _bound(view: PatientView, side: LowSide, name: str) -> labs.PerUnit:
    bound: labs.PerUnit = getattr(view.settings.limits(side.rule, Limits), name)
    return bound

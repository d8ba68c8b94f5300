"""Low potassium and ionised calcium, and a high potassium, by the bands of their rules, for rules that ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from models.analytes import Analyte
from streams.rules.api import Limits, PatientView
from streams.rules.facts import labs
from streams.rules.inputs import lab


@dataclass(frozen=True, slots=True)
class Side:
    """A rule on the low, or the high, values of an analyte.

    Attributes:
        rule: its name.
        analyte: what it reads.
        mildest: the threshold of its mildest band.
        critical: the threshold of its critical band.
        above: it is on the high values, and a value on a bound belongs to the band.
    """

    rule: str
    analyte: Analyte
    mildest: str
    critical: str
    above: bool = False


LOW_POTASSIUM: Final = Side("low_potassium", Analyte.POTASSIUM, "low", "critical")
LOW_IONIZED_CALCIUM: Final = Side("low_ionized_calcium", Analyte.IONIZED_CALCIUM, "mild", "critical")
HIGH_POTASSIUM: Final = Side("high_potassium", Analyte.POTASSIUM, "mild", "severe", above=True)


def in_a_row(view: PatientView, side: Side) -> list[labs.Result]:
    """Return the newest results in a row that count and lie in a band, the newest first; do not change the list."""
    view.read(lab(side.analyte))
    return view.fact(side, lambda: _in_a_row(view, side))


def is_critical(view: PatientView, side: Side, result: labs.Result) -> bool:
    """Return whether a result certainly lies in the critical band."""
    return _reaches(result, side, _bound(view, side, side.critical)) is True


def _in_a_row(view: PatientView, side: Side) -> list[labs.Result]:
    mildest = _bound(view, side, side.mildest)
    run: list[labs.Result] = []
    for result in labs.newest_first(view, side.analyte):
        reached = _reaches(result, side, mildest)
        if reached is None or (result.is_preliminary and not is_critical(view, side, result)):
            continue
        if not reached:
            break
        run.append(result)
    return run


def _reaches(result: labs.Result, side: Side, bound: labs.PerUnit) -> bool | None:
    return result.at_least(bound) if side.above else result.below(bound)


def _bound(view: PatientView, side: Side, name: str) -> labs.PerUnit:
    bound: labs.PerUnit = getattr(view.settings.limits(side.rule, Limits), name)
    return bound

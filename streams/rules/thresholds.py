"""Properties that thresholds declare, so that every rule's settings are checked alike.

A field of a `Limits` class carries these in its annotation: the analyte whose units it needs (`UnitsOf`), how long
one unit of it is (`Lasting`), and which way a change of it silences a critical band (`Silences`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from itertools import combinations
from typing import Annotated, Any, Final

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from models.analytes import Analyte, is_plausible, per_fence_unit, units_of
from models.events import Comparator
from models.state import LONGEST_SESSION

#: How far the bounds of one threshold may lie apart when converted. Bounds are rounded for each unit (the shipped
#: ones by up to 0.4 %), a typing error is off by far more: 1.7 mmol/L beside 1.7 mg/dL by 143 %.
TOLERANCE: Final = 0.05


class Silences(Enum):
    """The way in which a threshold, moved from its shipped value, makes fewer findings high."""

    LOWERED = "lower"
    RAISED = "higher"

    def lost(self, value: float, shipped: float) -> bool:
        """Return whether a site's value makes fewer findings high than the shipped one."""
        return value < shipped if self is Silences.LOWERED else value > shipped


@dataclass(frozen=True)
class Lasting:
    """How long one unit of a threshold is, to compare durations in different units."""

    one: timedelta


@dataclass(frozen=True)
class UnitsOf:
    """The bound is given for every unit of the analyte and for no other, and each lies in the analyte's fence."""

    analyte: Analyte

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate after the type."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def check(self, bounds: dict[str, float]) -> dict[str, float]:
        """Return the bounds as they are; raise ValueError if a unit or a bound is wrong."""
        units = units_of(self.analyte)
        if sorted(bounds) != sorted(units):
            raise ValueError(f"needs one bound for each of {', '.join(units)}")
        wrong = [
            f"{bound:g} {unit}" for unit, bound in bounds.items() if bound <= 0 or not self._is_possible(bound, unit)
        ]
        if wrong:
            raise ValueError(f"no {self.analyte} is {' or '.join(wrong)}: give a bound that a result can cross")
        return bounds

    def _is_possible(self, bound: float, unit: str) -> bool:
        return is_plausible(self.analyte, bound, unit)

    def disagreements(self, bounds: Mapping[str, float], shipped: Mapping[str, float]) -> list[str]:
        """Return one sentence for each unit whose bound means another concentration than the others do.

        The largest group of units that agree with one another is believed; of equal groups, the nearest to the shipped
        bounds.
        """
        meant = {unit: per_fence_unit(self.analyte, unit) * bound for unit, bound in bounds.items()}
        if _agree(list(meant.values())):
            return []
        believed = max(
            (
                set(some)
                for size in range(1, len(meant))
                for some in combinations(meant, size)
                if _agree_on(meant, some)
            ),
            key=lambda some: (len(some), -sum(abs(bounds[unit] / shipped[unit] - 1) for unit in some)),
        )
        witness = next(unit for unit in bounds if unit in believed)
        return [
            f"{bounds[unit]:g} {unit} does not match {bounds[witness]:g} {witness}, which is "
            f"{meant[witness] / per_fence_unit(self.analyte, unit):.3g} {unit}: correct the one that is wrong"
            for unit in bounds
            if unit not in believed
        ]


@dataclass(frozen=True)
class ChangeOf(UnitsOf):
    """Likewise, of a change from one result of the analyte to another: it may be as small as anything."""

    def _is_possible(self, bound: float, unit: str) -> bool:
        return is_plausible(self.analyte, bound, unit, Comparator.LT)


def _agree_on(meant: Mapping[str, float], units: tuple[str, ...]) -> bool:
    return _agree([meant[unit] for unit in units])


def _agree(values: list[float]) -> bool:
    return max(values) <= min(values) * (1 + TOLERANCE)


#: Symptoms and results are kept for 35 days; what must have arrived by then is due in 30.
_LONGEST_DAYS: Final = 30

Minutes = Annotated[float, Field(gt=0, le=LONGEST_SESSION / timedelta(minutes=1)), Lasting(timedelta(minutes=1))]
Hours = Annotated[float, Field(gt=0, le=_LONGEST_DAYS * 24), Lasting(timedelta(hours=1))]
Days = Annotated[float, Field(gt=0, le=_LONGEST_DAYS), Lasting(timedelta(days=1))]

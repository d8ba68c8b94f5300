"""Which orders replace calcium or potassium, and by which steps (R02, R04)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from models.drugs import Drug
from models.records import Medication
from models.state import PatientState
from streams.rules.api import PatientView
from streams.rules.facts.orders import Order, orders, refs_of_drugs, step_known_at
from streams.rules.inputs import Input, drug

#: Calcium that binds phosphate is taken with every meal and replaces nothing (ours).
DRUGS: Final = (Drug.CALCIUM, Drug.POTASSIUM)
INPUT: Final[Input] = drug(*DRUGS)


@dataclass(frozen=True, slots=True)
class Replacement:
    """An order that replaces calcium or potassium now.

    Attributes:
        decided: the steps that decided it: orders and changes; of doses that nobody ordered each one, for a while.
        given: the doses that were given lately.
    """

    order: Order
    decided: tuple[Medication, ...]
    given: tuple[Medication, ...]


def replacements(view: PatientView, dose_lasts: timedelta) -> Iterator[Replacement]:
    """Yield the orders that stand, and the doses that nobody ordered, or that were given while the order was held.

    Args:
        view: the moment.
        dose_lasts: how long a dose counts.
    """
    for order in orders(view, *DRUGS):
        if order.ended_by is not None:
            continue
        given = tuple(dose for dose in order.given if view.now < dose.at + dose_lasts)
        for dose in given:
            view.look_at(dose.at + dose_lasts)
        if order.stands:
            yield Replacement(order, tuple(regimen.step for regimen in order.regimens), given)
        elif unordered := tuple(dose for dose in given if order.held_by is None or dose.at > order.held_by.at):
            yield Replacement(order, unordered, given)


def known_at(state: PatientState, steps: tuple[Medication, ...]) -> datetime:
    """Return when the last of some steps became known."""
    return max(step_known_at(state, step) for step in steps)


refs: Final = refs_of_drugs(*DRUGS)

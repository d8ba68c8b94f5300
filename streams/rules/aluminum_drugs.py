"""`citrate_with_aluminum` (R57): citrate lets the gut take up aluminium."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from models.alerts import Priority
from models.drugs import Drug
from models.records import Medication
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts import orders
from streams.rules.facts.orders import Order
from streams.rules.inputs import drug

#: A dose without an order counts for so long (ours).
_DOSE_LASTS: Final = timedelta(hours=24)
#: Routes by which citrate meets aluminium in the gut; a catheter lock or an anticoagulant does not.
_ORAL: Final = frozenset({"oral", "po", "by mouth", "enteral", "nasogastric", "ng", "peg"})

_REVIEW: Final = guidance(
    "Review both prescriptions: citrate raises the uptake of aluminium from the gut many times over. KDOQI advises "
    "against the combination.",
    "KDOQI guideline 12.1; article L9-L11",
)
_LEVEL: Final = guidance(
    "Consider a plasma aluminium level: every three months on aluminium-containing drugs.", "KDOQI guideline 12"
)


class CitrateWithAluminumLimits(Limits):
    """None of its own."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A medicine that is being taken: since when, and the steps that say so."""

    since: datetime
    step: Medication


def find(view: PatientView) -> Iterator[Outcome]:
    """An aluminium-containing drug and citrate by mouth at the same time: both ordered, or given within 24 h.

    It ends when one of them is stopped, held or cancelled, or 24 h after the last dose of one that nobody ordered.
    Citrate by another route, such as a catheter lock, does not count.
    """
    aluminum = _taken(view, Drug.ALUMINUM)
    citrate = _taken(view, Drug.CITRATE)
    if aluminum is None or citrate is None:
        return
    earlier, later = sorted((aluminum, citrate), key=lambda one: (one.since, orders.step_ref(one.step)))
    state = view.read(drug(Drug.ALUMINUM, Drug.CITRATE))
    known = max(orders.step_known_at(state, one.step) for one in (earlier, later))
    yield Finding(
        key="citrate",
        anchors=(orders.step_ref(later.step), orders.step_ref(earlier.step)),
        priority=Priority.MEDIUM,
        onset_at=later.since,
        known_at=known,
        level_known_at=known,
        summary=f"{_capital(aluminum.step.drug)} together with {citrate.step.drug}: citrate raises aluminium uptake",
        guidance=(_REVIEW, _LEVEL),
        evidence=(orders.step_evidence(earlier.step), orders.step_evidence(later.step)),
    )


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _taken(view: PatientView, which: Drug) -> _Taken | None:
    """Return the medicine that brings a drug and is being taken longest; None if none is."""
    found = [taken for order in orders.orders(view, which) for taken in _of(view, order)]
    return min(found, key=lambda taken: (taken.since, orders.step_ref(taken.step)), default=None)


def _of(view: PatientView, order: Order) -> Iterator[_Taken]:
    if order.route is not None and order.route.casefold() not in _ORAL:
        return
    if order.stands:
        first = order.regimens[0]
        yield _Taken(first.at, first.step)
        return
    for dose in order.given:
        until = dose.at + _DOSE_LASTS
        view.look_at(until)
        if view.now < until and order.ended_by is None:
            yield _Taken(dose.at, dose)


RULE: Final = PatientRule(
    name="citrate_with_aluminum",
    version=1,
    family="aluminum",
    ids="R57",
    title="Citrate together with an aluminium-containing drug",
    inputs=(drug(Drug.ALUMINUM, Drug.CITRATE),),
    needs=(drug(Drug.ALUMINUM, Drug.CITRATE),),
    limits=CitrateWithAluminumLimits,
    find=find,
    named_by=orders.refs_of_drugs(Drug.ALUMINUM, Drug.CITRATE),
    sources=("KDOQI guideline 12.1", "clinical.md 1.4"),
)

"""What a patient is on: orders, folded from their steps whatever order the messages came in.

An order id that is used again after a stop means another order. Of steps of one moment the order is placed before its
dose is given, and ends last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from models.alerts import EvidenceRecord
from models.drugs import Drug, drugs_of
from models.identity import medication_key
from models.records import Medication
from models.state import PatientState
from streams.rules.api import PatientView
from streams.rules.inputs import ANY_DRUG, drug

_ORDER_OF_STEPS: Final = ("ordered", "changed", "held", "administered", "stopped", "cancelled")
_RANK: Final = {name: rank for rank, name in enumerate(_ORDER_OF_STEPS)}
_ENDS: Final = frozenset({"stopped", "cancelled"})
_PRESCRIBES: Final = frozenset({"ordered", "changed"})


@dataclass(frozen=True, slots=True)
class Regimen:
    """What is prescribed from a moment on. A hold changes none of it: whether doses are held back is the order's.

    Attributes:
        at: from when.
        dose_mg: a single dose in mg; None if no step states one.
        dose_iu: a single dose in international units; None if no step states one.
        doses_per_day: None if no step states them.
        step: the step that prescribes it.
    """

    at: datetime
    dose_mg: float | None
    dose_iu: float | None
    doses_per_day: float | None
    step: Medication

    @property
    def daily_mg(self) -> float | None:
        """Return the dose a day in mg; one dose a day where no number is given; None without a dose."""
        return _a_day(self.dose_mg, self.doses_per_day)

    @property
    def daily_iu(self) -> float | None:
        """Return the dose a day in international units, likewise."""
        return _a_day(self.dose_iu, self.doses_per_day)


def _a_day(dose: float | None, times: float | None) -> float | None:
    return None if dose is None else dose * (1.0 if times is None else times)


@dataclass(slots=True)
class Order:
    """One order, from its first step to its end.

    Attributes:
        order_id: as the sender calls it.
        steps: all of its messages, in the order of time.
        regimens: what was prescribed, each from a moment on; empty for doses that nobody ordered.
        given: the doses that were administered.
        ended_by: the step that stopped or cancelled it; None while it stands.
        held_by: the step that holds it back since; None if it is not held.
    """

    order_id: str
    steps: list[Medication] = field(default_factory=list)
    regimens: list[Regimen] = field(default_factory=list)
    given: list[Medication] = field(default_factory=list)
    ended_by: Medication | None = None
    held_by: Medication | None = None

    @property
    def name(self) -> str:
        """Return the drug as its newest step calls it."""
        return self.steps[-1].drug

    @property
    def drugs(self) -> frozenset[Drug]:
        """Return what it brings; empty where the name is not known."""
        return frozenset().union(*(drugs_of(step.drug) or () for step in self.steps))

    @property
    def route(self) -> str | None:
        """Return the route as its newest step that states one calls it."""
        return next((step.route for step in reversed(self.steps) if step.route is not None), None)

    @property
    def since(self) -> datetime:
        """Return when it was first ordered or given."""
        return self.steps[0].at

    @property
    def stands(self) -> bool:
        """Return whether it was prescribed and nobody stopped, cancelled or held it."""
        return bool(self.regimens) and self.ended_by is None and self.held_by is None

    @property
    def was_taken(self) -> bool:
        """Return whether a dose may have been taken: one was given, or it stood and was not cancelled."""
        return bool(self.given) or not (self.ended_by is not None and self.ended_by.action == "cancelled")

    def regimen_at(self, moment: datetime) -> Regimen | None:
        """Return what was prescribed at a moment, held or not; None before the first order and from the end on."""
        if self.ended_by is not None and moment >= self.ended_by.at:
            return None
        return next((regimen for regimen in reversed(self.regimens) if regimen.at <= moment), None)

    def dose_mg_of(self, step: Medication) -> float | None:
        """Return the dose in mg of a step: as it states, else as it was prescribed then."""
        if step.dose_mg is not None:
            return step.dose_mg
        regimen = self.regimen_at(step.at)
        return None if regimen is None else regimen.dose_mg


def orders(view: PatientView, *drugs: Drug) -> list[Order]:
    """Return the orders that bring some drugs, in the order of their first steps; all of them without an argument."""
    state = view.read(drug(*drugs) if drugs else ANY_DRUG)
    if not state.medications:
        return []
    wanted = frozenset(drugs)
    found = view.fact(Order, lambda: folded(state.medications.values()))
    return [order for order in found if not wanted or wanted & order.drugs]


def folded(steps: Iterable[Medication]) -> list[Order]:
    """Fold steps into orders."""
    by_id: dict[str, list[Medication]] = {}
    for step in steps:
        by_id.setdefault(step.order_id, []).append(step)
    found = [order for held in by_id.values() for order in _of_one_id(held)]
    return sorted(found, key=lambda order: (order.since, order.order_id))


def _of_one_id(steps: list[Medication]) -> Iterator[Order]:
    """Yield the orders under one id: after an end, what prescribes or gives begins another."""
    order: Order | None = None
    for step in sorted(steps, key=_place):
        if (
            order is not None
            and order.ended_by is not None
            and step.action not in _ENDS
            and step.at > order.ended_by.at
        ):
            yield order
            order = None
        order = order or Order(step.order_id)
        _add(order, step)
    if order is not None:
        yield order


def _place(step: Medication) -> tuple[datetime, int, str]:
    return step.at, _RANK[step.action], medication_key(step)


def _add(order: Order, step: Medication) -> None:
    order.steps.append(step)
    if step.action in _ENDS:
        order.ended_by = order.ended_by or step
    elif step.action == "held":
        order.held_by = order.held_by or step
    elif step.action == "administered":
        order.given.append(step)
    if step.action not in _PRESCRIBES:
        return
    order.held_by = None
    before = order.regimens[-1] if order.regimens else None
    dose_mg, dose_iu = step.dose_mg, step.dose_iu
    if before is not None and dose_mg is None and dose_iu is None:
        dose_mg, dose_iu = before.dose_mg, before.dose_iu
    daily = step.doses_per_day if step.doses_per_day is not None or before is None else before.doses_per_day
    order.regimens.append(Regimen(step.at, dose_mg, dose_iu, daily, step))


def step_ref(step: Medication) -> str:
    """Return the name of a step as an anchor."""
    return f"medication:{medication_key(step)}"


def step_known_at(state: PatientState, step: Medication) -> datetime:
    """Return when a step became known: when its first message arrived."""
    return state.arrivals.get(step_ref(step), step.at)


def refs_of_drugs(*drugs: Drug) -> Callable[[PatientState, str], list[str]]:
    """Make a `Rule.named_by` that returns every step under the ids that order some drugs as an anchor."""
    wanted = frozenset(drugs)

    def refs(state: PatientState, _key: str) -> list[str]:
        steps = state.medications.values()
        ids = {step.order_id for step in steps if not wanted.isdisjoint(drugs_of(step.drug) or ())}
        return [step_ref(step) for step in steps if step.order_id in ids]

    return refs


def step_evidence(step: Medication) -> EvidenceRecord:
    """Return a step as evidence: `baclofen ordered`, its dose and unit as stated."""
    value, unit = (step.dose_mg, "mg") if step.dose_mg is not None else (step.dose_iu, "[iU]")
    return EvidenceRecord(
        kind="medication",
        id=step.order_id,
        name=f"{step.drug} {step.action}",
        value=value,
        unit=None if value is None else unit,
        at=step.at,
    )

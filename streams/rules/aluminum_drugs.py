"""`citrate_with_aluminum` (R57): citrate raises the absorption of aluminium that is taken with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from models.alerts import Priority
from models.drugs import Drug, drugs_of
from models.records import Medication
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts import orders
from streams.rules.facts.orders import Order
from streams.rules.inputs import drug
from streams.rules.thresholds import Hours

_INPUT: Final = drug(Drug.ALUMINUM, Drug.CITRATE)
#: Words of routes by which nothing reaches the gut: citrate locks catheters and keeps the circuit from clotting.
#: A route that has none of them is oral or unknown, and counts.
_NOT_BY_MOUTH: Final = frozenset(
    """
    iv intravenous im intramuscular sc subcutaneous injection infusion line catheter intracatheter lumen lock
    dialysate dialysis circuit extracorporeal regional filter prefilter postfilter anticoagulation topical cutaneous
    """.split()  # noqa: SIM905 (a list of words reads better as words)
)


class CitrateWithAluminumLimits(Limits):
    """How near doses of both must be, and how long they count where no order tells that they go on."""

    ascending = (("together_hours", "over_hours"),)

    together_hours: Hours = Field(default=24, description="hours between doses of both that count as together (ours)")
    over_hours: Hours = Field(default=48, description="hours after the later of such doses until it is over (ours)")


@dataclass(frozen=True, slots=True)
class _Taken:
    """What the patient takes: an order that stands, from the step on that began it, or one dose without an order."""

    step: Medication
    stands: bool


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both at the same time; `until` is None while both orders stand."""

    aluminum: _Taken
    citrate: _Taken
    at: datetime
    until: datetime | None

    @property
    def steps(self) -> tuple[Medication, Medication]:
        """Return first the step that completed the pair."""
        one, other = self.aluminum.step, self.citrate.step
        return (one, other) if one.at > other.at else (other, one)


def find(view: PatientView) -> Iterator[Outcome]:
    """A drug with aluminium and one with citrate at the same time: orders of both stand, or doses come together.

    By mouth or by an unknown route only: citrate in a catheter or the circuit does not count. It ends when an order of
    one of them is stopped, cancelled or held, or when no dose was given for 48 h where there is no order.
    """
    limits = view.limits(CitrateWithAluminumLimits)
    pairs = sorted(_pairs(view, limits), key=lambda pair: (pair.at, orders.step_ref(pair.steps[0])))
    pairs = _in_a_row(pairs, view.now)
    if not pairs:
        return
    over = [pair.until for pair in pairs if pair.until is not None]
    if len(over) == len(pairs):
        view.look_at(max(over))
    state = view.read(_INPUT)
    steps = {orders.step_ref(step): step for pair in pairs for step in pair.steps}
    known = {ref: orders.step_known_at(state, step) for ref, step in steps.items()}
    newest = pairs[-1]
    yield Finding(
        key="together",
        anchors=tuple(steps),
        priority=Priority.MEDIUM,
        onset_at=pairs[0].at,
        known_at=max(known.values()),
        level_known_at=min(max(known[orders.step_ref(step)] for step in pair.steps) for pair in pairs),
        summary=f"Citrate with an aluminium drug: {newest.citrate.step.drug} and {newest.aluminum.step.drug}",
        guidance=(_REVIEW, _LEVEL),
        evidence=tuple(orders.step_evidence(step) for step in reversed(newest.steps)),
    )


def _in_a_row(pairs: list[_Pair], now: datetime) -> list[_Pair]:
    """Return the pairs that count now, and those before them without a gap; none where none counts."""
    row: list[_Pair] = []
    until: datetime | None = now
    for pair in pairs:
        if row and until is not None and pair.at >= until:
            row = []
        until = pair.until if not row else _later(until, pair.until)
        row.append(pair)
    return row if until is None or now < until else []


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return None if one is None or other is None else max(one, other)


_REVIEW: Final = guidance(
    "Review whether the patient needs both: citrate raises the absorption of aluminium, and KDOQI advises against the "
    "combination.",
    "KDOQI guideline 12.1.a; clinical.md R57 (the article says nothing of it)",
)
_LEVEL: Final = guidance(
    "Consider a plasma aluminium level, and watch for jerks, speech disturbance and confusion.",
    "article L9-L11; KDOQI guideline 12",
)


def _pairs(view: PatientView, limits: CitrateWithAluminumLimits) -> Iterator[_Pair]:
    """Yield what was together at any time."""
    aluminum, citrate = list(_taken(view, Drug.ALUMINUM)), list(_taken(view, Drug.CITRATE))
    near, lasts = timedelta(hours=limits.together_hours), timedelta(hours=limits.over_hours)
    for one in aluminum:
        for other in citrate:
            earlier, later = sorted((one, other), key=lambda taken: taken.step.at)
            if not earlier.stands and later.step.at - earlier.step.at > near:
                continue
            yield _Pair(one, other, later.step.at, None if one.stands and other.stands else later.step.at + lasts)


def _taken(view: PatientView, what: Drug) -> Iterator[_Taken]:
    """Yield what brings a drug by mouth: orders that stand, and doses that nobody ordered."""
    for order in orders.orders(view, Drug.ALUMINUM, Drug.CITRATE):
        if order.ended_by is not None or order.held_by is not None:
            continue
        if not order.regimens:
            for step in order.given:
                if _brings(step, what) and _is_by_mouth(step.route or order.route):
                    yield _Taken(step, stands=False)
        elif (began := _began(order, what)) is not None and _is_by_mouth(order.route):
            yield _Taken(began, stands=True)


def _began(order: Order, what: Drug) -> Medication | None:
    """Return the step since which an order that stands brings a drug; None if it brings another now."""
    found = None
    for step in reversed(order.steps):
        if step.action == "held":
            break
        if step.action in ("ordered", "changed"):
            if not _brings(step, what):
                break
            found = step
    return found


def _brings(step: Medication, what: Drug) -> bool:
    return what in (drugs_of(step.drug) or ())


def _is_by_mouth(route: str | None) -> bool:
    return route is None or _NOT_BY_MOUTH.isdisjoint(re.findall(r"[a-z]+", route.casefold()))


RULE: Final = PatientRule(
    name="citrate_with_aluminum",
    version=1,
    family="aluminum",
    ids="R57",
    title="Citrate together with a drug that contains aluminium",
    inputs=(_INPUT,),
    needs=(_INPUT,),
    limits=CitrateWithAluminumLimits,
    find=find,
    named_by=orders.refs_of_drugs(Drug.ALUMINUM, Drug.CITRATE),
    sources=("KDOQI guideline 12.1.a", "clinical.md 2.5, R57"),
    without=("what a patient takes without an order, such as citrate in drinks and effervescent tablets",),
)

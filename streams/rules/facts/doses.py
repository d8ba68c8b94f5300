"""How much of a drug a patient is on: the dose a day of all orders together, doses given, and since when.

A dose that nobody states is never 0: what is known of the others is then the least that it may be.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from operator import attrgetter
from typing import Final

from models.drugs import Drug
from models.records import Medication
from streams.rules.api import PatientView
from streams.rules.facts.orders import Order, Regimen, orders
from streams.rules.inputs import drug

#: Off the drug for at most this long is a pause of one use, not an end and a new start (ours; R53 counts 72 h after).
PAUSE: Final = timedelta(hours=72)
#: An order that was cancelled within this time, and of which no dose was given, was never taken (ours).
UNTAKEN: Final = timedelta(days=1)
#: A dose that comes this much early still belongs to the next day: charts are not kept to the minute (ours).
EARLY: Final = timedelta(hours=2)
DAY: Final = timedelta(days=1)
#: When a dose began of which only a later step is known.
UNKNOWN_SINCE: Final = datetime.min.replace(tzinfo=UTC)
#: One mg of vitamin E counts as so many international units (contract, R56).
_IU_PER_MG: Final = 1.49

_AT: Final[Callable[[Dose], datetime]] = attrgetter("at")

#: Reads a dose off its mg and its international units; None if neither states it.
Measure = Callable[[float | None, float | None], float | None]


def in_mg(mg: float | None, _iu: float | None) -> float | None:
    """Return a dose in mg."""
    return mg if mg is None or mg >= 0 else None


def in_iu(mg: float | None, iu: float | None) -> float | None:
    """Return a dose of vitamin E in international units."""
    found = iu if iu is not None or mg is None else mg * _IU_PER_MG
    return found if found is None or found >= 0 else None


@dataclass(frozen=True, slots=True)
class Part:
    """What one order prescribes a day; no dose where the step that prescribes it states none."""

    dose: float | None
    step: Medication


@dataclass(frozen=True)
class Level:
    """The dose a day of all orders together, from a moment on; sums are cached, since rules compare every two levels.

    Attributes:
        at: from when.
        parts: what each order that stands adds.
        steps: the steps of this moment, which changed it.
    """

    at: datetime
    parts: tuple[Part, ...] = ()
    steps: tuple[Medication, ...] = ()

    @cached_property
    def dose(self) -> float:
        """Return what the stated doses add up to: the dose a day, or the least that it may be."""
        return round(sum(part.dose or 0.0 for part in self.parts), 6)

    @cached_property
    def is_whole(self) -> bool:
        """Return whether every order states its dose."""
        return all(part.dose is not None for part in self.parts)

    @cached_property
    def stands(self) -> bool:
        """Return whether anything is prescribed; a dose of 0 is nothing."""
        return any(part.dose != 0 for part in self.parts)

    def shown(self, unit: str) -> str:
        """Return the dose a day for a summary."""
        if self.is_whole:
            return f"{self.dose:g} {unit} a day"
        return f"at least {self.dose:g} {unit} a day" if self.dose else "dose not stated"


@dataclass(frozen=True, slots=True)
class Dose:
    """A dose that was given; its amount is None where neither the step nor the order states it."""

    at: datetime
    amount: float | None
    step: Medication


@dataclass(frozen=True, slots=True)
class Use:
    """A time on the drug, by orders that stand and by doses given; pauses up to `PAUSE` belong to it.

    Attributes:
        since: when it began; `UNKNOWN_SINCE` where the first step that is known is a later one.
        until: when it ended; None while an order stands.
        first: the step that began it.
    """

    since: datetime
    until: datetime | None
    first: Medication

    def near(self, moment: datetime, after: timedelta) -> bool:
        """Return whether a moment lies within it, or at most `after` behind its end."""
        return self.since <= moment and (self.until is None or moment <= self.until + after)


@dataclass(frozen=True, slots=True)
class Course:
    """All that is known of a patient's doses of one drug.

    Attributes:
        orders: its orders, those that were cancelled before anybody took a dose left out.
        levels: the dose a day, in the order of time; the first from `UNKNOWN_SINCE` on.
        given: the doses given, in the order of time.
        uses: the times on the drug, in order.
    """

    orders: list[Order]
    levels: list[Level]
    given: list[Dose]
    uses: list[Use]

    def level_at(self, moment: datetime) -> Level:
        """Return the dose a day at a moment."""
        return next(level for level in reversed(self.levels) if level.at <= moment)

    def use_at(self, moment: datetime) -> Use | None:
        """Return the newest use that had begun at a moment."""
        return next((use for use in reversed(self.uses) if use.since <= moment), None)

    def until(self, moment: datetime) -> list[Level]:
        """Return the levels that had begun at a moment."""
        return [level for level in self.levels if level.at <= moment]

    def goes_on(self, view: PatientView) -> bool:
        """Return whether an order has not ended, held or not, or doses are given that nobody ordered."""
        return any(_goes_on(view, order) for order in self.orders)

    def given_in(self, after: datetime, until: datetime) -> list[Dose]:
        """Return the doses given after a moment and up to another one."""
        return self.given[bisect_right(self.given, after, key=_AT) : bisect_right(self.given, until, key=_AT)]


def _goes_on(view: PatientView, order: Order) -> bool:
    if order.since > view.now or (order.ended_by is not None and order.ended_by.at <= view.now):
        return False
    if order.regimens or not order.given:
        return bool(order.regimens)
    over = max((step.at for step in order.given if step.at <= view.now), default=order.since) + PAUSE
    view.look_at(over)
    return view.now < over


def course(view: PatientView, of: Drug, measure: Measure = in_mg) -> Course | None:
    """Return what is known of a patient's doses of a drug; None if nothing is. A look comes when a step lies ahead."""
    view.read(drug(of))
    found = orders(view, of)
    if not found:
        return None
    made = view.fact((Course, of), lambda: _course(found, measure))
    for ahead in [*(level.at for level in made.levels), *(dose.at for dose in made.given)]:
        view.look_at(ahead)
    return made if made.orders else None


def is_near(view: PatientView, of: Drug, moment: datetime, after: timedelta) -> bool:
    """Return whether a patient was on a drug at a moment, or at most `after` before it."""
    found = course(view, of)
    return found is not None and any(use.near(moment, after) for use in found.uses)


def total(doses: Iterable[Dose]) -> float:
    """Return what doses add up to, the least that it may be."""
    return round(sum(dose.amount or 0.0 for dose in doses), 6)


def a_day_before(given: Course, moment: datetime) -> list[Dose]:
    """Return the doses of the 24 hours, by the clock and not by the calendar, up to a moment.

    A dose given `EARLY` is not yet one of the day before. So the window is that much shorter.
    """
    return given.given_in(moment - DAY + EARLY, moment)


def _course(found: list[Order], measure: Measure) -> Course:
    taken = [order for order in found if is_taken(order)]
    given = [Dose(step.at, _amount(order, step, measure), step) for order in taken for step in order.given]
    given.sort(key=lambda dose: (dose.at, dose.step.order_id))
    levels = _levels(taken, measure)
    return Course(taken, levels, given, _uses(levels, given))


def is_taken(order: Order) -> bool:
    """Return whether an order may have been taken: not if it was cancelled soon, and no dose was given."""
    return order.was_taken or (order.ended_by is not None and order.ended_by.at - order.since > UNTAKEN)


def _amount(order: Order, step: Medication, measure: Measure) -> float | None:
    stated = measure(step.dose_mg, step.dose_iu)
    if stated is not None:
        return stated
    regimen = order.regimen_at(step.at)
    return None if regimen is None else measure(regimen.dose_mg, regimen.dose_iu)


def _levels(found: list[Order], measure: Measure) -> list[Level]:
    """Add up what orders prescribe, from each moment on at which one of them changes."""
    changes: dict[datetime, list[tuple[int, Part | None, Medication]]] = {}
    known: set[str] = set()
    for number, order in enumerate(found):
        for at, part, step in _changes(order, measure, again=order.order_id in known):
            changes.setdefault(at, []).append((number, part, step))
        known.add(order.order_id)
    standing: dict[int, Part] = {}
    levels = [] if UNKNOWN_SINCE in changes else [Level(UNKNOWN_SINCE)]
    for at in sorted(changes):
        for number, part, _ in changes[at]:
            if part is None:
                standing.pop(number, None)
            else:
                standing[number] = part
        steps = tuple(step for _, _, step in changes[at])
        levels.append(Level(at, tuple(part for _, part in sorted(standing.items(), key=lambda one: one[0])), steps))
    return levels


def _changes(order: Order, measure: Measure, *, again: bool) -> Iterator[tuple[datetime, Part | None, Medication]]:
    """Yield what an order prescribes from when on; nothing while it is held and after its end.

    Where its beginning is not known it began at `UNKNOWN_SINCE`, or with its first dose; its dose is not known then.
    """
    regimens = {id(regimen.step): regimen for regimen in order.regimens}
    first = order.steps[0]
    told = next((step for step in order.steps if step.action != "administered"), None)
    if told is not None and told.action != "ordered" and not again:
        yield first.at if first.action == "administered" else UNKNOWN_SINCE, Part(None, first), first
    for step in order.steps:
        regimen = regimens.get(id(step))
        if regimen is not None:
            yield step.at, Part(_daily(regimen, measure), step), step
        elif step is order.ended_by or step.action == "held":
            yield step.at, None, step


def _daily(regimen: Regimen, measure: Measure) -> float | None:
    return measure(regimen.daily_mg, regimen.daily_iu)


def _uses(levels: list[Level], given: list[Dose]) -> list[Use]:
    """Join the times in which an order stands, and the moments of doses."""
    spans = [Use(dose.at, dose.at, dose.step) for dose in given]
    for number, level in enumerate(levels):
        if level.stands:
            until = levels[number + 1].at if number + 1 < len(levels) else None
            spans.append(Use(level.at, until, level.steps[0]))
    spans.sort(key=lambda span: span.since)
    joined: list[Use] = []
    for span in spans:
        before = joined[-1] if joined else None
        if before is None or (before.until is not None and span.since > before.until + PAUSE):
            joined.append(span)
        elif before.until is not None:
            joined[-1] = replace(before, until=None if span.until is None else max(before.until, span.until))
    return joined

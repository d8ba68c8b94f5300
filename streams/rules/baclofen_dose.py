"""The dose of baclofen (R51): prescribed by all orders together, and given in rolling 24 hours and 7 days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import Priority
from models.drugs import Drug
from models.records import Medication
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts.doses import DAY, EARLY, UNKNOWN_SINCE, Course, Dose, Level, a_day_before, course, total
from streams.rules.facts.orders import refs_of_drugs, step_evidence, step_known_at, step_ref
from streams.rules.inputs import drug
from streams.rules.thresholds import Days, Silences

_BACLOFEN: Final = drug(Drug.BACLOFEN)
_INSTANT: Final = timedelta(microseconds=1)


class BaclofenDoseLimits(Limits):
    """The article's titration; a dose on a limit is within it."""

    start_mg: float = Field(default=10, gt=0, le=200, description="mg a day: medium above this at the start; L32")
    step_mg: float = Field(default=10, gt=0, le=200, description="mg a day: medium above this in one week; L32")
    step_days: Days = Field(default=7, description="days after which the next step is allowed; L32 `weekly`")
    max_mg: Annotated[float, Silences.RAISED] = Field(
        default=30, gt=0, le=200, description="mg a day: high above this; L32 maximum"
    )


_TITRATION: Final = guidance(
    "Review the dose with the prescriber: the article's titration is 10 mg a day, weekly steps of 10 mg, at most 30 mg "
    "a day in all orders and doses together.",
    "article L32; clinical.md R51",
)
_TOXIC: Final = guidance(
    "On dialysis toxicity is described within this range, from 5 mg a day. Check for drowsiness, confusion and "
    "myoclonus.",
    "Nefrologia 2020; clinical.md section 0",
)


@dataclass(frozen=True, slots=True)
class _Excess:
    """A dose beyond the titration at some moment, and the steps that show it."""

    priority: Priority
    text: str
    steps: tuple[Medication, ...]
    #: When the passing of time alone may end it.
    looks: tuple[datetime, ...] = ()


def find_dose(view: PatientView) -> Iterator[Outcome]:
    """Baclofen above the article's titration: prescribed in all orders together, or given in rolling 24 h and 7 days.

    High above 30 mg a day, prescribed or given in 24 h. Medium: a start above 10 mg a day, a rise by more than 10 mg
    within 7 days, or more than seven times the maximum given in 7 days. An order that states no number of doses a day
    counts as one dose; one that states no dose adds nothing, and the sum is called the least. A dose up to 2 h early
    belongs to the next day, and an interruption of at most 72 h is no new start (ours). It ends when the dose is
    lowered or stopped, and when the week, or the rolling 24 h, is over.
    """
    state = view.read(_BACLOFEN)
    taken = course(view, Drug.BACLOFEN)
    if taken is None:
        return
    limits = view.limits(BaclofenDoseLimits)
    found = [*_prescribed(taken, limits, view.now), *_given(taken, limits, view.now)]
    if not found:
        return
    for moment in (look for excess in found for look in excess.looks):
        view.look_at(moment)
    found.sort(key=lambda excess: -excess.priority.rank)
    highest = found[0].priority
    began = _since(taken, limits, view.now)
    reached = min([moment for moment, priority in began.items() if priority.rank >= highest.rank] or began)
    turned = [step for order in taken.orders for step in order.steps if step.at == reached]
    steps = {step_ref(step): step for excess in found for step in excess.steps}
    yield Finding(
        key="dose",
        anchors=tuple(dict.fromkeys([*map(step_ref, turned), *steps])),
        priority=highest,
        onset_at=min(began),
        known_at=max(step_known_at(state, step) for step in steps.values()),
        level_known_at=max(step_known_at(state, step) for step in turned),
        summary="Baclofen " + "; ".join(dict.fromkeys(excess.text for excess in found)),
        guidance=(_TITRATION, _TOXIC),
        evidence=tuple(step_evidence(step) for step in sorted(steps.values(), key=lambda step: step.at)),
    )


def _prescribed(taken: Course, limits: BaclofenDoseLimits, moment: datetime) -> Iterator[_Excess]:
    """Yield what orders prescribe beyond the titration."""
    level = taken.level_at(moment)
    steps = tuple(part.step for part in level.parts)
    least = "" if level.is_whole else "at least "
    if level.dose > limits.max_mg:
        yield _Excess(Priority.HIGH, f"prescribed: {least}{level.dose:g} mg a day, above {limits.max_mg:g}", steps)
    week = timedelta(days=limits.step_days)
    lowest = _lowest(taken, moment - week, moment)
    if lowest is None:
        return
    is_start = not lowest.stands
    rise = round(level.dose - lowest.dose, 6)
    if rise <= (limits.start_mg if is_start else limits.step_mg):
        return
    text = f"raised by {least}{rise:g} mg a day within {limits.step_days:g} days"
    if is_start:
        text = f"started at {least}{level.dose:g} mg a day"
        if any(lowest.at < one.at < level.at and one.stands for one in taken.levels):
            text = f"raised to {least}{level.dose:g} mg a day within {limits.step_days:g} days of the start"
    ends = tuple(one.at + week for one in taken.levels if moment - week < one.at <= moment)
    yield _Excess(Priority.MEDIUM, text, steps, ends)


def _lowest(taken: Course, after: datetime, moment: datetime) -> Level | None:
    """Return the lowest level since a moment whose dose is known; an interruption within a use is none."""
    levels = taken.until(moment)
    found: list[Level] = []
    for number, level in enumerate(levels):
        ended = levels[number + 1].at if number + 1 < len(levels) else None
        if not level.is_whole or (ended is not None and ended <= after):
            continue
        if level.stands or ended is None or not _is_pause(taken, level.at, ended):
            found.append(level)
    return min(reversed(found), key=lambda level: level.dose, default=None)


def _is_pause(taken: Course, at: datetime, ended: datetime) -> bool:
    """Return whether nothing was prescribed within one use."""
    return any(use.since < at and (use.until is None or use.until >= ended) for use in taken.uses)


def _given(taken: Course, limits: BaclofenDoseLimits, moment: datetime) -> Iterator[_Excess]:
    """Yield what was given beyond the titration."""
    day = a_day_before(taken, moment)
    if day:
        text, priority = _of_a_day(taken, limits, day)
        if priority is not None:
            ends = tuple(dose.at + DAY - EARLY for dose in day)
            yield _Excess(priority, f"given: {_mg(day)} in 24 h, {text}", tuple(dose.step for dose in day), ends)
    days = taken.given_in(moment - 7 * DAY + EARLY, moment)
    if total(days) > 7 * limits.max_mg:
        text = f"given: {_mg(days)} in 7 days, above {7 * limits.max_mg:g}"
        ends = tuple(dose.at + 7 * DAY - EARLY for dose in days)
        yield _Excess(Priority.MEDIUM, text, tuple(dose.step for dose in days), ends)


def _of_a_day(taken: Course, limits: BaclofenDoseLimits, day: list[Dose]) -> tuple[str, Priority | None]:
    """Return in which way the doses of 24 hours are too much, and its priority; None where they are not."""
    given, newest, week = total(day), day[-1].at, timedelta(days=limits.step_days)
    if given > limits.max_mg:
        return f"above {limits.max_mg:g}", Priority.HIGH
    use = taken.use_at(newest)
    if use is not None and use.since > newest - week:
        is_much, text = given > limits.start_mg, f"within {limits.step_days:g} days of the start"
    else:
        before = _a_week_before(taken, newest - week)
        is_much = before is not None and given - before > limits.step_mg
        text = f"{limits.step_days:g} days after {before or 0:g} mg"
    return text, Priority.MEDIUM if is_much else None


def _a_week_before(taken: Course, moment: datetime) -> float | None:
    """Return the highest dose of 24 hours in the week up to a moment, given or prescribed; None if none is known."""
    found = [total(a_day_before(taken, dose.at)) for dose in taken.given_in(moment - 7 * DAY, moment)]
    level = taken.level_at(moment)
    if level.stands and not level.is_whole:
        return None
    return max([*found, *([level.dose] if level.stands else [])], default=None)


def _mg(doses: list[Dose]) -> str:
    return f"{'' if all(dose.amount is not None for dose in doses) else 'at least '}{total(doses):g} mg"


def _since(taken: Course, limits: BaclofenDoseLimits, now: datetime) -> dict[datetime, Priority]:
    """Return the moments in a row up to now at which the dose was too much, each with its priority."""
    began: dict[datetime, Priority] = {}
    ways = (
        ([level.at for level in taken.until(now) if level.at > UNKNOWN_SINCE], _prescribed),
        ([dose.at for dose in taken.given if dose.at <= now], _given),
    )
    for moments, way in ways:
        later = now
        for moment in reversed(moments):
            found = [excess.priority for excess in way(taken, limits, moment)]
            if not found or not any(way(taken, limits, later)):
                break
            began[moment] = max([*found, began.get(moment, found[0])], key=lambda priority: priority.rank)
            later = moment - _INSTANT
    return began


RULE: Final = PatientRule(
    name="baclofen_dose",
    version=1,
    family="medication",
    ids="R51",
    title="Baclofen above the titration",
    inputs=(_BACLOFEN,),
    needs=(_BACLOFEN,),
    limits=BaclofenDoseLimits,
    find=find_dose,
    named_by=refs_of_drugs(Drug.BACLOFEN),
    sources=("article L32", "Nefrologia 2020", "clinical.md R51"),
    without=("doses that a patient takes at home",),
)

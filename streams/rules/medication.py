"""`midodrine_timing` (R55) and `vitamin_e_dose` (R56)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority, Reason
from models.drugs import Drug
from models.state import PatientState, Reading
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts.bedside import running as running_now
from streams.rules.facts.bedside import sessions
from streams.rules.facts.doses import DAY, EARLY, Course, Dose, a_day_before, course, in_iu, total
from streams.rules.facts.labs import as_compared
from streams.rules.facts.orders import refs_of_drugs, step_evidence, step_known_at, step_ref
from streams.rules.facts.plans import ANOTHER, Plan, plans
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import SCHEDULE, SESSION, drug
from streams.rules.thresholds import Hours, Minutes

# -- midodrine --------------------------------------------------------------------------------------------------------

_MIDODRINE: Final = drug(Drug.MIDODRINE)
_MINUTE: Final = timedelta(minutes=1)
_LOOKS_EVERY: Final = timedelta(minutes=10)


class MidodrineLimits(Limits):
    """When midodrine belongs before a treatment, and the blood pressure after it."""

    ascending = (("latest_minutes", "earliest_minutes", "reach_minutes"),)

    latest_minutes: Minutes = Field(default=15, description="minutes before the start, at least; R55 around L36")
    earliest_minutes: Minutes = Field(default=45, description="minutes before the start, at most; R55 around L36")
    reach_minutes: Minutes = Field(
        default=120, description="minutes before the start from which a dose is meant for the treatment (ours)"
    )
    waits_hours: Hours = Field(default=4, description="hours after a planned start without a treatment (ours)")
    systolic_mmhg: float = Field(default=180, ge=100, le=300, description="mm[Hg]: low from this on after a dose; R55")
    acts_hours: Hours = Field(default=4, description="hours for which a dose raises the blood pressure (ours)")


_WINDOW: Final = guidance(
    "Check the time of midodrine: it raises the blood pressure for a treatment from about 30 minutes before it. Review "
    "the blood pressure in the first hour.",
    "article L36; clinical.md R55",
)
_ABSENT: Final = guidance(
    "Check whether midodrine was taken, and was not charted, and review with the prescriber whether a dose is still "
    "wanted.",
    "article L36; clinical.md R55",
)
_HYPERTENSION: Final = guidance(
    "The systolic pressure is high while midodrine acts. Check it again, sitting, and review the next dose with the "
    "prescriber: midodrine raises the pressure most in a patient who lies flat.",
    "clinical.md R55 (supine systolic of 180 or more); article L36",
)


@dataclass(frozen=True, slots=True)
class _Coming:
    """A treatment before which midodrine belongs: as planned, as it began, or both."""

    session_id: str
    plan: Plan | None
    treatment: Treatment | None

    @property
    def starts(self) -> list[datetime]:
        """Return the planned and the actual start, as far as they are known."""
        return [one.start for one in (self.plan, self.treatment) if one is not None]

    def over_at(self, waits: timedelta) -> datetime:
        """Return when nobody asks any more."""
        if self.treatment is not None:
            return self.treatment.over_at
        return max(self.starts) + waits

    def evidence(self) -> EvidenceRecord:
        """Return the planned start, or the actual one where none was planned."""
        if self.plan is not None:
            return self.plan.evidence()
        return EvidenceRecord(
            kind="session", id=self.session_id, name="session", value=None, unit=None, at=min(self.starts)
        )


def find_midodrine(view: PatientView) -> Iterator[Outcome]:
    """Midodrine outside 45 to 15 min before a treatment, absent 15 min before it, or a high pressure after it.

    A dose is in time by the planned or by the actual start. One from 2 h before the start (ours) to the end is out of
    time if none was in time. Absent is a dose that was ordered 45 min before the start and not given 15 min before it;
    the deadline moves with the plan, and a plan that is cancelled has none. This ends with a dose in time, when the
    order ends, and with the treatment. A systolic of 180 or more within 4 h (ours) after a dose, looked
    at every ten minutes, ends when it is lower.
    """
    view.read(_MIDODRINE, SCHEDULE, SESSION)
    taken = course(view, Drug.MIDODRINE)
    if taken is None:
        return
    limits = view.limits(MidodrineLimits)
    yield from _timing(view, taken, limits)
    yield from _pressure(view, taken, limits)


def _timing(view: PatientView, taken: Course, limits: MidodrineLimits) -> Iterator[Finding]:
    found = [one for coming in _coming(view, limits) if (one := _of_treatment(view, taken, coming, limits)) is not None]
    if found:
        yield max(found, key=lambda one: one.onset_at)


def _coming(view: PatientView, limits: MidodrineLimits) -> Iterator[_Coming]:
    """Yield the treatments near the clock, planned or begun; one that was cancelled and did not begin is none."""
    reach, waits = timedelta(minutes=limits.reach_minutes), timedelta(hours=limits.waits_hours)
    begun = [one for one in sessions(view) if not one.is_mistake]
    for plan in plans(view):
        own = next((one for one in begun if one.session_id == plan.session_id and _is_of(one, plan)), None)
        if own is not None:
            begun.remove(own)
        elif plan.is_cancelled:
            continue
        coming = _Coming(plan.session_id, plan, own)
        view.look_at(min(coming.starts) - reach)
        if min(coming.starts) - reach <= view.now < coming.over_at(waits):
            yield coming
    for treatment in begun:
        if treatment.start <= view.now < treatment.over_at:
            yield _Coming(treatment.session_id, None, treatment)


def _is_of(treatment: Treatment, plan: Plan) -> bool:
    return abs(treatment.start - plan.start) <= ANOTHER


def _of_treatment(view: PatientView, taken: Course, coming: _Coming, limits: MidodrineLimits) -> Finding | None:
    """Return what is wrong with midodrine before a treatment; None if a dose was in time, or nothing is expected."""
    earliest, latest = timedelta(minutes=limits.earliest_minutes), timedelta(minutes=limits.latest_minutes)
    starts, over = coming.starts, coming.over_at(timedelta(hours=limits.waits_hours))
    view.look_at(over)
    after = min(starts) - timedelta(minutes=limits.reach_minutes)
    near = [dose for dose in taken.given if after <= dose.at <= min(over, view.now)]
    if any(start - earliest <= dose.at <= start - latest for dose in near for start in starts):
        return None
    if near:
        return _out_of_time(view, coming, near, latest)
    start = min(starts)
    if not taken.level_at(view.now).stands or not taken.level_at(start - earliest).stands:
        return None
    view.look_at(start - latest)
    return _absent(taken, coming, limits) if view.now >= start - latest else None


def _out_of_time(view: PatientView, coming: _Coming, near: list[Dose], latest: timedelta) -> Finding:
    """Describe doses none of which was in time, by the first of them."""
    state, first = view.read(_MIDODRINE), near[0]
    start = min(coming.starts, key=lambda start: abs(start - latest - first.at))
    minutes = round(abs(start - first.at) / _MINUTE)
    return Finding(
        key="timing",
        anchors=(f"session:{coming.session_id}", *(step_ref(dose.step) for dose in near)),
        priority=Priority.LOW,
        onset_at=first.at,
        known_at=max(step_known_at(state, dose.step) for dose in near),
        level_known_at=step_known_at(state, first.step),
        summary=f"Midodrine given {minutes} min {'before' if first.at <= start else 'after'} the start of dialysis",
        guidance=(_WINDOW,),
        evidence=(*(step_evidence(dose.step) for dose in near), coming.evidence()),
        session_id=coming.session_id,
    )


def _absent(taken: Course, coming: _Coming, limits: MidodrineLimits) -> Finding:
    """Describe that an ordered dose was not given in time."""
    start = min(coming.starts)
    deadline = start - timedelta(minutes=limits.latest_minutes)
    # A treatment that begins before its plan, or without one, is known when it begins.
    known = start if coming.treatment is not None and coming.treatment.start == start else deadline
    steps = [part.step for part in taken.level_at(start - timedelta(minutes=limits.earliest_minutes)).parts]
    missing = EvidenceRecord(
        kind="medication",
        id=steps[0].order_id,
        name="midodrine not given since",
        value=None,
        unit=None,
        at=start - timedelta(minutes=limits.earliest_minutes),
    )
    return Finding(
        key="timing",
        anchors=(f"session:{coming.session_id}",),
        priority=Priority.LOW,
        onset_at=deadline,
        known_at=known,
        level_known_at=known,
        summary=f"Midodrine not given {limits.latest_minutes:g} min before the start of dialysis",
        guidance=(_ABSENT, _WINDOW),
        evidence=(*map(step_evidence, steps), missing, coming.evidence()),
        session_id=coming.session_id,
        reason=Reason.DEADLINE_PASSED,
    )


def _pressure(view: PatientView, taken: Course, limits: MidodrineLimits) -> Iterator[Finding]:
    """Yield a high systolic pressure in a treatment, while a dose acts.

    A sample evaluates nobody unless a rule watches its channel, and a channel is kept of every patient. So few are on
    midodrine that the newest pressure is looked at every ten minutes instead.
    """
    acts = timedelta(hours=limits.acts_hours)
    doses = taken.given_in(view.now - acts, view.now)
    running = running_now(view)
    if not doses or running is None:
        return
    every = _LOOKS_EVERY.total_seconds()
    view.look_at(datetime.fromtimestamp((view.now.timestamp() // every + 1) * every, UTC))
    for moment in (doses[0].at + acts, running.over_at + timedelta(microseconds=1)):
        view.look_at(moment)
    reading = _reading(running)
    if reading is None or as_compared(reading.value) < limits.systolic_mmhg:
        return
    known = max(reading.at, step_known_at(view.read(_MIDODRINE), doses[0].step))
    shown = EvidenceRecord(
        kind="telemetry", id=running.session_id, name="systolic_mmhg", value=reading.value, unit="mm[Hg]", at=reading.at
    )
    yield Finding(
        key="systolic",
        anchors=tuple(step_ref(dose.step) for dose in doses),
        priority=Priority.LOW,
        onset_at=doses[0].at,
        known_at=known,
        level_known_at=step_known_at(view.read(_MIDODRINE), doses[0].step),
        summary=f"Systolic pressure {reading.value:g} mm[Hg] after midodrine",
        guidance=(_HYPERTENSION,),
        evidence=(shown, *(step_evidence(dose.step) for dose in doses)),
        session_id=running.session_id,
    )


def _reading(running: Treatment) -> Reading | None:
    """Return the newest systolic pressure of a treatment: of a sample, else the one with which it began."""
    started, sampled = running.started, running.session.systolic
    if sampled is not None and running.contains(sampled.at):
        return sampled
    if started is None or started.pre_systolic_mmhg is None:
        return None
    return Reading(started.at, started.pre_systolic_mmhg)


def _midodrine_refs(state: PatientState, key: str) -> Iterator[str]:
    """Yield every step of midodrine and every treatment, planned or begun."""
    yield from refs_of_drugs(Drug.MIDODRINE)(state, key)
    planned = (word.session_id for word in state.schedules.values())
    yield from (f"session:{name}" for name in dict.fromkeys([*planned, *state.sessions]))


# -- vitamin E --------------------------------------------------------------------------------------------------------

_VITAMIN_E: Final = drug(Drug.VITAMIN_E)


class VitaminELimits(Limits):
    """The highest dose."""

    max_iu: float = Field(default=400, gt=0, le=10000, description="IU a day: info above this; L37")


_VITAMIN_E_REVIEW: Final = guidance(
    "Review the dose of vitamin E with the prescriber: the article gives 400 IU a day against cramps. Its claim that "
    "there are no adverse effects is not repeated here; higher doses were linked to bleeding and mortality.",
    "article L37; clinical.md R56; Miller 2005 (from memory: 400 IU a day and more)",
)


def find_vitamin_e(view: PatientView) -> Iterator[Outcome]:
    """Vitamin E above 400 IU a day, prescribed in all orders together or given in 24 h; 1 mg counts as 1.49 IU.

    A dose up to 2 h early belongs to the next day (ours). It ends when the dose is lowered or stopped, and a dose given
    with its 24 h.
    """
    state = view.read(_VITAMIN_E)
    taken = course(view, Drug.VITAMIN_E, in_iu)
    if taken is None:
        return
    limits = view.limits(VitaminELimits)
    level, day = taken.level_at(view.now), a_day_before(taken, view.now)
    steps = [part.step for part in level.parts] if level.dose > limits.max_iu else []
    texts = [f"prescribed: {level.shown('IU')}"] if steps else []
    if total(day) > limits.max_iu:
        steps += [dose.step for dose in day]
        texts.append(f"given: {total(day):g} IU in 24 h")
        for dose in day:
            view.look_at(dose.at + DAY - EARLY)
    if not texts:
        return
    known = max(step_known_at(state, step) for step in steps)
    yield Finding(
        key="dose",
        anchors=tuple(dict.fromkeys(map(step_ref, reversed(steps)))),
        priority=Priority.INFO,
        onset_at=level.at if level.dose > limits.max_iu else day[-1].at,
        known_at=known,
        level_known_at=known,
        summary=f"Vitamin E {'; '.join(texts)}, above {limits.max_iu:g}",
        guidance=(_VITAMIN_E_REVIEW,),
        evidence=tuple(map(step_evidence, steps)),
    )


# -- rules ------------------------------------------------------------------------------------------------------------

MIDODRINE_RULE: Final = PatientRule(
    name="midodrine_timing",
    version=1,
    family="medication",
    ids="R55",
    title="Midodrine not in time before dialysis, or a high pressure after it",
    inputs=(_MIDODRINE, SCHEDULE, SESSION),
    needs=(_MIDODRINE,),
    limits=MidodrineLimits,
    find=find_midodrine,
    named_by=_midodrine_refs,
    sources=("article L36", "clinical.md R55"),
    without=("whether the patient lay flat when the pressure was measured", "a blood pressure outside treatments"),
)
VITAMIN_E_RULE: Final = PatientRule(
    name="vitamin_e_dose",
    version=1,
    family="medication",
    ids="R56",
    title="Vitamin E above the article's dose",
    inputs=(_VITAMIN_E,),
    needs=(_VITAMIN_E,),
    limits=VitaminELimits,
    find=find_vitamin_e,
    named_by=refs_of_drugs(Drug.VITAMIN_E),
    sources=("article L37", "clinical.md R56", "contract ruling R56"),
)
RULES: Final[tuple[PatientRule, ...]] = (MIDODRINE_RULE, VITAMIN_E_RULE)

"""`aluminum_suspicion` (R20) and `aluminum_result_overdue` (R22, clinical.md 2.5): suspected, and not measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority, Reason
from models.analytes import Analyte
from models.drugs import Drug
from models.state import LONGEST_WINDOW, PatientState
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside, labs, orders
from streams.rules.facts.days import day_of, days_after, start_of
from streams.rules.facts.responses import settled
from streams.rules.facts.suspicion import (
    INPUTS,
    NAME,
    AluminumSuspicionLimits,
    Suspicion,
    present_suspicion,
    suspicion_limits,
)
from streams.rules.inhibition import Inhibition
from streams.rules.inputs import ANY_SYMPTOM, PROFILE, RESPONSE, drug, lab
from streams.rules.thresholds import Days, Hours

_MEASURE: Final = guidance(
    "Review a plasma aluminium level, drawn in a trace-element tube. A normal level does not exclude "
    "aluminium when the picture fits.",
    "article L9-L11, L58-L62; JAMA Intern Med 1986 (normal level)",
)
_DIFFERENTIAL: Final = guidance(
    "Baclofen toxicity gives the same picture (encephalopathy, myoclonus, seizures): review the medication.",
    "clinical.md section 0 against article L32",
)
_BACLOFEN: Final = guidance(
    "Baclofen is ordered, and its toxicity gives the same picture (encephalopathy, myoclonus, seizures), on dialysis "
    "at 5-10 mg a day already: review the order. An abrupt stop gives seizures, too.",
    "article L32-L34; clinical.md section 0 (baclofen on dialysis)",
)
_ROUTINE: Final = guidance(
    "Review whether a plasma aluminium level is due: KDOQI asks for one a year, and every three months on drugs with "
    "aluminium.",
    "article L10; KDOQI guideline 12; clinical.md 2.5",
)
_ALUMINUM_DRUG: Final = drug(Drug.ALUMINUM)
#: Names a routine alert where no level is known.
_FIRST_DIALYSIS: Final = "patient_profile:first_dialysis_on"
_SEIZURE: Final = guidance("A seizure with this picture: the article warns of death if untreated.", "article L11")


#: Local days from one routine level to the next: the newest level is kept however old it gets, so they may be many.
_RoutineDays = Annotated[int, Field(gt=0, le=1000)]


class AluminumResultOverdueLimits(Limits):
    """How long a suspicion, and how long any patient, may stay without a specimen and without a result."""

    ascending = (("specimen_hours", "result_days"), ("drug_days", "routine_days"))

    specimen_hours: Hours = Field(default=24, description="hours to the specimen (ours)")
    result_days: Days = Field(default=10, description="days to the result; catalogues give 1 to 9 days turn-around")
    routine_days: _RoutineDays = Field(
        default=365, description="local days from level to level; KDOQI, clinical.md 2.5"
    )
    drug_days: _RoutineDays = Field(
        default=90, description="local days between levels on an aluminium drug; KDOQI, clinical.md 2.5"
    )


def find_suspicion(view: PatientView) -> Iterator[Outcome]:
    """A jerk, myoclonus or twitch with a companion symptom within days, shortly after dialysis, or worse after it.

    Raised medium; high with a seizure. It stays open until a final level below the KDOQI baseline, or until a person
    resolves it. A baclofen order that stands is shown beside the symptoms: its toxicity gives the same picture.
    """
    limits = suspicion_limits(view)
    found = present_suspicion(view, limits)
    if found is None:
        return
    seizure = bool(found.seizures)
    names = ", ".join(dict.fromkeys(str(symptom.kind) for symptom in (*found.symptoms, *found.seizures)))
    when = " shortly after dialysis" if found.sessions else ""
    complete = bedside.known_at(view, found.completed_by)
    baclofen = [order.regimens[-1].step for order in orders.orders(view, Drug.BACLOFEN) if order.stands]
    seizure_known = min((bedside.known_at(view, symptom) for symptom in found.seizures), default=complete)
    yield Finding(
        key="suspicion",
        anchors=found.anchors,
        priority=Priority.HIGH if seizure else Priority.MEDIUM,
        onset_at=found.onset_at,
        known_at=_known_at(view, found),
        level_known_at=max(complete, seizure_known),
        summary=f"Possible aluminium toxicity: {names}{when}",
        guidance=tuple_of(_MEASURE, _BACLOFEN if baclofen else _DIFFERENTIAL, _SEIZURE if seizure else None),
        evidence=(
            *_symptom_evidence(found),
            *_levels(view, found.onset_at),
            *(orders.step_evidence(step) for step in baclofen),
        ),
    )


def _known_at(view: PatientView, found: Suspicion) -> datetime:
    """Return when the last symptom of the picture became known."""
    return max(bedside.known_at(view, symptom) for symptom in (*found.symptoms, *found.seizures))


def find_overdue(view: PatientView) -> Iterator[Outcome]:
    """A suspicion without a specimen after 24 h (low), without a result after 10 days (medium).

    Also no routine level in 365 local days, or in 90 on a drug with aluminium (low): counted from the newest final
    level, else from the first dialysis. Nothing is missed of a patient of whom neither is known. The 90 days begin
    with the drug at the earliest, and the last day is one in time (ours). A final level ends both. A patient whose
    last session began 35 days ago is treated elsewhere, and misses no routine level here (ours).
    """
    yield from _after_suspicion(view)
    yield from _routine(view)


def _after_suspicion(view: PatientView) -> Iterator[Outcome]:
    limits = suspicion_limits(view)
    found = present_suspicion(view, limits)
    if found is None:
        return
    declared_over = settled(view, NAME, "suspicion", bedside.every_symptom)
    if declared_over is not None and declared_over >= _known_at(view, found):
        return
    overdue = view.limits(AluminumResultOverdueLimits)
    specimen_due = found.complete_at + timedelta(hours=overdue.specimen_hours)
    result_due = found.complete_at + timedelta(days=overdue.result_days)
    drawn = [r for r in labs.of_analyte(view, Analyte.ALUMINUM) if r.at >= found.onset_at]
    levels = labs.results(view, Analyte.ALUMINUM)
    if any(level.at >= found.onset_at and not level.is_preliminary for level in levels):
        return
    view.look_at(result_due)
    if not drawn:
        view.look_at(specimen_due)
    if view.now >= result_due:
        yield _overdue(found, Priority.MEDIUM, result_due, f"no result {overdue.result_days:g} days")
    elif not drawn and view.now >= specimen_due:
        yield _overdue(found, Priority.LOW, specimen_due, f"no specimen {overdue.specimen_hours:g} h")


def _overdue(found: Suspicion, priority: Priority, due: datetime, what: str) -> Finding:
    return Finding(
        key="overdue",
        anchors=found.anchors,
        priority=priority,
        onset_at=due,
        known_at=due,
        level_known_at=due,
        summary=f"Aluminium suspected, {what} after the suspicion",
        guidance=(guidance("Review whether a plasma aluminium level was drawn and sent.", "article L10; catalogues"),),
        evidence=_symptom_evidence(found),
        reason=Reason.DEADLINE_PASSED,
    )


@dataclass(frozen=True, slots=True)
class _Last:
    """What the days to the next routine level are counted from."""

    day: date
    anchor: str
    known_at: datetime
    evidence: EvidenceRecord
    words: str


def _routine(view: PatientView) -> Iterator[Outcome]:
    """Yield that no level was measured for longer than routine asks for."""
    last = _last(view)
    if last is None:
        return
    limits, today = view.limits(AluminumResultOverdueLimits), day_of(view, view.now)
    if last.day > today:  # planned, or a typing error: nobody looks as far ahead as the year 9999
        view.look_at(start_of(view, min(last.day, days_after(today, limits.routine_days))))
        return
    days, began = limits.routine_days, last.day
    ordered = [order for order in orders.orders(view, Drug.ALUMINUM) if order.stands]
    step = min((order.regimens[0].step for order in ordered), key=lambda step: step.at, default=None)
    if step is not None:
        since = max(last.day, day_of(view, step.at))
        if since + timedelta(days=limits.drug_days) < began + timedelta(days=days):
            days, began = limits.drug_days, since
        else:
            step = None
    due = start_of(view, days_after(began, days + 1))
    view.look_at(due)
    if view.now < due:
        return
    treated = max((treatment.start for treatment in bedside.sessions(view)), default=None)
    if treated is not None:
        view.look_at(treated + LONGEST_WINDOW)
        if view.now >= treated + LONGEST_WINDOW:
            return
    known = max([due, last.known_at, *([orders.step_known_at(view.read(_ALUMINUM_DRUG), step)] if step else [])])
    drug_words = f" on {step.drug}" if step else ""
    yield Finding(
        key="routine",
        anchors=(last.anchor,),
        priority=Priority.LOW,
        onset_at=due,
        known_at=known,
        level_known_at=known,
        summary=f"No aluminium level in {days} days{drug_words}; {last.words}",
        guidance=(_ROUTINE,),
        evidence=(last.evidence, *([orders.step_evidence(step)] if step else [])),
        reason=Reason.DEADLINE_PASSED,
    )


def _last(view: PatientView) -> _Last | None:
    """Return the newest final level, else the first dialysis; None if neither is known."""
    profile = view.read(PROFILE).profile
    level = next((level for level in labs.newest_first(view, Analyte.ALUMINUM) if not level.is_preliminary), None)
    if level is not None:
        day = day_of(view, level.at)
        return _Last(day, level.ref, level.known_at, level.evidence(), f"the last was of {day}")
    if profile is None or profile.first_dialysis_on is None:
        return None
    day = profile.first_dialysis_on
    told = EvidenceRecord(
        kind="patient_profile",
        id=view.subject,
        name="first_dialysis_on",
        value=day.isoformat(),
        unit=None,
        at=profile.at,
    )
    return _Last(day, _FIRST_DIALYSIS, profile.at, told, f"none is known since the first dialysis on {day}")


def _named_by(state: PatientState, key: str) -> Iterator[str]:
    """Yield what an alert may be named after: a symptom; of a routine level another level, or the first dialysis."""
    if key != "routine":
        yield from bedside.every_symptom(state)
        return
    yield from labs.refs_of(Analyte.ALUMINUM)(state, key)
    yield _FIRST_DIALYSIS


def _symptom_evidence(found: Suspicion) -> tuple[EvidenceRecord, ...]:
    symptoms = (bedside.symptom_evidence(symptom) for symptom in (*found.symptoms, *found.seizures))
    sessions = (
        EvidenceRecord(kind="session_ended", id=s.session_id, name="session_ended", value=None, unit=None, at=s.over_at)
        for s in found.sessions
    )
    return (*symptoms, *sessions)


def _levels(view: PatientView, onset: datetime) -> tuple[EvidenceRecord, ...]:
    """Return levels collected since the onset: a suspicion stays open beside `aluminum_level` and shows them."""
    levels = labs.results(view, Analyte.ALUMINUM)
    return tuple(level.evidence() for level in levels if level.at >= onset and not level.is_preliminary)


SUSPICION_RULE: Final = PatientRule(
    name=NAME,
    version=1,
    family="aluminum",
    ids="R20",
    title="Jerks with speech or personality change, or after dialysis",
    inputs=(*INPUTS, drug(Drug.BACLOFEN)),
    needs=(ANY_SYMPTOM,),
    limits=AluminumSuspicionLimits,
    find=find_suspicion,
    named_by=bedside.every_symptom,
    yields_to=(
        Inhibition(
            "aluminum_level",
            "an acute level is the page, and the suspicion is its picture",
            least=Priority.HIGH,
        ),
    ),
    sources=("article L9-L11, L58-L62", "KDOQI aluminium guideline", "clinical.md 1.2"),
)
OVERDUE_RULE: Final = PatientRule(
    name="aluminum_result_overdue",
    version=1,
    family="aluminum",
    ids="R22",
    title="Aluminium suspected and not measured, or not measured for long",
    inputs=(*INPUTS, RESPONSE, PROFILE, _ALUMINUM_DRUG),
    needs=(ANY_SYMPTOM, lab(Analyte.ALUMINUM), PROFILE),
    limits=AluminumResultOverdueLimits,
    find=find_overdue,
    named_by=_named_by,
    sources=("article L10", "KDOQI guideline 12", "laboratory catalogues in clinical.md 1.2"),
    without=(
        "an order for an aluminium level",
        "levels from before the processor was connected: until one comes, days count from the first dialysis",
    ),
)

"""`aluminum_suspicion` (R20) and `aluminum_result_overdue` (R22): suspected, and then not followed up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority, Reason
from models.analytes import Analyte
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside, labs
from streams.rules.facts.responses import settled
from streams.rules.facts.suspicion import (
    INPUTS,
    NAME,
    AluminumSuspicionLimits,
    Suspicion,
    present_suspicion,
    suspicion_limits,
)
from streams.rules.inputs import ANY_SYMPTOM, RESPONSE
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
_SEIZURE: Final = guidance("A seizure with this picture: the article warns of death if untreated.", "article L11")


class AluminumResultOverdueLimits(Limits):
    """How long a suspicion may stay without a specimen and without a result."""

    ascending = (("specimen_hours", "result_days"),)

    specimen_hours: Hours = Field(default=24, description="hours to the specimen (ours)")
    result_days: Days = Field(default=10, description="days to the result; catalogues give 1 to 9 days turn-around")


def find_suspicion(view: PatientView) -> Iterator[Outcome]:
    """A jerk, myoclonus or twitch with a companion symptom within days, shortly after dialysis, or worse after it.

    Raised medium; high with a seizure. It stays open until a final level below the KDOQI baseline, or until a person
    resolves it.
    """
    limits = suspicion_limits(view)
    found = present_suspicion(view, limits)
    if found is None:
        return
    seizure = bool(found.seizures)
    names = ", ".join(dict.fromkeys(str(symptom.kind) for symptom in (*found.symptoms, *found.seizures)))
    when = " shortly after dialysis" if found.sessions else ""
    complete = bedside.known_at(view, found.completed_by)
    seizure_known = min((bedside.known_at(view, symptom) for symptom in found.seizures), default=complete)
    yield Finding(
        key="suspicion",
        anchors=found.anchors,
        priority=Priority.HIGH if seizure else Priority.MEDIUM,
        onset_at=found.onset_at,
        known_at=_known_at(view, found),
        level_known_at=max(complete, seizure_known),
        summary=f"Possible aluminium toxicity: {names}{when}",
        guidance=tuple_of(_MEASURE, _DIFFERENTIAL, _SEIZURE if seizure else None),
        evidence=(*_symptom_evidence(found), *_levels(view, found.onset_at)),
    )


def _known_at(view: PatientView, found: Suspicion) -> datetime:
    """Return when the last symptom of the picture became known."""
    return max(bedside.known_at(view, symptom) for symptom in (*found.symptoms, *found.seizures))


def find_overdue(view: PatientView) -> Iterator[Outcome]:
    """A suspicion without a specimen after 24 h (low), without a result after 10 days (medium)."""
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
    inputs=INPUTS,
    needs=(ANY_SYMPTOM,),
    limits=AluminumSuspicionLimits,
    find=find_suspicion,
    named_by=bedside.every_symptom,
    sources=("article L9-L11, L58-L62", "KDOQI aluminium guideline", "clinical.md 1.2"),
)
OVERDUE_RULE: Final = PatientRule(
    name="aluminum_result_overdue",
    version=1,
    family="aluminum",
    ids="R22",
    title="Aluminium suspected and not measured",
    inputs=(*INPUTS, RESPONSE),
    needs=(ANY_SYMPTOM,),
    limits=AluminumResultOverdueLimits,
    find=find_overdue,
    named_by=bedside.every_symptom,
    sources=("article L10", "laboratory catalogues in clinical.md 1.2"),
    without=("an order for an aluminium level",),
)

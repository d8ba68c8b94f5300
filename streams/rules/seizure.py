"""`seizure` (R24): a seizure, most of all during a treatment or in the hours after it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority
from models.drugs import Drug
from models.events import SymptomKind
from models.records import Symptom
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside, orders
from streams.rules.facts.treatments import Treatment, treatment_at
from streams.rules.inputs import SESSION, drug, holds, symptom
from streams.rules.thresholds import Hours, Silences

#: Seizures within this time are one episode (ours).
_ONE: Final = timedelta(hours=24)
_SUSPICION: Final = holds("aluminum_suspicion")

_NOW: Final = guidance(
    "Assess the patient now, per unit protocol: airway, glucose, blood pressure, and electrolytes.",
    "article L11; clinical.md R24",
)
_CAUSES: Final = guidance(
    "Consider dialysis disequilibrium, hypotension, electrolytes, medicines that the kidney clears, and aluminium.",
    "article L9-L11; KDOQI guideline 12",
)
_ALUMINUM: Final = guidance(
    "Aluminium is suspected in this patient: the article warns of death if untreated. Review an aluminium level.",
    "article L10, L11",
)
_BACLOFEN: Final = guidance(
    "The patient is on baclofen: its toxicity in dialysis and its abrupt withdrawal both give seizures.",
    "clinical.md section 0 against article L32; article L34",
)


class SeizureLimits(Limits):
    """How long after a treatment a seizure is held to be of it."""

    after_session_hours: Annotated[Hours, Silences.LOWERED] = Field(
        default=5, le=24, description="hours after the end of a session in which a seizure is high; article L53, R24"
    )


def find(view: PatientView) -> Iterator[Outcome]:
    """A seizure: high during a treatment or in the 5 h after it, medium at any other time (ours).

    Seizures within 24 h are one alert. It ends when a person resolves it, or as `entered_in_error`; without either it
    ends when the seizure leaves the window of 35 days.
    """
    limits = view.limits(SeizureLimits)
    seizures = bedside.present(view, (SymptomKind.SEIZURE,))
    episodes: list[list[Symptom]] = []
    for seizure in seizures:
        if episodes and seizure.at - episodes[-1][-1].at <= _ONE:
            episodes[-1].append(seizure)
        else:
            episodes.append([seizure])
    for episode in episodes:
        yield _finding(view, episode, timedelta(hours=limits.after_session_hours))


def _finding(view: PatientView, episode: list[Symptom], after: timedelta) -> Finding:
    found = bedside.sessions(view)
    of_treatments = [(seizure, _treatment(found, seizure, after)) for seizure in episode]
    dialysis = [(seizure, treatment) for seizure, treatment in of_treatments if treatment is not None]
    known = [bedside.known_at(view, seizure) for seizure in episode]
    level = [bedside.known_at(view, seizure) for seizure, _ in dialysis] or known
    taken = [order for order in orders.orders(view, Drug.BACLOFEN) if order.stands or order.given]
    where = " at home or in hospital"
    if dialysis:
        seizure, treatment = dialysis[0]
        where = " during dialysis" if treatment.contains(seizure.at) else " after dialysis"
    many = f", {len(episode)} times" if len(episode) > 1 else ""
    return Finding(
        # The newest episode can only grow, so its first seizure names it.
        key=f"seizure:{bedside.symptom_ref(episode[0])}|{episode[0].at.date().isoformat()}",
        anchors=tuple(bedside.symptom_ref(seizure) for seizure in episode),
        priority=Priority.HIGH if dialysis else Priority.MEDIUM,
        onset_at=episode[0].at,
        known_at=max(known),
        level_known_at=min(level),
        summary=f"Seizure{where}{many}",
        guidance=tuple_of(_NOW, _ALUMINUM if view.holds(_SUSPICION) else None, _BACLOFEN if taken else None, _CAUSES),
        evidence=(
            *(bedside.symptom_evidence(seizure) for seizure in episode),
            *(_session(treatment) for treatment in {id(t): t for _, t in dialysis}.values()),
            *(orders.step_evidence(order.steps[-1]) for order in taken[-1:]),
        ),
        session_id=dialysis[0][1].session_id if dialysis else None,
    )


def _treatment(found: list[Treatment], seizure: Symptom, after: timedelta) -> Treatment | None:
    """Return the treatment in which, or after which, a seizure happened."""
    running = treatment_at(found, seizure.at)
    if running is not None:
        return running
    over = [one for one in found if one.ended_at and timedelta(0) <= seizure.at - one.over_at <= after]
    return over[-1] if over else None


def _session(treatment: Treatment) -> EvidenceRecord:
    return EvidenceRecord(
        kind="session", id=treatment.session_id, name="session_started", value=None, unit=None, at=treatment.start
    )


RULE: Final = PatientRule(
    name="seizure",
    version=1,
    family="aluminum",
    ids="R24",
    title="Seizure",
    inputs=(symptom(SymptomKind.SEIZURE), SESSION, drug(Drug.BACLOFEN), _SUSPICION),
    needs=(symptom(SymptomKind.SEIZURE),),
    limits=SeizureLimits,
    find=find,
    named_by=bedside.every_symptom,
    sources=("article L11, L53", "KDOQI guideline 12", "clinical.md 1.2"),
)

"""`intradialytic_cramp` (R30): a cramp or spasm during treatment, one alert for those that overlap."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from pydantic import Field

from models.alerts import Priority
from models.analytes import MEQ_L, MG_DL, MMOL_L, Analyte
from models.events import SymptomKind
from models.records import Symptom
from models.state import PatientState
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside, labs
from streams.rules.facts.treatments import Treatment, treatment_at, treatments
from streams.rules.inputs import SESSION, lab, symptom
from streams.rules.shapes.relay import Report, minutes_late, relay
from streams.rules.thresholds import Minutes

CRAMPS: Final = frozenset({SymptomKind.CRAMP, SymptomKind.SPASM})


class CrampLimits(Limits):
    """How long a cramp counts without a message of its end, and when hypertonic saline needs a check."""

    silence_minutes: Minutes = Field(default=30, description="minutes without word until it expires (R30)")
    pre_systolic_mmhg: float = Field(
        default=160, ge=60, le=300, description="pre-dialysis systolic (mm[Hg]) from which saline needs a check (2.8)"
    )
    sodium: labs.SodiumBound = Field(
        default={MMOL_L: 145, MEQ_L: 145, MG_DL: 333.3},
        description="serum sodium above which saline needs a check (R30)",
    )


_ACUTE: Final = guidance(
    "Per unit protocol, review: hypertonic saline, ice and massage, oxygen, and the ultrafiltration rate.",
    "article L38-L42",
)
_CHECK: Final = guidance(
    "Check blood pressure and sodium before hypertonic saline: one of them was high.",
    "clinical.md R30 (ours)",
)


def find(view: PatientView) -> Iterator[Outcome]:
    """A cramp that began during a session and goes on; overlapping ones are one condition.

    It is over when all have ended; after 30 min without a message it expires, its end unconfirmed.
    """
    limits = view.limits(CrampLimits)
    silence = timedelta(minutes=limits.silence_minutes)
    return relay(view, _reports(view), silence, lambda group: _finding(view, limits, group))


def _reports(view: PatientView) -> Iterator[Report]:
    """Yield the cramps that began during a treatment."""
    cramps = bedside.present(view, CRAMPS)
    found = bedside.sessions(view) if cramps else []
    for cramp in cramps:
        session = treatment_at(found, cramp.at)
        if session is not None:
            known = bedside.known_at(view, cramp)
            yield Report(session.key, cramp.at, bedside.end_of(cramp), known, (cramp, session))


def _named_by(state: PatientState, key: str) -> Iterator[str]:
    """Yield symptoms that belong to no other session: before a correction they may have been a cramp of this one."""
    found = treatments(state)
    for held in state.symptoms.values():
        session = treatment_at(found, held.at)
        if session is None or session.key == key:
            yield bedside.symptom_ref(held)


def _finding(view: PatientView, limits: CrampLimits, group: list[Report]) -> Finding:
    cramps: list[Symptom] = [report.item[0] for report in group]
    session: Treatment = group[-1].item[1]
    late = minutes_late(group)
    note = f", charted {late:.0f} min late" if late >= limits.silence_minutes else ""
    running = [cramp for cramp in cramps if (end := bedside.end_of(cramp)) is None or end > view.now]
    kinds = ", ".join(dict.fromkeys(str(cramp.kind) for cramp in running or cramps))
    score = max((cramp.score for cramp in cramps if cramp.score is not None), default=None)
    return Finding(
        key=session.key,
        anchors=tuple(bedside.symptom_ref(cramp) for cramp in cramps),
        priority=Priority.MEDIUM,
        onset_at=cramps[0].at,
        known_at=max(report.known_at for report in group),
        level_known_at=min(report.known_at for report in group),
        summary=f"Muscle {kinds} during dialysis" + ("" if score is None else f", score {score} of 10") + note,
        guidance=tuple_of(_ACUTE, _CHECK if _needs_check(view, limits, session) else None),
        evidence=tuple(bedside.symptom_evidence(cramp) for cramp in cramps),
        session_id=session.session_id,
    )


def _needs_check(view: PatientView, limits: CrampLimits, session: Treatment) -> bool:
    started = session.started
    if started and started.pre_systolic_mmhg is not None and started.pre_systolic_mmhg >= limits.pre_systolic_mmhg:
        return True
    sodium = [result for result in labs.results(view, Analyte.SODIUM) if not result.is_preliminary]
    if not sodium:
        return False
    newest = sodium[-1]
    return newest.value > limits.sodium[newest.unit] if newest.unit in limits.sodium else False


RULE: Final = PatientRule(
    name="intradialytic_cramp",
    version=1,
    family="cramp",
    ids="R30",
    title="Cramp or spasm during treatment",
    inputs=(symptom(*CRAMPS), SESSION, lab(Analyte.SODIUM)),
    needs=(symptom(*CRAMPS),),
    limits=CrampLimits,
    find=find,
    named_by=_named_by,
    sources=("article L38-L42", "clinical.md 1.3"),
    without=("an intervention during a cramp, so nothing reminds after 10 min but the response times do",),
)

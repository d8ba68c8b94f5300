"""`intradialytic_cramp` (R30): a cramp or spasm during treatment, one alert for those that overlap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from models.alerts import Priority
from models.analytes import Analyte
from models.records import Symptom
from models.state import PatientState
from streams.rules.api import Finding, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside, labs
from streams.rules.facts.cramp_context import HYPOTENSION, INPUTS, cramp_context
from streams.rules.facts.cramps import CRAMPS, NAME, CrampLimits, in_treatment, silence
from streams.rules.facts.treatments import Treatment, treatment_at, treatments
from streams.rules.inhibition import Inhibition
from streams.rules.inputs import SESSION, lab, symptom
from streams.rules.shapes.relay import Report, minutes_late, relay

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

    It is over when all have ended; after 30 min without a message it expires, its end unconfirmed. It tells of a low
    pressure and a high ultrafiltration rate in the same treatment, and of what makes cramps likelier (R39: a BMI of 30
    or more, a gain of weight above 4 % since the last treatment, the first 12 months, low activity).
    """
    limits = view.limits(CrampLimits)
    return relay(view, _reports(view), silence(view), lambda group: _finding(view, limits, group))


def _reports(view: PatientView) -> Iterator[Report]:
    """Yield the cramps that began during a treatment."""
    for cramp, session in in_treatment(view):
        yield Report(session.key, cramp.at, bedside.end_of(cramp), bedside.known_at(view, cramp), (cramp, session))


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
    context = cramp_context(view, session, cramps[0].at)
    score = max((cramp.score for cramp in cramps if cramp.score is not None), default=None)
    told_score = "" if score is None else f", score {score} of 10"
    summary = f"Muscle {kinds} during dialysis{told_score}{note}{context.text}"
    return Finding(
        key=session.key,
        anchors=tuple(bedside.symptom_ref(cramp) for cramp in cramps),
        priority=Priority.MEDIUM,
        onset_at=cramps[0].at,
        known_at=max(report.known_at for report in group),
        level_known_at=min(report.known_at for report in group),
        summary=summary,
        guidance=tuple_of(_ACUTE, _CHECK if _needs_check(view, limits, session) else None, *context.advice),
        evidence=(*(bedside.symptom_evidence(cramp) for cramp in cramps), *context.evidence),
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
    name=NAME,
    version=1,
    family="cramp",
    ids="R30",
    title="Cramp or spasm during treatment",
    inputs=(symptom(*CRAMPS), SESSION, lab(Analyte.SODIUM), *INPUTS),
    needs=(symptom(*CRAMPS),),
    limits=CrampLimits,
    find=find,
    named_by=_named_by,
    yields_to=(
        Inhibition(HYPOTENSION, "a cramp with a low pressure is one page: the pressure leads, the cramp is its sign"),
    ),
    sources=("article L38-L42, L44-L49", "clinical.md 1.3"),
    without=("an intervention during a cramp, so nothing reminds after 10 min but the response times do",),
)

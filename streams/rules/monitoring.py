"""`post_dialysis_labs_missing` (R64): the hours after dialysis without the panel that watches them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority
from models.analytes import Analyte
from models.state import PatientState
from streams.rules.api import PatientRule, PatientView, guidance
from streams.rules.facts import bedside
from streams.rules.facts.risk import profile_evidence, standing_risk
from streams.rules.facts.treatments import SKEW, Treatment, treatments
from streams.rules.inputs import PROFILE, RHYTHM, SESSION
from streams.rules.shapes.expected import ExpectedShape, Since, Step, expected_results

#: How long before the end of a session a QTc may have been measured to count as a risk (ours).
_QTC_COUNTS: Final = timedelta(days=30)


def _ended(view: PatientView) -> Iterator[Since]:
    """Yield the end of the newest session of a patient in scope, and of the one before it, over since it began."""
    state = view.read(PROFILE)
    found = [one for one in bedside.sessions(view) if not one.is_mistake]
    if state.profile is None or not found:
        return
    for ended, following in zip(found[-2:], [*found[-2:][1:], None], strict=True):
        if ended.ended_at is None:
            continue  # where no end is known, nobody knows since when to wait
        if ended.over_at > view.now:  # its blood flowed after its end
            view.look_at(ended.over_at)
            continue
        why = _why(view, ended)
        if why:
            over_at = None if following is None else following.start
            known, evidence = partial(_over_at, ended), partial(_end_evidence, ended)
            yield Since(_ref(ended), ended.over_at, known, evidence, over_at, why)


def _why(view: PatientView, ended: Treatment) -> tuple[EvidenceRecord, ...]:
    """Return what puts a patient in scope: in hospital, or at risk of an arrhythmia; empty if nothing does."""
    limits: Any = view.limits(POST_DIALYSIS.limits)
    profile = view.read(PROFILE).profile
    risk = standing_risk(view, ended.over_at - _QTC_COUNTS, limits.qtc_ms)
    if profile is not None and profile.inpatient:
        return (profile_evidence(view, "inpatient"),)
    return risk.evidence if risk.score >= limits.risk_score else ()


def _over_at(ended: Treatment) -> datetime:
    return ended.over_at


def _end_evidence(ended: Treatment) -> EvidenceRecord:
    """Return the end of a session as evidence: since then the results are missing."""
    return EvidenceRecord(
        kind="session_ended", id=ended.session_id, name="session_ended", value=None, unit=None, at=ended.over_at
    )


def _ref(ended: Treatment) -> str:
    return f"session_ended:{ended.key}"


def _every_end(state: PatientState, _key: str) -> list[str]:
    return [_ref(ended) for ended in treatments(state)]


_SHAPE: Final = ExpectedShape(
    name="post_dialysis_labs_missing",
    since=_ended,
    wants=(Analyte.POTASSIUM, Analyte.MAGNESIUM, Analyte.IONIZED_CALCIUM),
    before=SKEW,
    steps=(
        Step("soft_hours", 4, Priority.LOW, "article L53; clinical.md R64"),
        Step("hard_hours", 5, Priority.MEDIUM, "article L53; clinical.md R64", "the window closed without them"),
    ),
    forgotten=Step("forgotten_hours", 72, Priority.LOW, "nobody waits any more, if no session came before (ours)"),
    what="Panel after dialysis",
    advice=(
        guidance(
            "Check whether potassium, magnesium and ionised calcium were drawn after dialysis and sent: they move "
            "for 4 to 5 h, and arrhythmias are most likely then.",
            "article L51, L53; clinical.md R64",
        ),
    ),
    note="They are expected after each session of an inpatient, and of a patient with risk factors for arrhythmia "
    "(R62).\nThe next session ends the waiting. A session counts from its known end on: one that is paused, or whose\n"
    "end nobody reported, is waited out.",
)

POST_DIALYSIS: Final = expected_results(
    _SHAPE,
    also=(SESSION, PROFILE, RHYTHM),
    needs=(PROFILE,),
    settings={
        "risk_score": (
            float,
            Field(
                default=2.0,
                gt=1,
                le=4,
                description="factors at which a patient is at risk: cardiomyopathy, ischaemic heart disease and a long "
                "QTc count 1, left ventricular hypertrophy 0.5; contract, R62",
            ),
        ),
        "qtc_ms": (
            float,
            Field(default=480.0, ge=300, le=800, description="a QTc above this (ms) is long; clinical.md 2.9"),
        ),
    },
    family="monitoring",
    ids="R64",
    title="No electrolytes in the hours after dialysis",
    named_by=_every_end,
    sources=("article L51, L53", "clinical.md R62, R64"),
    without=("a discharge with a reason: the profile tells who is in hospital",),
)
RULES: Final[tuple[PatientRule, ...]] = (POST_DIALYSIS,)

"""Labs that nobody drew: after a session (R64), and in the first month of dialysis (R66)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority, Reason, Status
from models.analytes import Analyte
from models.state import PatientState
from streams.rules.api import Ending, Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts import bedside, labs
from streams.rules.facts.days import day_of, days_after, start_of
from streams.rules.facts.profile import profile_evidence, profile_ref
from streams.rules.facts.risk import standing_risk
from streams.rules.facts.treatments import SKEW, Treatment, treatments
from streams.rules.inputs import PROFILE, RHYTHM, SESSION, lab
from streams.rules.shapes.expected import ExpectedShape, Since, Step, expected_results

#: How long before the end of a session a QTc may have been measured to count as a risk (ours).
_QTC_COUNTS: Final = timedelta(days=30)


def _ended(view: PatientView) -> Iterator[Since]:
    """Yield the end of the newest session of a patient in scope, and of the one before it, over since it began."""
    state = view.read(PROFILE)
    found = bedside.treated(view)
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


# -- the first month --------------------------------------------------------------------------------------------------


class FirstMonthLimits(Limits):
    """How old the results of a patient's first month on dialysis may be."""

    ascending = (("days", "other_days", "month_days"),)

    month_days: int = Field(default=30, ge=7, le=365, description="days from the first dialysis on; clinical.md R66")
    days: int = Field(default=7, ge=1, le=60, description="creatinine, sodium, potassium: days old at most (R66)")
    sessions: int = Field(default=3, ge=1, le=20, description="likewise, sessions since at most (R66)")
    other_days: int = Field(
        default=14, ge=1, le=60, description="magnesium, ionised calcium, phosphate: days to the first one (ours)"
    )


#: A first result of these may be as many days older than the first dialysis (ours: it was drawn to prepare for it).
_BASELINE: Final = timedelta(days=7)
_ROUTINE: Final = (Analyte.CREATININE, Analyte.SODIUM, Analyte.POTASSIUM)
_OTHER: Final = (Analyte.MAGNESIUM, Analyte.IONIZED_CALCIUM, Analyte.PHOSPHATE)
_FIRST_MONTH: Final = guidance(
    "Check whether these were drawn and sent: the first month of dialysis asks for frequent measurements.",
    "article L54; clinical.md R66",
)


@dataclass(frozen=True, slots=True)
class _Overdue:
    """An analyte whose result is overdue since a moment, and its newest one."""

    analyte: Analyte
    due: datetime
    newest: labs.Result | None


def find_first_month(view: PatientView) -> Iterator[Outcome]:
    """In the first 30 days of dialysis no creatinine, sodium or potassium for 7 days, or for three sessions.

    Magnesium, ionised calcium and phosphate are asked for once, within 14 days (ours). Days are local days of the site,
    from the profile's `first_dialysis_on` on. One alert lists all that is overdue, from the local midnight after the
    last day or session that was allowed; the results end it, and it expires with the month.
    """
    limits = view.limits(FirstMonthLimits)
    profile = view.read(PROFILE).profile
    if profile is None or profile.first_dialysis_on is None:
        return
    first = profile.first_dialysis_on
    # Nearly every patient is past it: one look at the calendar.
    if day_of(view, view.now) > days_after(first, limits.month_days):
        yield Ending(_OVERDUE, Status.EXPIRED, Reason.UNCONFIRMED_END)
        return
    start = start_of(view, first)
    view.look_at(start)
    view.look_at(start_of(view, days_after(first, limits.month_days + 1)))
    if view.now >= start and (overdue := list(_overdue(view, limits, first, start))):
        yield _month_finding(view, first, overdue)


#: The key of all that is overdue.
_OVERDUE: Final = "overdue"


def _overdue(view: PatientView, limits: FirstMonthLimits, first: date, start: datetime) -> Iterator[_Overdue]:
    """Yield what is overdue, and ask for a look when the next will be."""
    sessions = [one for one in bedside.treated(view) if one.start >= start]
    for analyte in _ROUTINE:
        newest = next(labs.newest_first(view, analyte), None)
        due = _due(view, limits, first, newest, sessions)
        view.look_at(due)
        if view.now >= due:
            yield _Overdue(analyte, due, newest)
    due = start_of(view, days_after(first, limits.other_days + 1))
    for analyte in _OTHER:
        newest = next(labs.newest_first(view, analyte), None)
        if newest is not None and day_of(view, newest.at) >= first - _BASELINE:
            continue
        view.look_at(due)
        if view.now >= due:
            yield _Overdue(analyte, due, newest)


def _due(
    view: PatientView, limits: FirstMonthLimits, first: date, newest: labs.Result | None, sessions: list[Treatment]
) -> datetime:
    """Return the midnight from which a routine analyte is overdue; results from before the first day count as of it."""
    day = first if newest is None else max(first, day_of(view, newest.at))
    by_days = start_of(view, days_after(day, limits.days + 1))
    # A specimen that is drawn as a session begins is one from before it.
    since = [one.over_at for one in sessions if newest is None or one.start + SKEW >= newest.at]
    if len(since) <= limits.sessions:
        return by_days
    return min(by_days, start_of(view, days_after(day_of(view, sorted(since)[limits.sessions]), 1)))


def _month_finding(view: PatientView, first: date, overdue: list[_Overdue]) -> Finding:
    listed = ", ".join(one.analyte.words for one in overdue)
    since = tuple(one.newest.evidence() for one in overdue if one.newest is not None)
    return Finding(
        key=_OVERDUE,
        anchors=(profile_ref(view.read(PROFILE)),),
        priority=Priority.LOW,
        onset_at=min(one.due for one in overdue),
        known_at=max(one.due for one in overdue),
        level_known_at=min(one.due for one in overdue),
        summary=f"First month of dialysis, results overdue: {listed}",
        guidance=(_FIRST_MONTH,),
        evidence=(profile_evidence(view, "first_dialysis_on", first.isoformat()), *since),
        reason=Reason.DEADLINE_PASSED,
    )


def _the_profile(state: PatientState, _key: str) -> list[str]:
    return [profile_ref(state)]


FIRST_MONTH: Final = PatientRule(
    name="first_month_labs_overdue",
    version=1,
    family="monitoring",
    ids="R66",
    title="Results overdue in the first month of dialysis",
    inputs=(PROFILE, SESSION, lab(*_ROUTINE, *_OTHER)),
    limits=FirstMonthLimits,
    find=find_first_month,
    named_by=_the_profile,
    sources=("article L54", "clinical.md R66"),
    without=("the first dialysis where no profile tells it: who is new to this system may have dialysed for years",),
)
RULES: Final[tuple[PatientRule, ...]] = (POST_DIALYSIS, FIRST_MONTH)

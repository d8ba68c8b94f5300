"""`nutrition_review` (R40): a low albumin while cramps recur, or no albumin for months."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import Priority, Reason
from models.analytes import G_DL, G_L, Analyte
from models.state import PatientState
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts import bedside, labs
from streams.rules.facts.days import day_of, days_after, start_of
from streams.rules.facts.profile import profile_evidence, profile_ref
from streams.rules.inputs import PROFILE, SESSION, holds, lab
from streams.rules.thresholds import UnitsOf


class NutritionLimits(Limits):
    """Which albumin is low, and how old it may be."""

    albumin: Annotated[labs.PerUnit, UnitsOf(Analyte.ALBUMIN)] = Field(
        default={G_DL: 3.5, G_L: 35}, description="low below this; clinical.md R40"
    )
    days: int = Field(default=90, ge=7, le=365, description="local days without an albumin; clinical.md R40")
    away_days: int = Field(
        default=30, ge=7, le=34, description="days since the last session, after which nobody waits for one (ours)"
    )


_RECURRENT: Final = holds("recurrent_cramps")
_NUTRITION: Final = guidance(
    "Review nutrition: intake, weight over months, inflammation and dialysis dose. Poor nutrition contributes to "
    "cramps.",
    "article L56; clinical.md R40",
)
_MAGNESIUM_TOO: Final = guidance(
    "A low albumin goes with a low total magnesium and calcium: review the ionised calcium.",
    "clinical.md 2.4, R40, R06",
)
_MEASURE: Final = guidance("Check whether an albumin was drawn and sent.", "article L56; clinical.md R40")


def find(view: PatientView) -> Iterator[Outcome]:
    """A low albumin while `recurrent_cramps` holds, or no albumin for 90 local days.

    The days count from the newest albumin, else from the profile's `first_dialysis_on`: a patient of whom nobody knows
    since when they dialyse, and who never had an albumin, raises nothing. Nobody waits for an albumin of a patient
    whose last session was more than 30 days ago (ours). Over with an albumin that is not low, with the end of the
    cramps, or with any albumin.
    """
    limits = view.limits(NutritionLimits)
    recurring = view.holds(_RECURRENT) is not None
    newest = next(labs.newest_first(view, Analyte.ALBUMIN), None)
    missing = _no_albumin(view, limits, newest)
    if missing is not None:
        yield missing
    elif recurring and (run := _low_albumin(view, limits)):
        yield _low_finding(run, limits)


def _no_albumin(view: PatientView, limits: NutritionLimits, newest: labs.Result | None) -> Finding | None:
    """Return that no albumin came for too long; None if one did, or nobody waits for one."""
    state = view.read(PROFILE)
    if newest is not None:
        since, anchor, evidence = day_of(view, newest.at), newest.ref, newest.evidence()
    elif state.profile is not None and (first := state.profile.first_dialysis_on) is not None:
        since, anchor = first, profile_ref(state)
        evidence = profile_evidence(view, "first_dialysis_on", first.isoformat())
    else:
        return None
    due = start_of(view, days_after(since, limits.days + 1))
    view.look_at(due)
    if view.now < due or _is_away(view, limits):
        return None
    return Finding(
        key="missing",
        anchors=(anchor,),
        priority=Priority.LOW,
        onset_at=due,
        known_at=due,
        level_known_at=due,
        summary=f"No albumin for more than {limits.days} days",
        guidance=(_MEASURE,),
        evidence=(evidence,),
        reason=Reason.DEADLINE_PASSED,
    )


def _is_away(view: PatientView, limits: NutritionLimits) -> bool:
    """Return whether the last session is long ago; a unit whose machines tell nothing has no sessions at all."""
    found = bedside.treated(view)
    if not found:
        return False
    away = found[-1].start + timedelta(days=limits.away_days)
    view.look_at(away)
    return view.now >= away


def _low_albumin(view: PatientView, limits: NutritionLimits) -> list[labs.Result]:
    """Return the newest final results in a row that are low, the newest first."""
    run: list[labs.Result] = []
    for result in labs.newest_first(view, Analyte.ALBUMIN):
        is_low = result.below(limits.albumin)
        if result.is_preliminary or is_low is None:
            continue
        if not is_low:
            break
        run.append(result)
    return run


def _low_finding(run: list[labs.Result], limits: NutritionLimits) -> Finding:
    newest, bound = run[0], labs.shown_bound(limits.albumin, run[0])
    return Finding(
        key="low",
        anchors=tuple(result.ref for result in reversed(run)),
        priority=Priority.LOW,
        onset_at=run[-1].at,
        known_at=newest.known_at,
        level_known_at=run[-1].known_at,
        summary=f"Albumin {newest.shown()}, low (below {bound}), and cramps recur",
        guidance=(_NUTRITION, _MAGNESIUM_TOO),
        evidence=(newest.evidence(),),
        bound=labs.bound_record(limits.albumin, newest),
    )


def doubts(view: PatientView, result: labs.Result) -> str | None:
    """Return why a readable albumin cannot be placed."""
    bound = view.limits(NutritionLimits).albumin
    if result.analyte is Analyte.ALBUMIN and result.below(bound) is None:
        return f"{result.shown()} leaves open on which side of {labs.shown_bound(bound, result)} it lies"
    return None


def _every_albumin(state: PatientState, key: str) -> list[str]:
    return [*labs.refs_of(Analyte.ALBUMIN)(state, key), profile_ref(state)]


RULE: Final = PatientRule(
    name="nutrition_review",
    version=1,
    family="monitoring",
    ids="R40",
    title="Cramps that recur with a low albumin, or no albumin for months",
    inputs=(lab(Analyte.ALBUMIN), _RECURRENT, PROFILE, SESSION),
    needs=(lab(Analyte.ALBUMIN), PROFILE),
    limits=NutritionLimits,
    find=find,
    named_by=_every_albumin,
    doubts=doubts,
    sources=("article L56", "clinical.md R40"),
    without=("a trend of the weight that is not fluid", "a review of the nutrition that somebody records"),
)

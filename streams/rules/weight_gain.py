"""`interdialytic_weight_gain` (R37): more fluid between two treatments than the patient's weight allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from models.alerts import BoundRecord, EvidenceRecord, Priority, Reason, Status
from models.state import PatientState
from streams.rules.api import Ending, Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts.bedside import treated
from streams.rules.facts.days import day_of
from streams.rules.facts.dry_weight import dry_weight, weight_known_at, weight_ref
from streams.rules.facts.implausible import WEIGHT as RANGE
from streams.rules.facts.labs import as_compared
from streams.rules.facts.places import Phase, place_of
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import PROFILE, SESSION, WEIGHT
from streams.rules.thresholds import Days

_NAME: Final = "interdialytic_weight_gain"
#: Begins the key of the gain since a weighing.
_SINCE: Final = "since:"


class WeightGainLimits(Limits):
    """Which gain is too much, in % of the dry weight, and which weights are believed."""

    ascending = (("advisory_percent", "warning_percent"),)

    advisory_percent: float = Field(default=4.0, gt=0, le=20, description="%: low above this; EBPG, clinical.md 2.7")
    warning_percent: float = Field(
        default=6.0, gt=0, le=20, description="%: medium above this; Japanese guideline, clinical.md 2.7"
    )
    far_percent: float = Field(
        default=30.0, ge=20, le=100, description="%: a weight so far from the dry weight is of somebody else (ours)"
    )
    gap_days: int = Field(
        default=4, ge=2, le=14, description="days: a longer time since the last treatment is told of (clinical.md R37)"
    )
    open_days: Days = Field(default=7, description="days after which a gain without a further weighing expires (ours)")


_ISOLATED: Final = guidance(
    "Consider isolated ultrafiltration. Review the length of this treatment, the target weight and the ultrafiltration "
    "rate that the gain asks for.",
    "article L29, L47; clinical.md 2.7, R37",
)
_INTAKE: Final = guidance(
    "Review the intake of salt and fluid, and the sodium of the dialysate.", "article L47; clinical.md 2.7, 2.10"
)
_MISSED: Final = guidance(
    "Treatments were missed: check potassium and breathing before this one.", "clinical.md R37 (ours)"
)


@dataclass(frozen=True, slots=True)
class _Weighing:
    """A weight before or after a treatment: its name as an anchor, and when it became known."""

    at: datetime
    kg: float
    ref: str
    known_at: datetime
    evidence: EvidenceRecord


def find(view: PatientView) -> Iterator[Outcome]:
    """The gain from the last weight after a treatment to the newest one before the next, in % of the dry weight.

    More than 4 % is low, more than 6 % medium. The newest weighing decides. It is over with a weight after that
    treatment, or when it is weighed again before the next one; without either it expires after 7 days (ours). A weight
    more than 30 % from the dry weight counts for nothing (ours). Where a treatment lies between the two weights, the
    weight after it was not told, and the gain is not known.
    """
    limits, weighed = view.limits(WeightGainLimits), _weighings(view, "pre")
    if not weighed:
        return
    after = _weighings(view, "post")
    treatment = _treatment_of(view, weighed[-1].at)
    dry = dry_weight(view, treatment, weighed[-1].at)
    if dry is None or not isinstance(dry.value, float):
        return
    weighed = [one for one in weighed if _is_near(one.kg, dry.value, limits)]
    after = [one for one in after if _is_near(one.kg, dry.value, limits)]
    if not weighed or not (before := [one for one in after if one.at < weighed[-1].at]):
        return
    last = before[-1]
    if after[-1].at > weighed[-1].at or _is_between(view, last.at, weighed[-1].at):
        return
    run = _too_much([one for one in weighed if one.at > last.at], last, dry.value, limits)
    if not run:
        return
    key, over = f"{_SINCE}{last.at.isoformat()}", run[-1].at + timedelta(days=limits.open_days)
    if view.now >= over:
        yield Ending(key, Status.EXPIRED, Reason.UNCONFIRMED_END)
        return
    view.look_at(over)
    yield _finding(view, key, run, last, dry)


def _weighings(view: PatientView, moment: str) -> list[_Weighing]:
    """Return the weights that may be a patient's, by time: of a scale, and of the messages of sessions."""
    state = view.read(WEIGHT, SESSION)
    found = [
        _weighing(one.at, one.kg, moment, weight_ref(one), weight_known_at(state, one), one.event_id)
        for one in state.weights.values()
        if one.moment == moment and RANGE.holds(one.kg)
    ]
    for session in state.sessions.values():
        ref = f"session:{session.session_id}"
        told = (
            [(start.at, start.pre_weight_kg) for start in session.starts]
            if moment == "pre"
            else [(end.at, end.post_weight_kg) for end in session.ends]
        )
        found += [
            _weighing(at, kg, moment, ref, at, session.session_id)
            for at, kg in told
            if kg is not None and RANGE.holds(kg)
        ]
    return sorted(found, key=lambda one: (one.at, one.kg, one.ref))


def _weighing(at: datetime, kg: float, moment: str, ref: str, known_at: datetime, name: str | None) -> _Weighing:
    evidence = EvidenceRecord(
        kind="weight", id=name or at.isoformat(), name=f"{moment}_weight_kg", value=float(kg), unit="kg", at=at
    )
    return _Weighing(at, kg, ref, known_at, evidence)


def _treatment_of(view: PatientView, moment: datetime) -> Treatment | None:
    """Return the treatment before or in which somebody was weighed; None if nothing is told of it."""
    place = place_of(view, moment)
    return place.treatment if place.phase in (Phase.PRE, Phase.INTRA) else None


def _is_near(kg: float, dry_kg: float, limits: WeightGainLimits) -> bool:
    return abs(kg - dry_kg) <= dry_kg * limits.far_percent / 100


def _is_between(view: PatientView, since: datetime, until: datetime) -> bool:
    """Return whether a treatment lies between two moments."""
    return any(since <= one.start and one.over_at <= until for one in treated(view))


def _percent(one: _Weighing, last: _Weighing, dry_kg: float) -> float:
    return as_compared((one.kg - last.kg) / dry_kg * 100)


def _too_much(weighed: list[_Weighing], last: _Weighing, dry_kg: float, limits: WeightGainLimits) -> list[_Weighing]:
    """Return the newest weighings in a row that show too much, the oldest first."""
    run: list[_Weighing] = []
    for one in reversed(weighed):
        if _percent(one, last, dry_kg) <= limits.advisory_percent:
            break
        run.append(one)
    return run[::-1]


def _finding(view: PatientView, key: str, run: list[_Weighing], last: _Weighing, dry: EvidenceRecord) -> Finding:
    limits, newest = view.limits(WeightGainLimits), run[-1]
    assert isinstance(dry.value, float)  # noqa: S101 (for the type checker)
    percents = [_percent(one, last, dry.value) for one in run]
    is_medium = percents[-1] > limits.warning_percent
    bound = limits.warning_percent if is_medium else limits.advisory_percent
    level = [one.known_at for one, percent in zip(run, percents, strict=True) if percent > bound]
    treatment, days = _treatment_of(view, newest.at), _days_since(view, newest, last)
    is_missed = days > limits.gap_days
    words = f"Weight gain {as_compared(newest.kg - last.kg):.3g} kg, {percents[-1]:.3g} % of the dry weight"
    return Finding(
        key=key,
        anchors=tuple(dict.fromkeys(one.ref for one in run)),
        priority=Priority.MEDIUM if is_medium else Priority.LOW,
        onset_at=run[0].at,
        known_at=max(newest.known_at, last.known_at),
        level_known_at=max(min(level), last.known_at),
        summary=f"{words} (above {bound:g} %)" + (f", {days} days since the last treatment" if is_missed else ""),
        guidance=tuple_of(_ISOLATED, _INTAKE, _MISSED if is_missed else None),
        evidence=(newest.evidence, last.evidence, dry),
        session_id=treatment.session_id if treatment else None,
        bound=BoundRecord(value=round(last.kg + dry.value * bound / 100, 2), unit="kg"),
    )


def _days_since(view: PatientView, newest: _Weighing, last: _Weighing) -> int:
    """Return the local days from the last treatment, or the weight after it, to a weighing."""
    over = [one.over_at for one in treated(view) if one.over_at <= newest.at]
    return (day_of(view, newest.at) - day_of(view, max([last.at, *over]))).days


def _every_weighing(state: PatientState, _key: str) -> list[str]:
    """Return every weight before a treatment as an anchor; only one gain holds at a time."""
    return [
        *(weight_ref(one) for one in state.weights.values() if one.moment == "pre"),
        *(f"session:{name}" for name in state.sessions),
    ]


RULE: Final = PatientRule(
    name=_NAME,
    version=1,
    family="session",
    ids="R37",
    title="Weight gain between two treatments",
    inputs=(WEIGHT, SESSION, PROFILE),
    limits=WeightGainLimits,
    find=find,
    named_by=_every_weighing,
    sources=("article L29, L47", "EBPG", "Japanese guideline", "clinical.md 2.7"),
    without=("a weight that is taken back: a further weighing replaces it",),
)

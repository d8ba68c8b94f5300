"""`high_sodium_follow_up` (R34): weight gain and pressure before the three treatments after one with much sodium."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority, Reason, Status
from models.analytes import MMOL_L
from models.state import PatientState
from streams.rules.api import Ending, Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside
from streams.rules.facts.before_dialysis import systolic_before, weight_at_end, weight_before
from streams.rules.facts.chair_settings import highest
from streams.rules.facts.dry_weight import weight_after
from streams.rules.facts.labs import as_compared
from streams.rules.facts.treatments import Treatment, is_still, treatments
from streams.rules.inputs import PAUSE, PROFILE, SESSION, WEIGHT, setting
from streams.rules.shapes.sides import NOISE
from streams.rules.thresholds import Minutes

_NAME: Final = "high_sodium_follow_up"
_KEY: Final = "follow_up"
_DIALYSATE: Final = "dialysate_na_mmol_l"
#: So many treatments more than may matter are looked at: one of them may turn out to be a mistake.
_SPARE: Final = 2


class FollowUpLimits(Limits):
    """Which sodium is followed up, for how long, and what is noted then."""

    sodium_mmol_l: float = Field(default=140, gt=0, description="mmol/L: a dialysate is followed up from here on; R34")
    sessions: int = Field(default=3, ge=1, le=10, description="treatments after it that are watched; R34")
    gain_percent: float = Field(
        default=4, gt=0, le=20, description="% of the dry weight: a gain above this is noted; R34, 2.7"
    )
    systolic_mmhg: float = Field(
        default=160, ge=60, le=300, description="mm[Hg] before dialysis, noted from here on; R34 (ours)"
    )
    rise_mmhg: float = Field(
        default=20, gt=0, le=200, description="mm[Hg] above that before the treatment with much sodium; R34 (ours)"
    )
    missing_minutes: Minutes = Field(
        default=30, description="min after the start, from when weight or pressure are missed; R34"
    )


_REVIEW: Final = guidance(
    "Review the dialysate sodium, the intake of salt and fluid, the target weight and the blood pressure with the "
    "prescriber: sodium that stays in the patient shows as thirst, weight and pressure.",
    "article L55; clinical.md R34",
)
_CONFLICT: Final = guidance(
    "The article raises the dialysate sodium against cramps; KDOQI advises against it, because the sodium balance "
    "becomes positive.",
    "article L26-L27 against KDOQI 2006 HD guideline 5.3",
)
_MEASURE: Final = guidance(
    "Check weight and blood pressure before this treatment: they tell whether the sodium stayed in the patient.",
    "article L55; clinical.md R34",
)


@dataclass(frozen=True, slots=True)
class _Sodium:
    """What is known of the dialysate sodium of a treatment: neither where nothing told it."""

    is_high: bool = False
    is_below: bool = False
    evidence: EvidenceRecord | None = None


@dataclass(slots=True)
class _Note:
    """What is noted at the beginning of a treatment that is watched after some sodium."""

    treatment: Treatment
    sodium: _Sodium
    words: list[str] = field(default_factory=list)
    evidence: list[EvidenceRecord] = field(default_factory=list)
    is_known: bool = False
    missing: tuple[str, ...] = ()


@dataclass(slots=True)
class _FollowUp:
    """Where a follow-up stands.

    Attributes:
        after: the newest treatment with much sodium that is over, and its sodium.
        left: how many treatments are still watched after it.
        notes: the treatments at which something was noted since the follow-up was last clear, the oldest first.
        clear: the treatments in a row since then at which nothing was.
        missing: the running one, of which something is missed.
        is_open: whether the last one ended without an answer: something was noted, or missed.
    """

    after: Treatment | None = None
    sodium: _Sodium = field(default_factory=_Sodium)
    left: int = 0
    notes: list[_Note] = field(default_factory=list)
    clear: int = 0
    missing: _Note | None = None
    is_open: bool = False


def find(view: PatientView) -> Iterator[Outcome]:
    """A weight gain above 4 % of the dry weight, or a systolic pressure from 160 or 20 mmHg up, after much sodium.

    Much is a dialysate from 140 mmol/L on, as measured or as the profile plans. Its end opens the follow-up, which
    watches the beginning of the next three treatments: one of both is low, both are medium; weight or pressure that
    are missing 30 min after the start are low while that treatment runs. It is over with the end of a treatment whose
    sodium stayed below 140, after three treatments in a row without either, or with the end of the third: expired if
    that one was not clear. Weights that are told late count at their own time.
    """
    limits = view.limits(FollowUpLimits)
    count = limits.sessions + 1 + _SPARE
    newest = bedside.treated(view)[-count:]
    stands = _FollowUp()
    for place, treatment in enumerate(newest):
        view.look_at(treatment.start)
        if treatment.start > view.now:
            break
        view.look_at(treatment.over_at)
        previous = newest[place - 1] if place else None
        if stands.after is not None and stands.left:
            _watch(view, limits, stands, treatment, previous)
        if treatment.over_at <= view.now:
            _conclude(stands, treatment, _sodium(view, limits, treatment), limits)
    if stands.notes or stands.missing is not None:
        yield _finding(stands, limits)
    elif stands.is_open:
        yield Ending(_KEY, Status.EXPIRED, Reason.UNCONFIRMED_END)


def _watch(
    view: PatientView, limits: FollowUpLimits, stands: _FollowUp, treatment: Treatment, previous: Treatment | None
) -> None:
    """Note what the beginning of a watched treatment tells."""
    note = _note(view, limits, stands, treatment, previous)
    stands.left -= 1
    is_over = treatment.over_at <= view.now
    stands.missing = note if note.missing and not is_over else None
    stands.is_open = is_over and bool(note.words or note.missing)
    if note.words:
        stands.notes.append(note)
        stands.clear = 0
    elif is_over and note.is_known:
        stands.clear += 1
        if stands.clear >= limits.sessions:
            stands.notes = []


def _conclude(stands: _FollowUp, treatment: Treatment, sodium: _Sodium, limits: FollowUpLimits) -> None:
    """Open the follow-up anew at the end of a treatment with much sodium, or close it with one that has little."""
    if sodium.is_high:
        stands.after, stands.sodium, stands.left, stands.is_open = treatment, sodium, limits.sessions, False
    elif sodium.is_below:
        stands.after, stands.left, stands.notes, stands.is_open = None, 0, [], False
    elif not stands.left:
        stands.after, stands.notes = None, []


# -- sodium -----------------------------------------------------------------------------------------------------------


def _sodium(view: PatientView, limits: FollowUpLimits, treatment: Treatment) -> _Sodium:
    """Return whether the sodium of a treatment was ever high, or planned to be, or stayed below."""
    profile = (treatment.started and treatment.started.sodium_profile) or ()
    bound, value = limits.sodium_mmol_l * (1 - NOISE), f">={limits.sodium_mmol_l:g}"
    highest_told = highest(view, treatment, _DIALYSATE)
    name = None
    if any(step.na_mmol_l > bound for step in profile):
        name = "sodium_profile"
    elif highest_told is not None and highest_told > bound:
        name = _DIALYSATE
    if name is None:
        return _Sodium(is_below=bool(profile) or highest_told is not None)
    kind = "telemetry" if name == _DIALYSATE else "session"
    evidence = EvidenceRecord(
        kind=kind, id=treatment.session_id, name=name, value=value, unit=MMOL_L, at=treatment.start
    )
    return _Sodium(is_high=True, evidence=evidence)


# -- weight and pressure ----------------------------------------------------------------------------------------------


def _note(
    view: PatientView, limits: FollowUpLimits, stands: _FollowUp, treatment: Treatment, previous: Treatment | None
) -> _Note:
    """Return what the weight and the pressure before a treatment tell, and which of them is missing by now."""
    view.read(PAUSE)
    note = _Note(treatment, stands.sodium)
    weight, systolic = weight_before(view, treatment, previous), systolic_before(view, treatment)
    if weight is not None and previous is not None:
        _note_gain(view, limits, note, weight, weight_at_end(view, previous, treatment.start))
    if systolic is not None:
        assert stands.after is not None  # noqa: S101 (for the type checker)
        _note_pressure(limits, note, systolic, systolic_before(view, stands.after))
    due = treatment.start + timedelta(minutes=limits.missing_minutes)
    view.look_at(due)
    if view.now >= due and not (is_still(treatment.session) and not treatment.flows):
        told = (("weight", weight), ("systolic pressure", systolic))
        note.missing = tuple(name for name, evidence in told if evidence is None)
    return note


def _note_gain(
    view: PatientView, limits: FollowUpLimits, note: _Note, weight: EvidenceRecord, last: EvidenceRecord | None
) -> None:
    dry = weight_after(view, note.treatment)
    if dry is None or last is None:
        return
    assert isinstance(dry.value, float)  # noqa: S101 (for the type checker)
    assert isinstance(weight.value, float)  # noqa: S101
    assert isinstance(last.value, float)  # noqa: S101
    note.is_known = True
    percent = as_compared((weight.value - last.value) / dry.value * 100)
    if percent > limits.gain_percent:
        note.words.append(f"weight gain {percent:.3g} % of the dry weight (above {limits.gain_percent:g})")
        note.evidence += [weight, last, dry]


def _note_pressure(
    limits: FollowUpLimits, note: _Note, systolic: EvidenceRecord, before: EvidenceRecord | None
) -> None:
    assert isinstance(systolic.value, float)  # noqa: S101 (for the type checker)
    note.is_known = True
    rise = systolic.value - before.value if before is not None and isinstance(before.value, float) else 0.0
    if systolic.value < limits.systolic_mmhg and rise < limits.rise_mmhg:
        return
    risen = f", up by {rise:g}" if rise >= limits.rise_mmhg else ""
    note.words.append(f"systolic {systolic.value:g} mmHg{risen}")
    note.evidence += [systolic, before] if risen and before is not None else [systolic]


# -- the alert --------------------------------------------------------------------------------------------------------


def _finding(stands: _FollowUp, limits: FollowUpLimits) -> Finding:
    """One alert of a follow-up: what was noted last, and what is missing now."""
    newest, missing = (stands.notes[-1] if stands.notes else None), stands.missing
    words = list(newest.words) if newest is not None else []
    anchors = [f"session:{note.treatment.key}" for note in stands.notes]
    known: list[datetime] = [max(newest.treatment.start, *(one.at for one in newest.evidence))] if newest else []
    onset = stands.notes[0].treatment.start if stands.notes else None
    if missing is not None:
        due = missing.treatment.start + timedelta(minutes=limits.missing_minutes)
        words.append(f"no {' and no '.join(missing.missing)} before this treatment is known")
        anchors.append(f"session:{missing.treatment.key}")
        known.append(due)
        onset = onset or due
    assert onset is not None  # noqa: S101 (there is a note or something missing)
    is_medium = newest is not None and len(newest.words) > 1
    shown = newest or missing
    assert shown is not None  # noqa: S101 (likewise)
    return Finding(
        key=_KEY,
        anchors=tuple(dict.fromkeys(anchors)),
        priority=Priority.MEDIUM if is_medium else Priority.LOW,
        onset_at=onset,
        known_at=max(known),
        level_known_at=known[0],
        summary=f"After a dialysate sodium of {limits.sodium_mmol_l:g} mmol/L or more: {', '.join(words)}",
        guidance=tuple_of(_REVIEW if newest else None, _MEASURE if missing else None, _CONFLICT if newest else None),
        evidence=(
            *((shown.sodium.evidence,) if shown.sodium.evidence is not None else ()),
            *(newest.evidence if newest is not None else ()),
        ),
        session_id=(missing or shown).treatment.session_id,
        reason=Reason.CONDITION_MET if newest is not None else Reason.DEADLINE_PASSED,
    )


def _named_by(state: PatientState, _key: str) -> Iterator[str]:
    """Yield every treatment: before a correction something may have been noted at any of them."""
    for treatment in treatments(state):
        yield f"session:{treatment.key}"


RULE: Final = PatientRule(
    name=_NAME,
    version=1,
    family="session",
    ids="R34",
    title="Weight gain and blood pressure after much dialysate sodium",
    inputs=(SESSION, PAUSE, WEIGHT, PROFILE, setting(_DIALYSATE)),
    limits=FollowUpLimits,
    find=find,
    named_by=_named_by,
    sources=("article L26, L55", "KDOQI 2006 HD guideline 5.3", "clinical.md R34, 2.7"),
    without=("the patient's own mean weight gain of 30 days, to which R34 compares as well",),
)

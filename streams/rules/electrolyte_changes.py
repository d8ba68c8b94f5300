"""Changes of electrolytes over a session: `electrolyte_swing` (R14) and `sodium_rise` (E11)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Annotated, Final

from pydantic import Field

from models.alerts import EvidenceRecord, GuidanceRecord, Priority, Reason, Status
from models.analytes import MEQ_L, MG_DL, MMOL_L, Analyte
from models.drugs import Drug
from models.state import PatientState
from streams.rules.api import Ending, Finding, Outcome, PatientPart, PatientRule, PatientView, guidance
from streams.rules.facts import bedside, labs
from streams.rules.facts.chair_settings import highest
from streams.rules.facts.orders import orders, step_evidence, step_known_at
from streams.rules.facts.pairs import Pair, PairLimits, pairs
from streams.rules.facts.treatments import SKEW, Treatment
from streams.rules.inputs import SESSION, drug, lab, setting
from streams.rules.thresholds import ChangeOf, Days

# -- electrolyte_swing ------------------------------------------------------------------------------------------------


class ElectrolyteSwingLimits(PairLimits):
    """From which change on an electrolyte swings, in each unit."""

    potassium: Annotated[labs.PerUnit, ChangeOf(Analyte.POTASSIUM)] = Field(
        default={MMOL_L: 1.8, MEQ_L: 1.8, MG_DL: 7.04}, description="a fall above this; Beijing cohort, R14"
    )
    magnesium: Annotated[labs.PerUnit, ChangeOf(Analyte.MAGNESIUM)] = Field(
        default={MG_DL: 0.61, MMOL_L: 0.25, MEQ_L: 0.5}, description="a change above this (ours); R14"
    )
    ionized_calcium: Annotated[labs.PerUnit, ChangeOf(Analyte.IONIZED_CALCIUM)] = Field(
        default={MMOL_L: 0.25, MG_DL: 1.0, MEQ_L: 0.5}, description="a change above this (ours); R14"
    )
    forgotten_days: Days = Field(default=30, description="days until a swing without another pair is forgotten (ours)")


_WATCHED: Final = (Analyte.POTASSIUM, Analyte.MAGNESIUM, Analyte.IONIZED_CALCIUM)
_SWING_ADVICE: Final[dict[Analyte, GuidanceRecord]] = {
    Analyte.POTASSIUM: guidance(
        "Review the dialysate potassium against the value before dialysis, the length of the interval, and the rhythm.",
        "article L22, L44, L51; Beijing cohort, clinical.md R14",
    ),
    Analyte.MAGNESIUM: guidance(
        "Review the dialysate magnesium against the value before dialysis.", "article L15, L44; clinical.md R14 (ours)"
    ),
    Analyte.IONIZED_CALCIUM: guidance(
        "Review the dialysate calcium against the value before dialysis, and the rhythm.",
        "article L22, L44, L51; clinical.md R14 (ours)",
    ),
}


def find_swing(view: PatientView) -> Iterator[Outcome]:
    """Potassium falls, or magnesium or ionised calcium changes, by more than a bound over one session.

    The last final result before the session is compared with the first one after it, where both have one unit. A
    haemolysed potassium is not compared. One alert an analyte: over with the next pair that is stable; without one it
    expires after 30 days (ours).
    """
    for analyte in _WATCHED:
        yield from _find_swing(analyte, view)


def _find_swing(analyte: Analyte, view: PatientView) -> Iterator[Outcome]:
    limits = view.limits(ElectrolyteSwingLimits)
    run = _swings(view, analyte, limits)
    if not run:
        return
    over = run[0].after.at + timedelta(days=limits.forgotten_days)
    view.look_at(over)
    if view.now < over:
        yield _swing_finding(analyte, run)
    else:
        yield Ending(str(analyte), Status.EXPIRED, Reason.UNCONFIRMED_END)


def _swings(view: PatientView, analyte: Analyte, limits: ElectrolyteSwingLimits) -> list[Pair]:
    """Return the newest pairs in a row with a wide change, the newest first."""
    bounds: labs.PerUnit = getattr(limits, str(analyte))
    run: list[Pair] = []
    for pair in pairs(view, analyte, limits, lambda result: not _is_distorted(result)):
        if _change(analyte, pair) > bounds[pair.after.unit]:
            run.append(pair)
        elif pair.is_exact:
            break
    return run


def _is_distorted(result: labs.Result) -> bool:
    """Return whether red cells gave off what was measured."""
    return result.analyte is Analyte.POTASSIUM and result.record.haemolysed


def _change(analyte: Analyte, pair: Pair) -> float:
    return pair.fall() if analyte is Analyte.POTASSIUM else max(pair.fall(), pair.rise())


def _swing_finding(analyte: Analyte, run: list[Pair]) -> Finding:
    newest, first = run[0], run[-1]
    words = analyte.words.capitalize()
    how = "fell" if newest.fall() else "rose"
    change = f"{how} by {_change(analyte, newest):g} {newest.after.record.unit} over a session"
    return Finding(
        key=str(analyte),
        anchors=tuple(dict.fromkeys(chain.from_iterable(pair.refs for pair in reversed(run)))),
        priority=Priority.LOW,
        onset_at=first.after.at,
        known_at=newest.known_at,
        level_known_at=first.known_at,
        summary=f"{words} {change}, from {newest.before.shown()} to {newest.after.shown()}",
        guidance=(_SWING_ADVICE[analyte],),
        evidence=newest.evidence(),
        session_id=newest.treatment.session_id,
    )


def _refs_of_key(state: PatientState, key: str) -> list[str]:
    return labs.refs_of(Analyte(key))(state, key)


SWING: Final = PatientRule(
    name="electrolyte_swing",
    version=1,
    family="electrolytes",
    ids="R14",
    title="Wide change of an electrolyte over a session",
    inputs=(lab(*_WATCHED), SESSION),
    needs=(lab(*_WATCHED),),
    limits=ElectrolyteSwingLimits,
    find=find_swing,
    parts=tuple(PatientPart((lab(analyte), SESSION), partial(_find_swing, analyte)) for analyte in _WATCHED),
    named_by=_refs_of_key,
    sources=("article L44, L51", "Beijing cohort", "clinical.md R14"),
)


# -- sodium_rise ------------------------------------------------------------------------------------------------------

_DIALYSATE: Final = "dialysate_na_mmol_l"


class SodiumRiseLimits(PairLimits):
    """From which sodium on, and from which rise on."""

    high: labs.SodiumBound = Field(
        default={MMOL_L: 150, MEQ_L: 150, MG_DL: 344.8}, description="medium from this on; clinical.md E11"
    )
    rise: Annotated[labs.PerUnit, ChangeOf(Analyte.SODIUM)] = Field(
        default={MMOL_L: 5, MEQ_L: 5, MG_DL: 11.5},
        description="medium from this rise over a session on, if it had salt; clinical.md E11 (ours)",
    )
    dialysate_mmol_l: float = Field(
        default=145, ge=130, le=160, description="dialysate sodium from which a session had salt (mmol/L); E11"
    )


_SODIUM_REVIEW: Final = guidance(
    "Review the dialysate sodium, hypertonic saline that was given, thirst, blood pressure, and the next weight gain, "
    "per unit protocol.",
    "article L40, L55; clinical.md E11",
)
_CONFLICT: Final = guidance(
    "The article raises the dialysate sodium and gives hypertonic saline against cramps; KDOQI advises against a high "
    "dialysate sodium, because the sodium balance becomes positive. Follow the prescriber.",
    "article L26-L27, L40 against KDOQI 2006 HD guideline 5.3",
)


@dataclass(frozen=True, slots=True)
class _Rise:
    """A rise over a session that had salt, which the newest result still shows."""

    first: Pair
    newest: Pair
    salt: tuple[EvidenceRecord, ...]
    salt_known_at: datetime


def find_rise(view: PatientView) -> Iterator[Outcome]:
    """A final sodium from 150 mmol/L on, or one that rose by 5 over a session with salt.

    Salt is hypertonic saline that was given in the session, or a dialysate sodium from 145 mmol/L on, as measured or as
    its profile plans. Over with the next final sodium below both.
    """
    limits = view.limits(SodiumRiseLimits)
    newest = next((one for one in labs.newest_first(view, Analyte.SODIUM) if not one.is_preliminary), None)
    if newest is None:
        return
    pair = next(pairs(view, Analyte.SODIUM, limits, lambda _result: True), None)
    run = _high(view, limits)
    rise = _rise(view, limits, pair, newest)
    if run or rise:
        yield _rise_finding(run, rise, limits)


def _high(view: PatientView, limits: SodiumRiseLimits) -> list[labs.Result]:
    """Return the newest results in a row that are high, the newest first; those that `<` leaves open are left out."""
    run: list[labs.Result] = []
    for result in labs.newest_first(view, Analyte.SODIUM):
        is_high = result.at_least(limits.high)
        if result.is_preliminary or is_high is None:
            continue
        if not is_high:
            break
        run.append(result)
    return run


def _rise(view: PatientView, limits: SodiumRiseLimits, pair: Pair | None, last: labs.Result) -> _Rise | None:
    """Return the rise of the newest pair, if its session had salt and the newest result of all still shows it."""
    given = [step for order in orders(view, Drug.HYPERTONIC_SALINE) for step in order.given]
    if pair is None or pair.rise() < limits.rise[pair.after.unit]:
        return None
    newest = Pair(pair.treatment, pair.before, last)
    if newest.after.unit != pair.after.unit or newest.rise() < limits.rise[pair.after.unit]:
        return None
    if any(pair.treatment.start < one.start < newest.after.at for one in bedside.treated(view)):
        return None
    state = view.read(drug(Drug.HYPERTONIC_SALINE))
    here = [step for step in given if pair.treatment.contains(step.at, SKEW)]
    salt, known = [step_evidence(step) for step in here], [step_known_at(state, step) for step in here]
    if _had_salt(view, limits, pair.treatment):
        salt.append(_dialysate_evidence(limits, pair.treatment))
        known.append(pair.treatment.start)
    return _Rise(pair, newest, tuple(salt), min(known)) if salt else None


def _had_salt(view: PatientView, limits: SodiumRiseLimits, treatment: Treatment) -> bool:
    """Return whether the dialysate sodium of a session was ever high, or was planned to be."""
    profile = (treatment.started and treatment.started.sodium_profile) or ()
    if any(step.na_mmol_l >= limits.dialysate_mmol_l for step in profile):
        return True
    sodium = highest(view, treatment, _DIALYSATE)
    return sodium is not None and sodium >= limits.dialysate_mmol_l


def _dialysate_evidence(limits: SodiumRiseLimits, treatment: Treatment) -> EvidenceRecord:
    value = f">={limits.dialysate_mmol_l:g}"
    return EvidenceRecord(
        kind="telemetry", id=treatment.session_id, name=_DIALYSATE, value=value, unit=MMOL_L, at=treatment.start
    )


def _rise_finding(run: list[labs.Result], rise: _Rise | None, limits: SodiumRiseLimits) -> Finding:
    parts: list[str] = []
    evidence: list[EvidenceRecord] = []
    anchors, onsets, known, level = [one.ref for one in reversed(run)], [], [], []
    if run:
        newest, bound = run[0], labs.shown_bound(limits.high, run[0])
        parts.append(f"{newest.shown()}, high ({bound} or more)")
        evidence.append(newest.evidence())
        onsets, known, level = [run[-1].at], [newest.known_at], [run[-1].known_at]
    if rise is not None:
        pair, first_known = rise.newest, max(rise.first.known_at, rise.salt_known_at)
        value = "" if run else f"{pair.after.shown()}, "
        parts.append(f"{value}up by {pair.rise():g} {pair.after.record.unit} over a session with salt")
        evidence += [*(item for item in pair.evidence() if item not in evidence), *rise.salt]
        anchors += rise.first.refs
        onsets.append(rise.first.after.at)
        known.append(max(first_known, pair.known_at))
        level.append(first_known)
    return Finding(
        key="sodium",
        anchors=tuple(dict.fromkeys(anchors)),
        priority=Priority.MEDIUM,
        onset_at=min(onsets),
        known_at=max(known),
        level_known_at=min(level),
        summary=f"Sodium {', '.join(parts)}",
        guidance=(_SODIUM_REVIEW, _CONFLICT),
        evidence=tuple(evidence),
        session_id=None if rise is None else rise.first.treatment.session_id,
    )


def doubts(view: PatientView, result: labs.Result) -> str | None:
    """Return why a readable sodium cannot be placed, or contradicts its own flags."""
    bound = view.limits(SodiumRiseLimits).high
    is_high = result.at_least(bound)
    if is_high is None:
        return f"{result.shown()} leaves open on which side of {labs.shown_bound(bound, result)} it lies"
    if not is_high and labs.is_flagged(result, labs.CALLED_HIGH):
        return "the laboratory flags it critically high, the value is not high"
    return None


RISE: Final = PatientRule(
    name="sodium_rise",
    version=1,
    family="electrolytes",
    ids="E11",
    title="Sodium high, or risen over a session with salt",
    inputs=(lab(Analyte.SODIUM), SESSION, drug(Drug.HYPERTONIC_SALINE), setting(_DIALYSATE)),
    needs=(lab(Analyte.SODIUM),),
    limits=SodiumRiseLimits,
    find=find_rise,
    named_by=labs.refs_of(Analyte.SODIUM),
    doubts=doubts,
    sources=("article L26, L40, L55", "KDOQI 2006 HD guideline 5.3", "clinical.md E11, 2.10"),
)
RULES: Final[tuple[PatientRule, ...]] = (SWING, RISE)

"""Harm by baclofen: adverse effects while on it (R53), and withdrawal after an abrupt stop (R54)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority, Reason, Status
from models.drugs import Drug
from models.events import SymptomKind
from models.records import Medication, Symptom
from streams.rules.api import Ending, Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside
from streams.rules.facts.doses import DAY, PAUSE, UNKNOWN_SINCE, Course, Level, course
from streams.rules.facts.orders import refs_of_drugs, step_evidence, step_known_at, step_ref
from streams.rules.facts.responses import settled
from streams.rules.inhibition import Inhibition
from streams.rules.inputs import RESPONSE, drug, holds, symptom
from streams.rules.thresholds import Days, Hours, Minutes, Silences

K = SymptomKind
_BACLOFEN: Final = drug(Drug.BACLOFEN)

# -- adverse effects --------------------------------------------------------------------------------------------------

_EFFECTS: Final = "baclofen_adverse_effect"
_ALUMINUM: Final = "aluminum_suspicion"
_COGNITIVE: Final = frozenset({K.CONFUSION, K.DISORIENTATION, K.HALLUCINATION, K.PERSONALITY_CHANGE})
_UNCONSCIOUS: Final = frozenset({K.SEIZURE, K.SYNCOPE})
_MILD: Final = frozenset({K.DIZZINESS, K.SOMNOLENCE, K.WEAKNESS, K.NAUSEA, K.SPEECH_DISTURBANCE, K.MYOCLONUS})
#: A high alert stays for so long unless a person resolves it; symptoms are kept for 35 days.
_LATCHED: Final = timedelta(days=30)
_SIGNS: Final = tuple(sorted(_COGNITIVE | _UNCONSCIOUS | _MILD))


class AdverseEffectLimits(Limits):
    """For how long baclofen is a cause of what is observed."""

    after_hours: Annotated[Hours, Silences.LOWERED] = Field(
        default=72, description="hours after the last dose or the stop; R53"
    )
    step_days: Annotated[Days, Silences.LOWERED] = Field(default=14, description="days after a start or step; R53")
    together_hours: Annotated[Hours, Silences.LOWERED] = Field(
        default=24, description="hours within which drowsiness and confusion are reduced consciousness (ours)"
    )
    silence_hours: Hours = Field(default=72, description="hours after which a sign without an end expires (ours)")


_CAUSE: Final = guidance(
    "Review baclofen as the cause: adverse effects begin 2 to 3 days after a start or a step, on dialysis from 5 mg a "
    "day. Consider the advice of nephrology or toxicology; haemodialysis removes baclofen.",
    "article L33; Nefrologia 2020, clinical.md section 0",
)
_REDUCED: Final = guidance(
    "Reduced consciousness or a seizure on baclofen: assess the airway and the patient now. This alert stays until a "
    "person resolves it.",
    "clinical.md R53; Nefrologia 2020 (encephalopathy, seizures)",
)
_WITHDRAWAL: Final = guidance(
    "Baclofen was lowered or is no longer taken: withdrawal gives hallucinations and seizures, too. Check which of the "
    "two fits.",
    "article L34; clinical.md R54",
)
_ENCEPHALOPATHY: Final = guidance(
    "Two differentials, dialysis encephalopathy and baclofen toxicity: jerks with these signs also suggest aluminium. "
    "Review a plasma aluminium level, and see the alert on aluminium.",
    "article L9-L11, L58-L62; clinical.md section 0 against article L32",
)


def find_effects(view: PatientView) -> Iterator[Outcome]:
    """Dizziness, drowsiness, weakness, nausea, confusion, a seizure and the like while baclofen may be the cause.

    It may be while it is taken and for 72 h after, within 14 days after a start or a step. Low; high with a seizure, a
    syncope, or drowsiness and a cognitive sign within 24 h of one another, which is read as reduced consciousness
    (ours). A low one ends with its signs; one without an end expires after 72 h (ours). A high one stays until a person
    resolves it, for 30 days. Under a suspicion of aluminium, whose alert names both differentials, it is info; it is
    high beside it only where the suspicion is not.
    """
    state = view.read(_BACLOFEN, RESPONSE, symptom(*_SIGNS))
    suspected = view.holds(holds(_ALUMINUM))
    taken = course(view, Drug.BACLOFEN)
    if taken is None:
        return
    limits = view.limits(AdverseEffectLimits)
    over = settled(view, _EFFECTS, "effects", bedside.every_symptom)
    steps = _steps_up(taken)
    signs = [sign for sign in bedside.present(view, _SIGNS) if _may_be_cause(taken, steps, sign.at, limits)]
    known = {id(sign): bedside.known_at(view, sign) for sign in signs}
    grave = [
        event
        for event in _grave(signs, limits)
        if (over is None or max(known[id(sign)] for sign in event) > over)
        and _goes_on(view, max(sign.at for sign in event) + _LATCHED)
    ]
    latched = {id(sign) for event in grave for sign in event}
    news = [sign for sign in signs if id(sign) in latched or over is None or known[id(sign)] > over]
    running = [sign for sign in news if id(sign) in latched or _goes_on(view, _over_at(sign, limits))]
    if not running:
        if any(bedside.end_of(sign) is None for sign in news):
            yield Ending("effects", Status.EXPIRED, Reason.UNCONFIRMED_END)
        return
    priority = Priority.HIGH if grave else Priority.LOW
    if grave and suspected is Priority.HIGH:
        priority = Priority.MEDIUM  # the alert on aluminium is as high, and names both
    cause = max((step for step in steps if step.at <= running[-1].at), key=lambda step: step.at)
    cause_known = step_known_at(state, cause)
    level_known = min(max(known[id(sign)] for sign in event) for event in grave or [(sign,) for sign in running])
    withdrawn = _is_withdrawn(taken, view.now)
    kinds = dict.fromkeys(str(sign.kind).replace("_", " ") for sign in running)
    yield Finding(
        key="effects",
        anchors=tuple(bedside.symptom_ref(sign) for sign in running),
        priority=priority,
        onset_at=running[0].at,
        known_at=max(cause_known, *(known[id(sign)] for sign in running)),
        level_known_at=max(cause_known, level_known),
        summary=f"{', '.join(kinds).capitalize()} {'after' if withdrawn else 'on'} baclofen",
        guidance=tuple_of(
            _REDUCED if grave else None,
            _CAUSE,
            _ENCEPHALOPATHY if suspected else None,
            _WITHDRAWAL if withdrawn else None,
        ),
        evidence=(step_evidence(cause), *(bedside.symptom_evidence(sign) for sign in running)),
    )


def _is_withdrawn(taken: Course, now: datetime) -> bool:
    """Return whether it was prescribed and no order stands; of doses that nobody ordered nobody told the end."""
    use, levels = taken.use_at(now), taken.until(now)
    was = use is not None and any(level.stands for level in levels if level.at >= use.since)
    return was and not levels[-1].stands


def _goes_on(view: PatientView, until: datetime) -> bool:
    view.look_at(until)
    return view.now < until


def _over_at(sign: Symptom, limits: AdverseEffectLimits) -> datetime:
    return bedside.end_of(sign) or sign.at + timedelta(hours=limits.silence_hours)


def _steps_up(taken: Course) -> list[Medication]:
    """Return the steps that began the drug or raised its dose; one of an unknown dose may have."""
    found = {step_ref(use.first): use.first for use in taken.uses}
    for number, level in enumerate(taken.levels[1:], 1):
        held = pairwise(taken.levels[: number + 1])
        before = [one for one, following in held if following.at > level.at - PAUSE]
        more = len(level.parts) > max(len(one.parts) for one in before)
        if level.dose > max(one.dose for one in before) or (more and not level.is_whole):
            found |= {step_ref(step): step for step in level.steps}
    return list(found.values())


def _may_be_cause(taken: Course, steps: list[Medication], at: datetime, limits: AdverseEffectLimits) -> bool:
    """Return whether baclofen may be the cause of what began at a moment."""
    recent = timedelta(days=limits.step_days)
    if not any(timedelta(0) <= at - step.at <= recent for step in steps):
        return False
    return any(use.near(at, timedelta(hours=limits.after_hours)) for use in taken.uses)


def _grave(signs: list[Symptom], limits: AdverseEffectLimits) -> list[tuple[Symptom, ...]]:
    """Return what shows reduced consciousness: a seizure, a syncope, or drowsiness together with a cognitive sign."""
    together = timedelta(hours=limits.together_hours)
    drowsy = [sign for sign in signs if sign.kind is K.SOMNOLENCE]
    cognitive = [sign for sign in signs if sign.kind in _COGNITIVE]
    pairs = [(one, other) for one in drowsy for other in cognitive if abs(one.at - other.at) <= together]
    return [*((sign,) for sign in signs if sign.kind in _UNCONSCIOUS), *pairs]


# -- abrupt stop ------------------------------------------------------------------------------------------------------


class AbruptStopLimits(Limits):
    """What an abrupt stop is, and when doses are missed."""

    used_days: Days = Field(default=14, description="days of use from which it is prolonged (ours); L34")
    drop_mg: float = Field(default=10, gt=0, le=200, description="mg a day: a step down above this is abrupt; R54")
    last_mg: float = Field(
        default=5, ge=0, le=200, description="mg a day: a taper that came down to this may end (ours: smallest tablet)"
    )
    settle_minutes: Minutes = Field(default=15, description="minutes in which another order may follow a stop (ours)")
    missed_hours: Hours = Field(default=24, description="hours after a dose was due, when it is missed; R54")
    watch_days: Days = Field(default=7, description="days after which nobody waits for withdrawal any more (ours)")


_TAPER: Final = guidance(
    "Check for withdrawal (spasms, agitation, fever, hallucinations, seizures) and review with the prescriber whether "
    "a taper is wanted: the article warns of an abrupt end after prolonged use.",
    "article L34; clinical.md R54",
)
_OTHER_SIDE: Final = guidance(
    "Where baclofen toxicity is suspected, an immediate stop is right, and a taper is not: consider the advice of "
    "nephrology or toxicology. Haemodialysis removes baclofen.",
    "droracle 259347, Nefrologia 2020 against article L34",
)
#: The longest time between doses that a chart may show as the usual one.
_RAREST: Final = timedelta(hours=72)
_CHARTED: Final = 3


@dataclass(frozen=True, slots=True)
class _Stop:
    """An abrupt end: from when on, by which step, and in words."""

    at: datetime
    step: Medication
    text: str
    since: datetime
    due: datetime | None = None

    def used(self) -> str:
        """Return for how long it was taken, in words."""
        if self.since == UNKNOWN_SINCE:
            return "taken since an unknown time"
        return f"taken for {((self.due or self.at) - self.since).days} days"

    def missing(self) -> Iterator[EvidenceRecord]:
        """Yield since when a dose is missing."""
        if self.due is not None:
            name = f"{self.step.drug} due and not given"
            yield EvidenceRecord(
                kind="medication", id=self.step.order_id, name=name, value=None, unit=None, at=self.due
            )


def find_stop(view: PatientView) -> Iterator[Outcome]:
    """Baclofen taken for at least 14 days (ours) is stopped, held, lowered by more than 10 mg at once, or missed.

    A stop or a lower dose counts 15 min later, if no other order followed (ours). The last step of a taper, from 5 mg
    a day or less, is none (ours). A dose is missed 24 h after it was due: at the prescribed interval after the last one
    given, or at the longest that the chart shows, up to 72 h; only where three doses were charted in 14 days (ours).
    An order of which only the end is known counts as prolonged. It ends with a new or higher order or a dose given,
    and expires after 7 days (ours).
    """
    state = view.read(_BACLOFEN)
    taken = course(view, Drug.BACLOFEN)
    if taken is None:
        return
    limits = view.limits(AbruptStopLimits)
    found = [stop for stop in (_newest_drop(view, taken, limits), _missed(view, taken, limits)) if stop is not None]
    if not found:
        return
    stop = max(found, key=lambda one: one.at)
    over = stop.at + timedelta(days=limits.watch_days)
    view.look_at(over)
    if view.now >= over:
        yield Ending("stop", Status.EXPIRED, Reason.UNCONFIRMED_END)
        return
    known = step_known_at(state, stop.step) if stop.due is None else stop.at
    yield Finding(
        key="stop",
        anchors=(step_ref(stop.step),),
        priority=Priority.MEDIUM,
        onset_at=stop.at,
        known_at=known,
        level_known_at=known,
        summary=f"Baclofen {stop.text}, {stop.used()}",
        guidance=(_TAPER, _OTHER_SIDE),
        evidence=(step_evidence(stop.step), *stop.missing()),
        reason=Reason.CONDITION_MET if stop.due is None else Reason.DEADLINE_PASSED,
    )


def _newest_drop(view: PatientView, taken: Course, limits: AbruptStopLimits) -> _Stop | None:
    """Return the newest abrupt step down that no later step or dose made up for."""
    settle = timedelta(minutes=limits.settle_minutes)
    levels = taken.until(view.now)
    for number in range(len(levels) - 1, 0, -1):
        level, use = levels[number], taken.use_at(levels[number].at)
        if use is None or level.at - use.since < timedelta(days=limits.used_days):
            continue
        text = _drop([one for one in levels[:number] if one.at >= use.since], level, limits)
        if text is None:
            continue
        if _is_made_up(taken, levels[number:], view.now):
            return None
        view.look_at(level.at + settle)
        if view.now >= level.at + settle:
            step = next((step for step in level.steps if step.action != "ordered"), level.steps[0])
            return _Stop(level.at, step, text, use.since)
    return None


def _drop(before: list[Level], level: Level, limits: AbruptStopLimits) -> str | None:
    """Return how a level lies abruptly below those before it in the same use, in words; None if it does not."""
    last = before[-1] if before else None
    if last is None or not last.stands:
        return None
    if not level.stands:
        tapered = last.is_whole and last.dose <= limits.last_mg and any(one.dose > last.dose for one in before)
        action = next((step.action for step in level.steps if step.action in ("stopped", "held", "cancelled")), None)
        return None if tapered else action or "lowered to 0"
    if level.is_whole and last.dose - level.dose > limits.drop_mg:
        return f"lowered from {last.shown('mg')} to {level.dose:g} at once"
    return None


def _is_made_up(taken: Course, levels: list[Level], now: datetime) -> bool:
    """Return whether a higher dose followed on an abrupt level, the first of these, or any dose on a stop."""
    low, later = levels[0], levels[1:]
    if low.stands:
        return any(one.dose > low.dose or not one.is_whole for one in later)
    return any(one.stands for one in later) or bool(taken.given_in(low.at, now))


def _missed(view: PatientView, taken: Course, limits: AbruptStopLimits) -> _Stop | None:
    """Return the dose that was not given, where doses were being given and an order stands."""
    given = [dose for dose in taken.given if dose.at <= view.now]
    charted = taken.given_in(given[-1].at - 14 * DAY, given[-1].at) if given else []
    # While a stop may yet be followed by another order, a missed dose is one.
    stood = [at for at in (view.now, view.now - timedelta(minutes=limits.settle_minutes)) if taken.level_at(at).stands]
    if len(charted) < _CHARTED or not stood:
        return None
    last = charted[-1]
    usual = min(max(later.at - one.at for one, later in pairwise(charted)), _RAREST)
    regimens = [one for order in taken.orders if (one := order.regimen_at(stood[0])) is not None]
    times = max((regimen.doses_per_day or 1.0 for regimen in regimens), default=1.0)
    interval = DAY / times if times > 0 else DAY
    dues = [last.at + max(usual, interval), _stands_since(taken, stood[0]) + interval]
    dues += [regimen.step.due_at for regimen in regimens if regimen.step.due_at is not None]
    due, use = max(dues), taken.use_at(last.at)
    if use is None or due - use.since < timedelta(days=limits.used_days):
        return None
    deadline = due + timedelta(hours=limits.missed_hours)
    view.look_at(deadline)
    text = f"not given for {limits.missed_hours:g} h after it was due"
    return _Stop(deadline, last.step, text, use.since, due) if view.now >= deadline else None


def _stands_since(taken: Course, now: datetime) -> datetime:
    """Return since when an order stands without an interruption."""
    since = now
    for level in reversed(taken.until(now)):
        if not level.stands:
            break
        since = level.at
    return max(since, taken.orders[0].since)


# -- rules ------------------------------------------------------------------------------------------------------------

EFFECT_RULE: Final = PatientRule(
    name=_EFFECTS,
    version=1,
    family="medication",
    ids="R53",
    title="Possible adverse effect of baclofen",
    inputs=(_BACLOFEN, RESPONSE, symptom(*_SIGNS)),
    needs=(_BACLOFEN,),
    limits=AdverseEffectLimits,
    find=find_effects,
    named_by=bedside.every_symptom,
    yields_to=(
        Inhibition(
            _ALUMINUM,
            "the alert on aluminium names both differentials, dialysis encephalopathy and baclofen toxicity",
            lower_by=3,
        ),
    ),
    sources=("article L33", "Nefrologia 2020", "clinical.md section 0, R53"),
    without=("vomiting and other gastrointestinal signs but nausea", "a score of consciousness"),
)
STOP_RULE: Final = PatientRule(
    name="baclofen_abrupt_stop",
    version=1,
    family="medication",
    ids="R54",
    title="Baclofen stopped abruptly after prolonged use",
    inputs=(_BACLOFEN,),
    needs=(_BACLOFEN,),
    limits=AbruptStopLimits,
    find=find_stop,
    named_by=refs_of_drugs(Drug.BACLOFEN),
    sources=("article L34", "droracle 259347", "clinical.md R54"),
    without=("a refill gap of a prescription", "doses that a patient takes at home"),
)
RULES: Final[tuple[PatientRule, ...]] = (EFFECT_RULE, STOP_RULE)

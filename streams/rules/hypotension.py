"""`intradialytic_hypotension` (R60): a systolic pressure that is low, or that fell while a symptom began."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final

from pydantic import Field

from models.alerts import BoundRecord, EvidenceRecord, GuidanceRecord, Priority
from models.events import SymptomKind
from models.records import Symptom
from models.state import Bound
from models.state.channel import NEVER_S
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside
from streams.rules.facts.late_clocks import LATE
from streams.rules.facts.low_readings import Low, LowReadings
from streams.rules.facts.treatments import SKEW, Treatment
from streams.rules.inputs import SESSION, channel, symptom
from streams.rules.thresholds import Minutes, Silences

FIELD: Final = "systolic_mmhg"
_UNIT: Final = "mm[Hg]"
K = SymptomKind
#: Signs of a fall of the pressure: the events of the EBPG definition (cramps, nausea, dizziness, fainting) and those of
#: a brain that gets too little blood (clinical.md 2.8 names "a symptom"; the list is ours).
SIGNS: Final = frozenset({K.CRAMP, K.SPASM, K.DIZZINESS, K.NAUSEA, K.SYNCOPE, K.SOMNOLENCE, K.CONFUSION, K.WEAKNESS})
_SIGNS: Final = symptom(*SIGNS)
#: No pressure of a person lies outside (mm[Hg], ours): 0 is a cuff that did not measure.
LEAST_MMHG: Final = 30.0
MOST_MMHG: Final = 300.0
#: A value of single precision that stands for the bound itself lies this near to it.
_NOISE: Final = 1e-6
_LOW, _VERY_LOW, _FALL, _UNREAL = "low", "very_low", "fall", "unreal"

_REVIEW: Final = guidance(
    "Review the ultrafiltration rate, the position and the state of the patient per unit protocol, and the target "
    "weight afterwards.",
    "article L51; clinical.md 2.8 (Flythe 2015)",
)
_MEASURE: Final = guidance("Check the pressure again: one reading is enough for this alert.", "clinical.md R60 (ours)")
_RHYTHM: Final = guidance(
    "Check rhythm, breathing and glucose: low pressure and fainting raise the risk of an arrhythmia.",
    "article L51; clinical.md R60, R62 (ours)",
)


class HypotensionLimits(Limits):
    """Which pressures are low, and for how long one and a symptom count."""

    ascending: ClassVar[tuple[tuple[str, ...], ...]] = (("very_low", "low", "low_from_hypertension"),)

    low: float = Field(default=90, ge=50, le=140, description="systolic, mm[Hg]: medium below this; Flythe 2015, 2.8")
    low_from_hypertension: float = Field(
        default=100, ge=50, le=160, description="mm[Hg]: likewise where it was high before the treatment; 2.8"
    )
    hypertension: float = Field(default=160, ge=100, le=300, description="mm[Hg] before, from which it was high; 2.8")
    very_low: Annotated[float, Silences.LOWERED] = Field(
        default=80, ge=40, le=120, description="mm[Hg]: high below this; R60 (ours)"
    )
    fall: float = Field(default=20, ge=10, le=100, description="mm[Hg] below that before, with a symptom; EBPG, 2.8")
    together_minutes: Minutes = Field(
        default=5, description="min before and after the fall in which a symptom belongs to it (ours)"
    )
    counts_minutes: Minutes = Field(default=30, description="min from its onset that a symptom counts (ours)")
    # Not longer than the minutes that a channel keeps.
    keep_minutes: Minutes = Field(
        default=10, le=10, description="min above the bounds, with two readings, until it is over (ours)"
    )


@dataclass(frozen=True, slots=True)
class _Form:
    """A form of the condition that holds.

    Attributes:
        limit: its bound in mm[Hg].
        low: the readings.
        began: since when they are low; None if as far back as any are kept.
        signs: the symptoms that began with them; without one a fall is none.
    """

    name: str
    limit: float
    low: Low
    began: datetime | None
    priority: Priority
    signs: tuple[Symptom, ...] = ()


def find(view: PatientView) -> Iterator[Outcome]:
    """A systolic below 90 (below 100 if it was 160 or more before): medium; below 80, or with a syncope: high.

    Or one 20 mmHg or more below that before the treatment together with a symptom that began within 5 min of it. A
    single reading counts at once. It is over when the readings have lain above for 10 min and there were two of them:
    one alert a treatment, whose next revision a later fall is.
    """
    view.read(SESSION)
    running = bedside.running(view)
    if running is None:
        return
    view.look_at(running.over_at + timedelta(microseconds=1))
    signs = list(_begun(view))
    counting = list(_counting(view, signs))
    bounds = _bounds(view, running, is_fall_watched=bool(counting))
    forms = _forms(view, running, bounds, counting)
    held = {form.name for form in forms}
    keep_s = round(60 * view.limits(HypotensionLimits).keep_minutes)
    is_low = bool(forms) or _is_low(running, bounds)
    for name, bound in bounds.items():
        if name == _UNREAL:
            bound.waits = NEVER_S, 0 if is_low else NEVER_S  # a reading after a gap, or after one that cannot be
        else:
            bound.waits = 0, keep_s if name in held else NEVER_S
    view.watch(running.session_id, FIELD, bounds)
    if forms:
        yield _finding(view, running, forms, signs)


def _begun(view: PatientView) -> Iterator[Symptom]:
    for sign in bedside.present(view, SIGNS):
        view.look_at(sign.at)
        if sign.at <= view.now:
            yield sign


def _before(running: Treatment) -> float | None:
    """Return the systolic pressure before the treatment, if it can be one."""
    before = running.started.pre_systolic_mmhg if running.started else None
    return before if before is not None and LEAST_MMHG <= before <= MOST_MMHG else None


def _bounds(view: PatientView, running: Treatment, *, is_fall_watched: bool) -> dict[str, Bound]:
    """Return the bounds; that of a fall, which most treatments cross, only while a symptom counts."""
    limits, before = view.limits(HypotensionLimits), _before(running)
    low = limits.low if before is None or before < limits.hypertension else limits.low_from_hypertension
    found = {_LOW: low, _VERY_LOW: limits.very_low, _UNREAL: LEAST_MMHG}
    bounds = {name: Bound(round(value * (1 - _NOISE), 6), above=False) for name, value in found.items()}
    if is_fall_watched and before is not None and before - limits.fall >= low:
        bounds[_FALL] = Bound((before - limits.fall) * (1 + _NOISE), above=False)  # a fall of just that much is one
    return bounds


def _counting(view: PatientView, signs: list[Symptom]) -> Iterator[Symptom]:
    """Yield the symptoms that may still be told of together with a fall; one charted late from its arrival on."""
    for sign in signs:
        known = bedside.known_at(view, sign)
        until = max(sign.at, known if known - sign.at > LATE else sign.at)
        until += timedelta(minutes=view.limits(HypotensionLimits).counts_minutes)
        if view.now < until:
            view.look_at(until)
            yield sign


def _forms(view: PatientView, running: Treatment, bounds: dict[str, Bound], counting: list[Symptom]) -> list[_Form]:
    """Return the forms that hold, the most severe first; ask for a look when one may be over."""
    kept = running.session.channels.get(FIELD)
    if kept is None or kept.at == NEVER_S:
        return []
    keep_for = timedelta(minutes=view.limits(HypotensionLimits).keep_minutes)
    known = {name: kept.at_bound(f"{NAME}:{name}", bound) for name, bound in bounds.items()}
    found: list[_Form] = []
    for name in (_VERY_LOW, _LOW, _FALL):
        if name not in known:
            continue
        readings = LowReadings(kept, known[name], known[_UNREAL], keep_for)
        low = readings.at(view.now)
        if low is None:
            continue
        if low.look_at is not None:
            view.look_at(low.look_at)
        began = readings.began()
        signs = _together(view, began, low, counting)
        if name != _FALL or signs:
            priority = Priority.HIGH if name == _VERY_LOW else Priority.MEDIUM
            found.append(_Form(name, round(bounds[name].value, 3), low, began, priority, signs))
    return found


def _is_low(running: Treatment, bounds: dict[str, Bound]) -> bool:
    """Return whether the newest reading lies below a bound, whether it can be or not."""
    kept = running.session.channels.get(FIELD)
    if kept is None or kept.at == NEVER_S:
        return False
    return any(bound.is_beyond(kept.value) for name, bound in bounds.items() if name != _UNREAL)


def _together(view: PatientView, began: datetime | None, low: Low, counting: list[Symptom]) -> tuple[Symptom, ...]:
    """Return the symptoms that began while readings were low, or a few minutes before or after."""
    near = timedelta(minutes=view.limits(HypotensionLimits).together_minutes)
    until = low.last_at if low.is_over else view.now
    return tuple(sign for sign in counting if (began is None or began - near <= sign.at) and sign.at <= until + near)


def _finding(view: PatientView, running: Treatment, forms: list[_Form], signs: list[Symptom]) -> Finding:
    worst = forms[0]
    fainted = [one for one in signs if one.kind is K.SYNCOPE and running.contains(one.at, SKEW)]
    together = {id(one): one for one in (*fainted, *(sign for form in forms for sign in form.signs))}
    shown = sorted(together.values(), key=lambda one: (one.at, one.symptom_id))
    heard = {id(one): bedside.known_at(view, one) for one in shown}
    level_known = worst.low.first_at
    if worst.name == _FALL:
        level_known = max(level_known, min(heard[id(one)] for one in worst.signs))
    if fainted and worst.priority is not Priority.HIGH:
        level_known = max(level_known, min(heard[id(one)] for one in fainted))
    onset = min(_onset(form) for form in forms)
    kinds = ", ".join(dict.fromkeys(str(one.kind) for one in shown))
    summary = _summary(worst) + (f", with {kinds}" if kinds else "")
    return Finding(
        key=running.key,
        anchors=(f"session:{running.key}",),
        priority=Priority.HIGH if fainted else worst.priority,
        onset_at=onset,
        known_at=max(level_known, worst.low.first_at, *heard.values()),
        level_known_at=level_known,
        summary=summary,
        guidance=_advice(is_fainted=bool(fainted)),
        evidence=tuple(_evidence(running, worst, shown)),
        session_id=running.session_id,
        news=(summary, *(one.symptom_id for one in shown)),
        bound=BoundRecord(value=worst.limit, unit=_UNIT),
    )


def _onset(form: _Form) -> datetime:
    """Return since when a form holds: that of a fall since the first symptom that began with it."""
    if form.name != _FALL:
        return form.low.first_at
    began, sign = form.began, form.signs[0].at
    return sign if began is None else max(sign, min(began, form.low.first_at))


def _summary(form: _Form) -> str:
    if form.name == _FALL:
        return "Systolic pressure fell during dialysis"
    return f"Systolic pressure below {form.limit:g} mmHg during dialysis"


def _advice(*, is_fainted: bool) -> tuple[GuidanceRecord, ...]:
    return tuple_of(_REVIEW, _RHYTHM if is_fainted else _MEASURE)


def _evidence(running: Treatment, worst: _Form, shown: list[Symptom]) -> Iterator[EvidenceRecord]:
    session, started = running.session_id, running.started
    yield EvidenceRecord(
        kind="telemetry", id=session, name=FIELD, value=worst.low.value, unit=_UNIT, at=worst.low.first_at
    )
    if started is not None and (before := _before(running)) is not None:
        yield EvidenceRecord(
            kind="session", id=session, name="pre_systolic_mmhg", value=before, unit=_UNIT, at=started.at
        )
    yield from (bedside.symptom_evidence(one) for one in shown)


NAME: Final = "intradialytic_hypotension"
RULE: Final = PatientRule(
    name=NAME,
    version=1,
    family="session",
    ids="R60",
    title="Blood pressure falls during treatment",
    inputs=(SESSION, channel(FIELD), _SIGNS),
    limits=HypotensionLimits,
    find=find,
    sources=("article L51", "Flythe 2015", "EBPG", "clinical.md 2.8"),
    without=(
        "a mean pressure before treatment, so a fall of the mean by 10 mmHg is not seen",
        "an intervention, which the EBPG definition asks for",
        "whether a sample repeats the cuff's last reading or is a new one",
    ),
)

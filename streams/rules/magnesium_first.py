"""Magnesium first: `magnesium_unknown` (R02, R04) and `replacement_before_magnesium` (R02, R07)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority, Reason
from models.analytes import Analyte
from models.drugs import Drug
from models.records import Medication
from models.state import PatientState
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts import known_magnesium, labs, low_results, replacement
from streams.rules.facts.known_magnesium import UNKNOWN, MagnesiumUnknownLimits, low_limits, unknown_limits
from streams.rules.facts.low_results import LOW_IONIZED_CALCIUM, LOW_POTASSIUM
from streams.rules.facts.orders import orders, step_evidence, step_known_at, step_ref
from streams.rules.facts.replacement import Replacement, replacements
from streams.rules.inputs import drug, lab
from streams.rules.thresholds import Hours, Silences

_LOW_SIDES: Final = (LOW_POTASSIUM, LOW_IONIZED_CALCIUM)
_MAGNESIUM: Final = lab(Analyte.MAGNESIUM)
_TRIGGERS: Final = lab(*(side.analyte for side in _LOW_SIDES))
_CORRECTION: Final = drug(Drug.MAGNESIUM)

_CHECK: Final = guidance(
    "Check magnesium: a low calcium or potassium does not respond to replacement while magnesium is low, and "
    "magnesium is often overlooked.",
    "article L2, L5, L18; clinical.md R02, R04",
)
_CRITICAL_FIRST: Final = guidance(
    "This delays nothing that a critical potassium or calcium, or an electrocardiogram, asks for: follow its protocol.",
    "clinical.md R02 (ours)",
)
_MAGNESIUM_FIRST: Final = guidance(
    "Review magnesium first: calcium and potassium are refractory to replacement until it is corrected. Consider the "
    "dialysate magnesium, per unit protocol.",
    "article L13-L15, L18-L21; clinical.md R02",
)
_OVERRIDE: Final = guidance(
    "Where the replacement is meant, resolve this alert with the reason; a new order or a newer result asks again.",
    "clinical.md R02",
)


# -- magnesium_unknown ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Trigger:
    """What asks for a fresh magnesium."""

    at: datetime
    anchor: str
    known_at: datetime
    words: str
    evidence: EvidenceRecord


def _triggers(view: PatientView) -> Iterator[_Trigger]:
    for side in _LOW_SIDES:
        for result in low_results.in_a_row(view, side):
            words = f"{side.analyte.words} {result.shown()}"
            yield _Trigger(result.at, result.ref, result.known_at, words, result.evidence())
    state = view.read(replacement.INPUT)
    for found in replacements(view, timedelta(hours=unknown_limits(view).dose_hours)):
        first = tuple(dose for dose in found.given if dose is found.order.given[0] and dose not in found.decided)
        for step in (*found.decided, *first):
            known, words = step_known_at(state, step), f"{found.order.name} {step.action}"
            yield _Trigger(step.at, step_ref(step), known, words, step_evidence(step))


def find_unknown(view: PatientView) -> Iterator[Outcome]:
    """Potassium or ionised calcium is low or replaced, without a magnesium collected in the 24 h before, or since.

    Low at once; medium 60 min after the first of them became known. It ends with such a magnesium, or with what asked
    for it: a value that is no longer low, an order that ended. Of the doses of an order the first one asks.
    """
    view.read(_MAGNESIUM)
    asking = [one for one in _triggers(view) if not known_magnesium.is_fresh(view, one.at)]
    if not asking:
        return
    asking.sort(key=lambda one: (one.at, one.anchor))
    limits, last = unknown_limits(view), known_magnesium.newest(view)
    first_known = min(one.known_at for one in asking)
    due = first_known + timedelta(minutes=limits.result_minutes)
    view.look_at(due)
    is_overdue = view.now >= due
    words = ", ".join(dict.fromkeys(one.words for one in asking))
    missing = f"none collected in the {limits.fresh_hours:g} h before, or since"
    late = f", {limits.result_minutes:g} min without a result" if is_overdue else ""
    yield Finding(
        key="magnesium",
        anchors=tuple(one.anchor for one in asking),
        priority=Priority.MEDIUM if is_overdue else Priority.LOW,
        onset_at=asking[0].at,
        known_at=max(one.known_at for one in asking),
        level_known_at=due if is_overdue else first_known,
        summary=f"Magnesium unknown beside {words}: {missing}{late}",
        guidance=(_CHECK, _CRITICAL_FIRST),
        evidence=(*(one.evidence for one in asking), *((last.evidence(),) if last else ())),
        reason=Reason.DEADLINE_PASSED if is_overdue else Reason.CONDITION_MET,
    )


def _unknown_named_by(state: PatientState, key: str) -> Iterator[str]:
    for side in _LOW_SIDES:
        yield from labs.refs_of(side.analyte)(state, key)
    yield from replacement.refs(state, key)


# -- replacement_before_magnesium -------------------------------------------------------------------------------------


class ReplacementLimits(Limits):
    """How long a dose of calcium or potassium counts; what is low and severe is set at `low_magnesium`."""

    dose_hours: Annotated[Hours, Silences.LOWERED] = Field(
        default=24, description="hours for which a dose that was given counts (ours)"
    )


@dataclass(frozen=True, slots=True)
class _Before:
    """Replacement while magnesium is low: the low results in a row, the steps that decided it, the doses meanwhile."""

    run: list[labs.Result]
    decided: tuple[Medication, ...]
    given: tuple[Medication, ...]
    names: tuple[str, ...]


def _before(view: PatientView, run: list[labs.Result]) -> _Before | None:
    """Return what is replaced while magnesium is low; doses of before the first low specimen do not count."""
    lasts = timedelta(hours=view.limits(ReplacementLimits).dose_hours)
    found = list(replacements(view, lasts))
    counting = [(one, _decided(one, run[0].at)) for one in found]
    decided = tuple(step for _, steps in counting for step in steps)
    if not decided:
        return None
    given = tuple(dose for one, steps in counting if steps for dose in one.given if dose.at >= run[0].at)
    return _Before(run, decided, given, tuple(dict.fromkeys(one.order.name for one, steps in counting if steps)))


def _decided(found: Replacement, since: datetime) -> tuple[Medication, ...]:
    """Return the steps that decided a replacement: an order counts whenever it was placed, while it stands."""
    return tuple(step for step in found.decided if step.action != "administered" or step.at >= since)


def find_before(view: PatientView) -> Iterator[Outcome]:
    """Calcium or potassium is ordered or given while magnesium is low.

    Medium; high only when a dose was given lately and the magnesium is severely low. It ends when magnesium is
    corrected, or when the order is cancelled, stopped or held; a person's `resolve` is the override. The evidence
    keeps the order of correction: the steps of calcium and potassium and those of magnesium, by their times.
    """
    state = view.read(replacement.INPUT, _CORRECTION, _MAGNESIUM)
    run = known_magnesium.low_in_a_row(view)
    found = _before(view, run) if run else None
    if found is None:
        return
    known = [step_known_at(state, step) for step in found.decided]
    level = max(min(result.known_at for result in run), min(known))
    severe = known_magnesium.trailing(run, low_limits(view).severe) if found.given else []
    newest_known = max(run[-1].known_at, *known)
    if severe:
        level = max(min(one.known_at for one in severe), min(step_known_at(state, dose) for dose in found.given))
        newest_known = max(newest_known, level)
    began = min(found.decided, key=lambda step: (step.at, step_ref(step)))
    refs = [*(result.ref for result in run), *map(step_ref, found.decided)]
    first = step_ref(began) if began.at > run[0].at else run[0].ref
    how = "given" if found.given else "ordered"
    yield Finding(
        key="replacement",
        anchors=(first, *(ref for ref in refs if ref != first)),
        priority=Priority.HIGH if severe else Priority.MEDIUM,
        onset_at=max(run[0].at, began.at),
        known_at=newest_known,
        level_known_at=level,
        summary=f"{', '.join(found.names).capitalize()} {how} while magnesium is low ({run[-1].shown()})",
        guidance=(_MAGNESIUM_FIRST, _CRITICAL_FIRST, _OVERRIDE),
        evidence=_in_order(view, found),
    )


def _in_order(view: PatientView, found: _Before) -> tuple[EvidenceRecord, ...]:
    """Return results and steps by their times: which came first is kept for audit (R07)."""
    since = found.run[0].at
    correction = (step for order in orders(view, Drug.MAGNESIUM) for step in order.steps if step.at >= since)
    steps = {step_ref(step): step for step in (*found.decided, *found.given, *correction)}
    placed = [
        (result.at, 0, result.ref, result.evidence()) for result in (found.run[0], found.run[-1])[: len(found.run)]
    ]
    placed += [(step.at, 1, ref, step_evidence(step)) for ref, step in steps.items()]
    return tuple(evidence for *_, evidence in sorted(placed, key=lambda one: one[:3]))


def _before_named_by(state: PatientState, key: str) -> Iterator[str]:
    yield from labs.refs_of(Analyte.MAGNESIUM)(state, key)
    yield from replacement.refs(state, key)


UNKNOWN_RULE: Final = PatientRule(
    name=UNKNOWN,
    version=1,
    family="low-magnesium",
    ids="R04 R02",
    title="Calcium or potassium is low or replaced, and magnesium is not known",
    inputs=(_MAGNESIUM, _TRIGGERS, replacement.INPUT),
    needs=(_TRIGGERS, replacement.INPUT),
    limits=MagnesiumUnknownLimits,
    find=find_unknown,
    named_by=_unknown_named_by,
    sources=("article L2, L5, L18", "clinical.md R02, R04"),
    without=("an order for a magnesium, so only the time of the result is watched",),
)
BEFORE_RULE: Final = PatientRule(
    name="replacement_before_magnesium",
    version=1,
    family="low-magnesium",
    ids="R02 R07",
    title="Calcium or potassium is replaced while magnesium is low",
    inputs=(_MAGNESIUM, replacement.INPUT, _CORRECTION),
    needs=(replacement.INPUT,),
    limits=ReplacementLimits,
    find=find_before,
    named_by=_before_named_by,
    sources=("article L13-L15, L18-L21", "clinical.md R02, R07"),
    without=(
        "a change of the dialysate calcium or potassium, unless it is told as an order with the route dialysate",
        "the magnesium result that ends it: what is kept is the evidence up to then",
    ),
)
RULES: Final[tuple[PatientRule, ...]] = (UNKNOWN_RULE, BEFORE_RULE)

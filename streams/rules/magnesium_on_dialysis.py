"""Magnesium and the machine: `dialysate_magnesium_low` (R09) and `iv_magnesium_during_dialysis` (R08)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority
from models.analytes import Analyte
from models.drugs import Drug
from models.records import Medication, Schedule
from models.state import PatientState
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts import bedside, known_magnesium
from streams.rules.facts.days import day_of, start_of
from streams.rules.facts.orders import Order, orders, refs_of_drugs, step_evidence, step_known_at, step_ref
from streams.rules.facts.treatments import Treatment, treatment_at
from streams.rules.inputs import SCHEDULE, SESSION, drug, lab
from streams.rules.shapes.sides import SustainedBand
from streams.rules.shapes.sustained import Policy, Scale, SustainedShape, sustained
from streams.rules.thresholds import Hours, Minutes, Silences

# -- dialysate_magnesium_low ------------------------------------------------------------------------------------------

_REVIEW_DIALYSATE: Final = guidance(
    "Magnesium is low and so is that of the dialysate: review the dialysate magnesium with the prescriber. In a trial "
    "0.5 instead of 0.375 mmol/L left fewer patients with cramps.",
    "article L15; clinical.md R09 (hindawi 2014/681969)",
)


def _while_low(view: PatientView, _treatment: Treatment) -> Scale | None:
    """The bound is that of the channel; without a low magnesium nothing is asked of it."""
    run = known_magnesium.low_in_a_row(view)
    return Scale(1.0, run[-1].evidence(), run[-1].known_at) if run else None


DIALYSATE_RULE: Final = sustained(
    SustainedShape(
        name="dialysate_magnesium_low",
        field="dialysate_mg_mmol_l",
        unit=("mmol/L", "mmol/L"),
        what="Magnesium is low, dialysate magnesium",
        above=False,
        bands=(SustainedBand("low", Priority.LOW, 0.5, "clinical.md R09; the article gives no number"),),
        advice=(_REVIEW_DIALYSATE,),
        gap=Policy.HOLDS,
        paused=Policy.HOLDS,
        scale=_while_low,
    ),
    held_minutes=5,
    keep_minutes=5,
    source="ours: not for a bath that is being changed",
    also=(lab(Analyte.MAGNESIUM),),
    family="low-magnesium",
    ids="R09",
    title="Dialysate magnesium is low while the patient's is",
    sources=("article L15", "clinical.md R09"),
)

# -- iv_magnesium_during_dialysis -------------------------------------------------------------------------------------

_KEY: Final = "iv_magnesium"
_CITRATE: Final = drug(Drug.CITRATE)
_IV_ROUTES: Final = re.compile(r"\b(i\.? ?v\.?|intravenous\w*|ivpb|ivp|infusion|perfusor)(?![a-z])", re.IGNORECASE)
_IV_NAMES: Final = re.compile(r"\b(iv|inj|injection|infusion|ampoule|vial)\b", re.IGNORECASE)
_OTHER_WAY: Final = guidance(
    "The article never wants intravenous magnesium during dialysis and adjusts the dialysate magnesium instead; early "
    "intravenous magnesium is supported in continuous treatment with citrate (Di Mario 2021). Review it with the "
    "prescriber.",
    "article L15, L17; Di Mario 2021; clinical.md section 0",
)
_OVERRIDE: Final = guidance(
    "Torsades de pointes is an accepted indication and is not delayed: resolve this alert with the reason.",
    "clinical.md R08",
)
_WATCH: Final = guidance(
    "Check reflexes, blood pressure, the rhythm and the next magnesium, per unit protocol.",
    "article L17; clinical.md 2.4",
)


class IvMagnesiumLimits(Limits):
    """When a dose counts as given during a treatment; `[site] continuous_citrate` says whether a site accepts it."""

    skew_minutes: Annotated[Minutes, Silences.LOWERED] = Field(
        default=5, description="min before its start and after its end that belong to a treatment; contract, rulings"
    )
    late_hours: Hours = Field(
        default=24, description="hours for which a dose is shown that was charted after its treatment (ours)"
    )


@dataclass(slots=True)
class _Found:
    """Steps of intravenous magnesium that meet a treatment, and that treatment or the plan of it."""

    given: list[Medication] = field(default_factory=list)
    #: Given in a treatment that was over when somebody charted it.
    late: list[Medication] = field(default_factory=list)
    late_in: Treatment | None = None
    ordered: list[Medication] = field(default_factory=list)
    #: The first dose of each order: a person who overrides it has answered those after it, too.
    first: list[Medication] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    planned: list[Schedule] = field(default_factory=list)


def _is_iv(order: Order, step: Medication) -> bool:
    """Return whether a step is intravenous: by its route, else by that of its order, else by the drug's name."""
    route = step.route or order.route
    return bool(_IV_ROUTES.search(route) if route is not None else _IV_NAMES.search(step.drug))


def _has_citrate(view: PatientView) -> bool:
    """Return whether citrate for the circuit stands: a salt that brings more than citrate is a medicine."""
    return any(
        order.stands and order.drugs == {Drug.CITRATE} and (order.route or "").casefold() not in ("oral", "po")
        for order in orders(view, Drug.CITRATE)
    )


def _pending(view: PatientView, day: date, found: list[Treatment], running: Treatment | None) -> Iterator[Schedule]:
    """Yield the treatments that are planned on a local day and have not been; none once the day is over."""
    over = start_of(view, day + timedelta(days=1))
    if view.now >= over:
        return
    newest: dict[str, Schedule] = {}
    for one in view.read(SCHEDULE).schedules.values():
        known = newest.get(one.session_id)
        if known is None or _said(one) > _said(known):
            newest[one.session_id] = one
    for plan in newest.values():
        held = (one for one in found if one.session_id == plan.session_id and day_of(view, one.start) == day)
        if plan.status == "planned" and day_of(view, plan.planned_start) == day:
            view.look_at(over)
            if all(one is running for one in held):
                yield plan


def _said(plan: Schedule) -> tuple[datetime, datetime, str]:
    return plan.at, plan.planned_start, plan.status


def _find(view: PatientView, running: Treatment | None, treatments: list[Treatment]) -> _Found:
    found, skew = _Found(), timedelta(minutes=view.limits(IvMagnesiumLimits).skew_minutes)
    for order in orders(view, Drug.MAGNESIUM):
        if order.ended_by is not None:
            continue
        given, late = [], []
        for dose in order.given:
            within = treatment_at(treatments, dose.at, skew) if _is_iv(order, dose) else None
            if within is not None and within is running:
                given.append(dose)
            elif within is not None and _is_shown_late(view, dose, within):
                late.append(dose)
                found.late_in = found.late_in or within
        ordered = [regimen.step for regimen in order.regimens] if order.stands else []
        meeting = []
        for step in (step for step in ordered if _is_iv(order, step)):
            day = day_of(view, step.due_at or step.at)
            plans = list(_pending(view, day, treatments, running))
            if plans or (running is not None and day_of(view, running.start) <= day <= day_of(view, view.now)):
                meeting.append(step)
                found.planned += [plan for plan in plans if plan not in found.planned]
        found.given += given
        found.late += late
        found.first += given[:1] or late[:1]
        found.ordered += meeting
        found.names += [order.name] if given or late or meeting else []
    return found


def _is_shown_late(view: PatientView, dose: Medication, within: Treatment) -> bool:
    """Return whether a dose became known after its treatment, and not long ago."""
    known = step_known_at(view.read(drug(Drug.MAGNESIUM)), dose)
    if known <= within.over_at:
        return False
    over = known + timedelta(hours=view.limits(IvMagnesiumLimits).late_hours)
    view.look_at(over)
    return view.now < over


def find_iv(view: PatientView) -> Iterator[Outcome]:
    """Intravenous magnesium is given during a running treatment (high), or ordered for a day with one (medium).

    The day is the local one on which the order was placed or changed, or on which its dose is due. A start message
    that comes late finds the dose. It ends with the treatment, with the day, or when the order is stopped or
    cancelled; a person's `resolve` with the reason is the override, and covers the further doses of that order. A dose
    that somebody charts after the treatment is medium, for 24 h (ours): magnesium stays in who does not pass urine.
    """
    state = view.read(SESSION, SCHEDULE, _CITRATE, drug(Drug.MAGNESIUM))
    if not orders(view, Drug.MAGNESIUM):
        return
    treatments = bedside.sessions(view)
    running = treatment_at(treatments, view.now, timedelta(0))
    if running is not None:
        view.look_at(running.over_at + timedelta(microseconds=1))
    if view.settings.continuous_citrate and _has_citrate(view):
        return
    found = _find(view, running, treatments)
    steps = [*found.given, *found.late, *found.ordered]
    if not steps:
        return
    steps.sort(key=lambda step: (step.at, step_ref(step)))
    deciding = found.first or found.ordered
    known = [step_known_at(state, step) for step in (*found.first, *found.ordered)]
    began = min(deciding, key=lambda step: (step.at, step_ref(step)))
    refs = [step_ref(began), *map(step_ref, steps)]
    how = "ordered intravenously on a day with dialysis"
    if found.first:
        how = f"given intravenously during dialysis{'' if found.given else ', charted after it'}"
    plans = sorted(found.planned, key=_said)
    treatment = running if found.given or not found.late else found.late_in
    yield Finding(
        key=_KEY,
        anchors=tuple(dict.fromkeys(refs)),
        priority=Priority.HIGH if found.given else Priority.MEDIUM,
        onset_at=began.at,
        known_at=max(known),
        level_known_at=min(step_known_at(state, step) for step in deciding),
        summary=f"{', '.join(dict.fromkeys(found.names)).capitalize()} {how}",
        guidance=(_OTHER_WAY, _OVERRIDE, *((_WATCH,) if found.first else ())),
        evidence=(*map(step_evidence, steps), *_treatment_evidence(treatment, plans)),
        session_id=treatment.session_id if treatment else plans[0].session_id,
    )


def _treatment_evidence(treatment: Treatment | None, plans: list[Schedule]) -> Iterator[EvidenceRecord]:
    if treatment is not None:
        yield _about("session", treatment.session_id, "started", treatment.start)
        return
    for plan in plans:
        yield _about("schedule", plan.session_id, "planned", plan.planned_start)


def _about(kind: str, name: str, what: str, at: datetime) -> EvidenceRecord:
    return EvidenceRecord(kind=kind, id=name, name=what, value=None, unit=None, at=at)


def _named_by(state: PatientState, key: str) -> list[str]:
    return refs_of_drugs(Drug.MAGNESIUM)(state, key)


IV_RULE: Final = PatientRule(
    name="iv_magnesium_during_dialysis",
    version=1,
    family="low-magnesium",
    ids="R08",
    title="Intravenous magnesium during dialysis",
    inputs=(drug(Drug.MAGNESIUM), _CITRATE, SESSION, SCHEDULE),
    needs=(drug(Drug.MAGNESIUM),),
    limits=IvMagnesiumLimits,
    find=find_iv,
    named_by=_named_by,
    sources=("article L15, L17", "Di Mario 2021", "clinical.md R08"),
    without=(
        "a continuous treatment (CKRT) as a modality: an order of citrate stands for it",
        "a code for an override: the reason of a `resolve` is it",
        "a dose of which the treatment itself is told only after its end",
    ),
)
RULES: Final[tuple[PatientRule, ...]] = (DIALYSATE_RULE, IV_RULE)

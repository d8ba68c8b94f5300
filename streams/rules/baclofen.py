"""Baclofen on dialysis (R50), and electrolytes before its start (R52)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import Priority, Reason, Status
from models.analytes import MEQ_L, MG_DL, MMOL_L, Analyte
from models.drugs import Drug
from streams.rules.api import Ending, Finding, Limits, Outcome, PatientRule, PatientView, Unchanged, guidance
from streams.rules.facts import labs
from streams.rules.facts.doses import UNKNOWN_SINCE, course
from streams.rules.facts.orders import refs_of_drugs, step_evidence, step_known_at, step_ref
from streams.rules.facts.plans import ON_DIALYSIS, on_dialysis
from streams.rules.inputs import drug, lab
from streams.rules.thresholds import Days, Hours, UnitsOf

_BACLOFEN: Final = drug(Drug.BACLOFEN)

# -- on dialysis ------------------------------------------------------------------------------------------------------

#: For so long an order, and dialysis, are new. An order that continues another one can be told from a first one as long
#: as the other is in the windows; the same is true of dialysis, after a gap of some weeks.
_NEW_ORDER: Final = timedelta(days=30)
_NEW_DIALYSIS: Final = timedelta(days=7)
_ARTICLE: Final = guidance(
    "The article names baclofen as the first-line medicine for symptoms that persist after electrolyte correction: "
    "10 mg a day, raised weekly by 10 mg up to 30 mg.",
    "article L31-L32",
)
_LITERATURE: Final = guidance(
    "The literature advises against baclofen on dialysis. The kidney clears it; toxicity (drowsiness, encephalopathy, "
    "seizures) was seen from 5 mg a day, on average at 20 mg, 2 to 3 days after the start. Review the indication and "
    "the alternatives with the prescriber and the pharmacist.",
    "Nefrologia 2020 (41 cases), Renal Fellow Network; clinical.md section 0 against article L32",
)


class OnDialysisLimits(Limits):
    """No thresholds: any baclofen counts."""


def find_on_dialysis(view: PatientView) -> Iterator[Outcome]:
    """The first order of baclofen, or a dose that nobody ordered, for a patient on dialysis.

    On dialysis is who had a session in the last 35 days, has one planned, or has a first one in the profile. It ends
    when a person resolves it with a reason, and when baclofen is stopped or cancelled. A further order within 72 h
    is no first one (ours).
    """
    state = view.read(_BACLOFEN, *ON_DIALYSIS)
    taken = course(view, Drug.BACLOFEN)
    use = taken.use_at(view.now) if taken else None
    if taken is None or use is None:
        return
    if not taken.goes_on(view) or (dialysis := on_dialysis(view, use.first.at)) is None:
        return
    known = step_known_at(state, use.first)
    if view.now >= max(known + _NEW_ORDER, dialysis.since + _NEW_DIALYSIS):
        yield Unchanged("baclofen")  # an alert that is open stays, one that was answered does not come again
        return
    level = taken.level_at(view.now)
    dose_shown = f", {level.shown('mg')}" if level.stands else ""
    what = "ordered" if any(order.regimens for order in taken.orders) else "given without an order"
    shown = {step_ref(step): step for step in (use.first, *(part.step for part in level.parts))}
    yield Finding(
        key="baclofen",
        anchors=(step_ref(use.first),),
        priority=Priority.MEDIUM,
        onset_at=max(use.first.at, dialysis.since),
        known_at=known,
        level_known_at=known,
        summary=f"Baclofen {what} for a patient on dialysis{dose_shown}",
        guidance=(_LITERATURE, _ARTICLE),
        evidence=(*map(step_evidence, shown.values()), dialysis.evidence),
    )


# -- electrolytes before the start ------------------------------------------------------------------------------------

_ELECTROLYTES: Final = (Analyte.MAGNESIUM, Analyte.IONIZED_CALCIUM, Analyte.POTASSIUM)


class BeforeElectrolytesLimits(Limits):
    """Below which value an electrolyte is low, and until when one from before the start is known."""

    magnesium: Annotated[labs.PerUnit, UnitsOf(Analyte.MAGNESIUM)] = Field(
        default={MG_DL: 1.7, MMOL_L: 0.70, MEQ_L: 1.4}, description="low below this; article L2, L16"
    )
    ionized_calcium: Annotated[labs.PerUnit, UnitsOf(Analyte.IONIZED_CALCIUM)] = Field(
        default={MMOL_L: 1.12, MG_DL: 4.49, MEQ_L: 2.24}, description="low below this; clinical.md 2.2"
    )
    potassium: Annotated[labs.PerUnit, UnitsOf(Analyte.POTASSIUM)] = Field(
        default={MMOL_L: 3.5, MEQ_L: 3.5, MG_DL: 13.68}, description="low below this; clinical.md 2.1"
    )
    fresh_hours: Hours = Field(default=24, description="hours before the start in which a result counts; contract")
    watch_days: Days = Field(default=14, description="days after the start, when nobody waits any more (ours)")


_ELECTROLYTES_FIRST: Final = guidance(
    "The article puts baclofen after electrolyte correction, magnesium first: symptoms may go with it. Check "
    "magnesium, ionised calcium and potassium, and review whether baclofen is still needed.",
    "article L2, L31; clinical.md R52",
)


def find_before_electrolytes(view: PatientView) -> Iterator[Outcome]:
    """Baclofen was started while magnesium, ionised calcium or potassium was low, or not known in the 24 h before.

    Only a final result counts, and one whose `<` or `>` leaves the side open is not known. It ends when every one of
    them was measured and not low after the start, or when baclofen is stopped; 14 days after the start it expires
    (ours). An electrolyte that becomes low later is no ground.
    """
    state = view.read(_BACLOFEN, lab(*_ELECTROLYTES))
    taken = course(view, Drug.BACLOFEN)
    use = taken.use_at(view.now) if taken else None
    if taken is None or use is None or use.since == UNKNOWN_SINCE or not taken.goes_on(view):
        return
    limits = view.limits(BeforeElectrolytesLimits)
    over = use.since + timedelta(days=limits.watch_days)
    if view.now >= over:
        yield Ending("electrolytes", Status.EXPIRED, Reason.UNCONFIRMED_END)
        return
    view.look_at(over)
    lacking = {each: _lacking(view, each, use.since, limits) for each in _ELECTROLYTES}
    words = {each: found for each, found in lacking.items() if found is not None}
    if not words:
        return
    low = [found for found in words.values() if isinstance(found, labs.Result)]
    unknown = [each.words for each, found in words.items() if found == _UNKNOWN]
    parts = [f"{result.analyte.words} low ({result.shown()})" for result in low]
    parts += [f"{' and '.join(unknown)} not known"] if unknown else []
    known = step_known_at(state, use.first)
    yield Finding(
        key="electrolytes",
        anchors=(step_ref(use.first),),
        priority=Priority.LOW,
        onset_at=use.since,
        known_at=max([known, *(result.known_at for result in low)]),
        level_known_at=known,
        summary=f"Baclofen started with {', '.join(parts)}",
        guidance=(_ELECTROLYTES_FIRST,),
        evidence=(step_evidence(use.first), *(result.evidence() for result in low)),
    )


_UNKNOWN: Final = "unknown"


def _lacking(
    view: PatientView, analyte: Analyte, start: datetime, limits: BeforeElectrolytesLimits
) -> labs.Result | str | None:
    """Return the low result of an analyte, or that it is not known; None where it was fine at the start or is now."""
    bound: labs.PerUnit = getattr(limits, str(analyte))
    decided = [
        result
        for result in labs.results(view, analyte)
        if not result.is_preliminary and result.below(bound) is not None
    ]
    before = next((result for result in reversed(decided) if result.at <= start), None)
    after = [result for result in decided if result.at > start]
    recent = before is not None and before.at >= start - timedelta(hours=limits.fresh_hours)
    if (before is not None and recent and not before.below(bound)) or any(not result.below(bound) for result in after):
        return None
    if after:
        return after[-1]
    return before if before is not None and before.below(bound) else _UNKNOWN


# -- rules ------------------------------------------------------------------------------------------------------------

ON_DIALYSIS_RULE: Final = PatientRule(
    name="baclofen_on_dialysis",
    version=1,
    family="medication",
    ids="R50",
    title="Baclofen for a patient on dialysis",
    inputs=(_BACLOFEN, *ON_DIALYSIS),
    needs=(_BACLOFEN,),
    limits=OnDialysisLimits,
    find=find_on_dialysis,
    named_by=refs_of_drugs(Drug.BACLOFEN),
    sources=("article L32", "Nefrologia 2020", "Renal Fellow Network", "clinical.md section 0"),
    without=("residual kidney function", "a prescription at home that nobody sends as an order"),
)
BEFORE_ELECTROLYTES_RULE: Final = PatientRule(
    name="baclofen_before_electrolytes",
    version=1,
    family="medication",
    ids="R52",
    title="Baclofen started before electrolytes were known and corrected",
    inputs=(_BACLOFEN, lab(*_ELECTROLYTES)),
    needs=(_BACLOFEN,),
    limits=BeforeElectrolytesLimits,
    find=find_before_electrolytes,
    named_by=refs_of_drugs(Drug.BACLOFEN),
    sources=("article L2, L31", "clinical.md R52"),
)
RULES: Final[tuple[PatientRule, ...]] = (ON_DIALYSIS_RULE, BEFORE_ELECTROLYTES_RULE)

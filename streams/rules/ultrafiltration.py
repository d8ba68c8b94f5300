"""`uf_rate_high` (R32, E05): fluid is removed faster than the patient's weight allows, as planned or as it runs."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority
from streams.rules.api import PatientRule, PatientView, guidance
from streams.rules.facts.dry_weight import weight_after
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import PROFILE, WEIGHT
from streams.rules.shapes.sides import SustainedBand
from streams.rules.shapes.sustained import Scale, Standing, SustainedShape, sustained

_ADVISORY: Final = "advisory"
_WARNING: Final = "warning"


def _per_kg(view: PatientView, treatment: Treatment) -> Scale | None:
    weight = weight_after(view, treatment)
    return None if weight is None or not isinstance(weight.value, float) else Scale(weight.value, weight)


def _planned(treatment: Treatment, scale: Scale | None) -> float | None:
    """Return the planned rate in mL/kg/h; None if the start message does not give goal and duration."""
    started = treatment.started
    if started is None or scale is None or not started.uf_goal_ml or not started.planned_minutes:
        return None
    return started.uf_goal_ml / (started.planned_minutes / 60) / scale.factor


def _bounds(view: PatientView, treatment: Treatment, scale: Scale | None) -> dict[str, float]:
    """A rate that was planned above the warning stays low until it exceeds the plan."""
    limits: Any = view.limits(UF_RATE_HIGH.limits)
    planned = _planned(treatment, scale)
    if planned is None or planned <= limits.warning:
        return {}
    return {_WARNING: planned * (1 + limits.over_plan_percent / 100)}


def _plan(view: PatientView, treatment: Treatment, scale: Scale | None) -> Standing | None:
    limits: Any = view.limits(UF_RATE_HIGH.limits)
    planned, started = _planned(treatment, scale), treatment.started
    if planned is None or started is None or scale is None or planned <= limits.warning:
        return None
    goal = EvidenceRecord(
        kind="session",
        id=treatment.session_id,
        name="uf_goal_ml",
        value=started.uf_goal_ml,
        unit="mL",
        at=started.at,
    )
    summary = f"Ultrafiltration planned at {planned:.3g} mL/kg/h, above {limits.warning:g}"
    return Standing(Priority.LOW, treatment.start, summary, (goal, scale.evidence))


UF_RATE_HIGH: Final[PatientRule] = sustained(
    SustainedShape(
        "uf_rate_high",
        field="uf_rate_ml_h",
        unit=("mL/h", "mL/kg/h"),
        what="Ultrafiltration rate",
        above=True,
        bands=(
            SustainedBand(_ADVISORY, Priority.LOW, 10, "clinical.md 2.6, R32"),
            SustainedBand(_WARNING, Priority.MEDIUM, 13, "KCQA, clinical.md 2.6, R32"),
        ),
        advice=(
            guidance(
                "Review a longer treatment, the target weight and the fluid intake: a lower rate needs more time.",
                "article L25; clinical.md 2.6",
            ),
        ),
        scale=_per_kg,
        bounds=_bounds,
        standing=_plan,
    ),
    held_minutes=5,
    keep_minutes=5,
    source="contract, R32",
    also=(PROFILE, WEIGHT),
    settings={
        "over_plan_percent": (
            float,
            Field(default=10.0, ge=0, le=100, description="% above a plan over the warning, from which it is medium"),
        )
    },
    family="session",
    ids="R32 E05",
    title="Ultrafiltration faster than the weight allows",
    sources=("article L25", "KCQA", "clinical.md 2.6"),
    without=("a target that a machine shows and no start message gives",),
)
RULES: Final[tuple[PatientRule, ...]] = (UF_RATE_HIGH,)

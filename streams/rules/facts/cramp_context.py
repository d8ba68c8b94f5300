"""What goes with a cramp during treatment (R30): a low pressure, a fast ultrafiltration, what made it likelier (R39).

All of it is text of the cramp's alert. It raises nothing and changes no priority.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from models.alerts import EvidenceRecord, GuidanceRecord
from streams.rules.api import PatientView, guidance
from streams.rules.facts.days import day_of
from streams.rules.facts.dry_weight import last_after, weight_after, weight_before
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import PROFILE, WEIGHT, Input, holds

HYPOTENSION: Final = "intradialytic_hypotension"
UF_RATE: Final = "uf_rate_high"
#: What the context reads, besides the session and the condition to which the cramp yields.
INPUTS: Final[tuple[Input, ...]] = (PROFILE, WEIGHT, holds(UF_RATE))

#: R39, all ours: "higher", "shorter" and "longer" have no numbers in the article.
_BMI: Final = 30.0
_GAIN_PERCENT: Final = 4.0
_NEW_FOR: Final = timedelta(days=365)
#: Heights outside are typing errors (cm, ours).
_LEAST_CM: Final = 100.0
_MOST_CM: Final = 230.0

_LOW_PRESSURE: Final = guidance(
    "Check the blood pressure first: it is low, and the alert of the low pressure leads. Review both together.",
    "article L44, L51; clinical.md R30, R60",
)
_FAST: Final = guidance(
    "Review the ultrafiltration rate with the cramp: it is above what the weight allows.",
    "article L25, L44; clinical.md 2.6",
)
_LIKELIER: Final = guidance(
    "Review with the prescriber what makes cramps likelier in this patient; nothing of it is urgent.",
    "article L45-L49; clinical.md R39 (ours)",
)


@dataclass(frozen=True, slots=True)
class CrampContext:
    """What goes with a cramp: the end of its summary, its evidence and advice."""

    text: str
    evidence: tuple[EvidenceRecord, ...]
    advice: tuple[GuidanceRecord, ...]


@dataclass(frozen=True, slots=True)
class _Risk:
    """One factor of R39, as text and as evidence."""

    text: str
    name: str
    value: float | str | None = None
    unit: str | None = None


def cramp_context(view: PatientView, session: Treatment, onset: datetime) -> CrampContext:
    """Return what goes with a cramp of a treatment that began at a moment."""
    together: list[str] = []
    advice: list[GuidanceRecord] = []
    evidence: list[EvidenceRecord] = []
    for rule, text, review in (
        (HYPOTENSION, "low blood pressure", _LOW_PRESSURE),
        (UF_RATE, "high ultrafiltration rate", _FAST),
    ):
        if session.key in view.read(holds(rule)).conditions.get(rule, {}):
            together.append(text)
            advice.append(review)
            evidence.append(_evidence("rule", session.session_id, _Risk(text, rule), onset))
    risks = list(_risks(view, session))
    evidence += [_evidence("context", session.session_id, risk, session.start) for risk in risks]
    text = f", with {' and '.join(together)}" if together else ""
    if risks:
        text += f"; likelier by {', '.join(risk.text for risk in risks)}"
        advice.append(_LIKELIER)
    return CrampContext(text, tuple(evidence), tuple(advice))


def _evidence(kind: str, name: str, what: _Risk, at: datetime) -> EvidenceRecord:
    return EvidenceRecord(kind=kind, id=name, name=what.name, value=what.value, unit=what.unit, at=at)


def _risks(view: PatientView, session: Treatment) -> Iterator[_Risk]:
    """Yield the factors of R39 that hold at the start of a treatment; one whose inputs are missing does not."""
    profile = view.read(PROFILE).profile
    dry = weight_after(view, session)
    kg = dry.value if dry is not None and isinstance(dry.value, float) else None
    height = profile.height_cm if profile is not None else None
    if kg is not None and height is not None and _LEAST_CM <= height <= _MOST_CM:
        bmi = kg / (height / 100) ** 2
        if bmi >= _BMI:
            yield _Risk(f"BMI {bmi:.1f}", "bmi", round(bmi, 1), "kg/m2")
    before, last = weight_before(view, session), last_after(view, session)
    if kg is not None and before is not None and last is not None:
        gain = (before - last[1]) / kg * 100
        if gain > _GAIN_PERCENT:
            yield _Risk(f"weight gain {gain:.1f} %", "interdialytic_weight_gain", round(gain, 1), "%")
    if profile is None:
        return
    if (first := profile.first_dialysis_on) is not None:
        since = day_of(view, session.start) - first
        if timedelta(0) <= since < _NEW_FOR:
            yield _Risk("less than 12 months on dialysis", "first_dialysis_on", first.isoformat())
    if profile.low_activity:
        yield _Risk("low activity", "low_activity")

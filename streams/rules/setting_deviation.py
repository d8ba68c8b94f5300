"""`setting_deviation` (E06): a user set the machine to something else than was ordered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from models.alerts import Priority
from models.state.machine_setting import Told
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts.chair_settings import Set, dialysed_now, endings, look_at_end, set_now
from streams.rules.facts.labs import as_compared
from streams.rules.inputs import SESSION, setting

_REVIEW: Final = guidance(
    "Check with the prescriber which of the two is meant, and review the order or the setting.",
    "IHE (MSET against RSET); clinical.md E06, 3.4",
)


class SettingDeviationLimits(Limits):
    """How far a setting may lie from its order and still be what was ordered."""

    sodium_mmol_l: float = Field(default=0.5, ge=0, description="mmol/L that are no deviation; rounding, ours")
    potassium_mmol_l: float = Field(default=0.1, ge=0, description="mmol/L that are no deviation; rounding, ours")
    temperature_c: float = Field(default=0.1, ge=0, description="Celsius that are no deviation; rounding, ours")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A setting that is compared: its field, its words and unit for people, its unit as UCUM, and its tolerance."""

    field: str
    what: str
    shown: str
    unit: str
    limit: str


_KINDS: Final = (
    _Kind("dialysate_na_mmol_l", "sodium", "mmol/L", "mmol/L", "sodium_mmol_l"),
    _Kind("dialysate_k_mmol_l", "potassium", "mmol/L", "mmol/L", "potassium_mmol_l"),
    _Kind("dialysate_temp_setting_c", "temperature", "°C", "Cel", "temperature_c"),
)


def find(view: PatientView) -> Iterator[Outcome]:
    """The newest word on a setting is a user's and differs from the last order of this treatment; one alert a setting.

    It is over when the two agree, when the newest word is an order, or with the treatment. A value of unknown origin
    ends it only where it is the ordered one.
    """
    running = dialysed_now(view)
    yield from endings(view, *(_key(kind) for kind in _KINDS))
    if running is None or not running.session.settings:
        return
    limits = view.limits(SettingDeviationLimits)
    for kind in _KINDS:
        found = set_now(view, running, kind.field, kind.unit)
        if found is None:
            continue
        finding = _finding(kind, found, getattr(limits, kind.limit))
        if finding is not None:
            look_at_end(view, running)
            yield finding


def _key(kind: _Kind) -> str:
    return f":{kind.field}"


def _finding(kind: _Kind, found: Set, tolerance: float) -> Finding | None:
    """Return the deviation of a setting; a user must have set it so, and it must be so still."""
    ordered, user = found.counts(found.kept.ordered), found.counts(found.kept.user)
    if ordered is None or user is None or not found.kept.is_of_user:
        return None
    if not (_differs(user.value, ordered, tolerance) and _differs(found.value, ordered, tolerance)):
        return None
    onset = since = found.begun(found.run)
    for run in reversed(found.kept.runs):
        if run.last < ordered.at or not _differs(run.value, ordered, tolerance):
            break
        onset = found.begun(run)
    key = found.treatment.key + _key(kind)
    return Finding(
        key=key,
        anchors=(f"setting:{key}",),
        priority=Priority.LOW,
        onset_at=onset,
        known_at=since,
        level_known_at=since,
        summary=f"Dialysate {kind.what} set to {found.value:g} {kind.shown}, ordered {as_compared(ordered.value):g}",
        guidance=(_REVIEW,),
        evidence=(
            found.evidence(found.value, since),
            found.evidence(as_compared(ordered.value), found.told_at(ordered)),
        ),
        session_id=found.treatment.session_id,
    )


def _differs(value: float, ordered: Told, tolerance: float) -> bool:
    return as_compared(abs(value - ordered.value)) > tolerance


RULE: Final = PatientRule(
    name="setting_deviation",
    version=1,
    family="session",
    ids="E06",
    title="A machine is set to something else than was ordered",
    inputs=(SESSION, *(setting(kind.field) for kind in _KINDS)),
    limits=SettingDeviationLimits,
    find=find,
    sources=("IHE haemodialysis profile (MSET, RSET)", "clinical.md E06, 3.4"),
    without=(
        "the set rate of ultrafiltration: `uf_rate_ml_h` is measured, and `uf_rate_high` compares it with the plan",
    ),
)

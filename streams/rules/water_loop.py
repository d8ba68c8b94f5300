"""`aluminum_cluster` (R25): two patients on one water loop point to the water, not to the patients."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority
from models.records import UnitSignal
from streams.rules.base import Finding, Limits, LoopRule, LoopView, Outcome, guidance
from streams.rules.bounds import Days, Silences

NAME: Final = "aluminum_cluster"


class AluminumClusterLimits(Limits):
    """How many patients within how many days make a cluster."""

    patients: Annotated[int, Silences.RAISED] = Field(default=2, ge=2, le=100, description="patients on one loop (R25)")
    days: Annotated[Days, Silences.LOWERED] = Field(
        default=30, description="rolling days within which they count (contract)"
    )


_ADVICE: Final = guidance(
    "Inform the technical and the medical lead: measure aluminium in the product water and the dialysate "
    "(below 10 ug/L) and remove the source.",
    "KDOQI aluminium guideline, source search",
)


def find(view: LoopView) -> Iterator[Outcome]:
    """Enough patients of a loop with a suspicion or a level from 60 ug/L within 30 days; a person ends it."""
    limits = view.settings.limits(AluminumClusterLimits)
    standing = sorted(
        (signal for signal in view.state.signals.values() if not signal.retracted),
        key=lambda signal: (signal.at, signal.alert_id),
    )
    cluster = _cluster(standing, limits)
    if not cluster:
        return
    patients = len({signal.patient_id for signal in cluster})
    yield Finding(
        key="cluster",
        anchors=tuple(_ref(signal) for signal in reversed(cluster)),
        priority=Priority.HIGH,
        onset_at=cluster[0].at,
        known_at=max(signal.known_at or _last_at(signal) for signal in cluster),
        level_known_at=cluster[0].at,
        summary=f"{patients} patients on one water loop with signs or levels of aluminium within {limits.days:g} days",
        guidance=(_ADVICE,),
        evidence=tuple(
            EvidenceRecord(
                kind="alert",
                id=signal.alert_id,
                name=signal.rule,
                value=signal.patient_id,
                unit=None,
                at=signal.at,
            )
            for signal in cluster
        ),
    )


def _ref(signal: UnitSignal) -> str:
    return f"alert:{signal.alert_id}"


def _last_at(signal: UnitSignal) -> datetime:
    return signal.last_at or signal.at


def _cluster(standing: list[UnitSignal], limits: AluminumClusterLimits) -> list[UnitSignal]:
    """Every signal that lies within the window of enough patients."""
    window = timedelta(days=limits.days)
    members: dict[str, UnitSignal] = {}
    moments = [(moment, signal) for signal in standing for moment in (signal.at, _last_at(signal))]
    for end, _ in moments:
        inside = [signal for moment, signal in moments if end - window < moment <= end]
        if len({signal.patient_id for signal in inside}) >= limits.patients:
            members |= {signal.alert_id: signal for signal in inside}
    return sorted(members.values(), key=lambda signal: (signal.at, signal.alert_id))


RULE: Final = LoopRule(
    name=NAME,
    version=1,
    family="unit",
    ids="R25",
    title="Two patients with signs of aluminium on one water loop",
    reads=frozenset({"unit_signal", "alert_response"}),
    limits=AluminumClusterLimits,
    find=find,
    sources=("KDOQI aluminium guideline", "clinical.md 1.2"),
)

"""`aluminum_cluster` (R25): two patients on one water loop point to the water, not to the patients."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Annotated, Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority
from models.records import UnitSignal
from models.state import MAX_EVIDENCE
from streams.rules.api import Finding, Limits, LoopRule, LoopView, Outcome, guidance
from streams.rules.inputs import UNIT_SIGNAL
from streams.rules.thresholds import Days, Silences

NAME: Final = "aluminum_cluster"


class AluminumClusterLimits(Limits):
    """How many patients within how many days make a cluster."""

    patients: Annotated[int, Silences.RAISED] = Field(default=2, ge=2, le=100, description="patients on one loop (R25)")
    days: Annotated[Days, Silences.LOWERED] = Field(
        default=30, description="rolling days within which they count (contract)"
    )


_ADVICE: Final = guidance(
    "Inform the technical and the medical lead. Check aluminium in the product water and the dialysate "
    "(below 10 ug/L), and review the removal of its source, per unit protocol.",
    "KDOQI aluminium guideline, source search",
)


def find(view: LoopView) -> Iterator[Outcome]:
    """Enough patients of a loop have a suspicion or a level from 60 ug/L within 30 days; a person resolves it."""
    limits = view.limits(AluminumClusterLimits)
    standing = sorted(
        (signal for signal in view.read(UNIT_SIGNAL).signals.values() if not signal.retracted),
        key=lambda signal: (signal.at, signal.alert_id),
    )
    cluster = _cluster(standing, limits)
    if not cluster:
        return
    patients = len({signal.patient_id for signal in cluster})
    shown = cluster if len(cluster) <= MAX_EVIDENCE else [cluster[0], *cluster[1 - MAX_EVIDENCE :]]
    yield Finding(
        key="cluster",
        anchors=tuple(_ref(signal) for signal in cluster[: -MAX_EVIDENCE - 1 : -1]),
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
            for signal in shown
        ),
    )


def _ref(signal: UnitSignal) -> str:
    return f"alert:{signal.alert_id}"


def _last_at(signal: UnitSignal) -> datetime:
    return signal.last_at or signal.at


def _cluster(standing: list[UnitSignal], limits: AluminumClusterLimits) -> list[UnitSignal]:
    """Return every signal that lies within a window with enough patients.

    One pass over the moments in their order: both ends of the window only move forward, and each moment between them
    is taken once, however many windows hold it. `standing` has one signal an alert.
    """
    window = timedelta(days=limits.days)
    moments = sorted(
        ((moment, signal) for signal in standing for moment in (signal.at, _last_at(signal))), key=itemgetter(0)
    )
    inside: dict[str, int] = {}  # how many moments of each patient lie in the window
    members: dict[str, UnitSignal] = {}
    first = taken = 0
    for number, (end, signal) in enumerate(moments, 1):
        inside[signal.patient_id] = inside.get(signal.patient_id, 0) + 1
        while moments[first][0] <= end - window:
            patient = moments[first][1].patient_id
            inside[patient] -= 1
            if not inside[patient]:
                del inside[patient]
            first += 1
        if len(inside) >= limits.patients:
            members |= {one.alert_id: one for _, one in moments[max(first, taken) : number]}
            taken = number
    return sorted(members.values(), key=lambda signal: (signal.at, signal.alert_id))


RULE: Final = LoopRule(
    name=NAME,
    version=1,
    family="unit",
    ids="R25",
    title="Two patients with signs of aluminium on one water loop",
    inputs=(UNIT_SIGNAL,),
    limits=AluminumClusterLimits,
    find=find,
    sources=("KDOQI aluminium guideline", "clinical.md 1.2"),
)

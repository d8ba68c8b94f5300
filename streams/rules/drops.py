"""The part of `data_quality` that reports inputs of a patient dropped because too much was received."""

from __future__ import annotations

from collections.abc import Iterator

from models.alerts import EvidenceRecord, Priority
from models.state.bounds import DROPS_FORGOTTEN
from streams.rules.api import Finding, PatientView, guidance
from streams.rules.inputs import DROPPED


def dropped(view: PatientView) -> Iterator[Finding]:
    """Report dropped inputs until none was dropped for `DROPS_FORGOTTEN`; update only when the number has doubled."""
    drops = view.read(DROPPED).drops
    if drops is None or view.now >= drops.at + DROPS_FORGOTTEN:
        return
    view.look_at(drops.at + DROPS_FORGOTTEN)
    ref = drops.since.isoformat()
    number = sum(drops.told.values())
    yield Finding(
        key="dropped",
        anchors=(f"dropped:{ref}",),
        priority=Priority.LOW,
        onset_at=drops.since,
        known_at=drops.since,
        level_known_at=drops.since,
        summary=f"Too much was received to keep all: {number} inputs or more were dropped",
        guidance=(
            guidance(
                "Find the sender that repeats itself under ever new ids; the newest inputs, and what an open alert "
                "rests on, are kept.",
                "clinical.md E07",
            ),
        ),
        evidence=tuple(
            EvidenceRecord(kind="dropped", id=f"{name}:{ref}", name=name, value=count, unit=None, at=drops.since)
            for name, count in sorted(drops.told.items())
        ),
    )

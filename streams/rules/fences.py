"""The part of `data_quality` that reports numbers of machines that no treatment can have: 365 degrees for 36.5.

A machine with such a fault sends it in every sample from the first on. So nothing is asked of the samples themselves:
a few looks at the beginning of a treatment read what is kept of them for other rules. A sample costs no more, and a
treatment takes no more room; a field is fenced once some rule watches it as a channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from models.alerts import EvidenceRecord, Priority
from models.state import Channel
from streams.rules.api import Finding, PatientView, guidance
from streams.rules.facts import bedside
from streams.rules.facts.treatments import treatment_at
from streams.rules.inputs import SESSION

#: When it is looked at a treatment, in minutes after its start (ours): machines often run a while before they treat.
_LOOKS: Final = tuple(timedelta(minutes=minutes) for minutes in (2, 10, 30))
#: A single sample is noise: this many minutes with samples in a row must lie outside (ours).
_MINUTES: Final = 2


@dataclass(frozen=True, slots=True)
class Fence:
    """The numbers that a field of a sample can have in a treatment; the bounds lie inside. Ours, wide on purpose."""

    low: float
    high: float
    unit: str


FENCES: Final = {
    "uf_rate_ml_h": Fence(-500, 6000, "mL/h"),
    "uf_removed_ml": Fence(-2000, 20000, "mL"),
    "blood_flow_ml_min": Fence(0, 1000, "mL/min"),
    "venous_pressure_mmhg": Fence(-500, 1000, "mm[Hg]"),
    "dialysate_temp_c": Fence(20, 45, "Cel"),
    "dialysate_temp_setting_c": Fence(20, 45, "Cel"),
    "dialysate_na_mmol_l": Fence(100, 180, "mmol/L"),
    "dialysate_k_mmol_l": Fence(0, 8, "mmol/L"),
    "dialysate_ca_mmol_l": Fence(0, 4, "mmol/L"),
    "dialysate_mg_mmol_l": Fence(0, 4, "mmol/L"),
    "conductivity_ms_cm": Fence(5, 25, "mS/cm"),
    "systolic_mmhg": Fence(20, 320, "mm[Hg]"),
    "diastolic_mmhg": Fence(5, 250, "mm[Hg]"),
    "heart_rate_bpm": Fence(5, 350, "{beats}/min"),
    "relative_blood_volume_pct": Fence(-80, 200, "%"),
    "body_temp_c": Fence(25, 45, "Cel"),
}


def outside(view: PatientView) -> Iterator[Finding]:
    """Report the fields of the running treatment whose newest samples all lie outside: one alert a treatment."""
    view.read(SESSION)
    running = treatment_at(bedside.sessions(view), view.now, timedelta(0))
    if running is None or (running.ended_at is not None and running.ended_at <= view.now):
        return  # an end ends it, whatever rules still watch at that moment
    for after in _LOOKS:
        view.look_at(running.start + after)
    channels = sorted(running.session.channels.items())
    beyond = [(field, side) for field, kept in channels if field in FENCES and (side := _side(kept, FENCES[field]))]
    if not beyond:
        return
    view.look_at(running.over_at + timedelta(microseconds=1))
    key = f"fence:{running.key}"
    # The bound stands for the numbers, which differ from sample to sample and would be news each time.
    shown = ", ".join(f"{field} {side} {FENCES[field].unit}" for field, side in beyond)
    yield Finding(
        key=key,
        anchors=(key,),
        priority=Priority.LOW,
        onset_at=running.start,
        known_at=running.start,
        level_known_at=running.start,
        summary=f"Machine {running.machine_id} sends what cannot be: {shown}",
        guidance=(
            guidance(
                "Check the unit and the decimal point in the machine's connection: rules take its numbers as they are.",
                "clinical.md E07; bounds are ours",
            ),
        ),
        evidence=tuple(
            EvidenceRecord(
                kind="telemetry",
                id=running.session_id,
                name=field,
                value=side,
                unit=FENCES[field].unit,
                at=running.start,
            )
            for field, side in beyond
        ),
        session_id=running.session_id,
    )


def _side(kept: Channel, fence: Fence) -> str:
    """Return the bound beyond which all of the newest samples lie, such as `>45`; empty if some do not."""
    newest = kept.minutes[-_MINUTES:]
    if len(newest) < _MINUTES:
        return ""
    if all(minute.low > fence.high for minute in newest):
        return f">{fence.high:g}"
    if all(minute.high < fence.low for minute in newest):
        return f"<{fence.low:g}"
    return ""

"""`blood_volume_falling` (E12): the blood volume falls steeply, perhaps with a pressure that is about to fall."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from pydantic import Field

from models.alerts import EvidenceRecord, GuidanceRecord, Priority
from models.state import Bound, Channel
from models.state.channel import NEVER_S
from models.state.session import Reading
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts import bedside
from streams.rules.facts.slopes import SETTLED_AFTER, Fall, calm_band, falls, minute_of, settled, start_of
from streams.rules.facts.treatments import Treatment, is_still
from streams.rules.inputs import PAUSE, SESSION, channel

FIELD: Final = "relative_blood_volume_pct"
_OVER: Final = 15
_SLOWER_FOR: Final = 10
#: No blood volume lies below (%): every sample is above it.
_NONE: Final = -1000.0
#: Numbers that no systolic pressure has (mm[Hg], ours).
_LEAST_MMHG: Final = 30.0
_MOST_MMHG: Final = 300.0

_REVIEW: Final = guidance(
    "Review the ultrafiltration rate and the target weight: the plasma refills more slowly than fluid is removed.",
    "article L44; clinical.md E12, 3.4",
)
_PRESSURE: Final = guidance(
    "Check the blood pressure now and again soon: it is lower already, and may fall further.",
    "article L51; clinical.md E12 (ours)",
)


class BloodVolumeLimits(Limits):
    """How steep a fall is, and which pressure makes it worse."""

    fall_pct_h: float = Field(
        default=6.5,
        ge=1,
        le=60,
        description="%/h over 15 min: low above this; class STEEP, clinical.md 3.4",
    )
    systolic_fall_mmhg: float = Field(
        default=20, ge=5, le=100, description="mm[Hg] below that before the treatment: medium; E12 (ours)"
    )
    systolic_mmhg: float = Field(default=100, ge=50, le=160, description="mm[Hg]: medium below this; E12 (ours)")
    reading_minutes: float = Field(
        default=30, ge=1, le=240, description="min for which a reading of the cuff speaks here (ours)"
    )


def find(view: PatientView) -> Iterator[Outcome]:
    """The relative blood volume falls faster than 6.5 %/h over 15 min: low; medium with a pressure that is lower.

    Lower is a systolic 20 mmHg below that before the treatment, or below 100. Judged once a minute, of minutes that are
    over for a minute. It is over when the slope was 6.5 %/h or less for 10 min, and with a pause: 15 min without one
    are needed for a slope.
    """
    view.read(SESSION, PAUSE)
    running = bedside.running(view)
    if running is None:
        return
    view.look_at(running.over_at + timedelta(microseconds=1))
    kept = running.session.channels.get(FIELD)
    if kept is None or kept.at == NEVER_S:
        view.watch(running.session_id, FIELD, {"first": Bound(_NONE, above=True)}, older=True)
        return
    limit = view.limits(BloodVolumeLimits).fall_pct_h
    steep = _steep(view, running, kept, limit)
    band = None if steep else _band(view, kept, limit)
    if band is None:
        view.look_at(start_of(minute_of(view.now) + 1))
    view.watch(running.session_id, FIELD, band or {}, older=True)
    if steep:
        yield _finding(view, running, steep, limit)


def _steep(view: PatientView, running: Treatment, kept: Channel, limit: float) -> list[Fall]:
    """Return the steep falls of the last ten minutes; none while blood stands, or from before it stood."""
    session = running.session
    if is_still(session):
        return []
    after = minute_of(running.start) - 1
    if session.still_at is not None:
        after = max(after, minute_of(session.still_at))
    newest = minute_of(view.now) - SETTLED_AFTER
    found = falls(settled(kept, view.now, after), _OVER)
    steep = [fall for fall in found if fall.is_steeper(limit)]
    return steep if steep and steep[-1].ended.number > newest - _SLOWER_FOR else []


def _band(view: PatientView, kept: Channel, limit: float) -> dict[str, Bound] | None:
    """Return bounds within which no fall is steep; None where there is hardly any room left."""
    band = calm_band(kept, limit, _OVER, view.now)
    if band is None:
        return None
    bottom, top = band
    return {
        "top": Bound(top, above=True, waits=(0, NEVER_S)),
        "bottom": Bound(bottom, above=False, waits=(0, NEVER_S)),
    }


def _finding(view: PatientView, running: Treatment, steep: list[Fall], limit: float) -> Finding:
    first = steep[0]
    known = start_of(first.ended.number + SETTLED_AFTER)
    reading = _low_pressure(view, running)
    evidence = list(_evidence(running, first))
    texts: tuple[GuidanceRecord, ...] = (_REVIEW,)
    summary = f"Relative blood volume falls faster than {limit:g} %/h"
    priority = Priority.LOW
    if reading is not None:
        priority, texts = Priority.MEDIUM, (_PRESSURE, _REVIEW)
        summary += ", with a blood pressure that is about to fall"
        evidence.append(
            EvidenceRecord(
                kind="telemetry",
                id=running.session_id,
                name="systolic_mmhg",
                value=reading.value,
                unit="mm[Hg]",
                at=reading.at,
            )
        )
    return Finding(
        key=running.key,
        anchors=(f"session:{running.key}",),
        priority=priority,
        onset_at=start_of(first.ended.number),
        known_at=known,
        level_known_at=known if reading is None else max(known, reading.at),
        summary=summary,
        guidance=texts,
        evidence=tuple(evidence),
        session_id=running.session_id,
        news=(summary,),
    )


def _evidence(running: Treatment, fall: Fall) -> Iterator[EvidenceRecord]:
    for minute in (fall.begun, fall.ended):
        yield EvidenceRecord(
            kind="telemetry",
            id=running.session_id,
            name=FIELD,
            value=minute.value,
            unit="%",
            at=start_of(minute.number),
        )


def _low_pressure(view: PatientView, running: Treatment) -> Reading | None:
    """Return the newest systolic pressure of the treatment, if it is recent and lower than it should be."""
    limits, reading = view.limits(BloodVolumeLimits), running.session.systolic
    if reading is None or not running.contains(reading.at) or not _LEAST_MMHG <= reading.value <= _MOST_MMHG:
        return None
    if view.now - reading.at > timedelta(minutes=limits.reading_minutes):
        return None
    before = running.started.pre_systolic_mmhg if running.started else None
    has_fallen = (
        before is not None
        and _LEAST_MMHG <= before <= _MOST_MMHG
        and before - reading.value >= limits.systolic_fall_mmhg
    )
    return reading if has_fallen or reading.value < limits.systolic_mmhg else None


RULE: Final = PatientRule(
    name="blood_volume_falling",
    version=1,
    family="session",
    ids="E12",
    title="Blood volume falls steeply",
    inputs=(SESSION, PAUSE, channel(FIELD)),
    limits=BloodVolumeLimits,
    find=find,
    sources=("article L44", "clinical.md 3.4, E12"),
    without=("a bolus of infusion, during which and for 10 min after which nothing should be told",),
)

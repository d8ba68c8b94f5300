"""The part of `data_quality` that reports sensors that stand still: the very same number in every sample for an hour.

Blood that flows moves what is measured of it, by more than a machine's resolution. A channel keeps since when no sample
had another value (`Channel.other`), so nothing is asked of the samples; a look each half hour reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from models.alerts import EvidenceRecord, Priority
from models.state import Channel
from models.state.channel import KEPT_MINUTES, NEVER_S
from streams.rules.api import Finding, PatientView, guidance
from streams.rules.facts import bedside
from streams.rules.facts.implausible import SAMPLES
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import SESSION

#: How long it must stand while blood flows, and how often it is looked at (ours).
_FOR: Final = timedelta(hours=1)
_EVERY: Final = timedelta(minutes=30)
#: What is measured all the time, and how many decimals a number must have to count (ours): pressure in the venous line
#: swings with the pump; a volume or a temperature that a machine rounds may well stand. Settings and cuffs do stand.
MEASURED: Final = {"venous_pressure_mmhg": 0, "relative_blood_volume_pct": 1, "dialysate_temp_c": 2}
#: Numbers in single precision have noise behind these decimals.
_DECIMALS: Final = 3


def standing(view: PatientView) -> Iterator[Finding]:
    """Report the measured fields of the running treatment that stand: one alert a treatment."""
    view.read(SESSION)
    running = bedside.running(view)
    if running is None or (running.ended_at is not None and view.now >= running.ended_at):
        return
    kept = {field: channel for field in MEASURED if (channel := running.session.channels.get(field)) is not None}
    if not kept or (view.now >= running.start + _EVERY and all(one.at == NEVER_S for one in kept.values())):
        return
    view.look_at(running.start + ((view.now - running.start) // _EVERY + 1) * _EVERY)
    found = {field: since for field, one in kept.items() if (since := _since(view, running, field, one)) is not None}
    if not found:
        return
    since, key = min(found.values()), f"standing:{running.key}"
    shown = ", ".join(f"{field} at {_shown(kept[field].value)} {SAMPLES[field].unit}" for field in found)
    yield Finding(
        key=key,
        anchors=(key,),
        priority=Priority.LOW,
        onset_at=since,
        known_at=max(found.values()) + _FOR,
        level_known_at=since + _FOR,
        summary=f"A sensor of machine {running.machine_id} stands still for an hour while blood flows: {shown}",
        guidance=(
            guidance(
                "Check the sensor, its line and the machine's connection: while it stands, what it measures is not "
                "watched.",
                "clinical.md E07; the hour is ours",
            ),
        ),
        evidence=tuple(
            EvidenceRecord(
                kind="telemetry",
                id=running.session_id,
                name=field,
                value=float(kept[field].value),
                unit=SAMPLES[field].unit,
                at=moment,
            )
            for field, moment in found.items()
        ),
        session_id=running.session_id,
    )


def _since(view: PatientView, running: Treatment, field: str, kept: Channel) -> datetime | None:
    """Return since when a channel stands while blood flows, if that is long enough; None if not.

    Blood must have flowed all the while, and samples must have come in each of the newest minutes.
    """
    session = running.session
    if kept.at == NEVER_S or not session.flows or not _is_exact(kept.value, MEASURED[field]):
        return None
    minutes = kept.minutes
    if len(minutes) < KEPT_MINUTES or minutes[-1].number - minutes[0].number >= KEPT_MINUTES:
        return None
    newest, flow = datetime.fromtimestamp(kept.at, UTC), session.flows[-1]
    since = max(datetime.fromtimestamp(kept.stands_since, UTC), flow.since, session.still_at or flow.since)
    if view.now - newest >= _EVERY or min(newest, flow.until) - since < _FOR:
        return None
    return since


def _is_exact(value: float, decimals: int) -> bool:
    """Return whether a number other than 0 is not rounded to fewer decimals."""
    exact = round(value, _DECIMALS)
    return exact != 0 and (decimals == 0 or round(value, decimals - 1) != exact)


def _shown(value: float) -> str:
    return f"{round(value, _DECIMALS):g}"

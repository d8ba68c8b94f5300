"""The part of `data_quality` that reports numbers of machines that no treatment can have: 365 degrees for 36.5.

Filing leaves such a number out, so rules take it as not measured, and notes of each field which was the first and which
the newest (`Session.strange`). A machine with such a fault sends it in every sample, so nothing more is asked of the
samples: a few looks read what is noted. A sample costs no more; a field is fenced once some rule watches it as a
channel, the blood pressure and the settings always.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from models.alerts import EvidenceRecord, Priority
from models.state import Session, Strange
from models.state.channel import NEVER_S
from models.state.machine_setting import SETTINGS
from streams.rules.api import Finding, PatientView, guidance
from streams.rules.facts import bedside
from streams.rules.facts.implausible import SAMPLES, as_celsius
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import SESSION

#: When it is looked at a treatment, in minutes after its start (ours): machines often run a while before they treat.
_LOOKS: Final = tuple(timedelta(minutes=minutes) for minutes in (2, 10, 30))
#: And how often after these, once a number was left out (ours).
_EVERY: Final = timedelta(minutes=30)
#: A single sample is noise: such numbers alone must have come for so many seconds (ours).
_LASTS_S: Final = 60
#: Fields that are measured now and then: one number is all that is known for a while, so it is said at once.
_SELDOM: Final = frozenset({"systolic_mmhg", "diastolic_mmhg", "body_temp_c"})
_TEMPERATURES: Final = frozenset({"dialysate_temp_c", "dialysate_temp_setting_c", "body_temp_c"})


def outside(view: PatientView) -> Iterator[Finding]:
    """Report the fields of the running treatment of which nothing but such numbers comes: one alert a treatment."""
    view.read(SESSION)
    running = bedside.running(view)
    if running is None or (running.ended_at is not None and view.now >= running.ended_at):
        return
    session = running.session
    for after in _LOOKS:
        view.look_at(running.start + after)
    found = {field: each for field, each in sorted(session.strange.items()) if field in SAMPLES}
    if not found:
        return
    view.look_at(_next_look(running, view.now))
    beyond = [(field, each, side) for field, each in found.items() if (side := _side(session, field, each))]
    if not beyond:
        return
    view.look_at(running.over_at + timedelta(microseconds=1))
    key = f"fence:{running.key}"
    # The bound stands for the numbers, which differ from sample to sample and would be news each time.
    shown = ", ".join(f"{field} {side} {SAMPLES[field].unit}{_hint(field, each)}" for field, each, side in beyond)
    known = max(running.start, *(_moment(each.first) for _, each, _ in beyond))
    yield Finding(
        key=key,
        anchors=(key,),
        priority=Priority.LOW,
        onset_at=running.start,
        known_at=known,
        level_known_at=known,
        summary=f"Machine {running.machine_id} sends what cannot be: {shown}; it counts as not measured",
        guidance=(
            guidance(
                "Check the unit, the decimal point and the sensor of the machine: rules do not see these numbers, so "
                "what they stand for is not watched.",
                "clinical.md E07; bounds are ours",
            ),
        ),
        evidence=tuple(
            EvidenceRecord(
                kind="telemetry",
                id=running.session_id,
                name=field,
                value=side,
                unit=SAMPLES[field].unit,
                at=running.start,
            )
            for field, _, side in beyond
        ),
        session_id=running.session_id,
    )


def _next_look(running: Treatment, now: datetime) -> datetime:
    """Return the next of the moments that every order of arrival looks at."""
    return running.start + ((now - running.start) // _EVERY + 1) * _EVERY


def _side(session: Session, field: str, each: Strange) -> str:
    """Return the bound beyond which the newest samples of a field lie, such as `>45`; empty if some do not."""
    usable = _usable(session, field)
    if usable is None or each.last <= usable:
        return ""
    if field not in _SELDOM and each.last - max(each.first, usable) < _LASTS_S:
        return ""
    known = SAMPLES[field]
    return f">{known.high:g}" if each.value > known.high else f"<{known.low:g}"


def _usable(session: Session, field: str) -> int | None:
    """Return the second of the newest sample of a field that can be, `NEVER_S` before one; None if none is kept."""
    channel = session.channels.get(field)
    if channel is not None:
        return channel.at
    if field == "systolic_mmhg":
        return NEVER_S if session.systolic is None else int(session.systolic.at.timestamp())
    if field in SETTINGS:
        return session.settings[field].runs[-1].last if field in session.settings else NEVER_S
    return None


def _hint(field: str, each: Strange) -> str:
    celsius = as_celsius(each.value) if field in _TEMPERATURES else None
    return "" if celsius is None else f" ({each.value:g} degrees Fahrenheit would be {celsius:.1f})"


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)

"""What is expected of who is treated: a panel after dialysis, no baclofen, no intravenous magnesium meanwhile.

Like `tests.chaos.clinical` by the words of clinical.md alone: R64 with R62, R50 and R08, and the rulings on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from tests.chaos.held import Held
from tests.chaos.said import Patient

PANEL: Final = "post_dialysis_labs_missing"
BACLOFEN: Final = "baclofen_on_dialysis"
IV_MAGNESIUM: Final = "iv_magnesium_during_dialysis"

#: R64: the soft limit, and when nobody waits any more.
_SOFT: Final = timedelta(hours=4)
_FORGOTTEN: Final = timedelta(hours=72)
_WANTED: Final = ("potassium", "magnesium", "ionized_calcium")
#: How far clocks differ.
_SKEW: Final = timedelta(minutes=5)
#: R62: what counts for a risk, and how old a QTc above 480 ms may be.
_HEART: Final = {"cardiomyopathy": 1.0, "ischaemic_heart_disease": 1.0, "lvh": 0.5}
_QTC_COUNTS: Final = timedelta(days=30)


def _is_expected(patient: Patient, ended: datetime) -> bool:
    """In hospital, or at risk of an arrhythmia."""
    measured = [(at, qtc) for at, qtc in patient.qtc if at > ended - _QTC_COUNTS]
    risk = 1.0 if measured and max(measured)[1] > 480 else 0.0
    risk += sum(_HEART.get(name, 0.0) for name in patient.conditions)
    return patient.inpatient or risk >= 2


def _awaited(patient: Patient) -> tuple[str, datetime] | None:
    """The newest treatment, where it has ended and a part of the panel is missing."""
    if not patient.sessions or not patient.has_profile:
        return None
    name, (_, ended) = max(patient.sessions.items(), key=lambda session: session[1][0])
    if ended is None or not _is_expected(patient, ended):
        return None
    since = [lab for lab in patient.labs.values() if lab.at >= ended - _SKEW]
    is_whole = all(any(lab.usable(analyte) for lab in since) for analyte in _WANTED)
    return None if is_whole else (name, ended)


def panel_missing(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """R64: no whole panel 4 h after the end of dialysis; the next treatment ends the waiting."""
    awaited = _awaited(patient)
    if awaited and awaited[1] + _SOFT <= now < awaited[1] + _FORGOTTEN:
        yield "", Held({awaited[0]}, due=awaited[1] + _SOFT)


def panel_deadline(patient: Patient, *, is_told: bool) -> Iterator[datetime]:
    """When a panel will be missing, or missed no more."""
    awaited = _awaited(patient)
    if awaited:
        yield awaited[1] + (_FORGOTTEN if is_told else _SOFT)


def baclofen(patient: Patient, _now: datetime) -> Iterator[tuple[str, Held]]:
    """R50: an order of baclofen for a patient on dialysis, until it is stopped."""
    for name, steps in patient.orders.items():
        stands = all(step.action not in ("stopped", "cancelled") for step in steps)
        ordered = any(step.action == "ordered" and step.drug == "baclofen" for step in steps)
        if stands and ordered and (patient.sessions or patient.first_dialysis):
            yield name, Held({name})


def iv_magnesium(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """R08: intravenous magnesium given during a treatment that runs, whichever of the two was told first."""
    running = patient.session_at(now)
    if running is None:
        return
    start, end = patient.sessions[running]
    for name, steps in patient.orders.items():
        given = [step.at for step in steps if step.action == "administered" and step.route == "iv"]
        meant = any("magnesium" in step.drug for step in steps)
        if meant and any(start - _SKEW <= at and (end is None or at <= end + _SKEW) for at in given):
            yield name, Held({name}, severe=True)

"""A low magnesium (R01) and a long QTc (R63), which is high beside one: without the engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from tests.chaos.held import Held
from tests.chaos.said import Lab, Patient

LOW_MAGNESIUM: Final = "low_magnesium"
QTC: Final = "qtc_prolonged"

#: clinical.md R01 and the ruling on severe: each unit has its own bound, strictly below.
_MAGNESIUM: Final = {"mg/dl": (1.7, 1.0), "mmol/l": (0.70, 0.41), "meq/l": (1.4, 0.82)}
_IRRITABLE: Final = frozenset({"jerk", "spasm", "cramp", "twitch", "myoclonus", "seizure"})
_CONTEXT: Final = timedelta(hours=24)
#: R63, section 2.9: long from above these on (ms), high above the last with a low electrolyte; for a week (ours).
_MEN, _WOMEN, _VERY_LONG = 450, 460, 500
_WEEK: Final = timedelta(days=7)


def low_magnesium(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """R01. A preliminary result counts in the critical band only."""

    def bound(lab: Lab, which: int) -> bool:
        return lab.value is not None and lab.value < _MAGNESIUM[lab.unit][which]

    results = [lab for lab in patient.usable("magnesium") if lab.status != "preliminary" or bound(lab, 1)]
    if results and bound(results[-1], 0):
        since = now - _CONTEXT
        signs = any(s.at > since for s in patient.present(_IRRITABLE))
        signs = signs or any(at > since and qtc > 480 for at, qtc in patient.qtc)
        yield "", Held({results[-1].name}, severe=bound(results[-1], 1), may_be_severe=signs)


def _newest_long(patient: Patient) -> tuple[datetime, float] | None:
    """Return the newest QTc if it is long. Without seconds and typing errors."""
    measured = [(at, qtc) for at, qtc in patient.qtc if 200 <= qtc <= 900]
    bound = _WOMEN if patient.profile.get("sex") == "female" else _MEN
    return max(measured) if measured and max(measured)[1] > bound else None


def qtc_prolonged(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """R63: the newest QTc is long. With potassium or calcium it may be high, too: of these nothing is judged here."""
    newest = _newest_long(patient)
    if newest is not None and now < newest[0] + _WEEK:
        is_very_long = newest[1] > _VERY_LONG
        is_severe = is_very_long and any(True for _ in low_magnesium(patient, now))
        yield "", Held({newest[0].isoformat()}, severe=is_severe, may_be_severe=is_very_long, expires=True)


def qtc_deadlines(patient: Patient) -> Iterator[datetime]:
    """When a QTc tells nothing of the patient any more."""
    if (newest := _newest_long(patient)) is not None:
        yield newest[0] + _WEEK

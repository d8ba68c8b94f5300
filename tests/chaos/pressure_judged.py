"""When a blood pressure is low during a treatment, as R60 and the rulings on it say; without the engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from tests.chaos.held import Held
from tests.chaos.machines_said import Treatment
from tests.chaos.said import Patient, Symptom

HYPOTENSION: Final = "intradialytic_hypotension"
#: Two readings above end it, but not all are looked at when they come: at the next minute at the latest.
LOOKED_AT_EVERY: Final = timedelta(minutes=1)

_MINUTE: Final = timedelta(minutes=1)
_LOW, _LOW_OF_HIGH, _HIGH_BEFORE, _VERY_LOW, _FALL = 90, 100, 160, 80, 20
_SIGNS: Final = frozenset(
    {"cramp", "spasm", "dizziness", "nausea", "syncope", "somnolence", "confusion", "weakness"},
)
#: A sign belongs to a fall that lies so near, and counts for so long; what came later than this was charted late.
_NEAR: Final = 5 * _MINUTE
_COUNTS: Final = 30 * _MINUTE
_ABOVE: Final = 10 * _MINUTE

_Reading = tuple[datetime, float]


def _counts_until(sign: Symptom) -> datetime:
    return (sign.heard if sign.heard - sign.at > _NEAR else sign.at) + _COUNTS


def _low_since(readings: list[_Reading], bound: float) -> tuple[datetime, datetime] | None:
    """Return the first and the last of the newest readings in a row below a bound; None if none is."""
    first: datetime | None = None
    last: datetime | None = None
    for at, value in reversed(readings):
        if value < bound:
            first, last = at, last or at
        elif first is not None:
            break
    return (first, last) if first is not None and last is not None else None


def _over_at(readings: list[_Reading], last: datetime) -> datetime | None:
    """Return when what was low is over: ten minutes above, with two readings; None as long as nobody can know."""
    above = [at for at, _ in readings if at > last]
    return max(above[0] + _ABOVE, above[1]) if len(above) >= 2 else None


def _holds(readings: list[_Reading], bound: float, now: datetime) -> tuple[datetime, datetime] | None:
    """Return from when to when readings were low that still count: as long as they are, and until that is over."""
    low = _low_since(readings, bound)
    if low is None:
        return None
    over = _over_at(readings, low[1])
    if over is not None and now >= over:
        return None
    return low[0], low[1] if readings[-1][0] > low[1] else now


def _before(treatment: Treatment) -> float | None:
    told = treatment.started.get("pre_systolic_mmhg")
    return told if told is not None and 30 <= told <= 300 else None


def _bounds(treatment: Treatment) -> tuple[float, float | None]:
    """Return below which pressure one is low, and below which it has fallen."""
    before = _before(treatment)
    low = _LOW_OF_HIGH if before is not None and before >= _HIGH_BEFORE else _LOW
    fallen = None if before is None or before - _FALL < low else before - _FALL + 0.001  # just that much is one
    return low, fallen


def _is_running(treatment: Treatment, now: datetime) -> bool:
    return treatment.first <= now <= treatment.over


def hypotension(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """R60: below 90, or 20 below that before with a symptom; below 80, or with a syncope: high."""
    for treatment in patient.treatments.values():
        readings = [reading for reading in treatment.pressures if reading[0] <= now]
        if not readings or not _is_running(treatment, now):
            continue
        signs = [sign for sign in patient.present(_SIGNS) if sign.at <= now]
        low, fallen = _bounds(treatment)
        is_low = _holds(readings, low, now) is not None
        if is_low or (fallen is not None and _has_fallen(readings, fallen, signs, now)):
            fainted = any(sign.kind == "syncope" for sign in signs)
            yield treatment.name, Held({treatment.name}, severe=fainted or _holds(readings, _VERY_LOW, now) is not None)


def _has_fallen(readings: list[_Reading], bound: float, signs: list[Symptom], now: datetime) -> bool:
    """Whether pressure has fallen while a symptom began that still counts."""
    found = _holds(readings, bound, now)
    counting = [sign for sign in signs if now < _counts_until(sign)]
    return found is not None and any(found[0] - _NEAR <= sign.at <= found[1] + _NEAR for sign in counting)


def pressure_deadlines(patient: Patient) -> Iterator[datetime]:
    """When the clock alone may end a low pressure: its readings lie above for long enough, a symptom counts no more."""
    for treatment in patient.treatments.values():
        low, fallen = _bounds(treatment)
        for bound in (low, fallen, _VERY_LOW):
            found = None if bound is None else _low_since(treatment.pressures, bound)
            if found is not None and (over := _over_at(treatment.pressures, found[1])) is not None:
                yield over
        if treatment.pressures:
            yield treatment.over + timedelta(microseconds=1)
            yield from (_counts_until(sign) for sign in patient.present(_SIGNS))

"""What is played of patients who are treated: panels that nobody draws, baclofen, magnesium told before its session."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.chaos.logs import CLINICAL_EVENTS, LAB_RESULTS, MACHINE_EVENTS, Plant, Sent
from tests.events import event

_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_PANEL: Final = (("potassium", 4.5, "mmol/L"), ("magnesium", 2.0, "mg/dL"), ("ionized_calcium", 1.2, "mmol/L"))


def sent(
    topic: str, type_: str, subject: str, stamp: datetime, at: datetime | None = None, *plants: Plant, **fields: Any
) -> Sent:
    """A message of a subject that comes when `stamp` says; what it tells of happened then, or at `at`."""
    milliseconds = round(stamp.timestamp() * 1000)
    body = event(type_, subject, at or datetime.fromtimestamp(milliseconds / 1000, UTC), **fields)
    return Sent(topic, subject.encode(), json.dumps(body).encode(), milliseconds, plants)


def _session(what: str, name: str, session: str, stamp: datetime, at: datetime | None = None, *plants: Plant) -> Sent:
    machine = {} if what == "session_ended" else {"machine_id": f"M-{name}"}
    return sent(MACHINE_EVENTS, what, name, stamp, at, *plants, session_id=session, **machine)


def missing_panels(rng: random.Random, names: list[str], start: datetime, end: datetime) -> Iterator[Sent]:
    """Inpatients whose dialysis ended almost 4 h ago, without a panel: it is missing in the course of the run.

    Of some a panel comes later, of some the next treatment begins, and of some nobody hears again.
    """
    for number, name in enumerate(names):
        due = start + (end - start) * rng.uniform(0.1, 0.8)
        over = due - 4 * _HOUR
        # Nobody tells an end that has not come: in a long run it comes in the course of it.
        stamp = max(start, over) + timedelta(seconds=rng.uniform(5, 30))
        plant = Plant("post_dialysis_labs_missing", name, frozenset({f"{name}-s0"}))
        yield sent(CLINICAL_EVENTS, "patient_profile", name, stamp, None, inpatient=True)
        yield _session("session_started", name, f"{name}-s0", stamp + _SECOND, over - 4 * _HOUR)
        yield _session("session_ended", name, f"{name}-s0", stamp + 2 * _SECOND, over, plant)
        later = due + (end - due) * rng.uniform(0.1, 0.9)
        if number % 3 == 0:
            yield from _panel(name, later)
        elif number % 3 == 1:
            yield _session("session_started", name, f"{name}-s1", later)


def _panel(name: str, stamp: datetime) -> Iterator[Sent]:
    for number, (analyte, value, unit) in enumerate(_PANEL):
        fields = {"result_id": f"{name}-{analyte}", "analyte": analyte, "value": value, "unit": unit}
        yield sent(LAB_RESULTS, "lab_result", name, stamp + number * _SECOND, stamp - _MINUTE, **fields)


def orders(rng: random.Random, names: list[str], start: datetime, end: datetime) -> Iterator[Sent]:
    """Baclofen for patients on dialysis; every other order is stopped again."""
    for number, name in enumerate(names):
        stamp = start + (end - start) * rng.uniform(0.05, 0.6)
        order = f"{name}-baclofen"
        fields = {"order_id": order, "drug": "baclofen", "route": "oral", "dose_mg": 5.0, "doses_per_day": 1.0}
        plant = Plant("baclofen_on_dialysis", name, frozenset({order}))
        yield _session("session_started", name, f"{name}-s0", start + _SECOND)
        yield sent(CLINICAL_EVENTS, "medication", name, stamp, None, plant, action="ordered", **fields)
        if number % 2:
            later = stamp + (end - stamp) * rng.uniform(0.2, 0.9)
            yield sent(CLINICAL_EVENTS, "medication", name, later, None, action="stopped", **fields)


def doses(rng: random.Random, names: list[str], start: datetime, end: datetime) -> Iterator[Sent]:
    """Intravenous magnesium in a treatment of whose start the machine tells late: only then is it wrong."""
    for number, name in enumerate(names):
        begun = start + (end - start) * rng.uniform(0.05, 0.4)
        told = begun + (end - begun) * rng.uniform(0.1, 0.4)
        over = told + (end - told) * rng.uniform(0.3, 0.9)
        order = f"{name}-magnesium"
        plant = Plant("iv_magnesium_during_dialysis", name, frozenset({order}))
        drug = {"order_id": order, "drug": "magnesium sulfate", "route": "iv", "dose_mg": 2000.0}
        given = begun + (told - begun) / 2
        yield sent(CLINICAL_EVENTS, "medication", name, given + _SECOND, given, action="administered", **drug)
        yield _session("session_started", name, f"{name}-s0", told, begun, plant)
        if number % 2:
            yield _session("session_ended", name, f"{name}-s0", over + _SECOND, over)

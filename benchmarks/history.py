"""The past of a patient: 50 results, 12 sessions with their ends, and 10 alerts that are over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from models.topics import topic_of

RESULTS: Final = 50
SESSIONS: Final = 12
OVER_ALERTS: Final = 10
_DAY: Final = timedelta(days=1)
#: Results of these are normal; the patient has been through low magnesium and cramps before.
PANEL: Final = (("magnesium", 2.0, "mg/dL"), ("potassium", 4.5, "mmol/L"), ("sodium", 140.0, "mmol/L"),
                ("ionized_calcium", 1.2, "mmol/L"), ("aluminum", 5.0, "ug/L"))  # fmt: skip


def event(type_: str, patient: str, at: datetime, **fields: Any) -> bytes:
    """Return an event as JSON."""
    return json.dumps({"type": type_, "patient_id": patient, "at": at.isoformat(), **fields}).encode()


def history(patient: str, now: datetime) -> Iterator[tuple[datetime, str, bytes]]:
    """Yield the events of a past that ends before `now`: arrival, topic and JSON. Sort them before use."""
    for at, type_, fields in _events(now):
        happened = fields.pop("at", at)  # where a message arrives later than what it tells of
        yield at, topic_of(type_), event(type_, patient, happened, **fields)


def _events(now: datetime) -> Iterator[tuple[datetime, str, dict[str, Any]]]:
    for number in range(SESSIONS):
        day = now - (SESSIONS - number) * 2 * _DAY
        session = {"session_id": f"s{number}"}
        yield day, "session_started", session | {"machine_id": "m1", "water_loop_id": "loop-1"}
        if number < OVER_ALERTS // 2:
            ended_at = (day + timedelta(minutes=70)).isoformat()
            cramp = {"symptom_id": f"c{number}", "kind": "cramp", "ended_at": ended_at}
            yield day + timedelta(minutes=71), "symptom", cramp | {"at": day + timedelta(hours=1)}
            low = {"result_id": f"low{number}", "analyte": "magnesium", "value": 1.5, "unit": "mg/dL"}
            yield day + timedelta(hours=5), "lab_result", low
        yield day + timedelta(hours=4), "session_ended", session
        for place in range(RESULTS // SESSIONS + (number % 6 == 0)):
            analyte, value, unit = PANEL[(place + number) % len(PANEL)]
            at = day + timedelta(hours=6, minutes=place)
            fields = {"analyte": analyte, "value": value, "unit": unit, "reported_at": at.isoformat()}
            yield at, "lab_result", {"result_id": f"r{number}-{place}", **fields}
        normal = {"result_id": f"ok{number}", "analyte": "magnesium", "value": 2.0, "unit": "mg/dL"}
        yield day + timedelta(hours=7), "lab_result", normal  # closes a low magnesium

"""Answers of people: an acknowledgement taken back, and alert ids in capitals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.alerts import AlertRecord
from streams.replay import Replay
from streams.rules.catalogue import default_settings
from tests.unit.timeline import stamp, to_line


def _replayed(*events: dict[str, Any]) -> Iterator[AlertRecord]:
    replay = Replay(default_settings())
    for event in events:
        yield from replay.take(to_line({"patient_id": "p1", **event}))


RESULT = {"type": "lab_result", "at": stamp("08:00"), "result_id": "r1"} | {
    "analyte": "magnesium",
    "value": 1.5,
    "unit": "mg/dL",
}


def _answer(action: str, at: str, name: str) -> dict[str, Any]:
    return {"type": "alert_response", "at": stamp(at), "alert_id": name, "by": "nurse-3", "action": action}


def test_an_acknowledgement_can_be_taken_back() -> None:
    (raised,) = _replayed(RESULT)
    name = raised.alert_id
    told = list(_replayed(RESULT, _answer("acknowledge", "08:01", name), _answer("unacknowledge", "08:02", name)))
    assert [(str(alert.status), str(alert.reason)) for alert in told[1:]] == [
        ("acknowledged", "acknowledged"),
        ("active", "unacknowledged_by_person"),
    ]


def test_a_snooze_can_be_taken_back() -> None:
    (raised,) = _replayed(RESULT)
    snooze = _answer("snooze", "08:01", raised.alert_id) | {"until": stamp("09:00")}
    told = list(_replayed(RESULT, snooze, _answer("unacknowledge", "08:02", raised.alert_id)))
    assert [(str(alert.status), str(alert.reason)) for alert in told[1:]] == [
        ("snoozed", "snoozed"),
        ("active", "unacknowledged_by_person"),
    ]


def test_an_alert_id_in_capitals_names_the_alert() -> None:
    (raised,) = _replayed(RESULT)
    told = list(_replayed(RESULT, _answer("acknowledge", "08:01", raised.alert_id.upper())))
    assert str(told[-1].status) == "acknowledged"

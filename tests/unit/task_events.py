"""Events that the tests of a task have in common."""

from __future__ import annotations

from typing import Any

from models.alerts import alert_id
from tests.unit.fake_port import FakeKafka, stamp, subjects

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
P1, P2, P3 = subjects(0, 3)
ELSEWHERE = subjects(1, 1)[0]
MACHINES = {"session_id": "s1", "machine_id": "m1"}


def at(seconds: float) -> str:
    """A moment as alerts tell it."""
    return stamp(seconds).replace("+00:00", "Z")


def low_magnesium(patient: str, result: str) -> str:
    return alert_id("low_magnesium", patient, f"lab_result:{result}")


def cramp(kafka: FakeKafka, patient: str, at: float, name: str, **more: Any) -> int:
    return kafka.event("clinical-events", patient, "symptom", at, symptom_id=name, kind="cramp", **more)


def session(kafka: FakeKafka, patient: str, at: float, name: str = "s1", **more: Any) -> int:
    fields = {"session_id": name, "machine_id": "m1"} | more
    return kafka.event("machine-events", patient, "session_started", at, **fields)


def telemetry(kafka: FakeKafka, patient: str, at: float, **more: Any) -> int:
    return kafka.event("machine-events", patient, "telemetry", at, **(MACHINES | more))

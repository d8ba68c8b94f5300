"""Events that the tests of a task have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.alerts import alert_id
from models.state import PatientState, StateCodec
from tests.stored_subjects import subjects_of
from tests.unit.fake_port import EPOCH, PREFIX, FakeKafka, Host, stamp, subjects

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
P1, P2, P3 = subjects(0, 3)
ELSEWHERE = subjects(1, 1)[0]
MACHINE = {"session_id": "s1", "machine_id": "m1"}
LABS, MACHINES, CLINICAL = (PREFIX + name for name in ("lab-results", "machine-events", "clinical-events"))


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
    return kafka.event("machine-events", patient, "telemetry", at, **(MACHINE | more))


def story(kafka: FakeKafka, **fields: Any) -> list[tuple[str, str, str]]:
    """Rule, transition and `at` of what was told, in the order of sending, repeats left out."""
    found = {
        (alert["alert_id"], alert["revision"]): (alert["rule"], alert["transition"], alert["at"])
        for alert in kafka.transitions()
        if all(alert[name] == value for name, value in fields.items())
    }
    return list(found.values())


def stored(kafka: FakeKafka, patient: str) -> PatientState:
    """A patient as the changelog has him."""
    return stored_patients(kafka.changelog)[patient.encode()]


def stored_patients(values: Mapping[bytes, bytes]) -> dict[bytes, PatientState]:
    """The patients of a changelog, with the samples that belong to them."""
    return subjects_of(values, StateCodec(PatientState))


def clock(host: Host) -> float:
    """The task's clock, in seconds after `EPOCH`."""
    return (host.task.subjects.now - EPOCH).total_seconds()


def answer(kafka: FakeKafka, alert: str, at: float, action: str, **more: Any) -> None:
    kafka.event("clinical-events", P1, "alert_response", at, alert_id=alert, by="nurse", action=action, **more)


def catching_up(kafka: FakeKafka, wall: float) -> None:
    """The wall clock is at `wall`, and no end of machine events is confirmed: only their records move the clock."""
    kafka.clock.elapsed = 1000.0 + wall
    kafka.unconfirmed = {MACHINES}

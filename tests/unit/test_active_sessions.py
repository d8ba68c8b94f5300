"""What `sessions.active` shows of a running session."""

from __future__ import annotations

from typing import Any

import msgspec

from streams.engine.active_sessions import publish_session
from tests.unit.timeline import Unit, moment


def published(unit: Unit) -> dict[str, Any]:
    """The session as it is published now."""
    patients = unit.replay._patients
    found = publish_session(patients.states["p1"], patients.now)
    assert found is not None
    shown: dict[str, Any] = msgspec.json.decode(found[1])
    return shown


def shown_at(text: str) -> str:
    """A time of the timeline as a message shows it."""
    return moment(text).isoformat().replace("+00:00", "Z")


def test_a_running_session_with_its_plan_and_its_newest_readings() -> None:
    unit = Unit()
    unit.session(
        at="08:00", machine="m7", chair="7", water_loop_id="ro1", modality="HDF", planned_minutes=240, unit_id="u1"
    )
    unit.telemetry(at="09:10", systolic_mmhg=120, uf_rate_ml_h=500, unit_id="u1")
    unit.telemetry(at="09:05", systolic_mmhg=100, uf_rate_ml_h=900, received="09:11", unit_id="u1")
    assert published(unit) == {
        "session_id": "s1",
        "patient_id": "p1",
        "unit_id": "u1",
        "machine_id": "m7",
        "chair": "7",
        "water_loop_id": "ro1",
        "modality": "HDF",
        "since": shown_at("08:00"),
        "planned_minutes": 240,
        "elapsed_minutes": 71,
        "systolic_mmhg": 120,
        "systolic_at": shown_at("09:10"),
        "uf_rate_ml_h": 500,
        "uf_rate_at": shown_at("09:10"),
        "at": shown_at("09:11"),
    }


def test_a_session_without_a_start_shows_what_is_known() -> None:
    unit = Unit()
    unit.telemetry(at="09:10", blood_flow_ml_min=300)
    shown = published(unit)
    told = ("session_id", "patient_id", "machine_id", "since", "elapsed_minutes", "at")
    assert {name for name, value in shown.items() if value is not None} == set(told)

"""Bounds that rules watch leave with their rule."""

from __future__ import annotations

from models.state import PatientState, StateCodec
from streams.engine.factory import patient_partition
from streams.rules.catalogue import parse_settings
from tests.unit.timeline import RETENTION, Unit


def patient() -> PatientState:
    """A patient whose rate has been above both bounds for long enough."""
    unit = Unit(watch="uf_rate_high")
    unit.session(at="08:00", target_weight_kg=70.0)
    for minute in range(1, 10):
        unit.telemetry(at=f"08:{minute:02}", uf_rate_ml_h=1000.0)
    assert unit.watched
    codec = StateCodec(PatientState)
    return codec.decode(codec.encode(unit.replay._patients.states["p1"]))


def adopted(*, enabled: bool) -> PatientState:
    settings = parse_settings(
        {"uf_rate_high": {"enabled": enabled, "advisory": 9.0} if enabled else {"enabled": False}}
    )
    state = patient()
    list(patient_partition(settings, RETENTION).adopt([state]))
    return state


def test_a_rule_that_is_turned_off_watches_nothing_and_keeps_nothing() -> None:
    state = adopted(enabled=False)
    assert state.sessions["s1"].channels["uf_rate_ml_h"].bounds == {}
    assert "uf_rate_high" not in state.held
    assert not [alert for alert in state.alerts.values() if alert.over_at is None]


def test_other_settings_move_its_bounds() -> None:
    bounds = adopted(enabled=True).sessions["s1"].channels["uf_rate_ml_h"].bounds
    assert bounds["uf_rate_high:advisory"].value < 9.01 * 70
    assert bounds["uf_rate_high:advisory"].is_out

"""The story of an alert and the alarm load."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.board.records import NOW, Unit, alert_value

ACKNOWLEDGED: dict[str, Any] = {"status": "acknowledged", "transition": "acknowledged", "reason": "acknowledged"}
RESOLVED: dict[str, Any] = {"status": "resolved", "transition": "resolved", "reason": "condition_cleared"}


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


def test_who_acknowledged_it_stands_with_it_and_in_its_history() -> None:
    unit = Unit()
    unit.session()
    unit.alert("a")
    unit.later(20)
    unit.answered("A", "anna", reason="seen at the chair")  # ids are compared without case
    unit.alert("a", 2, at=at(20), **ACKNOWLEDGED)
    (alert,) = unit.tile()["alerts"]
    assert (alert["acknowledged_by"], alert["acknowledged_at"]) == ("anna", at(20))
    full = unit.board.alert("a")
    assert full is not None
    told = [(line["revision"], line["status"], line["by"], line["note"]) for line in full["history"]]
    assert told == [(1, "active", None, None), (2, "acknowledged", "anna", "seen at the chair")]


def test_a_snooze_tells_until_when() -> None:
    unit = Unit()
    unit.session()
    unit.answered("a", "anna", "snooze", until=at(900))
    unit.alert("a", 2, status="snoozed", transition="snoozed", reason="snoozed")
    assert unit.tile()["alerts"][0]["snoozed_until"] == at(900)
    unit.alert("a", 3, status="active", transition="reminded", reason="snooze_ended")
    alert = unit.tile()["alerts"][0]
    assert (alert["snoozed_until"], alert["acknowledged_by"]) == (None, None)


def test_an_alert_that_ended_before_anybody_acknowledged_it_stays_until_somebody_looks() -> None:
    unit = Unit()
    unit.session()
    unit.alert("a")
    unit.alert("a", 2, **RESOLVED)
    unit.alert("b")
    unit.alert("b", 2, **ACKNOWLEDGED)
    unit.alert("b", 3, **RESOLVED)
    tile = unit.tile()
    assert [(alert["alert_id"], alert["ended_unacknowledged"]) for alert in tile["alerts"]] == [("a", True)]
    assert (tile["priority"], tile["unacknowledged"]) == (None, 0)
    unit.board.looked("a")
    assert unit.tile()["alerts"] == []
    unit.alert("a", 3)
    unit.alert("a", 4, **RESOLVED)
    assert [alert["alert_id"] for alert in unit.tile()["alerts"]] == ["a"]  # a new episode
    unit.board.take("alerts.active", b"a", None)
    assert unit.tile()["alerts"] == []


def test_a_screen_that_starts_again_tells_the_same_from_the_alert_topics() -> None:
    unit = Unit()
    unit.session()
    unit.alert("a", 3, **RESOLVED)  # all that is left of it after compaction
    assert unit.tile()["alerts"][0]["ended_unacknowledged"]
    unit.board.take("alerts.low-magnesium", b"p1", alert_value("a"))
    unit.board.take("alerts.low-magnesium", b"p1", alert_value("a", 2, at=at(30), **ACKNOWLEDGED))
    unit.board.take("alerts.low-magnesium", b"p1", alert_value("a", 3, **RESOLVED))
    assert unit.tile()["alerts"] == []
    load = unit.board.load()
    assert (load["unanswered"], load["median_seconds_to_acknowledge"], load["pages"]) == (0, 30.0, 1)


def test_the_load_counts_each_transition_once_and_forgets_after_a_day() -> None:
    unit = Unit()
    unit.session()
    unit.session("s2", "p2", chair="02")
    for number in range(3):
        unit.alert(f"a{number}")
    unit.alert("a0")
    unit.alert("b", priority="low", rule="uf_rate_high", chair="02")
    unit.alert("a1", 2, at=at(60), escalation=1, transition="escalated", reason="unacknowledged")
    unit.alert("a1", 3, at=at(90), **ACKNOWLEDGED)
    unit.alert("a2", 2, **RESOLVED)
    unit.later(100)
    load = unit.board.load()
    assert load["alerts_by_rule"] == [
        {"rule": "low_magnesium", "priority": "high", "count": 3},
        {"rule": "uf_rate_high", "priority": "low", "count": 1},
    ]
    assert (load["pages"], load["sessions"], load["pages_per_session"]) == (4, 2, 2.0)
    assert (load["unanswered"], load["median_seconds_to_acknowledge"], load["waiting"]) == (1, 90.0, 2)
    assert load["noisiest_chairs"] == [
        {"unit_id": "U1", "chair": "01", "count": 3},
        {"unit_id": "U1", "chair": "02", "count": 1},
    ]
    unit.later(25 * 3600)
    load = unit.board.load()
    assert (load["alerts_by_rule"], load["pages_per_session"], load["noisiest_chairs"]) == ([], None, [])


def test_the_trend_is_plotted_from_the_context_in_either_form() -> None:
    unit = Unit()
    values = [{"at": at(-60), "value": 92.0, "unit": "mm[Hg]"}, {"at": at(0), "value": 84.0, "unit": "mm[Hg]"}]
    bound = {"value": 90.0, "unit": "mm[Hg]"}
    forms: list[dict[str, Any]] = [
        {"context": values, "bound": bound},
        {"context": {"values": values, "bound": bound}},
    ]
    for number, fields in enumerate(forms):
        unit.alert(f"a{number}", **fields)
        full = unit.board.alert(f"a{number}")
        assert full is not None
        assert (full["context"], full["bound"]) == ([[at(-60), 92.0], [at(0), 84.0]], bound)
    unit.alert("decided", context=[{"at": at(-60), "value": 1.9, "unit": "mg/dL"}])
    full = unit.board.alert("decided")
    assert full is not None
    assert full["context"] == [[at(-60), 1.9], [at(0), 0.8]]  # the first evidence is the value that decided
    assert full["context_unit"] == "mg/dL"
    unit.alert("odd", context="none of these")
    full = unit.board.alert("odd")
    assert full is not None
    assert (full["context"], full["bound"], full["summary"]) == ([], None, "Magnesium 0.8 mg/dL")

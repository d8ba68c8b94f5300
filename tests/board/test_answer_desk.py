"""A person's answer: what is refused, what is sent, and how it is followed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from streams.board.answer_desk import Answer, AnswerRefusedError, Limits, checked
from tests.board.records import NOW, Unit


def ask(unit: Unit, body: Any, alert_id: str = "a") -> Answer:
    alert = unit.board.picture.alerts[alert_id].alert
    session = unit.board.picture.session_of(alert.patient_id)
    return checked(body, alert, session, "anna", unit.time, Limits())


@pytest.fixture
def unit() -> Unit:
    made = Unit()
    made.session()
    made.alert("a")
    made.alert("low", priority="low")
    made.alert("over", 2, status="resolved", transition="resolved", reason="condition_cleared")
    return made


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ([], 422, "body"),
        ({"action": "acknowledge", "by": "somebody else"}, 422, "body"),
        ({}, 422, "action"),
        ({"action": "delete"}, 422, "action"),
        ({"action": "unacknowledge"}, 409, None),
        ({"action": "resolve"}, 422, "reason"),
        ({"action": "resolve", "reason": "  "}, 422, "reason"),
        ({"action": "resolve", "reason": "x" * 501}, 422, "reason"),
        ({"action": "resolve", "reason": 7}, 422, "reason"),
        ({"action": "snooze"}, 422, "minutes"),
        ({"action": "snooze", "minutes": 15, "until_session_end": True}, 422, "until_session_end"),
        ({"action": "snooze", "minutes": 31}, 422, "minutes"),
        ({"action": "snooze", "minutes": True}, 422, "minutes"),
        ({"action": "snooze", "minutes": -1}, 422, "minutes"),
        ({"action": "snooze", "minutes": 1e300}, 422, "minutes"),
        ({"action": "snooze", "until": "2026-11-23T08:10:00"}, 422, "until"),
        ({"action": "snooze", "until": "2026-11-23T07:50:00Z"}, 422, "until"),
        ({"action": "snooze", "until": 7}, 422, "until"),
        ({"action": "snooze", "until_session_end": True}, 422, "until_session_end"),  # in 210 min, and it is high
    ],
)
def test_what_is_refused_names_the_field(unit: Unit, body: Any, status: int, field: str | None) -> None:
    with pytest.raises(AnswerRefusedError) as refused:
        ask(unit, body)
    assert (refused.value.status, refused.value.field) == (status, field)
    assert str(refused.value).endswith(".")


def test_an_alert_that_is_over_takes_no_answer(unit: Unit) -> None:
    with pytest.raises(AnswerRefusedError) as refused:
        ask(unit, {"action": "acknowledge"}, "over")
    assert refused.value.status == 409


def test_snoozes(unit: Unit) -> None:
    assert ask(unit, {"action": "snooze", "minutes": 30}).until == NOW + timedelta(minutes=30)
    assert ask(unit, {"action": "snooze", "until": "2026-11-23T09:10:00+01:00"}).until == NOW + timedelta(minutes=10)
    end = ask(unit, {"action": "snooze", "until_session_end": True}, "low").until
    assert end == NOW + timedelta(minutes=210)
    unit.board.take("sessions.active", b"s1", None)
    with pytest.raises(AnswerRefusedError):
        ask(unit, {"action": "snooze", "until_session_end": True}, "low")


def test_the_page_is_told_the_longest_snooze(unit: Unit) -> None:
    for name, most in (("a", 30), ("low", 720)):
        full = unit.board.alert(name)
        assert full is not None
        assert full["snooze_most_minutes"] == most


def test_the_message_is_one_that_the_worker_reads(unit: Unit) -> None:
    answer = ask(unit, {"action": "snooze", "minutes": 15, "reason": "at the\nchair"})
    message = answer.message(unit.board.picture.alerts["a"].alert)
    assert (message.topic, message.key) == ("clinical-events", b"p1")
    value = json.loads(message.value)
    assert value.pop("event_id").startswith("board-")
    assert value == {
        "type": "alert_response", "source": "board", "patient_id": "p1", "at": "2026-11-23T08:00:00Z", "alert_id": "a",
        "by": "anna", "action": "snooze", "until": "2026-11-23T08:15:00Z", "reason": "at the chair",
    }  # fmt: skip


def test_an_answer_to_a_unit_alert_goes_to_its_loop(unit: Unit) -> None:
    unit.alert("loop", patient_id=None, family="unit", rule="aluminum_cluster", unit_id=None)
    message = ask(unit, {"action": "acknowledge"}, "loop").message(unit.board.picture.alerts["loop"].alert)
    assert (message.topic, message.key) == ("unit-signals", b"U1-A")
    value = json.loads(message.value)
    assert value["water_loop_id"] == "U1-A"
    assert "patient_id" not in value


def state(unit: Unit) -> str | None:
    alert = next(alert for alert in unit.tile()["alerts"] if alert["alert_id"] == "a")
    return str(alert["answer"]["state"]) if alert["answer"] else None


def test_sent_then_done_when_the_transition_comes_back(unit: Unit) -> None:
    assert state(unit) is None
    told = unit.board.sent(ask(unit, {"action": "acknowledge"}))
    assert told == {"action": "acknowledge", "state": "sent", "by": "anna", "at": NOW.isoformat()}
    unit.alert("a", 2, transition="updated", reason="evidence_changed")
    assert state(unit) == "sent"
    unit.alert("a", 3, status="acknowledged", transition="acknowledged", reason="acknowledged")
    assert state(unit) == "done"
    unit.alert("a", 4, status="active", transition="escalated", reason="severity_changed")
    assert state(unit) is None


def test_late_after_five_seconds_which_is_an_event_of_its_own(unit: Unit) -> None:
    unit.board.sent(ask(unit, {"action": "acknowledge"}))
    unit.board.flush()
    unit.later(4.9)
    before = unit.board.feed.event_id
    unit.board.flush()
    assert unit.board.feed.after(before) == []
    unit.later(0.2)
    unit.board.flush()
    ((_, data),) = unit.board.feed.after(before) or []
    assert json.loads(data)["alerts"][0]["answer"]["state"] == "late"
    unit.alert("a", 2, status="acknowledged", transition="acknowledged", reason="acknowledged")
    assert state(unit) == "done"


def test_what_kafka_did_not_take_is_forgotten(unit: Unit) -> None:
    answer = ask(unit, {"action": "acknowledge"})
    unit.board.sent(answer)
    unit.board.failed(answer)
    assert state(unit) is None

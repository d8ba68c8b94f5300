"""What the changelog or a topic refuses, or the engine cannot handle, costs that subject alone; others are alerted."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from tests.unit.fake_port import PREFIX, FakeKafka, Host
from tests.unit.task_events import P1, P2, P3


def heavy(kafka: FakeKafka, count: int = 60) -> None:
    """A patient with a severe result, and many alarms of machines, which have alerts of their own."""
    kafka.lab(P1, 1, 0.5)
    for number in range(count):
        alarm: dict[str, Any] = {
            "session_id": "s",
            "machine_id": "m",
            "code": f"c{number}",
            "phase": "start",
            "text": "x" * 200,
        }
        kafka.event("machine-events", P1, "machine_alarm", 2 + number / 100, **alarm)


def alerts_of(kafka: FakeKafka, patient: str) -> list[dict[str, Any]]:
    record = json.loads(kafka.changelog[patient.encode()])
    return [a for a in record.get("alerts", {}).values() if "over_at" not in a]


async def test_a_record_that_is_refused_keeps_its_open_alerts(
    kafka: FakeKafka, caplog: pytest.LogCaptureFixture
) -> None:
    heavy(kafka, 200)
    kafka.largest_record = 20_000
    host = await Host(kafka).settle()
    kafka.lab(P2, 10, 0.5)
    await host.settle()
    assert kafka.told(patient_id=P1, rule="low_magnesium")[0] == "raised"
    assert kafka.told(patient_id=P2, rule="low_magnesium")[0] == "raised"
    assert "low_magnesium" in {alert["rule"] for alert in alerts_of(kafka, P1)}
    assert len(kafka.changelog[P1.encode()]) <= 20_000
    assert host.metric("dialysis_records_refused_total", how="reduced") >= 1
    # The alarms, which machines tell themselves, cost the patient no other alert.
    assert kafka.told(patient_id=P1, rule="machine_alarm")[0] == "raised"
    assert host.metric("dialysis_records_refused_total", how="no_alarms") >= 1
    assert not host.metric("dialysis_records_refused_total", how="anew")
    # It is said of that patient, and no log names them.
    assert kafka.told(patient_id=P1, rule="data_quality", family="data-quality")[0] == "raised"
    assert P1 not in " ".join(r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)
    # Everything is acknowledged, and whoever comes next has it.
    assert kafka.committed[PREFIX + "machine-events"] == 200
    again = await Host(kafka).settle()
    kafka.lab(P3, 20, 0.5)
    await again.settle()
    assert kafka.told(patient_id=P3, rule="low_magnesium")[0] == "raised"


async def test_a_record_that_cannot_be_made_to_fit_is_set_aside_and_the_patient_is_watched_again(
    kafka: FakeKafka,
) -> None:
    kafka.lab(P1, 1, 0.5)
    host = await Host(kafka).settle()
    record = kafka.changelog[P1.encode()]
    # Below the record of one open alert, above that of a clock, a subject that begins anew, and one without an alert.
    kafka.largest_record = 1000
    kafka.lab(P1, 2, 0.6)
    kafka.lab(P2, 3, 2.0)
    await host.settle()
    letters = [m for m in kafka.topic("dead-letters") if dict(m.headers)["dl_reason"] == b"state_too_large"]
    assert [letter.key for letter in letters] == [P1.encode()]
    assert len(letters[0].value or b"") > 1000
    assert json.loads(letters[0].value or b"")["id"] == json.loads(record)["id"]
    assert kafka.committed[PREFIX + "lab-results"] == 3
    assert len(kafka.changelog[P1.encode()]) <= 1000
    assert host.metric("dialysis_subjects_set_aside", table="patients", partition="0") == 1
    # The way back: what comes next is filed and evaluated as for anybody.
    kafka.largest_record = None
    again = await Host(kafka).settle()
    before = len(kafka.told(patient_id=P1, rule="low_magnesium"))
    kafka.lab(P1, 30, 0.4)
    await again.settle()
    assert kafka.told(patient_id=P1, rule="low_magnesium")[before:] == ["raised"]
    assert "low_magnesium" in {alert["rule"] for alert in alerts_of(kafka, P1)}


async def test_a_changelog_that_refuses_everything_of_a_subject_keeps_its_previous_version(kafka: FakeKafka) -> None:
    kafka.lab(P1, 1, 0.5)
    host = await Host(kafka).settle()
    before = kafka.changelog[P1.encode()]
    kafka.largest_record = 60
    kafka.lab(P1, 2, 0.6)
    await host.settle()
    assert kafka.changelog[P1.encode()] == before
    assert kafka.committed[PREFIX + "lab-results"] == 2


async def test_the_bytes_are_in_the_dead_letters_before_they_are_overwritten(kafka: FakeKafka) -> None:
    kafka.lab(P1, 1, 0.5)
    host = await Host(kafka).settle()
    kafka.largest_record = 600
    kafka.lab(P1, 2, 0.6)
    await host.settle()
    letter = next(n for n, call in enumerate(kafka.calls) if call[0] == "send" and "dead-letters" in call[1])
    assert any(call[0] == "write" and P1.encode() in call[1] for call in kafka.calls[letter:])


async def test_a_record_that_cannot_be_encoded_costs_nobody_else_anything(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = await Host(kafka).start()
    encode = host.kind.codec.encode

    def breaks(state: Any) -> bytes:
        if state.id == P1 and state.labs:
            raise TypeError
        return encode(state)

    monkeypatch.setattr(host.kind.codec, "encode", breaks)
    kafka.lab(P1, 1, 0.5)
    kafka.lab(P2, 2, 0.5)
    await host.settle()
    assert kafka.told(patient_id=P2, rule="low_magnesium")[0] == "raised"
    # What it had to say was said.
    assert kafka.told(patient_id=P1, rule="low_magnesium") == ["raised"]
    assert kafka.committed[PREFIX + "lab-results"] == 2
    assert P1.encode() in kafka.changelog


async def test_a_message_that_its_topic_refuses_becomes_a_dead_letter(kafka: FakeKafka) -> None:
    kafka.largest_message = 100
    kafka.lab(P1, 1, 0.5)
    host = await Host(kafka).settle()
    letters = kafka.topic("dead-letters")
    assert {dict(m.headers)["dl_reason"] for m in letters} == {b"message_too_large"}
    assert {dict(m.headers)["dl_topic"] for m in letters} >= {PREFIX.encode() + b"alerts.low-magnesium"}
    assert kafka.committed[PREFIX + "lab-results"] == 1
    # Nor does it stop whoever takes over, and says the last words again.
    host = await Host(kafka).settle()
    kafka.largest_message = None
    kafka.lab(P2, 2, 0.5)
    await host.settle()
    assert kafka.told(patient_id=P2, rule="low_magnesium") == ["raised"]


async def test_a_deadline_that_raises_stops_nobody_elses(kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    host = await Host(kafka).start()
    for patient in (P1, P2):
        kafka.lab(patient, 1, 0.5)
    await host.settle()
    await host.idle(2)
    evaluator = host.task.subjects._evaluator
    evaluate = evaluator.evaluate

    def breaks(state: Any, *args: Any) -> Any:
        if state.id == P1:
            raise OverflowError
        return evaluate(state, *args)

    monkeypatch.setattr(evaluator, "evaluate", breaks)
    await host.idle(400)
    assert "escalated" in kafka.told(patient_id=P2, rule="low_magnesium")
    monkeypatch.undo()

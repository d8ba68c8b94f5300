"""Answers of people: an acknowledgement taken back, and alert ids in capitals."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from models.alerts import AlertRecord
from streams.engine.replay import Replay
from streams.rules.catalogue import default_settings
from tests.unit.fake_port import FakeKafka, Host
from tests.unit.task_events import P1, P2, answer, low_magnesium
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


UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("merged", "alert", "shown"),
    [
        pytest.param(False, UNKNOWN, UNKNOWN, id="no such alert"),
        pytest.param(False, "Ann Other, chair 4", "by an id that is no UUID", id="a name typed into the field"),
        pytest.param(True, low_magnesium(P1, "r0"), low_magnesium(P1, "r0"), id="of a record that was given up"),
    ],
)
async def test_an_answer_that_fits_no_alert_is_counted_and_logged(
    kafka: FakeKafka, caplog: pytest.LogCaptureFixture, merged: bool, alert: str, shown: str
) -> None:
    kafka.lab(P1, 0, 1.5)
    if merged:
        kafka.event("clinical-events", P1, "record_given_up", 1, into=P2)
    answer(kafka, low_magnesium(P1, "r0"), 2, "acknowledge")
    answer(kafka, alert, 3, "acknowledge")
    host = await Host(kafka).start()
    await host.settle()
    counted = host.metrics.registry.get_sample_value("dialysis_unmatched_responses_total")
    assert counted == (2 if merged else 1)
    (line, *_) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING][-1:]
    assert line == f"t.clinical-events: an answer (acknowledge) fits no alert of its patient or loop: {shown}"
    assert P1 not in line.split(": ", 1)[1]


async def test_an_answer_by_the_id_of_another_result_of_the_alert_fits(kafka: FakeKafka) -> None:
    """In another order of arrival the alert would have been named after that one."""
    kafka.lab(P1, 0, 1.5)
    kafka.lab(P1, 1, 1.4)
    answer(kafka, low_magnesium(P1, "r1"), 2, "acknowledge")
    host = await Host(kafka).start()
    await host.settle()
    assert not host.metrics.registry.get_sample_value("dialysis_unmatched_responses_total")

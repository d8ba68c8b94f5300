"""The field's files on a real Kafka, a second worker joining half way: what is right comes out all the same.

All files run at once, each with patients of its own, moved in time so that their last lines arrive now.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import pytest

from models.parsing import Parsed
from models.topics import CLINICAL_EVENTS, LAB_RESULTS, MACHINE_EVENTS
from streams.engine.replay import Line, Replay
from tests.integration.alert_records import matching, repeats_are_identical
from tests.integration.messages import Message
from tests.integration.unit_under_test import SILENT, UnitUnderTest
from tests.unit.test_field import FILES, ROWS, SETTINGS, Row, lines
from tests.unit.timeline import to_line

#: As `SETTINGS`.
_RULES: Final = f"{SILENT}[symptom_workup_incomplete]\nenabled = false\n[recurrent_cramps]\nenabled = false\n"
_TOPICS: Final = {
    "lab_result": LAB_RESULTS,
    "telemetry": MACHINE_EVENTS,
    "session_started": MACHINE_EVENTS,
    "session_ended": MACHINE_EVENTS,
    "machine_alarm": MACHINE_EVENTS,
}
#: Records of one timestamp are handled in this order of their topics.
_ORDER: Final = (LAB_RESULTS, MACHINE_EVENTS, CLINICAL_EVENTS)
_TIMES: Final = ("at", "reported_at", "ended_at", "until", "planned_start")
_OPEN: Final = ("active", "acknowledged", "snoozed")
#: An alert as both sides tell it: rule, patient, status, priority, summary.
Told = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Sent:
    """A line of a file as it is published: `arrival` is the timestamp of its record."""

    arrival: datetime
    body: dict[str, Any]

    @property
    def topic(self) -> str:
        return _TOPICS.get(self.body["type"], CLINICAL_EVENTS)

    @property
    def line(self) -> Line:
        return to_line(self.body | {"received_at": self.arrival.isoformat()})

    @property
    def message(self) -> Message:
        stamp = round(self.arrival.timestamp() * 1000)
        return Message(self.topic, self.body["patient_id"].encode(), json.dumps(self.body).encode(), stamp=stamp)


def prefix(row: Row) -> str:
    """What the patients of a row are called, before their name in the file."""
    return f"f{ROWS.index(row):02d}-"


def moved(row: Row, until: datetime) -> list[Sent]:
    """The lines of a row for patients of its own, the last of which arrives `until`."""
    given = lines(row)
    by = until - max(line.received_at for line in given if line.received_at)
    as_given, as_moved = Replay(SETTINGS), Replay(SETTINGS)
    told_given: list[Any] = []
    told_moved: list[Any] = []
    found: list[Sent] = []
    for number, text in enumerate((FILES / f"{row.name}.jsonl").read_text(encoding="utf-8").splitlines()):
        body = json.loads(text) | {name: value for place, name, value in row.add if place == number}
        body.pop("received_at", None)
        body["patient_id"] = prefix(row) + body["patient_id"]
        if body.get("chair"):  # all rows are played at one time: each in a room of its own
            body["chair"] = prefix(row) + body["chair"]
        body |= {name: _later(body[name], by) for name in _TIMES if body.get(name)}
        if "alert_id" in body:
            body["alert_id"] = _as_moved(body["alert_id"], told_given, told_moved)
        line = given[number]
        assert line.received_at is not None
        found.append(Sent(line.received_at + by, body))
        told_given += as_given.take(line)
        told_moved += as_moved.take(found[-1].line)
    return found


def _later(moment: str, by: timedelta) -> str:
    return (datetime.fromisoformat(moment) + by).isoformat()


def _as_moved(name: str, given: list[Any], moved_: list[Any]) -> str:
    """The id, of the patient that a row has here, of the alert that an answer in its file names."""
    ids = {one.alert_id: other.alert_id for one, other in zip(given, moved_, strict=True)}
    found: str = ids.get(name.lower(), name)
    return found.upper() if name.isupper() else found


def in_order(sent: Iterable[Sent]) -> list[Sent]:
    return sorted(sent, key=lambda one: (one.arrival, _ORDER.index(one.topic)))


def open_of(told: Iterable[dict[str, Any]], row: Row) -> set[Told]:
    """What is open of a row's patients, by the newest transition of each alert."""
    newest: dict[str, dict[str, Any]] = {}
    for alert in sorted(told, key=lambda alert: alert["revision"]):
        newest[alert["alert_id"]] = alert
    return {
        (a["rule"], a["patient_id"], a["status"], a["priority"], a["summary"])
        for a in newest.values()
        if (a["patient_id"] or "").startswith(prefix(row)) and a["status"] in _OPEN
    }


@pytest.fixture(scope="module")
async def told(bootstrap: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the engine tells of all files, and what two workers told on a real Kafka."""
    until = datetime.now(UTC).replace(microsecond=0)
    sent = in_order(one for row in ROWS for one in moved(row, until))
    replay = Replay(SETTINGS)
    wanted = [msgspec.to_builtins(alert) for one in sent for alert in replay.take(one.line)]
    half = len(sent) // 2
    async with UnitUnderTest(bootstrap, partitions=4, own_time=True, rules=_RULES) as unit:
        await unit.start_worker()
        await unit.publish(one.message for one in sent[:half])
        second = unit.worker()
        await unit.publish(one.message for one in sent[half : half + half // 2])
        await second.until_ready()
        await unit.publish(one.message for one in sent[half + half // 2 :])
        await unit.until_done()
        records = await unit.alerts()
        repeats_are_identical(records)
        found = matching(records)
        await unit.remove()
    return wanted, found


@pytest.mark.timeout(180)
@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_two_workers_tell_what_is_right(
    row: Row, told: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    """What was told on the way may differ where topics were read in another order (docs/contract.md, Time)."""
    wanted, found = told
    is_open = open_of(found, row)
    assert is_open == open_of(wanted, row)
    assert sorted((rule, status, priority) for rule, _, status, priority, _ in is_open) == sorted(
        (rule, status, priority) for rule, _, status, priority in row.open
    )


def test_every_line_of_a_file_is_read() -> None:
    assert all(isinstance(one.line, Parsed) for row in ROWS for one in moved(row, datetime.now(UTC)))

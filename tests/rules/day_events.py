"""One worked day of a unit: `python -m tests.rules.worked_day` writes it from `docs/worked-day.txt`.

That file has the story of each patient in the language of the tables. Written are the events, as lines that
`dialysis-alerts replay` plays (`docs/worked-day.jsonl`), and what they raise, for people (`docs/worked-day.md`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from models.alerts import AlertRecord
from streams.engine.replay import Replay
from streams.engine.sender_clocks import latest_time
from streams.rules.catalogue import parse_settings
from tests.events import event
from tests.rules.expected import split_time
from tests.rules.table import Case, Runner
from tests.unit.timeline import Unit, moment, to_line

DOCS: Final = Path(__file__).parents[2] / "docs"
SOURCE: Final = DOCS / "worked-day.txt"
EVENTS: Final = DOCS / "worked-day.jsonl"
#: In which the times of the source and of the documents are given.
ZONE: Final = ZoneInfo("Europe/Berlin")
#: The settings that a unit has when it sets none.
_SHIPPED: Final = parse_settings({})
_HEAD: Final = re.compile(r"== (\S+) (.+)")
_IDS: Final = ("session_id", "result_id", "replaces", "symptom_id", "order_id")
_TIMES: Final = ("at", "reported_at", "received_at", "ended_at", "due_at", "planned_start", "until")


@dataclass
class Entry:
    """An event of the day, or a moment at which time alone changed an alert, and what was told then."""

    patient: str
    at: datetime
    event: dict[str, Any] | None = None
    prose: str = ""
    told: list[AlertRecord] = field(default_factory=list)


@dataclass(frozen=True)
class Day:
    """The entries in order of arrival, and the title of each patient's story."""

    titles: dict[str, str]
    entries: list[Entry]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events, in order of arrival."""
        return [entry.event for entry in self.entries if entry.event is not None]

    @property
    def told(self) -> list[AlertRecord]:
        """Every alert message of the day, in order."""
        return [alert for entry in self.entries for alert in entry.told]

    def of(self, patient: str) -> list[Entry]:
        """The entries of one patient."""
        return [entry for entry in self.entries if entry.patient == patient]


class _Chart(Unit):
    """Writes events down and evaluates none: they are played when those of all patients are in order."""

    def _take(self, told: Iterator[AlertRecord]) -> None:
        del told


def read(text: str) -> Day:
    """Play a day."""
    titles: dict[str, str] = {}
    entries: list[Entry] = []
    prose: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            continue
        if line.startswith(">"):
            prose.append(line[1:].strip())
            continue
        if (head := _HEAD.fullmatch(line)) is not None:
            patient, titles[head[1]] = head[1], head[2]
            runner = Runner(Case("", patient, (), ()))
            runner.unit = _Chart()
            continue
        found = list(_entries(runner, patient, line))
        found[0].prose, prose = " ".join(prose), []
        entries += found
    return Day(titles, list(_played(sorted(entries, key=lambda entry: entry.at))))


def _entries(runner: Runner, patient: str, line: str) -> Iterator[Entry]:
    """The events of a line, each at its arrival. An answer has no alert yet: nothing was told so far."""
    when, (kind, *words) = split_time(line)
    if kind == "answer":
        at = moment(when).replace(tzinfo=ZONE)
        fields: dict[str, Any] = dict(word.split("=", 1) for word in words[1:])
        if "until" in fields:
            fields["until"] = moment(fields["until"]).replace(tzinfo=ZONE).isoformat()
        answer = event("alert_response", patient, at, action=words[0], **fields)
        yield Entry(patient, at, answer)
        return
    known = len(runner.unit.sent)
    runner.play(line)
    for sent in runner.unit.sent[known:]:
        made = _of_the_unit(sent, patient)
        parsed = to_line(made)
        yield Entry(patient, parsed.received_at or latest_time(parsed.record), made)


def _of_the_unit(sent: dict[str, Any], patient: str) -> dict[str, Any]:
    """An event with times of the unit's zone, and with ids that no other patient has."""
    made = {**sent, "patient_id": patient}
    for name in _TIMES:
        if name in made:
            made[name] = datetime.fromisoformat(made[name]).replace(tzinfo=ZONE).isoformat()
    return made | {name: f"{patient}-{made[name]}" for name in _IDS if name in made}


def _played(entries: list[Entry]) -> Iterator[Entry]:
    """The entries with what is told at each, and the moments between them at which time alone tells something."""
    replay = Replay(_SHIPPED)
    told: list[AlertRecord] = []
    for entry in entries:
        for alert in replay.advance(entry.at):
            told.append(alert)
            yield Entry(alert.patient_id or "", alert.at, told=[alert])
        assert entry.event is not None
        if entry.event["type"] == "alert_response":
            entry.event = _answer(entry.event, told)
        entry.told = list(replay.take(to_line(entry.event)))
        told += entry.told
        yield entry


def _answer(answer: dict[str, Any], told: list[AlertRecord]) -> dict[str, Any]:
    """An answer with the id of the last alert that its rule told of the patient."""
    known = [alert for alert in told if (alert.rule, alert.patient_id) == (answer["rule"], answer["patient_id"])]
    assert known, f"{answer['patient_id']} {answer['at']}: no alert of {answer['rule']} to answer"
    made = {name: value for name, value in answer.items() if name != "rule"}
    if "reason" in made:
        made["reason"] = made["reason"].replace("_", " ")
    return {**made, "alert_id": known[-1].alert_id}


def day() -> Day:
    """Return the day of `docs/worked-day.txt`."""
    return read(SOURCE.read_text(encoding="utf-8"))


def events_document(of: Day) -> str:
    """Return the text of `docs/worked-day.jsonl`."""
    return "".join(msgspec.json.encode(each).decode() + "\n" for each in of.events)

"""What the field does: small inputs after public reports of what real senders, devices and people send.

Each file of `tests/data/field` is a row: what must be open when its last line has arrived, and what was told on the
way. The same must come out in every order of arrival, over a restart between any two lines, and for lines sent twice.
`tests/integration/test_field.py` sends the same files through a real Kafka.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.alerts import AlertRecord
from models.parsing import Parsed
from streams.engine.replay import Line, Replay, parse_line
from streams.engine.sender_clocks import latest_time
from streams.rules.catalogue import parse_settings
from tests.unit.timeline import SILENT, open_alerts, restarted

FILES = Path(__file__).parents[1] / "data" / "field"
#: Without the rules that ask for a panel after each cramp and count cramps: the files are about other things.
SETTINGS = parse_settings(
    {**SILENT, "symptom_workup_incomplete": {"enabled": False}, "recurrent_cramps": {"enabled": False}}
)
#: At most so many orders of one file: five lines have 120.
ORDERS = 120


@dataclass(frozen=True)
class Row:
    """A file and what is right.

    Attributes:
        open: rule, subject and key, status and priority of every alert that is open at the end.
        told: rule and transition of everything that was told, in the order of the file; None for as many as `open`.
        summary: what the last message of the first rule in `open` says.
        add: fields that are added to lines, by their number.
    """

    name: str
    open: tuple[tuple[str, str, str, str], ...]
    told: tuple[tuple[str, str], ...] | None = None
    summary: str | None = None
    add: tuple[tuple[int, str, Any], ...] = ()

    def __str__(self) -> str:
        return self.name + ("+" if self.add else "")


MG, CRAMP, QUALITY = "low_magnesium", "intradialytic_cramp", "data_quality"
MEDIUM_MG = (MG, "p1/magnesium", "active", "medium")
HIGH_MG = (MG, "p1/magnesium", "active", "high")
ROWS = (
    Row("panel-under-one-id", (HIGH_MG,)),
    Row("correction-under-a-new-id", (), told=(), add=((0, "replaces", "r1"),)),
    # Without `replaces` nothing says that the two are one: both stand, and the later report decides.
    Row("correction-under-a-new-id", (MEDIUM_MG,)),
    Row("correction-with-earlier-collection", (HIGH_MG,)),
    Row("error-with-earlier-collection", (), told=((MG, "raised"), (MG, "withdrawn"))),
    Row(
        "versions-laboratory-ahead",
        (HIGH_MG, (QUALITY, "p1/clock:the sender of LabResult", "active", "low")),
        told=((QUALITY, "raised"), (MG, "raised"), (MG, "withdrawn"), (MG, "raised")),
    ),
    Row("reported-later-no-arrival", (MEDIUM_MG,)),
    Row(
        "value-float32-at-the-bound",
        ((MG, "p3/magnesium", "active", "medium"),),
        summary="Magnesium 0.41 mmol/L, low (below 0.7 mmol/L)",
    ),
    Row(
        "nulls-and-odd-details",
        (*((MG, f"p{n}/magnesium", "active", "high") for n in (1, 2, 3, 4)), (CRAMP, "p5/A", "active", "medium")),
        told=((MG, "raised"),) * 4 + ((CRAMP, "raised"),) + ((CRAMP, "updated"),) * 3,
    ),
    Row(
        "session-id-restarted",
        ((CRAMP, "p1/T-77", "active", "medium"), (QUALITY, "p1/session:T-77", "active", "low")),
    ),
    Row("session-id-reused-later", ((CRAMP, "p1/m4-1", "active", "medium"),)),
    Row(
        "session-goes-on-after-its-end",
        ((CRAMP, "p1/T-77", "active", "medium"), (QUALITY, "p1/session:T-77", "active", "low")),
    ),
    Row("session-moved-to-another-machine", ((CRAMP, "p1/T-77", "active", "medium"),)),
    Row("session-overlapped-by-a-mistake", ((CRAMP, "p1/A", "active", "medium"),)),
    Row("session-machine-minutes-ahead", ((CRAMP, "p1/A", "active", "medium"),)),
    Row("session-machine-minutes-behind", ((CRAMP, "p1/A", "active", "medium"),)),
    Row(
        "symptoms-device-an-hour-behind",
        ((CRAMP, "p1/A", "active", "medium"), (QUALITY, "p1/behind:the sender of Symptom", "active", "low")),
        summary="Muscle cramp during dialysis, score 9 of 10, charted 60 min late",
    ),
    Row(
        "symptom-ends-before-it-began",
        ((CRAMP, "p1/A", "active", "medium"), (QUALITY, "p1/symptom:s1|2026-11-23", "active", "low")),
    ),
    Row(
        "symptom-id-reused",
        ((CRAMP, "p1/B", "active", "medium"),),
        told=((CRAMP, "raised"), (CRAMP, "resolved"), (CRAMP, "raised")),
    ),
    Row(
        "answer-device-ahead-acknowledge",
        (HIGH_MG, ("seizure", "p1/seizure", "active", "medium")),
        told=((MG, "raised"), (MG, "acknowledged"), (MG, "escalated"), ("seizure", "raised")),
    ),
    Row("answer-device-ahead-resolve", (HIGH_MG,), told=((MG, "raised"), (MG, "resolved"), (MG, "raised"))),
    Row(
        "answer-id-in-capitals",
        ((MG, "p1/magnesium", "acknowledged", "high"),),
        told=((MG, "raised"), (MG, "acknowledged")),
    ),
    Row(
        "escape-sequences",
        (
            (CRAMP, "p3/x", "active", "medium"),
            (QUALITY, "p1/lab_result:an unknown code", "active", "low"),
            (QUALITY, r"p2/clock:\u001b[2J\u001b[31mALL CLEAR\u000asecond line\u202e", "active", "low"),
        ),
    ),
    Row("answer-then-correction", (HIGH_MG,), told=((MG, "raised"), (MG, "resolved"), (MG, "raised"))),
    Row("answer-then-final", (HIGH_MG,), told=((MG, "raised"), (MG, "resolved"), (MG, "raised"))),
    Row(
        "answer-then-aluminium-corrected",
        (("aluminum_level", "p1/level", "active", "high"),),
        told=(("aluminum_level", "raised"), ("aluminum_level", "resolved"), ("aluminum_level", "raised")),
    ),
    Row("two-tubes-one-time-a", (HIGH_MG,)),
    Row("two-tubes-one-time-b", (HIGH_MG,)),
    Row("ordinary-panel", ()),
)


def lines(row: Row) -> list[Line]:
    """The events of a file, each with the arrival that it has in the order of the file."""
    found: list[Line] = []
    clock: datetime | None = None
    for number, text in enumerate((FILES / f"{row.name}.jsonl").read_text(encoding="utf-8").splitlines()):
        fields = json.loads(text) | {name: value for place, name, value in row.add if place == number}
        parsed = parse_line(json.dumps(fields).encode())
        assert isinstance(parsed, Parsed), parsed
        arrival = parsed.received_at or latest_time(parsed.record)
        clock = max(clock or arrival, arrival)
        found.append(msgspec.structs.replace(parsed, received_at=arrival))
    return found


def run(order: Iterable[Line], *, restarts: bool = False) -> tuple[Replay, list[AlertRecord]]:
    """Take events in an order, and nothing after them."""
    replay, told = Replay(SETTINGS), list[AlertRecord]()
    for line in order:
        told += replay.take(line)
        if restarts:
            replay = restarted(replay, SETTINGS)
    return replay, told


def test_every_file_has_its_row() -> None:
    assert {row.name for row in ROWS} == {path.stem for path in FILES.glob("*.jsonl")}


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_is_right_is_open_and_was_told(row: Row) -> None:
    replay, told = run(lines(row))
    assert open_alerts(replay) == set(row.open)
    transitions = tuple((alert.rule, str(alert.transition)) for alert in told)
    if row.told is None:
        assert sorted(transitions) == sorted((rule, "raised") for rule, *_ in row.open)
    else:
        assert transitions == row.told
    if row.summary is not None:
        assert [alert.summary for alert in told if alert.rule == row.open[0][0]][-1] == row.summary
    assert all(alert.summary.isprintable() and (alert.chair or "").isprintable() for alert in told)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_no_order_of_arrival_changes_what_is_open(row: Row) -> None:
    """Each line keeps its own arrival, as a record keeps its timestamp, and may be read at any place."""
    given = lines(row)
    orders: Iterable[tuple[Line, ...]] = itertools.permutations(given)
    if len(given) > 5:
        chance = random.Random(row.name)
        orders = (tuple(chance.sample(given, len(given))) for _ in range(ORDERS))
    for order in orders:
        assert open_alerts(run(order)[0]) == set(row.open), [line.record for line in order]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_restart_between_any_two_lines_changes_nothing(row: Row) -> None:
    plain, over_restarts = run(lines(row)), run(lines(row), restarts=True)
    assert over_restarts[1] == plain[1]
    assert open_alerts(over_restarts[0]) == set(row.open)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_line_twice_tells_nothing_more(row: Row) -> None:
    given = lines(row)
    once = run(given)[1]
    assert run(line for line in given for _ in range(2))[1] == once
    assert run(given + given)[1] == once

"""The worked day is what its source gives, and what the product itself says of it."""

from __future__ import annotations

import msgspec
import pytest

from models.alerts import Reason, Transition
from streams.commands.replay import run
from streams.engine.replay import Replay
from streams.exit_status import DONE
from streams.rules.catalogue import parse_settings
from tests.rules.day_events import EVENTS, Day, day, events_document, read
from tests.rules.worked_day import PATH, SAID, WHY, document
from tests.unit.timeline import to_line

COMMAND = "run: python -m tests.rules.worked_day"


@pytest.fixture(scope="module")
def the_day() -> Day:
    return day()


def test_both_files_are_what_the_command_writes(the_day: Day) -> None:
    assert EVENTS.read_text(encoding="utf-8") == events_document(the_day), COMMAND
    assert PATH.read_text(encoding="utf-8") == document(the_day), COMMAND


def test_it_has_300_events_of_five_patients(the_day: Day) -> None:
    events = [msgspec.json.decode(line) for line in EVENTS.read_bytes().splitlines()]
    assert len(events) == 300
    assert {event["patient_id"] for event in events} == set(the_day.titles) == {"p1", "p2", "p3", "p4", "p5"}
    assert {alert.patient_id for alert in the_day.told} == set(the_day.titles)


def test_replay_prints_the_same_messages(the_day: Day, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    status = run(str(EVENTS), strict=True)
    printed = capsysbinary.readouterr()
    assert (status, printed.err) == (DONE, b"")
    assert printed.out.splitlines() == [msgspec.json.encode(alert) for alert in the_day.told]


def test_days_of_the_unit_and_days_of_utc_give_the_same(the_day: Day) -> None:
    """So that nobody needs a settings file to play the day whose times are told in the unit's zone."""
    replay = Replay(parse_settings({"site": {"time_zone": "Europe/Berlin"}}))
    told = [alert for event in the_day.events for alert in replay.take(to_line(event))]
    assert told == the_day.told


def test_every_reason_and_transition_has_words() -> None:
    assert (set(WHY), set(SAID)) == (set(Reason), set(Transition))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("08:00 answer acknowledge rule=low_magnesium by=nurse-1", "no alert of low_magnesium"),
        ("08:00 symptom hiccup", "unusable"),
    ],
)
def test_a_line_that_is_wrong_is_named(line: str, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        read(f"== p1 A test\n{line}")

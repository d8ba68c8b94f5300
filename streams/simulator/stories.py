"""The stories of `catalogue`: of each rule one patient for whom it raises an alert, and one for whom it nearly does.

`stories.jsonl` beside this module holds them. `python -m tests.rules.stories` makes it from the tables of cases, so the
scenario shows what the rules are tested for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from models.topics import topic_of
from streams.simulator.planned import Planted, TimedMessage

PATH: Final = Path(__file__).with_suffix(".jsonl")
#: The day on which every story begins, at midnight UTC.
FIRST_DAY: Final = datetime(2026, 11, 23, tzinfo=UTC)
#: Fields that hold a moment, and those that hold a day.
_MOMENTS: Final = ("at", "ended_at", "reported_at", "planned_start", "due_at", "until")
_DAYS: Final = ("first_dialysis_on",)
#: Fields that name something; each story has its own.
_NAMES: Final = ("patient_id", "session_id", "machine_id", "water_loop_id", "order_id", "merged_id")


class Told(msgspec.Struct, frozen=True):
    """One event of a story, and when it arrives."""

    received_at: datetime
    event: dict[str, Any]


class Story(msgspec.Struct, frozen=True):
    """What happens to a patient, and whether the rule raises an alert of it.

    Attributes:
        rule: the contract's name of the rule.
        name: the case of the table that tells it.
        raised_at: when the alert is raised; None for a near miss.
        told: the events, in the order of arrival.
    """

    rule: str
    name: str
    raised_at: datetime | None
    told: list[Told]


@cache
def stories() -> tuple[Story, ...]:
    """Read the stories."""
    return tuple(msgspec.json.decode(line, type=Story) for line in PATH.read_bytes().splitlines())


def play(story: Story, number: int, start: datetime) -> Iterator[TimedMessage]:
    """Tell a story from the first midnight (UTC) after a unit's start, with names of its own.

    Args:
        story: what happens.
        number: of the story; it becomes part of all names.
        start: the unit's start.
    """
    shift = _midnight_after(start) - FIRST_DAY
    for place, told in enumerate(story.told):
        event = dict(told.event)
        for name in _NAMES:
            if name in event:
                event[name] = f"story{number}-{event[name]}"
        for name in _MOMENTS:
            if name in event:
                event[name] = (datetime.fromisoformat(event[name]) + shift).isoformat()
        for name in _DAYS:
            if name in event:
                event[name] = (date.fromisoformat(event[name]) + shift).isoformat()
        key, planted = event["patient_id"], None
        if story.raised_at is not None and place == len(story.told) - 1:
            planted = Planted(story.rule, key, story.raised_at + shift)
        at = datetime.fromisoformat(event["at"])
        value = msgspec.json.encode(event)
        yield TimedMessage(told.received_at + shift, at, topic_of(event["type"]), key, value, planted)


def _midnight_after(start: datetime) -> datetime:
    day = start.astimezone(UTC).date() + timedelta(days=1)
    return datetime.combine(day, time(), UTC)

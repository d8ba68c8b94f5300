"""Writes the stories of the simulator's `catalogue` from the tables: `python -m tests.rules.stories`.

Of each rule the first case that raises an alert of it, and the first that raises none however long one waits. Left out
are cases with answers (an answer names an alert, and the patients of a story have other names) or with settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from streams.engine.sender_clocks import latest_time
from streams.rules.catalogue import PATIENT_RULES
from streams.simulator.stories import PATH, Story, Told
from tests.rules.table import Case, Runner, cases
from tests.unit.timeline import FIRST_DAY, to_line

#: Every deadline that a story sets has passed by then.
_LONG: Final = timedelta(days=40)


def document() -> bytes:
    """Return the text of `stories.jsonl`."""
    return b"".join(msgspec.json.encode(story) + b"\n" for story in _stories(cases()))


def _stories(every: list[Case]) -> Iterator[Story]:
    for rule in PATIENT_RULES:
        told = [_story(case) for case in every if case.rule == rule.name and _can_be_told(case)]
        for raises in (True, False):
            found = [story for story in told if (story.raised_at is not None) is raises]
            yield from sorted(found, key=_is_long)[:1]


def _is_long(story: Story) -> bool:
    """Whether a story goes on for longer than somebody watches a simulated unit."""
    return story.told[-1].received_at > FIRST_DAY + timedelta(days=2)


def _can_be_told(case: Case) -> bool:
    """Whether the case needs no answer, no settings and no time that is written out."""
    return not case.rules and not any(" answer " in line or "T" in line.split()[0] for line in case.events)


def _story(case: Case) -> Story:
    unit = Runner(case).run().unit
    told = sorted((Told(_arrival(event), event) for event in unit.sent), key=lambda one: one.received_at)
    unit.clock(told[-1].received_at + _LONG)
    raised = next((alert.at for alert in unit.watched), None)
    plain = [Told(one.received_at, {k: v for k, v in one.event.items() if k != "received_at"}) for one in told]
    return Story(case.rule, case.name, raised, plain)


def _arrival(event: dict[str, Any]) -> datetime:
    line = to_line(event)
    return line.received_at or latest_time(line.record)


if __name__ == "__main__":
    PATH.write_bytes(document())

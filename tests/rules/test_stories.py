"""The simulator's `catalogue`: of each rule a patient with its alert and one without, as the tables have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from models.parsing import Parsed
from streams.engine.replay import Replay, parse_line
from streams.rules.catalogue import PATIENT_RULES, default_settings
from streams.simulator.lines import json_line
from streams.simulator.planned import Planted, Scenario
from streams.simulator.stories import PATH, Story, play, stories
from streams.simulator.unit import unit_events
from tests.rules.stories import document

#: A summer's day: the stories were written for a winter's.
START = datetime(2027, 6, 30, 9, 17, tzinfo=UTC)


def test_the_stories_are_those_of_the_tables() -> None:
    assert PATH.read_bytes() == document(), "run: python -m tests.rules.stories"


def test_every_rule_has_both_stories() -> None:
    told = {(story.rule, story.raised_at is not None) for story in stories()}
    assert told == {(rule.name, raises) for rule in PATIENT_RULES for raises in (True, False)}


@pytest.mark.parametrize("story", stories(), ids=lambda story: f"{story.rule}: {story.name}")
def test_a_story_gives_its_alert_wherever_it_is_told(story: Story) -> None:
    replay, told, planted = Replay(default_settings()), [], []
    for message in play(story, 7, START):
        line = parse_line(json_line(message))
        assert isinstance(line, Parsed)
        told += list(replay.take(line))
        planted += [message.planted] if message.planted else []
    told += list(replay.advance(replay._patients.now + timedelta(days=40)))
    raised = [alert for alert in told if alert.rule == story.rule]
    assert bool(raised) is (story.raised_at is not None) is bool(planted)
    if planted:
        assert (raised[0].at, raised[0].patient_id) == (planted[0].at, planted[0].patient_id)


def test_the_unit_of_the_scenario_tells_them_all_in_order() -> None:
    until, found, before = START + timedelta(days=2), list[Planted](), START - timedelta(days=1)
    patients = set()
    for message in unit_events(1, START, 2, Scenario.CATALOGUE, 60, planted=found.append):
        if message.received_at > until:
            break
        assert message.received_at >= before
        before = message.received_at
        patients.add(message.key)
    assert {story.rule for story in stories()} >= {one.rule for one in found} > set()
    assert {f"story{number}-p1" for number, _ in enumerate(stories(), 1)} <= patients

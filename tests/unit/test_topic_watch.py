"""What a running worker says of topics that change under it."""

from __future__ import annotations

import logging

import pytest

from models.settings import Settings
from streams.transport import PartitionCountError, TopicMadeAnewError, TopicSet, TopicWatch
from streams.transport.api import TP
from streams.transport.ownership import Attached
from streams.worker.health import Health

WANTED = {"labs": 2, "log": 2, "alerts": None}
RIGHT = {"labs": 2, "log": 2, "alerts": 7}


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def watch(health: Health) -> TopicWatch:
    return TopicWatch(Settings(), WANTED, health.topics)


def reason(health: Health) -> str:
    (check,) = [check for check in health.ready() if check.name == "topics"]
    return "" if check.ok else check.why


def test_added_partitions_are_said_at_once_and_until_they_are_gone(
    watch: TopicWatch, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    watch.judge(RIGHT)
    assert (reason(health), caplog.text) == ("", "")
    for _ in range(3):
        watch.judge(RIGHT | {"labs": 4})
    assert reason(health) == "labs has 4 partitions, not 2"
    assert caplog.text.count("labs has 4 partitions, not 2") == 1
    watch.judge(RIGHT)
    assert reason(health) == ""


def test_a_deleted_topic_is_said_and_ends_the_worker_when_it_is_back(watch: TopicWatch, health: Health) -> None:
    without = {"log": 2, "alerts": 7}
    watch.judge(without)
    watch.judge(without)
    assert reason(health) == "labs does not exist"
    with pytest.raises(TopicMadeAnewError, match="labs was deleted and made anew"):
        watch.judge(RIGHT)


def test_a_topic_that_one_broker_does_not_know_for_a_moment_is_no_deleted_one(
    watch: TopicWatch, health: Health
) -> None:
    watch.judge({"log": 2, "alerts": 7})
    assert reason(health) == ""
    watch.judge(RIGHT)
    assert reason(health) == ""


def test_an_assignment_with_more_partitions_of_one_topic_is_told_in_a_sentence() -> None:
    attached = Attached(TopicSet("patients", ("labs",), 2), "log", None)  # type: ignore[arg-type]
    assigned = {TP("labs", 0), TP("labs", 1), TP("labs", 2), TP("log", 0), TP("log", 1)}
    with pytest.raises(PartitionCountError, match=r"patients .* \(labs: 3, log: 2\)"):
        attached.partitions_of(assigned)

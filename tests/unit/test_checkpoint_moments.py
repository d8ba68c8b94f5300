"""When a task stores what it changed: each partition at moments of its own."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from models.settings import Settings
from models.state import PatientState
from streams.worker import checkpoint
from streams.worker.checkpoint import REST_SHARE, Checkpoint

INTERVAL = 1.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(checkpoint, "time", made)
    return made


def made(partition: int) -> Checkpoint[PatientState]:
    owned = SimpleNamespace(partition=partition, settings=Settings(checkpoint_interval=INTERVAL))
    return Checkpoint(cast(Any, owned), cast(Any, None), cast(Any, None))


def due_at(one: Checkpoint[PatientState], clock: Clock) -> float:
    """When it is due in a steady stream, which is touched every millisecond."""
    while not one.is_due():
        clock.now = round(clock.now + 0.001, 3)
        one.acknowledge_later(lambda: None)
        one.has_handled()
    return clock.now


@pytest.mark.parametrize("owned", [range(8), range(0, 8, 2), range(3, 6), range(48)])
def test_partitions_that_begin_together_do_not_store_together(clock: Clock, owned: range) -> None:
    moments = []
    for partition in owned:
        clock.now = 1000.0
        one = made(partition)
        one.acknowledge_later(lambda: None)
        moments.append(due_at(one, clock) - 1000)
    assert all(0 < moment <= INTERVAL + 0.002 for moment in moments)
    moments.sort()
    gaps = [later - earlier for earlier, later in zip(moments, [*moments[1:], moments[0] + INTERVAL], strict=True)]
    assert min(gaps) > 0.3 * INTERVAL / len(owned)


def test_a_steady_stream_is_stored_once_an_interval(clock: Clock) -> None:
    one, moments = made(5), []
    for _ in range(5):
        one.acknowledge_later(lambda: None)
        moments.append(due_at(one, clock))
        one._since = None  # stored
        clock.now = round(clock.now + 0.001, 3)
    assert [round(later - earlier, 2) for earlier, later in pairwise(moments)] == [INTERVAL] * 4


def test_a_task_that_receives_nothing_more_does_not_wait_for_its_moment(clock: Clock) -> None:
    one = made(0)
    clock.now = 1000.01  # just after its moment
    one.acknowledge_later(lambda: None)
    assert not one.is_due()
    clock.now += INTERVAL * REST_SHARE
    assert one.is_due()

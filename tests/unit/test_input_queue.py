"""Which records come next: the oldest over all topics, and none past a topic that may still have older ones."""

from __future__ import annotations

import random
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from streams.transport.api import TP, Batch
from streams.worker.input_queue import Inbox

LABS, MACHINES, CLINICAL = (TP(name, 0) for name in ("labs", "machines", "clinical"))
TOPICS = (LABS, MACHINES, CLINICAL)


class Valve:
    """Says which ends are confirmed (at 100), and what is paused."""

    waiting_share = 1_000_000

    def __init__(self, *unconfirmed: TP) -> None:
        self.unconfirmed = set(unconfirmed)
        self.paused: set[TP] = set()

    def pause(self, tps: set[TP]) -> None:
        assert not tps & self.paused
        self.paused |= tps

    def resume(self, tps: set[TP]) -> None:
        assert tps <= self.paused
        self.paused -= tps

    def end_confirmed_at(self, tp: TP) -> float | None:
        return None if tp in self.unconfirmed else 100.0


def batch(tp: TP, *timestamps: int, first: int = 0) -> Batch:
    records: list[Any] = [
        ConsumerRecord(*tp, first + n, stamp, 0, b"k", b"v", None, 0, 0, ()) for n, stamp in enumerate(timestamps)
    ]
    return Batch(*tp, records, 1, lambda: None)


def taken(inbox: Inbox, since: float = 95.0) -> list[tuple[str, list[int], bool]]:
    """Everything that may be handled now: topic, timestamps and whether they finish their batch."""
    found = []
    while (next_ := inbox.next_slice(since)) is not None:
        of, records, finished = next_
        found.append((of.topic, [record.timestamp for record in records], finished))
    return found


def test_the_oldest_record_of_all_topics_comes_first() -> None:
    inbox = Inbox(TOPICS, 100, Valve())
    inbox.put(batch(LABS, 1, 5, 9))
    inbox.put(batch(MACHINES, 2, 3, 4, 10))
    inbox.put(batch(CLINICAL, 6))
    assert taken(inbox) == [
        ("labs", [1], False),
        ("machines", [2, 3, 4], False),
        ("labs", [5], False),
        ("clinical", [6], True),
        ("labs", [9], True),
        ("machines", [10], True),
    ]


def test_at_equal_timestamps_the_earlier_topic_goes_first_wherever_its_records_lie() -> None:
    inbox = Inbox(TOPICS, 100, Valve())
    inbox.put(batch(LABS, 5, 7))
    inbox.put(batch(MACHINES, 5, 6, 7, 8))
    inbox.put(batch(CLINICAL, 7))
    assert taken(inbox) == [
        ("labs", [5], False),
        ("machines", [5, 6], False),
        ("labs", [7], True),
        ("machines", [7], False),
        ("clinical", [7], True),
        ("machines", [8], True),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_order_does_not_depend_on_how_records_were_cut_into_batches(seed: int) -> None:
    """A restart delivers the same records in other batches: they must come in the same order."""
    chance = random.Random(seed)
    stamps = {tp: sorted(chance.randrange(20) for _ in range(chance.randrange(30))) for tp in TOPICS}

    def order(slice_max: int) -> list[tuple[int, int, int]]:
        inbox = Inbox(TOPICS, slice_max, Valve())
        for tp in TOPICS:
            left = list(enumerate(stamps[tp]))
            while left:
                size = chance.randrange(1, 6)
                inbox.put(batch(tp, *(stamp for _, stamp in left[:size]), first=left[0][0]))
                left = left[size:]
        found = []
        while (next_ := inbox.next_slice(95.0)) is not None:
            of, records, _ = next_
            found += [(record.timestamp, TOPICS.index(of.tp), record.offset) for record in records]
        return found

    expected = sorted((stamp, TOPICS.index(tp), n) for tp in TOPICS for n, stamp in enumerate(stamps[tp]))
    assert order(1) == order(7) == order(1000) == expected


def test_a_topic_that_may_have_older_records_is_waited_for() -> None:
    valve = Valve(CLINICAL)
    inbox = Inbox(TOPICS, 100, valve)
    inbox.put(batch(LABS, 1))
    inbox.put(batch(MACHINES, 2))
    assert taken(inbox) == []
    inbox.put(batch(CLINICAL, 2))
    assert taken(inbox) == [("labs", [1], True), ("machines", [2], True), ("clinical", [2], True)]
    inbox.put(batch(LABS, 3, first=1))
    assert taken(inbox) == []
    valve.unconfirmed.clear()
    assert taken(inbox) == [("labs", [3], True)]


def test_a_confirmation_counts_for_a_while_only() -> None:
    inbox = Inbox(TOPICS, 100, Valve())
    inbox.put(batch(LABS, 1))
    assert inbox.next_slice(100.1) is None
    assert not inbox.is_drained(100.0)
    assert inbox.next_slice(100.0) is not None
    assert inbox.is_drained(100.0)
    assert not inbox.is_drained(100.1)


def test_slices_are_bounded_and_finish_their_batch_once() -> None:
    inbox = Inbox(TOPICS, 3, Valve())
    inbox.put(batch(LABS, *range(7)))
    assert taken(inbox) == [("labs", [0, 1, 2], False), ("labs", [3, 4, 5], False), ("labs", [6], True)]


def test_timestamps_that_go_back_within_a_topic_lose_nothing() -> None:
    inbox = Inbox(TOPICS, 100, Valve())
    inbox.put(batch(LABS, 5, 1, 9, 2))
    inbox.put(batch(MACHINES, 3, 8, 4))
    found = taken(inbox)
    assert sorted(stamp for _, stamps, _ in found for stamp in stamps) == [1, 2, 3, 4, 5, 8, 9]
    assert inbox.is_drained(95.0)


def test_a_topic_that_has_enough_is_paused_alone_and_resumed_in_time() -> None:
    valve = Valve()
    inbox = Inbox(TOPICS, 10, valve)
    for n in range(5):
        inbox.put(batch(MACHINES, *range(100 + 10 * n, 110 + 10 * n), first=10 * n))
    assert valve.paused == {MACHINES}
    inbox.put(batch(LABS, 1))
    assert inbox.next_slice(95.0) is not None
    assert valve.paused == {MACHINES}
    while MACHINES in valve.paused:
        assert inbox.next_slice(95.0) is not None
    # It is resumed while something is left to do, so that the task need not wait.
    assert len(taken(inbox)) >= 1
    assert valve.paused == set()


def test_what_waits_is_bounded_in_bytes_too() -> None:
    """Four messages of 300 kB are as much as a thousand small ones."""
    valve = Valve(CLINICAL)
    inbox = Inbox(TOPICS, 1000, valve)
    large: list[Any] = [ConsumerRecord(*LABS, n, n, 0, b"k", b"x" * 300_000, None, 0, 0, ()) for n in range(4)]
    for number, record in enumerate(large):
        assert not valve.paused, number
        inbox.put(Batch(*LABS, [record], 1, lambda: None))
    assert valve.paused == {LABS}
    inbox.put(batch(MACHINES, 1))
    assert valve.paused == {LABS}, "the topic that is waited for can come"
    valve.unconfirmed.clear()
    taken(inbox)
    assert valve.paused == set()

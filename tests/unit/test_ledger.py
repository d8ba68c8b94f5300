"""The order of delivery, acknowledgement and commit of one partition."""

from __future__ import annotations

from typing import Any

from aiokafka.structs import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from streams.transport.ledger import Entry, Ledger


def records(*offsets: int) -> list[Any]:
    return [ConsumerRecord("t", 0, offset, 0, 0, b"k", b"v", None, 1, 1, ()) for offset in offsets]


def test_nothing_to_commit_at_the_start() -> None:
    assert Ledger(7).to_commit is None


def test_commits_up_to_the_first_unfinished_batch() -> None:
    ledger = Ledger(0)
    first, second, third = (ledger.deliver(records(n, n + 1)) for n in (0, 2, 4))
    ledger.finish(third)
    ledger.finish(second)
    held_back = ledger.to_commit
    assert held_back is None
    assert ledger.unfinished == 3
    ledger.finish(first)
    assert ledger.to_commit == 6
    assert ledger.unfinished == 0


def test_a_failed_commit_is_still_to_do() -> None:
    ledger = Ledger(0)
    ledger.finish(ledger.deliver(records(0)))
    attempts = [ledger.to_commit, ledger.to_commit]  # nobody said `committed` in between
    assert attempts == [1, 1]
    ledger.committed(1)
    assert ledger.to_commit is None


def test_a_batch_finished_while_a_commit_runs_is_committed_next() -> None:
    ledger = Ledger(0)
    ledger.finish(ledger.deliver(records(0)))
    offset = ledger.to_commit
    assert offset == 1
    ledger.finish(ledger.deliver(records(1)))
    ledger.committed(offset)
    assert ledger.to_commit == 2


def test_finishing_twice_changes_nothing() -> None:
    ledger = Ledger(0)
    entry = ledger.deliver(records(0))
    ledger.finish(entry)
    ledger.finish(entry)
    assert ledger.to_commit == 1


def test_gaps_between_offsets_do_not_hold_up_the_commit() -> None:
    ledger = Ledger(10)  # a log that begins late, was compacted, and holds control records
    for batch in (records(12, 15), records(40)):
        ledger.finish(ledger.deliver(batch))
    assert ledger.to_commit == 41


def test_records_repeated_by_a_fetch_are_dropped() -> None:
    ledger = Ledger(0)
    ledger.deliver(ledger.admit(records(0, 1, 2)))
    assert [r.offset for r in ledger.admit(records(1, 2, 3, 5))] == [3, 5]
    assert ledger.admit(records(0, 2)) == []
    assert ledger.admit([]) == []


def test_taken_follows_the_agent() -> None:
    ledger = Ledger(5)
    assert ledger.taken == 5
    first, second = ledger.deliver(records(5, 6)), ledger.deliver(records(9))
    assert ledger.taken == 5
    first.taken = True
    assert ledger.taken == 7
    second.taken = True
    assert ledger.taken == ledger.position == 10


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.randoms())
def test_the_commit_never_passes_unfinished_work(sizes: list[int], random: Any) -> None:
    ledger, entries, offset = Ledger(0), list[Entry](), 0
    for size in sizes:
        entries.append(ledger.deliver(records(*range(offset, offset + size))))
        offset += size
    order = list(entries)
    random.shuffle(order)
    for finished in order:
        ledger.finish(finished)
        unfinished = [entry for entry in entries if not entry.done]
        before = [e.last_offset for e in entries if not unfinished or e.last_offset < unfinished[0].last_offset]
        assert ledger.to_commit == (max(before) + 1 if before else None)

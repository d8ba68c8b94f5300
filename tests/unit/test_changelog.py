"""Which of several changelog records of a key holds."""

from __future__ import annotations

from typing import Any

from aiokafka.structs import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from streams.transport.changelog import UNSTAMPED, Replica, Stamp, _Progress


def record(offset: int, key: bytes, value: bytes | None, stamp: Stamp | None) -> Any:
    headers = (stamp.header(),) if stamp is not None else ()
    return ConsumerRecord("c", 0, offset, 0, 0, key, value, None, 1, 1, headers)


def replica(*written: tuple[bytes, bytes | None, Stamp | None]) -> Replica:
    result = Replica()
    result.add([record(n, *entry) for n, entry in enumerate(written)])
    return result


def test_header_is_compact_and_reads_back() -> None:
    stamp = Stamp(1, 70_000, 2**40)
    name, value = stamp.header()
    assert len(name) + len(value) == 15
    assert Stamp.of([("other", b"x"), (name, value)]) == stamp
    assert Stamp.of([]) == UNSTAMPED
    assert Stamp.of([(name, b"short")]) == UNSTAMPED


def test_a_zombie_does_not_overwrite_its_successor() -> None:
    found = replica(
        (b"k", b"old", Stamp(0, 3, 9)),
        (b"k", b"new", Stamp(0, 4, 1)),
        (b"k", b"zombie", Stamp(0, 3, 10)),
        (b"gone", None, Stamp(0, 4, 2)),
        (b"gone", b"zombie", Stamp(0, 3, 11)),
    )
    assert found.values == {b"k": b"new"}


def test_what_a_zombie_wrote_last_is_to_be_written_again() -> None:
    """Compaction keeps the last record of a key, whatever its stamp."""
    found = replica(
        (b"k", b"new", Stamp(0, 4, 1)),
        (b"k", b"zombie", Stamp(0, 3, 10)),
        (b"gone", None, Stamp(0, 4, 2)),
        (b"gone", b"zombie", Stamp(0, 3, 11)),
        (b"mended", b"new", Stamp(0, 4, 3)),
        (b"mended", b"zombie", Stamp(0, 3, 12)),
        (b"mended", b"new", Stamp(0, 4, 4)),
        (b"fine", b"new", Stamp(0, 4, 5)),
    ).recovered()
    assert found.shadowed == {b"k", b"gone"}
    assert found == {b"k": b"new", b"mended": b"new", b"fine": b"new"}


def test_a_value_after_a_tombstone_is_back() -> None:
    found = replica((b"k", b"1", Stamp(0, 1, 1)), (b"k", None, Stamp(0, 1, 2)), (b"k", b"2", Stamp(0, 1, 3)))
    assert found.values == {b"k": b"2"}


def test_records_without_a_stamp_rank_lowest_but_count() -> None:
    assert replica((b"k", b"1", None), (b"k", b"2", None)).values == {b"k": b"2"}
    assert replica((b"k", b"1", Stamp(0, 1, 1)), (b"k", b"2", None)).values == {b"k": b"1"}


def test_the_next_owner_is_above_all_that_is_there() -> None:
    found = replica((b"k", b"1", Stamp(2, 57, 900)))
    assert found.latest.next(58) == Stamp(2, 58, 1)
    # The group was deleted and counts anew: without a new era the old records would win for ever.
    assert found.latest.next(1) == Stamp(3, 1, 1)
    assert found.latest.next(57) == Stamp(3, 57, 1)
    assert Replica().latest.next(1) == Stamp(0, 1, 1)


STAMPS = st.builds(Stamp, st.integers(0, 3), st.integers(1, 2**31 - 1), st.integers(0, 2**63))


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.none() | st.binary(), STAMPS), max_size=20))
def test_the_highest_stamp_of_a_key_holds_in_any_order(written: list[Any]) -> None:
    unique = list({stamp: (key, value, stamp) for key, value, stamp in written}.values())
    expected = {key: value for key, value, _ in sorted(unique, key=lambda entry: entry[2])}
    found = replica(*unique)
    assert found.values == {key: value for key, value in expected.items() if value is not None}
    assert found.latest == max([UNSTAMPED, *(stamp for _, _, stamp in unique)])


def test_a_tail_that_compaction_emptied_does_not_hold_up_recovery() -> None:
    progress = _Progress(100)
    assert not progress.is_over(90, 1, 100)  # the answer that led here
    assert not progress.is_over(90, 1, 100)
    assert not progress.is_over(90, 2, 100)
    assert progress.is_over(90, 3, 100)
    assert _Progress(100).is_over(100, None, None)


def test_a_leader_that_lags_is_waited_for() -> None:
    progress = _Progress(100)
    assert not any(progress.is_over(90, answer, 90) for answer in range(10))


def test_progress_starts_the_wait_anew() -> None:
    progress = _Progress(100)
    assert not any(progress.is_over(offset, offset, 100) for offset in range(90, 100))

"""Read committed: what a topic's end is while a transaction is open, and what fetches are cut into."""

from __future__ import annotations

import hashlib
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from streams.transport.api import TP, Oversized
from streams.transport.committed import HANGING_S, Withheld
from streams.transport.thread import _SLICE_BYTES, Answer, LightRecord, _getall
from tests.unit.fake_thread import Bench

IN = TP("in", 0)
MAX = 4 * 1024 * 1024


@pytest.mark.parametrize(("stable", "end"), [(None, 10), (-1, 10), (10, 10), (7, 7), (12, 10)])
def test_the_end_is_where_the_first_open_transaction_begins(stable: int | None, end: int) -> None:
    assert Answer(0.0, 10, empty=True, stable=stable).end == end


@pytest.mark.parametrize(("stable", "position", "lag", "at_end"), [(2, 2, 3, True), (5, 3, 2, False), (5, 5, 0, True)])
async def test_withheld_records_hold_up_nobody_and_count_as_lag(
    monkeypatch: pytest.MonkeyPatch, stable: int, position: int, lag: int, at_end: bool
) -> None:
    """A position may have passed markers; a topic that ends with one is at its end."""
    bench = await Bench(monkeypatch).start()
    try:
        await bench.assign(0)
        bench.put(2)
        await bench.until(lambda: len(bench.got) == 2)
        bench.thread.answers[IN] = Answer(7.0, 5, empty=False, stable=stable)
        bench.thread.positions[IN] = position
        bench.consumer.ledgers[IN].position = position
        assert bench.consumer.end_confirmed_at(IN) == (7.0 if at_end else None)
        assert bench.consumer.lag(IN) == lag
    finally:
        await bench.end()


def test_a_transaction_that_hangs_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    withheld = Withheld()
    with caplog.at_level(logging.WARNING):
        for second in range(int(HANGING_S)):
            withheld.look(IN, 5, 10 + second, float(second))
        withheld.look(IN, 6, 50, HANGING_S)  # it ended, another one began
        assert not caplog.records
        for second in range(100):
            withheld.look(IN, 6, 56, HANGING_S + second)
    (said,) = caplog.messages
    assert "in[0]: a transaction is open since offset 6, 50 records behind it" in said
    withheld.look(IN, 56, 56, 200.0)
    with caplog.at_level(logging.WARNING):
        for second in range(100):
            withheld.look(IN, 56, 57, 201.0 + second)
    assert len(caplog.messages) == 2


class Result:
    """A `FetchResult` of these values."""

    _topic_partition = IN

    def __init__(self, *values: bytes) -> None:
        self.records = [LightRecord(*IN, n, 0, 0, b"k", value, ()) for n, value in enumerate(values)]
        self._partition_records: Any = iter(self.records)
        self.updated = 0

    def check_assignment(self, tp: Any) -> bool:
        return bool(tp == IN)

    def has_more(self) -> bool:
        return self._partition_records is not None

    def _update_position(self) -> None:
        self.updated += 1


def test_a_slice_is_bounded_in_bytes_and_in_records() -> None:
    result = Result(*[b"x" * (_SLICE_BYTES // 2)] * 3, *[b"y"] * 5)
    cut = [_getall(result, 4, MAX) for _ in range(3)]
    assert [len(slice_) for slice_ in cut] == [2, 4, 2]
    assert [slice_.nbytes for slice_ in cut] == [_SLICE_BYTES + 2, _SLICE_BYTES // 2 + 1 + 3 * 2, 4]
    assert (result.updated, result.has_more()) == (3, False)
    assert _getall(result, 4, MAX) == []


def test_a_value_that_no_input_takes_is_cut_in_the_consumers_thread() -> None:
    whole = b"{" * (MAX + 1)
    (record,) = _getall(Result(whole), 10, MAX)
    assert isinstance(record.value, Oversized)
    assert (whole.startswith(record.value), len(record.value)) == (True, 64 * 1024)
    assert dict(record.value.headers) == {
        "dl_size": b"%d" % len(whole),
        "dl_sha256": hashlib.sha256(whole).hexdigest().encode(),
    }
    (just,) = _getall(Result(b"{" * MAX), 10, MAX)
    assert len(just.value or b"") == MAX


def test_headers_count_too() -> None:
    result = Result(b"a", b"b")
    for record in result.records:
        record.headers = (("h", b"x" * _SLICE_BYTES),)
    assert len(_getall(result, 10, MAX)) == 1


def test_share_of_the_bytes_that_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    app = SimpleNamespace(settings=SimpleNamespace(waiting_bytes=800), batch_consumer=SimpleNamespace(ledgers={}))
    from streams.transport.app import App  # noqa: PLC0415

    share: Any = App.waiting_share.fget  # type: ignore[attr-defined]
    assert share(app) == 800
    app.batch_consumer.ledgers = dict.fromkeys(range(8))
    assert share(app) == 100

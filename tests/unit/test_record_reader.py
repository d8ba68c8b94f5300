"""Header names are bytes to Kafka: no name may stop a worker (see `streams.transport.record_reader`)."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.codec import has_lz4, has_snappy, has_zstd
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from streams.transport.record_reader import Records

_Builder: Any = DefaultRecordBatchBuilder
_fetcher: Any = fetcher


def batch(first: int, names: list[str], codec: int = 0) -> bytes:
    builder = _Builder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=0,
        batch_size=10_000,
    )
    for number, name in enumerate(names):
        headers = [(name, b"1"), ("plain", None)]
        builder.append(number, timestamp=1_000 + number, key=b"k%d" % number, value=b"v", headers=headers)
    built = bytearray(builder.build())
    built[:8] = first.to_bytes(8, "big")
    return bytes(built)


def unpacked(raw: bytes, first: int = 0) -> list[Any]:
    """What aiokafka's fetcher makes of it."""
    records = _fetcher.PartitionRecords(
        TopicPartition("t", 0), Records(raw), None, first, None, None, check_crcs=False, isolation_level=0
    )
    return list(records)


def test_names_that_are_not_utf_8_are_written_out_and_nothing_else_is_touched() -> None:
    bad = batch(3, ["fine", "caf\u00e9", "x"]).replace("caf\u00e9".encode(), b"caf\xff\xfe")
    found = unpacked(batch(0, ["a", "b", "c"]) + bad + batch(6, ["d"]))
    assert [record.offset for record in found] == list(range(7))
    assert [record.headers[0][0] for record in found] == ["a", "b", "c", "fine", "caf\\xff\\xfe", "x", "d"]
    assert [record.key for record in found] == [b"k0", b"k1", b"k2", b"k0", b"k1", b"k2", b"k0"]
    assert {record.value for record in found} == {b"v"}
    assert {record.headers[1] for record in found} == {("plain", None)}
    assert [record.timestamp for record in found] == [1000, 1001, 1002, 1000, 1001, 1002, 1000]
    for record in found:
        record.headers[0][0].encode()  # it can be sent again


def test_records_before_the_fetch_offset_stay_out() -> None:
    bad = batch(0, ["a", "\u00e9", "c"]).replace("\u00e9".encode(), b"\xff\xff")
    assert [record.offset for record in unpacked(bad, 2)] == [2]


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4])
def test_every_compression_that_kafka_knows_can_be_read(codec: int) -> None:
    assert [record.value for record in unpacked(batch(0, ["a", "b"], codec))] == [b"v", b"v"]


def test_the_codecs_are_installed() -> None:
    assert has_snappy()
    assert has_lz4()
    assert has_zstd()


def test_a_batch_cut_off_at_the_end_of_a_fetch_waits_for_the_next_one() -> None:
    whole = batch(0, ["a", "b"])
    assert [record.offset for record in unpacked(whole + batch(2, ["c"])[:-3])] == [0, 1]


def test_it_is_what_the_consumer_uses() -> None:
    import streams.transport.thread  # noqa: F401, PLC0415

    assert _fetcher.MemoryRecords is Records

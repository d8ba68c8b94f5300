"""No batch unpacks to more than is allowed, whatever its compression; smaller ones are read as they are."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from streams.transport.api import Oversized
from streams.transport.record_reader import Records
from streams.transport.unpack import codec_of, unpacked

_Builder: Any = DefaultRecordBatchBuilder
_fetcher: Any = fetcher
CODECS = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
LIMIT = 1024 * 1024
TP = TopicPartition("t", 0)


def built(codec: int, *values: bytes) -> bytes:
    builder = _Builder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=0,
        batch_size=1 << 30,
    )
    for number, value in enumerate(values):
        builder.append(number, timestamp=1_000 + number, key=b"k", value=value, headers=[])
    return bytes(builder.build())


def read(raw: bytes, limit: int | None = LIMIT) -> list[Any]:
    records = Records(raw)
    records.limit = limit
    return list(_fetcher.PartitionRecords(TP, records, None, 0, None, None, check_crcs=True, isolation_level=1))


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_that_unpacks_to_too_much_is_one_record_at_its_last_offset(codec: int) -> None:
    raw = built(codec, b" " * LIMIT, b"small", b" " * LIMIT)
    (one,) = read(raw)
    assert (one.offset, one.key, one.headers, one.timestamp) == (2, None, (), 1002)
    assert isinstance(one.value, Oversized)
    assert one.value == raw, "as it was packed"
    assert "3 records, offsets 0 to 2" in one.value.detail
    assert dict(one.value.headers) == {"dl_first_offset": b"0", "dl_records": b"3", "dl_codec": CODECS[codec].encode()}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [0, 10, LIMIT // 2, LIMIT - 4000])
def test_what_fits_is_read(codec: int, size: int) -> None:
    found = read(built(codec, b" " * size, b"next"))
    assert [(record.offset, len(record.value)) for record in found] == [(0, size), (1, 4)]


@pytest.mark.parametrize("codec", CODECS)
def test_the_bound_is_exact(codec: int) -> None:
    framing = len(built(0, b" " * (LIMIT - 100))) - 61 - (LIMIT - 100)
    assert read(built(codec, b" " * (LIMIT - framing)))[0].key == b"k"
    assert read(built(codec, b" " * (LIMIT - framing + 1)))[0].key is None


@pytest.mark.parametrize("codec", CODECS)
def test_more_records_than_have_room_are_too_much(codec: int) -> None:
    """Each takes more memory than its bytes."""
    assert len(read(built(codec, *[b""] * 1000), 64 * 1024)) == 1000
    assert len(read(built(codec, *[b""] * 3000), 64 * 1024)) == 1


def test_what_is_not_compressed_is_bounded_by_the_broker() -> None:
    assert codec_of(memoryview(built(0, b"x"))) == ""
    assert len(read(built(0, b" " * 3 * LIMIT))[0].value) == 3 * LIMIT


@pytest.mark.parametrize("codec", CODECS)
def test_what_cannot_be_unpacked_is_left_to_the_reader(codec: int) -> None:
    raw = bytearray(built(codec, b" " * 1000))
    raw[61:] = b"\xff" * (len(raw) - 61)
    view = memoryview(raw)
    assert unpacked(view, LIMIT) is view


def test_without_a_limit_everything_is_read() -> None:
    assert len(read(built(4, b" " * 3 * LIMIT), None)[0].value) == 3 * LIMIT

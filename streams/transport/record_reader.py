"""Read fetched records whatever the names of their headers, and bound the unpacked size of a compressed batch."""

# ruff: noqa: SLF001 - looks inside aiokafka; tests/unit/test_record_reader.py holds it to what is used here.

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from aiokafka.consumer import fetcher
from aiokafka.record import default_records, memory_records

from streams.transport.api import Oversized
from streams.transport.unpack import codec_of, record_count, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTH: Final = struct.Struct(">i")
_LENGTH_AT, _LENGTH_END = 8, 12
_fetcher: Final[Any] = fetcher
_FastRecords: Final[Any] = memory_records.MemoryRecords
_FastBatch: Final[Any] = default_records.DefaultRecordBatch
_SlowBatch: Final[Any] = default_records._DefaultRecordBatchPy


class Records:
    r"""aiokafka's records of a fetch, extended to header names that are not UTF-8.

    Kafka accepts any bytes as a header's name, and so do producers built on librdkafka; aiokafka raises
    UnicodeDecodeError at every attempt, which would stop every worker that owns the partition. aiokafka's slower reader
    reads such a batch, with the name's wrong bytes written out as `\xff`.

    A compressed batch that unpacks to more than `limit` bytes is not unpacked: one record stands for it, at the batch's
    last offset, whose value is an `Oversized` of the packed batch. Without a limit every batch is unpacked.
    """

    limit: int | None = None

    def __init__(self, raw: bytes) -> None:
        self._raw, self._position = raw, 0
        self._records = _FastRecords(raw)
        self.has_next = self._records.has_next
        self.size_in_bytes = self._records.size_in_bytes

    def next_batch(self) -> Any:
        """Return the next batch of records."""
        start = self._position
        self._position += _LENGTH_END + _LENGTH.unpack_from(self._raw, start + _LENGTH_AT)[0]
        return _Batch(self._records.next_batch(), memoryview(self._raw)[start : self._position], self.limit)


class _Batch:
    """A batch that is unpacked as a whole, so that another reader can unpack it if that fails."""

    def __init__(self, batch: Any, raw: memoryview, limit: int | None) -> None:
        self._batch, self._raw, self._limit = batch, raw, limit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        reader, raw = self._batch, self._raw
        if self._limit is not None and codec_of(raw):
            bounded = unpacked(raw, self._limit)
            if bounded is None:
                return iter([_StandIn(reader, raw, self._limit)])
            if bounded is not raw:
                reader, raw = _FastBatch(bounded), bounded
        try:
            return iter(list(reader))
        except UnicodeDecodeError:
            batch = _SlowBatch(raw)
            batch._maybe_uncompress()
            batch._buffer = _Readable(batch._buffer)
            return iter(list(batch))

    def __next__(self) -> Any:
        return next(self._batch)  # of a control batch


class _StandIn:
    """A record in place of a batch that is too large."""

    key, headers, checksum = None, (), None

    def __init__(self, batch: Any, raw: memoryview, limit: int) -> None:
        first, last, count = batch.base_offset, batch.next_offset - 1, record_count(raw)
        self.offset, self.timestamp, self.timestamp_type = last, batch.max_timestamp, batch.timestamp_type
        self.value = Oversized.of(
            bytes(raw),
            f"a batch of {count} records, offsets {first} to {last}, unpacks to more than {limit} bytes"
            " (DIALYSIS_MAX_BATCH_BYTES); it is kept as it was packed",
            (
                ("dl_first_offset", b"%d" % first),
                ("dl_records", b"%d" % count),
                ("dl_codec", codec_of(raw).encode()),
            ),
        )


class _Readable(bytearray):
    """Bytes whose every slice can be decoded."""

    def __getitem__(self, where: Any) -> Any:
        found: Any = super().__getitem__(where)
        return _Readable(found) if isinstance(where, slice) else found

    def decode(self, *_: Any, **__: Any) -> str:
        return super().decode("utf-8", "backslashreplace")


def install() -> None:
    """Let every consumer of this process read in this way."""
    _fetcher.MemoryRecords = Records

"""Find the unpacked size of a compressed batch of records without unpacking more than is allowed.

A broker bounds only the packed batch: 60 KiB may unpack to 500 MB of spaces. Such a batch is not read at all.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import cramjam
from aiokafka.record import default_records

if TYPE_CHECKING:
    from collections.abc import Callable

_Base: Final[Any] = default_records.DefaultRecordBase
_HEADER_BYTES: Final[int] = _Base.HEADER_STRUCT.size
_ATTRIBUTES: Final = struct.Struct(">h")
_COUNT: Final = struct.Struct(">i")
_COUNT_AT: Final = _HEADER_BYTES - 4
_MAGIC_AT, _MAGIC = 16, 2
_NAMES: Final = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_MODULES: Final[dict[str, Any]] = {"gzip": cramjam.gzip, "lz4": cramjam.lz4, "zstd": cramjam.zstd}
_NO_ROOM: Final = "failed to write whole buffer"
_snappy: Final[Any] = cramjam.snappy
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES: Final = 16

#: A record takes at least several times this in memory, besides its bytes.
RECORD_BYTES: Final = 32
#: Deflate packs at most so many bytes into one.
_GZIP_RATIO: Final = 1032
_LZ4_BLOCK: Final = {4: 64 * 1024, 5: 256 * 1024, 6: 1024 * 1024, 7: 4 * 1024 * 1024}
_ZSTD_BLOCK: Final = 128 * 1024
_ZSTD_BLOCK_HEADER: Final = 3


def codec_of(batch: memoryview) -> str:
    """Return the name of a batch's compression; empty if it has none, or its format is older than Kafka 0.11."""
    if len(batch) < _HEADER_BYTES or batch[_MAGIC_AT] != _MAGIC:
        return ""
    attributes: int = _ATTRIBUTES.unpack_from(batch, _Base.ATTRIBUTES_OFFSET)[0]
    return _NAMES.get(attributes & _Base.CODEC_MASK, "")


def record_count(batch: memoryview) -> int:
    """Return the number of records that a batch's header states."""
    count: int = _COUNT.unpack_from(batch, _COUNT_AT)[0]
    return count


def unpacked(batch: memoryview, limit: int) -> memoryview | None:
    """Return a compressed batch in a form that unpacks to at most `limit` bytes; None if it unpacks to more.

    Also None if it holds more records than fit there. Takes no more than `limit` bytes of memory. A batch whose blocks,
    or whose length, show that it is small is returned unchanged: that costs almost nothing. Another batch is returned
    unpacked, so that nothing is unpacked twice. A batch that cannot be unpacked is returned unchanged, too: the reader
    raises the error.
    """
    name = codec_of(batch)
    if not name:
        return batch
    if record_count(batch) * RECORD_BYTES > limit:
        return None
    data = batch[_HEADER_BYTES:]
    if name == "snappy":
        return batch if _snappy_size(data) <= limit else None
    if _AT_MOST[name](data, limit) <= limit:
        return batch
    room = bytearray(_HEADER_BYTES + limit)
    room[:_HEADER_BYTES] = batch[:_HEADER_BYTES]
    try:
        size = _MODULES[name].decompress_into(data, memoryview(room)[_HEADER_BYTES:])
    except cramjam.DecompressionError as error:
        return None if _NO_ROOM in str(error) else batch
    room[_Base.ATTRIBUTES_OFFSET + 1] &= ~_Base.CODEC_MASK
    return memoryview(room)[: _HEADER_BYTES + size]


def _gzip_at_most(data: memoryview, _limit: int) -> int:
    return len(data) * _GZIP_RATIO


def _lz4_at_most(data: memoryview, limit: int) -> int:
    """Walk the blocks of the first frame, whose header gives their largest size. More frames than one: no bound."""
    try:
        flags, block = data[4], _LZ4_BLOCK[data[5] >> 4 & 7]
        position = 7 + (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0)
        most = 0
        while (size := int.from_bytes(data[position : position + 4], "little")) and most <= limit:
            raw, size = size >> 31, size & 0x7FFFFFFF
            most += size if raw else block
            position += 4 + size + (4 if flags & 0x10 else 0)
            if position > len(data):
                return limit + 1
        position += 4 + (4 if flags & 0x04 else 0)
    except (IndexError, KeyError):
        return limit + 1
    return most if position == len(data) else limit + 1


def _zstd_at_most(data: memoryview, limit: int) -> int:
    """Walk the blocks of the first frame: each unpacks to at most 128 KiB. More frames than one: no bound."""
    try:
        descriptor = data[4]
        single = descriptor >> 5 & 1
        content = (single, 2, 4, 8)[descriptor >> 6]
        position = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3] + content
        most, last = 0, False
        while not last and most <= limit:
            header = int.from_bytes(data[position : position + _ZSTD_BLOCK_HEADER], "little")
            last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            most += _ZSTD_BLOCK if kind == 2 else size
            position += _ZSTD_BLOCK_HEADER + (1 if kind == 1 else size)
            if position > len(data):
                return limit + 1
        position += 4 * (descriptor >> 2 & 1)
    except IndexError:
        return limit + 1
    return most if position == len(data) else limit + 1


def _snappy_size(data: memoryview) -> int:
    """Sum up snappy's own length fields; the reader allocates as much."""
    try:
        if bytes(data[: len(_XERIAL)]) != _XERIAL:
            return int(_snappy.decompress_raw_len(data))
        size, position = 0, _XERIAL_HEADER_BYTES
        while position < len(data):
            length = int.from_bytes(data[position : position + 4], "big", signed=True)
            if length < 0:
                return size
            size += int(_snappy.decompress_raw_len(data[position + 4 : position + 4 + length]))
            position += 4 + length
    except cramjam.DecompressionError:
        return 0
    return size


_AT_MOST: Final[dict[str, Callable[[memoryview, int], int]]] = {
    "gzip": _gzip_at_most,
    "lz4": _lz4_at_most,
    "zstd": _zstd_at_most,
}

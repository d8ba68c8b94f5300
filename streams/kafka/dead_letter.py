"""The messages of `dead-letters`: unusable values, with their origin."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, Self

from streams.kafka.clients import Record
from streams.transport.api import Oversized

#: Header of a message that was published again: partition and offset of its dead letter.
REDRIVEN: Final = "dl_redriven"
_OURS: Final = (
    "dl_topic",
    "dl_partition",
    "dl_offset",
    "dl_reason",
    "dl_detail",
    "dl_size",
    "dl_sha256",
    "dl_first_offset",
    "dl_records",
    "dl_codec",
)
_DETAIL_BYTES: Final = 1000
_HEADERS_BYTES: Final = 8 * 1024

#: The form of a reason, and what Kafka accepts as a topic, a partition and an offset.
REASON: Final = re.compile(r"[a-z0-9_]{1,64}")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
#: `as_read` gives -1 to what was never read.
_OFFSET: Final = re.compile(r"-1|[0-9]{1,19}")
_LAST_PARTITION: Final = 2**31 - 1

Headers = tuple[tuple[str, bytes], ...]


class Raw(Protocol):
    """The attributes of a record that a dead letter holds."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...  # noqa: D102


class DeadLetter(NamedTuple):
    """A message for the topic `dead-letters`."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def as_read(topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()) -> Record:
    """Give a message of ours that could not be stored or sent the form of a record that was read, for `dead_letter`.

    Its offset is -1: it never had one. A redrive skips it unless its topic is an input.
    """
    return Record(topic, partition, -1, -1, 0, key, value, None, 0, 0, headers)


def dead_letter(record: Raw, reason: str, detail: str, max_message_bytes: int) -> DeadLetter:
    """Wrap an unusable record: its raw bytes, its key, and its origin.

    The result always fits the topic, which takes twice `max_message_bytes`: a larger record loses the end of its value,
    and of its key where that alone is too long; then it has the headers `dl_size` and `dl_sha256` (of the whole value).
    An `Oversized` value determines what is kept of it and its headers. The record's own headers are kept while they are
    small; in our inputs they mean nothing.

    Args:
        record: The record as it was fetched.
        reason: One of a bounded set, e.g. a `RejectReason`.
        detail: What is wrong with which field; no values, it is shown to people.
        max_message_bytes: `Settings.max_message_bytes`.
    """
    key = record.key[: max_message_bytes // 2] if record.key is not None else None
    value = record.value[: max_message_bytes - len(key or b"")] if record.value is not None else None
    if key is None and value is None:
        value = b""  # aiokafka sends nothing that has neither
    headers = [
        ("dl_topic", record.topic.encode()),
        ("dl_partition", b"%d" % record.partition),
        ("dl_offset", b"%d" % record.offset),
        ("dl_reason", reason.encode()),
        ("dl_detail", detail.encode(errors="replace")[:_DETAIL_BYTES]),
    ]
    if isinstance(record.value, Oversized):
        headers += record.value.headers
    elif len(key or b"") + len(value or b"") < len(record.key or b"") + len(record.value or b""):
        whole = record.value or b""
        headers += [
            ("dl_size", b"%d" % len(whole)),
            ("dl_sha256", hashlib.sha256(whole).hexdigest().encode()),
        ]
    return DeadLetter(key, value, (*headers, *_own_headers(record.headers)))


def _own_headers(headers: Iterable[tuple[str, bytes]]) -> Headers:
    """Return the record's own headers, with `dl_redriven`: it shows that a redrive did not help."""
    own = tuple((name, value or b"") for name, value in headers if name not in _OURS)
    return own if sum(len(name) + len(value) for name, value in own) <= _HEADERS_BYTES else ()


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a dead letter, as its headers state it."""

    topic: str
    partition: int
    reason: str
    detail: str
    cut: bool
    came_back: bool
    headers: Headers

    @classmethod
    def of(cls, record: Record) -> Self | None:
        """Read the headers; None where they are not ours: anybody may write to the topic."""
        if record.key is None and record.value is None:
            return None
        found = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
        try:
            partition, offset = found["dl_partition"], found["dl_offset"]
            if not (_NUMBER.fullmatch(partition) and _OFFSET.fullmatch(offset) and int(partition) <= _LAST_PARTITION):
                return None
            if not (_TOPIC.fullmatch(found["dl_topic"]) and REASON.fullmatch(found["dl_reason"])):
                return None
            return cls(
                topic=found["dl_topic"],
                partition=int(partition),
                reason=found["dl_reason"],
                detail=found.get("dl_detail", ""),
                cut="dl_size" in found or "dl_codec" in found,
                came_back=REDRIVEN in found,
                headers=tuple((name, value or b"") for name, value in record.headers if name not in (*_OURS, REDRIVEN)),
            )
        except KeyError:
            return None

    def matches(self, reason: str | None, topic: str | None) -> bool:
        """Whether the dead letter passes the filters; `topic` is a full name."""
        return reason in (None, self.reason) and topic in (None, self.topic)

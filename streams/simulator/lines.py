"""Write simulated messages as JSON lines, for `replay`."""

from collections.abc import Iterable
from datetime import datetime
from typing import BinaryIO

import msgspec

from streams.simulator.planned import TimedMessage


def json_line(message: TimedMessage) -> bytes:
    """Build one line for `replay`: the value, with `received_at` where it differs from `at`, unless it is no object.

    Line ends inside a broken value become spaces; a value that is null or empty becomes an empty line.
    """
    line = (message.value or b"").replace(b"\n", b" ").replace(b"\r", b" ")
    if message.received_at != message.at and line.startswith(b"{") and line.endswith(b"}"):
        line = line[:-1] + b',"received_at":' + msgspec.json.encode(message.received_at) + b"}"
    return line + b"\n"


def write_jsonl(
    messages: Iterable[TimedMessage],
    file: BinaryIO,
    *,
    until: datetime | None = None,
    limit: int | None = None,
) -> int:
    """Write messages as JSON lines, as `replay` reads them, and return how many.

    Args:
        messages: In order of arrival; may be endless if `until` or `limit` ends them.
        file: Open for bytes.
        until: Messages that arrive from this simulated time on are left out.
        limit: Not more than this.
    """
    written = 0
    for message in messages:
        if (until and message.received_at >= until) or (limit is not None and written >= limit):
            break
        file.write(json_line(message))
        written += 1
    file.flush()
    return written

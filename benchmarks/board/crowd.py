"""Browsers without a picture: `python -m benchmarks.board.crowd URL COUNT SECONDS` follows the events as they do.

A process of its own, so that reading costs the sender nothing. It prints what it read as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from typing import Final

import aiohttp

#: A change of a busy unit at once: reading in small pieces costs more than the server's sending.
_READ_BYTES: Final = 1 << 20


@dataclass(slots=True)
class Read:
    """What one follower read; `gaps` counts changes that it missed, `reload` included."""

    changes: int = 0
    statuses: int = 0
    size: int = 0
    gaps: int = 0
    last: int | None = None

    def take(self, event: bytes) -> None:
        """Take one event."""
        fields = dict(line.partition(b": ")[::2] for line in event.split(b"\n"))
        kind = fields.get(b"event")
        if kind == b"change":
            number = int(fields[b"id"].rpartition(b"-")[2])
            self.gaps += self.last is not None and number != self.last + 1
            self.last = number
            self.changes += 1
        elif kind == b"reload":
            self.gaps += 1
        elif kind == b"status":
            self.statuses += 1


async def follow(session: aiohttp.ClientSession, read: Read) -> None:
    """Read a page's state, then the events after it, until cancelled; one that ends is a gap."""
    async with session.get("/api/room") as answer:
        after = (await answer.json())["event_id"]
    read.last = int(after.rpartition("-")[2])
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    async with session.get("/api/events", params={"after": after}, headers=headers) as answer:
        left = b""
        async for data in answer.content.iter_any():
            read.size += len(data)
            *events, left = (left + data).split(b"\n\n")
            for event in events:
                read.take(event)
    read.gaps += 1


async def crowd(url: str, count: int, seconds: float) -> list[Read]:
    """Let so many followers read for so long."""
    reads = [Read() for _ in range(count)]
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout, read_bufsize=_READ_BYTES) as session:
        tasks = [asyncio.create_task(follow(session, read)) for read in reads]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        for read, ended in zip(reads, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
            read.gaps += not isinstance(ended, asyncio.CancelledError)
    return reads


def main() -> None:
    """Follow, and print what was read."""
    url, count, seconds = sys.argv[1:]
    print(json.dumps([asdict(read) for read in asyncio.run(crowd(url, int(count), float(seconds)))]))


if __name__ == "__main__":
    main()

"""What changed, as a bounded ring that browsers follow: each at its own pace, none of them with a queue of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

#: Changes that are kept, in number and bytes: a browser that was away longer gets the whole picture again.
MOST: Final = 2000
MOST_BYTES: Final = 16 * 1024 * 1024


class ChangeFeed:
    """Changes with growing numbers under an epoch, which is new with each process and each reading of the topics."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._number = 0
        self._ring: deque[bytes] = deque()
        self._bytes = 0
        self._moved = asyncio.Event()

    @property
    def event_id(self) -> str:
        """The id of the newest change."""
        return f"{self._epoch}-{self._number}"

    def publish(self, data: bytes) -> None:
        """Add a change and wake who waits."""
        self._number += 1
        self._ring.append(data)
        self._bytes += len(data)
        while len(self._ring) > MOST or (self._bytes > MOST_BYTES and len(self._ring) > 1):
            self._bytes -= len(self._ring.popleft())
        self._wake()

    def begin_again(self) -> None:
        """Start a new epoch: everybody gets the whole picture again."""
        self._epoch += 1
        self._number = 0
        self._ring.clear()
        self._bytes = 0
        self._wake()

    def after(self, event_id: str | None) -> list[tuple[str, bytes]] | None:
        """Return the changes after an id, each with its id; None if they are not all here."""
        epoch, _, number = (event_id or "").partition("-")
        if epoch != str(self._epoch) or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        first = self._number - len(self._ring)
        if not first <= int(number) <= self._number:
            return None
        changes = list(self._ring)[int(number) - first :]
        return [(f"{self._epoch}-{int(number) + index}", data) for index, data in enumerate(changes, 1)]

    async def moved(self, event_id: str, seconds: float) -> None:
        """Wait until there is a change after an id, at most so many seconds."""
        if event_id != self.event_id:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

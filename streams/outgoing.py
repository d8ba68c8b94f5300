"""Plain messages out: alerts, dead letters, status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.transport import App


class NeverSendsError(Exception):
    """A message that no repetition will ever get through: too large, not allowed, no such topic. Stops the worker."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. Without `partition` the key's murmur2 hash chooses it, as Java's producer does."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


class Sender:
    """Sends messages and waits for the broker's acknowledgement.

    Guarantees: when `send_all` returns, all are acknowledged by all in-sync replicas. Of one partition the last
    message of the call is also the last in the log; after a failure messages are repeated from the first failed
    one of the partition on, so that repeats never put an older message last.
    """

    def __init__(self, app: App) -> None:
        raise NotImplementedError

    async def send_all(self, messages: Sequence[Outgoing]) -> None:
        """Sends all at once; a broker that is away is waited for.

        Raises:
            NeverSendsError: One can never succeed; others may have been sent.
        """
        raise NotImplementedError

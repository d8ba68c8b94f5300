"""Writing a table's changelog."""

from __future__ import annotations

from collections.abc import Mapping

from streams.transport import App, TopicSet


class ChangelogWriter:
    """Writes the changed keys of a partition as one checkpoint.

    Guarantees: when `write` returns, the broker has acknowledged every entry on all in-sync replicas. Nothing is
    written for a partition that is not ours. A write that cannot reach the broker is repeated until it does or
    the partition is lost.
    """

    def __init__(self, app: App, topics: TopicSet) -> None:
        raise NotImplementedError

    async def write(self, partition: int, entries: Mapping[bytes, bytes | None]) -> None:
        """Stores the entries; None deletes a key.

        One write of a partition at a time: calls for the same partition wait for each other, in order.

        Raises:
            StaleGenerationError: The partition is not ours any more; some entries may have been stored.
            NeverSendsError: An entry is larger than a message may be, or the topic refuses us.
        """
        raise NotImplementedError

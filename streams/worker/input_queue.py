"""Queue batches for a task, and choose its next records: the oldest record timestamp over its topics.

A topic with nothing waiting holds the others back until a fetch has confirmed that it is at its end: in catch-up the
task waits for the topic that lags, so telemetry cannot outrun labs (Kafka Streams' `PartitionGroup`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol

from streams.transport.api import TP, Batch

#: Delivery of a topic pauses when more than this many times `batch_max` records of it wait, or more than its share of
#: this worker's waiting bytes. So no topic takes another's room: a task waits for the one that lags, which must get in.
_HIGH: Final = 4
_LOW: Final = 2


class Valve(Protocol):
    """The part of the transport that the inbox needs."""

    def pause(self, tps: set[TP]) -> None:
        """Stop delivery of partitions."""

    def resume(self, tps: set[TP]) -> None:
        """Resume delivery of partitions."""

    def end_confirmed_at(self, tp: TP) -> float | None:
        """Return when a fetch last confirmed that all records of a partition were delivered."""

    @property
    def waiting_share(self) -> int:
        """The bytes of one partition that may wait."""


class _Queue:
    """The batches of one topic, and how far the first of them was read."""

    __slots__ = ("batches", "nbytes", "position", "waiting")

    def __init__(self) -> None:
        self.batches: deque[Batch] = deque()
        self.position = 0
        self.waiting = 0
        self.nbytes = 0

    @property
    def head(self) -> int:
        """Timestamp (ms) of the next record."""
        timestamp: int = self.batches[0].records[self.position].timestamp
        return timestamp


class Inbox:
    """The waiting batches of one task.

    Args:
        tps: its topics' partitions; at equal timestamps the earlier one goes first.
        slice_max: most records handed out at once.
        valve: pauses and resumes delivery.
    """

    def __init__(self, tps: Sequence[TP], slice_max: int, valve: Valve) -> None:
        self.tps = tps
        self._queues = {tp: _Queue() for tp in tps}
        self._slice_max = slice_max
        self._valve = valve
        self._paused: set[TP] = set()

    def put(self, batch: Batch) -> None:
        """Add a batch behind those of its topic."""
        queue = self._queues[batch.tp]
        queue.batches.append(batch)
        queue.waiting += len(batch)
        queue.nbytes += batch.nbytes
        is_full = queue.waiting > _HIGH * self._slice_max or queue.nbytes > self._valve.waiting_share
        if is_full and batch.tp not in self._paused:
            self._paused.add(batch.tp)
            self._valve.pause({batch.tp})

    def is_drained(self, confirmed_since: float) -> bool:
        """Whether nothing waits and every topic's end was confirmed since a moment (`time.monotonic()`)."""
        return all(self._is_at_end(tp, queue, confirmed_since) for tp, queue in self._queues.items())

    def next_slice(self, confirmed_since: float) -> tuple[Batch, Sequence[Any], bool] | None:
        """Take the next records to handle, of one batch, and whether they finish it; None if there are none yet.

        They are not newer than the first waiting record of any other topic.
        """
        heads: list[tuple[int, int, TP]] = []
        for place, (tp, queue) in enumerate(self._queues.items()):
            if queue.batches:
                heads.append((queue.head, place, tp))
            elif not self._is_at_end(tp, queue, confirmed_since):
                return None
        if not heads:
            return None
        _, own, tp = min(heads)
        # At equal timestamps the earlier topic goes first: the slice ends before an earlier topic's next record.
        bound = min((head - (place < own) for head, place, _ in heads if place != own), default=None)
        queue = self._queues[tp]
        batch, start = queue.batches[0], queue.position
        end = min(len(batch), start + self._slice_max)
        if bound is not None and batch.records[end - 1].timestamp > bound:
            end = self._end_at(batch, start, end, bound)
        finished = end == len(batch)
        self._move(tp, queue, end, finished=finished)
        records = batch.records if start == 0 and finished else batch.records[start:end]
        return batch, records, finished

    def _end_at(self, batch: Batch, start: int, end: int, bound: int) -> int:
        """Return the index behind the last record in a row that is not newer than the bound; at least one record."""
        found = bisect_right(batch.records, bound, start, end, key=lambda record: record.timestamp)
        return max(found, start + 1)

    def _move(self, tp: TP, queue: _Queue, end: int, *, finished: bool) -> None:
        queue.waiting -= end - queue.position
        queue.position = end
        if finished:
            queue.nbytes -= queue.batches.popleft().nbytes
            queue.position = 0
        if (
            tp in self._paused
            and queue.waiting < _LOW * self._slice_max
            and queue.nbytes <= self._valve.waiting_share // _LOW
        ):
            self._paused.discard(tp)
            self._valve.resume({tp})

    def _is_at_end(self, tp: TP, queue: _Queue, confirmed_since: float) -> bool:
        if queue.batches:
            return False
        confirmed = self._valve.end_confirmed_at(tp)
        return confirmed is not None and confirmed >= confirmed_since

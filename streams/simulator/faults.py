"""Disturb messages as a network does: some arrive twice, some late."""

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final
from zlib import crc32

from streams.simulator.planned import TimedMessage
from streams.simulator.rates import Rates

#: A repeat follows within this many seconds.
_REPEATED_S: Final = 20.0
_MS: Final = timedelta(milliseconds=1)
_LATE_MIN_S, _LATE_MAX_S = 10.0, 600.0


def disturbed(messages: Iterable[TimedMessage], start: datetime, key: str, rates: Rates) -> Iterator[TimedMessage]:
    """Yield the messages with repeats (same bytes) and late ones, in order of arrival.

    The arrival of a message, counted from the unit's start, decides its disturbance, so earlier messages do not matter.
    A message with a planted condition is never late: another value that overtakes it could hide the condition for good.

    Args:
        messages: In order of arrival.
        start: The unit's start.
        key: Key of the stream; another one disturbs other messages.
        rates: The scenario's figures.
    """
    salt = crc32(key.encode())
    waiting: list[tuple[datetime, int, TimedMessage]] = []
    limit, duplicate = rates.duplicate + rates.late, rates.duplicate
    for number, message in enumerate(messages):
        while waiting and waiting[0][0] <= message.received_at:
            yield heapq.heappop(waiting)[2]
        arrival = (message.received_at - start) // _MS
        chance = crc32(arrival.to_bytes(8, "little", signed=True), salt) / 2**32
        if chance >= limit:
            yield message
        elif chance < duplicate:
            yield message
            again = _after(message, _REPEATED_S * chance / duplicate)
            heapq.heappush(waiting, (again.received_at, number, again._replace(planted=None)))
        elif message.planted:
            yield message
        else:
            share = (chance - duplicate) / rates.late
            late = _after(message, _LATE_MIN_S + share * (_LATE_MAX_S - _LATE_MIN_S))
            heapq.heappush(waiting, (late.received_at, number, late))
    while waiting:
        yield heapq.heappop(waiting)[2]


def _after(message: TimedMessage, seconds: float) -> TimedMessage:
    delay = timedelta(milliseconds=1 + round(seconds * 1000))
    return message._replace(received_at=message.received_at + delay)

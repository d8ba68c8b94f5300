"""Report a transaction that stays open and withholds records from us."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streams.transport.api import TP

log = logging.getLogger(__name__)

#: A transaction that is open for so many seconds is not an ordinary one.
HANGING_S: Final = 30.0


class Withheld:
    """Notes since when records of a partition are withheld behind an open transaction."""

    def __init__(self) -> None:
        self._since: dict[TP, tuple[int, float]] = {}
        self._said: set[tuple[TP, int]] = set()

    def look(self, tp: TP, end: int, highwater: int, now: float) -> None:
        """Judge an answer; log once that `end`, the end of the committed records, does not move."""
        if end >= highwater:
            self._since.pop(tp, None)
            self._said = {said for said in self._said if said[0] != tp} if self._said else self._said
            return
        offset, since = self._since.get(tp, (end, now))
        if offset != end:
            offset, since = end, now
        self._since[tp] = offset, since
        if now - since >= HANGING_S and (tp, end) not in self._said:
            self._said.add((tp, end))
            log.warning(
                "%s[%d]: a transaction is open since offset %d, %d records behind it are withheld: end it with"
                " `kafka-transactions.sh abort`, or wait until the broker does (transaction.max.timeout.ms)",
                *tp,
                end,
                highwater - end,
            )

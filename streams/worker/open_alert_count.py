"""Count open alerts, correctly while partitions come and go."""

from collections import Counter as Tally
from collections.abc import Hashable, Mapping

from prometheus_client import Gauge


class OpenAlerts:
    """Counts open alerts by rule and priority for each owner, a partition of patients or of loops."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._by_owner: dict[Hashable, Tally[tuple[str, str]]] = {}

    def replace(self, owner: Hashable, counts: Mapping[tuple[str, str], int]) -> None:
        """Set all counts of an owner, (rule, priority) to number; an empty mapping removes it."""
        before = self._by_owner.pop(owner, Tally())
        after = Tally({pair: count for pair, count in counts.items() if count})
        if after:
            self._by_owner[owner] = after
        for pair in before.keys() | after.keys():
            self._add(pair, after[pair] - before[pair])

    def moved(self, owner: Hashable, rule: str, before: str | None, after: str | None) -> None:
        """Move one alert from priority `before` to `after`; None where it is not open."""
        tally = self._by_owner.setdefault(owner, Tally())
        for priority, step in ((before, -1), (after, 1)):
            if priority is not None and before != after:
                tally[rule, priority] += step
                self._add((rule, priority), step)

    def clear(self) -> None:
        """Remove all owners."""
        for owner in tuple(self._by_owner):
            self.replace(owner, {})

    def _add(self, pair: tuple[str, str], step: int) -> None:
        if step:
            self._gauge.labels(*pair).inc(step)

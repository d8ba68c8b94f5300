"""Read the worker's `/metrics` as Prometheus would: events, latency, lag, clocks."""

import asyncio
import time
from collections import deque
from statistics import median
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

#: The event rate covers the last so many seconds.
_WINDOW_S: Final = 10.0
_TIMEOUT_S: Final = 2.0
#: The worker has caught up when its clock is at most so many seconds behind and at most so many records wait.
_NEAR_S: Final = 5.0
_FEW: Final = 50


class Gauges:
    """The newest reading, and the changes since the unit went live."""

    def __init__(self) -> None:
        self.events = 0.0
        self.dead_letters = 0.0
        self.lag = 0.0
        self._clocks: list[float] = []
        self._buckets: dict[float, float] = {}
        self._before: dict[float, float] = {}
        self._readings: deque[tuple[float, float]] = deque()

    def take(self, text: str, at: float) -> None:
        """Parse a page of metrics that was read at a moment (`time.monotonic()`)."""
        self.events = self.dead_letters = self.lag = 0.0
        self._clocks, self._buckets = [], {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "dialysis_events_total":
                    self.events += sample.value
                elif sample.name == "dialysis_dead_letters_total":
                    self.dead_letters += sample.value
                elif sample.name == "dialysis_consumer_lag":
                    self.lag += sample.value
                elif sample.name == "dialysis_clock_timestamp_seconds":
                    self._clocks.append(sample.value)
                elif sample.name == "dialysis_event_to_alert_seconds_bucket":
                    bound = float(sample.labels["le"])
                    self._buckets[bound] = self._buckets.get(bound, 0.0) + sample.value
        self._readings.append((at, self.events))
        while len(self._readings) > 2 and at - self._readings[0][0] > _WINDOW_S:
            self._readings.popleft()

    def go_live(self) -> None:
        """Start to count rate and latency from here: the past came all at once."""
        self._before = dict(self._buckets)
        while len(self._readings) > 1:
            self._readings.popleft()

    @property
    def rate(self) -> float | None:
        """Events a second; None before there are two readings."""
        if len(self._readings) < 2:
            return None
        (start, first), (end, last) = self._readings[0], self._readings[-1]
        return max(0.0, last - first) / max(end - start, 0.001)

    @property
    def clock(self) -> float | None:
        """The worker's clock, as Unix time: the median of its partitions' clocks.

        The clock of a partition without a patient on a chair stands, so the slowest shows nothing.
        """
        return median(self._clocks) if self._clocks else None

    def has_caught_up(self, now: float) -> bool:
        """Whether the worker has processed the past; `now` is Unix time."""
        return self.clock is not None and now - self.clock <= _NEAR_S and self.lag <= _FEW

    @property
    def alerts(self) -> int:
        """The number of transitions that the latency covers: those that an event made since the unit is live."""
        return round(self._since_live().get(float("inf"), 0.0))

    def latency(self, share: float) -> float | None:
        """Estimate a quantile of the time from event to alert in seconds, within its bucket as Prometheus does."""
        buckets = sorted(self._since_live().items())
        if not buckets or buckets[-1][1] <= 0:
            return None
        wanted = share * buckets[-1][1]
        low, below = 0.0, 0.0
        for bound, count in buckets:
            if count >= wanted and count > below:
                if bound == float("inf"):
                    return low
                return low + (bound - low) * (wanted - below) / (count - below)
            low, below = bound, count
        return low

    def _since_live(self) -> dict[float, float]:
        return {bound: count - self._before.get(bound, 0.0) for bound, count in self._buckets.items()}


async def watch(gauges: Gauges, address: str, every: float) -> None:
    """Read the worker's metrics for ever. A worker that does not answer yet, or for a while, is no error here."""
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                async with session.get(f"http://{address}/metrics") as response:
                    gauges.take(await response.text(), time.monotonic())
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(every)

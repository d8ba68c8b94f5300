"""The event loop's pauses are measured, the worst of the last minute is a gauge."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from streams.worker.loop_watch import LoopWatch
from streams.worker.metrics import Metrics


def worst(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("dialysis_event_loop_pause_worst_seconds")


def test_the_worst_of_the_last_minute(caplog: pytest.LogCaptureFixture) -> None:
    now, metrics = [1000.0], Metrics()
    watch = LoopWatch(metrics, lambda: now[0])
    for after, seconds, expected in (
        (0, 0.01, 0.01),
        (10, 0.4, 0.4),
        (30, 0.1, 0.4),
        (29, 0.05, 0.4),
        (2, 0.0, 0.1),  # 0.4 was 61 s ago
        (30, -0.001, 0.05),
        (61, 0.002, 0.002),
    ):
        now[0] += after
        watch.saw(seconds)
        assert worst(metrics) == expected
    assert metrics.registry.get_sample_value("dialysis_event_loop_pause_seconds_count") == 7
    assert caplog.text.count("stood for") == 1
    assert len(watch._worst) == 1


async def test_it_sees_who_holds_the_loop() -> None:
    metrics = Metrics()
    watch = asyncio.create_task(LoopWatch(metrics).run())
    await asyncio.sleep(0.05)
    time.sleep(0.2)  # noqa: ASYNC251 (that is the fault)
    await asyncio.sleep(0.05)
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch
    assert (worst(metrics) or 0.0) > 0.15

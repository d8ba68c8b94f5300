"""All measurements of one run, one after the other on one screen: first pictures, following, the crowd."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser

from benchmarks.board.crowd import Read
from benchmarks.board.judging import Crowded, Figures, Following, Heap, Lags, Picture
from benchmarks.board.others import Others
from benchmarks.board.page_eyes import PageEyes, first_picture
from benchmarks.board.screen import Screen
from benchmarks.board.sender import Sender, sender
from benchmarks.board.unit_traffic import UnitTraffic
from models.settings import Settings
from streams.broker.kafka import EmbeddedKafka
from streams.kafka.topic_setup import ensure_topics
from tests.board_front.browser import chromium, chromium_path

#: Looks at the page and samples of both heaps, and how long the last transitions may take, in seconds.
_LOOK_S: Final = 1.0
_HEAP_S: Final = 10.0
_GRACE_S: Final = 30.0
#: One sample in so many is told of meanwhile.
_TOLD: Final = 6
#: What is not judged yet: the browser compiles, caches fill.
_WARM_UP: Final = 0.2
_MOST_WARM_UP_S: Final = 120.0
#: The followers connect in this time, which is not measured.
_ARRIVE_S: Final = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does."""

    minutes: float = 10.0
    rate: float = 200.0
    chairs: int = 500
    alerts: int = 2000
    #: Alerts of the last 24 h: with those of the last half hour as many as the screen keeps stories of, so that it does
    #: not grow into them.
    past: int = 14_000
    browsers: int = 50
    crowd_s: float = 60.0
    pictures: int = 7
    seed: int = 1


async def measure(plan: Plan, say: Say) -> Figures:
    """Run everything."""
    chromium_path()  # says what to install before anything takes time
    traffic = UnitTraffic(plan.seed, plan.chairs, plan.alerts)
    with tempfile.TemporaryDirectory(prefix="dialysis-bench-board-") as name, EmbeddedKafka() as kafka:
        settings = Settings(brokers=kafka.bootstrap)
        await ensure_topics(settings)
        async with sender(settings, traffic) as sending:
            records = await sending.before(plan.past)
            say(f"{records:,} records are on Kafka")
            async with Screen(settings, traffic.site(), Path(name)) as screen, chromium() as browser:
                await screen.has_read(records)
                say(f"the screen has read them: {screen.usage().cpu:.0f} CPU seconds")
                return await _measure(plan, sending, screen, browser, say)


async def _measure(plan: Plan, sending: Sender, screen: Screen, browser: Browser, say: Say) -> Figures:
    await first_picture(browser, screen.url)  # the browser itself has a first time
    pictures: list[Picture] = [await first_picture(browser, screen.url) for _ in range(plan.pictures)]
    say("pictures: " + ", ".join(f"{each.whole:.0f} ms" for each in pictures))
    following = await _follow(plan, sending, screen, browser, say)
    crowded = await _crowd(plan, sending, screen, browser)
    return Figures(pictures, following, crowded, plan.chairs, plan.alerts, plan.rate, plan.minutes)


async def _follow(plan: Plan, sending: Sender, screen: Screen, browser: Browser, say: Say) -> Following:
    lags, seconds = Lags(), plan.minutes * 60
    eyes = await PageEyes.opened(browser, screen.url, lags)
    pages: list[float] = []
    servers: list[float] = []
    warm_up = min(_MOST_WARM_UP_S, _WARM_UP * seconds)

    async def sample() -> None:
        await asyncio.sleep(warm_up)
        while True:
            pages.append(await eyes.heap())
            servers.append(float(screen.usage().rss))
            if len(pages) % _TOLD == 0:
                say(
                    f"  page {pages[-1] / 1e6:.1f} MB, server {servers[-1] / 1e6:.0f} MB, "
                    f"lag at most {lags.at(100) * 1000:.0f} ms, {lags.missing} on the way"
                )
            await asyncio.sleep(min(_HEAP_S, seconds / 20))

    before, others = screen.usage(), Others()
    async with _looking(eyes), _beside(sample()):
        rate = await sending.transitions(plan.rate, seconds, lags.sent)
        after, cores = screen.usage(), others.cores()
    await _drawn(eyes, lags)
    await eyes.close()
    busy = (after.cpu - before.cpu) / (after.at - before.at)
    return Following(lags, Heap(pages), Heap(servers), rate, busy, eyes.blind, cores)


async def _drawn(eyes: PageEyes, lags: Lags) -> None:
    """Wait until everything that was sent is drawn: what is not, after so long, never will be."""
    deadline = time.monotonic() + _GRACE_S
    await eyes.look()
    while lags.missing and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_S / 4)
        await eyes.look()


async def _crowd(plan: Plan, sending: Sender, screen: Screen, browser: Browser) -> Crowded:
    eyes = await PageEyes.opened(browser, screen.url, Lags())
    count, seconds = plan.browsers - 1, plan.crowd_s
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.board.crowd", screen.url, str(count), str(_ARRIVE_S + seconds),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with _looking(eyes):
            await sending.transitions(plan.rate, _ARRIVE_S)
            before = screen.usage()
            rate = await sending.transitions(plan.rate, seconds - 1)
            after = screen.usage()
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    await eyes.close()
    reads = [Read(**each) for each in json.loads(told)]
    return Crowded(
        browsers=plan.browsers,
        busy=(after.cpu - before.cpu) / (after.at - before.at),
        changes=min(read.changes for read in reads),
        megabytes=sum(read.size for read in reads) / 1e6 / (_ARRIVE_S + seconds),
        gaps=sum(read.gaps > 0 or not read.changes for read in reads),
        rate=rate,
    )


@contextlib.asynccontextmanager
async def _looking(eyes: PageEyes) -> AsyncIterator[None]:
    async def look() -> None:
        while True:
            began = time.monotonic()
            await eyes.look()
            await asyncio.sleep(max(0.0, _LOOK_S - (time.monotonic() - began)))

    async with _beside(look()):
        yield


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do some work for ever beside the body; where it fails, the body's end says so."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

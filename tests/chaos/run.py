"""One run: a fault and a seed, played, read back by offsets to the log's end, and judged."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from models.topics import DEAD_LETTERS, PATIENT_TOPICS
from streams.broker.errors import BrokerError
from streams.broker.kafka import EmbeddedKafka
from tests.chaos.faults import BY_NAME, Fault, disk_of
from tests.chaos.feed import SPEED, Feed, LiveReader
from tests.chaos.logs import Logs, Record
from tests.chaos.oracle import Verdict, judge
from tests.chaos.plan import Plan, plan
from tests.chaos.scene import Scene
from tests.integration.alert_records import ALERT_TOPICS
from tests.integration.unit_under_test import UnitUnderTest
from tests.integration.worker_process import COMMAND, until

_PARTITIONS = 4
#: After the last message everything must be told and committed within this.
_DONE_S = 90.0
#: How far a transition's `at` may lie behind the record that brought it about, in unit time: a second of ours. Topics
#: have no order between each other, so a task may have heard of a later moment already.
_SLACK = timedelta(seconds=SPEED)


@dataclass
class Result:
    """What a run showed.

    Attributes:
        recover_s: from each injury to the first alert of a message that was sent after it.
        restart_s: the same where the worker that was killed did not yet own anything.
        pause_s: the longest that an alert took while a worker joined.
        done_s: from the last message to the log's end.
    """

    fault: str
    seed: int
    verdict: Verdict = field(default_factory=Verdict)
    recover_s: list[float] = field(default_factory=list)
    restart_s: list[float] = field(default_factory=list)
    pause_s: list[float] = field(default_factory=list)
    done_s: float = 0.0
    injuries: int = 0
    notes: list[str] = field(default_factory=list)
    failure: str = ""

    @property
    def latencies(self) -> list[float]:
        return [latency for _, latency in self.verdict.latencies]

    @property
    def kept(self) -> bool:
        """Nothing lost, nothing made up, no repeat that differs, everything committed, in time."""
        fault = BY_NAME[self.fault]
        times = ((fault.recover_s, self.recover_s), (fault.restart_s, self.restart_s), (fault.pause_s, self.pause_s))
        in_time = all(limit is None or max(taken, default=0) <= limit for limit, taken in times)
        return not self.failure and not self.verdict.findings and in_time

    @property
    def again(self) -> str:
        """The command that repeats it."""
        return f"make soak ARGS='--fault {self.fault} --seed {self.seed}'"

    def told(self) -> str:
        """In a line."""
        v = self.verdict
        figures = f"{v.must} planted, {v.lost} lost, {v.extra} extra, {v.differing} differing, {v.repeats} repeats"
        times = f"p50 {percentile(self.latencies, 50):.2f} p99 {percentile(self.latencies, 99):.2f} s"
        if self.recover_s:
            times += f", recovered in {max(self.recover_s):.1f} s"
        if self.restart_s:
            times += f", after a kill at the start in {max(self.restart_s):.1f} s"
        if self.pause_s:
            times += f", paused {max(self.pause_s):.2f} s"
        times += f", `at` behind by {v.furthest:.1f} s"
        end = "at the log's end" if v.at_log_end else "NOT at the log's end"
        return f"{self.fault} seed {self.seed}: {figures}, {end}, {times}, {self.injuries} injuries"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so many percent do not exceed; 0 where there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] if ordered else 0.0


async def run(
    fault: Fault,
    seed: int,
    bootstrap: str | None = None,
    command: Sequence[str | Path] = (COMMAND, "worker"),
    minutes: float | None = None,
) -> Result:
    """Play a fault with a seed.

    Args:
        fault: what goes wrong.
        seed: what is played, and when it goes wrong.
        bootstrap: a broker that others may use as well; one of its own where the fault needs that, or none is given.
        command: what a worker is.
        minutes: of unit time, where the fault's own length does not suit.
    """
    result = Result(fault.name, seed)
    try:
        async with contextlib.AsyncExitStack() as stack:
            broker = None
            if fault.own_broker or bootstrap is None:
                folder = await stack.enter_async_context(disk_of(fault.small_disk))
                broker = EmbeddedKafka(folder)
                await asyncio.to_thread(broker.start)
                stack.push_async_callback(asyncio.to_thread, broker.close)
            address = broker.bootstrap if broker else bootstrap or ""
            unit = await stack.enter_async_context(UnitUnderTest(address, partitions=_PARTITIONS, own_time=True))
            scene = Scene(unit, random.Random(f"{fault.name}:{seed}"), command, broker)
            await _play(fault, seed, scene, result, minutes)
            if broker is None:
                await unit.remove()
    except (BrokerError, AssertionError) as error:
        result.failure = str(error)
    return result


async def _play(fault: Fault, seed: int, scene: Scene, result: Result, minutes: float | None) -> None:
    unit, shape = scene.unit, fault.shape
    if minutes is not None:
        shape = type(shape)(minutes, shape.scenario, shape.probe_every, shape.probes, shape.storm)
    # Unit time is behind ours and ends now: no record is ahead of a broker's clock.
    length = timedelta(seconds=0 if fault.backlog else shape.minutes * 60 / SPEED)
    begin = datetime.now(UTC) + length - shape.length + timedelta(seconds=4)
    drawn = plan(seed, begin, shape, unit.subjects, unit.partitions)
    feed = Feed(unit, drawn)
    async with LiveReader(unit) as reader:
        supervising: asyncio.Task[None] | None = None
        try:
            if fault.backlog:
                await feed.at_once()
                scene.injured()
            for _ in range(fault.workers):
                scene.hire()
            supervising = asyncio.create_task(scene.supervise())
            await scene.ready()
            if not fault.backlog:
                await _play_and_injure(fault, scene, feed, drawn)
            finished = time.time()
            await _until_done(scene)
            result.done_s = time.time() - finished
        finally:
            if supervising is not None:
                supervising.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await supervising
            await scene.dismiss()
        logs = await _harvest(unit, drawn, reader)
    # Other runs go on side by side, and are timed.
    result.verdict = await asyncio.to_thread(judge, logs, _SLACK)
    _measure(scene, result)


async def _play_and_injure(fault: Fault, scene: Scene, feed: Feed, drawn: Plan) -> None:
    """The fault goes on until all but the last messages are sent."""
    last = drawn.messages[-len(drawn.closing) - 1]
    injuring = asyncio.create_task(fault.inject(scene))
    playing = asyncio.create_task(feed.play())
    try:
        while not playing.done() and last.acknowledged is None and not injuring.done():
            # A fault that waits for the feed must not outlast it, nor the feed a fault that holds the broker.
            remaining = feed.started + drawn.seconds(last) / SPEED - time.monotonic()
            if remaining < 0:
                scene.played.set()
            await asyncio.sleep(0.05)
        scene.played.set()
        await injuring
        await playing
    finally:
        for task in (injuring, playing):
            task.cancel()
        await asyncio.gather(injuring, playing, return_exceptions=True)


async def _until_done(scene: Scene) -> None:
    """Everything on the input topics committed: handled, stored, sent. What is not, the oracle says."""

    async def done() -> bool:
        committed = await scene.unit.committed()
        return all(committed.get(tp, 0) == end for tp, end in (await scene.unit.ends()).items())

    with contextlib.suppress(AssertionError):
        await until(done, _DONE_S, "everything to be committed", every=0.3)


async def _harvest(unit: UnitUnderTest, drawn: Plan, reader: LiveReader) -> Logs:
    """Everything, by offsets to the present ends; nobody writes any more."""
    logs = Logs(sent=drawn.messages)
    logs.inputs = await _read(unit, *PATIENT_TOPICS)
    logs.alerts = await _read(unit, *ALERT_TOPICS)
    logs.active = await _read(unit, "alerts.active")
    logs.dead = await _read(unit, DEAD_LETTERS)
    prefix = unit.settings.topic_prefix
    logs.ends = {(tp.topic.removeprefix(prefix), tp.partition): end for tp, end in (await unit.ends()).items()}
    committed = await unit.committed()
    logs.committed = {(tp.topic.removeprefix(prefix), tp.partition): offset for tp, offset in committed.items()}
    for table in ("patients", "loops"):
        logs.stored |= {key.decode(): state for key, state in (await unit.stored(table)).items()}
    await reader.until_has([record.place for record in logs.alerts], 15)
    logs.seen = dict(reader.seen)
    return logs


async def _read(unit: UnitUnderTest, *names: str) -> list[Record]:
    prefix = unit.settings.topic_prefix
    return [
        Record(r.topic.removeprefix(prefix), r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
        for r in await unit.read(*names)
    ]


def _measure(scene: Scene, result: Result) -> None:
    """Recovery: the first alert of a message that came after an injury, unless another one came before it."""
    alerts = sorted((seen, seen - latency) for seen, latency in result.verdict.latencies)
    result.injuries = len(scene.injuries)
    for (injured, starting), (following, _) in itertools.pairwise([*scene.injuries, (float("inf"), False)]):
        first = next((seen for seen, acknowledged in alerts if acknowledged > injured), None)
        if first is not None and first < following:
            (result.restart_s if starting else result.recover_s).append(first - injured)
    for begun, over in scene.joins:
        slow = [seen - acknowledged for seen, acknowledged in alerts if begun <= acknowledged <= over]
        if slow:
            result.pause_s.append(max(slow))
    result.notes = list(scene.notes)

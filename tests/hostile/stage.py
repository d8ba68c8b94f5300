"""A unit under attack: critical results of other patients are planted all the while, and what becomes of them is read.

Delays are the broker's: from when it appended a result to its log to when it appended the alert, both by its clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from models.topics import CLINICAL_EVENTS
from tests.chaos.run import percentile
from tests.chaos.scene import Post, Scene
from tests.integration.alert_records import ALERT_TOPICS
from tests.integration.messages import Message, ago, lab, session_started, symptom
from tests.integration.unit_under_test import SILENT, UnitUnderTest
from tests.integration.worker_process import COMMAND, WorkerProcess, until

Attack = Callable[["Stage"], Coroutine[Any, Any, None]]
Condition = Callable[[], Awaitable[Any] | Any]

#: An alert that is not told so long after the attack is over is lost.
LOST_S: Final = 30.0
#: The topics where others' alerts come; the broker stamps them.
_MEASURED: Final = ("alerts.low-magnesium", "alerts.cramp")
#: Everybody planted has one of these, and nothing else.
LOW_MAGNESIUM: Final = "low_magnesium"
CRAMP: Final = "intradialytic_cramp"


@dataclass(frozen=True)
class Case:
    """One thing that is done to a worker.

    Attributes:
        name: as `--case` takes it.
        does: in a few words.
        attack: does it, and plants others meanwhile.
        worst_s: no alert of others takes longer, where that is promised.
        growth_mb: the worker grows by no more than this over what it had when it was ready, where that is promised.
        command: what a worker is.
        own_time: records have the time of their producer, whose clock is not the broker's.
    """

    name: str
    does: str
    attack: Attack
    worst_s: float | None = None
    growth_mb: float | None = None
    command: Sequence[str | Path] = (COMMAND, "worker")
    own_time: bool = False
    partitions: int = 2


@dataclass
class Outcome:
    """What a case showed.

    Attributes:
        planted: alerts that must be told.
        lost: whose were not.
        made_up: alerts that nothing called for, as (patient, rule, transition).
        calm: delays (s) of others before the attack.
        delays: delays (s) of others from the attack on.
        start_mb: memory of the worker when it was ready.
        peak_mb: the most that any worker had.
        findings: what else did not hold.
        notes: what a reader of the figures should know.
    """

    case: Case
    planted: int = 0
    lost: list[str] = field(default_factory=list)
    made_up: list[tuple[str, str, str]] = field(default_factory=list)
    calm: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    start_mb: float = 0.0
    peak_mb: float = 0.0
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def worst_s(self) -> float:
        """The longest delay of others."""
        return max(self.delays, default=0.0)

    @property
    def in_time(self) -> bool:
        """No alert of others took longer than promised."""
        return self.case.worst_s is None or self.worst_s <= self.case.worst_s

    @property
    def in_memory(self) -> bool:
        """The worker grew no more than promised."""
        return self.case.growth_mb is None or self.peak_mb - self.start_mb <= self.case.growth_mb

    @property
    def wrong(self) -> list[str]:
        """What does not hold whatever the machine does besides: lost, made up, grown, unsaid."""
        found = list(self.findings)
        if self.lost:
            found.append(f"{len(self.lost)} of {self.planted} alerts lost, such as that of {self.lost[0]}")
        if self.made_up:
            found.append(f"{len(self.made_up)} alerts made up, such as {self.made_up[0]}")
        if not self.planted:
            found.append("nobody was planted: this proves nothing")
        if not self.in_memory:
            found.append(f"grew by {self.peak_mb - self.start_mb:.0f} MB, {self.case.growth_mb:g} promised")
        return found

    @property
    def kept(self) -> bool:
        """Everything that is promised of the case."""
        return not self.wrong and self.in_time

    def told(self) -> str:
        """In a line."""
        worst = f"worst {self.worst_s:.2f} s, p50 {percentile(self.delays, 50):.2f} s"
        calm = f"before {max(self.calm, default=0.0):.2f} s at most"
        lost = f"{self.planted} planted, {len(self.lost)} lost, {len(self.made_up)} made up"
        return f"{self.case.name}: {lost}, {worst} ({calm}), {self.start_mb:.0f} to {self.peak_mb:.0f} MB"


@dataclass
class Stage:
    """What a case may lay hands on.

    Attributes:
        planted: when (ms, the broker's clock) what calls for an alert was appended, by (patient, rule).
        innocent: patients of whom nothing may be told.
    """

    unit: UnitUnderTest
    scene: Scene
    outcome: Outcome
    planted: dict[tuple[str, str], int] = field(default_factory=dict)
    innocent: set[str] = field(default_factory=set)
    _names: Any = field(default_factory=lambda: (f"other{number}" for number in itertools.count()))
    _began_ms: float = float("inf")

    # -- workers

    @property
    def worker(self) -> WorkerProcess:
        """Whoever holds the first post."""
        return self.scene.posts[0].worker

    async def opened(self) -> Post:
        """One worker that is ready and has told the alerts of a calm second; the attack begins now."""
        post = self.scene.hire()
        await self.scene.ready(post)
        self.outcome.start_mb = resident_mb(post.worker)
        for _ in range(5):
            await self.plant()
            await asyncio.sleep(0.2)
        await until(self.all_told, 20, "the alerts of a calm second")
        self.begins()
        return post

    def begins(self) -> None:
        """Whoever is planted from now on counts for the delays."""
        self._began_ms = time.time() * 1000

    async def restart(self) -> None:
        """SIGTERM, and start as the supervisor does."""
        (post, *_) = self.scene.posts
        await self.scene.terminate(post)
        await self.scene.ready(post)

    async def down(self) -> None:
        """SIGTERM, and nobody starts it."""
        await self.scene.terminate(self.scene.posts[0], again=False)

    async def refuses(self, worker: WorkerProcess, *words: str) -> None:
        """A worker that must not start ends by itself, saying why, without a traceback."""
        try:
            await until(lambda: not worker.running, 20, "a worker to refuse to start")
            await worker.ended()
        except AssertionError:
            self.outcome.findings.append("a worker started that should have refused to")
            worker.kill()
            return
        self.holds(all(word in worker.said for word in words), "it refused to start without saying why")
        self.holds("Traceback" not in worker.said, "it ended with a traceback")

    # -- others

    async def plant(self, *names: str) -> list[Any]:
        """Critical results of other patients, who are new unless named; returns where they lie."""
        wanted = names or (next(self._names),)
        places = await self.unit.publish([lab(name, 0.5) for name in wanted])
        for name, place in zip(wanted, places, strict=True):
            self.planted[name, LOW_MAGNESIUM] = place.timestamp
        return places

    async def plant_cramp(self) -> None:
        """Another patient, new, has a cramp in a session that runs."""
        name = next(self._names)
        session = session_started(name, f"s-{name}", ago(600))
        cramp = symptom(name, "cramp", f"y-{name}")
        await self.unit.publish([session])
        await asyncio.sleep(0.2)  # Topics have no order between each other.
        (place,) = await self.unit.publish([cramp])
        assert cramp.topic == CLINICAL_EVENTS
        self.planted[name, CRAMP] = place.timestamp

    @contextlib.asynccontextmanager
    async def others(self, every: float = 0.2) -> AsyncIterator[None]:
        """New patients with critical results one after the other, until the block ends."""
        over = asyncio.Event()

        async def go_on() -> None:
            while not over.is_set():
                await self.plant()
                await asyncio.sleep(every)

        planting = asyncio.create_task(go_on())
        try:
            yield
        finally:
            over.set()
            await planting

    async def all_told(self) -> bool:
        """Whether readers have the alert of everybody planted."""
        return not self.planted.keys() - first_told(await (await self.unit.tail()).poll()).keys()

    # -- what must hold besides

    def holds(self, condition: object, otherwise: str) -> None:
        """Note a finding unless a condition holds."""
        if not condition:
            self.outcome.findings.append(otherwise)

    async def in_time(self, condition: Condition, seconds: float, otherwise: str) -> None:
        """Note a finding unless a condition comes to hold within so many seconds."""
        try:
            await until(condition, seconds, otherwise, every=0.2)
        except AssertionError:
            self.outcome.findings.append(otherwise)

    async def said_unready(self, word: str, seconds: float = 20) -> None:
        """`/readyz` says no, and why."""

        async def look() -> bool:
            status, text = await self.worker.get("/readyz")
            return status == 503 and word in text

        await self.in_time(look, seconds, f"/readyz did not say within {seconds:g} s that {word}")

    async def handled(self, places: Iterable[Any], seconds: float = 60) -> None:
        """Wait until records that were published are behind the committed offsets."""
        ends: dict[tuple[str, int], int] = {}
        for place in places:
            tp = (place.topic, place.partition)
            ends[tp] = max(ends.get(tp, 0), place.offset + 1)

        async def look() -> bool:
            committed = {(tp.topic, tp.partition): offset for tp, offset in (await self.unit.committed()).items()}
            return all(committed.get(tp, 0) >= end for tp, end in ends.items())

        await self.in_time(look, seconds, f"what was sent was not handled within {seconds:g} s")

    async def publish_and_wait(self, messages: Iterable[Message], seconds: float = 60) -> None:
        """Publish, and wait until it is handled."""
        await self.handled(await self.unit.publish(messages), seconds)

    # -- figures

    async def watch(self) -> None:
        """Keep the peak of memory of every worker that works."""
        while True:
            self.look_at_memory()
            await asyncio.sleep(0.1)

    def look_at_memory(self) -> None:
        """The peak so far."""
        for post in self.scene.posts:
            self.outcome.peak_mb = max(self.outcome.peak_mb, peak_mb(post.worker))

    def reckon(self, records: Iterable[Any]) -> None:
        """Fill in the outcome from all that was told."""
        told, outcome = first_told(records), self.outcome
        outcome.planted = len(self.planted)
        outcome.lost = [patient for patient, rule in self.planted if (patient, rule) not in told]
        for name, appended in self.planted.items():
            if name in told:
                where = outcome.delays if appended >= self._began_ms else outcome.calm
                where.append((told[name] - appended) / 1000)
        ours = {patient for patient, _ in self.planted}
        for record in records:
            alert = json.loads(record.value)
            patient, rule, transition = alert["patient_id"], alert["rule"], alert["transition"]
            called_for = (patient, rule) in self.planted and transition == "raised"
            if patient in self.innocent or (patient in ours and not called_for):
                outcome.made_up.append((patient, rule, transition))


def first_told(records: Iterable[Any]) -> dict[tuple[str, str], int]:
    """When (ms, the broker's clock) alerts were first raised, by (patient, rule)."""
    found: dict[tuple[str, str], int] = {}
    for record in records:
        alert = json.loads(record.value)
        if alert["patient_id"] and alert["transition"] == "raised":
            name = (alert["patient_id"], alert["rule"])
            found[name] = min(found.get(name, record.timestamp), record.timestamp)
    return found


def _status_mb(worker: WorkerProcess, name: str) -> float:
    try:
        lines = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)


def resident_mb(worker: WorkerProcess) -> float:
    """Memory of a worker now; 0 where it has ended."""
    return _status_mb(worker, "VmRSS:")


def peak_mb(worker: WorkerProcess) -> float:
    """The most memory that a worker ever had, as the kernel knows it; 0 where it has ended."""
    return _status_mb(worker, "VmHWM:")


async def run(case: Case, bootstrap: str) -> Outcome:
    """Play a case on topics of its own."""
    outcome = Outcome(case)
    async with UnitUnderTest(bootstrap, case.partitions, case.own_time, rules=SILENT) as unit:
        await unit.configure({topic: {"message.timestamp.type": "LogAppendTime"} for topic in _MEASURED})
        scene = Scene(unit, random.Random(case.name), case.command)
        stage = Stage(unit, scene, outcome)
        tasks = [asyncio.create_task(scene.supervise()), asyncio.create_task(stage.watch())]
        try:
            await case.attack(stage)
        except AssertionError as error:
            outcome.findings.append(str(error).partition("\n")[0])
        try:
            await until(stage.all_told, LOST_S, "all alerts", every=0.2)
        except AssertionError:
            pass  # The reckoning names them.
        finally:
            stage.look_at_memory()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await scene.dismiss()
        stage.reckon(await unit.read(*ALERT_TOPICS))
        outcome.findings += dict.fromkeys(scene.notes)
        await unit.remove()
    return outcome

"""The watch over `alerts.active`, with a broker of one log a partition in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from streams.transport.api import StaleGenerationError
from streams.worker import active_alerts_watch
from streams.worker.active_alerts_watch import ActiveAlertsWatch
from streams.worker.ports import NO_REVISION, NamedRecord
from tests.unit.fake_port import FakeKafka, Host, install, settings
from tests.unit.task_events import P1

TOPIC = TopicPartition("t.alerts.active", 0)
LATE = msgspec.json.encode({"revision": 1, "patient_id": P1})


class Log:
    """One partition of `alerts.active`, and the consumer that reads it."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.positions: dict[Any, int] = {}

    def append(self, key: bytes, value: bytes | None) -> None:
        self.records.append(ConsumerRecord(TOPIC.topic, 0, len(self.records), 0, 0, key, value, None, 0, 0, ()))

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assign(self, tps: list[Any]) -> None:
        self.positions = {tp: self.positions.get(tp, 0) for tp in tps}

    def assignment(self) -> set[Any]:
        return set(self.positions)

    async def position(self, tp: Any) -> int:
        return self.positions[tp]

    async def end_offsets(self, tps: list[Any]) -> dict[Any, int]:
        return {tp: len(self.records) for tp in tps}

    def seek(self, tp: Any, offset: int) -> None:
        self.positions[tp] = offset

    async def getmany(self, **_: Any) -> dict[Any, list[Any]]:
        await asyncio.sleep(0.001)
        found = {tp: self.records[position:] for tp, position in self.positions.items()}
        self.positions = dict.fromkeys(self.positions, len(self.records))
        return {tp: records for tp, records in found.items() if records}


class Owner:
    """A task: what it was told were last words."""

    def __init__(self) -> None:
        self.words: list[NamedRecord] = []
        self.put_off: set[str] = set()
        self.error: BaseException | None = None

    async def correct(self, words: Iterable[NamedRecord]) -> set[str]:
        if self.error is not None:
            raise self.error
        self.words += words
        return self.put_off


class Group:
    """An app and an assignment of one task."""

    def __init__(self) -> None:
        self.generation, self.ready, self.task = 1, True, Owner()
        self.tasks: dict[int, Any] = {0: self.task}
        self.kind = self
        self.table = "patients"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    monkeypatch.setattr(active_alerts_watch, "_Consumer", lambda **_: made)
    monkeypatch.setattr(active_alerts_watch, "_RETRY_S", 0.001)
    monkeypatch.setattr(active_alerts_watch, "_REBALANCE_S", 0.001)
    monkeypatch.setattr(active_alerts_watch, "SETTLED_S", 0.02)
    return made


@contextlib.asynccontextmanager
async def _watching(group: Group) -> Any:
    watching = asyncio.create_task(ActiveAlertsWatch(group, settings(), [group]).watch())  # type: ignore[arg-type, list-item]
    await asyncio.sleep(0.05)
    yield watching
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_word_is_judged(log: Log) -> None:
    group = Group()
    async with _watching(group) as watching:
        log.append(b"a", LATE)
        await asyncio.sleep(0.1)
        assert not watching.done()
    assert [name for name, _ in group.task.words] == ["a"]


@pytest.mark.parametrize("value", [b"\xff", b"{", b"{}", b"null", b'{"revision":"1"}'])
async def test_what_is_no_alert_does_not_end_the_watch(log: Log, value: bytes) -> None:
    group = Group()
    async with _watching(group) as watching:
        log.append(b"\xff", LATE)
        log.append(b"a", value)
        log.append(b"b", LATE)
        await asyncio.sleep(0.1)
        assert not watching.done()
    assert [(name, shown and shown.revision) for name, shown in group.task.words] == [("a", NO_REVISION), ("b", 1)]


async def test_a_word_of_which_it_is_too_soon_for_an_answer_is_asked_about_again(log: Log) -> None:
    group = Group()
    group.task.put_off = {"a"}
    async with _watching(group):
        log.append(b"a", LATE)
        log.append(b"b", LATE)
        await asyncio.sleep(0.1)
        group.task.put_off = set()
        await asyncio.sleep(0.05)
        asked = len(group.task.words)
        await asyncio.sleep(0.05)
    names = [name for name, _ in group.task.words]
    assert names.count("a") >= 2
    assert names.count("b") == 1
    assert len(names) == asked


async def test_a_word_that_nobody_could_judge_in_a_rebalance_is_judged_after_it(log: Log) -> None:
    group = Group()
    async with _watching(group):
        log.append(b"a", LATE)
        await asyncio.sleep(0.01)
        tasks, group.tasks = group.tasks, {}  # revoked while a fetch was under way
        await asyncio.sleep(0.1)
        group.tasks, group.generation = tasks, 2  # and kept
        await asyncio.sleep(0.1)
    assert [name for name, _ in group.task.words] == ["a"]


async def test_a_word_in_whose_answer_the_partition_was_lost_is_judged_after_the_rebalance(log: Log) -> None:
    group = Group()
    async with _watching(group):
        group.task.error = StaleGenerationError()
        log.append(b"a", LATE)
        await asyncio.sleep(0.1)
        group.task.error, group.generation = None, 2
        await asyncio.sleep(0.1)
    assert [name for name, _ in group.task.words] == ["a"]


async def test_a_word_between_what_a_task_says_anew_and_the_watchs_start_is_judged(log: Log) -> None:
    group = Group()
    tasks, group.tasks = group.tasks, {}
    log.append(b"old", LATE)
    async with _watching(group):
        group.ready = False
        await asyncio.sleep(0.05)
        log.append(b"a", LATE)  # the task has taken over, and the watch does not know yet
        group.tasks, group.generation, group.ready = tasks, 2, True
        await asyncio.sleep(0.1)
    assert [name for name, _ in group.task.words] == ["a"]


class _Hung(FakeKafka):
    """A broker that takes no message."""

    async def send_all(self, messages: Any) -> None:
        if messages:
            await asyncio.Event().wait()


async def test_a_task_that_is_cancelled_does_not_cancel_the_watch(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of patience with a broker that is away, a revocation cancels the tasks: that is not the watch's end."""
    kafka = _Hung()
    install(kafka.clock, monkeypatch)
    host = await Host(kafka).start()
    running = asyncio.create_task(host.task.run())
    group = Group()
    group.tasks = {0: host.task}
    async with _watching(group) as watching:
        kafka.lab(P1, 0, 1.5)
        for topic in host.kind.topics:
            await host.deliver(topic)
        log.append(b"a", LATE)
        await asyncio.sleep(0.3)
        assert not watching.done()
        running.cancel()
        await asyncio.sleep(0.1)
        assert running.cancelled()
        assert not watching.done()

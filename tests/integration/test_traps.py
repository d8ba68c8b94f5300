"""Traps of Faust 0.15.3 that only a real broker can show, or that are worth a look at one. See docs/traps.md.

Most are forced without a broker, in tests/unit/test_traps.py and its neighbours.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streams.transport import TP
from streams.transport import changelog as changelog_module
from streams.transport.changelog import read_changelogs
from streams.transport.thread import ConsumerThread
from tests.integration.toy_app import Worker
from tests.integration.toys import Playground
from tests.integration.worker_process import until


class Held:
    """Holds a coroutine function of one worker, after its work is done, until let go."""

    def __init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.go.wait()


def offsets(*workers: Worker) -> dict[TP, list[int]]:
    found: dict[TP, list[int]] = {}
    for worker in workers:
        for batch in worker.got:
            found.setdefault(batch.tp, []).extend(record.offset for record in batch.records)
    return found


async def could_be_taken(worker: Worker) -> None:
    """Returns when aiokafka holds records, or the end, of every input, and the delivery loop has had time to take."""
    thread = worker.app.batch_consumer.thread
    inputs = [tp for tp in thread.assignment() if tp.topic in worker.play.inputs]
    await until(lambda: inputs and all(TP(*tp) in thread.answers for tp in inputs), 10)
    for _ in range(100):
        await asyncio.sleep(0.001)


async def expected(play: Playground) -> dict[TP, list[int]]:
    return {tp: list(range(end)) for tp, end in (await play.ends(play.inputs)).items() if end}


@pytest.mark.parametrize("place", ["seek", "assigned"])
async def test_a_cold_start_and_a_rebalance_deliver_everything_once(
    place: str, bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust fetches between its seek and the clearing of its queues: one start in sixteen loses (#596).

    Every start and every rebalance is held there, until more than enough has been produced and could be fetched.
    """
    held = Held()
    seek = ConsumerThread.start_at_committed

    async def seeks(thread: Any, tps: Any) -> Any:
        positions = await seek(thread, tps)
        if place == "seek":
            await held()
        return positions

    async def assigned(worker: Worker, partitions: set[int], recovered: Any) -> None:
        await taken(worker, partitions, recovered)
        if place == "assigned":
            await held()

    taken = Worker.on_assigned
    monkeypatch.setattr(ConsumerThread, "start_at_committed", seeks)
    monkeypatch.setattr(Worker, "on_assigned", assigned)
    play = await Playground(bootstrap).create()
    await play.produce(1_000)
    first = Worker(play)
    await held.reached.wait()
    await first.app._fetcher.maybe_start()  # Faust's has run since its own recovery began
    await could_be_taken(first)
    assert first.got == []
    held.go.set()
    await until(lambda: sum(map(len, first.got)) == 1_000, 10)
    assert offsets(first) == await expected(play)

    held.reached.clear()
    held.go.clear()
    second = Worker(play)
    await until(lambda: first.revoked == 1, 10)
    await play.produce(1_000)
    await held.reached.wait()
    await could_be_taken(first)
    assert sum(map(len, first.got + second.got)) == 1_000
    held.go.set()
    await until(lambda: sum(map(len, first.got + second.got)) >= 2_000, 10)
    assert offsets(first, second) == await expected(play)
    await first.end()
    await second.end()


async def test_batches_that_are_held_do_not_hold_up_the_end(bootstrap: str) -> None:
    """Faust waits until all that was delivered is acknowledged, for ever (`wait_empty`)."""
    play = await Playground(bootstrap).create()
    worker = Worker(play, start=False)
    worker.acks = False
    worker.start()
    await worker.ready()
    await play.produce(500)
    await until(lambda: sum(map(len, worker.got)) == 500, 10)
    ending = asyncio.ensure_future(worker.end())
    await asyncio.wait({ending}, timeout=4)
    waited = not ending.done()
    worker.app.batch_consumer._unacked_messages.clear()  # where Faust waits, it does not even let itself be cancelled
    await ending
    assert not waited
    assert not any((await play.committed()).values())


async def test_a_changelog_is_read_in_batches_and_not_by_the_group(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust reads it one record at a time through its stream, 4,000 a second, and again at every rebalance."""
    play = await Playground(bootstrap).create()
    first = await Worker(play).ready()
    for start in range(0, 3_000, 100):
        await first.writer.write(1, {b"%d" % n: b"v" for n in range(start, start + 100)})
    await first.end()
    polls = 0

    class Counting(changelog_module._Consumer):  # type: ignore[misc]
        async def getmany(self, *args: Any, **more: Any) -> Any:
            nonlocal polls
            polls += 1
            return await super().getmany(*args, **more)

    monkeypatch.setattr(changelog_module, "_Consumer", Counting)
    found = await read_changelogs(play.settings, {play.changelog: [1]})
    assert len(found[play.changelog][1].values) == 3_000
    assert polls <= 30
    second = await Worker(play).ready()
    await until(lambda: all(second.app.end_confirmed_at(TP(play.inputs[0], p)) for p in range(4)), 5)
    fetcher: Any = second.app.batch_consumer.thread._ensure_consumer()._fetcher
    assert not [tp for tp in fetcher._records if tp.topic == play.changelog]
    await second.end()

"""What Faust 0.15.3 does that would lose, repeat or delay, and that it does not do here. See docs/traps.md.

Each test is of one trap and fails without our correction. Where the trap is a race, the code is held at the dangerous
place (`Hold`) while the other side goes as far as it can.
"""

from __future__ import annotations

import asyncio
from typing import Any

import faust.streams
import pytest

from models.settings import Settings
from streams.rules.catalogue import parse_settings
from streams.transport import PartitionCountError, StaleGenerationError, TopicSet, create_app
from streams.transport.api import TP
from streams.transport.ownership import Attached
from streams.worker.assignment import Assignment
from streams.worker.health import Health
from streams.worker.metrics import Metrics
from tests.unit.fake_port import patients
from tests.unit.fake_thread import Bench, Hold, passes, spin

IN, MORE = TP("in", 0), TP("more", 0)


def offsets(*numbers: int, topic: str = "in") -> list[tuple[str, int, int]]:
    return [(topic, 0, number) for number in numbers]


def without_cython(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams as `NO_CYTHON`, or a platform without a wheel, makes them."""
    monkeypatch.setattr(faust.streams, "_CStreamIterator", None)


# -- agents and what they acknowledge ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cython", [True, False])
async def test_an_exception_in_an_agent_ends_the_worker_and_acknowledges_nothing(
    cython: bool, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust starts the agent again, after it has acknowledged the event."""
    if not cython:
        without_cython(monkeypatch)
    await bench.start()
    await bench.assign(0)

    async def fails(_: object) -> None:
        raise ZeroDivisionError

    bench.handle = fails
    bench.put(2)
    with pytest.raises(ZeroDivisionError):
        await bench.until(lambda: False)
    assert bench.delivered == offsets(0)
    assert bench.thread.committed == {}


async def test_an_agent_is_one_coroutine() -> None:
    """Several at once would take the batches of a partition in any order."""
    settings = Settings()
    app = create_app(settings)
    Assignment(app, patients(parse_settings({})), settings, Metrics(), Health(), passes, passes)  # type: ignore[arg-type]
    assert [agent.concurrency for agent in app.agents.values()] == [1]


@pytest.mark.parametrize("way", ["take", "iterate"])
async def test_nothing_but_batch_ack_acknowledges(way: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust's `take` acknowledges what the agent has not finished, also when it fails; so does every plain stream."""
    without_cython(monkeypatch)
    seen = []

    async def takes(stream: Any) -> None:
        async for value in stream.take(2, within=10) if way == "take" else stream:
            seen.append(value)  # noqa: PERF401 - the test looks at it meanwhile

    bench.agent.fun = takes
    await bench.start()
    await bench.assign(0)
    bench.put(4)
    await bench.until(lambda: len(seen) == (2 if way == "take" else 4))
    await spin()
    await bench.stop()
    assert bench.thread.commits == []


async def test_faust_keeps_no_book_of_its_own(bench: Bench) -> None:
    """Its streams note every acknowledged offset; only its own commit, which is not used, would ever cross them out."""
    await bench.start()
    await bench.assign(0)
    bench.put(3)
    await bench.until(lambda: len(bench.got) == 3)
    await spin()
    assert not any(bench.consumer._acked.values())
    await bench.stop()


async def test_an_event_that_faust_skips_is_not_acknowledged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Cython Faust acknowledges an event that comes out of a queue while the flow is suspended.

    One can: a `put` that was woken in the moment before the queues were cleared ends after it.
    """
    without_cython(monkeypatch)
    await bench.start()
    await bench.assign(0)
    hold = bench.handle = Hold()
    bench.put(17)
    await bench.until(lambda: bench.consumer.ledgers[IN].position == 17)
    bench.put(1, "more")  # the queue has 16 of the other topic: this one waits to get in
    await bench.until(lambda: bench.consumer.ledgers[MORE].position == 1)
    await spin()
    bench.handle = passes
    hold.go.set()
    await asyncio.sleep(0)  # the agent is about to take the second; that lets the last one in ...
    revoking = asyncio.ensure_future(bench.revoke())  # ... but the rebalance comes first
    await revoking
    await spin()
    assert len(bench.got) < 18
    assert MORE not in bench.thread.committed
    await bench.assign(0)
    await bench.until(lambda: ("more", 0, 0) in bench.delivered)
    await bench.stop()


async def test_acknowledgements_out_of_order_commit_nothing_past_unfinished_work(bench: Bench) -> None:
    """Faust commits past it (faust-streaming#606)."""
    await bench.start()
    await bench.assign(0)
    bench.acks = False
    bench.put(3)
    await bench.until(lambda: len(bench.got) == 3)
    bench.got[2].ack()
    bench.got[1].ack()
    await bench.consumer.force_commit()
    assert bench.thread.commits == []
    bench.got[0].ack()
    await bench.consumer.force_commit()
    assert bench.thread.committed == {IN: 3}
    await bench.stop()


# -- commits -----------------------------------------------------------------------------------------------------------


async def test_what_could_not_be_committed_is_committed_next(bench: Bench) -> None:
    """Faust takes a failed commit for done (robinhood/faust#316)."""
    await bench.start()
    await bench.assign(0)
    bench.put(1)
    await bench.until(lambda: bench.consumer.ledgers[IN].to_commit == 1)
    bench.thread.answers_to_commit = [False]
    assert not await bench.consumer.force_commit()
    assert await bench.consumer.force_commit()
    assert bench.thread.commits == [{IN: 1}, {IN: 1}]
    await bench.stop()


async def test_what_is_acknowledged_while_revoked_is_committed_before_the_partition_goes(bench: Bench) -> None:
    """Faust forgets the acknowledgements first, and commits what is left (faust-streaming#502)."""
    await bench.start()
    await bench.assign(0)
    bench.acks = False
    bench.put(1)
    await bench.until(lambda: bench.got)
    order = []

    async def stores() -> None:
        bench.got[0].ack()

    async def commits() -> None:
        order.append("commit")

    async def gone(*_: Any, **__: Any) -> None:
        order.append("gone")

    bench.on_told_revoked, bench.thread.on_commit = stores, commits
    bench.app.on_partitions_revoked.connect(gone)
    await bench.revoke()
    assert order == ["commit", "gone"]
    assert bench.thread.committed == {IN: 1}
    await bench.stop()


async def test_a_commit_on_its_way_does_not_stand_for_the_last_one(bench: Bench) -> None:
    """Faust's `commit` waits for one that runs already, and then does nothing; two at once would end in any order."""
    await bench.start()
    await bench.assign(0)
    bench.acks = False
    bench.put(2)
    await bench.until(lambda: len(bench.got) == 2)
    bench.got[0].ack()
    hold = bench.thread.on_commit = Hold()
    regular = asyncio.ensure_future(bench.consumer.commit())
    await hold.reached.wait()
    bench.thread.on_commit = passes

    async def stores() -> None:
        bench.got[1].ack()

    bench.on_told_revoked = stores
    revoking = asyncio.ensure_future(bench.revoke())
    await spin()
    hold.go.set()
    await asyncio.gather(regular, revoking)
    assert bench.thread.committed == {IN: 2}
    await bench.stop()


async def test_a_crashed_worker_commits_nothing_more(bench: Bench) -> None:
    """Faust commits what is acknowledged, whatever has happened; what tasks hold after a crash is not to be trusted."""
    await bench.start()
    await bench.assign(0)
    bench.acks = False
    bench.put(1)
    await bench.until(lambda: bench.got)
    await bench.app.crash(ZeroDivisionError())
    bench.got[0].ack()
    with pytest.raises(ZeroDivisionError):
        await bench.stop()
    assert bench.told == [("assigned", {0})]
    assert bench.thread.commits == []


# -- a rebalance -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["seek", "assigned"])
@pytest.mark.parametrize("start", ["cold", "warm"])
async def test_nothing_is_fetched_between_the_seek_and_the_opening(start: str, place: str, bench: Bench) -> None:
    """Faust fetches after its seek, then clears the queues: what was in them is lost (faust-streaming#596)."""
    await bench.start()
    if start == "warm":
        await bench.assign(0)
        bench.put(3)
        await bench.until(lambda: bench.consumer.ledgers[IN].to_commit == 3)
        await bench.revoke()
    before = len(bench.got)
    bench.put(3)
    hold = Hold()
    if place == "seek":
        bench.thread.on_sought = hold
    else:
        bench.on_told_assigned = hold
    await bench.assign(0, wait=False)
    await hold.reached.wait()
    await bench.app._fetcher.maybe_start()  # Faust's has run since its own recovery began
    await spin()
    assert len(bench.got) == before
    hold.go.set()
    await bench.until(lambda: len(bench.got) == before + 3)
    assert bench.delivered[before:] == offsets(before, before + 1, before + 2)
    await bench.stop()


async def test_what_was_fetched_before_a_rebalance_is_not_delivered_after_it(bench: Bench) -> None:
    """Faust hands it on: offsets would jump ahead of the seek, and what lies between would never come."""
    await bench.start()
    await bench.assign(0)
    bench.acks = False
    bench.put(1)
    await bench.until(lambda: bench.got)
    hold = bench.thread.on_fetched = Hold()
    bench.put(1)
    await hold.reached.wait()
    await bench.revoke()
    bench.thread.on_fetched = passes
    await bench.assign(0)
    hold.go.set()
    await bench.until(lambda: len(bench.got) == 3)
    assert bench.delivered == offsets(0, 0, 1)
    await bench.stop()


async def test_what_waits_in_a_queue_is_not_delivered_once_a_rebalance_has_begun(bench: Bench) -> None:
    """Without a cleared and closed queue an agent goes on with what the next owner is about to be given."""
    await bench.start()
    await bench.assign(0)
    hold = bench.handle = Hold()
    bench.put(10)
    await bench.until(lambda: bench.consumer.ledgers[IN].position == 10)
    storing = bench.on_told_revoked = Hold()
    revoking = asyncio.ensure_future(bench.revoke())
    await storing.reached.wait()
    hold.go.set()
    await spin()
    assert bench.delivered == offsets(0)
    storing.go.set()
    await revoking
    bench.handle = passes
    await bench.assign(0)
    await bench.until(lambda: len(bench.got) == 10)
    assert bench.delivered == offsets(*range(10))
    await bench.stop()


async def test_a_batch_of_an_older_generation_commits_nothing(bench: Bench) -> None:
    """Faust keeps one book for all generations: such an acknowledgement would count for the new one."""
    await bench.start()
    await bench.assign(0)
    bench.acks = False
    bench.put(1)
    await bench.until(lambda: bench.got)
    await bench.revoke()
    await bench.assign(0)
    await bench.until(lambda: len(bench.got) == 2)
    assert [batch.generation_id for batch in bench.got] == [1, 2]
    bench.got[0].ack()
    await bench.consumer.force_commit()
    assert bench.thread.commits == []
    await bench.stop()


async def test_a_recovery_that_a_rebalance_overtakes_is_given_up(bench: Bench) -> None:
    """Else it would hand over the partitions of a generation that is gone, with the state that they had then."""
    await bench.start()
    hold = bench.on_read = Hold()
    await bench.assign(0, 1, wait=False)
    await hold.reached.wait()
    await bench.revoke()
    bench.on_read = passes
    hold.go.set()
    await bench.assign(1)
    assert bench.told == [("assigned", {1})]
    assert bench.app.owns("toys", 1)
    assert not bench.app.owns("toys", 0)
    await bench.stop()


async def test_who_was_interrupted_while_taking_over_is_told_that_it_lost(bench: Bench) -> None:
    await bench.start()
    bench.on_told_assigned = Hold()
    await bench.assign(0, wait=False)
    await bench.until(lambda: bench.told)
    await bench.revoke()
    assert bench.told == [("assigned", {0}), ("revoked", {0})]
    await bench.stop()


def test_partitions_that_faust_does_not_keep_together_are_refused() -> None:
    """Faust's assignor does not, where topics differ in their partitions or workers in their topics."""
    attached = Attached(TopicSet("toys", ("in", "more"), 2), "changelog", None)  # type: ignore[arg-type]
    together = {TP(topic, 1) for topic in ("in", "more", "changelog")}
    assert attached.partitions_of(together) == {1}
    for missing in together:
        with pytest.raises(PartitionCountError, match="were assigned different partitions"):
            attached.partitions_of(together - {missing})


async def test_a_partition_is_ours_for_as_long_as_its_generation(bench: Bench) -> None:
    """The thread knows of a new generation before the main loop hears of it: no write may begin in between."""
    await bench.start()
    await bench.assign(0)
    assert bench.app.claim_of("toys", 0).generation == 1
    bench.thread.generation = 2
    with pytest.raises(StaleGenerationError):
        bench.app.claim_of("toys", 0)
    bench.thread.generation = 1
    await bench.stop()

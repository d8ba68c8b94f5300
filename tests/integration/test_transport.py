"""The transport with a counting agent on a real Kafka: nothing lost, nothing counted twice."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streams.transport.changelog import Stamp
from tests.integration.toys import Playground

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_Admin: Any = AIOKafkaAdminClient
_Before: Any = RecordsToDelete


@pytest.fixture
async def playground(bootstrap: str) -> AsyncIterator[Playground]:
    play = await Playground(bootstrap).create()
    yield play
    play.close()


async def admin_do(bootstrap: str, what: str, *args: Any) -> None:
    admin = _Admin(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await getattr(admin, what)(*args)
    finally:
        await admin.close()


async def test_counts_are_exact_across_kills(playground: Playground) -> None:
    await playground.produce(40_000)
    for share in (8_000, 6_000):
        victim = playground.worker(TOY_SLEEP="0.02")
        await victim.counted(share)
        victim.kill()
    survivor = playground.worker()
    await playground.until_done()
    await survivor.stops()
    await playground.check()


async def test_workers_join_and_leave(playground: Playground) -> None:
    await playground.produce(40_000)
    first = playground.worker(TOY_SLEEP="0.03")
    await first.counted(3_000)
    second = playground.worker(TOY_SLEEP="0.03")
    # On a busy machine the first may be done with everything before the second has started.
    await second.until("assigned", lambda line: len(line["partitions"]) == 2)
    await playground.produce(20_000)
    await second.counted(3_000)
    owned = [set(worker.said("assigned")[-1]["partitions"]) for worker in (first, second)]
    assert owned[0] | owned[1] == {0, 1, 2, 3}
    assert len(owned[0]) == len(owned[1]) == 2
    await first.stops()
    await second.until("assigned", lambda line: len(line["partitions"]) == 4)
    await playground.until_done()
    await second.stops()
    # Both stored and committed everything before they gave a partition up: nothing was even sent twice.
    assert not await playground.check()


async def test_a_frozen_worker_does_not_overwrite_its_successor(playground: Playground) -> None:
    await playground.produce(20_000)
    zombie = playground.worker(TOY_SLEEP="0.02")
    await zombie.counted(3_000)
    zombie.signal(signal.SIGSTOP)
    successor = playground.worker()
    await successor.until("assigned", lambda line: len(line["partitions"]) == 4)
    await playground.until_done()
    await playground.produce(2_000)
    await playground.until_done()
    zombie.signal(signal.SIGCONT)
    await zombie.until("assigned", lambda line: len(line["partitions"]) < 4)
    await playground.produce(2_000)
    await playground.until_done()
    await zombie.stops()
    await successor.stops()
    await playground.check()


async def test_a_fresh_group_starts_at_the_earliest_and_says_so(playground: Playground) -> None:
    await playground.produce(1_000)
    one = TopicPartition(playground.inputs[0], 0)
    end = (await playground.ends(playground.inputs))[one]
    await admin_do(playground.bootstrap, "delete_records", {one: _Before(before_offset=end - 1)})
    worker = playground.worker(TOY_SLEEP="100", TOY_EMPTY="1")
    await worker.until("assigned")
    committed = await playground.committed()
    assert committed.pop(one) == end - 1
    assert len(committed) == 7
    assert not any(committed.values())
    worker.kill()


async def test_a_committed_offset_stands(playground: Playground) -> None:
    await playground.produce(1_000)
    worker = playground.worker()
    await playground.until_done()
    await worker.stops()
    before = await playground.committed()
    again = playground.worker()
    await again.until("assigned")
    await asyncio.sleep(1)
    assert await playground.committed() == before
    assert not again.said("progress")
    await playground.produce(500)
    await playground.until_done()
    await again.stops()
    await playground.check()


@pytest.mark.parametrize("place", ["agent", "task"])
async def test_what_raises_stops_the_worker(playground: Playground, place: str) -> None:
    await playground.produce(5_000)
    failing = playground.worker(TOY_FAIL_IN=place, TOY_FAIL_AT="2000", TOY_SLEEP="0.02")
    assert await failing.ended() == 1
    assert "told to fail" in failing.said("crashed")[0]["why"]
    playground.worker()
    await playground.until_done()
    await playground.check()


async def test_a_group_that_counts_anew_does_not_lose_to_its_past(playground: Playground) -> None:
    await playground.produce(1_000)
    worker = playground.worker()
    await playground.until_done()
    await worker.stops()
    # As if the group, since deleted, had been at generation 5000 when this was written.
    await playground.rewrite_changelog(Stamp(0, 5_000, 1))
    for _ in range(2):
        await playground.produce(1_000)
        worker = playground.worker()
        await playground.until_done()
        await worker.stops()
    await playground.check()


async def test_a_wrong_partition_count_is_named(playground: Playground) -> None:
    worker = playground.worker(TOY_PARTITIONS="5")
    assert await worker.ended() == 2
    why = worker.said("refused")[0]["why"]
    assert f"{playground.changelog} has 4 partitions, not 5" in why
    assert playground.inputs[1] in why


async def test_missing_topics_are_named(playground: Playground) -> None:
    worker = playground.worker(TOY_TOPICS=f"{playground.inputs[0]},nowhere")
    assert await worker.ended() == 2
    assert worker.said("refused")[0]["why"] == "nowhere does not exist"

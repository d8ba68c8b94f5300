"""More traps of Faust 0.15.3 (see test_traps.py): where it waits, and what it does that nobody asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import psutil
import pytest
from mode import Service

from models.settings import Settings
from models.topics import all_topics
from streams.transport import create_app
from streams.transport.api import TP
from tests.unit.fake_thread import Bench, Hold, passes, spin
from tests.unit.test_traps import IN, MORE, offsets


async def sleeps_on(service: Service, *_: object) -> None:
    """In place of `Service.sleep`: who sleeps here does not come back before its end."""
    await service._stopped.wait()


# -- waiting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["stop", "rebalance"])
async def test_batches_that_are_held_hold_up_neither_the_end_nor_a_rebalance(what: str, bench: Bench) -> None:
    """Faust waits for ever for all that was delivered to be acknowledged (`wait_empty`)."""
    await bench.start()
    await bench.assign(0)
    bench.acks = False
    bench.put(3)
    await bench.until(lambda: len(bench.got) == 3)
    going = asyncio.ensure_future(bench.revoke() if what == "rebalance" else bench.stop())
    await asyncio.wait({going}, timeout=2)
    waited = not going.done()
    bench.consumer._unacked_messages.clear()  # where Faust waits, it does not even let itself be cancelled
    await going
    assert not waited
    assert bench.thread.commits == []


async def test_nothing_waits_for_fausts_idle_sleeps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust sleeps a second at the start, one where all partitions are paused, and more around a rebalance."""
    monkeypatch.setattr(Service, "sleep", sleeps_on)
    await bench.start()
    await bench.assign(0)
    bench.put(1)
    await bench.until(lambda: len(bench.got) == 1)
    bench.app.pause({IN, MORE})
    bench.put(1)
    await spin()
    assert len(bench.got) == 1
    bench.app.resume({IN})
    await bench.until(lambda: len(bench.got) == 2)
    await bench.revoke()
    await bench.assign(0)
    bench.put(1)
    await bench.until(lambda: bench.delivered[-1] == ("in", 0, 2))


async def test_a_full_buffer_holds_delivery_up_and_lets_it_go_on_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust stops fetching the partition, then sleeps a second: four fifths of the time nothing happened."""
    monkeypatch.setattr(Service, "sleep", sleeps_on)
    await bench.start()
    await bench.assign(0)
    hold = bench.handle = Hold()
    bench.put(100)
    await hold.reached.wait()
    await spin(500)
    assert bench.consumer.ledgers[IN].position < 20  # what waits is bounded
    bench.handle = passes
    hold.go.set()
    await bench.until(lambda: len(bench.got) == 100)
    assert bench.delivered == offsets(*range(100))


async def test_a_paused_partition_starves_no_other(bench: Bench) -> None:
    await bench.start()
    await bench.assign(0)
    bench.app.pause({IN})
    await spin()
    bench.put(5)
    bench.put(5, "more")
    await bench.until(lambda: len(bench.got) == 5)
    assert bench.delivered == offsets(*range(5), topic="more")
    await bench.stop()


# -- what Faust does besides -------------------------------------------------------------------------------------------


async def test_values_are_left_as_they_are(bench: Bench) -> None:
    """Faust decodes before the agent: one message that it cannot decode crashes the agent, again and again."""
    await bench.start()
    await bench.assign(0)
    bench.put(2)
    log = bench.thread.logs[TP("more", 0)]
    record = bench.thread.logs[IN][0]
    log.append(type(record)("more", 0, 0, 1000, 0, b"\xff\x00", b"\xfe{", (("h\xff", b"\xff"),)))
    bench.thread.wake()
    await bench.until(lambda: len(bench.got) == 3)
    (garbage,) = [batch.records[0] for batch in bench.got if batch.topic == "more"]
    assert (garbage.key, garbage.value, garbage.headers) == (b"\xff\x00", b"\xfe{", (("h\xff", b"\xff"),))
    await bench.stop()


async def test_topics_are_not_made(bench: Bench) -> None:
    """Faust makes what it misses, the changelog too, with its own idea of partitions and compaction."""
    await bench.start()
    await bench.app.topic("another").maybe_declare()
    await bench.assign(0)
    await bench.stop()
    assert bench.thread.created == []


def test_a_changelog_is_short_and_keeps_what_tells_a_zombie() -> None:
    """Faust's is compacted by the broker's defaults: segments of 1 GB, which recovery reads again and again."""
    found = [spec for spec in all_topics("g", 1_000_000) if spec.internal]
    assert len(found) == 2
    for spec in found:
        assert spec.config["cleanup.policy"] == "compact"
        assert int(spec.config["segment.bytes"]) <= 16 * 1024 * 1024
        assert int(spec.config["segment.ms"]) <= 10 * 60 * 1000
        assert float(spec.config["min.cleanable.dirty.ratio"]) <= 0.1
        assert int(spec.config["min.compaction.lag.ms"]) >= 10 * 60 * 1000


async def test_nothing_listens(bench: Bench) -> None:
    """Faust serves the tables' contents on 0.0.0.0:6066."""

    def listening() -> set[Any]:
        return {c.laddr for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN}

    before = listening()
    await bench.start()
    await bench.assign(0)
    await spin()
    assert listening() <= before
    await bench.stop()


def test_what_faust_gets_wrong_is_not_used() -> None:
    """Transactions lose data and hang, a threaded producer hides failures, other stores would not be the changelog."""
    conf: Any = create_app(Settings()).conf
    assert conf.processing_guarantee.value == "at_least_once"
    assert not conf.producer_threaded
    assert str(conf.store) == "memory:"
    assert conf.table_standby_replicas == 0


async def test_a_request_of_the_producer_ends_long_before_the_session() -> None:
    """Faust's lasts 1200 s; with idempotence aiokafka repeats it for ever."""
    settings = Settings()
    producer: Any = create_app(settings).producer
    made = producer._new_producer()
    made._closed = True  # it was never started
    assert made._request_timeout_ms < settings.session_timeout * 1000 / 2
    assert made._sender._acks == -1
    assert made._txn_manager is None

"""What Kafka lets strangers do: transactions that are taken back or left open, batches that unpack to anything."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.integration.alert_records import headers_of
from tests.integration.messages import lab, symptom
from tests.integration.unit_under_test import UnitUnderTest

_Producer: Any = AIOKafkaProducer


@pytest.fixture(scope="module")
async def unit(bootstrap: str) -> AsyncIterator[UnitUnderTest]:
    """One unit for these tests: each has patients of its own."""
    async with UnitUnderTest(bootstrap, partitions=2) as made:
        await made.start_worker()
        yield made


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4096


async def told(unit: UnitUnderTest) -> set[bytes]:
    return {record.key for record in await unit.read("alerts.low-magnesium")}


async def test_what_was_taken_back_raises_nothing_and_what_is_open_holds_nobody_up(unit: UnitUnderTest) -> None:
    aborted, committed, later = unit.subjects(3, "tx", partition=0)
    producer = _Producer(bootstrap_servers=unit.settings.brokers, transactional_id=f"{unit.settings.group}-tx")
    await producer.start()
    labs = unit.topic("lab-results")
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(labs, lab(aborted, 0.5).value, aborted.encode(), partition=0)
        await producer.abort_transaction()
        await producer.begin_transaction()
        await producer.send_and_wait(labs, lab(committed, 1.5).value, committed.encode(), partition=0)
        await producer.commit_transaction()
        await unit.until_told(patient_id=committed, rule="low_magnesium")
        # A commit marker is the last there is: the topic is at its end, and what comes on others is handled.
        await producer.begin_transaction()
        await producer.send_and_wait(labs, lab(aborted, 0.5).value, aborted.encode(), partition=0)
        await unit.publish([lab(later, 0.5), symptom(committed, "jerk", "s1")])
        await unit.until_told(patient_id=committed, priority="high")
        assert later.encode() not in await told(unit), "it lies behind a transaction that is open"
        await producer.abort_transaction()
        await unit.until_told(patient_id=later, rule="low_magnesium")
    finally:
        await producer.stop()
    assert aborted.encode() not in await told(unit)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_a_batch_that_unpacks_to_too_much_is_a_dead_letter(unit: UnitUnderTest, codec: str) -> None:
    (patient,) = unit.subjects(1, f"bomb-{codec}", partition=1)
    producer = _Producer(
        bootstrap_servers=unit.settings.brokers,
        compression_type=codec,
        max_request_size=2**31 - 1,
        max_batch_size=2**31 - 1,
    )
    await producer.start()
    try:
        sent = await producer.send_and_wait(unit.topic("lab-results"), b" " * (40 * 2**20), b"bomb", partition=1)
        await unit.publish([lab(patient, 0.5)])
        await unit.until_told(patient_id=patient, rule="low_magnesium")
    finally:
        await producer.stop()
    letters = [headers_of(record) for record in await unit.read("dead-letters")]
    (letter,) = [one for one in letters if one.get("dl_codec") == codec.encode()]
    assert letter["dl_reason"] == b"too_large"
    assert (letter["dl_first_offset"], letter["dl_offset"], letter["dl_records"]) == (*[b"%d" % sent.offset] * 2, b"1")
    for worker in unit.workers:
        assert resident_bytes(worker.process.pid) < 200 * 2**20


async def test_a_server_that_never_answers_does_not_hold_up_a_start(bootstrap: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        async with UnitUnderTest(bootstrap, partitions=1) as unit:
            brokers = f"127.0.0.1:{silent.getsockname()[1]},{bootstrap}"
            started = time.monotonic()
            await unit.start_worker(DIALYSIS_BROKERS=brokers)
            assert time.monotonic() - started < 15

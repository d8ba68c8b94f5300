"""Attacks through Kafka: what a producer may write, and brokers and topics that are not as they should be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from models.topics import ALERTS_ACTIVE, DEAD_LETTERS, LAB_RESULTS
from tests.hostile.stage import LOW_MAGNESIUM, Case, Stage
from tests.integration.alert_records import headers_of
from tests.integration.messages import MEGABYTE, Message, lab, response
from tests.integration.worker_process import COMMAND

_Producer: Any = AIOKafkaProducer
_HUGE: Final = 2**31 - 1
_BOMB_MB: Final = 500
_GARBAGE: Final = 300
#: A silent server must cost no more than this at the start.
_SILENT_S: Final = 20.0


@contextlib.asynccontextmanager
async def producer(stage: Stage, **options: Any) -> AsyncIterator[Any]:
    """A producer of somebody else's make."""
    made = _Producer(bootstrap_servers=stage.unit.bootstrap, **options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


# -- sizes -------------------------------------------------------------------------------------------------------------


async def _bomb(stage: Stage) -> None:
    """It fits into a packet and unpacks to half a gigabyte; it is set aside, and the worker answers all the while."""
    post = await stage.opened()
    here = stage.unit.place(b"bomb")
    limits = {"max_request_size": _HUGE, "max_batch_size": _HUGE, "request_timeout_ms": 120_000}
    async with producer(stage, compression_type="zstd", **limits) as bomber:
        # Compressing holds this process, so nobody is planted meanwhile.
        sent = await bomber.send_and_wait(
            stage.unit.topic(LAB_RESULTS), b" " * (_BOMB_MB * MEGABYTE), b"bomb", partition=here
        )
        async with stage.unit.pulse(post.worker) as pulse, stage.others():
            await stage.handled([sent])
            await asyncio.sleep(3)
    stage.holds(pulse.statuses == {200}, f"/healthz said {pulse.statuses}")
    stage.holds(pulse.longest_s < 2, f"/healthz was silent for {pulse.longest_s:.1f} s")
    letters = [headers_of(record) for record in await stage.unit.read(DEAD_LETTERS)]
    places = [(h["dl_topic"].decode(), int(h["dl_partition"]), int(h["dl_offset"])) for h in letters]
    stage.holds((sent.topic, sent.partition, sent.offset) in places, "it is no dead letter")


async def _garbage(stage: Stage) -> None:
    """A gateway has sent documents for results; they wait when the worker starts, and results wait behind them."""
    await stage.opened()
    await stage.down()
    document = b'{"pdf":"' + b"A" * (3900 * 1024)
    limits = {"max_request_size": 8 * MEGABYTE, "max_batch_size": 8 * MEGABYTE}
    async with producer(stage, compression_type="zstd", **limits) as gateway:
        for _ in range(_GARBAGE):
            await gateway.send_and_wait(stage.unit.topic(LAB_RESULTS), document, b"pdf")
    await stage.plant(*stage.unit.subjects(8, "waiting"))
    stage.begins()
    post = stage.scene.hire()
    await stage.scene.until_owner(post)
    async with stage.others():
        await stage.scene.ready(post)
        await stage.in_time(stage.all_told, 60, "an alert waited for more than a minute")


# -- transactions and compressions -------------------------------------------------------------------------------------


async def _transactions(stage: Stage) -> None:
    """What was taken back raises nothing; what is open holds up nobody on other partitions."""
    await stage.opened()
    unit = stage.unit
    labs = unit.topic(LAB_RESULTS)
    elsewhere = iter(unit.subjects(20, "elsewhere", partition=1))
    taken_back = unit.subjects(3, "taken-back", partition=0)
    stage.innocent |= set(taken_back)
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        async with producer(stage, compression_type=codec) as gateway:
            name = f"packed-{codec}"
            place = await gateway.send_and_wait(labs, lab(name, 0.5).value, name.encode())
            stage.planted[name, LOW_MAGNESIUM] = place.timestamp
    async with producer(stage, transactional_id=f"{unit.name}-tx") as gateway:

        async def result_of(name: str) -> Any:
            return await gateway.send_and_wait(labs, lab(name, 0.5).value, name.encode(), unit.place(name.encode()))

        for name in taken_back:
            await gateway.begin_transaction()
            await result_of(name)
            for _ in range(4):
                await stage.plant(next(elsewhere))
                await asyncio.sleep(0.25)
            await gateway.abort_transaction()
            await gateway.begin_transaction()
            place = await result_of(f"committed-{name}")
            stage.planted[f"committed-{name}", LOW_MAGNESIUM] = place.timestamp
            await gateway.commit_transaction()
            await stage.plant()


# -- what others say in our name ---------------------------------------------------------------------------------------


def _rubbish(partition: int) -> Iterator[Message]:
    deep = b"[" * 100_000
    for number, value in enumerate(
        (
            b"not json",
            b"[]",
            b"",
            b"\xff",
            b"null",
            deep,
            b'{"revision":"1"}',
            b'{"revision":' + b"9" * 400 + b"}",
            b'{"revision":1e300,"patient_id":"p"}',
            b'{"revision":1,"patient_id":5}',
            b'{"revision":-1,"patient_id":"' + b"z" * 3 * MEGABYTE + b'"}',
        )
    ):
        yield Message(ALERTS_ACTIVE, f"rubbish{number}".encode(), value, partition)
    for key in (b"", b"\xff\xfe", b"\x1b[2J"):
        yield Message(ALERTS_ACTIVE, key, b"{}", partition)


async def _forged(stage: Stage) -> None:
    """Somebody writes on `alerts.active` that an alert is over; whoever reads it must soon see that it is open."""
    await stage.opened()
    unit = stage.unit
    patient = "forged"
    await stage.plant(patient)
    await stage.in_time(stage.all_told, 20, "no alert")
    record = next(r for r in await unit.read(ALERTS_ACTIVE) if json.loads(r.value)["patient_id"] == patient)
    alert = json.loads(record.value)

    async def stands() -> bool:
        last = (await unit.compacted(ALERTS_ACTIVE))[record.key]
        return bool(last.value) and json.loads(last.value)["status"] == "active"

    def word(**changed: Any) -> Message:
        value = json.dumps(alert | {"status": "resolved", "transition": "resolved"} | changed).encode()
        return Message(ALERTS_ACTIVE, record.key, value, record.partition)

    words = {
        "of the same revision": word(),
        "of a later revision": word(revision=alert["revision"] + 5),
        "of revision a billion": word(revision=10**9),
        "that is a tombstone": Message(ALERTS_ACTIVE, record.key, None, record.partition),
    }
    async with stage.others():
        await unit.publish(_rubbish(record.partition))
        for what, forged in words.items():
            await unit.publish([forged])
            await stage.in_time(stands, 15, f"a forged word {what} was not answered within 15 s")
    # The answer to a later revision is said to everybody: it is the alert's own, and no new one.
    del stage.planted[patient, LOW_MAGNESIUM]


async def _answers(stage: Stage) -> None:
    """Strangers answer alerts that there are not, and one of somebody else's patient."""
    await stage.opened()
    unit = stage.unit
    (told,) = await unit.until_told(patient_id="other0", rule=LOW_MAGNESIUM)
    async with stage.others():
        strangers = [response("stranger", f"none{number}", "resolve") for number in range(3000)]
        foreign = response("stranger", told["alert_id"], "resolve")
        await stage.publish_and_wait([*strangers, foreign])


async def _redriven(stage: Stage) -> None:
    """`dead-letters redrive` over letters of which some are forged: the true ones are published again."""
    await stage.opened()
    unit = stage.unit

    def letter(key: bytes | None, value: bytes, **changed: bytes) -> Message:
        headers = {
            "dl_topic": unit.topic(LAB_RESULTS).encode(),
            "dl_partition": b"0",
            "dl_offset": b"1",
            "dl_reason": b"invalid_json",
            "dl_detail": b"x",
        } | changed
        return Message(DEAD_LETTERS, key, value, 0, headers=tuple(headers.items()))

    names = unit.subjects(8, "redriven")
    stage.innocent.add("smuggled")
    smuggled = lab("smuggled", 0.5).value or b""
    forged = [
        *(letter(None, b"{}", dl_partition=number) for number in (b"-5", b"99999999999", b"\xd9\xa3", b"")),
        letter(b"smuggled", smuggled, dl_topic=unit.topic(ALERTS_ACTIVE).encode()),
        letter(b"smuggled", smuggled, dl_topic=unit.topic("alerts.low-magnesium").encode()),
        letter(b"k", b"{}", dl_topic=b"\x1b[31m", dl_reason=b"\x1b]0;x\x07", dl_detail="\u202eevil".encode()),
    ]
    true = [letter(name.encode(), lab(name, 0.5).value or b"") for name in names]
    await unit.publish([message for pair in zip(forged, true, strict=False) for message in pair] + true[len(forged) :])
    now = int(time.time() * 1000)
    stage.planted |= {(name, LOW_MAGNESIUM): now for name in names}
    command = unit.worker(COMMAND, "dead-letters", "redrive")
    stage.holds(await command.ended(60) == 0, "redrive did not end with status 0")
    stage.holds("Traceback" not in command.said, "redrive ended with a traceback")
    stage.holds("\x1b" not in command.said, "redrive printed an escape sequence of others")
    stage.holds("passed over" in command.said, "redrive did not say what it passed over")
    written = {record.key for record in await unit.read(ALERTS_ACTIVE, "alerts.low-magnesium")}
    stage.holds(b"smuggled" not in written, "redrive wrote to a topic of alerts")


# -- settings ----------------------------------------------------------------------------------------------------------


async def _endless(stage: Stage) -> None:
    """A setting that no calendar can hold is refused at the start, not when the first alert waits for an answer."""
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.toml"
        rules.write_text("[responses]\nhigh = [1e12]\nmedium = [1e12]\n", encoding="utf-8")
        await stage.refuses(stage.unit.worker(DIALYSIS_RULES=str(rules)), "responses")
    await stage.opened()
    async with stage.others():
        await asyncio.sleep(1)


# -- brokers and topics ------------------------------------------------------------------------------------------------


async def _silent(stage: Stage) -> None:
    """The first of two servers accepts connections and never says a word."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(50)
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        await stage.opened()
        await stage.down()
        stage.unit.environment["DIALYSIS_BROKERS"] = f"{address},{stage.unit.bootstrap}"
        stage.begins()
        started = time.monotonic()
        stage.scene.hire()
        async with stage.others():
            await stage.in_time(stage.all_told, 90, "no alert within 90 s")
        took = time.monotonic() - started
        stage.outcome.notes.append(f"first alerts {took:.0f} s after the start")


async def _too_small(stage: Stage) -> None:
    """A topic that takes no alert is found at the start and named; not when there is an alert to tell."""
    unit = stage.unit
    name = "alerts.low-magnesium"
    await unit.configure({name: {"max.message.bytes": "1000"}})
    await stage.refuses(unit.worker(), unit.topic(name), "max.message.bytes")
    await unit.configure({name: {"max.message.bytes": "1048588"}})
    await stage.opened()
    async with stage.others():
        await asyncio.sleep(2)


CASES: Final = (
    Case("bomb", f"one record that unpacks to {_BOMB_MB} MB (zstd)", _bomb, growth_mb=100),
    Case("garbage", f"{_GARBAGE} records of 3.9 MB of garbage wait at the start", _garbage, growth_mb=150),
    Case("transactions", "aborted, committed and hanging transactions; every compression", _transactions),
    Case("forged-word", "forged words and rubbish on `alerts.active`", _forged),
    Case("strangers-answers", "3,000 answers to alerts of nobody, one to another's", _answers),
    Case("forged-letters", "`redrive` over forged dead letters", _redriven),
    Case("endless-setting", "rule settings call again after 30,000 years", _endless),
    Case("silent-server", "the first bootstrap server never answers", _silent, worst_s=_SILENT_S),
    Case("small-topic", "an alert's topic takes 1,000 bytes", _too_small),
)

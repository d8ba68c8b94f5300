"""Any bytes on any input topic: a dead letter with its reason, never a crash, never a stall, nobody else harmed."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.parsing import Rejected, parse_loop_event, parse_patient_event
from models.topics import UNIT_SIGNALS
from streams.worker.outbox import MOVED_FROM
from tests.integration.alert_records import headers_of, matching
from tests.integration.garbage import SPECIAL, body, garbage, good_examples, mutated
from tests.integration.kcat import run_kcat
from tests.integration.messages import MEGABYTE, Message, ago, lab, telemetry
from tests.integration.unit_under_test import INPUTS, UnitUnderTest
from tests.integration.worker_process import COMMAND


@pytest.fixture(scope="module")
async def unit(bootstrap: str) -> AsyncIterator[UnitUnderTest]:
    """One unit for these tests: each has patients of its own."""
    async with UnitUnderTest(bootstrap, partitions=3) as made:
        await made.start_worker()
        yield made


async def dead_letters(unit: UnitUnderTest, places: Sequence[Any]) -> dict[tuple[str, int, int], Any]:
    """The dead letters of records, by where they lay."""
    wanted = {(place.topic, place.partition, place.offset) for place in places}
    found: dict[tuple[str, int, int], Any] = {}
    for record in await unit.read("dead-letters"):
        headers = headers_of(record)
        place = (headers["dl_topic"].decode(), int(headers["dl_partition"]), int(headers["dl_offset"]))
        if place in wanted:
            assert place not in found, f"two dead letters for one record: {place}"
            found[place] = record
    return found


async def alarms_work(unit: UnitUnderTest, patient: str) -> None:
    """Alerts still come, on every topic and partition."""
    for number, name in enumerate(unit.subjects(3, patient)):
        await unit.publish([lab(name, 1.5, ago(10), result_id=f"{name}-{number}")])
        await unit.until_told(patient_id=name, rule="low_magnesium", transition="raised")


@pytest.mark.parametrize("topic", INPUTS)
async def test_every_kind_of_garbage_becomes_a_dead_letter(unit: UnitUnderTest, topic: str) -> None:
    subject = f"g-{topic}"
    here = unit.place(subject.encode())
    cases = [(topic, *case) for case in garbage(good_examples(subject)[topic], subject)]
    for kind, what, changed, reason in SPECIAL:
        example = good_examples(subject)[kind]
        if example.topic == topic:
            cases.append((topic, what, subject.encode(), body(example, **changed), reason))
    bare = good_examples(subject)[topic].value or b""
    for what, number in (("NaN", b"NaN"), ("infinite", b"Infinity"), ("too large a number", b"1e999")):
        if topic == "machine-events":
            reason = "not_finite" if number != b"x" else ""
            cases.append((topic, what, subject.encode(), bare.replace(b"70.0", number), reason))
    # Keys that belong elsewhere would be sent on: these are put where they belong.
    messages = [Message(topic, key, value, here if key is None else unit.place(key)) for _, _, key, value, _ in cases]
    # Somebody's alert in the middle of it.
    middle = len(messages) // 2
    patient = f"among-{topic}"
    among = lab(patient, 1.5, ago(10))
    places = await unit.publish([*messages[:middle], among, *messages[middle:]])
    del places[middle]
    await unit.until_told(patient_id=patient, transition="raised")
    await unit.until_done()
    letters = await dead_letters(unit, places)
    problems = []
    for (_, what, key, value, reason), place in zip(cases, places, strict=True):
        letter = letters.get((place.topic, place.partition, place.offset))
        if letter is None:
            problems.append(f"{what}: no dead letter")
        elif letter.value != value or letter.key != key:
            problems.append(f"{what}: not the bytes that came")
        elif headers_of(letter)["dl_reason"].decode() != reason:
            said = headers_of(letter)
            problems.append(f"{what}: {said['dl_reason'].decode()} ({said['dl_detail'].decode()[:200]}), not {reason}")
        else:
            assert headers_of(letter)["dl_detail"]
            assert len(headers_of(letter)["dl_detail"]) <= 1000
    assert not problems, "\n".join(problems)
    await alarms_work(unit, f"after-{topic}")


async def test_messages_as_large_as_they_may_be(unit: UnitUnderTest) -> None:
    patient = "huge"
    limit = unit.settings.max_message_bytes - 200
    usable = lab(patient, 1.5, ago(10))
    padded = (usable.value or b"").replace(b'"type"', b'"padding": "%s", "type"' % (b"x" * 3 * MEGABYTE))
    wrong = 1 - unit.place(patient.encode()) if unit.place(patient.encode()) < 2 else 0
    places = await unit.publish(
        [
            Message("lab-results", patient.encode(), b"x" * (limit - len(patient))),
            Message("machine-events", patient.encode(), b'{"a": "' + b"x" * (limit - 100) + b'"}'),
            # As large as it may be and on a wrong partition: one more header, and its topic would refuse it.
            Message("clinical-events", patient.encode(), b"y" * (limit - len(patient)), partition=wrong),
            Message("lab-results", patient.encode(), padded),
        ]
    )
    await unit.until_told(patient_id=patient, transition="raised")
    await unit.until_done()
    letters = await dead_letters(unit, places)
    assert len(letters) == 3
    for place in places[:3]:
        assert len(letters[place.topic, place.partition, place.offset].value) > 4 * MEGABYTE - 500


async def test_headers_and_compressions_of_every_kind(unit: UnitUnderTest, tmp_path: Path) -> None:
    """As gateways built on librdkafka send them; kcat is one."""
    topic = unit.topic("lab-results")
    options: dict[str, list[Any]] = {
        "gzip": ["-z", "gzip"],
        "lz4": ["-z", "lz4"],
        "snappy": ["-z", "snappy"],
        "zstd": ["-z", "zstd"],
        "header-bytes": ["-H", b"\xff\xfe\x80=1", "-H", b"plain=\xff"],
        "header-without-value": ["-H", "lonely"],
        "header-of-ours": ["-H", "dl_topic=nowhere", "-H", "dl_redriven=x", "-H", "ce_id=1"],
        "header-large": ["-H", "large=" + "x" * 60_000],
    }
    for name, chosen in options.items():
        patient = f"kcat-{name}"
        good = lab(patient, 1.5, ago(10)).value or b""
        for place in (unit.place(patient.encode()), (unit.place(patient.encode()) + 1) % 3):
            for value in (good, b"no json at all"):
                await asyncio.to_thread(
                    run_kcat, unit.bootstrap, "-P", "-t", topic, "-p", str(place), "-k", patient, *chosen, stdin=value
                )
        await unit.until_told(patient_id=patient, rule="low_magnesium", transition="raised")
    await unit.until_done()
    letters = [record for record in await unit.read("dead-letters") if (record.key or b"").startswith(b"kcat-")]
    found = {name: [r for r in letters if r.key == f"kcat-{name}".encode()] for name in options}
    assert {name: len(records) for name, records in found.items()} == dict.fromkeys(options, 2)
    for record in found["header-of-ours"]:
        assert headers_of(record)["dl_topic"] == topic.encode()
        assert [name for name, _ in record.headers].count("dl_topic") == 1


async def test_what_librdkafka_partitions_in_its_own_way_finds_its_patient(unit: UnitUnderTest) -> None:
    patients = [f"crc-{number}" for number in range(30)]
    for patient in patients:
        value = lab(patient, 1.5, ago(10)).value or b""
        place = ["-X", "partitioner=consistent"]
        await asyncio.to_thread(
            run_kcat, unit.bootstrap, "-P", "-t", unit.topic("lab-results"), "-k", patient, *place, stdin=value
        )
    for patient in patients:
        await unit.until_told(patient_id=patient, transition="raised")
    await unit.until_done()
    assert len([a for a in matching(await unit.alerts()) if a["patient_id"] in patients]) == len(patients)


async def test_a_misplaced_record_is_sent_on_and_filed_once(unit: UnitUnderTest) -> None:
    worker = unit.workers[0]
    labs = unit.topic("lab-results")
    before = await worker.metric("dialysis_misplaced_records_total", topic=labs)
    patient = "misplaced"
    right = unit.place(patient.encode())
    wrong = (right + 1) % 3
    headers = (("trace", b"7"), ("empty", None), ("bytes", b"\xff"))
    message = lab(patient, 1.5, ago(10), result_id="misplaced-r")
    (place,) = await unit.publish([Message("lab-results", message.key, message.value, wrong, headers=headers)])
    await unit.until_told(patient_id=patient, transition="raised")
    await unit.until_done()
    copies = [record for record in await unit.read("lab-results") if record.key == patient.encode()]
    assert [record.partition for record in copies if record.partition != wrong] == [right]
    moved = next(record for record in copies if record.partition == right)
    assert moved.value == message.value
    assert tuple(moved.headers) == (*headers, (MOVED_FROM, f"{wrong}:{place.offset}".encode()))
    assert await worker.metric("dialysis_misplaced_records_total", topic=labs) == before + 1
    assert "does not partition by murmur2" in worker.said
    states = {key: state for key, state in (await unit.stored()).items() if key == patient.encode()}
    assert [record["result_id"] for record in states[patient.encode()]["labs"].values()] == ["misplaced-r"]
    assert len([r for r in await unit.alerts() if r.key == patient.encode()]) == 1
    # On its own it lies where it belongs.
    await unit.publish([lab(patient, 2.0, ago(5))])
    await unit.until_told(patient_id=patient, transition="resolved")


# -- by chance ---------------------------------------------------------------------------------------------------------


def verdict(topic: str, key: bytes | None, value: bytes | None) -> bool:
    """Whether a record that lies on the partition of its key is usable."""
    parsed = parse_loop_event(value) if topic == UNIT_SIGNALS else parse_patient_event(value)
    if isinstance(parsed, Rejected):
        return False
    record: Any = parsed.record
    subject: str = record.water_loop_id if topic == UNIT_SIGNALS else record.patient_id
    return key == subject.encode()


@pytest.mark.parametrize("seed", [1])
async def test_thousands_of_random_mutations(unit: UnitUnderTest, seed: int) -> None:
    chance = random.Random(seed)
    messages = []
    for number in range(4_000):
        subject = f"fuzz{seed}-{number % 20}"
        good = chance.choice(list(good_examples(subject).values()))
        key: bytes | None = subject.encode() if chance.random() < 0.95 else chance.choice([None, b"", b"\xff"])
        value = mutated(chance, good.value or b"")
        if key is None and value is None:
            value = b""
        partition = unit.place(key) if key is not None else chance.randrange(3)
        messages.append(Message(good.topic, key, value, partition))
    places = await unit.publish(messages)
    # An alert after it all, on every partition: nothing stalls.
    await alarms_work(unit, f"after-fuzz{seed}")
    await unit.until_done()
    letters = await dead_letters(unit, places)
    usable = 0
    for message, place in zip(messages, places, strict=True):
        letter = letters.get((place.topic, place.partition, place.offset))
        if verdict(message.topic, message.key, message.value):
            usable += 1
            assert letter is None, message
        else:
            assert letter is not None, message
            assert (letter.key, letter.value) == (message.key, message.value)
    assert 200 < usable < 3_500
    worker = unit.workers[0]
    assert worker.running
    assert (await worker.get("/healthz"))[0] == 200
    assert "Traceback" not in worker.said


# -- what the operator sees, and does ----------------------------------------------------------------------------------


async def test_mostly_garbage_on_a_topic_is_not_ready_until_it_is_over(bootstrap: str) -> None:
    async with UnitUnderTest(bootstrap, partitions=1) as unit:
        worker = await unit.start_worker()
        rubbish = [Message("machine-events", b"p", b"{", 0)] * 150
        await unit.publish([telemetry("p", "s") for _ in range(50)])
        await unit.publish(rubbish)

        async def ready(status: int) -> bool:
            return (await worker.get("/readyz"))[0] == status

        await worker.until(lambda: ready(503), 10, "503 of /readyz")
        _, text = await worker.get("/readyz")
        failing = {name: check["why"] for name, check in json.loads(text)["checks"].items() if not check["ok"]}
        assert list(failing) == ["dead_letters"]
        assert f"{unit.topic('machine-events')}: 150 of the last 200 messages unusable" in failing["dead_letters"]
        assert (await worker.get("/healthz"))[0] == 200
        # It goes on all the while: one bad gateway does not blind a unit.
        await unit.publish([lab("p", 1.5, ago(10))])
        await unit.until_told(patient_id="p", transition="raised")
        topic = unit.topic("machine-events")
        assert await worker.metric("dialysis_dead_letters_total", topic=topic, reason="invalid_json") == 150
        await unit.publish([telemetry("p", "s") for _ in range(120)])
        await worker.until(lambda: ready(200), 10, "200 of /readyz")


FAULTY = """
import models.parsing as parsing
real = parsing.parse_patient_event
def parse(raw):
    if raw and b'"mmol/L"' in raw:
        return parsing.Rejected(parsing.RejectReason.UNKNOWN_VALUE, "unit: this version does not know it")
    return real(raw)
parsing.parse_patient_event = parse
from streams.cli import main
main()
"""


async def test_what_a_fault_refused_is_redriven_after_the_fix_and_ends_in_its_alert(bootstrap: str) -> None:
    async with UnitUnderTest(bootstrap) as unit:
        faulty = await unit.worker(sys.executable, "-c", FAULTY, "worker").until_ready()
        patients = unit.subjects(4)
        await unit.publish([lab(patient, 0.5, ago(60), unit="mmol/L") for patient in patients])
        await unit.publish([lab("later", 1.5, ago(60))])
        await unit.until_told(patient_id="later", transition="raised")
        await unit.until_done()
        assert len(await unit.read("dead-letters")) == 4
        assert len(matching(await unit.alerts())) == 1
        await faulty.stop()
        worker = await unit.start_worker()

        def dead_letter_command(*arguments: str) -> str:
            command: list[str | Path] = [COMMAND, "dead-letters", *arguments]
            done = subprocess.run(command, env=unit.environ(), capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        listed = await asyncio.to_thread(dead_letter_command)
        assert "unknown_value" in listed
        assert "4" in listed
        assert await asyncio.to_thread(dead_letter_command, "redrive") == "4 published again.\n"
        for patient in patients:
            (raised,) = await unit.until_told(patient_id=patient, rule="low_magnesium")
            assert (raised["transition"], raised["priority"]) == ("raised", "medium")
        assert await asyncio.to_thread(dead_letter_command, "redrive") == "0 published again.\n"
        await unit.until_done()
        assert len(await unit.read("dead-letters")) == 4
        assert worker.running

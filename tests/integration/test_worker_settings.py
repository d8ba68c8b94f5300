"""A worker that cannot work says why: wrong settings, wrong topics, no broker, a port in use."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import pytest

from streams.broker.kafka import EmbeddedKafka
from streams.kafka.topic_setup import ensure_topics
from tests.integration.messages import ago, lab
from tests.integration.unit_under_test import SILENT, UnitUnderTest
from tests.integration.worker_process import COMMAND, WorkerProcess

NOWHERE = {"DIALYSIS_BROKERS": "127.0.0.1:1", "DIALYSIS_HTTP": "127.0.0.1:0"}

WRONG = [
    ("DIALYSIS_PARTITIONS", "0", "1 or more"),
    ("DIALYSIS_PARTITIONS", "eight", "a whole number"),
    ("DIALYSIS_PARTITIONS", "", "a whole number"),
    ("DIALYSIS_BROKERS", "kafka", "host:port"),
    ("DIALYSIS_BROKERS", "kafka:0", "host:port"),
    ("DIALYSIS_HTTP", "6066", "host:port"),
    ("DIALYSIS_HTTP", "127.0.0.1:99999", "host:port"),
    ("DIALYSIS_TOPIC_PREFIX", "a b", "only what"),
    ("DIALYSIS_GROUP", "", "only what"),
    ("DIALYSIS_RESOLVED_RETENTION", "-1", "more than 0"),
    ("DIALYSIS_RESOLVED_RETENTION", "1e12", "3024000.0 or less"),
    ("DIALYSIS_RULES", "", "a path"),
    ("DIALYSIS_CHECKPOINT_INTERVAL", "nan", "a finite number"),
    ("DIALYSIS_CHECKPOINT_INTERVAL", "61", "60.0 or less"),
    ("DIALYSIS_BATCH_MAX", "1.5", "a whole number"),
    ("DIALYSIS_MAX_MESSAGE_BYTES", "1000", "1048576 or more"),
    ("DIALYSIS_SESSION_TIMEOUT", "1", "6.0 or more"),
    ("DIALYSIS_LOG_LEVEL", "loud", "one of"),
]


async def ended(**environment: str) -> tuple[int, str]:
    """Exit status and log of a worker that does not run long."""
    worker = WorkerProcess({**NOWHERE, **environment})
    try:
        return await worker.ended(), worker.said
    finally:
        worker.kill()


async def test_wrong_settings_are_named_with_what_was_got_and_what_is_wanted() -> None:
    # Two at a time: most of a start is imports.
    gate = asyncio.Semaphore(2)

    async def check(name: str, value: str, wanted: str) -> str | None:
        async with gate:
            status, said = await ended(**{name: value})
        lines = said.splitlines()
        right = status == 2 and len(lines) == 1 and lines[0].startswith(f"{name} is {value!r}, wants ")
        return None if right and wanted in lines[0] else f"{name}={value}: {status} {said}"

    problems = await asyncio.gather(*(check(*case) for case in WRONG))
    assert not [problem for problem in problems if problem]


async def test_all_wrong_settings_are_told_at_once() -> None:
    status, said = await ended(DIALYSIS_PARTITIONS="0", DIALYSIS_HTTP="x", DIALYSIS_BATCH_MAX="0")
    assert status == 2
    assert {line.split()[0] for line in said.splitlines()} == {
        "DIALYSIS_PARTITIONS",
        "DIALYSIS_HTTP",
        "DIALYSIS_BATCH_MAX",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("not [ toml", "is not TOML"),
        ("[no_such_rule]\nx = 1\n", "no_such_rule: no such rule"),
        ("[low_magnesium]\nqtc_ms = -1\n", "low_magnesium.qtc_ms: is -1"),
        ("[responses]\nhigh = [1e12]\n", "responses.high.0: is 1000000000000.0"),
        ("[low_magnesium]\nenabled = false\n", "accept_risk"),
    ],
)
async def test_wrong_rule_settings_are_named(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "rules.toml"
    if content is not None:
        path.write_text(content)
    status, said = await ended(DIALYSIS_RULES=str(path))
    assert status == 2
    assert "DIALYSIS_RULES" in said
    assert words in said
    assert "Traceback" not in said


async def test_topics_with_another_number_of_partitions_are_named(bootstrap: str) -> None:
    async with UnitUnderTest(bootstrap, partitions=2) as unit:
        worker = unit.worker(DIALYSIS_PARTITIONS="3")
        assert await worker.ended() == 2
        for name in ("lab-results", "machine-events", "clinical-events", "unit-signals"):
            assert f"{unit.topic(name)} has 2 partitions, not 3" in worker.said
        for table in ("patients", "loops"):
            assert f"{unit.name}-{table}-changelog has 2 partitions, not 3" in worker.said
        assert "Traceback" not in worker.said


async def test_missing_topics_are_named_before_anything_is_taken(bootstrap: str) -> None:
    async with UnitUnderTest(bootstrap) as unit:
        async with unit.admin() as admin:
            await admin.delete_topics([unit.topic("alerts.cramp"), unit.topic("dead-letters")])
        await unit.publish([lab("p", 1.5, ago(10))])
        worker = unit.worker()
        assert await worker.ended() == 2
        assert f"{unit.topic('alerts.cramp')} does not exist" in worker.said
        assert f"{unit.topic('dead-letters')} does not exist" in worker.said
        unit.workers.clear()
        await ensure_topics(unit.settings)
        await unit.start_worker()
        await unit.until_told(transition="raised")


async def test_a_topic_that_goes_away_ends_the_worker_and_loses_nothing(bootstrap: str) -> None:
    async with UnitUnderTest(bootstrap) as unit:
        worker = await unit.start_worker()
        async with unit.admin() as admin:
            await admin.delete_topics([unit.topic("alerts.low-magnesium")])
        await unit.publish([lab("p", 1.5, ago(10))])
        assert await worker.ended(30) == 1
        assert f"{unit.topic('alerts.low-magnesium')} does not exist" in worker.said
        assert await unit.handled() == 0
        unit.workers.clear()
        await ensure_topics(unit.settings)
        await unit.start_worker()
        await unit.until_told(transition="raised")
        await unit.until_done()


async def test_without_a_broker_it_says_so_waits_and_begins_when_there_is_one() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    with EmbeddedKafka(port=port) as broker:
        async with UnitUnderTest(broker.bootstrap) as unit:
            await unit.publish([lab("p", 1.5, ago(10))])
            await asyncio.to_thread(broker.stop)
            worker = unit.worker()
            await worker.until_said(f"Kafka at {re.escape(broker.bootstrap)} does not answer, waiting for it")
            async with unit.pulse(worker) as pulse:
                for _ in range(10):
                    status, text = await worker.get("/readyz")
                    assert status == 503
                    assert "no partition is assigned" in text
                    await asyncio.sleep(0.1)
                await asyncio.to_thread(broker.start)
                await worker.until_ready(40)
            assert pulse.statuses == {200}
            assert pulse.longest_s < 2
            await unit.until_told(transition="raised")
            await worker.stop()


async def test_it_can_be_told_to_end_while_it_waits_for_a_broker() -> None:
    worker = WorkerProcess(NOWHERE)
    try:
        await worker.until_said("does not answer")
        await worker.stop()
    finally:
        worker.kill()


async def test_a_port_in_use_is_one_sentence(bootstrap: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, said = await ended(DIALYSIS_HTTP=f"127.0.0.1:{port}", DIALYSIS_BROKERS=bootstrap)
    assert status == 1
    (line,) = said.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "DIALYSIS_HTTP" in line


def test_the_command_is_where_the_tests_look() -> None:
    assert COMMAND.exists()


async def test_a_worker_with_other_rule_settings_judges_every_patient_anew(bootstrap: str, tmp_path: Path) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text(
        f"{SILENT}\n[low_magnesium]\naccept_risk = 'a test'\n[low_magnesium.low]\n"
        "'mg/dL' = 1.5\n'mmol/L' = 0.617\n'meq/L' = 1.234\n"
    )
    async with UnitUnderTest(bootstrap, rules=SILENT) as unit:
        patients = unit.subjects(12)
        await unit.publish([lab(patient, 1.6 if number < 6 else 2.1) for number, patient in enumerate(patients)])
        worker = await unit.start_worker()
        await unit.until_told(count=6, rule="low_magnesium", transition="raised")
        await unit.until_done()
        await worker.stop()
        before = {state["rules"] for state in (await unit.stored()).values()}
        # Nothing comes: that the settings are others is reason enough.
        again = await unit.start_worker(DIALYSIS_RULES=str(strict))
        told = await unit.until_told(count=6, rule="low_magnesium", transition="resolved")
        assert {(alert["reason"], alert["revision"]) for alert in told} == {("superseded", 2)}
        await again.stop()
        after = {state["rules"] for state in (await unit.stored()).values()}
        assert len(before) == len(after) == 1
        assert before != after


async def test_an_accepted_risk_is_a_metric_a_log_line_and_an_alert(bootstrap: str, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(f"{SILENT}\n[low_magnesium]\nenabled = false\naccept_risk = 'Dr Roe: the laboratory calls'\n")
    async with UnitUnderTest(bootstrap, rules=site.read_text()) as unit:
        (patient,) = unit.subjects(1)
        worker = await unit.start_worker()
        await unit.publish([lab(patient, 0.6)])
        (alert,) = await unit.until_told(count=1, rule="data_quality", transition="raised")
        assert alert["priority"] == "low"
        assert alert["summary"].endswith("not by this site's settings; accepted: Dr Roe: the laboratory calls")
        _, metrics = await worker.get("/metrics")
        assert 'dialysis_accepted_risks{rule="low_magnesium"} 1.0' in metrics
        assert "the laboratory calls" not in metrics
        assert "risk accepted in [low_magnesium]: enabled: is false" in worker.said
        assert not [told for told in await unit.until_told(count=1) if told["rule"] == "low_magnesium"]

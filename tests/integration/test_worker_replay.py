"""A real worker and `replay` agree over the same events."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.integration.alert_records import repeats_are_identical
from tests.integration.messages import Message, ago
from tests.integration.unit_under_test import UnitUnderTest
from tests.integration.worker_process import COMMAND


def open_of(transitions: list[dict[str, Any]]) -> set[tuple[str, str | None, str | None, str, str]]:
    """The alerts that are open at the end: rule, subject, status, priority."""
    newest: dict[str, dict[str, Any]] = {}
    for alert in transitions:
        known = newest.get(alert["alert_id"])
        if known is None or alert["revision"] > known["revision"]:
            newest[alert["alert_id"]] = alert
    return {
        (
            a["rule"],
            a["patient_id"],
            a["water_loop_id"] if a["patient_id"] is None else None,
            a["status"],
            a["priority"],
        )
        for a in newest.values()
        if a["status"] in ("active", "acknowledged", "snoozed")
    }


def run(command: Sequence[str | Path]) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


async def test_a_worker_agrees_with_replay_over_the_same_events(bootstrap: str, tmp_path: Path) -> None:
    """A simulated day with everything that goes wrong in one, on topics that keep the events' own times."""
    lines = tmp_path / "day.jsonl"
    command = ["simulate", "--patients", "16", "--seed", "7", "--speed", "0", "--scenario", "dense"]
    simulate: list[str | Path] = [
        COMMAND,
        *command,
        "--hours",
        "8",
        "--out",
        lines,
        "--start",
        ago(30 * 3600).isoformat(),
    ]
    await asyncio.to_thread(run, simulate)
    async with UnitUnderTest(bootstrap, own_time=True) as unit:
        messages = [_message(line) for line in lines.read_bytes().splitlines()]
        assert len(messages) > 2_000
        await unit.publish(messages)
        replay: list[str | Path] = [COMMAND, "replay", lines]
        replayed = [json.loads(line) for line in (await asyncio.to_thread(run, replay)).splitlines()]
        await unit.start_worker()
        await unit.until_done()
        told = [json.loads(record.value) for record in await unit.alerts()]
        assert len(open_of(replayed)) > 3
        assert open_of(told) == open_of(replayed)

        def raised(alerts: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
            return {
                (a["rule"], a["patient_id"] or a["water_loop_id"], a["priority"])
                for a in alerts
                if a["transition"] == "raised"
            }

        assert raised(told) == raised(replayed)
        repeats_are_identical(await unit.alerts())


def _message(line: bytes) -> Message:
    fields = json.loads(line)
    received = datetime.fromisoformat(fields.get("received_at") or fields["at"])
    topic = {
        "lab_result": "lab-results",
        "session_started": "machine-events",
        "telemetry": "machine-events",
        "machine_alarm": "machine-events",
        "session_ended": "machine-events",
    }.get(fields["type"], "clinical-events")
    return Message(topic, fields["patient_id"].encode(), line, stamp=int(received.timestamp() * 1000))

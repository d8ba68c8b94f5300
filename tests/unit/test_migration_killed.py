"""Records of earlier versions, stored by a worker that was killed between storing its transitions and sending them.

`data/killed-v2.jsonl` was written by bf8f456, `data/killed-v3.jsonl` by 4784c50, in the middle of `busy_day`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.fake_port import FakeKafka, Host
from tests.unit.task_events import P1, P3, stored_patients
from tests.unit.whole_day import busy_day, undisturbed

DATA = Path(__file__).parent / "data"


def killed(version: int) -> tuple[dict[str, int], dict[bytes, bytes]]:
    """Committed offsets and changelog of the patients."""
    head, *lines = (json.loads(line) for line in (DATA / f"killed-v{version}.jsonl").read_text().splitlines())
    return head["committed"], {line["key"].encode(): line["value"].encode() for line in lines}


class _Stored(msgspec.Struct):
    """What was stored to be sent, byte for byte."""

    schema_version: int
    outbox: list[dict[str, msgspec.Raw]] = []


def outbox(changelog: dict[bytes, bytes]) -> list[bytes]:
    found = [msgspec.json.decode(raw, type=_Stored) for key, raw in changelog.items() if not key.startswith(b"#")]
    return [bytes(entry["value"]) for state in found for entry in state.outbox if "value" in entry]


def alerts(kafka: FakeKafka) -> set[tuple[Any, ...]]:
    states = stored_patients(kafka.changelog).values()
    return {
        (state.id, alert.rule, alert.alert_id, alert.status, alert.priority)
        for state in states
        for alert in (*state.alerts.values(), *state.buried.values())
    }


@pytest.mark.parametrize("version", [2, 3])
async def test_what_was_stored_is_sent_and_the_day_goes_on(kafka: FakeKafka, version: int) -> None:
    whole = await undisturbed(kafka, 10)
    upgraded = FakeKafka(kafka.clock)
    busy_day(upgraded)
    committed, upgraded.changelog = killed(version)
    assert all(json.loads(raw)["schema_version"] == version for raw in upgraded.changelog.values() if b'"id"' in raw)
    unsent = outbox(upgraded.changelog)
    assert unsent
    upgraded.committed.update(committed)
    await Host(upgraded).settle(size=10)
    sent = [message.value for message in upgraded.sent]
    assert all(value in sent for value in unsent), "with the bytes that were stored"
    stored_at = {key: json.loads(raw)["now"] for key, raw in killed(version)[1].items() if b'"id"' in raw}
    missed = alerts(whole) - alerts(upgraded)
    assert sorted((patient, rule, status) for patient, rule, _, status, _ in missed) == [
        (P1, "machine_silent", "resolved"),
        (P3, "machine_silent", "resolved"),
    ]
    assert not alerts(upgraded) - alerts(whole)
    # Neither version knew this rule, and both silences were over when the records were stored.
    over = {told["patient_id"]: told["at"] for told in whole.transitions() if told["rule"] == "machine_silent"}
    assert all(at <= stored_at[patient.encode()] for patient, at in over.items())

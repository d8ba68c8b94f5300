"""Records that the first version stored (a worker killed between storing an outbox and sending it) are taken over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.identity import version_key
from models.records import LabResult
from models.state import SCHEMA_VERSION, LoopState, PatientState, StateCodec
from models.state.migrations import migrate
from streams.rules.catalogue import parse_settings
from tests.unit.fake_port import PREFIX, FakeKafka, Host, loops
from tests.unit.task_events import DAY
from tests.unit.whole_day import busy_day, everything, undisturbed

STORED = Path(__file__).parent / "data" / "changelog-v1.jsonl"


def stored(table: str) -> tuple[dict[str, int], dict[bytes, bytes]]:
    """Committed offsets and changelog of a table, as version 1 left them."""
    found: dict[str, tuple[dict[str, int], dict[bytes, bytes]]] = {}
    changelog: dict[bytes, bytes] = {}
    for line in STORED.read_text().splitlines():
        entry = json.loads(line)
        if "table" in entry:
            changelog = {}
            found[entry["table"]] = entry["committed"], changelog
        else:
            changelog[entry["key"].encode()] = entry["value"].encode()
    return found[table]


@pytest.mark.parametrize(("table", "kind"), [("patients", PatientState), ("loops", LoopState)])
def test_states_of_version_1_are_read_and_written_in_the_present_form(table: str, kind: Any) -> None:
    codec: StateCodec[Any] = StateCodec(kind)
    _, changelog = stored(table)
    assert changelog
    for raw in changelog.values():
        assert json.loads(raw)["schema_version"] == 1
        state = codec.decode(raw)
        assert state.schema_version == SCHEMA_VERSION
        again = codec.encode(state)
        assert codec.encode(codec.decode(again)) == again
        before, after = json.loads(raw), json.loads(again)
        assert after.pop("heard_at") >= before["now"]
        assert "past" not in after or kind is PatientState
        after |= after.pop("past", {})
        after["alerts"] = after.pop("alerts", {}) | {
            name: alert | {"tombstoned": True} for name, alert in after.pop("buried", {}).items()
        }
        after.pop("buried_until", None)
        if not after["alerts"]:
            del after["alerts"]
        assert after | {"schema_version": 1} == before | _as_of_version_3(before)


def _as_of_version_3(fields: dict[str, Any]) -> dict[str, Any]:
    """The windows whose keys or shape version 3 changed: what they hold stays."""
    labs, symptoms = fields.get("labs", {}).values(), fields.get("symptoms", {}).values()
    arrivals = fields.get("arrivals", {})
    changed: dict[str, Any] = {
        "labs": {version_key(msgspec.convert(record, LabResult)): record for record in labs},
        "symptoms": {f"{record['symptom_id']}|{record['at'][:13]}": record for record in symptoms},
        "arrivals": arrivals
        | {f"symptom:{r['symptom_id']}|{r['at'][:13]}": arrivals[f"symptom:{r['symptom_id']}"] for r in symptoms},
        "sessions": {
            name: {
                {"started": "starts", "ended": "ends"}.get(field, field): [value]
                if field in ("started", "ended")
                else value
                for field, value in session.items()
            }
            for name, session in fields.get("sessions", {}).items()
        },
    }
    return {name: value for name, value in changed.items() if value}


def test_bytes_that_were_stored_to_be_sent_stay_as_they_are() -> None:
    # Blanks and escapes that no encoder of ours would write: nothing is decoded that need not be.
    raw = b'{"id":"p","schema_version":1,"outbox":[{"topic":"t","key":"k","value":{ "a": 1.50, "b": "\\u00b5" }}]}'
    assert b'{ "a": 1.50, "b": "\\u00b5" }' in migrate(raw, SCHEMA_VERSION, frozenset({"labs"}))


def test_who_was_never_heard_of_by_version_1_is_heard_of_never() -> None:
    state = StateCodec(PatientState).decode(b'{"id":"p","schema_version":1}')
    assert state.heard_at.year == 1


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION])
def test_a_record_that_is_no_state_of_any_version_is_refused(version: int) -> None:
    with pytest.raises(msgspec.DecodeError):
        StateCodec(PatientState).decode(b'{"id":"p","schema_version":%d}' % version)


async def test_an_upgrade_in_the_middle_of_a_day_goes_on_where_version_1_was_killed(kafka: FakeKafka) -> None:
    whole = await undisturbed(kafka, 10)
    upgraded = FakeKafka(kafka.clock)
    busy_day(upgraded)
    committed, upgraded.changelog = stored("patients")
    upgraded.committed.update(committed)
    unsent = sum(len(json.loads(raw).get("outbox", [])) for raw in upgraded.changelog.values())
    await Host(upgraded).settle(size=10)
    assert unsent > 0
    assert named(upgraded) <= named(whole)
    # What was stored and not sent by then is sent; what was sent before is not in this log.
    assert len(upgraded.transitions()) >= unsent
    assert {k: v["alerts"] for k, v in final(upgraded).items()} == {k: v["alerts"] for k, v in final(whole).items()}
    assert everything(upgraded)


def named(kafka: FakeKafka) -> set[tuple[str, int, str]]:
    return {(a["alert_id"], a["revision"], a["transition"]) for a in kafka.transitions()}


def final(kafka: FakeKafka) -> dict[bytes, Any]:
    states = {key: json.loads(raw) for key, raw in kafka.changelog.items() if not key.startswith(b"#")}
    for state in states.values():
        alerts = state.setdefault("alerts", {}).values()
        state["alerts"] = {(a["alert_id"], a["revision"], a["status"], a["priority"]) for a in alerts}
    return states


async def test_water_loops_of_version_1_keep_their_alert(kafka: FakeKafka) -> None:
    committed, kafka.changelog = stored("loops")
    (loop,) = kafka.changelog
    kafka.committed.update(committed)
    kafka.clock.elapsed += DAY
    for _ in range(committed[PREFIX + "unit-signals"]):
        kafka.put("unit-signals", loop, b"delivered to version 1", 0)
    (alert,) = json.loads(kafka.changelog[loop])["alerts"]
    kafka.event("unit-signals", loop.decode(), "alert_response", 20, alert_id=alert, by="lead", action="resolve")
    await Host(kafka, kind=loops(parse_settings({}))).settle()
    assert kafka.told()[-1] == "resolved"
    assert kafka.transitions()[-1]["alert_id"] == alert

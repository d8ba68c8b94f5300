"""Changelog records that cannot be read: named, set aside once, and nobody else is held up by them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from models.state import SCHEMA_VERSION, NewerSchemaError
from streams.rules.catalogue import parse_settings
from streams.transport.api import Recovered
from streams.transport.changelog import STAMP_HEADER, UNSTAMPED, Replica, Stamp
from streams.transport.thread import LightRecord
from streams.worker.ports import CLOCK_KEY, OLD_CLOCK_KEY
from streams.worker.recovered_state import BadStateError
from tests.unit.fake_port import FakeKafka, Host, loops, place, stamp
from tests.unit.task_events import P1, P2, P3

NEVER = b"0001-01-01T00:00:00Z"
BAD = {
    "truncated": (P2.encode(), b'{"id":"' + P2.encode() + b'","schema_ver'),
    "no JSON": (P2.encode(), b"hello"),
    "empty": (P2.encode(), b""),
    "null": (P2.encode(), b"null"),
    "a list": (P2.encode(), b"[1]"),
    "deep": (P2.encode(), b'{"id":' + b"[" * 5000),
    "another id": (P2.encode(), b'{"id":"x","schema_version":%d,"heard_at":"%b"}' % (SCHEMA_VERSION, NEVER)),
    "a version in words": (P2.encode(), b'{"id":"%b","schema_version":"2","heard_at":"%b"}' % (P2.encode(), NEVER)),
    "a version that is a list": (P2.encode(), b'{"id":"%b","schema_version":[2]}' % P2.encode()),
    "no version": (P2.encode(), b'{"id":"%b"}' % P2.encode()),
    "version 1 with wrong times": (P2.encode(), b'{"id":"%b","schema_version":1,"heard":[1]}' % P2.encode()),
    "year 9999": (
        P2.encode(),
        b'{"id":"%b","schema_version":%d,"heard_at":"%b","now":"9999-12-31T23:59:59Z"}'
        % (P2.encode(), SCHEMA_VERSION, NEVER),
    ),
    "a key that is no text": (b"\xfe\xfd", b'{"id":"\xfe","schema_version":2}'),
    "a clock that is garbage": (CLOCK_KEY, b"garbage"),
    "a clock of year 9999": (CLOCK_KEY, b'{"now":"9999-12-31T23:59:59Z"}'),
    "a clock with an offset beyond the calendar": (CLOCK_KEY, b'{"now":"9999-12-31T23:59:59-12:00"}'),
    "a clock a year ahead": (CLOCK_KEY, b'{"now":"2027-11-25T00:00:00Z"}'),
    "an old clock that is garbage": (OLD_CLOCK_KEY, b"garbage"),
    "an old clock of year 9999": (OLD_CLOCK_KEY, b'{"now":"9999-12-31T23:59:59Z"}'),
}


@pytest.mark.parametrize("case", BAD)
async def test_one_bad_record_costs_nobody_else_an_alert(
    kafka: FakeKafka, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    key, value = BAD[case]
    kafka.lab(P1, 1, 1.5)
    await Host(kafka).settle()
    kafka.changelog[key] = value
    caplog.set_level(logging.ERROR)
    host = await Host(kafka).settle()
    kafka.lab(P1, 2, 2.0)
    kafka.lab(P3, 3, 1.5)
    await host.settle()
    assert kafka.told(patient_id=P1) == ["raised", "resolved"], "the others are recovered"
    assert kafka.told(patient_id=P3) == ["raised"], "and who is new is alerted"
    (letter,) = kafka.topic("dead-letters")
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (key, value)
    assert headers["dl_reason"] == b"bad_state"
    assert headers["dl_topic"] == b"dialysis-alerts-patients-changelog"
    assert host.metric("dialysis_state_set_aside_total", table="patients") == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert "dialysis-alerts-patients-changelog[0] offset" in line
    assert P2 not in line
    assert kafka.changelog.get(key) != value
    await Host(kafka).settle()
    assert len(kafka.topic("dead-letters")) == 1, "a restart does not meet it again"


async def test_a_crash_while_setting_aside_loses_no_dead_letter(kafka: FakeKafka) -> None:
    kafka.lab(P1, 1, 1.5)
    await Host(kafka).settle()
    kafka.changelog[P2.encode()] = b"hello"
    host = Host(kafka)
    kafka.fail_writes = RuntimeError("gone")
    with pytest.raises(RuntimeError):
        await host.start()
    assert len(kafka.topic("dead-letters")) == 1
    kafka.fail_writes, kafka.fail_sends = None, RuntimeError("gone")
    with pytest.raises(RuntimeError):
        await Host(kafka).start()
    assert kafka.changelog[P2.encode()] == b"hello", "it stays until its dead letter is acknowledged"


async def test_the_patient_set_aside_begins_anew(kafka: FakeKafka) -> None:
    kafka.lab(P1, 1, 1.5)
    await Host(kafka).settle()
    kafka.changelog[P1.encode()] = b"hello"
    host = await Host(kafka).settle()
    kafka.lab(P1, 2, 1.1)
    await host.settle()
    assert kafka.told(patient_id=P1) == ["raised", "raised"]
    assert json.loads(kafka.changelog[P1.encode()])["id"] == P1


async def test_who_prefers_it_stops_with_a_sentence(kafka: FakeKafka) -> None:
    kafka.changelog[P2.encode()] = b"hello"
    with pytest.raises(BadStateError, match=r"patients-changelog\[0\] offset -1 .*DIALYSIS_ON_BAD_STATE") as error:
        await Host(kafka, on_bad_state="stop").start()
    assert P2 not in str(error.value)
    assert not kafka.sent


async def test_a_newer_version_is_no_broken_record(kafka: FakeKafka) -> None:
    kafka.changelog[P2.encode()] = b'{"id":"%b","schema_version":%d,"heard_at":"%b"}' % (
        P2.encode(),
        SCHEMA_VERSION + 1,
        NEVER,
    )
    with pytest.raises(NewerSchemaError):
        await Host(kafka).start()
    assert not kafka.sent


# -- a clock and a water loop of its name ------------------------------------------------------------------------------


async def test_the_clock_of_earlier_versions_is_recognised_and_moves(kafka: FakeKafka) -> None:
    kafka.lab(P1, 1, 1.5)
    await Host(kafka).settle()
    kafka.changelog.pop(CLOCK_KEY)
    kafka.changelog[OLD_CLOCK_KEY] = b'{"now":"%b"}' % stamp(1800).encode()
    host = await Host(kafka).start()
    assert host.task.subjects.now.isoformat() == stamp(1800)
    await host.idle(2)
    assert OLD_CLOCK_KEY not in kafka.changelog
    assert json.loads(kafka.changelog[CLOCK_KEY])["now"] >= stamp(1800)[:19]
    assert not kafka.topic("dead-letters")


async def test_a_water_loop_may_have_the_name_of_the_clock(kafka: FakeKafka) -> None:
    kind = loops(parse_settings({}))

    def signal(patient: str, at: float, revision: int, *, retracted: bool) -> None:
        fields: dict[str, Any] = {
            "alert_id": f"al-{patient}",
            "revision": revision,
            "sequence": revision,
            "patient_id": patient,
        }
        more: dict[str, Any] = {
            "rule": "aluminum_suspicion",
            "last_at": stamp(at),
            "known_at": stamp(at),
            "retracted": retracted,
        }
        kafka.event("unit-signals", "#clock", "unit_signal", at, **fields, **more)

    kafka.partition = place(b"#clock")
    for patient in ("p1", "p2"):
        signal(patient, 1, 1, retracted=False)
    await Host(kafka, kind=kind).settle()
    assert kafka.told(rule="aluminum_cluster") == ["raised"]
    assert json.loads(kafka.changelog[b"#clock"])["id"] == "#clock"
    signal("p3", 20, 1, retracted=False)
    host = await Host(kafka, kind=kind).settle()
    assert len(host.task.subjects.states["#clock"].signals) == 3, "it is there after a restart"
    assert kafka.told(rule="aluminum_cluster")[:1] == ["raised"]
    assert not kafka.topic("dead-letters")


# -- stamps ------------------------------------------------------------------------------------------------------------


def test_a_stamp_above_which_nobody_could_write_counts_for_nothing() -> None:
    replica = Replica()
    good = Stamp(0, 3, 7)
    replica.add([_record(0, b"k", b"good", good.header()), _record(1, b"k", b"forged", (STAMP_HEADER, b"\xff" * 14))])
    assert (replica.recovered(), replica.latest) == ({b"k": b"good"}, good)
    assert Stamp.of(((STAMP_HEADER, b"\xff" * 14),)) == UNSTAMPED


def test_a_header_without_a_value_holds_nothing_up_and_offsets_are_known() -> None:
    replica = Replica()
    replica.add([_record(4, b"k", b"v", (STAMP_HEADER, None))])  # type: ignore[arg-type]
    found = replica.recovered()
    assert isinstance(found, Recovered)
    assert (found, found.offsets) == ({b"k": b"v"}, {b"k": 4})
    assert Stamp.of(((STAMP_HEADER, None),)) == UNSTAMPED  # type: ignore[arg-type]


def _record(offset: int, key: bytes, value: bytes, header: tuple[str, bytes]) -> LightRecord:
    return LightRecord("c", 0, offset, 0, 1, key, value, (header,))

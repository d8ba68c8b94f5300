"""Input that is not as it should be, and its flow (see `fake_port`)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from models.state import PatientState, StateCodec
from streams.rules.catalogue import parse_settings
from streams.transport.api import TP
from streams.worker.intake import TURN_S
from streams.worker.outbox import MOVED_FROM
from streams.worker.ports import CLOCK_KEY
from tests.unit.fake_port import PREFIX, FakeKafka, Host, loops, place, stamp, subjects
from tests.unit.task_events import ELSEWHERE, P1, P2, telemetry

# -- topics that are not what they were --------------------------------------------------------------------------------


async def test_a_topic_made_anew_is_read_from_its_beginning(kafka: FakeKafka, caplog: pytest.LogCaptureFixture) -> None:
    for second in range(5):
        kafka.lab(P1, second, 2.0)
    telemetry(kafka, P1, 5)
    await Host(kafka).settle()
    kafka.logs[PREFIX + "lab-results"].clear()
    kafka.committed[PREFIX + "lab-results"] = 0  # as the transport does when the log does not reach the offset
    kafka.lab(P1, 100, 1.5, result_id="new")
    await Host(kafka).settle()
    assert kafka.told() == ["raised"]
    assert "was made anew" in caplog.text
    stored = StateCodec(PatientState).decode(kafka.changelog[P1.encode()])
    assert stored.offsets == {"lab-results": 0, "machine-events": 0}


async def test_that_a_topic_was_made_anew_is_stored_for_those_of_whom_nothing_came_yet(kafka: FakeKafka) -> None:
    """Else the next process, which sees a longer log, would take P2's first events for known ones."""
    for second in range(5):
        kafka.lab(P2, second, 2.0)
    await Host(kafka).settle()
    kafka.logs[PREFIX + "lab-results"].clear()
    kafka.committed[PREFIX + "lab-results"] = 0
    kafka.lab(P1, 100, 2.0, result_id="new")
    await Host(kafka).settle()
    for second in range(10):
        kafka.lab(P1 if second else P2, 200 + second, 1.5, result_id=f"newer{second}")
    await Host(kafka).settle()
    assert kafka.told(patient_id=P2) == ["raised"]


async def test_what_was_applied_is_skipped_and_counted(kafka: FakeKafka) -> None:
    kafka.lab(P1, 1, 1.5)
    kafka.lab(P1, 2, 2.0)
    await Host(kafka).settle()
    kafka.committed.clear()
    host = await Host(kafka).start()
    sent = len(kafka.sent)
    await host.settle()
    assert len(kafka.sent) == sent
    assert host.metric("dialysis_duplicate_events_total", topic=PREFIX + "lab-results") == 2
    assert kafka.committed == {PREFIX + "lab-results": 2}


# -- what lies wrong, and what cannot be used --------------------------------------------------------------------------


async def test_a_misplaced_record_is_sent_on_as_it_is_and_not_filed_here(kafka: FakeKafka) -> None:
    value = {"type": "weight", "patient_id": ELSEWHERE, "at": stamp(0), "kg": 70.0, "moment": "pre"}
    kafka.put("clinical-events", ELSEWHERE.encode(), value, 1, headers=[("trace", b"7"), ("empty", b"")])
    host = await Host(kafka).settle()
    (message,) = kafka.topic("clinical-events")
    assert (message.key, message.partition) == (ELSEWHERE.encode(), 1)
    assert message.value == kafka.logs[PREFIX + "clinical-events"][0].value
    assert message.headers == (("trace", b"7"), ("empty", b""), (MOVED_FROM, b"0:0"))
    assert host.task.subjects.states == {}
    assert kafka.changelog.keys() == {CLOCK_KEY}
    assert kafka.committed == {PREFIX + "clinical-events": 1}
    assert host.metric("dialysis_misplaced_records_total", topic=PREFIX + "clinical-events") == 1


async def test_a_misplaced_record_that_is_unusable_is_judged_where_it_belongs(kafka: FakeKafka) -> None:
    kafka.put("clinical-events", ELSEWHERE.encode(), b"\x00", 1)
    await Host(kafka).settle()
    assert [message.topic for message in kafka.sent] == [PREFIX + "clinical-events"]


async def test_a_misplaced_record_too_large_to_carry_one_more_header_is_a_dead_letter(kafka: FakeKafka) -> None:
    kafka.put("clinical-events", ELSEWHERE.encode(), b"x" * (1048576 - 20), 1)
    await Host(kafka, max_message_bytes=1048576).settle()
    (letter,) = kafka.sent
    assert letter.topic == PREFIX + "dead-letters"
    assert dict(letter.headers)["dl_reason"] == b"key_mismatch"
    assert letter.key == ELSEWHERE.encode()
    assert kafka.committed == {PREFIX + "clinical-events": 1}


GARBAGE: list[tuple[bytes | None, bytes | None, str]] = [
    (P1.encode(), None, "empty"),
    (P1.encode(), b"", "empty"),
    (None, None, "empty"),
    (None, b'{"type":"weight"}', "missing_field"),
    (P1.encode(), b"\x00\x01", "invalid_json"),
    (P1.encode(), b"[" * 100_000, "invalid_json"),
    (P1.encode(), b"\xff\xfe", "invalid_json"),
    (P1.encode(), b"[]", "not_an_object"),
    (P1.encode(), b"{}", "missing_field"),
    (P1.encode(), b'{"type":"telemetry?"}', "unknown_type"),
    (
        P1.encode(),
        json.dumps({"type": "weight", "patient_id": P2, "at": stamp(0), "kg": 1.0, "moment": "pre"}).encode(),
        "key_mismatch",
    ),
    (
        b"",
        json.dumps({"type": "weight", "patient_id": P2, "at": stamp(0), "kg": 1.0, "moment": "pre"}).encode(),
        "key_mismatch",
    ),
    (
        None,
        json.dumps({"type": "weight", "patient_id": P2, "at": stamp(0), "kg": 1.0, "moment": "pre"}).encode(),
        "key_mismatch",
    ),
    (
        P1.encode(),
        json.dumps(
            {"type": "weight", "patient_id": P1, "at": "9999-12-31T23:59:59Z", "kg": 1.0, "moment": "pre"}
        ).encode(),
        "out_of_range",
    ),
    (P1.encode(), b'{"type":"unit_signal"}', "unknown_type"),
]


@pytest.mark.parametrize("known", [False, True])
async def test_garbage_becomes_dead_letters_and_harms_nobody(kafka: FakeKafka, known: bool) -> None:
    if known:
        kafka.lab(P1, 0, 2.0)
    letters = {}
    for key, value, reason in GARBAGE:
        here = key is None or key == P1.encode() or place(key) == 0
        offset = kafka.put("lab-results", key, value, 1)
        if here:
            letters[offset] = (key, value if value is not None or key is not None else b"", reason)
    kafka.lab(P1, 2, 1.5, result_id="good")
    host = await Host(kafka).settle()
    found = {}
    for letter in kafka.topic("dead-letters"):
        headers = dict(letter.headers)
        assert headers["dl_topic"] == (PREFIX + "lab-results").encode()
        assert headers["dl_partition"] == b"0"
        found[int(headers["dl_offset"])] = (letter.key, letter.value, headers["dl_reason"].decode())
    assert found == letters
    assert kafka.told() == ["raised"]
    assert kafka.committed == {PREFIX + "lab-results": len(kafka.logs[PREFIX + "lab-results"])}
    assert host.metric("dialysis_dead_letters_total", topic=PREFIX + "lab-results", reason="empty") == 3


async def test_mostly_garbage_makes_it_not_ready_until_it_is_over(kafka: FakeKafka) -> None:
    host = await Host(kafka).start()

    def ready() -> bool:
        return next(check for check in host.health.ready() if check.name == "dead_letters").ok

    for number in range(200):
        if number % 3:
            kafka.put("lab-results", P1.encode(), b"{", 1)
        else:
            kafka.lab(P1, 1, 2.0)
    await host.settle()
    assert not ready()
    for _ in range(200):
        kafka.lab(P1, 2, 2.0)
    await host.settle()
    assert ready()


async def test_the_outbox_of_one_patient_stays_small_enough_to_be_stored(kafka: FakeKafka) -> None:
    """A gateway that sends a whole past at once: a thousand transitions must not become one changelog record."""
    for number in range(1500):
        kafka.lab(P1, number, 1.5 if number % 2 else 2.0, result_id=f"n{number}")
    host = await Host(kafka, batch_max=1000, max_message_bytes=4 * 1024 * 1024).start()
    largest = 0
    write = kafka.write

    async def measured(partition: int, entries: Any) -> tuple[()]:
        nonlocal largest
        largest = max(largest, *(len(value) for value in entries.values()))
        await write(partition, entries)
        return ()

    kafka.write = measured  # type: ignore[method-assign]
    await host.settle(size=1000)
    assert len(kafka.told()) == 1500 - 1
    assert largest < 1_200_000


# -- flow --------------------------------------------------------------------------------------------------------------


async def test_a_topic_of_which_too_much_waits_is_paused_and_resumed(kafka: FakeKafka) -> None:
    kafka.unconfirmed = {PREFIX + "lab-results"}
    for second in range(100):
        telemetry(kafka, P1, second)
    host = await Host(kafka, batch_max=10).start()
    while await host.deliver("machine-events"):
        await host.turn()
    assert kafka.paused == {TP(PREFIX + "machine-events", 0)}
    assert kafka.delivered[PREFIX + "machine-events"] < 100
    kafka.unconfirmed.clear()
    await host.settle()
    assert kafka.paused == set()
    assert kafka.committed == {PREFIX + "machine-events": 100}


# -- water loops -------------------------------------------------------------------------------------------------------


async def test_signals_of_two_patients_raise_a_unit_alert_and_a_person_ends_it(kafka: FakeKafka) -> None:
    loop = subjects(0, 1, "loop")[0]
    for number, patient in enumerate((P1, P2)):
        fields: dict[str, Any] = {"patient_id": patient, "alert_id": f"a{number}", "revision": 1, "sequence": 1}
        kafka.event("unit-signals", loop, "unit_signal", number, rule="aluminum_suspicion", retracted=False, **fields)
    host = await Host(kafka, kind=loops(parse_settings({}))).settle()
    (raised,) = kafka.transitions()
    assert (raised["rule"], raised["priority"], raised["water_loop_id"]) == ("aluminum_cluster", "high", loop)
    assert [m.key for m in kafka.topic("alerts.unit")] == [loop.encode()]
    kafka.event("unit-signals", loop, "alert_response", 20, alert_id=raised["alert_id"], by="lead", action="resolve")
    kafka.put("unit-signals", loop.encode(), {"type": "weight"}, 21)
    await host.settle()
    assert kafka.told() == ["raised", "resolved"]
    assert len(kafka.topic("dead-letters")) == 1


async def test_records_that_are_dear_to_refuse_do_not_hold_the_loop(kafka: FakeKafka) -> None:
    for _ in range(40):
        kafka.put("lab-results", P1.encode(), {"type": "lab_result"}, 10)
    host = await Host(kafka).start()
    parse = host.task.kind.parse

    def dear(value: bytes | None) -> Any:
        kafka.clock.elapsed += 0.005
        return parse(value)

    host.task.kind = replace(host.task.kind, parse=dear)
    turns: list[float] = []
    while host.task.handled < 40:
        before, began = host.task.handled, kafka.clock.elapsed
        await host.deliver("lab-results")
        await host.turn()
        turns.append(kafka.clock.elapsed - began)
        assert host.task.handled > before
    assert max(turns) <= TURN_S + 2 * 0.005
    await host.settle()
    assert len(kafka.topic("dead-letters")) == 40


async def test_a_subject_whose_records_are_dear_does_not_hold_the_loop(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        kafka.lab(P1, 10 + number, 1.5 if number % 2 else 2.0, result_id=f"r{number}")
    host = await Host(kafka).start()
    take = host.task.subjects.take

    def dear(*given: Any) -> Any:
        kafka.clock.elapsed += 0.005
        return take(*given)

    monkeypatch.setattr(host.task.subjects, "take", dear)
    await host.deliver("lab-results")
    turns: list[float] = []
    while host.task.handled < 40:
        before, began = host.task.handled, kafka.clock.elapsed
        await host.deliver("lab-results")
        await host.turn()
        turns.append(kafka.clock.elapsed - began)
        assert host.task.handled > before
    assert len(turns) > 4
    assert max(turns) <= TURN_S + 2 * 0.005  # the last one may pass the end of the turn
    await host.settle()
    assert kafka.committed == {PREFIX + "lab-results": 40}

"""What leaves a task, and how it is counted."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord

from models.alerts import AlertRecord, Priority, Reason, Status, Transition
from models.parsing import Parsed, parse_patient_event
from models.state import NO_VALUE, SCHEMA_VERSION, AlertState, Entry, PatientState
from models.state.migrations import NEVER
from streams.engine.change import Change
from streams.worker.health import Health
from streams.worker.metrics import Metrics
from streams.worker.outbox import MOVED_FROM, TaskOutput
from tests.unit.fake_port import EPOCH, PREFIX, place, settings, stamp, subjects

HERE, ELSEWHERE = subjects(2, 1)[0].encode(), subjects(3, 1)[0].encode()
LABS = PREFIX + "lab-results"


class Post:
    """The output of partition 2."""

    def __init__(self, **changed: Any) -> None:
        self.metrics, self.health = Metrics(), Health()
        self.output = TaskOutput(settings(**changed), 2, self.metrics, self.health, "patients")

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def post() -> Post:
    return Post()


def record(key: bytes | None, value: bytes | None = b"v", *, headers: Any = (), offset: int = 7) -> Any:
    return ConsumerRecord(LABS, 2, offset, 1_000, 0, key, value, None, 0, 0, headers)


def alert(
    name: str = "a1", transition: Transition = Transition.RAISED, priority: Priority = Priority.HIGH
) -> AlertRecord:
    over = transition is Transition.RESOLVED
    return AlertRecord(
        alert_id=name,
        revision=1,
        rule="low_magnesium",
        rule_version=1,
        family="low-magnesium",
        status=Status.RESOLVED if over else Status.ACTIVE,
        transition=transition,
        reason=Reason.CONDITION_MET,
        priority=priority,
        escalation=0,
        patient_id="p",
        unit_id=None,
        session_id=None,
        chair=None,
        water_loop_id=None,
        onset_at=EPOCH,
        at=EPOCH,
        summary="s",
        guidance=[],
        evidence=[],
    )


# -- where records belong ----------------------------------------------------------------------------------------------


def test_a_record_belongs_where_murmur2_of_its_key_says(post: Post) -> None:
    assert (place(HERE), place(ELSEWHERE)) == (2, 3)
    assert post.output.is_placed_here(record(HERE))
    assert not post.output.is_placed_here(record(ELSEWHERE))
    assert post.output.is_placed_here(record(None))


def test_murmur2_is_javas() -> None:
    """Known values of org.apache.kafka.common.utils.Utils.murmur2, through toPositive and modulo."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    for key, hash_ in known.items():
        assert place(key) == (hash_ & 0x7FFFFFFF) % 4


def test_what_is_sent_on_keeps_everything_and_says_where_it_was(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    headers: Any = (("trace", b"1"), ("empty", None))
    for offset in range(3):
        post.output.send_on(record(ELSEWHERE, None if offset else b"v", headers=headers, offset=offset))
    messages = post.output.take_waiting()
    assert [(m.topic, m.key, m.value, m.partition) for m in messages] == [
        (LABS, ELSEWHERE, b"v", 3),
        (LABS, ELSEWHERE, None, 3),
        (LABS, ELSEWHERE, None, 3),
    ]
    assert messages[0].headers == (*headers, (MOVED_FROM, b"2:0"))
    assert post.output.take_waiting() == []
    assert post.value("dialysis_misplaced_records_total", topic=LABS) == 3
    # Once a topic, not once a record.
    assert [r.levelno for r in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("where", ["value", "key", "header"])
def test_what_its_topic_would_refuse_with_one_more_header_is_a_dead_letter(where: str) -> None:
    post = Post(max_message_bytes=1048576)
    large = b"x" * (1048576 - 200)
    key = ELSEWHERE
    if where == "key":
        key = next(k for n in range(100) if place(k := large + b"%d" % n) != 2)
    headers = (("h", large),) if where == "header" else ()
    post.output.send_on(record(key, large if where == "value" else b"v", headers=headers))
    (letter,) = post.output.take_waiting()
    assert letter.topic == PREFIX + "dead-letters"
    assert dict(letter.headers)["dl_reason"] == b"key_mismatch"
    assert post.value("dialysis_misplaced_records_total", topic=LABS) == 0


def test_a_dead_letter_is_counted_and_weighs_on_readiness(post: Post) -> None:
    for _ in range(120):
        post.output.dead_letter(record(HERE, b"\xff"), "invalid_json", "why")
    letters = post.output.take_waiting()
    assert len(letters) == 120
    assert {letter.partition for letter in letters} == {None}
    assert (letters[0].key, letters[0].value) == (HERE, b"\xff")
    assert post.value("dialysis_dead_letters_total", topic=LABS, reason="invalid_json") == 120
    post.output.counts(LABS).flush(200)
    assert not next(check for check in post.health.ready() if check.name == "dead_letters").ok
    # Flushed once, not again.
    post.output.counts(LABS).flush(200)
    assert next(check for check in post.health.ready() if check.name == "dead_letters").ok


# -- what an outbox says -----------------------------------------------------------------------------------------------


def test_a_transition_goes_to_its_family_and_to_alerts_active_with_the_same_headers(post: Post) -> None:
    entry = Entry("alerts.cramp", "p", msgspec.Raw(b'{"a":1}'), "id-1:3", "dialysis.alert.updated")
    family, active = post.output.of_outboxes([[entry]], [])
    assert (family.topic, family.key, family.value, family.partition) == (
        PREFIX + "alerts.cramp",
        b"p",
        b'{"a":1}',
        None,
    )
    # The owner of the patient publishes the session: it lies on the patient's partition number.
    assert (active.topic, active.key, active.value, active.partition) == (
        PREFIX + "alerts.active",
        b"id-1",
        b'{"a":1}',
        2,
    )
    assert family.headers == active.headers
    headers = dict(family.headers)
    assert headers.pop("ce_time")
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": b"id-1:3",
        "ce_type": b"dialysis.alert.updated",
        "ce_source": b"/dialysis-alerts",
        "content-type": b"application/json",
    }


def test_tombstones_and_signals_carry_no_cloudevents_headers(post: Post) -> None:
    entries = [
        Entry("alerts.active", "id-1"),
        Entry("sessions.active", "s-1"),
        Entry("unit-signals", "loop", msgspec.Raw(b"{}")),
    ]
    found = [
        (m.topic.removeprefix(PREFIX), m.key, m.value, m.headers, m.partition)
        for m in post.output.of_outboxes([entries], [])
    ]
    assert found == [
        ("alerts.active", b"id-1", None, (), 2),
        ("sessions.active", b"s-1", None, (), 2),
        ("unit-signals", b"loop", b"{}", (), None),
    ]


def kept(name: str, **more: Any) -> AlertState:
    """An alert as a patient's state has it."""
    fields: dict[str, Any] = {
        "rule": "low_magnesium",
        "key": "k",
        "revision": 1,
        "status": Status.ACTIVE,
        "priority": Priority.HIGH,
        "onset_at": EPOCH,
        "at": EPOCH,
        "value": msgspec.Raw(msgspec.json.encode(alert())),
        "shown": "",
        "anchors": [],
        "grounds": [],
        "known_at": EPOCH,
        "level_known_at": EPOCH,
    }
    return AlertState(alert_id=name, **(fields | more))


def test_what_is_over_is_said_again_for_a_day(post: Post) -> None:
    """A predecessor that was frozen may have shown it open since; compaction would keep that."""
    ended = EPOCH - timedelta(hours=23)
    state = PatientState(id="p", schema_version=SCHEMA_VERSION, heard_at=NEVER)
    state.alerts["over"] = kept("over", status=Status.RESOLVED, over_at=ended)
    state.buried["buried"] = kept("buried", status=Status.RESOLVED, over_at=ended, value=NO_VALUE)
    state.buried["old"] = kept("old", over_at=EPOCH - timedelta(hours=25), value=NO_VALUE)
    state.buried_until = ended
    post.output.adopt(state, EPOCH)
    found = {message.key: (message.value, message.partition) for message in post.output.final_states()}
    assert found == {b"over": (msgspec.json.encode(alert()), 2), b"buried": (None, 2)}
    assert post.output.final_states() == []
    assert post.value("dialysis_alerts_active", rule="low_magnesium", priority="high") == 0


def test_what_is_shown_again_is_what_was_shown(post: Post) -> None:
    body = msgspec.json.encode(alert())
    state = PatientState(id="p", schema_version=SCHEMA_VERSION, heard_at=NEVER)
    state.alerts["a1"] = kept("a1")
    post.output.adopt(state, EPOCH)
    (message,) = post.output.final_states()
    assert (message.topic, message.key, message.value, message.partition) == (PREFIX + "alerts.active", b"a1", body, 2)
    headers = dict(message.headers)
    assert (headers["ce_id"], headers["ce_type"]) == (b"a1:1", b"dialysis.alert.raised")
    assert post.value("dialysis_alerts_active", rule="low_magnesium", priority="high") == 1


# -- counting ----------------------------------------------------------------------------------------------------------


def test_transitions_are_counted_when_the_broker_has_them_not_before(post: Post) -> None:
    labels = {"rule": "low_magnesium", "priority": "high", "transition": "raised"}
    post.output.note(alert(), datetime.now(UTC) - timedelta(seconds=2))
    told = post.output.take_noted()
    assert post.value("dialysis_alert_transitions_total", **labels) == 0
    post.output.acknowledged(told)
    assert post.value("dialysis_alert_transitions_total", **labels) == 1
    assert post.value("dialysis_event_to_alert_seconds_count", family="low-magnesium") == 1
    assert 2 <= post.value("dialysis_event_to_alert_seconds_sum", family="low-magnesium") < 3
    assert post.output.take_noted() == []
    # A deadline has no input to count from.
    post.output.note(alert("a2"), None)
    post.output.acknowledged(post.output.take_noted())
    assert post.value("dialysis_event_to_alert_seconds_count", family="low-magnesium") == 1


def test_the_gauge_of_open_alerts_follows_priority_and_end(post: Post) -> None:
    def tell(*alerts: AlertRecord) -> None:
        for one in alerts:
            post.output.note(one, None)
        post.output.acknowledged(post.output.take_noted())

    def open_now() -> tuple[float, float]:
        name = "dialysis_alerts_active"
        return tuple(post.value(name, rule="low_magnesium", priority=p) for p in ("high", "medium"))  # type: ignore[return-value]

    tell(alert("a1"), alert("a2", priority=Priority.MEDIUM))
    assert open_now() == (1, 1)
    tell(alert("a2", Transition.ESCALATED, Priority.HIGH))
    assert open_now() == (2, 0)
    tell(alert("a1", Transition.RESOLVED), alert("a1", Transition.RESOLVED))
    assert open_now() == (1, 0)


def test_events_repeats_late_ones_and_unknown_fields_are_counted_by_topic_and_type(post: Post) -> None:
    raw = b'{"type":"weight","patient_id":"p","at":"%s","kg":70.0,"moment":"pre","scale":"7"}' % stamp(0).encode()
    parsed = parse_patient_event(raw)
    assert isinstance(parsed, Parsed)
    counts = post.output.counts(LABS)
    counts.add(parsed.record, parsed.unknown_fields, Change(), late=True)
    counts.add(parsed.record, parsed.unknown_fields, Change(filed=False), late=False)
    counts.duplicates += 1
    assert post.value("dialysis_events_total", topic=LABS, type="weight") == 0
    counts.flush(3)
    assert post.value("dialysis_events_total", topic=LABS, type="weight") == 2
    assert post.value("dialysis_late_events_total", topic=LABS) == 1
    assert post.value("dialysis_duplicate_events_total", topic=LABS) == 2
    assert post.value("dialysis_unknown_fields_total", topic=LABS) == 2
    counts.flush(0)
    assert post.value("dialysis_events_total", topic=LABS, type="weight") == 2

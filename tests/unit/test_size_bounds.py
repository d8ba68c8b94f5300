"""Whatever comes, a subject's record stays within its bound in bytes, and its open alerts stay with their grounds."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from models.alerts import Status
from models.identity import alarm_name
from models.parsing import Parsed, parse_loop_event, parse_patient_event
from models.state import LoopState, PatientState, StateCodec
from models.state.bounds import (
    DROPS_FORGOTTEN,
    LEAST_INPUT_BYTES,
    MAX_ALARM_BYTES,
    MAX_EVIDENCE_BYTES,
    MAX_INPUT_BYTES,
    MAX_OVER_BYTES,
)
from models.state.history import History
from models.state.subject import SubjectState
from streams.engine.factory import loop_partition, patient_partition
from streams.engine.partition import Partition
from streams.engine.size_bounds import _BESIDE, begin_anew, size_of, trim
from streams.engine.windows import WINDOWS
from streams.rules.catalogue import parse_settings
from tests.unit.timeline import FIRST_DAY

RETENTION = timedelta(minutes=15)
#: Four bytes in UTF-8.
WIDE = "\U00020000"
SMALLEST_MESSAGE = 1024 * 1024


@pytest.mark.parametrize("model", [PatientState, LoopState])
def test_everything_that_is_held_of_a_subject_counts(model: type[PatientState | LoopState]) -> None:
    kinds = (model, History) if model is PatientState else (model,)
    windows = {name for kind in kinds for name, held in kind.__annotations__.items() if held.startswith("dict")}
    assert windows
    assert windows <= {*(window.name for window in WINDOWS), *_BESIDE, "buried"}


def wide(number: int, length: int = 200) -> str:
    return (f"{number}-" + WIDE * length)[:length]


def flood(seed: int, at: datetime) -> Iterator[dict[str, Any]]:
    """Events of every kind with ids as long as they may be, in random order."""
    n = itertools.count()

    def new() -> str:
        return wide(next(n))

    common = [{"event_id": new(), "unit_id": new(), "source": new()} for _ in range(60)]
    events: list[dict[str, Any]] = []
    for _ in range(220):
        analyte = ("magnesium", "aluminum", "potassium")[next(n) % 3]
        events.append(
            {"type": "lab_result", "result_id": new(), "analyte": analyte, "value": 2.0, "unit": "mg/dL",
             "flags": [WIDE * 20] * 20}
        )  # fmt: skip
        events.append({"type": "symptom", "symptom_id": new(), "kind": ("cramp", "seizure")[next(n) % 2]})
    for _ in range(50):
        session = {"session_id": new(), "machine_id": new(), "chair": new(), "water_loop_id": new()}
        events.append({"type": "session_started", **session})
        events.append({"type": "session_ended", "session_id": session["session_id"]})
    for _ in range(110):
        alarm = {"session_id": new(), "machine_id": new(), "code": new(), "phase": "start", "text": wide(0, 2000)}
        events.append({"type": "machine_alarm", **alarm})
        events.append({"type": "medication", "order_id": new(), "drug": new(), "route": new(), "action": "ordered"})
        answer = {"alert_id": new(), "by": new(), "action": "acknowledge", "reason": wide(0, 2000)}
        events.append({"type": "alert_response", **answer})
        events.append({"type": "rhythm", "kind": "af"})
        events.append({"type": "weight", "kg": 70.0, "moment": "pre"})
        events.append({"type": "schedule", "session_id": new(), "planned_start": at.isoformat()})
    events.append({"type": "patient_profile", "conditions": [new() for _ in range(100)]})
    chance = random.Random(seed)
    chance.shuffle(events)
    for number, event in enumerate(events):
        moment = at + timedelta(seconds=number)
        yield {"patient_id": "p1", "at": moment.isoformat(), **common[number % len(common)], **event}


class Bed:
    """One patient's partition, and everything it said."""

    def __init__(self) -> None:
        self.partition: Partition[PatientState] = patient_partition(parse_settings({}), RETENTION)
        self.said: list[bytes] = []
        self.largest = 0

    def put(self, fields: dict[str, Any]) -> PatientState:
        parsed = parse_patient_event(msgspec.json.encode(fields))
        assert isinstance(parsed, Parsed), parsed
        at = parsed.record.at
        list(self.partition.advance(at))
        state, _, _ = self.partition.take("p1", parsed.record, at)
        self.said += [bytes(entry.value) for entry in state.outbox]
        state.outbox.clear()
        return state

    def restart(self) -> None:
        codec = StateCodec(PatientState)
        states = [codec.decode(codec.encode(state)) for state in self.partition.states.values()]
        self.partition = patient_partition(parse_settings({}), RETENTION)
        self.partition.adopt(states)


def severe(result_id: str = "severe") -> dict[str, Any]:
    result = {"type": "lab_result", "result_id": result_id, "analyte": "magnesium", "value": 0.5, "unit": "mg/dL"}
    return {"patient_id": "p1", "at": FIRST_DAY.isoformat(), **result}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_the_record_stays_within_its_bound(seed: int) -> None:
    bed, codec = Bed(), StateCodec(PatientState)
    # The last result decides: without newer ones the alert stays open.
    bed.put(severe())
    no_magnesium = (e for e in flood(seed, FIRST_DAY + timedelta(minutes=1)) if e.get("analyte") != "magnesium")
    for event in no_magnesium:
        state = bed.put(event)
        alert = next(a for a in state.alerts.values() if a.rule == "low_magnesium")
        assert alert.over_at is None
        assert any(result.result_id == "severe" for result in state.labs.values())
    assert size_of(state) <= MAX_INPUT_BYTES
    assert len(codec.encode(state)) < SMALLEST_MESSAGE
    assert max(map(len, bed.said)) < SMALLEST_MESSAGE / 8


def test_what_is_dropped_does_not_depend_on_a_restart() -> None:
    one, other = Bed(), Bed()
    for number, event in enumerate(flood(7, FIRST_DAY)):
        one.put(event)
        other.put(event)
        if number % 97 == 0:
            other.restart()
    assert one.said == other.said


def test_a_drop_is_said_and_the_alert_ends_a_day_after_the_last() -> None:
    bed = Bed()
    for event in flood(1, FIRST_DAY):
        state = bed.put(event)
    said = [a for a in state.alerts.values() if a.key == "dropped"]
    assert [(a.rule, a.priority, a.over_at) for a in said] == [("data_quality", "low", None)]
    assert state.drops is not None
    assert state.drops.counts["machine_alarms"] > 0
    # Alarms go before results, but for those on which an open alert rests.
    grounds = {ground for alert in state.alerts.values() if alert.over_at is None for ground in alert.grounds}
    resting = [key for key in state.machine_alarms if f"machine_alarm:{key}" in grounds]
    assert "labs" not in state.drops.counts or state.drops.counts["machine_alarms"] + len(resting) >= 100
    # It speaks again only when the number has doubled.
    assert said[0].revision <= 1 + sum(state.drops.counts.values()).bit_length()
    list(bed.partition.advance(state.drops.at + DROPS_FORGOTTEN))
    assert said[0].over_at == state.drops.at + DROPS_FORGOTTEN


def test_a_record_that_begins_anew_holds_nothing_but_how_far_its_input_was_applied() -> None:
    bed = Bed()
    bed.put(severe())
    for event in flood(2, FIRST_DAY + timedelta(minutes=1)):
        state = bed.put(event)
    state.held["uf_rate_high"] = ["s1"]
    state.offsets["lab-results"] = 7
    begin_anew(state)
    kinds = (PatientState, History)
    names = {name for kind in kinds for name in (*kind.__annotations__, *SubjectState.__annotations__)}
    left = {name: held for name in names if isinstance(held := getattr(state, name, None), dict | list) and held}
    assert left == {"offsets": {"lab-results": 7}}
    assert (state.profile, state.unit_id) == (None, None)


def test_an_ordinary_patient_loses_nothing() -> None:
    bed = Bed()
    for number in range(300):
        at = FIRST_DAY + timedelta(hours=number)
        fields = {"patient_id": "p1", "at": at.isoformat(), "type": "weight", "kg": 70.0, "moment": "post"}
        state = bed.put(fields)
    assert state.drops is None


def test_a_water_loop_is_bounded_as_well() -> None:
    partition: Partition[LoopState] = loop_partition(parse_settings({}), RETENTION)
    for number in range(520):
        at = (FIRST_DAY + timedelta(seconds=number)).isoformat()
        signal = {
            "type": "unit_signal", "at": at, "water_loop_id": "l", "patient_id": f"p{number}",
            "alert_id": wide(number), "revision": 1, "sequence": 1, "rule": wide(0), "event_id": wide(1),
            "source": wide(2), "unit_id": wide(3), "retracted": False,
        }  # fmt: skip
        parsed = parse_loop_event(msgspec.json.encode(signal))
        assert isinstance(parsed, Parsed), parsed
        list(partition.advance(parsed.record.at))
        state, _, _ = partition.take("l", parsed.record, parsed.record.at)
        state.outbox.clear()
    assert size_of(state) <= MAX_INPUT_BYTES
    assert all(len(memoryview(alert.value)) < 4 * MAX_EVIDENCE_BYTES for alert in state.alerts.values())


def test_the_alarms_of_open_alerts_have_a_bound_of_their_own_the_most_urgent_and_the_newest_stay() -> None:
    bed = Bed()
    bed.put(severe())
    for number in range(20):
        at, priority = (FIRST_DAY + timedelta(seconds=number + 1)).isoformat(), "low" if number else "high"
        alarm = {"session_id": wide(1), "machine_id": wide(2), "code": wide(number), "event_id": wide(3)}
        said = {"type": "machine_alarm", "phase": "start", "priority": priority}
        state = bed.put({"patient_id": "p1", "at": at, **alarm, **said})
    assert sum(alert.rule == "machine_alarm" for alert in state.alerts.values()) == 20
    assert trim(state, MAX_INPUT_BYTES, FIRST_DAY) == []
    dropped = trim(state, LEAST_INPUT_BYTES, FIRST_DAY)
    assert set(dropped) == {"machine_alarms"}
    assert size_of(state) < MAX_ALARM_BYTES + LEAST_INPUT_BYTES
    kept = sorted(int(alarm.code.partition("-")[0]) for alarm in state.machine_alarms.values())
    assert kept == [0, *range(21 - len(kept), 20)]
    assert len(kept) > 5
    assert state.alarm_runs.keys() == {alarm_name(alarm) for alarm in state.machine_alarms.values()}
    assert [result.result_id for result in state.labs.values()] == ["severe"]


def test_what_is_noted_of_inputs_that_are_gone_goes_before_any_input() -> None:
    state = Bed().put(severe())
    size = size_of(state)
    state.arrivals.update({f"symptom:{number}": FIRST_DAY for number in range(50)})
    state.alarm_runs["s|c"] = []
    assert trim(state, size, FIRST_DAY) == []
    assert size_of(state) == size
    assert state.drops is None


def test_the_credit_is_never_larger_than_the_room() -> None:
    bed = Bed()
    budget = bed.partition._budget
    for event in flood(3, FIRST_DAY):
        state = bed.put(event)
        assert MAX_INPUT_BYTES - size_of(state) >= budget._credit["p1"]


def test_what_alerts_that_are_over_show_is_bounded_the_oldest_leave_early() -> None:
    bed = Bed()
    state = bed.put(severe())
    alert = next(iter(state.alerts.values()))
    large = msgspec.Raw(msgspec.json.encode("x" * (MAX_OVER_BYTES // 10)))
    for number in range(30):
        over = FIRST_DAY + timedelta(seconds=number)
        state.alerts[f"a{number:02}"] = msgspec.structs.replace(
            alert, alert_id=f"a{number:02}", value=large, over_at=over, status=Status.RESOLVED
        )
    bed.put(severe("another") | {"at": (FIRST_DAY + timedelta(minutes=1)).isoformat(), "value": 0.6})
    standing = [name for name, one in state.alerts.items() if one.over_at]
    assert standing == [f"a{number:02}" for number in range(21, 30)]
    assert alert.over_at is None
    assert alert.value != large

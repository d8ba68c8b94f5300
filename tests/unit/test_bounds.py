"""What is kept stays small: a machine that repeats itself for a day, all caps at once, and subjects long gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from models.settings import Settings
from models.state import RETIRE_AFTER, PatientState, StateCodec
from streams.engine.factory import patient_partition
from streams.engine.partition import Partition
from streams.rules.catalogue import parse_settings
from streams.worker.ports import CLOCK_KEY
from tests.unit.fake_port import EPOCH, FakeKafka, Host
from tests.unit.task_events import DAY, HOUR, P1, P2, P3, cramp, telemetry
from tests.unit.timeline import FIRST_DAY, to_line

CODEC = StateCodec(PatientState)
HOT, COLD = 4 * 1024, 64 * 1024
SAMPLE: dict[str, Any] = {
    "type": "telemetry",
    "session_id": "s1",
    "machine_id": "m1",
    "systolic_mmhg": 128.0,
    "uf_rate_ml_h": 600.0,
}


class Ward:
    """A partition fed one message at a time, and the largest record it would have stored."""

    def __init__(self) -> None:
        self.partition: Partition[PatientState] = patient_partition(parse_settings({}), timedelta(minutes=15))
        self.largest = 0
        self._number = 0

    def put(self, at: datetime, **fields: Any) -> None:
        line = to_line({"patient_id": "p1", "at": at.isoformat(), **fields})
        list(self.partition.advance(at))
        state, _, _ = self.partition.take("p1", line.record, at)
        self._number += 1
        if self._number % 100 == 0:
            self.largest = max(self.largest, len(CODEC.encode(state)))
        state.outbox.clear()


def seconds_of_a_day(step: float) -> Iterator[datetime]:
    return (FIRST_DAY + timedelta(seconds=step * number) for number in range(int(86_400 / step)))


def test_a_day_of_samples_leaves_a_hot_record() -> None:
    ward = Ward()
    ward.put(FIRST_DAY, type="session_started", session_id="s1", machine_id="m1", chair="1", water_loop_id="l")
    for at in seconds_of_a_day(1):
        ward.put(at, **SAMPLE)
    assert 0 < ward.largest <= HOT


def test_a_machine_that_repeats_everything_for_a_day_leaves_a_record_within_its_bound() -> None:
    ward = Ward()
    text = "Transmembrane pressure above its limit; " * 6
    started = {"type": "session_started", "session_id": "s1", "machine_id": "m1", "chair": "1", "water_loop_id": "l"}
    alarm = {"type": "machine_alarm", "session_id": "s1", "machine_id": "m1", "code": "198244", "text": text}
    for number, at in enumerate(seconds_of_a_day(60)):
        ward.put(at, **SAMPLE)
        ward.put(at, **alarm, phase=("start", "continue", "end")[number % 3])
        ward.put(at, **started)
        ward.put(at, type="symptom", symptom_id="c1", kind="cramp", score=3)
        ward.put(at, type="lab_result", result_id="r1", analyte="magnesium", value=1.5, unit="mg/dL")
        ward.put(at, type="session_ended", session_id="s1")
    assert 0 < ward.largest <= COLD


def test_a_record_with_every_window_at_its_cap_can_be_stored_at_the_smallest_message_size() -> None:
    """What no machine does by itself: 210 different ones of each kind within hours, each with as much text as is kept.

    Such a record is beyond 64 KB, but no setting lets it stop a worker.
    """
    ward = Ward()
    text = "x" * 300
    profile = [{"minute": 10.0 * step, "na_mmol_l": 140.0} for step in range(24)]
    for n in range(210):
        at = FIRST_DAY + timedelta(minutes=n)
        value = 0.8 if n % 2 else 2.1
        ward.put(at, type="lab_result", result_id=f"r{n}" * 8, analyte="magnesium", value=value, unit="mg/dL")
        ends = (at + timedelta(seconds=30)).isoformat()
        ward.put(at, type="symptom", symptom_id=f"c{n}" * 8, kind="cramp", ended_at=ends)
        ward.put(at, type="session_started", session_id=f"s{n}", machine_id=f"m{n}", sodium_profile=profile)
        ward.put(at, type="alert_response", alert_id=f"a{n}", by="nurse", action="acknowledge", reason=text)
        ward.put(at, type="medication", order_id=f"o{n}", drug="baclofen", action="ordered", dose_mg=5.0)
        ward.put(at, type="weight", kg=70.0, moment="pre", source=f"scale{n}")
        ward.put(at, type="rhythm", kind="af")
        ward.put(at, type="schedule", session_id=f"t{n}", planned_start=at.isoformat())
    for n in range(210):  # last: with 210 of its alerts open, each event costs twenty times as much
        at = FIRST_DAY + timedelta(minutes=210 + n)
        ward.put(at, type="machine_alarm", session_id="s", machine_id="m", code=f"{n}", phase="start", text=text)
    smallest = Settings.model_fields["max_message_bytes"].metadata[0].ge
    # The changelog takes twice the largest message, the outbox has an eighth of it.
    assert COLD < ward.largest < 2 * smallest - smallest / 8


# -- subjects long gone ------------------------------------------------------------------------------------------------


async def test_who_was_not_heard_of_for_400_days_leaves_the_table(kafka: FakeKafka) -> None:
    kafka.clock.elapsed += 2000 * DAY
    telemetry(kafka, P1, 0)
    telemetry(kafka, P2, 0)
    telemetry(kafka, P2, 300 * DAY)
    await Host(kafka, rules=SILENT).settle()
    telemetry(kafka, P3, 399 * DAY)
    await Host(kafka, rules=SILENT).settle()
    assert kafka.changelog.keys() == {P1.encode(), P2.encode(), P3.encode(), CLOCK_KEY}
    telemetry(kafka, P3, 401 * DAY)
    host = await Host(kafka, rules=SILENT).settle()
    assert kafka.changelog.keys() == {P2.encode(), P3.encode(), CLOCK_KEY}
    assert host.task.subjects.states.keys() == {P2, P3}
    # And comes back like anybody else.
    telemetry(kafka, P1, 401 * DAY + HOUR)
    await host.settle()
    assert kafka.changelog.keys() == {P1.encode(), P2.encode(), P3.encode(), CLOCK_KEY}


async def test_who_has_an_open_alert_stays(kafka: FakeKafka) -> None:
    kafka.clock.elapsed += 2000 * DAY
    kafka.lab(P1, 0, 1.5)
    await Host(kafka, rules=SILENT).settle()
    telemetry(kafka, P2, 1000 * DAY)
    await Host(kafka, rules=SILENT).settle()
    assert P1.encode() in kafka.changelog


async def test_a_task_that_runs_on_retires_once_a_day_by_its_clock(kafka: FakeKafka) -> None:
    kafka.clock.elapsed += 2000 * DAY
    telemetry(kafka, P1, 0)
    host = await Host(kafka, rules=SILENT).settle()
    cramp(kafka, P2, 300 * DAY, "c1")
    await host.settle()
    for hours in range(30):
        telemetry(kafka, P2, RETIRE_AFTER.total_seconds() + hours * HOUR)
        await host.settle()
    assert P1.encode() not in kafka.changelog
    assert json.loads(kafka.changelog[P2.encode()])["heard_at"] > (EPOCH + RETIRE_AFTER).isoformat()


SILENT: dict[str, Any] = {"responses": {"high": [], "medium": [], "accept_risk": "a test that answers nothing"}}

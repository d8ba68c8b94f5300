"""The virtual unit: strict events, one order, the same bytes for the same seed, and what its scenarios promise."""

import hashlib
import io
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, takewhile
from pathlib import Path

import msgspec
import pytest

from models.analytes import Analyte, canonical_unit, is_plausible
from models.parsing import Parsed, Rejected, RejectReason, parse_patient_event
from models.records import LabResult, Symptom, Telemetry
from models.settings import Settings
from models.topics import CLINICAL_EVENTS, LAB_RESULTS, MACHINE_EVENTS
from streams.exit_status import DONE, FAILED, WRONG_USE
from streams.simulator import command
from streams.simulator.lines import json_line, write_jsonl
from streams.simulator.pace import Pace
from streams.simulator.planned import Planted, Scenario, TimedMessage
from streams.simulator.unit import unit_events

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
USABLE = (Scenario.QUIET, Scenario.NORMAL, Scenario.DENSE)
TOPIC_OF = {"lab_result": LAB_RESULTS} | dict.fromkeys(
    ("session_started", "telemetry", "machine_alarm", "session_ended"), MACHINE_EVENTS
)


def hours(
    scenario: Scenario,
    until: float,
    *,
    seed: int = 1,
    patients: int = 48,
    sample: float = 30.0,
    backfill: float = 0,
    start: datetime = START,
    planted: list[Planted] | None = None,
) -> list[TimedMessage]:
    """The messages up to `until` hours after the start."""
    record = None if planted is None else planted.append
    end = start + timedelta(hours=until)
    unit = unit_events(seed, start, patients, scenario, sample, backfill=timedelta(hours=backfill), planted=record)
    return list(takewhile(lambda message: message.received_at < end, unit))


def parsed(message: TimedMessage) -> Parsed[object]:
    outcome = parse_patient_event(message.value)
    assert isinstance(outcome, Parsed), (outcome, message.value)
    return outcome  # type: ignore[return-value]


@pytest.mark.parametrize("scenario", USABLE)
def test_every_event_parses_and_says_what_its_envelope_says(scenario: Scenario) -> None:
    for message in hours(scenario, 6, backfill=2):
        outcome = parsed(message)
        record = outcome.record
        assert outcome.unknown_fields == 0
        body = msgspec.json.decode(message.value or b"")
        assert record.patient_id == message.key == body["patient_id"]  # type: ignore[attr-defined]
        assert record.at == message.at <= message.received_at  # type: ignore[attr-defined]
        assert TOPIC_OF.get(body["type"], CLINICAL_EVENTS) == message.topic
        assert START - timedelta(hours=2) <= message.received_at


@pytest.mark.parametrize("scenario", Scenario)
def test_messages_come_in_order_of_arrival(scenario: Scenario) -> None:
    times = [message.received_at for message in hours(scenario, 6, backfill=1)]
    assert times == sorted(times)
    assert len(times) > 5000


def digest(messages: Iterator[TimedMessage]) -> str:
    total = hashlib.sha256()
    for message in messages:
        total.update(repr(message).encode())
    return total.hexdigest()


@pytest.mark.parametrize("scenario", Scenario)
def test_same_seed_same_bytes_however_far_one_reads(scenario: Scenario) -> None:
    first = list(islice(unit_events(7, START, 20, scenario), 4000))
    second = unit_events(7, START, 20, scenario)
    assert list(islice(second, 100)) + list(islice(second, 3900)) == first
    assert list(islice(unit_events(8, START, 20, scenario), 4000)) != first


def test_same_bytes_under_another_hash_seed() -> None:
    script = (
        "import sys; sys.path.insert(0, '.'); from tests.unit.test_simulator import *\n"
        "print([digest(islice(unit_events(3, START, 48, s, 10.0, backfill=timedelta(hours=1)), 9000))"
        " for s in Scenario])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "4242")
    }
    assert len(said) == 1


def test_another_start_shifts_the_same_events() -> None:
    shift = timedelta(days=3, hours=5, minutes=7)
    here = hours(Scenario.NORMAL, 1)
    there = hours(Scenario.NORMAL, 1, start=(START + shift).astimezone(timezone(timedelta(hours=-5))))
    assert [(m.received_at + shift, m.at + shift, m.key, m.topic) for m in here] == [
        (m.received_at, m.at, m.key, m.topic) for m in there
    ]


def test_a_backfill_ends_in_the_same_live_messages() -> None:
    def live(backfill: float) -> set[tuple[datetime, bytes | None]]:
        # What arrives at the first moment is history: a running session has less of it to tell.
        messages = hours(Scenario.DENSE, 1, backfill=backfill)
        return {(m.received_at, m.value) for m in messages if m.received_at > START + timedelta(seconds=1)}

    without, with_past = live(0), live(4)
    assert without <= with_past
    # On top come only telemetry that the past made late or repeated, and the last words of sessions then over.
    assert len(with_past - without) < 0.01 * len(without)


def test_a_backfill_covers_its_hours() -> None:
    messages = hours(Scenario.NORMAL, 0, backfill=4)
    assert messages[0].received_at == START - timedelta(hours=4)
    telemetry = Counter(m.received_at.hour for m in messages if b'"telemetry"' in (m.value or b""))
    assert min(telemetry[hour] for hour in (2, 3, 4, 5)) > 0.6 * 24 * 120


#: What no quiet value may leave, in units a rule compares in (clinical.md 2, contract Rulings).
QUIET_LAB: dict[Analyte, dict[str, tuple[float, float]]] = {
    Analyte.MAGNESIUM: {"mg/dL": (1.7, 2.6), "mmol/L": (0.70, 1.05), "meq/L": (1.4, 2.1)},
    Analyte.IONIZED_CALCIUM: {"mmol/L": (1.12, 1.33), "mg/dL": (4.49, 5.33)},
    Analyte.TOTAL_CALCIUM: {"mg/dL": (8.4, 10.5), "mmol/L": (2.1, 2.6)},
    Analyte.POTASSIUM: {"mmol/L": (3.5, 5.0), "meq/L": (3.5, 5.0)},
    Analyte.PHOSPHATE: {"mg/dL": (2.5, 5.5), "mmol/L": (0.81, 1.78)},
    Analyte.SODIUM: {"mmol/L": (135, 142), "meq/L": (135, 142)},
    Analyte.ALBUMIN: {"g/dL": (3.5, 6), "g/L": (35, 60)},
    Analyte.ALUMINUM: {"ug/L": (0, 9.9), "umol/L": (0, 0.37)},
}


@pytest.mark.parametrize("seed", range(3))
def test_quiet_has_nothing_to_alert_on(seed: int) -> None:
    planted: list[Planted] = []
    weights: dict[str, float] = {}
    measured: Counter[Analyte] = Counter()
    for message in hours(Scenario.QUIET, 24, seed=seed, sample=60, planted=planted):
        body = msgspec.json.decode(message.value or b"")
        kind = body["type"]
        assert kind not in ("symptom", "machine_alarm", "rhythm")
        if kind == "session_started":
            weights[body["session_id"]] = body["target_weight_kg"]
            rate = body["uf_goal_ml"] / body["target_weight_kg"] / body["planned_minutes"] * 60
            assert rate < 10
            assert (body["pre_weight_kg"] / body["target_weight_kg"] - 1) < 0.04
            assert body["pre_systolic_mmhg"] < 160
        elif kind == "telemetry":
            assert body["uf_rate_ml_h"] / weights[body["session_id"]] < 10
            assert body.get("systolic_mmhg", 120) > 100
            assert body.get("dialysate_na_mmol_l", 138) < 140
            assert 36 <= body["dialysate_temp_c"] < 38
            assert body.get("body_temp_c", 36.5) >= 36.0
            assert body["blood_flow_ml_min"] > 0
        elif kind == "lab_result":
            record = parsed(message).record
            assert isinstance(record, LabResult)
            analyte = record.analyte or _analyte_of(record)
            unit = canonical_unit(analyte, record.unit)
            assert unit
            assert record.value is not None
            assert is_plausible(analyte, record.value, unit)
            measured[analyte] += 1
            if analyte in QUIET_LAB:
                low, high = QUIET_LAB[analyte][unit]
                assert low <= record.value <= high, message
    assert not planted
    assert set(measured) == set(Analyte)


def _analyte_of(record: LabResult) -> Analyte:
    from models.analytes import LOINC  # noqa: PLC0415

    return LOINC[record.loinc or ""].analyte


def test_normal_is_like_a_real_unit() -> None:
    planted: list[Planted] = []
    messages = hours(Scenario.NORMAL, 48, patients=96, sample=60, planted=planted)
    sessions = sum(b'"session_started"' in (m.value or b"") for m in messages)
    found = Counter(item.rule for item in planted)
    assert 0.04 < found["intradialytic_hypotension"] / sessions < 0.2
    assert 0.03 < found["intradialytic_cramp"] / sessions < 0.15
    assert 0.05 < found["uf_rate_high"] / sessions < 0.35
    assert min(found[rule] for rule in ("low_magnesium", "low_potassium", "low_ionized_calcium")) > 3
    statuses = Counter(msgspec.json.decode(m.value or b"").get("status") for m in messages)
    assert {"preliminary", "corrected", "cancelled", "entered_in_error", "planned"} <= set(statuses)
    values = Counter((m.key, m.value) for m in messages)
    assert max(values.values()) == 2  # a duplicate, same bytes
    late = [m for m in messages if m.topic == MACHINE_EVENTS and m.received_at - m.at > timedelta(seconds=10)]
    assert len(late) > 20


def test_units_differ_by_laboratory() -> None:
    units: dict[str, set[str]] = {}
    for message in hours(Scenario.NORMAL, 40, sample=60):
        if message.topic == LAB_RESULTS:
            record = parsed(message).record
            assert isinstance(record, LabResult)
            analyte = record.analyte or _analyte_of(record)
            units.setdefault(analyte, set()).add(record.unit)
    assert units["magnesium"] == {"mg/dL", "mmol/L", "mEq/L"}
    assert units["aluminum"] == {"ug/L", "umol/L", "mcg/L"}


def test_dense_plants_every_condition_within_its_first_minute() -> None:
    for seed in range(5):
        planted: list[Planted] = []
        messages = hours(Scenario.DENSE, 1 / 60, seed=seed, backfill=4, planted=planted)
        fresh = [p for p in planted if any(m.planted is p and m.received_at > START for m in messages)]
        rules = Counter(item.rule for item in fresh)
        assert rules["low_magnesium"] == 3
        assert rules["aluminum_suspicion"] == rules["intradialytic_cramp"] == 1
        assert rules["aluminum_level"] == rules["data_quality"] == rules["vitamin_e_dose"] == 1
        cramp = next(item for item in fresh if item.rule == "intradialytic_cramp")
        assert cramp.ends_at
        assert cramp.ends_at < START + timedelta(seconds=45)
        assert 20 <= (cramp.ends_at - cramp.at).total_seconds() < 25
        patients = {item.patient_id for item in fresh if item.rule != "machine_alarm"}
        assert len(patients) == 8


def test_dense_goes_on_and_its_cramps_end() -> None:
    planted: list[Planted] = []
    messages = hours(Scenario.DENSE, 0.5, planted=planted)
    by_minute = Counter((p.at - START) // timedelta(minutes=1) for p in planted if "cramp" in p.rule)
    assert all(by_minute[minute] == 1 for minute in range(29))
    ended = {
        record.symptom_id: record.ended_at
        for record in (parsed(m).record for m in messages if m.topic == CLINICAL_EVENTS)
        if isinstance(record, Symptom) and record.ended_at
    }
    cramps = [p for p in planted if p.rule == "intradialytic_cramp" and p.ends_at]
    for item in cramps[:-1]:
        assert ended[item.ids[0]] == item.ends_at


def test_planted_conditions_are_in_the_messages() -> None:
    planted: list[Planted] = []
    messages = hours(Scenario.DENSE, 6, planted=planted)
    said = {m.key: b"" for m in messages}
    for message in messages:
        if b'"telemetry"' not in (message.value or b""):
            said[message.key] += message.value or b""
    assert planted == [m.planted for m in messages if m.planted]
    for item in planted:
        for identity in item.ids:
            assert identity.encode() in said[item.patient_id], item


def test_cramps_happen_during_treatment() -> None:
    messages = hours(Scenario.DENSE, 1, backfill=5)
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for message in messages:
        record = parsed(message).record
        if isinstance(record, Telemetry):
            spans.setdefault(record.patient_id, [])
            known = spans[record.patient_id]
            if known and record.at - known[-1][1] < timedelta(minutes=5):
                known[-1] = (known[-1][0], max(record.at, known[-1][1]))
            else:
                known.append((record.at, record.at))
    cramps = [m for m in messages if m.planted and m.planted.rule == "intradialytic_cramp"]
    assert len(cramps) >= 59
    for cramp in cramps:
        assert any(first <= cramp.at <= last + timedelta(minutes=2) for first, last in spans[cramp.key])


def test_garbage_has_every_reason_and_says_which() -> None:
    planted: list[Planted] = []
    messages = hours(Scenario.GARBAGE, 0.2, planted=planted)
    seen: Counter[str] = Counter()
    for message in messages:
        outcome = parse_patient_event(message.value)
        reason = outcome.reason if isinstance(outcome, Rejected) else None
        if isinstance(outcome, Parsed) and outcome.record.patient_id != message.key:
            reason = RejectReason.KEY_MISMATCH
        expected = message.planted.reason if message.planted else None
        assert reason == expected, (message, outcome)
        if reason:
            seen[reason] += 1
    assert set(seen) == set(RejectReason) - {RejectReason.TOO_LARGE}  # no topic of the simulator takes these
    assert sum(seen.values()) == sum(item.rule == "garbage" for item in planted)
    assert any(item.rule == "data_quality" for item in planted)
    # Most of each topic stays usable, or a worker would rightly call itself not ready.
    bad = sum(message.planted is not None and message.planted.reason is not None for message in messages)
    assert bad < 0.1 * len(messages)


def test_any_number_of_patients_is_busy_at_once() -> None:
    for patients in (1, 2, 3, 25, 400):
        chairs = (patients + 1) // 2
        messages = hours(Scenario.QUIET, 0.2, patients=patients, sample=60)
        on = {m.key for m in messages if b'"telemetry"' in (m.value or b"")}
        assert max(1, chairs * 0.6 - 1) <= len(on) <= chairs + 1
        assert len({m.key for m in messages}) == patients


@pytest.mark.parametrize(
    ("patients", "sample", "start", "backfill"),
    [
        (0, 5.0, START, 0),
        (1, 0.0, START, 0),
        (1, 61.0, START, 0),
        (1, 5.0, START.replace(tzinfo=None), 0),
        (1, 5.0, START, -1),
    ],
)
def test_wrong_arguments_are_refused_at_once(patients: int, sample: float, start: datetime, backfill: float) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        unit_events(1, start, patients, sample_seconds=sample, backfill=timedelta(hours=backfill))


def test_lines_say_when_they_were_received() -> None:
    at = datetime(2026, 1, 5, 6, tzinfo=UTC)
    late = at + timedelta(seconds=90)
    assert json_line(TimedMessage(at, at, "t", "k", b'{"a":1}')) == b'{"a":1}\n'
    assert json_line(TimedMessage(late, at, "t", "k", b'{"a":1}')) == (
        b'{"a":1,"received_at":"2026-01-05T06:01:30Z"}\n'
    )
    assert json_line(TimedMessage(late, at, "t", "k", b"a\r\nb")) == b"a  b\n"
    assert json_line(TimedMessage(late, at, "t", "k", None)) == b"\n"


def test_a_file_is_the_same_each_time(tmp_path: Path) -> None:
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for file in files:
        assert command.run(Settings(), 6, seed=5, hours=1, out=file) == DONE
    lines = files[0].read_bytes().splitlines()
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(lines) > 1000
    received = [parsed(TimedMessage(START, START, "", "", line)).received_at for line in lines]
    assert sum(time is not None for time in received) == len(lines)
    limited = io.BytesIO()
    assert write_jsonl(unit_events(5, command.FIXED_START, 6), limited, limit=10) == 10
    assert limited.getvalue().splitlines() == lines[:10]


def test_a_rate_sets_how_often_machines_are_sampled(tmp_path: Path) -> None:
    file = tmp_path / "fast.jsonl"
    assert command.run(Settings(), 48, rate=100, hours=0.2, out=file) == DONE
    assert 70 < len(file.read_bytes().splitlines()) / 720 < 130
    assert command.run(Settings(), 48, rate=0.001, out=file) == WRONG_USE
    assert command.run(Settings(), 0, out=file) == WRONG_USE
    assert command.run(Settings(), 2, out=tmp_path / "no" / "folder") == FAILED


def test_no_broker_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(Settings(brokers="127.0.0.1:1"), 2, limit=1) == FAILED
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("No Kafka broker answers at 127.0.0.1:1: ")
    assert len(said) == 2


def test_pace_by_time_rate_and_clock() -> None:
    def message(seconds: float) -> TimedMessage:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        return TimedMessage(at, at, "t", "k", b"")

    def pace(rate: float | None, speed: float, live: datetime | None, *, clock: bool = False) -> Pace:
        return Pace(rate=rate, speed=speed, live_at=live, wall_clock=clock)

    by_time = pace(None, 2.0, None)
    assert by_time.wait(message(100)) <= 0
    assert by_time.wait(message(110)) == pytest.approx(5, abs=0.2)
    by_rate = pace(10, 1.0, None)
    assert [by_rate.wait(message(0)) for _ in range(3)] == pytest.approx([0, 0.1, 0.2], abs=0.05)
    by_clock = pace(None, 1.0, datetime.now(UTC), clock=True)
    assert by_clock.wait(message(-3600)) == 0
    assert by_clock.wait(message(3)) == pytest.approx(3, abs=0.2)
    assert pace(None, 0, None).wait(message(1e6)) == 0
    for rate, speed in ((0.0, 1.0), (-1.0, 1.0), (None, -1.0), (None, float("nan"))):
        with pytest.raises(ValueError, match="out of range"):
            pace(rate, speed, None)

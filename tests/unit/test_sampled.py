"""Samples are stored apart from the record that they complete (models.state.sampled), and nothing of either is lost."""

from __future__ import annotations

import contextlib
import json
import logging
import random
from typing import Any

import pytest

from models.state import PatientState
from models.state.machine_setting import SETTINGS
from models.state.sampled import key_of
from models.topics import DEAD_LETTERS
from streams.worker.checkpoint import MOST_SOURCES, QUIET_S, RETIRE_EVERY
from tests.unit.fake_port import EPOCH, PREFIX, Crash, FakeKafka, Host, stamp
from tests.unit.task_events import DAY, P1, P2, session, stored, stored_patients, telemetry

#: The bar for a sample that changes no finding.
MOST_BYTES = 1024
#: Likewise where it moves the pressure and the blood volume, of which half an hour is kept.
MOST_BYTES_WITH_SLOPE = 1300
KEY = P1.encode()
#: Every setting that is kept, with its origin, and what else a machine tells of its dialysate.
DIALYSATE = dict(zip(SETTINGS, (138.0, 2.0, 36.5), strict=True)) | {
    "dialysate_mg_mmol_l": 0.5,
    "setting_origin": "ordered",
}


def past(kafka: FakeKafka, results: int = 50) -> None:
    """A patient with results of the last weeks; the newest is normal."""
    for number in range(results):
        told = -DAY * (1 + number / 2)
        kafka.lab(P1, 0, 2.0, result_id=f"old-{number}", tells=told)


def flow(kafka: FakeKafka, at: float, **more: Any) -> None:
    fields = {"blood_flow_ml_min": 300, "systolic_mmhg": 120, "uf_rate_ml_h": 500, "unit_id": "u1"}
    telemetry(kafka, P1, at, **(fields | more))


async def watched(kafka: FakeKafka, **changed: Any) -> Host:
    """A patient with a past whose session has begun, stored whole."""
    past(kafka)
    session(kafka, P1, 1)
    for number in range(3):
        flow(kafka, 2 + number)
    return await Host(kafka, **changed).settle()


def written(kafka: FakeKafka) -> list[bytes]:
    """The keys of patients written since the last call."""
    keys = [key for call in kafka.calls if call[0] == "write" for key in call[1] if key in (KEY, key_of(KEY))]
    kafka.calls.clear()
    return keys


async def test_a_sample_that_changes_no_finding_writes_little_and_encodes_no_past(kafka: FakeKafka) -> None:
    host = await watched(kafka)
    whole = kafka.changelog[KEY]
    assert len(whole) > 8 * MOST_BYTES
    written(kafka)
    for number in range(40):
        flow(kafka, 10 + number, systolic_mmhg=120 + number)
        await host.settle()
    assert set(written(kafka)) == {key_of(KEY)}
    assert kafka.changelog[KEY] == whole


#: What moves from sample to sample: a pressure of the cuff every five minutes, and the blood volume with its noise.
MOVING = {"systolic_mmhg": (140.0, -0.004), "relative_blood_volume_pct": (100.0, -0.0007)}


def said(more: Any, number: int) -> dict[str, float]:
    """What a sample says: a number, or one that has moved so much a second."""
    moved = {"systolic_mmhg": number // 300 * 300, "relative_blood_volume_pct": number}
    noise = {"systolic_mmhg": 0.0, "relative_blood_volume_pct": 0.1 * (number % 5 - 2)}
    return {
        name: round(value[0] + value[1] * moved[name] + noise[name], 1) if isinstance(value, tuple) else value
        for name, value in more.items()
    }


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("more", [{}, {"dialysate_na_mmol_l": 138.0, "dialysate_mg_mmol_l": 0.5}, DIALYSATE, MOVING])
async def test_hours_of_samples_are_stored_in_one_kilobyte(kafka: FakeKafka, more: Any, every: int) -> None:
    """Both bounds of a channel watched, and beyond one of them; with what the machine tells of its dialysate or not."""
    kafka.clock.elapsed += 4 * 3600
    past(kafka)
    session(kafka, P1, 1, target_weight_kg=70.0, planned_minutes=240, chair="4", water_loop_id="loop-1", modality="HDF")
    host = await Host(kafka).settle()
    for number in range(0, 3 * 3600, every):
        flow(kafka, 10 + number, uf_rate_ml_h=800.25 + number % 5, **said(more, number))
    await host.settle(size=100)
    flow(kafka, 3 * 3600 + 20, uf_rate_ml_h=801.5, **said(more, 3 * 3600))
    await host.settle()
    written(kafka)
    flow(kafka, 3 * 3600 + 21, uf_rate_ml_h=801.5, **said(more, 3 * 3600))
    await host.settle()
    assert written(kafka) == [key_of(KEY)]
    most = MOST_BYTES_WITH_SLOPE if more is MOVING else MOST_BYTES
    assert len(kafka.changelog[key_of(KEY)]) <= most, kafka.changelog[key_of(KEY)]


async def test_what_samples_changed_is_recovered_with_the_record(kafka: FakeKafka) -> None:
    host = await watched(kafka)
    for number in range(100):
        flow(kafka, 10 + number, systolic_mmhg=120 + number)
    await host.settle()
    live = host.task.subjects.states[P1]
    found = stored(kafka, P1)
    live.stored_as = 0
    assert (found.history, found) == (live.history, live)
    assert found.sessions["s1"].systolic is not None
    assert found.sessions["s1"].systolic.value == 219
    again = await Host(kafka).settle()
    assert again.task.handled == 0, "all of it was acknowledged"
    assert again.task.subjects.states[P1].offsets == live.offsets


@pytest.mark.parametrize(
    "rest", [{}, {"dialysate_k_mmol_l": 2.0}, {"dialysate_k_mmol_l": 2.0, "setting_origin": "user"}]
)
async def test_how_far_samples_moved_the_settings_is_recovered(kafka: FakeKafka, rest: Any) -> None:
    """A sample that repeats some of them: the others stay where they were."""
    host = await watched(kafka)
    for number, origin in enumerate(["ordered", "user", "user", None]):
        settings = {"dialysate_na_mmol_l": 138.0, "dialysate_k_mmol_l": 2.0, "setting_origin": origin}
        flow(kafka, 10 + number, **settings)
        await host.settle()
    written(kafka)
    for number in range(30):
        flow(kafka, 20 + number, **rest)
        await host.settle()
    assert set(written(kafka)) == {key_of(KEY)}, "settings that stand still change no finding"
    settings = host.task.subjects.states[P1].sessions["s1"].settings
    assert len(settings) == 2
    assert stored(kafka, P1).sessions["s1"].settings == settings


async def test_a_second_owner_adds_to_the_samples_of_the_first(kafka: FakeKafka) -> None:
    """Its samples replace the stored ones, so they tell of the first owner's session, too."""
    still = {"blood_flow_ml_min": None}
    flow(kafka, 9, machine_id="m2")
    host = await watched(kafka)
    kafka.event("machine-events", P1, "session_ended", 10, session_id="s1")
    await host.settle()
    flow(kafka, 11, systolic_mmhg=133, **still)
    await host.settle()
    again = await Host(kafka).settle()
    written(kafka)
    flow(kafka, 12, machine_id="m2", systolic_mmhg=134, **still)
    await again.settle()
    assert written(kafka) == [key_of(KEY)]
    assert set(json.loads(kafka.changelog[key_of(KEY)])["heard"]) == {"m1", "m2"}


async def test_samples_of_an_older_form_of_the_record_do_not_count(kafka: FakeKafka) -> None:
    """Compaction keeps them beside a later record, and a worker that lost the partition may write them late."""
    host = await watched(kafka)
    flow(kafka, 10, systolic_mmhg=133)
    await host.settle()
    older = kafka.changelog[key_of(KEY)]
    kafka.lab(P1, 20, 2.0)
    flow(kafka, 21, systolic_mmhg=99)
    await host.settle()
    kafka.changelog[key_of(KEY)] = older
    kafka.foreign = {key_of(KEY)}
    kafka.lab(P2, 22, 2.0)
    await host.settle()
    found = stored(kafka, P1).sessions["s1"].systolic
    assert found is not None
    assert found.value == 99


async def test_samples_of_many_sources_are_stored_with_the_record(kafka: FakeKafka) -> None:
    host = await watched(kafka)
    names = [f"m{number}" for number in range(1, MOST_SOURCES + 3)]
    for number, name in enumerate(names):
        flow(kafka, 10 + number, machine_id=name)
    await host.settle()
    written(kafka)
    for number, name in enumerate(names):
        flow(kafka, 30 + number, machine_id=name)
    await host.settle(size=100)
    assert KEY in written(kafka)
    assert stored(kafka, P1).heard["m1"] == EPOCH.fromisoformat(stamp(30))


async def test_samples_of_a_patient_that_was_never_stored_are_stored_with_the_record(kafka: FakeKafka) -> None:
    await Host(kafka).settle()
    kafka.event("machine-events", P1, "telemetry", DAY * 3, tells=0, session_id="old", machine_id="m1")
    await Host(kafka).settle()
    assert json.loads(kafka.changelog[KEY])["offsets"] == {"machine-events": 0}


async def test_a_patient_who_is_retired_leaves_no_samples(kafka: FakeKafka) -> None:
    host = await watched(kafka)
    flow(kafka, 10)
    await host.settle()
    assert key_of(KEY) in kafka.changelog
    kafka.clock.elapsed += 500 * DAY
    telemetry(kafka, P2, 450 * DAY)
    await host.settle()
    telemetry(kafka, P2, 450 * DAY + RETIRE_EVERY.total_seconds() + 1)
    await host.settle()
    assert KEY not in kafka.changelog
    assert key_of(KEY) not in kafka.changelog


async def test_samples_that_cannot_be_read_are_set_aside_and_the_record_stays(
    kafka: FakeKafka, caplog: pytest.LogCaptureFixture
) -> None:
    await watched(kafka)
    kafka.changelog[key_of(KEY)] = b'{"of":"garbage"}'
    kafka.changelog[key_of(b"nobody")] = b'{"of":1,"heard_at":"2026-11-23T06:00:00Z","offsets":{}}'
    with caplog.at_level(logging.ERROR):
        host = await Host(kafka, on_bad_state="set_aside").settle()
    (letter,) = kafka.topic(DEAD_LETTERS)
    assert dict(letter.headers)["dl_reason"] == b"bad_state"
    assert P1 not in caplog.text
    assert key_of(KEY) not in kafka.changelog
    assert key_of(b"nobody") not in kafka.changelog
    assert len(host.task.subjects.states[P1].labs) == 50


async def test_where_samples_are_refused_the_record_is_made_smaller(kafka: FakeKafka) -> None:
    host = await watched(kafka)
    kafka.largest_record = 300
    flow(kafka, 10)
    await host.settle()
    kafka.largest_record = None
    flow(kafka, 11, systolic_mmhg=77)
    await host.settle()
    assert stored(kafka, P1).offsets["machine-events"] == len(kafka.logs[PREFIX + "machine-events"]) - 1
    assert kafka.committed[PREFIX + "machine-events"] == len(kafka.logs[PREFIX + "machine-events"])


async def test_the_history_of_a_quiet_patient_is_packed_and_read_again(kafka: FakeKafka) -> None:
    host = await watched(kafka)
    state = host.task.subjects.states[P1]
    before = dict(state.labs)
    await host.idle(QUIET_S + 5)
    assert type(state.past).__name__ == "Packed"
    flow(kafka, 10)
    await host.settle()
    assert type(state.past).__name__ == "Packed", "a sample needs no past"
    kafka.lab(P1, 90, 1.5)
    await host.settle()
    assert before.items() <= state.labs.items()
    assert kafka.told(patient_id=P1, rule="low_magnesium") == ["raised"]


@pytest.mark.parametrize("seed", range(6))
async def test_a_crash_at_any_moment_loses_no_sample(kafka: FakeKafka, seed: int) -> None:
    chance = random.Random(seed)

    def day(on: FakeKafka) -> None:
        past(on, 5)
        at = 1.0
        session(on, P1, at)
        for number in range(60):
            at += chance.uniform(0.5, 40)
            kind = chance.random()
            if kind < 0.8:
                flow(on, at, systolic_mmhg=100 + number, machine_id=chance.choice(["m1", "m1", "m2"]))
            elif kind < 0.9:
                on.lab(P1, at, chance.choice([1.5, 2.1]))
            else:
                session(on, P1, at, f"s{number}")

    day(kafka)
    await Host(kafka, checkpoint_interval=5e-6).settle(size=3)
    await Host(kafka).settle()
    whole = stored_patients(kafka.changelog)
    for moment in range(1, 400, 3):
        broken = FakeKafka(kafka.clock, crash_at=moment, logs=kafka.logs)
        with contextlib.suppress(Crash):
            await Host(broken, checkpoint_interval=5e-6).settle(size=3)
        dangers, broken.crash_at = broken.dangers, None
        await Host(broken).settle(size=2)
        assert _inputs(stored_patients(broken.changelog)) == _inputs(whole), f"after a crash at moment {moment}"
        if dangers < moment:
            break


def _inputs(patients: dict[bytes, PatientState]) -> dict[bytes, list[Any]]:
    """What is kept of the input; alerts and the clock depend on when somebody could see them."""
    for state in patients.values():
        for one in state.sessions.values():
            one.told_at = None
    return {
        key: [state.sessions, state.heard, state.offsets, state.heard_at, state.unit_id, state.labs, state.arrivals]
        for key, state in patients.items()
    }

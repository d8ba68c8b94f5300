"""What is kept of machines' alarms: a flood leaves a small record, loses no other alarm, and is one alert."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from models.machine_codes import known_code, one_name
from models.state import MAX_ALARM_RUNS, MAX_ALARM_STARTS, MAX_OTHERS, PatientState, StateCodec
from tests.unit.timeline import Unit, moment, stamp

RULE = "machine_alarm"
START = moment("09:00")


def state_of(unit: Unit) -> PatientState:
    return unit.replay._patients.states["p1"]


def send(unit: Unit, second: float, code: str, phase: str, **more: Any) -> None:
    at = stamp(START + timedelta(seconds=second))
    unit.send("machine_alarm", at, session_id="s1", machine_id="m1", code=code, phase=phase, **more)


def flood(unit: Unit, code: str, seconds: int, every: int = 10, begin: int = 0) -> None:
    for second in range(begin, begin + seconds, every):
        send(unit, second, code, "start", text="Pressure out of range " * 9)
        send(unit, second + every / 2, code, "end")


def on_dialysis() -> Unit:
    unit = Unit(watch=RULE)
    unit.session("s1", at="08:00")
    return unit


def test_a_flood_of_hours_is_a_few_messages_and_a_small_record() -> None:
    unit = on_dialysis()
    flood(unit, "198256", 3 * 3600)
    held = state_of(unit).machine_alarms
    assert len(held) <= MAX_ALARM_STARTS + MAX_ALARM_RUNS + 5
    assert len(StateCodec(PatientState).encode(state_of(unit))) < 32 * 1024
    assert (
        len({key for key in state_of(unit).arrivals if key.startswith(RULE)} - {f"{RULE}:{key}" for key in held}) < 200
    )
    transitions = [alert.transition for alert in unit.watched]
    assert transitions == ["raised", "resolved", "raised", "resolved", "raised", *["updated"] * (len(transitions) - 5)]
    assert len(transitions) <= 9
    assert unit.watched[-1].summary.endswith("20 times or more")
    assert len({alert.alert_id for alert in unit.watched}) == 1


def test_a_flood_ends_five_minutes_after_its_last_start() -> None:
    unit = on_dialysis()
    flood(unit, "198256", 3600)
    unit.clock("10:04:54")
    assert unit.watched[-1].status.is_open
    unit.clock("10:04:55")
    assert unit.watched[-1].transition == "resolved"


def test_floods_of_many_codes_lose_no_other_alarm() -> None:
    unit = on_dialysis()
    send(unit, 0, "198244", "start")
    for number in range(12):
        flood(unit, f"9000{number}", 600, begin=1 + number)
    assert len(state_of(unit).machine_alarms) <= MAX_OTHERS
    assert (RULE, "p1/s1|198244", "active", "high") in unit.open
    send(unit, 900, "198244", "end")
    assert (RULE, "p1/s1|198244", "active", "high") not in unit.open


def test_a_machine_that_repeats_an_alarm_for_hours_tells_nothing_new() -> None:
    unit = on_dialysis()
    send(unit, 0, "198256", "start", priority="low")
    for second in range(15, 3 * 3600, 15):
        send(unit, second, "198256", "continue", text=f"Conductivity {second}")
    assert [alert.transition for alert in unit.watched] == ["raised"]
    assert len(state_of(unit).machine_alarms) <= 3


def test_one_of_which_no_start_came_keeps_its_onset() -> None:
    unit = on_dialysis()
    for second in range(0, 3600, 15):
        send(unit, second, "198256", "continue")
    assert [(alert.transition, alert.onset_at) for alert in unit.watched] == [("raised", START)]


def test_floods_of_others_leave_the_onset_of_one_of_which_no_start_came() -> None:
    unit = on_dialysis()
    for second in range(0, 1200, 15):
        send(unit, second, "198256", "continue", priority="low")
        for number in range(8):
            flood(unit, f"9000{number}", 10, begin=second + 1 + number)
    held = [one for one in state_of(unit).machine_alarms.values() if one.code == "198256"]
    assert len(state_of(unit).machine_alarms) <= MAX_OTHERS
    assert min(one.at for one in held) == START
    told = [alert for alert in unit.watched if "composition of the dialysate" in alert.summary]
    assert [(alert.transition, alert.onset_at) for alert in told] == [("raised", START)]


@pytest.mark.parametrize(("seed", "late"), [(1, 180), (2, 180), (3, 600), (4, 7200)])
def test_what_is_open_does_not_depend_on_the_order_of_arrival(seed: int, late: int) -> None:
    """Nor does what is kept, unless so many messages are so late that there are more stretches than are kept."""
    chance = random.Random(seed)
    codes = ("198256", "MDC_EVT_HDIALY_SAFETY_DIALYSATE_COMPOSITION", "7", "8")
    said = [
        (chance.randrange(0, 7200), chance.choice(codes), chance.choice(("start", "continue", "end")))
        for _ in range(150)
    ]
    kept, opened = set[str](), set[frozenset[tuple[str, str, str, str]]]()
    for _ in range(4):
        unit = on_dialysis()
        said.sort(key=lambda one: one[0] + chance.randrange(late))
        for number, (second, code, phase) in enumerate(said):
            received = stamp(START + timedelta(hours=2, seconds=number))
            send(unit, second, code, phase, received=received)
            if number % 50 == 0:
                unit.restart()
        unit.clock("11:06")
        kept.add(str(sorted(state_of(unit).machine_alarms)))
        opened.add(frozenset(unit.open))
    assert len(opened) == 1
    assert len(kept) == 1 or late > 600


def test_a_repeat_of_what_was_folded_away_changes_nothing() -> None:
    unit = on_dialysis()
    flood(unit, "198256", 1200)
    before, told = sorted(state_of(unit).machine_alarms), len(unit.told)
    send(unit, 30, "198256", "start", received=stamp(START + timedelta(seconds=1200)))
    send(unit, 1195, "198256", "end", received=stamp(START + timedelta(seconds=1201)))
    assert sorted(state_of(unit).machine_alarms) == before
    assert len(unit.told) == told


def test_every_code_has_one_name() -> None:
    assert one_name("mdc_evt_hdialy_alarm_bld_pump_stop") == one_name("198242") == "198242"
    assert one_name("MDC_EVT_LOW") == one_name("MDC_EVT_LO") == "196670"
    assert one_name("0^MDC_EVT_HDIALY_BLOOD_LEAK^MDC") == "198244"
    assert one_name("vendor 17") == "VENDOR 17"
    assert known_code("vendor 17") is None
    for number in ("198260", "198252", "198262", "198244"):
        code = known_code(number)
        assert code is not None
        assert code.is_critical

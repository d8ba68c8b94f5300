"""What the rules tell of the virtual unit: nothing where it is quiet, and all that was planted."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec
import pytest

from models.alerts import AlertRecord, Transition
from models.parsing import Parsed
from streams.demo.stage import BACKFILL, SEED
from streams.engine.replay import Replay, parse_line
from streams.rules.catalogue import ALL_RULES, default_settings
from streams.simulator.planned import Planted, Scenario
from streams.simulator.timetable import CHAIRS_PER_UNIT, PATIENTS_PER_CHAIR
from streams.simulator.unit import unit_events

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
#: Over a midnight, at which days are counted.
HOURS = 30
#: Then no message comes, until the panel after the last session is overdue.
SILENCE = timedelta(hours=6)
#: Of the ordinary unit, which two tests look at.
SEEDS = (3, 4)
PATIENTS = 96


@lru_cache(maxsize=3)
def alerts(scenario: Scenario, seed: int, patients: int) -> tuple[list[AlertRecord], list[Planted]]:
    """What is told of the unit, and what was planted in it."""
    replay = Replay(default_settings())
    told: list[AlertRecord] = []
    planted: list[Planted] = []
    end = START + timedelta(hours=HOURS)
    for message in unit_events(seed, START, patients, scenario, 60.0, planted=planted.append):
        if message.received_at >= end:
            break
        line = parse_line(message.value or b"")
        assert isinstance(line, Parsed)
        told += replay.take(msgspec.structs.replace(line, received_at=message.received_at))
    # The unit is gone then, so its machines are silent.
    told += (alert for alert in replay.advance(end + SILENCE) if alert.rule != "machine_silent")
    return told, planted


@pytest.mark.parametrize("seed", range(3))
def test_quiet_raises_nothing(seed: int) -> None:
    told, planted = alerts(Scenario.QUIET, seed, 24)
    assert [(alert.rule, alert.patient_id, alert.summary) for alert in told] == []
    assert planted == []


def test_normal_raises_what_is_planted() -> None:
    rules, found = {rule.name for rule in ALL_RULES}, set()
    for seed in SEEDS:
        told, planted = alerts(Scenario.NORMAL, seed, PATIENTS)
        raised = {(alert.rule, alert.patient_id) for alert in told if alert.transition is Transition.RAISED}
        wanted = {(item.rule, item.patient_id) for item in planted if item.rule in rules}
        assert wanted <= raised, wanted - raised
        found |= {rule for rule, _ in wanted}
    assert {"midodrine_timing", "baclofen_on_dialysis", "vitamin_e_dose", "citrate_with_aluminum"} <= found
    assert {"low_potassium", "low_ionized_calcium", "low_magnesium", "intradialytic_cramp", "uf_rate_high"} <= found


def test_dense_shows_every_family_within_three_minutes() -> None:
    """What `demo` shows: open at the start, of the hours before it, or raised since then."""
    replay, shown, open_now = Replay(default_settings()), set(), dict[str, str]()
    patients = CHAIRS_PER_UNIT * PATIENTS_PER_CHAIR
    for message in unit_events(SEED, START, patients, Scenario.DENSE, backfill=BACKFILL):
        if message.received_at > START + timedelta(minutes=3):
            break
        line = parse_line(message.value or b"")
        assert isinstance(line, Parsed)
        for alert in replay.take(msgspec.structs.replace(line, received_at=message.received_at)):
            open_now[alert.alert_id] = alert.family
            if not alert.status.is_open:
                del open_now[alert.alert_id]
        if message.received_at >= START:
            shown |= set(open_now.values())
    assert shown == {rule.family for rule in ALL_RULES}


@pytest.mark.parametrize("seed", SEEDS)
def test_normal_knows_its_patients(seed: int) -> None:
    """Its record leaves nothing overdue that was measured: what a unit is told of at once is about its patients."""
    told, _ = alerts(Scenario.NORMAL, seed, PATIENTS)
    at_once = {alert.rule for alert in told if alert.at <= START and alert.reason == "deadline_passed"}
    assert not at_once & {"nutrition_review", "first_month_labs_overdue", "aluminum_result_overdue"}
    # Not each cluster of aluminium can be chance.
    assert not any(alert.rule == "aluminum_cluster" for alert in told)

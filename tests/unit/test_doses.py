"""Rolling hours across daylight saving time, joined uses; and random courses of drugs in any order of arrival."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.drugs import Drug
from models.state import PatientState
from streams.rules.api import View
from streams.rules.facts.doses import UNKNOWN_SINCE, Course, course
from streams.rules.facts.plans import plans
from tests.unit.test_properties import FEW, as_bytes, in_time, run
from tests.unit.timeline import FIRST_DAY, Unit, moment, open_alerts

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)


def given_at(*local: str) -> list[str]:
    """The priorities of `baclofen_dose` after doses of 20 mg at local times, each with the offset of its moment."""
    unit = Unit(watch="baclofen_dose", rules={"site": {"time_zone": BERLIN.key}})
    times = [datetime.fromisoformat(at).replace(tzinfo=BERLIN) for at in local]
    for at, action in [(times[0] - timedelta(days=30), "ordered"), *((at, "administered") for at in times)]:
        unit.send("medication", at.isoformat(), order_id="o", drug="baclofen", action=action, dose_mg=20)
    return [str(alert.priority) for alert in unit.watched if alert.transition == "raised"][1:]


@pytest.mark.parametrize(
    ("first", "second", "high"),
    [
        # Clocks go forward on 29 March 2026: from 08:00 to 08:00 are 23 h, and a dose may come 2 h early.
        ("2026-03-28T08:00", "2026-03-29T08:00", False),
        ("2026-03-28T08:00", "2026-03-29T07:01", False),
        ("2026-03-28T08:00", "2026-03-29T06:59", True),
        # Clocks go back on 25 October 2026: from 08:00 to 08:00 are 25 h, and 21 h 59 min end at 04:59.
        ("2026-10-24T08:00", "2026-10-25T08:00", False),
        ("2026-10-24T08:00", "2026-10-25T05:00", False),
        ("2026-10-24T08:00", "2026-10-25T04:59", True),
        # Two doses of one day of 25 h are not of one calendar day, but 23 h 30 min apart.
        ("2026-10-25T00:15", "2026-10-25T22:45", False),
    ],
)
def test_24_hours_are_elapsed_hours_not_a_calendar_day(first: str, second: str, *, high: bool) -> None:
    assert given_at(first, second) == (["high"] if high else [])


def view_of(unit: Unit, at: str) -> View[PatientState]:
    return View(unit.replay._patients.states["p1"], moment(at), unit.settings)


def baclofen(unit: Unit, at: str) -> Course:
    found = course(view_of(unit, at), Drug.BACLOFEN)
    assert found is not None
    return found


def test_uses_join_pauses_up_to_72_hours() -> None:
    unit = Unit()
    for at, order, action in (
        ("08:00", "a", "ordered"),
        ("d5 08:00", "a", "stopped"),
        ("d8 08:00", "b", "ordered"),
        ("d9 08:00", "b", "stopped"),
        ("d12 08:01", "c", "administered"),
    ):
        unit.send("medication", at, order_id=order, drug="baclofen", action=action, dose_mg=5)
    found = [(use.since, use.until) for use in baclofen(unit, "d20 08:00").uses]
    assert found == [(moment("08:00"), moment("d9 08:00")), (moment("d12 08:01"), moment("d12 08:01"))]


def test_an_order_of_unknown_dose_is_never_0() -> None:
    unit = Unit()
    unit.send("medication", "08:00", order_id="a", drug="baclofen", action="ordered", doses_per_day=3)
    unit.send("medication", "09:00", order_id="b", drug="baclofen", action="ordered", dose_mg=10)
    unit.send("medication", "10:00", order_id="a", drug="baclofen", action="changed", dose_mg=5)
    unit.send("medication", "11:00", order_id="b", drug="baclofen", action="changed", dose_mg=0)
    levels = baclofen(unit, "12:00").levels
    assert [(level.stands, level.is_whole, level.dose) for level in levels] == [
        (False, True, 0),
        (True, False, 0),
        (True, False, 10),
        (True, True, 25),
        (True, True, 15),
    ]
    assert [level.shown("mg") for level in levels[1:3]] == ["dose not stated", "at least 10 mg a day"]


@pytest.mark.parametrize("action", ["changed", "stopped", "held"])
def test_an_order_of_which_only_a_later_step_is_known_began_before(action: str) -> None:
    unit = Unit()
    unit.send("medication", "08:00", order_id="a", drug="baclofen", action=action, dose_mg=5)
    (use,) = baclofen(unit, "08:00").uses
    assert use.since == UNKNOWN_SINCE


def test_a_plan_moves_and_an_id_that_is_used_again_is_another_one() -> None:
    unit = Unit()
    for at, planned in (("06:00", "08:00"), ("08:30", "10:00"), ("d3 06:00", "d3 08:00")):
        unit.send("schedule", at, session_id="s", planned_start=moment(planned).isoformat())
    assert [plan.start for plan in plans(view_of(unit, "d3 07:00"))] == [moment("10:00"), moment("d3 08:00")]


# -- any order of arrival ---------------------------------------------------------------------------------------------


def courses(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Steps of orders, and what rules on them read beside: results, symptoms, plans, treatments."""

    def at(most_days: float = 9) -> datetime:
        return FIRST_DAY + 30 * timedelta(minutes=1) * chance.randint(0, round(48 * most_days))

    def event(type_: str, moment: datetime, **fields: Any) -> dict[str, Any]:
        # Late, but never twice by the same half hours: a clock that is behind is told by the order of arrival.
        late = timedelta(minutes=chance.randint(5, 25))
        arrival = moment + chance.choice([timedelta(0), timedelta(0), HOUR + late, 30 * HOUR + late])
        told = {name: value for name, value in fields.items() if value is not None}
        stamped = {"at": moment.isoformat(), "received_at": arrival.isoformat()}
        return {"type": type_, "patient_id": "p1", **stamped, **told}

    actions = ["ordered", "ordered", "changed", "administered", "administered", "held", "stopped", "cancelled"]
    for _ in range(14):
        drug = chance.choice(["baclofen", "baclofen", "midodrine", "vitamin e"])
        yield event(
            "medication",
            at(),
            order_id=f"{drug[0]}{chance.randint(0, 1)}",
            drug=drug,
            action=chance.choice(actions),
            dose_mg=chance.choice([None, 5.0, 10.0, 20.0, 300.0]),
            doses_per_day=chance.choice([None, None, 1.0, 3.0]),
        )
    for number in range(4):
        kind = chance.choice(["somnolence", "confusion", "jerk", "disorientation", "seizure", "dizziness"])
        yield event("symptom", at(), symptom_id=f"s{number}", kind=kind)
    for number in range(2):
        analyte, value = chance.choice([("magnesium", 1.5), ("magnesium", 2.0), ("potassium", 3.0)])
        unit = "mg/dL" if analyte == "magnesium" else "mmol/L"
        yield event("lab_result", at(), result_id=f"r{number}", analyte=analyte, value=value, unit=unit)
    for _ in range(3):
        planned = at()
        status = chance.choice(["planned", "planned", "cancelled"])
        word = event("schedule", planned - chance.randint(0, 5) * HOUR, session_id=f"t{chance.randint(0, 1)}")
        yield word | {"planned_start": planned.isoformat(), "status": status}
    start = at()
    yield event(
        "session_started", start, session_id="t0", machine_id="m", pre_systolic_mmhg=chance.choice([None, 190.0])
    )
    yield event("session_ended", start + 4 * HOUR, session_id="t0")
    for minutes in (10, 30, 60):
        sample = {"systolic_mmhg": chance.choice([150.0, 190.0]), "blood_flow_ml_min": 300.0}
        moment = start + timedelta(minutes=minutes)
        yield event("telemetry", moment, session_id="t0", machine_id="m", **sample) | {
            "received_at": moment.isoformat()
        }


@given(seed=st.integers(0, 2**32), answered=st.booleans())
@settings(FEW, max_examples=150)
def test_no_order_no_repetition_and_no_restart_changes_what_is_open(seed: int, *, answered: bool) -> None:
    chance = random.Random(seed)
    events = in_time(list(courses(chance)))
    replay, told = run(events)
    if answered and told:
        for alert in chance.sample(told, k=min(3, len(told))):
            answer = {"alert_id": alert.alert_id, "by": "nurse", "action": chance.choice(["acknowledge", "resolve"])}
            at = (alert.at + HOUR).isoformat()
            events.append({"type": "alert_response", "patient_id": "p1", "at": at, "received_at": at, **answer})
        events = in_time(events)
        replay, told = run(events)
    wanted = open_alerts(replay)
    assert as_bytes(run(events, restarts=True)[1]) == as_bytes(told)
    shuffled = list(events)
    chance.shuffle(shuffled)
    assert open_alerts(run(shuffled)[0]) == wanted
    repeated = [event for event in shuffled for _ in range(chance.randint(1, 2))]
    assert open_alerts(run(repeated)[0]) == wanted

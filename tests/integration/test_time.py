"""Time over topics and restarts on a real broker, by planted times; most of it is in `tests/unit/test_time*.py`."""

from __future__ import annotations

import json
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from models.alerts import alert_id
from tests.integration.alert_records import matching, repeats_are_identical
from tests.integration.messages import ago, lab, response, session_started, symptom, telemetry
from tests.integration.traffic import evaluated, nothing_lost_nothing_extra, read_back
from tests.integration.unit_under_test import UnitUnderTest
from tests.integration.worker_process import WorkerProcess, until

TREE = str(Path(__file__).parents[2])
HOLDING = (sys.executable, "-m", "tests.integration.holding_worker")
#: Alerts of high priority call again; the others only blur the picture.
CALLS = "[responses]\nhigh = [20, 300]\nmedium = []\n"


def moment(alert: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(alert["at"])


async def seen_at(unit: UnitUnderTest, patient: str) -> datetime:
    """When the one alert of a patient could first be seen, as it is stored."""

    async def look() -> str | None:
        states = await unit.stored()
        (alert,) = states.get(patient.encode(), {}).get("alerts", {"": {}}).values()
        found: str | None = alert.get("seen_at")
        return found

    return datetime.fromisoformat(await until(look, 10, "the alert to be seen"))


async def handled(unit: UnitUnderTest, worker: WorkerProcess) -> float:
    return await worker.metric("dialysis_events_total", topic=unit.topic("machine-events"), type="telemetry")


async def test_a_topic_held_back_holds_the_others_and_the_clock(bootstrap: str) -> None:
    """Hours of telemetry wait for a cramp; later a person's answer is read late, and yet it comes before the call."""
    begin = ago(6 * 3600).replace(microsecond=0)

    def at(minutes: float) -> datetime:
        return begin + timedelta(minutes=minutes)

    async with UnitUnderTest(bootstrap, partitions=1, own_time=True, rules=CALLS) as unit:
        session = [session_started("p1", "s1", at(0))]
        samples = [telemetry("p2", "s2", at(number / 20), uf_rate_ml_h=600.0) for number in range(4_000)]
        cramps = [symptom("p1", "cramp", f"c{n}", at(n), ended_at=at(n + 4).isoformat()) for n in range(5, 180, 10)]
        labs = [lab("p1", 1.5 if n % 20 else 2.0, at(n)) for n in range(10, 180, 10)]
        await unit.publish([*session, *samples, *labs, *cramps])
        worker = unit.worker(*HOLDING, HOLD="clinical-events", PYTHONPATH=TREE)

        async def full() -> bool:
            return await worker.metric("dialysis_batch_size_count") >= 4 and await lags(unit, worker)

        await worker.until(full, 30, "telemetry to wait at the task")
        assert await handled(unit, worker) == 0
        worker.process.send_signal(signal.SIGUSR1)
        await unit.until_done()
        expected = evaluated(await read_back(unit), None)
        assert len(expected.told) > 40
        assert await nothing_lost_nothing_extra(unit, expected.told) == 0

        # Somebody answers in time, and what he said lies there when telemetry comes from after the call was due.
        await unit.publish([lab("p3", 0.8, at(240), result_id="r")])
        seen = await seen_at(unit, "p3")
        worker.process.send_signal(signal.SIGUSR1)
        await worker.until_said("holding .*clinical-events(?s:.*)holding .*clinical-events")
        alert = alert_id("low_magnesium", "p3", "lab_result:r")
        await unit.publish([response("p3", alert, "acknowledge", seen + timedelta(seconds=15))])
        await worker.until(lambda: lags(unit, worker), 10, "the answer to be behind")
        before = await handled(unit, worker)
        await unit.publish([telemetry("p2", "s2", seen + timedelta(seconds=40))])
        stood = await clock(worker)
        status = len(await unit.read("worker-status"))

        async def told_twice() -> bool:
            return len(await unit.read("worker-status")) >= status + 2

        await worker.until(told_twice, 15, "two more statuses")  # five seconds apart
        assert await clock(worker) == stood
        assert await handled(unit, worker) == before
        assert stood < (seen + timedelta(seconds=15)).timestamp()
        worker.process.send_signal(signal.SIGUSR1)
        await unit.until_done()
        told = matching(await unit.alerts(), patient_id="p3")
        assert [a["transition"] for a in told] == ["raised", "acknowledged"]
        assert abs(moment(told[1]) - seen - timedelta(seconds=15)) < timedelta(milliseconds=2)
        await worker.stop()


async def clock(worker: WorkerProcess) -> float:
    return await worker.metric("dialysis_clock_timestamp_seconds", partition="0")


async def lags(unit: UnitUnderTest, worker: WorkerProcess) -> bool:
    return await worker.metric("dialysis_consumer_lag", topic=unit.topic("clinical-events"), partition="0") > 0


async def test_what_came_due_while_no_worker_ran_is_told_once_for_its_own_time(bootstrap: str) -> None:
    begin = ago(30 * 3600).replace(microsecond=0)

    def at(minutes: float) -> datetime:
        return begin + timedelta(minutes=minutes)

    async with UnitUnderTest(bootstrap, own_time=True, rules=CALLS) as unit:
        cramped, suspected, snoozed, over, unanswered = patients = unit.subjects(5)
        alert = alert_id("low_magnesium", snoozed, "lab_result:r")
        await unit.publish(
            [
                session_started(cramped, "s1", at(0)),
                symptom(suspected, "jerk", "j", at(1)),
                symptom(suspected, "speech_disturbance", "s", at(2)),
                lab(snoozed, 1.5, at(3), result_id="r"),
                lab(over, 1.5, at(3)),
                lab(over, 2.0, at(4)),
                symptom(cramped, "cramp", "c", at(5)),
                response(snoozed, alert, "snooze", at(6), until=at(60).isoformat()),
                *[lab(name, 0.8, at(7)) for name in (unanswered,)],
            ]
        )
        worker = await unit.start_worker()
        await unit.until_told(patient_id=snoozed, transition="snoozed")
        await unit.until_done()
        seen = await seen_at(unit, unanswered)
        worker.kill()
        before = await unit.alerts()

        # A day later something is found of each of them.
        await unit.publish([lab(name, 450, at(26 * 60), analyte="aluminum", unit="ug/L") for name in patients])
        worker = await unit.start_worker()
        await unit.until_told(count=5, rule="aluminum_level", transition="raised")
        await unit.until_done()
        due = {
            (cramped, "intradialytic_cramp", "expired"): at(5 + 30),
            (suspected, "aluminum_result_overdue", "raised"): at(2 + 24 * 60),
            (snoozed, "low_magnesium", "reminded"): at(60),
            (unanswered, "low_magnesium", "escalated"): seen + timedelta(seconds=20),
        }
        after = await unit.alerts()
        shown = await unit.read("alerts.active")
        for (patient, rule, transition), when in due.items():
            told = matching(after, patient_id=patient, rule=rule, transition=transition)
            assert [moment(a) for a in told if a["escalation"] < 2] == [when], rule
            assert not matching(before, patient_id=patient, rule=rule, transition=transition)
            assert places(shown, told[0]) < places(shown, *matching(after, patient_id=patient, rule="aluminum_level"))
        (second,) = matching(after, patient_id=unanswered, rule="low_magnesium", escalation=2)
        assert moment(second) == seen + timedelta(seconds=300)
        (resolved,) = matching(after, patient_id=over, rule="low_magnesium", transition="resolved")
        buried = [r.offset for r in shown if r.key == resolved["alert_id"].encode() and r.value is None]
        assert buried[0] < places(shown, *matching(after, patient_id=over, rule="aluminum_level"))
        # Who comes next has nothing to add.
        await worker.stop()
        await unit.start_worker()
        assert len(await unit.alerts()) == len(after)
        repeats_are_identical(after)
        assert len(matching(after)) == len(after), "something was told twice"


def places(shown: list[Any], *alerts: dict[str, Any]) -> int:
    """Where `alerts.active` tells the first of these; a patient's alerts are all on one partition of it."""
    wanted = {(a["alert_id"], a["revision"]) for a in alerts}
    offsets: list[int] = [
        record.offset
        for record in shown
        if record.value and (body := json.loads(record.value)) and (body["alert_id"], body["revision"]) in wanted
    ]
    return min(offsets)

"""Attacks through the inputs of one subject: a patient, or a water loop."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from models.topics import DEAD_LETTERS, UNIT_SIGNALS
from tests.hostile.stage import LOW_MAGNESIUM, Case, Stage
from tests.integration.alert_records import headers_of
from tests.integration.messages import Message, ago, event, lab, symptom

_SIGNALS: Final = 700


# -- a patient ---------------------------------------------------------------------------------------------------------


def poison(patient: str) -> Iterator[Message]:
    """A thousand events that are accepted, each as large as it may be: control characters and letters of four bytes."""
    numbers = itertools.count()

    def text(length: int = 200) -> str:
        number = next(numbers)
        return f"{number}".ljust(length, "\x01\U00010348"[number % 2])

    def one(topic: str, type_: str, **fields: Any) -> Message:
        return event(topic, type_, patient, event_id=text(), unit_id=text(), source=text(), **fields)

    for _ in range(200):
        flags = [text(20) for _ in range(20)]
        named = {"result_id": text(), "loinc": text(), "analyte": "magnesium"}
        yield one("lab-results", "lab_result", value=2.0, unit=text(40), flags=flags, **named)
        yield one("clinical-events", "symptom", symptom_id=text(), kind="dizziness")
    for _ in range(40):
        names = {"session_id": text(), "machine_id": text(), "chair": text(), "water_loop_id": text()}
        yield one("machine-events", "session_started", **names)
    for _ in range(100):
        names = {"session_id": text(), "machine_id": text(), "code": text()}
        yield one("machine-events", "machine_alarm", phase="start", text=text(2000), **names)
        order = {"order_id": text(), "drug": text(), "route": text()}
        yield one("clinical-events", "medication", action="ordered", **order)
        answer = {"alert_id": text(), "by": text(), "reason": text(2000)}
        yield one("clinical-events", "alert_response", action="acknowledge", **answer)
        yield one("clinical-events", "rhythm", kind="af")
        yield one("clinical-events", "weight", kg=70.0, moment="pre")
        yield one("clinical-events", "schedule", session_id=text(), planned_start=ago(-60).isoformat())
    yield one("clinical-events", "patient_profile", conditions=[text() for _ in range(100)])


async def _poisoned(stage: Stage) -> None:
    """Its record is stored in bounds or set aside, its open alert stays, nobody else notices; nor does a restart."""
    await stage.opened()
    unit = stage.unit
    patient = "poisoned"
    await unit.publish([lab(patient, 0.5)])
    await unit.until_told(patient_id=patient, rule=LOW_MAGNESIUM)
    async with stage.others():
        await stage.publish_and_wait(poison(patient))
        await stage.restart()
        await asyncio.sleep(1)
    stored = (await unit.stored()).get(patient.encode())
    aside = [record for record in await unit.read(DEAD_LETTERS) if record.key == patient.encode()]
    reasons = {headers_of(record)["dl_reason"].decode() for record in aside}
    stage.holds(stored is not None or "state_too_large" in reasons, "the record is neither stored nor set aside")
    if stored is not None:
        size = len(json.dumps(stored, ensure_ascii=False).encode()) / 1e6
        stage.outcome.notes.append(f"its record has {size:.1f} MB")
    stage.holds(await open_alert(stage, patient), "its own alert is no longer open")


async def open_alert(stage: Stage, patient: str) -> bool:
    """Whether the last word on `alerts.active` is that a patient's magnesium is low."""
    records = (await stage.unit.compacted("alerts.active")).values()
    alerts = [json.loads(record.value) for record in records if record.value]
    return any((a["patient_id"], a["rule"], a["status"]) == (patient, LOW_MAGNESIUM, "active") for a in alerts)


async def _hot_patient(stage: Stage) -> None:
    await stage.opened()
    async with stage.others():
        results = [lab("hot", 0.5 if number % 2 else 2.0, ago(300 - number)) for number in range(200)]
        symptoms = [symptom("hot", "twitch", f"y{number}") for number in range(3000)]
        await stage.publish_and_wait([*results, *symptoms])


# -- a water loop ------------------------------------------------------------------------------------------------------


def signal(loop: str, patient: str, revision: int = 1, *, retracted: bool = False) -> Message:
    """What an alert of a patient means for a loop, as the worker itself would say it."""
    now = datetime.now(UTC).isoformat()
    fields: dict[str, Any] = {"patient_id": patient, "alert_id": f"alert-of-{patient}", "rule": "aluminum_level"}
    fields |= {"last_at": now, "known_at": now, "retracted": retracted}
    return event(UNIT_SIGNALS, "unit_signal", loop, revision=revision, sequence=revision, **fields)


async def _transitions(stage: Stage, loop: str) -> list[str]:
    records = await stage.unit.read("alerts.unit")
    return [json.loads(record.value)["transition"] for record in records if record.key == loop.encode()]


async def _hot_loop(stage: Stage) -> None:
    await stage.opened()
    async with stage.others(every=0.1):
        await stage.publish_and_wait([signal("loop", f"signalled{number}") for number in range(_SIGNALS)], 90)
        await asyncio.sleep(1)
    stage.holds("raised" in await _transitions(stage, "loop"), "no alert about the loop")


async def _loop_of_our_name(stage: Stage) -> None:
    """A loop called as the worker once called its own record of the clock: it has its alerts, over a restart too."""
    await stage.opened()
    loops = ("#clock", "loop")

    def both(found: str) -> Any:
        async def look() -> bool:
            return all([found in await _transitions(stage, loop) for loop in loops])

        return look

    async with stage.others():
        await stage.unit.publish([signal(loop, patient) for loop in loops for patient in ("p1", "p2")])
        await stage.in_time(both("raised"), 10, "no alert about one of the loops")
        await asyncio.sleep(1.5)  # A checkpoint: the clock and the loop are stored.
        await stage.restart()
        gone = [signal(loop, patient, 2, retracted=True) for loop in loops for patient in ("p1", "p2")]
        await stage.unit.publish(gone)
        await stage.in_time(both("withdrawn"), 10, "an alert about a loop was not withdrawn after a restart")


# -- clocks ------------------------------------------------------------------------------------------------------------


async def _an_hour_ahead(stage: Stage) -> None:
    """One record on every partition says that it is an hour later; cramps must not wait for that hour."""
    await stage.opened()
    unit = stage.unit
    ahead = [symptom(name, "nausea", "y", ago(-3600), tells=ago(0)) for name in unit.subjects(2, "ahead")]
    await stage.publish_and_wait(ahead)
    stage.begins()
    for _ in range(8):
        await stage.plant_cramp()
        await stage.plant()


CASES: Final = (
    Case("poisoned-patient", "a thousand events of one patient, as large as accepted", _poisoned),
    Case("hot-patient", "3,200 events of one patient at once", _hot_patient),
    Case("hot-loop", f"{_SIGNALS} signals of one water loop at once", _hot_loop, worst_s=0.5),
    Case("loop-of-our-name", "a water loop is called `#clock`", _loop_of_our_name),
    Case("hour-ahead", "records an hour ahead on topics with producers' time", _an_hour_ahead, own_time=True),
)

"""What a fresh consumer group, which reads the log all over again, tells beside what was told while it grew.

Records need some time from the broker's stamp to the task, now more, now less. Who waits at the end of the log lets
the clock run at the distance of the last record, so the next one, if it takes longer, is behind that clock.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from streams.rules.catalogue import parse_settings
from tests.unit import timeline
from tests.unit.fake_port import FakeKafka, Host, loops, patients, stamp, subjects
from tests.unit.task_events import HOUR, MINUTE, P1, P2, P3, at, cramp, session, story
from tests.unit.whole_day import everything

#: Nobody is called again: when an alert could be seen is not in the log.
SILENT = parse_settings(timeline.SILENT)
LOOP = subjects(0, 1, "loop")[0]


def signal(kafka: FakeKafka, appended: float, patient: str, name: str, sequence: int = 1, **more: Any) -> None:
    fields: dict[str, Any] = {"rule": "aluminum_level", "retracted": False, "revision": 1, "sequence": sequence} | more
    kafka.event("unit-signals", LOOP, "unit_signal", appended, patient_id=patient, alert_id=name, **fields)


def answer(kafka: FakeKafka, appended: float, alert: str, action: str, **more: Any) -> None:
    kafka.event("unit-signals", LOOP, "alert_response", appended, alert_id=alert, by="lead", action=action, **more)


async def waits(host: Host, until: float) -> None:
    """Time passes at the end of the log, until some seconds after `EPOCH`."""
    await host.idle(until - (host.kafka.clock.elapsed - 1000.0), step=0.25)


async def told_again(kafka: FakeKafka, kind: Any, size: int) -> FakeKafka:
    """The same log, to a group that knows nothing yet."""
    second = FakeKafka(kafka.clock, logs=kafka.logs)
    host = await Host(second, kind=kind).settle(size=size)
    await host.idle(HOUR, step=4)
    return second


@pytest.mark.parametrize("size", [1, 10])
async def test_a_signal_that_took_longer_than_the_one_before_it(kafka: FakeKafka, size: int) -> None:
    kind = loops(SILENT)
    host = await Host(kafka, kind=kind).start()
    for number, (patient, appended, latency) in enumerate(((P1, 10, 0.0), (P2, 20, 0.0), (P3, 30, 0.5))):
        await waits(host, appended + latency)
        signal(kafka, appended, patient, f"a{number}")
        await host.settle()
    assert story(kafka) == [("aluminum_cluster", "raised", at(20)), ("aluminum_cluster", "updated", at(30))]
    await host.idle(HOUR, step=4)
    assert everything(await told_again(kafka, kind, size)) == everything(kafka)


async def test_what_came_due_while_its_record_was_on_its_way_is_told_at_its_own_time(kafka: FakeKafka) -> None:
    kind = loops(SILENT)
    host = await Host(kafka, kind=kind).start()
    for number, patient in enumerate((P1, P2)):
        await waits(host, number)
        signal(kafka, number, patient, f"a{number}")
        await host.settle()
    (raised,) = kafka.transitions()
    await waits(host, 13)
    answer(kafka, 10, raised["alert_id"], "snooze", until=stamp(11))
    await host.settle()
    await host.idle(1)
    assert story(kafka) == [
        ("aluminum_cluster", "raised", at(1)),
        ("aluminum_cluster", "snoozed", at(10)),
        ("aluminum_cluster", "reminded", at(11)),
    ]
    await host.idle(HOUR, step=4)
    assert everything(await told_again(kafka, kind, 10)) == everything(kafka)


@pytest.mark.parametrize("seed", range(10))
async def test_a_loops_alerts_depend_on_the_log_alone(kafka: FakeKafka, seed: int) -> None:
    """However long the records took and somebody waited for them, over restarts, and in whatever batches."""
    chance = random.Random(seed)
    # Over after 15 min and 5 s: no deadline passes while a later record is on its way.
    kind = loops(SILENT, retention=timedelta(minutes=15, seconds=5))
    host = await Host(kafka, kind=kind).start()
    appended, sequences = 0.0, dict.fromkeys((P1, P2, P3), 0)
    for _ in range(40):
        appended += 10 * chance.choice([1, 1, 2, 5, 120])
        await waits(host, appended + chance.choice([0.0, 0.0, 0.5, 1.0, 3.0]))
        alerts = [alert["alert_id"] for alert in kafka.transitions()]
        if alerts and chance.random() < 0.4:
            action = chance.choice(["acknowledge", "unacknowledge", "snooze", "resolve"])
            until = {"until": stamp(appended + chance.choice([1.5, 65]))} if action == "snooze" else {}
            answer(kafka, appended, chance.choice(alerts), action, **until)
        else:
            patient = chance.choice([P1, P2, P3])
            sequences[patient] += 1
            signal(
                kafka, appended, patient, f"a-{patient}", sequences[patient], retracted=chance.random() < 0.3,
                last_at=stamp(appended),
            )  # fmt: skip
        await host.settle()
        if chance.random() < 0.1:
            await host.task.release()
            host = await Host(kafka, kind=kind).start()
    await host.idle(HOUR, step=4)
    assert {"raised", "updated"} < set(kafka.told())
    for size in (1, 3, 100):
        assert everything(await told_again(kafka, kind, size)) == everything(kafka)


async def test_alerts_of_patients_whose_records_come_in_the_order_of_their_stamps(kafka: FakeKafka) -> None:
    kind = patients(SILENT)
    host = await Host(kafka, kind=kind).start()
    session(kafka, P1, 0)
    await host.settle()
    await waits(host, 103)
    cramp(kafka, P1, 100, "c1")
    await host.settle()
    await waits(host, 205)
    kafka.lab(P1, 200, 1.5)
    await host.settle()
    await waits(host, HOUR + 7)
    kafka.lab(P1, HOUR, 2.0)
    await host.settle()
    assert story(kafka) == [
        ("intradialytic_cramp", "raised", at(100)),
        ("low_magnesium", "raised", at(200)),
        ("intradialytic_cramp", "expired", at(100 + 30 * MINUTE)),
        ("low_magnesium", "resolved", at(HOUR)),
    ]
    await host.idle(HOUR, step=4)
    assert everything(await told_again(kafka, kind, 10)) == everything(kafka)

"""What is played in a run: the virtual unit, and what it does not plant: deadlines, orders, late words, probes.

Pure: the same seed and start give the same bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from streams.simulator.unit import Planted, Scenario, TimedMessage, unit_events
from tests.chaos.logs import CLINICAL_EVENTS, LAB_RESULTS, MACHINE_EVENTS, Plant, Sent
from tests.chaos.machines_played import (
    contradicted,
    machine_alarms,
    pressures,
    qtcs,
    silences,
    temperatures,
)
from tests.chaos.machines_said import alarm_id
from tests.chaos.treatments_played import doses, missing_panels, orders, sent

_MINUTE: Final = timedelta(minutes=1)
#: Two shifts of 24 chairs, all busy.
_PATIENTS: Final = 48
_SAMPLE_S: Final = 20.0
#: After the last message nothing comes due later than this: cramps without word expire after 30 min.
_CLOSING: Final = timedelta(minutes=35)
#: An old suspicion is that old when its specimen is overdue.
_DAY: Final = timedelta(hours=24)


@dataclass(frozen=True)
class Shape:
    """How a run's unit is made.

    Attributes:
        minutes: of unit time.
        scenario: what the virtual unit does.
        probe_every: between two results of a probe, in seconds of unit time; low and normal take turns.
        probes: probes on each partition.
        storm: broken messages that one producer sends all at once, in the middle.
    """

    minutes: float = 25.0
    scenario: Scenario = Scenario.DENSE
    probe_every: float = 30.0
    probes: int = 1
    storm: int = 0

    @property
    def length(self) -> timedelta:
        """All of it, with the closing samples."""
        return self.minutes * _MINUTE + _CLOSING


@dataclass
class Plan:
    """All messages of a run in the order of their stamps."""

    start: datetime
    shape: Shape
    messages: list[Sent] = field(default_factory=list)
    #: The last ones: samples that only carry the clock on.
    closing: list[Sent] = field(default_factory=list)

    def seconds(self, sent: Sent) -> float:
        """When a message is due, in seconds of unit time since the start."""
        return sent.stamp / 1000 - self.start.timestamp()


def plan(seed: int, start: datetime, shape: Shape, subjects: Callable[[int, str], list[str]], partitions: int) -> Plan:
    """Draw a run.

    Args:
        seed: which unit.
        start: of unit time.
        shape: how the unit is made.
        subjects: gives so many names with a prefix that lie on all partitions in turn.
        partitions: how many there are.
    """
    made = Plan(start, shape)
    end = start + shape.minutes * _MINUTE
    unit = list(_until(end, unit_events(seed, start, _PATIENTS, shape.scenario, _SAMPLE_S)))
    messages = [_of_unit(message) for message in unit]
    rng = random.Random(seed)
    messages += _forgotten_cramps(rng, unit, start, end)
    messages += _old_suspicions(rng, subjects(2 * partitions, "late-"), start, end)
    messages += missing_panels(rng, subjects(2 * partitions, "panel-"), start, end)
    messages += orders(rng, subjects(partitions, "order-"), start, end)
    messages += doses(rng, subjects(partitions, "dose-"), start, end)
    messages += temperatures(rng, subjects(partitions, "warm-"), start, end)
    messages += pressures(rng, subjects(partitions, "pressure-"), start, end)
    messages += silences(rng, subjects(partitions, "silent-"), start, end)
    messages += machine_alarms(rng, subjects(2 * partitions, "alarm-"), start, end)
    messages += qtcs(rng, subjects(partitions, "qtc-"), start, end)
    messages += contradicted(rng, subjects(partitions, "twice-"), start, end)
    messages += _probes(rng, subjects(shape.probes * partitions, "probe-"), start, end, shape.probe_every)
    messages += _storm(rng, subjects(1, "storm-")[0], start + (end - start) / 3, shape.storm)
    messages.sort(key=lambda sent: sent.stamp)
    made.closing = [
        sent(MACHINE_EVENTS, "telemetry", name, end + _CLOSING, session_id=name, machine_id=name)
        for name in subjects(partitions, "closing-")
    ]
    made.messages = messages + made.closing
    return made


def _until(end: datetime, messages: Iterable[TimedMessage]) -> Iterator[TimedMessage]:
    for message in messages:
        if message.received_at >= end:
            return
        yield message


def _of_unit(message: TimedMessage) -> Sent:
    stamp = round(message.received_at.timestamp() * 1000)
    plants = (_plant(message.planted, message.value),) if message.planted else ()
    return Sent(message.topic, message.key.encode(), message.value, stamp, plants)


def _plant(planted: Planted, value: bytes | None) -> Plant:
    """An alarm of a machine shows the message that began it, not the session and the code."""
    ids = {alarm_id(json.loads(value or b""))} if planted.rule == "machine_alarm" else planted.ids
    return Plant(planted.rule, planted.patient_id, frozenset(ids), planted.reason)


def _forgotten_cramps(rng: random.Random, unit: list[TimedMessage], start: datetime, end: datetime) -> Iterator[Sent]:
    """Cramps of which nobody says the end: half an hour later they expire, whatever happened meanwhile."""
    treated: dict[str, list[datetime]] = {}
    cramped = set()
    for message in unit:
        if b'"telemetry"' in (message.value or b"")[:30] and not (message.planted and message.planted.reason):
            treated.setdefault(message.key, []).append(message.at)
        elif b'"cramp"' in (message.value or b""):
            cramped.add(message.key)
    names = sorted(treated.keys() - cramped)
    rng.shuffle(names)
    for name in names:
        at = start + (end - start) * rng.uniform(0.02, 0.98)
        times = treated[name]
        if all(any(a <= moment <= a + _MINUTE for moment in times) for a in (at - _MINUTE, at)):
            symptom_id = f"forgotten-{name}"
            plant = Plant("intradialytic_cramp", name, frozenset({symptom_id}))
            stamp = at + timedelta(seconds=0.5)
            yield sent(
                CLINICAL_EVENTS, "symptom", name, stamp, at, plant, symptom_id=symptom_id, kind="cramp", unit_id="U1"
            )


def _old_suspicions(rng: random.Random, names: list[str], start: datetime, end: datetime) -> Iterator[Sent]:
    """Jerks and disturbed speech of almost a day ago, with no specimen: overdue in the course of the run."""
    for name in names:
        due = start + (end - start) * rng.uniform(0.1, 0.95)
        stamp = start + timedelta(seconds=rng.uniform(5, 60))
        jerk, speech = f"jerk-{name}", f"speech-{name}"
        ids = frozenset({jerk, speech})
        plants = [Plant(rule, name, ids) for rule in ("aluminum_suspicion", "aluminum_result_overdue")]
        first = due - _DAY - 2 * _MINUTE
        yield sent(CLINICAL_EVENTS, "symptom", name, stamp, first, symptom_id=jerk, kind="jerk")
        later = stamp + timedelta(seconds=5)
        kind = "speech_disturbance"
        yield sent(CLINICAL_EVENTS, "symptom", name, later, due - _DAY, *plants, symptom_id=speech, kind=kind)


def _probes(rng: random.Random, names: list[str], start: datetime, end: datetime, every: float) -> Iterator[Sent]:
    """Patients whose magnesium is low and normal in turn, so that every moment has an alert that it can delay."""
    for name in names:
        stamp, number = start + timedelta(seconds=rng.uniform(1, 1 + every)), 0
        while stamp < end:
            result = f"{name}-{number}"
            plants = () if number % 2 else (Plant("low_magnesium", name, frozenset({result})),)
            fields = {"result_id": result, "analyte": "magnesium", "value": 2.0 if number % 2 else 1.4, "unit": "mg/dL"}
            yield sent(LAB_RESULTS, "lab_result", name, stamp, None, *plants, **fields)
            stamp, number = stamp + timedelta(seconds=every), number + 1


def _storm(rng: random.Random, name: str, at: datetime, count: int) -> Iterator[Sent]:
    """One gateway gone wrong: broken messages as fast as it can, all on one partition."""
    stamp = round(at.timestamp() * 1000)
    for number in range(count):
        value = b'{"type": "telemetry", "frame": %d, "noise": "%x' % (number, rng.getrandbits(200))
        plant = Plant("garbage", name, frozenset({f"storm-{number}"}), "invalid_json")
        yield Sent(MACHINE_EVENTS, name.encode(), value, stamp, (plant,))

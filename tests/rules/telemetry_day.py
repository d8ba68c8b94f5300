"""A day of chairs at a sample a second, in order, in disorder and with repeats: the same alerts are open.

    python -m tests.rules.telemetry_day --chairs 24 --hours 24

Each chair treats one patient after the other, four hours each. Every channel stays at a level for some minutes and
then takes another, on either side of the bounds of the rules; the cuff measures now and then, blood stands at times,
symptoms and alarms come between. Three copies of the unit get the same events: in order; each up to half a minute late,
so that they overtake each other; every tenth twice. Samples rest for half a minute before every quarter of an hour:
then all of them have arrived, and the open alerts of the copies are compared.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import msgspec

from models.parsing import Parsed, parse_patient_event
from models.state import PatientState
from streams.engine.factory import patient_partition
from streams.engine.partition import Partition
from streams.rules.catalogue import parse_settings
from tests.unit.timeline import FIRST_DAY, RETENTION, SILENT

SECOND: Final = timedelta(seconds=1)
QUARTER: Final = timedelta(minutes=15)
LATE_S: Final = 30.0
TREATMENT: Final = timedelta(hours=4)
#: Levels of each field, and for how many seconds one stays.
LEVELS: Final[dict[str, tuple[tuple[float, ...], tuple[int, int]]]] = {
    "uf_rate_ml_h": ((500.0, 650.0, 800.0, 1000.0), (60, 900)),
    "dialysate_temp_c": ((36.5, 36.2, 35.0, 33.5, 38.5, 37.1), (30, 900)),
    "dialysate_temp_setting_c": ((36.5, 36.5, 35.5), (900, 4000)),
    "dialysate_na_mmol_l": ((138.0, 138.0, 141.0, 146.0, 151.0), (600, 4000)),
    "dialysate_k_mmol_l": ((2.0, 2.0, 1.0, 3.0), (900, 6000)),
    "dialysate_mg_mmol_l": ((0.5, 0.5, 0.25), (900, 6000)),
    "systolic_mmhg": ((130.0, 120.0, 105.0, 95.0, 85.0, 75.0), (60, 900)),
    "body_temp_c": ((36.6, 36.4, 35.8), (1800, 3600)),
    "venous_pressure_mmhg": ((150.0, 160.0, 140.0), (5, 60)),
}
#: A machine tells of all of them who set them: the order, where each has its first level.
SETTINGS: Final = ("dialysate_temp_setting_c", "dialysate_na_mmol_l", "dialysate_k_mmol_l")
Event = tuple[datetime, str, bytes]


@dataclass
class Chair:
    """The events of one chair, in order."""

    number: int
    chance: random.Random
    events: list[Event] = field(default_factory=list)

    def add(self, type_: str, patient: str, at: datetime, **fields: Any) -> None:
        """Add an event; one that would fall into a rest comes just before it."""
        at = at - LATE_S * SECOND if rests(at) else at
        body = {"type": type_, "patient_id": patient, "at": at.isoformat(), **fields}
        self.events.append((at, patient, msgspec.json.encode(body)))

    def treat(self, number: int, start: datetime, end: datetime) -> None:
        """One treatment of one patient."""
        patient, session, machine = f"p{self.number}-{number}", f"s{self.number}-{number}", f"m{self.number}"
        ids = {"session_id": session, "machine_id": machine}
        chance = self.chance
        self.add("patient_profile", patient, start - timedelta(minutes=20), target_weight_kg=70.0, sex="female")
        pre = chance.choice([70.5, 72.0, 73.5, 75.0])
        self.add("weight", patient, start - timedelta(days=2), kg=chance.choice([70.0, 70.4]), moment="post")
        self.add("weight", patient, start - timedelta(minutes=5), kg=pre, moment="pre")
        started = {"target_weight_kg": 70.0, "planned_minutes": 240, "uf_goal_ml": 3000.0}
        self.add("session_started", patient, start, **ids, **started, pre_systolic_mmhg=chance.choice([128.0, 165.0]))
        tells_origin = chance.random() < 0.7
        for at, values in self._samples(start + 2 * SECOND, end):
            settings = [values[name] == LEVELS[name][0][0] for name in SETTINGS if name in values]
            told = {"setting_origin": "ordered" if all(settings) else "user"} if tells_origin and settings else {}
            self.add("telemetry", patient, at, **ids, **values, **told)
        for _ in range(chance.randrange(4)):
            at = start + chance.random() * (end - start)
            kind = chance.choice(["cramp", "nausea", "dizziness", "shivering", "syncope"])
            ended = {"ended_at": (at + timedelta(minutes=8)).isoformat()} if chance.random() < 0.5 else {}
            self.add("symptom", patient, at, symptom_id=f"y{at:%H%M%S}", kind=kind, **ended)
        for _ in range(chance.randrange(3)):
            at = start + chance.random() * (end - start)
            code = chance.choice(["198242", "198260"])
            alarm = {**ids, "code": code, "priority": "medium"}
            self.add("machine_alarm", patient, at, phase="start", **alarm)
            if chance.random() < 0.8:
                self.add("machine_alarm", patient, at + timedelta(minutes=2), phase="end", **alarm)
        self.add("session_ended", patient, end, session_id=session, post_weight_kg=70.2)

    def _samples(self, at: datetime, end: datetime) -> Iterator[tuple[datetime, dict[str, float]]]:
        chance, told = self.chance, [name for name in LEVELS if self.chance.random() < 0.8]
        until, values = dict.fromkeys(told, at), dict.fromkeys(told, 0.0)
        flow, still_until, volume, slope = 300.0, at, 100.0, 3.0
        while at < end:
            for name in told:
                levels, (least, most) = LEVELS[name]
                if at >= until[name]:
                    values[name] = chance.choice(levels)
                    until[name] = at + chance.randrange(least, most) * SECOND
            if at >= still_until:
                flow = 0.0 if chance.random() < 0.1 else 300.0
                still_until = at + (chance.randrange(30, 2400) if flow == 0 else 1800) * SECOND
                slope = chance.choice([1.0, 3.0, 6.0, 9.0])
            volume = max(70.0, volume - slope / 3600)
            if rests(at):
                at += SECOND
                continue
            sample = {"blood_flow_ml_min": flow, "relative_blood_volume_pct": round(volume, 2), **values}
            if at.minute % 5 or at.second % 20:
                sample.pop("systolic_mmhg", None)
            if at.second % 30:
                sample = {name: one for name, one in sample.items() if not name.endswith(("mmol_l", "setting_c"))}
            yield at, sample
            at += SECOND


def rests(at: datetime) -> bool:
    """Whether samples rest at a moment: in the last half minute of every quarter of an hour."""
    return at.minute % 15 == 14 and at.second >= 60 - LATE_S


def chairs(count: int, hours: float, seed: int) -> list[Event]:
    """The events of a day, in order of their times."""
    events: list[Event] = []
    end = FIRST_DAY + timedelta(hours=hours)
    for number in range(count):
        chair = Chair(number, random.Random(f"{seed}-{number}"))
        start, treatment = FIRST_DAY + chair.chance.randrange(3600) * SECOND, 0
        while start < end:
            chair.treat(treatment, start, min(start + TREATMENT, end))
            start, treatment = start + TREATMENT + timedelta(minutes=30), treatment + 1
        events += chair.events
    return sorted(events)


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of the unit."""

    name: str
    partition: Partition[PatientState]
    arrivals: list[tuple[datetime, str, bytes]]
    told: Counter[str] = field(default_factory=Counter)

    def run_to(self, until: datetime, place: int) -> int:
        """Take what arrives up to a moment, and move the clock there; return how many arrivals are taken."""
        while place < len(self.arrivals) and self.arrivals[place][0] <= until:
            at, patient, raw = self.arrivals[place]
            self._advance(at)
            parsed = parse_patient_event(raw)
            assert isinstance(parsed, Parsed), parsed
            state, _, alerts = self.partition.take(patient, parsed.record, at)
            self.told.update(alert.rule for alert in alerts if alert.transition == "raised")
            state.outbox.clear()
            place += 1
        self._advance(until)
        return place

    def _advance(self, to: datetime) -> None:
        for one in self.partition.advance(to):
            self.told.update([one.alert.rule] if one.alert.transition == "raised" else [])
            one.state.outbox.clear()

    def open(self) -> set[tuple[str, str, str, str]]:
        """The open alerts: rule, patient, status and priority."""
        return {
            (alert.rule, state.id, str(alert.status), str(alert.priority))
            for state in self.partition.states.values()
            for alert in state.alerts.values()
            if alert.over_at is None
        }


def copies(events: list[Event], seed: int) -> list[Copy]:
    """The unit three times: in order, in disorder, and with repeats."""
    chance, settings = random.Random(seed), parse_settings(SILENT)
    late = [(at + chance.uniform(0, LATE_S) * SECOND, patient, raw) for at, patient, raw in events]
    twice = [one for number, event in enumerate(events) for one in ([event] * 2 if number % 10 == 0 else [event])]
    arrivals = {"in order": events, "within 30 s": sorted(late), "every tenth twice": twice}
    return [Copy(name, patient_partition(settings, RETENTION), found) for name, found in arrivals.items()]


def differences(events: list[Event], seed: int, until: datetime) -> Iterator[tuple[datetime, str, set[Any]]]:
    """What is open in one copy and not in another, at each quarter of an hour."""
    units = copies(events, seed)
    places = [0] * len(units)
    at = events[0][0].replace(minute=0, second=0, microsecond=0)
    while at <= until:
        at += QUARTER
        places = [unit.run_to(at - timedelta.resolution, place) for unit, place in zip(units, places, strict=True)]
        found = [unit.open() for unit in units]
        for (one, ours), (other, theirs) in pairwise(zip(units, found, strict=True)):
            if ours != theirs:
                yield at, f"{one.name} / {other.name}", ours ^ theirs
    print("raised, in order:", dict(sorted(units[0].told.items())))


def main() -> None:
    """Play a day and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chairs", type=int, default=24)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began, count = time.monotonic(), 0
    events = chairs(chosen.chairs, chosen.hours, chosen.seed)
    print(f"{len(events)} events of {chosen.chairs} chairs in {chosen.hours:g} h")
    for at, which, what in differences(events, chosen.seed, events[-1][0] + timedelta(hours=1)):
        count += 1
        print(f"{at:%d %H:%M} {which}: {sorted(what)}")
    print(f"{count} differences, {time.monotonic() - began:.0f} s")
    raise SystemExit(1 if count else 0)


if __name__ == "__main__":
    main()

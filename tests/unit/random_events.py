"""Random events of every type: ids drawn from few, clocks that differ, nulls, unusable details, single precision.

All of it comes from one `random.Random`, so a seed gives the same events for ever. Each event carries its arrival
(`received_at`), as a record carries its timestamp. What happened does so by true time; the clock of its sender then
says another, and the event arrives some time after the truth, never before.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from models.drugs import drugs_of
from models.events import ResultStatus, SymptomKind
from tests.events import event
from tests.unit.timeline import FIRST_DAY

Event = dict[str, Any]

PATIENTS: Final = ("p1", "p2")
#: A record that a merge may give up in favour of the first patient's.
GIVEN_UP: Final = "p9"
LOOPS: Final = ("loop-a", "loop-b")
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DELAYS: Final = (timedelta(0), timedelta(seconds=20), 10 * MINUTE, 9 * HOUR)
#: How far the clocks of devices differ: within the five minutes that are forgiven, and by a missed summer time.
SKEWS: Final = (timedelta(0), 3 * MINUTE, -3 * MINUTE, 5 * MINUTE, -5 * MINUTE, HOUR, -HOUR)
#: What senders put into details that only describe.
ODD_DETAILS: Final[tuple[tuple[str, Any], ...]] = (
    ("score", 0),
    ("score", 7.0),
    ("chair", 5),
    ("flags", [None, 3]),
    ("source", ["gateway"]),
    ("unit_id", {}),
    ("event_id", 12),
    ("reason", 0),
)


#: Values of each analyte in its units: on both sides of bounds, and on some of them; `?` is no unit.
ANALYTES: Final[tuple[tuple[str, list[float], list[str]], ...]] = (
    ("magnesium", [0.3, 0.41, 0.7, 0.9, 1.0, 1.4, 1.7, 2.2, 5.0], ["mg/dL", "mg/dL", "mmol/L", "mEq/L", "?"]),
    ("aluminum", [5.0, 15.0, 20.0, 30.0, 80.0, 160.0, 430.0], ["ug/L", "ug/L", "ng/mL", "umol/L", ""]),
    ("sodium", [136.0, 140.0, 145.0, 150.0], ["mmol/L", "mEq/L"]),
    ("potassium", [2.5, 3.0, 3.5, 4.5, 5.5, 6.5], ["mmol/L", "mEq/L"]),
    ("ionized_calcium", [0.75, 0.95, 1.0, 1.12, 1.2, 1.6, 4.4, 4.8], ["mmol/L", "mmol/L", "mg/dL"]),
    ("total_calcium", [7.5, 8.4, 9.5], ["mg/dL", "mg/dL", "mmol/L"]),
    ("phosphate", [0.9, 2.0, 2.5, 4.0, 6.0, 10.0], ["mg/dL", "mg/dL", "mmol/L"]),
    ("creatinine", [4.0, 9.0], ["mg/dL"]),
    ("albumin", [3.0, 3.5, 4.0, 30.0], ["g/dL", "g/dL", "g/L"]),
)
#: Drugs as senders name them: those that rules read, some twice, one that none reads, and one that nobody knows.
DRUGS: Final = (
    *(
        "magnesium sulfate",
        "Magnesium sulphate inj 2 g",
        "magnesium oxide",
        "calcium gluconate",
        "KCl",
        "calcium acetate",
    ),
    *("aluminium hydroxide", "sucralfate", "magaldrate", "sodium citrate", "potassium citrate", "deferoxamine"),
    *("gadobutrol", "baclofen", "Lioresal 10 mg tablet", "baclofen", "midodrine", "Gutron", "vitamin E", "tocopherol"),
    *("hypertonic saline", "NaCl 23.4 %", "digoxin", "heparin", "snake oil"),
)
CONDITIONS: Final = ("cardiomyopathy", "ischaemic_heart_disease", "lvh", "gout")


@dataclass
class Senders:
    """The devices of a unit, each with its clock, and what is drawn."""

    chance: random.Random
    patients: tuple[str, ...] = PATIENTS
    #: Whether profiles may tell that a patient left.
    leave: bool = False
    clocks: dict[str, timedelta] = field(default_factory=dict)
    drugs: dict[str, str] = field(default_factory=dict)

    def clock(self, sender: str) -> timedelta:
        """How far the clock of a sender is ahead of the truth."""
        if sender not in self.clocks:
            self.clocks[sender] = self.chance.choice([timedelta(0), *SKEWS])
        return self.clocks[sender]

    def pick(self, *of: Any) -> Any:
        """One of several."""
        return self.chance.choice(of)

    def moment(self) -> datetime:
        """A half hour of the first day, or of the first four: events meet, tie and lie at each other's bounds."""
        return FIRST_DAY + 30 * MINUTE * self.chance.randint(0, self.pick(40, 4 * 48))

    def event(self, type_: str, true: datetime, sender: str, **fields: Any) -> Event:
        """An event as its sender tells it; fields that are None stay out, or are null."""
        said = {name: self._said(value, sender) for name, value in fields.items()}
        if self.chance.random() < 0.5:
            said = {name: value for name, value in said.items() if value is not None}
        if self.chance.random() < 0.1:
            said |= [self.pick(*ODD_DETAILS)]
        told_of = max([true, *(value for value in fields.values() if isinstance(value, datetime))])
        received_at = min(told_of, true + HOUR) + self.chance.choice(DELAYS)
        return event(
            type_, said.pop("patient_id"), self._said(true, sender), received_at=received_at.isoformat(), **said
        )

    def _said(self, value: Any, sender: str) -> Any:
        return (value + self.clock(sender)).isoformat() if isinstance(value, datetime) else value

    def name(self, prefix: str, count: int) -> str:
        """An id that is soon used again."""
        return f"{prefix}{self.chance.randint(0, count - 1)}"


def single(value: float) -> float:
    """A number as a gateway that computes in single precision tells it."""
    found: float = struct.unpack("f", struct.pack("f", value))[0]
    return found


def lab_result(of: Senders) -> Event:
    at = of.moment()
    analyte, values, units = of.pick(*ANALYTES, *ANALYTES[:2], ANALYTES[0])
    status = of.pick(*ResultStatus, *["final"] * 7)
    is_withdrawn = status in ("cancelled", "entered_in_error")
    value = of.pick(*values)
    return of.event(
        "lab_result",
        at,
        of.pick("laboratory", "laboratory", "gateway"),
        patient_id=of.pick(*of.patients),
        result_id=of.name("panel", 4),
        replaces=of.name("panel", 4) if of.chance.random() < 0.15 else None,
        analyte=analyte,
        value=None if is_withdrawn else of.pick(value, single(value)),
        comparator=of.pick(*[None] * 5, "<", "<=", ">", ">="),
        unit=of.pick(*units),
        status=str(status),
        reported_at=of.pick(None, at, at + HOUR, at + 5 * HOUR),
        specimen=of.pick(None, None, None, "serum", "urine"),
        haemolysed=of.chance.choice([*[None] * 5, True]),
        flags=of.pick(None, ["LL"], ["HH"]),
    )


def symptom(of: Senders) -> Event:
    at = of.moment()
    kinds = [
        "cramp",
        "cramp",
        "cramp",
        "spasm",
        "jerk",
        "jerk",
        "twitch",
        "speech_disturbance",
        "seizure",
        *SymptomKind,
    ]
    patient = of.pick(*of.patients)
    return of.event(
        "symptom",
        at,
        of.pick("nurse", "nurse", "chart"),
        patient_id=patient,
        symptom_id=of.name("s", 5),
        kind=SymptomKind(of.pick(*kinds)),
        ended_at=of.pick(None, None, at + 10 * MINUTE, at + HOUR, at - 4 * MINUTE),
        score=of.pick(None, 3, 8),
        worse_after_dialysis=of.chance.choice([None, True, False]),
        status=of.pick(*[None] * 7, "entered_in_error"),
        source=of.pick(None, "chart"),
    )


def _session(of: Senders) -> Event:
    patient = of.pick(*of.patients)
    return {"patient_id": patient, "session_id": of.name(f"{patient}-", 3)}


def session_started(of: Senders) -> Event:
    machine = of.name("m", 3)
    return of.event(
        "session_started",
        of.moment(),
        machine,
        **_session(of),
        machine_id=machine,
        chair=of.pick(None, "1", "2"),
        water_loop_id=of.pick(None, *LOOPS),
        pre_systolic_mmhg=of.pick(None, 120.0, 170.0, 190.0),
        pre_weight_kg=of.pick(None, 72.0, 90.0),
        target_weight_kg=of.pick(None, 70.0, 155.0),
        planned_minutes=of.pick(None, 240.0),
        uf_goal_ml=of.pick(None, 2000.0, 4000.0),
        unit_id=of.pick(None, "u1", "u2"),
    )


def session_ended(of: Senders) -> Event:
    return of.event(
        "session_ended", of.moment(), of.name("m", 3), **_session(of), post_weight_kg=of.pick(None, 70.0, 0.0)
    )


def telemetry(of: Senders) -> Event:
    machine, at = of.name("m", 3), of.moment() + of.pick(0, 0, 7, 20) * MINUTE
    return of.event(
        "telemetry",
        at,
        machine,
        **_session(of),
        machine_id=machine,
        blood_flow_ml_min=of.pick(None, 0.0, 300.0, 300.0, 300.0),
        systolic_mmhg=of.pick(None, 100.0, 140.0, 185.0),
        uf_rate_ml_h=of.pick(None, 600.0, 800.0, 1000.0),
        dialysate_na_mmol_l=of.pick(None, 138.0, 148.0),
        dialysate_k_mmol_l=of.pick(None, None, 1.0, 2.0),
        setting_origin=of.pick(None, "ordered", "user"),
        dialysate_mg_mmol_l=of.pick(None, 0.375, 0.375, 0.5, 0.75),
        unit_id=of.pick(None, "u1"),
    )


def machine_alarm(of: Senders) -> Event:
    machine = of.name("m", 3)
    details = {"code": of.pick("158592", "158593"), "phase": of.pick("start", "continue", "end"), "text": "venous"}
    return of.event("machine_alarm", of.moment(), machine, **_session(of), machine_id=machine, **details)


def rhythm(of: Senders) -> Event:
    kind = of.pick("qtc", "qtc", "qtc", "af")
    return of.event(
        "rhythm",
        of.moment(),
        of.pick("ecg", "chart"),
        patient_id=of.pick(*of.patients),
        kind=kind,
        qtc_ms=of.pick(430.0, 480.0, 500.0) if kind == "qtc" else None,
        event_id=of.pick(None, None, "e1", "e2"),
    )


def profile(of: Senders) -> Event:
    """A profile; none that says that the patient left of a given-up record: it stays there, and hides older ones."""
    patient, at = of.pick(*of.patients), of.moment()
    left = ("transferred", "deceased") if of.leave and patient != GIVEN_UP else ()
    first = FIRST_DAY.date() + timedelta(days=of.pick(-800, -100, -20, -9, -1, 1))
    return of.event(
        "patient_profile",
        at,
        "administration",
        patient_id=patient,
        status=of.pick(None, "active", "active", *left),
        height_cm=of.pick(None, 170.0, -1.0),
        target_weight_kg=of.pick(None, 60.0, 70.0),
        first_dialysis_on=of.pick(None, first.isoformat()),
        conditions=of.pick(None, [], of.chance.sample(CONDITIONS, 2), of.chance.sample(CONDITIONS, 3)),
        inpatient=of.chance.choice([None, True, False]),
        low_activity=of.chance.choice([None, True]),
    )


def medication(of: Senders) -> Event:
    """A step of one of few orders; mostly it names the drug of that order, in one of its spellings."""
    at, order = of.moment(), of.name("o", 5)
    meant = of.drugs.setdefault(order, of.pick(*DRUGS))
    spellings = [name for name in DRUGS if drugs_of(name) == drugs_of(meant)]
    action = of.pick("ordered", "ordered", "administered", "administered", "changed", "held", "stopped", "cancelled")
    return of.event(
        "medication",
        at,
        of.pick("chart", "chart", "tablet"),
        patient_id=of.pick(*of.patients),
        order_id=order,
        drug=of.pick(*DRUGS) if of.chance.random() < 0.05 else of.pick(*spellings),
        action=action,
        route=of.pick(None, "oral", "oral", "iv"),
        dose_mg=of.pick(None, 5.0, 10.0, 25.0, 1000.0),
        dose_iu=of.pick(None, None, 400.0, 800.0),
        doses_per_day=of.pick(None, 1.0, 3.0),
        due_at=of.pick(None, None, None, at + HOUR, at + 20 * HOUR),
    )


def weight(of: Senders) -> Event:
    kg, when = of.pick(70.0, 72.5, 72.5, 95.0), of.pick("pre", "post")
    ids = {"event_id": of.pick(None, None, "e1", "e2")}
    return of.event("weight", of.moment(), "scale", patient_id=of.pick(*of.patients), kg=kg, moment=when, **ids)


def schedule(of: Senders) -> Event:
    at = of.moment()
    status = of.pick(None, "planned", "cancelled")
    start = at + of.pick(HOUR, 3 * HOUR, 24 * HOUR)
    return of.event("schedule", at, "chart", **_session(of), planned_start=start, status=status)


KINDS: Final[tuple[Callable[[Senders], Event], ...]] = (
    *[lab_result] * 8,
    *[symptom] * 6,
    *[telemetry] * 4,
    *[medication] * 6,
    profile,
    session_started,
    session_started,
    session_ended,
    rhythm,
    rhythm,
    machine_alarm,
    weight,
    schedule,
)


def begun(of: Senders) -> Iterable[Event]:
    """The patients are on dialysis from the beginning of the first day, on one water loop."""
    for patient in of.patients:
        session = {"session_id": f"{patient}-0", "machine_id": "m0", "water_loop_id": LOOPS[0]}
        yield of.event("session_started", FIRST_DAY, "m0", patient_id=patient, **session)


def random_events(chance: random.Random, count: int, *, leave: bool = False, merged: bool = False) -> list[Event]:
    """Events of every type.

    Args:
        leave: whether patients may be told to have left.
        merged: whether a record is given up for the first patient's; it has events of its own.
    """
    of = Senders(chance, (*PATIENTS, GIVEN_UP) if merged else PATIENTS, leave)
    kinds = (*KINDS, profile, profile) if leave else KINDS
    events = [chance.choice(kinds)(of) for _ in range(count)]
    events += begun(of)
    if merged:
        for _ in range(chance.randint(1, 2)):
            events.append(of.event("patient_merged", of.moment(), "admin", patient_id=PATIENTS[0], merged_id=GIVEN_UP))
    return events

"""The course of one session: its prescription, its blood pressure, its complications."""

import random
from dataclasses import dataclass
from typing import Final

from models.analytes import Analyte
from streams.simulator.chance import stream
from streams.simulator.population import MINUTE
from streams.simulator.rates import Rates
from streams.simulator.timetable import Slot

#: A hypotension reduces ultrafiltration to this share.
REDUCED_UF: Final = 0.3
#: Regular spacing of blood pressure readings, seconds; in a hypotension every third of it.
BP_EVERY: Final = 15 * MINUTE

PUMP_STOP: Final = "MDC_EVT_HDIALY_BLD_PUMP_STOP"
_ALARMS: Final = (
    (PUMP_STOP, "Blood pump stopped", "medium", 6),
    ("MDC_EVT_HDIALY_UF_RATE_RANGE", "Ultrafiltration rate out of range", "low", 4),
    ("MDC_EVT_HDIALY_ANTICOAG_SYRINGE_EMPTY", "Anticoagulant syringe empty", "low", 3),
    ("MDC_EVT_HDIALY_SAFETY_DIALYSATE_COMPOSITION", "Conductivity out of range", "medium", 3),
    ("MDC_EVT_HDIALY_SAFETY_VEN_ACCESS", "Venous pressure low", "high", 1),
    ("MDC_EVT_HDIALY_SAFETY_VEN_AIR_DETECT", "Air in the venous line", "high", 1),
)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A machine alarm, in seconds from the session's start."""

    code: str
    text: str
    priority: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Course:
    """The plan and the course of one session. Times are in seconds from its start.

    Attributes:
        modality: HD, HDF or IUF.
        pre_weight_kg: Weight before.
        uf_goal_ml: Volume to be removed.
        uf_rate_ml_h: Planned rate.
        sodium_mmol_l: Dialysate sodium.
        sodium_profile: Steps of (minute, sodium), or empty.
        potassium_mmol_l: Dialysate potassium.
        temperature_c: Dialysate temperature setting.
        setting_origin: Who set the machine: ordered or user.
        systolic_mmhg: Pressure before.
        fall_mmhg: Its slow fall over the session.
        dip: Start and end of a hypotension, or None.
        nadir_mmhg: Systolic pressure in it.
        alarms: Machine alarms.
        length: Until the session's end.
        noise: The position in the table of noise where its samples begin.
    """

    modality: str
    pre_weight_kg: float
    uf_goal_ml: float
    uf_rate_ml_h: float
    sodium_mmol_l: float
    sodium_profile: tuple[tuple[int, float], ...]
    potassium_mmol_l: float
    temperature_c: float
    setting_origin: str
    systolic_mmhg: float
    fall_mmhg: float
    dip: tuple[float, float] | None
    nadir_mmhg: float
    alarms: tuple[Alarm, ...]
    length: float
    noise: int

    def removed_ml(self, elapsed: float) -> float:
        """Compute the volume removed since the session's start."""
        full = elapsed
        if self.dip:
            start, end = self.dip
            full -= (1 - REDUCED_UF) * max(0.0, min(elapsed, end) - start)
        return self.uf_rate_ml_h * full / 3600

    @property
    def post_weight_kg(self) -> float:
        """Weight after."""
        return round(self.pre_weight_kg - self.removed_ml(self.length) / 1000, 1)


def draw_course(slot: Slot, rates: Rates) -> Course:
    """Draw a session's course from its own key."""
    rng = stream(slot.rng_key, "course")
    person, length = slot.person, slot.end - slot.start
    gain_pct = min(max(rng.gauss(rates.gain_mean, rates.gain_sd), 0.8), rates.gain_max)
    goal = round(person.target_weight_kg * gain_pct * 10, -1)
    high_sodium = rng.random() < rates.high_sodium
    sodium = rng.choice((140.0, 142.0, 145.0, 148.0)) if high_sodium else rng.choice((136.0, 137.0, 138.0))
    profiled = high_sodium and rng.random() < 0.4
    hypotensive = rng.random() < rates.hypotension
    dip_start = BP_EVERY * rng.randint(5, int(length / BP_EVERY) - 2)
    dip = (dip_start, dip_start + rng.uniform(9, 19) * MINUTE) if hypotensive else None
    pre = person.systolic_mmhg + rng.uniform(-6, 8)
    return Course(
        modality="IUF" if rng.random() < rates.isolated_uf else rng.choice(("HD", "HD", "HD", "HDF")),
        pre_weight_kg=round(person.target_weight_kg + goal / 1000, 1),
        uf_goal_ml=goal,
        uf_rate_ml_h=round(goal / person.planned_minutes * 60, -1),
        sodium_mmol_l=sodium,
        sodium_profile=((0, sodium), (90, sodium - 3), (180, 138.0)) if profiled else (),
        potassium_mmol_l=_dialysate_potassium(rng, person.levels[Analyte.POTASSIUM], rates),
        temperature_c=rng.choice((35.0, 35.5)) if rng.random() < rates.cool else rng.choice((36.5, 36.5, 37.0)),
        setting_origin="user" if high_sodium and rng.random() < 0.3 else "ordered",
        systolic_mmhg=round(pre),
        fall_mmhg=rng.uniform(4, 24),
        dip=dip,
        nadir_mmhg=round(rng.uniform(74, 86)),
        alarms=tuple(_alarms(rng, rates, length)),
        length=length,
        noise=rng.randrange(1_000_000),
    )


def _dialysate_potassium(rng: random.Random, serum: float, rates: Rates) -> float:
    if Analyte.POTASSIUM not in rates.calm and serum >= 5.5 and rng.random() < 0.15:
        return 1.0
    return 3.0 if serum < 4.5 else 2.0


def _alarms(rng: random.Random, rates: Rates, length: float) -> list[Alarm]:
    """Draw up to three alarms, each in its own third of the session."""
    weights = [alarm[3] for alarm in _ALARMS]
    found = []
    for third in range(3):
        if rng.random() < rates.alarm / 3:
            code, text, priority, _ = rng.choices(_ALARMS, weights)[0]
            start = (third + rng.uniform(0.1, 0.8)) * length / 3
            found.append(Alarm(code, text, priority, start, start + rng.uniform(12, 150)))
    return found

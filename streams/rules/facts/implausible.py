"""Numbers that no patient and no treatment can have: the bounds beyond which a number counts as not measured.

All are ours, and wide on purpose: a value that a sick patient or a broken machine can have is never left out. Results
have theirs in `models.analytes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that a field can have; the bounds lie inside.

    Attributes:
        zero_is_none: 0 outside of the range says that there is none, such as the dialysate of isolated ultrafiltration:
            it counts as not measured, and nobody is told.
    """

    low: float
    high: float
    unit: str
    zero_is_none: bool = False

    def holds(self, value: float) -> bool:
        """Return whether a number can be one."""
        return self.low <= value <= self.high

    def is_strange(self, value: float) -> bool:
        """Return whether a number cannot be one, and says nothing else either."""
        return not self.low <= value <= self.high and not (self.zero_is_none and value == 0)


#: Of the samples of machines.
SAMPLES: Final = {
    "uf_rate_ml_h": Range(-500, 6000, "mL/h"),
    "uf_removed_ml": Range(-2000, 20000, "mL"),
    "blood_flow_ml_min": Range(0, 1000, "mL/min"),
    "venous_pressure_mmhg": Range(-500, 1000, "mm[Hg]"),
    "dialysate_temp_c": Range(5, 65, "Cel", zero_is_none=True),
    "dialysate_temp_setting_c": Range(5, 65, "Cel", zero_is_none=True),
    "dialysate_na_mmol_l": Range(50, 250, "mmol/L", zero_is_none=True),
    "dialysate_k_mmol_l": Range(0, 15, "mmol/L"),
    "dialysate_ca_mmol_l": Range(0, 4, "mmol/L"),
    "dialysate_mg_mmol_l": Range(0, 4, "mmol/L"),
    "conductivity_ms_cm": Range(5, 25, "mS/cm", zero_is_none=True),
    "systolic_mmhg": Range(20, 320, "mm[Hg]"),
    "diastolic_mmhg": Range(5, 250, "mm[Hg]"),
    "heart_rate_bpm": Range(5, 350, "{beats}/min"),
    "relative_blood_volume_pct": Range(-80, 200, "%"),
    "body_temp_c": Range(25, 45, "Cel"),
}
#: A person's weight: beyond are typing errors and grams.
WEIGHT: Final = Range(20, 350, "kg")
#: Of the messages that begin and end a session.
MESSAGES: Final = {
    "pre_weight_kg": WEIGHT,
    "target_weight_kg": WEIGHT,
    "post_weight_kg": WEIGHT,
    "planned_minutes": Range(10, 1440, "min"),
    "uf_goal_ml": Range(-2000, 20000, "mL"),
    "pre_systolic_mmhg": Range(20, 320, "mm[Hg]"),
}
#: The ranges of every field that is left out when it is filed.
OF_SESSIONS: Final = SAMPLES | MESSAGES

_FREEZING_F: Final = 32
_PER_DEGREE: Final = 1.8
#: Temperatures of water and of people, in degrees Fahrenheit.
_FAHRENHEIT: Final = Range(90, 113, "[degF]")


def as_celsius(value: float) -> float | None:
    """Return a temperature that would be one in degrees Fahrenheit, in degrees Celsius; None if it would not."""
    return (value - _FREEZING_F) / _PER_DEGREE if _FAHRENHEIT.holds(value) else None

"""Messages of alerts as large as those of the field: guidance, evidence, the earlier values of what decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

encode: Final = msgspec.json.Encoder().encode
#: As many earlier values as a worker sends at most.
_CONTEXT: Final = 10
_GUIDANCE: Final = [
    {
        "text": "Review magnesium first: low calcium and potassium do not respond to replacement until it is corrected."
        " Review the dialysate magnesium per unit protocol.",
        "basis": "article L2, L14, L16; Kost critical limits",
    },
    {
        "text": "The article advises adjusting the dialysate rather than intravenous magnesium during dialysis; the ban"
        " is contested for continuous treatment with citrate. Follow the prescriber.",
        "basis": "article L15, L17",
    },
]


@dataclass(frozen=True, slots=True)
class Kind:
    """A rule, and what it looks at."""

    rule: str
    family: str
    text: str
    name: str
    unit: str
    span: tuple[float, float]
    bound: float


KINDS: Final = (
    Kind("low_magnesium", "low-magnesium", "Magnesium {} mg/dL, below 1.7", "magnesium", "mg/dL", (0.6, 1.6), 1.7),
    Kind(
        "low_ionized_calcium", "electrolytes", "Ionised calcium {} mmol/L, below 1.00", "calcium_ionized", "mmol/L",
        (0.7, 0.99), 1.0,
    ),
    Kind("high_potassium", "electrolytes", "Potassium {} mmol/L, above 6.0", "potassium", "mmol/L", (6.1, 7.4), 6.0),
    Kind(
        "intradialytic_hypotension", "session", "Systolic {} mmHg, 41 below pre-dialysis", "systolic", "mm[Hg]",
        (70, 89), 90,
    ),
    Kind("uf_rate_high", "session", "UF {} mL/kg/h for 6 min, above 13", "uf_rate", "mL/kg/h", (13.1, 17), 13),
    Kind("intradialytic_cramp", "cramp", "Cramp, score {}, since 12 min", "cramp_score", "{score}", (4, 9), 4),
    Kind("baclofen_dose", "medication", "Baclofen {} mg a day, above 10", "baclofen", "mg/d", (11, 40), 10),
)  # fmt: skip


def alert_value(kind: Kind, message: dict[str, Any], value: float, number: int, now: datetime) -> bytes:
    """Return the value of a transition's record; its number ends the summary."""
    return encode(
        {
            **message,
            "rule": kind.rule,
            "rule_version": 3,
            "family": kind.family,
            "summary": f"{kind.text.format(value)} (#{number})",
            "guidance": _GUIDANCE,
            "evidence": [
                _measured(kind, f"r-{number}-{index}", value + index / 10, now - timedelta(minutes=5 * index))
                for index in range(3)
            ],
            "context": [
                {
                    "at": (now - timedelta(minutes=10 * (_CONTEXT + 2 - index))).isoformat(),
                    "value": round(value + index / 20, 2),
                    "unit": kind.unit,
                }
                for index in range(_CONTEXT)
            ],
            "bound": {"value": kind.bound, "unit": kind.unit},
        }
    )


def _measured(kind: Kind, name: str, value: float, at: datetime) -> dict[str, Any]:
    return {
        "kind": "lab_result", "id": name, "name": kind.name, "value": round(value, 2), "unit": kind.unit,
        "at": at.isoformat(),
    }  # fmt: skip

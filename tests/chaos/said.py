"""What has been said of a patient so far, as the oracle files it: results as they stand, symptoms, sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from tests.chaos.logs import Record
from tests.chaos.machines_said import Treatment

#: clinical.md R21 and 2.5: ug/L = ng/mL; lower bounds of the bands; the bound belongs to the band it opens.
ALUMINUM: Final = {
    "ug/l": (10, 20, 60, 150),
    "ng/ml": (10, 20, 60, 150),
    "mcg/l": (10, 20, 60, 150),
    "umol/l": (0.371, 0.741, 2.224, 5.559),
    "nmol/l": (371, 741, 2224, 5559),
}
#: clinical.md 3.2: fences that catch unit swaps, in mg/dL.
_MAGNESIUM_FENCE: Final = {"mg/dl": (0.2, 15.0), "mmol/l": (0.082, 6.18), "meq/l": (0.164, 12.4)}
_LOINC: Final = {
    "19123-9": "magnesium",
    "2601-3": "magnesium",
    "5574-9": "aluminum",
    "14593-8": "aluminum",
    "17863-2": "ionized_calcium",
    "1995-0": "ionized_calcium",
    "2823-3": "potassium",
    "6298-4": "potassium",
}
_STATUSES: Final = ("preliminary", "final", "corrected", "cancelled", "entered_in_error")
_LIVE: Final = frozenset(_STATUSES[:3])


@dataclass
class Lab:
    """A result as it stands."""

    name: str
    analyte: str | None
    unit: str
    value: float | None
    status: str
    at: datetime
    rank: tuple[datetime, int]
    order: int

    @property
    def live(self) -> bool:
        return self.status in _LIVE

    def trouble(self) -> bool:
        """An unknown unit, or a value outside the fence: nothing can be evaluated."""
        if self.analyte == "aluminum":
            return self.unit not in ALUMINUM
        if self.analyte != "magnesium" or self.value is None:
            return False
        low, high = _MAGNESIUM_FENCE.get(self.unit, (1.0, 0.0))
        return not low <= self.value <= high

    def usable(self, analyte: str) -> bool:
        return self.analyte == analyte and self.live and self.value is not None and not self.trouble()


@dataclass
class Symptom:
    """A symptom as it stands."""

    name: str
    kind: str
    at: datetime
    #: When it was first told of.
    heard: datetime
    ended_at: datetime | None
    worse: bool
    erroneous: bool


@dataclass(frozen=True)
class Step:
    """A step of an order."""

    at: datetime
    action: str
    drug: str
    route: str | None


@dataclass
class Patient:
    """What has been said of a patient so far."""

    labs: dict[str, Lab] = field(default_factory=dict)
    symptoms: dict[str, Symptom] = field(default_factory=dict)
    #: First word and end of each session.
    sessions: dict[str, tuple[datetime, datetime | None]] = field(default_factory=dict)
    #: What machines told of each session.
    treatments: dict[str, Treatment] = field(default_factory=dict)
    qtc: list[tuple[datetime, float]] = field(default_factory=list)
    loop: str | None = None
    #: Steps of each order, in the order in which they were told.
    orders: dict[str, list[Step]] = field(default_factory=dict)
    #: The newest profile.
    profile: dict[str, Any] = field(default_factory=dict)

    @property
    def has_profile(self) -> bool:
        return bool(self.profile)

    @property
    def inpatient(self) -> bool:
        return bool(self.profile.get("inpatient"))

    @property
    def conditions(self) -> list[str]:
        return self.profile.get("conditions") or []

    @property
    def first_dialysis(self) -> str | None:
        return self.profile.get("first_dialysis_on")

    def hear(self, record: Record, body: dict[str, Any], order: int) -> str | None:
        """File a message; returns the identity of what it was about."""
        at = _moment(body["at"])
        match body["type"]:
            case "lab_result":
                return self._result(body, at, order)
            case "symptom":
                return self._symptom(body, at, record.moment)
            case "rhythm" if body["kind"] == "qtc":
                self.qtc.append((at, body["qtc_ms"]))
            case "session_started" | "telemetry" | "machine_alarm" | "session_ended":
                name = body["session_id"]
                first, end = self.sessions.get(name, (at, None))
                ends = at if body["type"] == "session_ended" else end
                self.sessions[name] = (min(first, at), ends)
                self.loop = body.get("water_loop_id") or self.loop
                return self.treatments.setdefault(name, Treatment(name, at)).hear(body, at, record.moment)
            case "medication":
                step = Step(at, body["action"], body["drug"], body.get("route"))
                self.orders.setdefault(body["order_id"], []).append(step)
                return str(body["order_id"])
            case "patient_profile" if not self.profile or at >= _moment(self.profile["at"]):
                self.profile = body
            case _:
                pass
        return None

    def _result(self, body: dict[str, Any], at: datetime, order: int) -> str:
        name, status = body["result_id"], body.get("status", "final")
        rank = (_moment(body.get("reported_at") or body["at"]), _STATUSES.index(status))
        known = self.labs.get(name)
        if known is None or rank > known.rank:
            analyte = body.get("analyte") or _LOINC.get(body.get("loinc", ""))
            unit = str(body.get("unit", "")).strip().lower()
            first = known.order if known else order
            self.labs[name] = Lab(name, analyte, unit, body.get("value"), status, at, rank, first)
        return str(name)

    def _symptom(self, body: dict[str, Any], at: datetime, heard: datetime) -> str:
        name = body["symptom_id"]
        known = self.symptoms.get(name)
        ended = _moment(body["ended_at"]) if body.get("ended_at") else known.ended_at if known else None
        erroneous = body.get("status") == "entered_in_error" or bool(known and known.erroneous)
        heard = known.heard if known else heard
        worse = bool(body.get("worse_after_dialysis"))
        self.symptoms[name] = Symptom(name, body["kind"], at, heard, ended, worse, erroneous)
        return str(name)

    def usable(self, analyte: str) -> list[Lab]:
        found = [lab for lab in self.labs.values() if lab.usable(analyte)]
        return sorted(found, key=lambda lab: (lab.at, lab.order))

    def present(self, kinds: frozenset[str]) -> list[Symptom]:
        found = [s for s in self.symptoms.values() if s.kind in kinds and not s.erroneous]
        return sorted(found, key=lambda symptom: (symptom.at, symptom.name))

    def session_at(self, moment: datetime) -> str | None:
        running = (
            (first, name)
            for name, (first, end) in self.sessions.items()
            if first <= moment and (end is None or moment <= end) and moment - first < timedelta(hours=24)
        )
        return max(running, default=(None, None))[1]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)

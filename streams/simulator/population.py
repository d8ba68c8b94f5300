"""The patients of the virtual unit: their attributes that stay the same from session to session."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from models.analytes import Analyte
from models.topics import CLINICAL_EVENTS
from streams.simulator.chance import stream
from streams.simulator.laboratories import LABORATORIES, Laboratory, draw_level
from streams.simulator.planned import Planted, Scribe, TimedMessage
from streams.simulator.rates import Rates

DAY: Final = 86_400.0
MINUTE: Final = 60.0
HOUR: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Person:
    """One patient.

    Attributes:
        patient_id: P00001 and on.
        sex: As in the profile.
        height_cm: Height.
        target_weight_kg: Weight at which a session should end.
        vintage_days: Days from the first dialysis to the unit's start.
        conditions: Heart conditions, as in the profile.
        inpatient: Whether in hospital.
        low_activity: Whether sitting most of the day.
        planned_minutes: Length of a session.
        blood_flow_ml_min: Blood pump setting.
        systolic_mmhg: Usual pressure before a session.
        laboratory: The laboratory that measures this patient's blood.
        levels: Usual values before a session, in base units.
        drug: A drug that rules watch: baclofen, midodrine, vitamin e, aluminum hydroxide; or None.
    """

    patient_id: str
    sex: str
    height_cm: float
    target_weight_kg: float
    vintage_days: int
    conditions: tuple[str, ...]
    inpatient: bool
    low_activity: bool
    planned_minutes: int
    blood_flow_ml_min: int
    systolic_mmhg: float
    laboratory: Laboratory
    levels: dict[Analyte, float]
    drug: str | None

    @property
    def is_new(self) -> bool:
        """Return whether dialysis began less than a month ago."""
        return self.vintage_days < _MONTH

    @property
    def is_watched(self) -> bool:
        """Return whether a panel is expected after each session: an inpatient, or two diseases of the heart."""
        return self.inpatient or set(self.conditions) >= _GRAVE


_MONTH: Final = 31
#: Diseases that together put a patient at risk of an arrhythmia after dialysis (contract, R62).
_GRAVE: Final = frozenset({"cardiomyopathy", "ischaemic_heart_disease"})


class Population:
    """All patients, each drawn at first use; their number does not change anybody's figures."""

    def __init__(self, seed: int, rates: Rates) -> None:
        self._seed = seed
        self._rates = rates
        self._persons: dict[int, Person] = {}

    def __getitem__(self, index: int) -> Person:
        """Return the patient with this number, from 0."""
        person = self._persons.get(index)
        if person is None:
            person = self._persons[index] = self._draw(index)
        return person

    def _draw(self, index: int) -> Person:
        rng, rates = stream(self._seed, "person", index), self._rates
        sex = rng.choice(("female", "male", "male"))
        height = rng.gauss(176 if sex == "male" else 163, 7)
        diseases = ("lvh", "cardiomyopathy", "ischaemic_heart_disease")
        new = rng.random() < rates.new_patient
        hypertensive = rng.random() < rates.hypertension
        return Person(
            patient_id=f"P{index + 1:05d}",
            sex=sex,
            height_cm=round(height, 0),
            target_weight_kg=round(min(max(rng.gauss(25, 3.5), 19), 36) * (height / 100) ** 2, 1),
            vintage_days=rng.randint(2, 27) if new else rng.randint(400, 4000),
            conditions=tuple(name for name in diseases if rng.random() < rates.heart_disease),
            inpatient=rng.random() < rates.inpatient,
            low_activity=rng.random() < rates.inpatient,
            planned_minutes=rng.choice((210, 240, 240, 240, 240, 270)),
            blood_flow_ml_min=rng.choice((250, 280, 300, 300, 320, 350)),
            systolic_mmhg=rng.uniform(162, 180) if hypertensive else rng.uniform(126, 146),
            laboratory=LABORATORIES[index % len(LABORATORIES)],
            levels={analyte: draw_level(rng, analyte, rates) for analyte in Analyte},
            drug=rng.choice(_DRUGS) if rng.random() < rates.risky_drug else None,
        )


_DRUGS: Final = ("baclofen", "midodrine", "vitamin e", "aluminum hydroxide")
#: The rule that finds the standing order of a drug; citrate is ordered beside aluminium only.
_RISKY: Final = {
    "baclofen": "baclofen_on_dialysis",
    "vitamin e": "vitamin_e_dose",
    "sodium citrate": "citrate_with_aluminum",
}


def known_before(scribe: Scribe, person: Person, arrival: float) -> list[TimedMessage]:
    """Build the record of a patient at the start of the simulation: the profile and the standing orders.

    Args:
        scribe: Builds the messages.
        person: The patient.
        arrival: When they arrive, seconds from the unit's start.
    """
    said = [_profile(scribe, person, arrival)]
    orders: list[tuple[str, str, float | None, float | None, float, float]] = [
        ("sevelamer", "oral", 800.0, None, 3.0, 60.0)
    ]
    match person.drug:
        case "baclofen":
            orders.append(("baclofen", "oral", 5.0, None, 3.0, 0.2))
        case "midodrine":
            orders.append(("midodrine", "oral", 5.0, None, 1.0, 40.0))
        case "vitamin e":
            orders.append(("vitamin e", "oral", None, 800.0, 1.0, 40.0))
        case "aluminum hydroxide":
            orders.append(("aluminum hydroxide", "oral", 500.0, None, 3.0, 20.0))
            orders.append(("sodium citrate", "oral", 1000.0, None, 1.0, 15.0))
    for drug, route, dose_mg, dose_iu, daily, days_ago in orders:
        at = min(-days_ago * DAY, arrival - MINUTE)
        order_id = f"{person.patient_id}-{drug.replace(' ', '-')}"
        fields = {
            "order_id": order_id,
            "drug": drug,
            "action": "ordered",
            "route": route,
            "dose_mg": dose_mg,
            "dose_iu": dose_iu,
            "doses_per_day": daily,
        }
        rule = _RISKY.get(drug)
        planted = Planted(rule, person.patient_id, scribe.at(at), ids=(order_id,)) if rule else None
        said.append(
            scribe.event(
                CLINICAL_EVENTS,
                "medication",
                person.patient_id,
                at,
                delay=arrival - at,
                fields=fields,
                planted=planted,
            )
        )
    return said


def _profile(scribe: Scribe, person: Person, arrival: float) -> TimedMessage:
    first = (scribe.start - timedelta(days=person.vintage_days)).date()
    fields = {
        "first_dialysis_on": first,
        "sex": person.sex,
        "height_cm": person.height_cm,
        "target_weight_kg": person.target_weight_kg,
        "conditions": list(person.conditions),
        "inpatient": person.inpatient,
        "low_activity": person.low_activity,
    }
    return scribe.event(CLINICAL_EVENTS, "patient_profile", person.patient_id, arrival - 1, fields=fields, delay=1)

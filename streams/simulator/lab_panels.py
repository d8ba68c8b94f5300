"""Laboratory results: panels before and after a session, their delays, and their later changes."""

import random
from typing import Any, Final

from models.analytes import Analyte
from models.topics import LAB_RESULTS
from streams.simulator.laboratories import PANEL, POST_PANEL, RANGES, broken_rule, loinc
from streams.simulator.planned import Planted, Scribe, TimedMessage
from streams.simulator.population import DAY, HOUR, MINUTE, Person
from streams.simulator.rates import Rates
from streams.simulator.timetable import Slot

#: Chance that a panel contains the monthly aluminium; a month has about 13 sessions.
_ALUMINUM: Final = 1 / 13
_BLOOD_GAS: Final = (Analyte.IONIZED_CALCIUM, Analyte.POTASSIUM)


class Laboratory:
    """Writes the results of one patient's laboratory."""

    def __init__(self, scribe: Scribe, person: Person) -> None:
        self._scribe = scribe
        self._person = person

    def value(self, analyte: Analyte, base: float) -> float:
        """Convert a value in the base unit to the laboratory's report."""
        measure = self._person.laboratory.measures[analyte]
        value = round(base * measure.factor, measure.decimals)
        return value if measure.decimals else int(value)

    def breaks(self, analyte: Analyte, base: float | None) -> str | None:
        """Return the rule that should fire on the laboratory's report of a value in the base unit."""
        if base is None:
            return None
        unit = self._person.laboratory.measures[analyte].unit
        return broken_rule(analyte, unit, self.value(analyte, base))

    def result(
        self,
        analyte: Analyte,
        base: float | None,
        result_id: str,
        *,
        collected: float,
        reported: float,
        plant: bool = True,
        ends: float | None = None,
        **other: Any,
    ) -> TimedMessage:
        """Build one result message.

        Args:
            analyte: The measured analyte.
            base: The value in the base unit; None for a withdrawn result.
            result_id: Its identity.
            collected: When the specimen was taken, seconds from the unit's start.
            reported: When the result arrives, likewise.
            plant: Whether a value that a rule should find is recorded as planted.
            ends: When a later message of the caller ends that condition.
            **other: Further fields, or replacements of these.
        """
        person, laboratory = self._person, self._person.laboratory
        value = None if base is None else self.value(analyte, base)
        unit = laboratory.measures[analyte].unit
        fields: dict[str, Any] = {
            "at": self._scribe.local(collected),
            "result_id": result_id,
            "analyte": analyte if laboratory.sends_name else None,
            "loinc": loinc(laboratory, analyte) if laboratory.sends_loinc else None,
            "value": value,
            "unit": unit,
            "reported_at": self._scribe.local(reported),
            "specimen": "blood" if analyte is Analyte.IONIZED_CALCIUM else "serum",
            "source": laboratory.name,
        } | other
        rule = self.breaks(analyte, base)
        planted = None
        if rule and plant:
            until = None if ends is None else self._scribe.at(ends)
            planted = Planted(rule, person.patient_id, self._scribe.at(collected), until, (result_id,))
        return self._scribe.event(
            LAB_RESULTS,
            "lab_result",
            person.patient_id,
            collected,
            delay=reported - collected,
            fields=fields,
            planted=planted,
        )


def known_results(scribe: Scribe, person: Person, rng: random.Random, arrival: float) -> list[TimedMessage]:
    """Build the last results from before the simulation, as a laboratory sends them to a new receiver.

    Who is in the first month of dialysis is measured often: of them it sends the panel of the last session.
    """
    laboratory = Laboratory(scribe, person)
    analytes: tuple[Analyte, ...] = (Analyte.ALBUMIN, Analyte.MAGNESIUM, Analyte.ALUMINUM)
    collected, took = arrival - rng.uniform(5, 20) * DAY, 3 * DAY
    if person.is_new:
        analytes, collected, took = PANEL, arrival - rng.uniform(0.8, 1.8) * DAY, HOUR
    said = []
    for analyte in analytes:
        message = laboratory.result(
            analyte,
            person.levels[analyte],
            f"{person.patient_id}-last-{analyte}",
            collected=collected,
            reported=collected + took,
            plant=False,
        )
        said.append(message._replace(received_at=scribe.at(arrival)))
    return said


def panel(
    scribe: Scribe, rng: random.Random, rates: Rates, slot: Slot, *, after: bool, collected: float
) -> list[TimedMessage]:
    """Build a panel with all its messages: preliminary results, delays, corrections, withdrawals.

    Args:
        scribe: Builds the messages.
        rng: Source of the draws.
        rates: The scenario's figures.
        slot: The session to which the panel belongs.
        after: Whether the blood was drawn after the session.
        collected: When it was drawn, seconds from the unit's start.
    """
    said: list[TimedMessage] = []
    central = rng.uniform(35, 80) * MINUTE
    for analyte in POST_PANEL if after else PANEL:
        spread, calm = RANGES[analyte], analyte in rates.calm
        base = slot.person.levels[analyte] * rng.uniform(1 - spread.varies, 1 + spread.varies)
        if after:
            base *= spread.after if calm else spread.really_after * rng.uniform(1 - spread.moves, 1 + spread.moves)
        delay = rng.uniform(3, 8) * MINUTE if analyte in _BLOOD_GAS else central + rng.uniform(0, 3)
        said += _one(scribe, rng, rates, slot, analyte, base, collected, collected + delay, after)
    if not after and rng.random() < _ALUMINUM:
        # Aluminium takes days: today's report is about a specimen from an earlier session.
        drawn = collected - rng.uniform(3, 8) * DAY
        base = slot.person.levels[Analyte.ALUMINUM]
        said += _one(scribe, rng, rates, slot, Analyte.ALUMINUM, base, drawn, collected + central, after)
    return said


def _one(
    scribe: Scribe,
    rng: random.Random,
    rates: Rates,
    slot: Slot,
    analyte: Analyte,
    base: float,
    collected: float,
    reported: float,
    after: bool,
) -> list[TimedMessage]:
    """Build one result of a panel and its other versions."""
    laboratory = Laboratory(scribe, slot.person)
    result_id = f"{slot.session_id}-{'post' if after else 'pre'}-{analyte}"
    haemolysed = analyte is Analyte.POTASSIUM and rng.random() < rates.haemolysed
    other: dict[str, Any] = {"haemolysed": True, "flags": ["A"]} if haemolysed else {}
    when = {"collected": collected, "reported": reported}
    said = []
    if rng.random() < rates.preliminary:
        early = reported - rng.uniform(0.2, 0.5) * min(reported - collected, 20 * MINUTE)
        said.append(
            laboratory.result(
                analyte,
                base,
                result_id,
                collected=collected,
                reported=early,
                plant=False,
                status="preliminary",
                **other,
            )
        )
    if rng.random() >= rates.correction:
        return [*said, laboratory.result(analyte, base, result_id, plant=not haemolysed, **when, **other)]
    status = rng.choice(("corrected", "corrected", "cancelled", "entered_in_error"))
    new = base * (1 + RANGES[analyte].varies * rng.uniform(-6, 7.5)) if status == "corrected" else None
    later = {"collected": collected, "reported": reported + rng.uniform(10, 50) * MINUTE}
    ends = None if laboratory.breaks(analyte, new) else later["reported"]
    said.append(laboratory.result(analyte, base, result_id, plant=not haemolysed, ends=ends, **when, **other))
    said.append(laboratory.result(analyte, new, result_id, plant=False, status=status, **later))
    return said

"""The patient on each chair over time: a pure function of seed, number of patients and time.

A chair takes its next session five hours after the last began, and two patients take turns on it: the calendar of a
real unit, where a patient comes every other day, is compressed so that few patients keep all chairs busy. Chairs are
staggered evenly, so at any time some sessions begin, some end, and four chairs of five are occupied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor
from typing import Final

from streams.simulator.chance import stream
from streams.simulator.population import MINUTE, Person, Population

PATIENTS_PER_CHAIR: Final = 2
CHAIRS_PER_UNIT: Final = 24
LOOPS_PER_UNIT: Final = 2
#: From one session's start on a chair to the next one's, seconds.
CYCLE: Final = 300 * MINUTE
_JITTER: Final = 6 * MINUTE
#: Spreads the chairs over the cycle evenly, however many there are.
_GOLDEN: Final = 0.618033988749895


@dataclass(frozen=True, slots=True)
class Slot:
    """One session: planned from `start`, in seconds from the unit's start, on a chair.

    `rng_key` seeds its draws, so a session is the same whether or not earlier ones were generated.
    """

    chair: int
    number: int
    person: Person
    start: float
    end: float
    cancelled: bool
    rng_key: str

    @property
    def session_id(self) -> str:
        """Unique over the unit: chair and number; a negative number, from before the start, has a `b`."""
        return f"S{self.chair + 1:04d}-{'b' if self.number < 0 else ''}{abs(self.number)}"

    @property
    def machine_id(self) -> str:
        """The machine, which stays at its chair."""
        return f"M{self.chair + 1:04d}"

    @property
    def unit_id(self) -> str:
        """The unit, U1 and on, with 24 chairs each."""
        return f"U{self.chair // CHAIRS_PER_UNIT + 1}"

    @property
    def chair_name(self) -> str:
        """The chair's number in its unit, 01 to 24."""
        return f"{self.chair % CHAIRS_PER_UNIT + 1:02d}"

    @property
    def water_loop_id(self) -> str:
        """The reverse-osmosis loop, which half a unit shares."""
        half = self.chair % CHAIRS_PER_UNIT * LOOPS_PER_UNIT // CHAIRS_PER_UNIT
        return f"{self.unit_id}-loop-{'AB'[half]}"


class Timetable:
    """The sessions of all chairs."""

    def __init__(self, seed: int, patients: int, population: Population, cancelled: float) -> None:
        """Lay out the chairs.

        Args:
            seed: The unit's seed.
            patients: Number of patients, at least 1.
            population: The patients.
            cancelled: Chance that a session is cancelled.
        """
        if patients < 1:
            raise ValueError("A unit needs at least one patient")
        self.patients: Final = patients
        self.chairs: Final = (patients + PATIENTS_PER_CHAIR - 1) // PATIENTS_PER_CHAIR
        self._seed = seed
        self._population = population
        self._cancelled = cancelled

    def slot(self, chair: int, number: int) -> Slot:
        """Return a chair's session by number; 0 is the last one due before the unit's start, up to its jitter."""
        key = f"{self._seed}:slot:{chair}:{number}"
        rng = stream(key)
        first = chair * PATIENTS_PER_CHAIR
        person = self._population[first + number % min(PATIENTS_PER_CHAIR, self.patients - first)]
        start = self._phase(chair) + number * CYCLE + rng.uniform(-_JITTER, _JITTER)
        return Slot(
            chair,
            number,
            person,
            start,
            start + person.planned_minutes * MINUTE + rng.uniform(-2, 4) * MINUTE,
            rng.random() < self._cancelled,
            key,
        )

    def from_time(self, chair: int, offset: float) -> Iterator[Slot]:
        """Yield the sessions of a chair, from the first one that may still be running at `offset` on."""
        number = floor((offset - self._phase(chair)) / CYCLE) - 1
        while True:
            yield self.slot(chair, number)
            number += 1

    def running(self, chair: int, offset: float) -> Slot | None:
        """Return the session that is running on a chair at `offset`, if any."""
        around = floor((offset - self._phase(chair)) / CYCLE)
        for number in (around, around + 1):
            slot = self.slot(chair, number)
            if slot.start <= offset < slot.end and not slot.cancelled:
                return slot
        return None

    @staticmethod
    def _phase(chair: int) -> float:
        return -CYCLE * ((chair + 0.5) * _GOLDEN % 1.0)

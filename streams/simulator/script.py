"""The script of `dense`: the conditions planted from the unit's start on, a round a minute."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

from models.analytes import Analyte
from models.topics import CLINICAL_EVENTS, LAB_RESULTS
from streams.simulator.chance import stream
from streams.simulator.lab_panels import Laboratory
from streams.simulator.planned import Planted, Scribe, TimedMessage
from streams.simulator.population import DAY, MINUTE
from streams.simulator.timetable import CHAIRS_PER_UNIT, Slot, Timetable

#: A round begins every so many seconds.
ROUND: Final = 60.0
#: From a planted condition that does not end by itself to the result that ends it, seconds.
_REMEDY: Final = 4 * MINUTE
#: One machine is quiet between these times, seconds from the start; after three minutes it counts as silent.
QUIET: Final = (-90.0, 180.0)
_SILENT: Final = timedelta(minutes=3)
#: How long before its report a specimen was taken (a bedside analyser), seconds.
_FRESH: Final = 40.0
#: The least time that a chosen session has run and has left, seconds.
_MARGIN: Final = 3 * MINUTE
#: Patients are chosen from the first chairs only, so that a round of a large unit costs no more.
_CHAIRS: Final = 4 * CHAIRS_PER_UNIT

_Plant = Callable[[Slot, float, random.Random], list[TimedMessage]]


class Script:
    """Rounds of planted conditions; a round depends only on seed and number.

    The first round, in seconds from the start: 4 low magnesium, 9 severe low magnesium, 14 a jerk and 22 a speech
    disturbance (aluminium suspicion), 18 a cramp that has ended at 43, 28 an aluminium level, 33 a low magnesium that
    a correction at 52 raises, 38 a result in an unknown unit, 43 an order of too much vitamin E. Each later round has a
    low magnesium, a cramp and one of the others. 4 min later a normal magnesium follows a low one, a low aluminium
    follows a suspicion, and the order is cancelled. One machine says nothing from 90 s before the start to 180 s after
    it (`quiet_slot`).
    """

    def __init__(self, seed: int, scribe: Scribe, timetable: Timetable) -> None:
        self._seed = seed
        self._scribe = scribe
        self._timetable = timetable
        self._others: tuple[tuple[int, _Plant], ...] = (
            (2, self._suspicion),
            (2, self._severe_magnesium),
            (2, self._corrected_magnesium),
            (2, self._suspicion),
            (1, self._aluminum),
            (1, self._unknown_unit),
        )

    def round(self, number: int) -> Iterator[TimedMessage]:
        """Build the messages of a round, in order of arrival."""
        rng, start = stream(self._seed, "script", number), number * ROUND
        kinds = len(self._others)
        # Seconds, third of the chairs, position in it, condition.
        plan: list[tuple[float, int, int, _Plant]] = [
            (4.0, 0, 0, self._low_magnesium),
            (9.0, 2, 0, self._severe_magnesium),
            (14.0, 2, 1, self._suspicion),
            (18.0, 1, 0, self._cramp),
            (28.0, 1, 1, self._aluminum),
            (33.0, 2, 2, self._corrected_magnesium),
            (38.0, 1, 2, self._unknown_unit),
            (43.0, 0, 1, self._vitamin_e),
        ]
        if number:
            first, second, third = sorted(rng.uniform(2, 30) for _ in range(3))
            kind, plant = self._others[number % kinds]
            plan = [
                (first, 0, number, self._low_magnesium),
                (second, 1, number, self._cramp),
                (third, kind, number + number // kinds, plant),
            ]
        said: list[TimedMessage] = []
        running = self._running(start)
        for offset, kind, turn, plant in plan:
            slots = [slot for slot in running if slot.chair % 3 == kind] or running
            if slots:
                said += plant(slots[turn % len(slots)], start + offset, rng)
        said.sort(key=lambda message: message.received_at)
        return iter(said)

    def quiet_slot(self) -> Slot | None:
        """Return the session whose machine says nothing for a while: it runs at the start, on the last chair."""
        return max(self._running(0.0), key=lambda slot: slot.chair, default=None)

    def without_samples(self, slot: Slot, telemetry: Iterator[TimedMessage]) -> Iterator[TimedMessage]:
        """Leave out what a quiet machine does not say; the sample before its silence plants the alert."""
        begin, end = (self._scribe.at(offset) for offset in QUIET)
        last: TimedMessage | None = None
        for message in telemetry:
            if begin <= message.received_at < end:
                if last is not None:
                    at = last.received_at + _SILENT
                    yield last._replace(planted=Planted("machine_silent", slot.person.patient_id, at, end))
                    last = None
                continue
            if last is not None:
                yield last
            if message.received_at >= end:
                yield message
            else:
                last = message
        if last is not None:
            yield last

    def _running(self, now: float) -> list[Slot]:
        """Return the sessions that have run and will run for some minutes.

        Chairs are used in thirds: one for low magnesium, one for cramps, levels and units, one for the rest. So a
        patient is chosen again only when the last condition has been remedied, and no two conditions mix.
        """
        found = []
        for chair in range(min(self._timetable.chairs, _CHAIRS)):
            slot = self._timetable.running(chair, now)
            if slot and slot.start + _MARGIN < now < slot.end - _MARGIN:
                found.append(slot)
        return found

    def _magnesium(self, slot: Slot, base: float, name: str, at: float, **other: Any) -> TimedMessage:
        result_id = f"{slot.session_id}-{name}"
        # So fresh that no specimen from the patient's last round is newer.
        return Laboratory(self._scribe, slot.person).result(
            Analyte.MAGNESIUM, base, result_id, collected=at - _FRESH, reported=at, **other
        )

    def _remedied(self, slot: Slot, base: float, at: float) -> list[TimedMessage]:
        end = at + _REMEDY
        return [
            self._magnesium(slot, base, f"mg-low-{round(at)}", at, ends=end),
            self._magnesium(slot, 2.1, f"mg-normal-{round(at)}", end),
        ]

    def _low_magnesium(self, slot: Slot, at: float, rng: random.Random) -> list[TimedMessage]:
        return self._remedied(slot, rng.uniform(1.3, 1.55), at)

    def _severe_magnesium(self, slot: Slot, at: float, rng: random.Random) -> list[TimedMessage]:
        return self._remedied(slot, rng.uniform(0.75, 0.88), at)

    def _corrected_magnesium(self, slot: Slot, at: float, rng: random.Random) -> list[TimedMessage]:
        name, low = f"mg-low-corrected-{round(at)}", rng.uniform(1.4, 1.55)
        end = at + 19
        first = self._magnesium(slot, low, name, at, ends=end)
        # The same specimen: same time of collection, reported again.
        again = Laboratory(self._scribe, slot.person).result(
            Analyte.MAGNESIUM,
            2.0,
            f"{slot.session_id}-{name}",
            collected=at - _FRESH,
            reported=end,
            status="corrected",
        )
        return [first, again]

    def _aluminum(self, slot: Slot, at: float, rng: random.Random) -> list[TimedMessage]:
        return [self._level(slot, rng.uniform(64, 140), at - DAY, at)]

    def _level(self, slot: Slot, base: float, collected: float, at: float) -> TimedMessage:
        return Laboratory(self._scribe, slot.person).result(
            Analyte.ALUMINUM, base, f"{slot.session_id}-al-{round(at)}", collected=collected, reported=at
        )

    def _vitamin_e(self, slot: Slot, at: float, _rng: random.Random) -> list[TimedMessage]:
        end, patient_id = at + _REMEDY, slot.person.patient_id
        fields = {"order_id": f"{slot.session_id}-vitamin-e", "drug": "vitamin E", "route": "oral"}
        dose = {"dose_iu": 800.0, "doses_per_day": 1.0}
        planted = Planted("vitamin_e_dose", patient_id, self._scribe.at(at), self._scribe.at(end))
        return [
            self._scribe.event(
                CLINICAL_EVENTS,
                "medication",
                patient_id,
                at,
                fields={**fields, **dose, "action": "ordered"},
                planted=planted,
            ),
            self._scribe.event(
                CLINICAL_EVENTS, "medication", patient_id, end, fields={**fields, "action": "cancelled"}
            ),
        ]

    def _unknown_unit(self, slot: Slot, at: float, rng: random.Random) -> list[TimedMessage]:
        result_id = f"{slot.session_id}-unit-{round(at)}"
        fields = {
            "result_id": result_id,
            "analyte": Analyte.MAGNESIUM,
            "value": round(rng.uniform(18, 24), 1),
            "unit": "mg/L",
            "source": slot.person.laboratory.name,
        }
        collected = at - _FRESH
        patient_id = slot.person.patient_id
        planted = Planted("data_quality", patient_id, self._scribe.at(collected), ids=(result_id,))
        return [
            self._scribe.event(
                LAB_RESULTS,
                "lab_result",
                patient_id,
                collected,
                delay=at - collected,
                fields=fields,
                planted=planted,
            )
        ]

    def _symptom(
        self,
        slot: Slot,
        kind: str,
        at: float,
        arrives: float,
        planted: Planted | None = None,
        ended: float | None = None,
    ) -> TimedMessage:
        fields = {
            "symptom_id": f"{slot.session_id}-{kind}-{round(at)}",
            "kind": kind,
            "ended_at": None if ended is None else self._scribe.at(ended),
            "unit_id": slot.unit_id,
        }
        return self._scribe.event(
            CLINICAL_EVENTS,
            "symptom",
            slot.person.patient_id,
            at,
            delay=arrives - at,
            fields=fields,
            planted=planted,
        )

    def _cramp(self, slot: Slot, at: float, rng: random.Random) -> list[TimedMessage]:
        end = at + rng.uniform(20, 24.5)
        symptom_id = f"{slot.session_id}-cramp-{round(at)}"
        onset = self._scribe.at(at)
        planted = Planted("intradialytic_cramp", slot.person.patient_id, onset, self._scribe.at(end), (symptom_id,))
        return [
            self._symptom(slot, "cramp", at, at + 0.5, planted),
            self._symptom(slot, "cramp", at, end + 0.5, ended=end),
        ]

    def _suspicion(self, slot: Slot, at: float, _rng: random.Random) -> list[TimedMessage]:
        second, end = at + 8, at + _REMEDY
        ids = (
            f"{slot.session_id}-jerk-{round(at)}",
            f"{slot.session_id}-speech_disturbance-{round(second)}",
        )
        planted = Planted(
            "aluminum_suspicion", slot.person.patient_id, self._scribe.at(second), self._scribe.at(end), ids
        )
        return [
            self._symptom(slot, "jerk", at, at + 0.5),
            self._symptom(slot, "speech_disturbance", second, second + 0.5, planted),
            self._level(slot, 6.0, at + MINUTE, end),
        ]

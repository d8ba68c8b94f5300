"""All messages of a session but telemetry: schedule, weights, start, end, alarms, symptoms, drugs, labs, rhythm."""

import random
from typing import Any, Final

from models.topics import CLINICAL_EVENTS, MACHINE_EVENTS
from streams.simulator.chance import stream
from streams.simulator.course import Alarm, Course
from streams.simulator.lab_panels import panel
from streams.simulator.planned import Planted, Scribe, TimedMessage
from streams.simulator.population import HOUR, MINUTE
from streams.simulator.rates import Rates
from streams.simulator.timetable import Slot

#: A session is announced this long before its start; no message about it is earlier.
ANNOUNCED: Final = 3 * HOUR
#: No message about a session is later than this after its end, except late ones.
LAST_WORD: Final = 5 * HOUR
#: A planned rate above this raises `uf_rate_high`, mL/kg/h (contract, Rulings).
_PLANNED_UF_LIMIT: Final = 13.0
#: Midodrine belongs at least so long before a session (clinical.md R55).
_MIDODRINE_BY: Final = 15 * MINUTE


def session(scribe: Scribe, slot: Slot, course: Course, rates: Rates) -> list[TimedMessage]:
    """Build the messages of a session without its telemetry, in order of arrival."""
    writer = _Writer(scribe, slot, course, rates)
    if slot.cancelled:
        said = writer.cancelled()
    else:
        said = [
            *writer.frame(),
            *writer.labs(),
            *writer.drugs(),
            *writer.alarms(),
            *writer.symptoms(),
            *writer.rhythm(),
        ]
    said.sort(key=lambda message: message.received_at)
    return said


class _Writer:
    """Builds the messages of one session; each part draws from its own stream."""

    def __init__(self, scribe: Scribe, slot: Slot, course: Course, rates: Rates) -> None:
        self._scribe = scribe
        self._slot = slot
        self._course = course
        self._rates = rates

    def _rng(self, part: str) -> random.Random:
        return stream(self._slot.rng_key, part)

    def _event(
        self, topic: str, event_type: str, at: float, delay: float, planted: Planted | None = None, **fields: Any
    ) -> TimedMessage:
        fields["unit_id"] = self._slot.unit_id
        person = self._slot.person
        return self._scribe.event(topic, event_type, person.patient_id, at, delay=delay, fields=fields, planted=planted)

    def _clinical(self, event_type: str, at: float, delay: float, **fields: Any) -> TimedMessage:
        return self._event(CLINICAL_EVENTS, event_type, at, delay, **fields)

    def _planted(self, rule: str, at: float, ends: float | None, *ids: str) -> Planted:
        until = None if ends is None else self._scribe.at(ends)
        return Planted(rule, self._slot.person.patient_id, self._scribe.at(at), until, ids)

    def _schedule(self, at: float, status: str) -> TimedMessage:
        slot = self._slot
        planned = self._scribe.at(round(slot.start / MINUTE) * MINUTE)
        fields = {"session_id": slot.session_id, "planned_start": planned, "status": status}
        return self._clinical("schedule", at, 1.0, **fields)

    def cancelled(self) -> list[TimedMessage]:
        """Build the messages of a session that was planned and did not take place."""
        start = self._slot.start
        return [self._schedule(start - ANNOUNCED, "planned"), self._schedule(start - HOUR, "cancelled")]

    def frame(self) -> list[TimedMessage]:
        """Build schedule, weighings, start and end."""
        slot, course, rng = self._slot, self._course, self._rng("frame")
        planned_rate = course.uf_goal_ml / slot.person.target_weight_kg / slot.person.planned_minutes * 60
        planted = None
        if planned_rate > _PLANNED_UF_LIMIT:
            planted = self._planted("uf_rate_high", slot.start, slot.end, slot.session_id)
        profile = [{"minute": minute, "na_mmol_l": value} for minute, value in course.sodium_profile]
        started = self._event(
            MACHINE_EVENTS,
            "session_started",
            slot.start,
            0.5,
            planted,
            session_id=slot.session_id,
            machine_id=slot.machine_id,
            chair=slot.chair_name,
            water_loop_id=slot.water_loop_id,
            modality=course.modality,
            pre_weight_kg=course.pre_weight_kg,
            target_weight_kg=slot.person.target_weight_kg,
            planned_minutes=slot.person.planned_minutes,
            uf_goal_ml=course.uf_goal_ml,
            pre_systolic_mmhg=course.systolic_mmhg,
            sodium_profile=profile or None,
        )
        post = course.post_weight_kg
        ended = self._event(
            MACHINE_EVENTS, "session_ended", slot.end, 0.5, session_id=slot.session_id, post_weight_kg=post
        )
        before, after = slot.start - rng.uniform(6, 14) * MINUTE, slot.end + rng.uniform(4, 9) * MINUTE
        return [
            self._schedule(slot.start - ANNOUNCED, "planned"),
            self._clinical("weight", before, rng.uniform(1, 60), kg=course.pre_weight_kg, moment="pre"),
            started,
            ended,
            self._clinical("weight", after, rng.uniform(1, 60), kg=post, moment="post"),
        ]

    def labs(self) -> list[TimedMessage]:
        """Build the panels before and after."""
        slot, rates, rng = self._slot, self._rates, self._rng("labs")
        said = []
        if rng.random() < rates.pre_labs:
            collected = slot.start - rng.uniform(3, 6) * MINUTE
            said += panel(self._scribe, rng, rates, slot, after=False, collected=collected)
        if rng.random() < (rates.watched_labs if slot.person.is_watched else rates.post_labs):
            collected = slot.end + rng.uniform(5, 40) * MINUTE
            said += panel(self._scribe, rng, rates, slot, after=True, collected=collected)
        return said

    def drugs(self) -> list[TimedMessage]:
        """Build the drugs: epoetin at the end of many sessions, midodrine before sessions of patients who have it."""
        slot, rng = self._slot, self._rng("drugs")
        said = []
        if rng.random() < 0.4:
            order_id = f"{slot.session_id}-epoetin"
            fields: dict[str, Any] = {"order_id": order_id, "drug": "epoetin alfa", "route": "iv", "dose_iu": 4000.0}
            said.append(self._clinical("medication", slot.end - 600, 20, action="administered", **fields))
        if slot.person.drug == "midodrine":
            order_id = f"{slot.person.patient_id}-midodrine"
            fields = {"order_id": order_id, "drug": "midodrine", "route": "oral", "dose_mg": 5.0}
            before = rng.choice((30, 30, 30, 5)) * MINUTE
            late = before < _MIDODRINE_BY
            planted = self._planted("midodrine_timing", slot.start - _MIDODRINE_BY, slot.end, slot.session_id)
            at, fields["action"] = slot.start - before, "administered"
            said.append(self._clinical("medication", at, 20, planted=planted if late else None, **fields))
        return said

    def alarms(self) -> list[TimedMessage]:
        """Build the machine alarms, each with its start and its end."""
        return [message for alarm in self._course.alarms for message in self._alarm(alarm)]

    def _alarm(self, alarm: Alarm) -> list[TimedMessage]:
        slot = self._slot
        start, end = slot.start + alarm.start, slot.start + alarm.end
        fields: dict[str, Any] = {
            "session_id": slot.session_id,
            "machine_id": slot.machine_id,
            "code": alarm.code,
            "priority": alarm.priority,
            "text": alarm.text,
        }
        planted = self._planted("machine_alarm", start, end, slot.session_id, alarm.code)
        return [
            self._event(MACHINE_EVENTS, "machine_alarm", start, 0.4, planted, phase="start", **fields),
            self._event(MACHINE_EVENTS, "machine_alarm", end, 0.4, phase="end", **fields),
        ]

    def symptoms(self) -> list[TimedMessage]:
        """Build symptoms: a cramp late in the session, minor ones, jerks; a few are entered in error."""
        slot, rates, rng = self._slot, self._rates, self._rng("symptoms")
        length, said = slot.end - slot.start, []
        if rng.random() < rates.cramp:
            at, lasts = slot.start + rng.uniform(0.6, 0.92) * length, rng.uniform(3, 11) * MINUTE
            said += self._symptom("cramp", at, lasts, rng, "intradialytic_cramp", score=rng.randint(3, 9))
        if rng.random() < rates.minor_symptom:
            kind = rng.choice(("nausea", "nausea", "dizziness", "weakness", "shivering"))
            at = slot.start + rng.uniform(0.3, 0.9) * length
            said += self._symptom(kind, at, rng.uniform(5, 30) * MINUTE, rng, score=rng.randint(1, 6))
        if self._course.dip and rng.random() < 0.4:
            at = slot.start + self._course.dip[0] + 40
            said += self._symptom("dizziness", at, 6 * MINUTE, rng, score=rng.randint(2, 6))
        if rng.random() < rates.jerk:
            # Any jerk in the hours after a session is a suspicion (R20): most come during it.
            worse, late = rng.random() < 0.3, rng.uniform(0.2, 0.9)
            at = slot.end + 2 * late * HOUR if worse else slot.start + late * length
            rule = "aluminum_suspicion" if worse else None
            kind = rng.choice(("jerk", "twitch"))
            said += self._symptom(kind, at, 20 * MINUTE, rng, rule, worse_after_dialysis=worse or None)
        return said

    def _symptom(
        self, kind: str, at: float, lasts: float, rng: random.Random, rule: str | None = None, **fields: Any
    ) -> list[TimedMessage]:
        """Build a symptom and its end under the same id; one in thirty is entered in error instead."""
        symptom_id = f"{self._slot.session_id}-{kind}-{round(at - self._slot.start)}"
        fields |= {"symptom_id": symptom_id, "kind": kind}
        noticed, end = rng.uniform(2, 40), at + lasts
        erroneous = rng.random() < 1 / 30
        # New evidence does not clear a suspicion: only the removal of its ground does.
        ends = end if erroneous or rule == "intradialytic_cramp" else None
        planted = self._planted(rule, at, ends, symptom_id) if rule else None
        said = [self._event(CLINICAL_EVENTS, "symptom", at, noticed, planted, **fields)]
        if erroneous:
            return [*said, self._clinical("symptom", at, lasts, status="entered_in_error", **fields)]
        ended_at = self._scribe.at(end)
        return [*said, self._clinical("symptom", at, lasts + rng.uniform(1, 20), ended_at=ended_at, **fields)]

    def rhythm(self) -> list[TimedMessage]:
        """Build an occasional electrocardiogram: mostly a QTc, rarely a finding."""
        slot, rng = self._slot, self._rng("rhythm")
        if rng.random() >= self._rates.rhythm:
            return []
        at = slot.start + rng.uniform(0.2, 0.95) * (slot.end - slot.start)
        if rng.random() < 0.1:
            return [self._clinical("rhythm", at, 5, kind=rng.choice(("pvc_frequent", "af")))]
        qtc = round(min(max(rng.gauss(446, 24), 380), 540))
        return [self._clinical("rhythm", at, 60, kind="qtc", qtc_ms=qtc)]

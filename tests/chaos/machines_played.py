"""What is played of machines: a temperature that stays wrong, a pressure that falls, silence, alarms, contradictions.

Each treatment lies within the run, where it is shorter as far as it gets; what is planted happens in its first minutes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.chaos.logs import CLINICAL_EVENTS, LAB_RESULTS, MACHINE_EVENTS, Plant, Sent
from tests.chaos.machines_judged import ALARM, SILENT, TEMPERATURE
from tests.chaos.machines_said import alarm_id
from tests.chaos.magnesium_judged import LOW_MAGNESIUM, QTC
from tests.chaos.pressure_judged import HYPOTENSION
from tests.chaos.treatments_played import sent
from tests.events import event

_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
#: The longest treatment that is played here.
_LONGEST: Final = 30 * _MINUTE
#: So many times: each kind of what is played comes to each partition.
_KINDS: Final = 4


class _Chair:
    """A treatment of a patient, and its messages in the order in which they are told."""

    def __init__(self, rng: random.Random, number: int, name: str, start: datetime, end: datetime) -> None:
        self.name, self.session = name, f"{name}-s0"
        self.kind = (number + number // _KINDS) % _KINDS
        length = min(end - start, _LONGEST)
        self.begun = start + (end - start - length) * rng.random() + rng.uniform(1, 10) * _SECOND
        self.until = self.begun + length - 12 * _SECOND
        self.played: list[Sent] = []

    def tell(
        self, what: str, after: timedelta, *rules: str, at: datetime | None = None, **fields: Any
    ) -> datetime | None:
        """Tell of something so long after the beginning, with the rules that must tell of this session; or nothing."""
        stamp = self.begun + after
        if stamp >= self.until:
            return None
        plants = [Plant(rule, self.name, frozenset({self.session})) for rule in rules]
        of_machine = what in {"session_started", "session_ended", "telemetry", "machine_alarm"}
        if of_machine:
            fields["session_id"] = self.session
        if of_machine and what != "session_ended":
            fields["machine_id"] = f"M-{self.name}"
        if what == "session_ended":  # at its own moment a treatment still runs
            at = stamp - _SECOND / 2
        topic = MACHINE_EVENTS if of_machine else CLINICAL_EVENTS
        self.played.append(sent(topic, what, self.name, stamp, at, *plants, **fields))
        return stamp

    def end(self) -> None:
        """End the treatment with what is played of it."""
        self.tell("session_ended", self.until - self.begun - _SECOND)


def temperatures(rng: random.Random, names: list[str], start: datetime, end: datetime) -> Iterator[Sent]:
    """Dialysate too warm, too hot, too cold and not as set: first for too short a time, then for long enough."""
    for number, name in enumerate(names):
        chair = _Chair(rng, number, name, start, end)
        wrong = (38.4, 41.8, 33.2, 37.3)[chair.kind]
        setting: dict[str, Any] = {} if chair.kind == 2 else {"dialysate_temp_setting_c": 36.5}
        is_long = chair.until - chair.begun > 20 * _MINUTE
        begins = (rng.uniform(3.5, 9) if is_long else 3.5) * _MINUTE
        lasts = rng.uniform(5.5, 8) * _MINUTE
        chair.tell("session_started", timedelta(0))
        planted = False
        for index in range(1, int(_LONGEST / (40 * _SECOND))):
            after = index * 40 * _SECOND
            # What is too hot for a minute is told of at once: its first time would be another alert.
            is_wrong = begins <= after < begins + lasts or (chair.kind != 1 and 1 <= index <= 2)
            rules = (TEMPERATURE,) if after >= begins and not planted else ()
            planted = planted or after >= begins
            value = wrong if is_wrong else 36.5
            chair.tell("telemetry", after, *rules, dialysate_temp_c=value, blood_flow_ml_min=300, **setting)
        if number % 2 and is_long:
            chair.end()
        yield from chair.played


#: Minutes since the beginning and systolic pressures; which of them must be told, by its place. Low, and over after
#: ten minutes; very low, and over with the second reading; one that fell with a symptom; only a fall.
_PRESSURES: Final = (
    (((1, 124), (4, 86), (7, 112), (13, 118), (18, 120)), 1),
    (((1, 120), (4, 76), (8, 84), (10, 110), (21, 115)), 1),
    (((1, 148), (4, 126), (12, 140), (15, 142)), None),
    (((1, 148), (4, 126), (12, 140), (15, 142)), None),
)


def pressures(rng: random.Random, names: list[str], start: datetime, end: datetime) -> Iterator[Sent]:
    """Pressures that are low, or fell; with a symptom, and without one, which is no alert."""
    for number, name in enumerate(names):
        chair = _Chair(rng, number, name, start, end)
        readings, planted = _PRESSURES[chair.kind]
        chair.tell("session_started", timedelta(0), pre_systolic_mmhg=150 if planted is None else 125)
        for minute in range(1, 29):
            chair.tell("telemetry", minute * _MINUTE - 20 * _SECOND, blood_flow_ml_min=300)
        for place, (minute, systolic) in enumerate(readings):
            rules = (HYPOTENSION,) if place == planted else ()
            chair.tell("telemetry", minute * _MINUTE, *rules, systolic_mmhg=systolic)
        if chair.kind == 2:
            symptom = {"symptom_id": f"{name}-dizzy", "kind": "dizziness"}
            chair.tell("symptom", 5 * _MINUTE, HYPOTENSION, at=chair.begun + 4.5 * _MINUTE, **symptom)
        if number % 2:
            chair.end()
        yield from chair.played


def silences(rng: random.Random, names: list[str], start: datetime, end: datetime) -> Iterator[Sent]:
    """Machines of which nothing comes any more; every other one speaks again, as long as the run lasts."""
    for number, name in enumerate(names):
        chair = _Chair(rng, number, name, start, end)
        chair.tell("session_started", timedelta(0))
        last = rng.randint(3, 9)
        for index in range(1, last + 1):
            chair.tell("telemetry", index * 30 * _SECOND, *([SILENT] if index == last else []), blood_flow_ml_min=300)
        if number % 2 and chair.tell("telemetry", last * 30 * _SECOND + 12 * _MINUTE, blood_flow_ml_min=300):
            chair.end()
        yield from chair.played


def machine_alarms(rng: random.Random, names: list[str], start: datetime, end: datetime) -> Iterator[Sent]:
    """A blood leak by number and by name, an alarm that comes and goes, one that latched, and one that is repeated."""
    for number, name in enumerate(names):
        chair = _Chair(rng, number, name, start, end)
        chair.tell("session_started", timedelta(0))
        first = rng.uniform(0.2, 1) * _MINUTE
        play: Callable[[_Chair, timedelta], None] = (_leak, _flood, _latched, _repeated)[chair.kind]
        play(chair, first)
        yield from chair.played


def _alarm(chair: _Chair, after: timedelta, phase: str, code: str, *, planted: bool = False, **fields: Any) -> None:
    at = chair.begun + after
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    body = {"code": code, "phase": phase, **fields}
    told = chair.tell("machine_alarm", after + _SECOND / 2, at=at, **body)
    if planted and told is not None:
        name = alarm_id(event("machine_alarm", chair.name, at, session_id=chair.session, **body))
        message = chair.played.pop()
        plants = (Plant(ALARM, chair.name, frozenset({name})),)
        chair.played.append(Sent(message.topic, message.key, message.value, message.stamp, plants))


def _leak(chair: _Chair, first: timedelta) -> None:
    """High whatever the machine sends; the number and the name are one alarm."""
    for code, after in (("198244", first), ("MDC_EVT_HDIALY_BLOOD_LEAK", first + 2 * _MINUTE)):
        _alarm(chair, after, "start", code, planted=True, priority="low")
        _alarm(chair, after + 70 * _SECOND, "end", code, priority="low")


def _flood(chair: _Chair, first: timedelta) -> None:
    """From its third start on it is one alert, which shows the message that began all of it."""
    for number in range(5):
        after = first + number * 40 * _SECOND
        _alarm(chair, after, "start", "198238", planted=number < 2, priority="low")
        _alarm(chair, after + 15 * _SECOND, "end", "198238", priority="low")


def _latched(chair: _Chair, first: timedelta) -> None:
    _alarm(chair, first, "start", "198256", planted=True, priority="medium", latched=True)
    _alarm(chair, first + _MINUTE, "end", "198256", priority="medium", latched=True)
    chair.tell("session_ended", first + 12 * _MINUTE)


def _repeated(chair: _Chair, first: timedelta) -> None:
    """Without an end it expires with the treatment."""
    _alarm(chair, first, "start", "198260", planted=True, priority="high")
    for number in range(1, 6):
        _alarm(chair, first + number * 20 * _SECOND, "continue", "198260", priority="high")
    chair.tell("session_ended", first + 8 * _MINUTE)


def qtcs(rng: random.Random, names: list[str], start: datetime, end: datetime) -> Iterator[Sent]:
    """QTc that are long, in women from a higher bound on; a very long one beside a low magnesium."""
    for number, name in enumerate(names):
        stamp = start + (end - start) * rng.uniform(0.05, 0.3)
        later = stamp + (end - stamp) * rng.uniform(0.3, 0.8)
        yield sent(
            CLINICAL_EVENTS, "patient_profile", name, start + _SECOND, None, sex="female" if number % 2 else "male"
        )
        if number % _KINDS == 1:
            yield _rhythm(name, stamp - _SECOND * 5, 455)
        yield _rhythm(name, stamp, 520 if number % _KINDS == 2 else 470, is_long=True)
        if number % _KINDS != 2:
            yield _rhythm(name, later, 440)
            continue
        for result, value, when in (("low", 1.4, later), ("normal", 2.0, later + (end - later) / 2)):
            plants = [Plant(LOW_MAGNESIUM, name, frozenset({f"{name}-low"}))] if result == "low" else []
            fields = {"result_id": f"{name}-{result}", "analyte": "magnesium", "value": value, "unit": "mg/dL"}
            yield sent(LAB_RESULTS, "lab_result", name, when, None, *plants, **fields)


def _rhythm(name: str, stamp: datetime, qtc: int, *, is_long: bool = False) -> Sent:
    at = datetime.fromtimestamp(round(stamp.timestamp() * 1000) / 1000, UTC)
    plants = [Plant(QTC, name, frozenset({at.isoformat()}))] if is_long else []
    return sent(CLINICAL_EVENTS, "rhythm", name, stamp, at, *plants, kind="qtc", qtc_ms=qtc)


def contradicted(rng: random.Random, names: list[str], start: datetime, end: datetime) -> Iterator[Sent]:
    """Sessions that are started again after their end, and symptoms that ended before they began."""
    for number, name in enumerate(names):
        chair = _Chair(rng, number, name, start, end)
        first = rng.uniform(0.5, 2) * _MINUTE
        chair.tell("session_started", timedelta(0))
        chair.tell("session_ended", first)
        chair.tell("session_started", first + _MINUTE, "data_quality")
        if number % 2:
            chair.tell("session_ended", first + 2 * _MINUTE)
        yield from chair.played
        symptom = {"symptom_id": f"{name}-nausea", "kind": "nausea"}
        at = chair.begun + first
        ended = (at - 60 * _MINUTE).isoformat()
        plant = Plant("data_quality", name, frozenset({symptom["symptom_id"]}))
        yield sent(CLINICAL_EVENTS, "symptom", name, at + _SECOND, at, plant, ended_at=ended, **symptom)
        if number % _KINDS == 1:
            later = at + _MINUTE
            yield sent(CLINICAL_EVENTS, "symptom", name, later, at, status="entered_in_error", **symptom)

"""Two busy days of a unit, seeded, and what must be told of them: the pure engine over the same records."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from models.alerts import alert_id
from models.parsing import Rejected, parse_patient_event
from models.state import AlertState, PatientState
from models.topics import PATIENT_TOPICS
from streams.engine.factory import patient_partition
from streams.engine.partition import Partition
from streams.rules.catalogue import RuleSettings, parse_settings
from tests.integration.alert_records import differences, headers_of, repeats_are_identical
from tests.integration.messages import Message, event, lab, response, session_started, symptom, telemetry
from tests.integration.unit_under_test import SILENT, UnitUnderTest
from tests.integration.worker_process import WorkerProcess

RETENTION = timedelta(minutes=15)
#: After the last record nothing may come due for as long as a test can take.
QUIET = timedelta(minutes=20)
OPEN: Final = ("active", "acknowledged", "snoozed")
QUIET_RULES: dict[str, Any] = {"responses": {"high": [], "medium": [], "accept_risk": "a test that answers nothing"}}


def busy_unit(bootstrap: str, **more: Any) -> UnitUnderTest:
    """A unit whose past waits for a worker."""
    return UnitUnderTest(bootstrap, own_time=True, rules=SILENT, **more)


@dataclass(frozen=True)
class Busy:
    """Messages, and what must be told of them when all of them wait together."""

    messages: list[Message]
    expected: Expected


def busy_days(unit: UnitUnderTest, count: int, *, seed: int = 1, patients: int = 60) -> Busy:
    """About `count` messages in the order of their stamps, which end two days ago: mostly telemetry.

    A rule may wait for a day for what is missing: the last sample, after which nothing is due, must lie in the past.

    In between results low and normal, corrected and cancelled, cramps ended and forgotten, jerks, aluminium,
    people's answers, and garbage. Nothing comes due within `QUIET` after the last one.
    """
    chance = random.Random(seed)
    names = unit.subjects(patients)
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    begin = end - timedelta(days=2)
    moments = sorted(begin + (end - begin) * chance.random() for _ in range(count))
    course = _Course(chance)
    messages = [course.happens(chance.choice(names), moment.replace(microsecond=0)) for moment in moments]
    evaluation = Evaluation()
    evaluation.take(Record.of(message, unit.place(message.key or b"")) for message in messages)
    moment = evaluation.until_quiet(end + timedelta(hours=1))
    assert moment < datetime.now(UTC), "something is always due until now: let the messages end earlier"
    closing = [telemetry(name, f"closing-{name}", moment) for name in unit.subjects(unit.partitions, "closing")]
    evaluation.take(Record.of(message, unit.place(message.key or b"")) for message in closing)
    return Busy(messages + closing, evaluation.result)


class _Course:
    """What happens to patients, one event at a time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._number = 0
        self._sessions: dict[str, str] = {}
        self._results: dict[str, list[tuple[str, datetime]]] = {}
        self._cramps: dict[str, list[tuple[str, datetime]]] = {}

    def happens(self, patient: str, at: datetime) -> Message:
        """The next event of a patient."""
        self._number += 1
        kinds: list[tuple[Callable[[str, datetime], Message], int]] = [
            (self._sample, 950),
            (self._session, 8),
            (self._session_end, 4),
            (self._magnesium, 10),
            (self._correction, 4),
            (self._aluminium, 2),
            (self._cramp, 6),
            (self._cramp_end, 5),
            (self._other_symptom, 3),
            (self._answer, 4),
            (self._garbage, 4),
        ]
        functions, weights = zip(*kinds, strict=True)
        function: Callable[[str, datetime], Message] = self._chance.choices(functions, weights)[0]
        return function(patient, at)

    def _name(self, prefix: str) -> str:
        return f"{prefix}{self._number}"

    def _sample(self, patient: str, at: datetime) -> Message:
        session = self._sessions.get(patient, f"early-{patient}")
        values = {"systolic_mmhg": self._chance.randrange(90, 180) * 1.0, "uf_rate_ml_h": 600.0}
        return telemetry(patient, session, at, **values)

    def _session(self, patient: str, at: datetime) -> Message:
        self._sessions[patient] = self._name("s")
        return session_started(patient, self._sessions[patient], at, chair=str(self._number % 12), water_loop_id="loop")

    def _session_end(self, patient: str, at: datetime) -> Message:
        session = self._sessions.get(patient, f"early-{patient}")
        return event("machine-events", "session_ended", patient, at, session_id=session)

    def _magnesium(self, patient: str, at: datetime) -> Message:
        self._results.setdefault(patient, []).append((self._name("r"), at))
        value = self._chance.choice([0.8, 1.4, 1.5, 1.6, 2.0, 2.1, 2.2])
        return lab(patient, value, at, result_id=self._name("r"))

    def _correction(self, patient: str, at: datetime) -> Message:
        known = self._results.get(patient)
        if not known:
            return self._magnesium(patient, at)
        name, collected = self._chance.choice(known)
        status = self._chance.choice(["corrected", "cancelled", "entered_in_error"])
        value = self._chance.choice([1.2, 2.0]) if status == "corrected" else None
        changed: dict[str, Any] = {"reported_at": at.isoformat(), "status": status}
        return lab(patient, value, at, tells=collected, result_id=name, **changed)

    def _aluminium(self, patient: str, at: datetime) -> Message:
        value = self._chance.choice([5, 15, 30, 80, 200, 500])
        return lab(patient, value, at, result_id=self._name("r"), analyte="aluminum", unit="ug/L")

    def _cramp(self, patient: str, at: datetime) -> Message:
        self._cramps.setdefault(patient, []).append((self._name("c"), at))
        return symptom(patient, "cramp", self._name("c"), at, score=self._chance.randrange(1, 11))

    def _cramp_end(self, patient: str, at: datetime) -> Message:
        known = self._cramps.get(patient)
        if not known:
            return self._cramp(patient, at)
        name, began = known.pop()
        return symptom(patient, "cramp", name, at, tells=began, ended_at=at.isoformat())

    def _other_symptom(self, patient: str, at: datetime) -> Message:
        kind = self._chance.choice(["jerk", "myoclonus", "speech_disturbance", "seizure", "nausea"])
        return symptom(patient, kind, self._name("y"), at)

    def _answer(self, patient: str, at: datetime) -> Message:
        known = self._results.get(patient, [("none", at)])
        alert = alert_id("low_magnesium", patient, f"lab_result:{self._chance.choice(known)[0]}")
        return response(patient, alert, self._chance.choice(["acknowledge", "resolve"]), at)

    def _garbage(self, patient: str, at: datetime) -> Message:
        good = self._sample(patient, at)
        value = self._chance.choice([b"", b"{", b"\xff\xfe", (good.value or b"")[:-1], b'{"type": "heartbeat"}'])
        return replace(good, value=value)


# -- what must be told of it -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """A record of a patient topic, named as in the contract."""

    topic: str
    partition: int
    offset: int
    stamp: int
    key: bytes | None
    value: bytes | None

    @classmethod
    def of(cls, message: Message, partition: int) -> Record:
        """A message that was not sent yet; its place in the order is that of its topic."""
        return cls(message.topic, partition, 0, message.stamp or 0, message.key, message.value)


async def read_back(unit: UnitUnderTest) -> list[Record]:
    """What lies on the patient topics, as the worker finds it."""
    prefix = unit.settings.topic_prefix
    return [
        Record(
            record.topic.removeprefix(prefix),
            record.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
        )
        for record in await unit.read(*PATIENT_TOPICS)
    ]


#: Topic, key and value of every transition, by (alert_id, revision).
Told = dict[tuple[str, int], tuple[str, bytes, bytes]]


@dataclass(frozen=True)
class Expected:
    """What must be told, and the partitions as they are at the end."""

    told: Told
    partitions: dict[int, Partition[PatientState]]
    garbage: int

    @property
    def open(self) -> list[tuple[PatientState, AlertState]]:
        """The alerts that are open at the end."""
        return [
            (state, alert)
            for partition in self.partitions.values()
            for state in partition.states.values()
            for alert in state.alerts.values()
            if alert.over_at is None
        ]


def evaluated(records: Iterable[Record], settings: RuleSettings | None = None) -> Expected:
    """What must be told of records that wait together."""
    evaluation = Evaluation(settings)
    evaluation.take(records)
    return evaluation.result


class Evaluation:
    """The engine over the records of each partition, in the order of record timestamp, topic and offset."""

    def __init__(self, settings: RuleSettings | None = None) -> None:
        self._settings = settings or parse_settings(QUIET_RULES)
        self._partitions: dict[int, Partition[PatientState]] = {}
        self._told: Told = {}
        self._garbage = 0

    @property
    def result(self) -> Expected:
        """What must be told of all that was taken."""
        return Expected(self._told, self._partitions, self._garbage)

    def take(self, records: Iterable[Record]) -> None:
        """Evaluate records, none of which comes before what was taken."""
        order = {topic: number for number, topic in enumerate(PATIENT_TOPICS)}
        for record in sorted(records, key=lambda record: (record.stamp, order[record.topic], record.offset)):
            if record.partition not in self._partitions:
                self._partitions[record.partition] = patient_partition(self._settings, RETENTION)
            partition = self._partitions[record.partition]
            parsed = parse_patient_event(record.value)
            if isinstance(parsed, Rejected) or parsed.record.patient_id.encode() != record.key:
                self._garbage += 1
                continue
            moment = datetime.fromtimestamp(record.stamp / 1000, UTC)
            self._advance(partition, moment)
            state, _, _ = partition.take(parsed.record.patient_id, parsed.record, moment)
            _say(state, self._told)

    def until_quiet(self, moment: datetime) -> datetime:
        """Move on until nothing is due for a while; return when that is."""
        while True:
            for partition in self._partitions.values():
                self._advance(partition, moment)
            due = [partition.next_deadline() for partition in self._partitions.values()]
            if all(deadline is None or deadline > moment + QUIET for deadline in due):
                return moment
            moment += timedelta(minutes=7)

    def _advance(self, partition: Partition[PatientState], moment: datetime) -> None:
        list(partition.advance(moment))
        for state in partition.take_fired():
            _say(state, self._told)


def _say(state: PatientState, told: Told) -> None:
    for entry in state.outbox:
        if entry.ce_type:
            value = bytes(entry.value)
            alert = json.loads(value)
            name = (alert["alert_id"], alert["revision"])
            assert told.setdefault(name, (entry.topic, entry.key.encode(), value)) == (
                entry.topic,
                entry.key.encode(),
                value,
            )
    state.outbox.clear()


async def told_by_workers(unit: UnitUnderTest) -> tuple[Told, int]:
    """What readers have of patients' alerts, and how many records were repeats."""
    prefix, repeats = unit.settings.topic_prefix, 0
    told: Told = {}
    for record in await unit.alerts():
        alert = json.loads(record.value)
        name = (alert["alert_id"], alert["revision"])
        found = (record.topic.removeprefix(prefix), record.key, record.value)
        if alert["patient_id"] is None:
            continue
        repeats += name in told
        first = told.setdefault(name, found)
        assert first == found, f"a repeat of {name} differs:\n{differences(first, found)}"
    return told, repeats


async def nothing_lost_nothing_extra(unit: UnitUnderTest, expected: Told) -> int:
    """Readers have what must be told, byte for byte; returns how many records were repeats."""
    told, repeats = await told_by_workers(unit)
    lost, extra = expected.keys() - told.keys(), told.keys() - expected.keys()
    assert not lost, f"{len(lost)} lost of {len(expected)}, such as {_shown(expected, lost)}"
    assert not extra, f"{len(extra)} extra to {len(expected)}, such as {_shown(told, extra)}"
    different = [name for name in expected if expected[name] != told[name]]
    shown = "\n".join(differences(expected[name], told[name]) for name in sorted(different)[:5])
    assert not different, f"{len(different)} differ from what must be told, such as\n{shown}"
    return repeats


def _shown(told: Told, names: Iterable[tuple[str, int]]) -> str:
    return told[min(names)][2].decode()[:1200]


async def everything_adds_up(unit: UnitUnderTest, expected: Expected) -> int:
    """At the log's end, with every alert as it must be and nothing twice but in the same bytes."""
    await unit.until_done(90)
    repeats = await nothing_lost_nothing_extra(unit, expected.told)
    alerts = await unit.alerts()
    repeats_are_identical(alerts)
    for record in alerts:
        alert = json.loads(record.value)
        assert headers_of(record)["ce_id"] == f"{alert['alert_id']}:{alert['revision']}".encode()
    await the_picture_is_right(unit, expected)
    return repeats


async def the_picture_is_right(unit: UnitUnderTest, expected: Expected) -> None:
    """A reader of `alerts.active` that drops what goes back in revision ends with the alerts that are open."""
    newest: dict[bytes, Any] = {}
    for record in await unit.read("alerts.active"):
        alert = json.loads(record.value) if record.value else None
        known = newest.get(record.key)
        if alert is None or known is None or alert["revision"] >= known["revision"]:
            newest[record.key] = alert
    found = {key.decode() for key, alert in newest.items() if alert and alert["patient_id"] and alert["status"] in OPEN}
    assert found == {alert.alert_id for _, alert in expected.open}


async def reached(unit: UnitUnderTest, worker: WorkerProcess, count: int) -> None:
    """Wait until so many records are behind the committed offsets."""

    async def look() -> bool:
        return await unit.handled() >= count

    await worker.until(look, 60, f"{count} records handled")

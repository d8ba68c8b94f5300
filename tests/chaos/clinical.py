"""Which conditions held, read from the raw input alone: thresholds and windows as clinical.md and the rulings say.

Written without the engine: it knows nothing of states, deadlines or outboxes, only what a patient's messages say, in
the order of their records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.chaos.held import Held
from tests.chaos.logs import LAB_RESULTS, MACHINE_EVENTS, Record
from tests.chaos.machines_judged import (
    ALARM,
    SILENT,
    TEMPERATURE,
    alarms,
    contradictions,
    machine_deadlines,
    silent,
    temperature,
)
from tests.chaos.magnesium_judged import LOW_MAGNESIUM, QTC, low_magnesium, qtc_deadlines, qtc_prolonged
from tests.chaos.pressure_judged import HYPOTENSION, LOOKED_AT_EVERY, hypotension, pressure_deadlines
from tests.chaos.said import ALUMINUM, Lab, Patient, Symptom
from tests.chaos.treated import BACLOFEN, IV_MAGNESIUM, PANEL, baclofen, iv_magnesium, panel_deadline, panel_missing

SUSPICION: Final = "aluminum_suspicion"
LEVEL: Final = "aluminum_level"
OVERDUE: Final = "aluminum_result_overdue"
CRAMP: Final = "intradialytic_cramp"
DATA_QUALITY: Final = "data_quality"
CLUSTER: Final = "aluminum_cluster"
#: What this oracle can judge.
RULES: Final = frozenset(
    {LOW_MAGNESIUM, SUSPICION, LEVEL, OVERDUE, CRAMP, DATA_QUALITY, CLUSTER, PANEL, BACLOFEN, IV_MAGNESIUM}
    | {ALARM, SILENT, TEMPERATURE, HYPOTENSION, QTC}
)
#: What may be told besides, and is held to its form alone: the unit brings these about by chance, and to say when they
#: must come would be to write the catalogue once more. An alert of any other rule is made up.
FORM_ALONE: Final = frozenset(
    """
    high_magnesium magnesium_unknown replacement_before_magnesium dialysate_magnesium_low citrate_with_aluminum seizure
    recurrent_cramps symptom_workup_incomplete high_potassium low_potassium low_ionized_calcium high_ionized_calcium
    low_total_calcium low_phosphate high_phosphate electrolyte_swing sodium_rise uf_rate_high first_month_labs_overdue
    nutrition_review baclofen_before_electrolytes baclofen_dose baclofen_adverse_effect baclofen_abrupt_stop
    midodrine_timing vitamin_e_dose identity_conflict arrhythmia_event arrhythmia_risk
    interdialytic_weight_gain sodium_profile hypothermia_watch high_sodium_follow_up
    dialysate_sodium_high setting_deviation dialysate_mismatch
    blood_volume_falling
    """.split()  # noqa: SIM905 (a list of words reads better as words)
)


def is_held_to_form(alert: Mapping[str, Any]) -> bool:
    """Return whether an alert is held to its form alone.

    That is also a routine aluminium level that is overdue, which names no symptom: a profile that is read before the
    results of its patient, after a kill, tells it for a moment.
    """
    routine = alert["rule"] == OVERDUE and not any(item["kind"] == "symptom" for item in alert["evidence"])
    return routine or alert["rule"] in FORM_ALONE


_JERKS: Final = frozenset({"jerk", "myoclonus", "twitch"})
_COMPANIONS: Final = frozenset(
    {"speech_disturbance", "personality_change", "hallucination", "disorientation", "motor_apraxia"}
)
_CRAMPS: Final = frozenset({"cramp", "spasm"})
_TOGETHER: Final = timedelta(days=7)
_AFTER_SESSION: Final = timedelta(hours=5)
_SILENCE: Final = timedelta(minutes=30)
_LATE: Final = timedelta(minutes=5)
_NO_SPECIMEN: Final = timedelta(hours=24)


@dataclass
class Condition:
    """One time that a rule's condition held.

    Attributes:
        ids: identities that the evidence of its alert must show, one after the other.
        known: the record that completed it.
        due: when the clock alone completed it, that moment; else None.
        severe: its alert must reach the highest priority.
        ended: the record that ended it; None while it holds, or where a deadline did.
        ended_at: when it ended.
        ends: the transitions that may say so.
        expires: where nobody says that it is over, it expires.
    """

    rule: str
    subject: str
    ids: set[str]
    known: Record
    due: datetime | None = None
    severe: bool = False
    may_be_severe: bool = False
    ended: Record | None = None
    ended_at: datetime | None = None
    ends: frozenset[str] = frozenset()
    expires: bool = False

    @property
    def leeway(self) -> timedelta:
        """How much later than the moment its end may be told: what nobody waits for is looked at now and then."""
        return LOOKED_AT_EVERY if self.rule == HYPOTENSION else timedelta(0)

    def covers(self, moment: datetime) -> bool:
        """Whether it may be raised at a moment: several times that it held may show the same session."""
        return self.at <= moment and (self.ended_at is None or moment <= self.ended_at)

    @property
    def at(self) -> datetime:
        """When its alert can be raised at the earliest."""
        return self.due or self.known.moment


# -- the rules ---------------------------------------------------------------------------------------------------------

_Rule = Callable[[Patient, datetime], Iterator[tuple[str, Held]]]


def _bands(lab: Lab) -> int:
    return sum(lab.value is not None and lab.value >= bound for bound in ALUMINUM[lab.unit])


def _levels(patient: Patient) -> list[Lab]:
    found = patient.usable("aluminum")
    return [level for level in found if level.status != "preliminary" or _bands(level) == 4]


def _aluminum_level(patient: Patient, _now: datetime) -> Iterator[tuple[str, Held]]:
    """R21: the band of the newest level; two results below it leave it."""
    levels = _levels(patient)
    if any(_bands(level) for level in levels[-2:]):
        yield "", Held({levels[-1].name} if _bands(levels[-1]) else set(), severe=_bands(levels[-1]) == 4)


def _picture(patient: Patient) -> tuple[set[str], datetime, datetime] | None:
    """R20: identities of the picture, when it was complete and when it began."""
    excluded = [level.at for level in _levels(patient) if level.status != "preliminary" and _bands(level) < 2]
    after = excluded[-1] if excluded else None
    ends = [end for _, end in patient.sessions.values() if end]
    found: list[tuple[datetime, datetime, set[str]]] = []
    for jerk in patient.present(_JERKS):
        if after is not None and jerk.at <= after:
            continue
        if jerk.worse or any(timedelta(0) <= jerk.at - end < _AFTER_SESSION for end in ends):
            found.append((jerk.at, jerk.at, {jerk.name}))
        found += [
            (max(jerk.at, other.at), min(jerk.at, other.at), {jerk.name, other.name})
            for other in patient.present(_COMPANIONS)
            if abs(other.at - jerk.at) <= _TOGETHER and (after is None or other.at > after)
        ]
    if not found:
        return None
    return set().union(*(ids for _, _, ids in found)), min(found)[0], min(begun for _, begun, _ in found)


def _suspicion(patient: Patient, _now: datetime) -> Iterator[tuple[str, Held]]:
    picture = _picture(patient)
    if picture:
        seizure = bool(patient.present(frozenset({"seizure"})))
        yield "", Held(picture[0], may_be_severe=seizure)


def _overdue(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """R22: suspected, and no specimen for 24 h."""
    picture = _picture(patient)
    if not picture:
        return
    ids, complete, onset = picture
    drawn = any(lab.analyte == "aluminum" and lab.live and lab.at >= onset for lab in patient.labs.values())
    if not drawn and now >= complete + _NO_SPECIMEN:
        yield "", Held(ids, due=complete + _NO_SPECIMEN)


def _cramp_over(group: list[Symptom]) -> datetime:
    """What was charted late, with no end, may go on: then the silence counts from when it was told of."""
    words = max(moment for cramp in group for moment in (cramp.at, cramp.ended_at) if moment)
    late = [cramp.heard for cramp in group if not cramp.ended_at and cramp.heard - cramp.at > _LATE]
    return words if all(cramp.ended_at for cramp in group) else max([words, *late]) + _SILENCE


def _cramp(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """R30: overlapping cramps of a session are one condition."""
    groups: dict[str, list[Symptom]] = {}
    for cramp in patient.present(_CRAMPS):
        session = patient.session_at(cramp.at)
        if session is None or cramp.at > now:
            continue
        if session in groups and cramp.at <= _cramp_over(groups[session]):
            groups[session].append(cramp)
        else:
            groups[session] = [cramp]
    for session, group in groups.items():
        if now < _cramp_over(group):
            yield session, Held({cramp.name for cramp in group})


def _data_quality(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """E07: the newest result of an analyte cannot be evaluated, or messages contradict each other."""
    newest: dict[str, Lab] = {}
    for lab in patient.labs.values():
        if lab.live and lab.analyte:
            known = newest.get(lab.analyte)
            if known is None or (lab.at, lab.order) > (known.at, known.order):
                newest[lab.analyte] = lab
    for analyte, lab in newest.items():
        if lab.trouble():
            yield analyte, Held({lab.name})
    yield from contradictions(patient, now)


_RULES: Final[dict[str, _Rule]] = {
    LOW_MAGNESIUM: low_magnesium,
    LEVEL: _aluminum_level,
    SUSPICION: _suspicion,
    OVERDUE: _overdue,
    CRAMP: _cramp,
    DATA_QUALITY: _data_quality,
    PANEL: panel_missing,
    BACLOFEN: baclofen,
    IV_MAGNESIUM: iv_magnesium,
    ALARM: alarms,
    SILENT: silent,
    TEMPERATURE: temperature,
    HYPOTENSION: hypotension,
    QTC: qtc_prolonged,
}
#: Of which a sample of a machine may decide.
_OF_SAMPLES: Final = frozenset({SILENT, TEMPERATURE, HYPOTENSION})
#: Whose end is said by how it came about, not by whether its ground was taken back.
_OF_MACHINES: Final = frozenset({ALARM, SILENT, TEMPERATURE, HYPOTENSION, QTC})
#: Beside results and symptoms, what may change a condition.
_DECIDES: Final = frozenset({"rhythm", "session_started", "session_ended", "patient_profile"})


# -- one patient after the other ---------------------------------------------------------------------------------------


class _Course:
    """The conditions of one patient, as its messages come."""

    def __init__(self, subject: str) -> None:
        self.patient = Patient()
        self.conditions: list[Condition] = []
        self._subject = subject
        self._open: dict[tuple[str, str], Condition] = {}
        #: Until when the clock has brought about what it does.
        self._looked_at = datetime.min.replace(tzinfo=UTC)

    def hear(self, record: Record, body: dict[str, Any], order: int) -> None:
        """A message: first what fell due before it, then what it changes."""
        self.wait_until(record.moment, record)
        about = self.patient.hear(record, body, order)
        if about is not None or body["type"] in _DECIDES:
            self._compare(record, record.moment, about)
        elif body["type"] == "telemetry":
            # A sample contradicts an end, if anything.
            ended = any(treatment.ends for treatment in self.patient.treatments.values())
            self._compare(record, record.moment, None, _OF_SAMPLES | {DATA_QUALITY} if ended else _OF_SAMPLES)

    def wait_until(self, now: datetime, record: Record) -> None:
        """The clock goes on: cramps without word expire, specimens are overdue."""
        while due := min((moment for moment in self._deadlines() if moment <= now), default=None):
            self._compare(record, due, None, by_clock=True)

    def _deadlines(self) -> Iterator[datetime]:
        for (rule, _), condition in self._open.items():
            if rule == CRAMP:
                yield _cramp_over([s for s in self.patient.symptoms.values() if s.name in condition.ids])
        if (SUSPICION, "") in self._open and (OVERDUE, "") not in self._open and (picture := _picture(self.patient)):
            onset = picture[2]
            labs = self.patient.labs.values()
            if not any(lab.analyte == "aluminum" and lab.live and lab.at >= onset for lab in labs):
                yield picture[1] + _NO_SPECIMEN
        yield from panel_deadline(self.patient, is_told=(PANEL, "") in self._open)
        for deadlines in (machine_deadlines, pressure_deadlines, qtc_deadlines):
            yield from (moment for moment in deadlines(self.patient) if moment > self._looked_at)

    def _compare(
        self,
        record: Record,
        now: datetime,
        about: str | None,
        rules: Iterable[str] = _RULES,
        *,
        by_clock: bool = False,
    ) -> None:
        self._looked_at = now
        held = {(rule, key): found for rule in rules for key, found in _RULES[rule](self.patient, now)}
        for name in [name for name in self._open if name[0] in rules and name not in held]:
            self._over(name, record, now, about, by_clock=by_clock)
        for name, found in held.items():
            condition = self._open.get(name)
            if condition is None:
                due = found.due if by_clock else None
                condition = self._open[name] = Condition(name[0], self._subject, set(), record, due)
                self.conditions.append(condition)
            condition.ids |= found.ids
            condition.severe |= found.severe
            condition.may_be_severe |= found.may_be_severe
            condition.expires = found.expires

    def _over(self, name: tuple[str, str], record: Record, now: datetime, about: str | None, *, by_clock: bool) -> None:
        condition = self._open.pop(name)
        condition.ended, condition.ended_at = (None if by_clock else record), now
        condition.ends = self._endings(condition, about, by_clock=by_clock)

    def _endings(self, condition: Condition, about: str | None, *, by_clock: bool) -> frozenset[str]:
        """What may be said of its end: what a person or the clock ends is over, what a result takes back never was."""
        rule, mine = condition.rule, about in condition.ids
        if rule in _OF_MACHINES:
            over = condition.expires and (by_clock if rule != ALARM else about is None)
            return frozenset({"expired" if over else "resolved"})
        if (rule == CRAMP and by_clock) or (rule == PANEL and about not in self.patient.labs):
            return frozenset({"expired"})
        if rule in (PANEL, BACLOFEN, IV_MAGNESIUM) or not mine:
            return frozenset({"resolved"})
        if rule == CRAMP and not self.patient.symptoms[str(about)].erroneous:
            return frozenset({"resolved"})
        return frozenset({"withdrawn"}) if condition.ids == {about} else frozenset({"withdrawn", "resolved"})


@dataclass
class Findings:
    """What must or may be told of all that was said."""

    conditions: list[Condition]
    #: Patients of each water loop with a suspicion, or a level from 60 ug/L (R25).
    loops: dict[str, set[str]]


def conditions(inputs: Iterable[Record], garbage: Callable[[Record], bool]) -> Findings:
    """Read the input in the order of record timestamps, as a processor should.

    Args:
        inputs: the records of the patient topics.
        garbage: whether a record was meant to be unusable.
    """
    topics = {LAB_RESULTS: 0, MACHINE_EVENTS: 1}
    ordered = sorted(inputs, key=lambda record: (record.stamp, topics.get(record.topic, 2), record.offset))
    courses: dict[str, _Course] = {}
    last: dict[int, Record] = {}
    for order, record in enumerate(ordered):
        body = record.body
        if body is None or garbage(record):
            continue
        subject = body["patient_id"]
        courses.setdefault(subject, _Course(subject)).hear(record, body, order)
        last[record.partition] = record
    partitions = {(record.key or b"").decode(): record.partition for record in ordered}
    for subject, course in courses.items():
        end = last[partitions[subject]]
        course.wait_until(end.moment, end)
    return Findings([one for course in courses.values() for one in course.conditions], _on_loops(courses))


def _on_loops(courses: dict[str, _Course]) -> dict[str, set[str]]:
    loops: dict[str, set[str]] = defaultdict(set)
    for subject, course in courses.items():
        for one in course.conditions:
            high = [i for i in one.ids if one.rule == LEVEL and _bands(course.patient.labs[i]) >= 3]
            if course.patient.loop and ((one.rule == SUSPICION and "withdrawn" not in one.ends) or high):
                loops[course.patient.loop].add(subject)
    return dict(loops)

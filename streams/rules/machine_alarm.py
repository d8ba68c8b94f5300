"""`machine_alarm` (E03, E04): the alarms of the machines themselves, each as one alert with its life cycle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority, Reason, Status
from models.identity import alarm_name, alarm_ref
from models.machine_codes import known_code, one_name
from models.records import MachineAlarm
from models.state import MAX_ALARM_STARTS, PatientState
from models.text import one_line
from streams.rules.api import Ending, Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside
from streams.rules.facts.alarm_episodes import Episode, Flood, Word, episodes
from streams.rules.facts.treatments import SKEW, Treatment
from streams.rules.inhibition import Inhibition
from streams.rules.inputs import MACHINE_ALARM, SESSION
from streams.rules.thresholds import Hours, Minutes, Silences

_LEADS: Final = guidance(
    "Check the patient and the machine at the chair: the machine's own alarm leads, this repeats it.",
    "clinical.md E03; IEC 60601-1-8 (clinical.md 3.7)",
)
_AT_ONCE: Final = guidance(
    "Check the access, the lines and the dialyser first, per unit protocol.", "clinical.md E04; IHE (clinical.md 3.4)"
)
_LOST: Final = guidance(
    "Check whether the machine still alarms: an alarm of which no word comes is unknown, not over.",
    "clinical.md E03; IHE (clinical.md 3.4)",
)
_LATCHED: Final = guidance(
    "Review the alarm at the machine: it latched, so its end there does not end it here; a person resolves it.",
    "clinical.md E03; IEC 60601-1-8 (clinical.md 3.7)",
)
#: How many times an alarm began, as its summary tells it: the next step only, so that a flood is no stream of updates.
_TOLD: Final = (20, 10, 5, 2)
#: The longest foreign text and the longest foreign code in a summary, in characters.
_TEXT, _CODE = 80, 40


class MachineAlarmLimits(Limits):
    """When nothing more is known of an alarm, and what a flood is."""

    keep_alive_seconds: float = Field(
        default=30.0,
        ge=1,
        le=600,
        description="seconds between two `continue` of an alarm; without word for 3 times as long, or 3 times as long "
        "as it was between the last two, it is unknown; IHE ACM recommends 10 to 30 s, clinical.md 3.4, E03",
    )
    unknown_minutes: Minutes = Field(
        default=10,
        description="likewise, of an alarm that its machine never repeats: a sample lasts as long (R32, ours)",
    )
    flood_starts: int = Field(
        default=3, ge=2, le=20, description="starts from which an alarm that comes and goes counts as one (ours)"
    )
    flood_minutes: Minutes = Field(
        default=5, description="min within which they lie, and without a start after which it is over (ours)"
    )
    unplaced_hours: Annotated[Hours, Silences.LOWERED] = Field(
        default=24, description="hours for which an alarm counts of whose treatment nobody told: the longest session"
    )


@dataclass(slots=True)
class _Alarm:
    """The messages of one code in one treatment; no treatment if nobody told of it."""

    key: str
    code: str
    treatment: Treatment | None
    words: list[Word]


def find(view: PatientView) -> Iterator[Outcome]:
    """An alarm of the machine is on, or latched: one alert for each code and treatment, with the priority as sent.

    Venous access, air in a line and a blood leak are high whatever was sent, an unknown priority is medium. The end
    resolves it; one that is latched ends with the treatment, or when a person resolves it. Where the word of it stops
    it is unknown: the alert stays and says so once. From the third start in 5 min on an end counts after 5 min without
    a start; how many times it began is told at 2, 5, 10 and 20. What the machine tells after a treatment counts as
    long as it tells it; without an end of its own it expires.
    """
    if not view.read(MACHINE_ALARM).machine_alarms:
        return
    limits = view.limits(MachineAlarmLimits)
    flood = Flood(limits.flood_starts, timedelta(minutes=limits.flood_minutes))
    for alarm in _alarms(view).values():
        found = episodes(alarm.words, flood)
        if found and (outcome := _outcome(view, limits, alarm, found[-1])):
            yield outcome


def _alarms(view: PatientView) -> dict[str, _Alarm]:
    """Return the alarms by their keys: the messages of each code and treatment, under whichever name of the code."""
    state = view.read(MACHINE_ALARM)
    by_id: dict[str, list[Treatment]] = {}
    for treatment in bedside.sessions(view):
        by_id.setdefault(treatment.session_id, []).append(treatment)
    found: dict[str, _Alarm] = {}
    for key, alarm in state.machine_alarms.items():
        heard = state.arrivals.get(alarm_ref(key), alarm.at)
        placed = _treatment_of(by_id.get(alarm.session_id, ()), alarm.at)
        code = one_name(alarm.code)
        name = f"{placed.key if placed else alarm.session_id}|{code}"
        found.setdefault(name, _Alarm(name, code, placed, [])).words.append(Word(alarm, key, heard))
    return found


def _treatment_of(found: Iterable[Treatment], at: datetime) -> Treatment | None:
    """Return the treatment of a message, of those under its session id: the last that had begun, else the first."""
    treatments = list(found)
    begun = [treatment for treatment in treatments if treatment.start - SKEW <= at]
    return begun[-1] if begun else next(iter(treatments), None)


def _outcome(view: PatientView, limits: MachineAlarmLimits, alarm: _Alarm, episode: Episode) -> Outcome | None:
    """Return what holds of an alarm's newest episode; None if it is over."""
    latched = episode.ended_at is not None and episode.is_latched
    if episode.quiet_from is not None and not latched:
        view.look_at(episode.quiet_from)
        return _finding(view, alarm, episode, None) if view.now < episode.quiet_from else None
    said = episode.said[-1]
    silence = _silence(limits, episode)
    if alarm.treatment is None:
        over_at = said.at + timedelta(hours=limits.unplaced_hours)
    else:
        over_at = max(alarm.treatment.over_at, said.at + silence)
    view.look_at(over_at)
    if view.now >= over_at:
        return None if latched else Ending(alarm.key, Status.EXPIRED, Reason.UNCONFIRMED_END)
    if latched:
        return _finding(view, alarm, episode, None)
    lost_at = view.silent_since(said.heard) + silence
    view.look_at(lost_at)
    return _finding(view, alarm, episode, said.heard if view.now >= lost_at else None)


def _silence(limits: MachineAlarmLimits, episode: Episode) -> timedelta:
    """Return without word for how long an alarm is unknown."""
    newest = episode.said[-2:]
    if all(word.alarm.phase == "start" for word in newest):
        return timedelta(minutes=limits.unknown_minutes)
    between = newest[-1].heard - newest[0].heard
    return 3 * max(timedelta(seconds=limits.keep_alive_seconds), between)


def _finding(view: PatientView, alarm: _Alarm, episode: Episode, lost: datetime | None) -> Finding:
    """Describe an alarm; `lost` is when it was heard of last, if nothing is known of it since."""
    starts = [word for word in alarm.words if word.alarm.phase == "start"]
    first = _first(view, alarm, episode, starts)
    known = known_code(alarm.code)
    is_critical = known is not None and known.is_critical
    priority, level_known_at = (Priority.HIGH, first.heard) if is_critical else _as_sent(episode, first.heard)
    latched = episode.ended_at is not None and episode.is_latched
    anchors = [word.key for word in sorted(starts, key=lambda word: (word.alarm.at, word.key))] or [first.key]
    ends = [word for word in episode.words if word.alarm.phase == "end"][-1:] if latched else []
    begun = [word.heard for word in episode.words if word.alarm.phase == "start"] or [first.heard]
    notes = [_summary(alarm, first, len({word.alarm.at for word in starts}))]
    if lost is not None:
        notes.append(f"no word of it from the machine since {lost.astimezone(view.settings.zone):%H:%M}")
    if latched:
        notes.append("over at the machine but latched")
    return Finding(
        key=alarm.key,
        anchors=tuple(map(alarm_ref, anchors)),
        priority=priority,
        onset_at=first.at,
        known_at=max(begun),
        level_known_at=level_known_at,
        summary=", ".join(notes),
        guidance=tuple_of(
            _AT_ONCE if is_critical else None, _LEADS, _LOST if lost else None, _LATCHED if latched else None
        ),
        evidence=tuple(_evidence(word, alarm.code) for word in (first, *ends)),
        session_id=first.alarm.session_id,
    )


def _first(view: PatientView, alarm: _Alarm, episode: Episode, starts: list[Word]) -> Word:
    """Return the message with which an episode began; in a flood that of the stretch in which the alarm was told.

    Of a flood only the newest messages are kept, so where its episodes began moves on.
    """
    limits = view.limits(MachineAlarmLimits)
    newest = episode.said[-1]
    flood = sum(word.at > newest.at - timedelta(minutes=limits.flood_minutes) for word in starts) >= limits.flood_starts
    if not flood and len(starts) < MAX_ALARM_STARTS and any(word.alarm.phase == "start" for word in episode.words):
        return episode.words[0]
    runs = view.read(MACHINE_ALARM).alarm_runs.get(alarm_name(newest.alarm), ())
    since = next((run.since for run in runs if run.since <= newest.alarm.at <= run.until), None)
    began = [word for word in alarm.words if word.alarm.at == since and word.alarm.phase != "end"]
    return min(began, key=lambda word: word.key, default=episode.words[0])


def _as_sent(episode: Episode, since: datetime) -> tuple[Priority, datetime]:
    """Return the newest priority that its machine tells, and since when it is known; medium if it tells none.

    One that it always told is known since it began.
    """
    told = [word for word in episode.words if word.alarm.priority is not None]
    if not told:
        return Priority.MEDIUM, since
    newest = told[-1].alarm.priority
    other = next((number for number, word in enumerate(reversed(told)) if word.alarm.priority != newest), None)
    return Priority(str(newest)), since if other is None else told[-other].heard


def _summary(alarm: _Alarm, first: Word, count: int) -> str:
    known = known_code(alarm.code)
    named = known.words if known else f"code {_short(alarm.code, _CODE)}"
    text = _short(first.alarm.text or "", _TEXT).replace('"', "'")
    times = next((number for number in _TOLD if count >= number), None)
    return f"Machine alarm: {named}" + (f' ("{text}")' if text else "") + (f", {times} times or more" if times else "")


def _short(text: str, longest: int) -> str:
    """Return a foreign text as a short line."""
    line = one_line(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _evidence(word: Word, code: str) -> EvidenceRecord:
    known = known_code(code)
    name = known.refid if known else code
    return EvidenceRecord(kind="machine_alarm", id=word.key, name=name, value=word.alarm.phase, unit=None, at=word.at)


def _named_by(state: PatientState, key: str) -> list[str]:
    """Return the messages of the code in sessions of that id: any may have been the first that was known."""
    return [alarm_ref(name) for name, alarm in state.machine_alarms.items() if _is_about(alarm, key)]


def _is_about(alarm: MachineAlarm, key: str) -> bool:
    """Return whether a message may belong to the alarm of a key; ids and codes may hold what joins them in a key."""
    name, code = alarm_name(alarm), one_name(alarm.code)
    return key == name or (key.startswith(f"{alarm.session_id}@") and key.endswith(f"|{code}"))


def _about(*codes: str) -> Callable[[str, str], bool]:
    """Return whether an alarm of one of these codes is about what a greater rule reports of the same treatment."""

    def applies(lesser: str, greater: str) -> bool:
        treatment, _, code = lesser.rpartition("|")
        return code in codes and treatment == greater

    return applies


RULE: Final = PatientRule(
    name="machine_alarm",
    version=1,
    family="session",
    ids="E03 E04",
    title="The machine's own alarm",
    inputs=(MACHINE_ALARM, SESSION),
    needs=(MACHINE_ALARM,),
    limits=MachineAlarmLimits,
    find=find,
    named_by=_named_by,
    yields_to=(
        Inhibition(
            "uf_rate_high",
            "an alarm on the ultrafiltration rate tells of the machine what that rule tells of the patient",
            applies=_about("198276"),
        ),
    ),
    sources=("clinical.md E03, E04, 3.4", "IHE PCD ACM", "IEC 60601-1-8"),
    without=(
        "the states of PCD-04 besides `latched`: who acknowledges an alarm at the machine has not answered this alert",
        "the source of an alarm beside its code: a value below its limit (196670) may be any value",
    ),
)

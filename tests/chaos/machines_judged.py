"""What machines make the oracle expect: their own alarms, silence, a temperature that stays wrong, contradictions.

Like `tests.chaos.clinical` by the words of clinical.md and docs/contract.md alone: E03, E04, R67, R36 and E07.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from tests.chaos.held import Held
from tests.chaos.machines_said import SAMPLE_LASTS, STANDS, Treatment, Word
from tests.chaos.said import Patient, Symptom

ALARM: Final = "machine_alarm"
SILENT: Final = "machine_silent"
TEMPERATURE: Final = "dialysate_temperature"

_MINUTE: Final = timedelta(minutes=1)
#: R67: without a message for so long, or for three intervals; nobody knows the interval of a single sample.
_SILENT: Final = 3 * _MINUTE
_ONE_SAMPLE: Final = 33 * _MINUTE
#: R36: in the band for so long.
_BACK: Final = 3 * _MINUTE
#: E04: venous access, air and blood leak.
_CRITICAL: Final = frozenset({"198260", "198252", "198262", "198244"})
#: Ours: from so many starts within so long it is a flood, which is over after as long without a start.
_FLOOD: Final = 3
_FLOOD_WITHIN: Final = 5 * _MINUTE
#: After so long without word an alarm that was never repeated is unknown, one that was after three of its intervals.
_UNKNOWN: Final = 10 * _MINUTE
_KEEP_ALIVE: Final = timedelta(seconds=30)
#: Of a symptom that ended before it began it is said for so long.
_SAID_FOR: Final = timedelta(hours=24)


# -- machine_silent ----------------------------------------------------------------------------------------------------


def _silent_at(treatment: Treatment) -> datetime | None:
    """Return when a machine is silent, if nothing comes; None while it has told no sample."""
    if treatment.heard is None or treatment.spoke is None:
        return None
    if treatment.interval is None:
        return treatment.spoke + _ONE_SAMPLE
    return treatment.spoke + max(_SILENT, 3 * treatment.interval)


def _watched_until(treatment: Treatment) -> datetime:
    """Return until when a machine is expected to speak: its treatment runs, and its blood has not stood for long."""
    if not treatment.stands:
        return treatment.over
    return min(treatment.over, (treatment.flowed or treatment.first) + STANDS)


def silent(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """R67: nothing has come from the machine of a running treatment for 3 min."""
    for treatment in patient.treatments.values():
        due = _silent_at(treatment)
        if due is not None and due <= now < _watched_until(treatment):
            yield treatment.name, Held({treatment.name}, due=due, expires=True)


# -- dialysate_temperature ---------------------------------------------------------------------------------------------


def temperature(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """R36: beyond a bound for 3 min (41 degrees for half a minute), until it was back for 3 min."""
    for treatment in patient.treatments.values():
        found, over = treatment.temperature, treatment.over
        if found.newest is None or now >= over:
            continue
        told = {name: moment for name, moment in found.reached.items() if moment <= now}
        is_known = now < found.newest + SAMPLE_LASTS + _BACK
        lingers = found.back is not None and now < found.back + _BACK
        if (told and is_known) or lingers:
            due = min(told.values(), default=None)
            yield treatment.name, Held({treatment.name}, severe="hot" in told, due=due)


# -- machine_alarm -----------------------------------------------------------------------------------------------------


def alarms(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """E03, E04: an alarm of a machine is on, latched, or comes and goes."""
    for treatment in patient.treatments.values():
        for code, words in treatment.alarms.items():
            held = _alarm(treatment, code, _ordered(words), now)
            if held is not None:
                yield f"{treatment.name}|{code}", held


def _alarm(treatment: Treatment, code: str, words: list[Word], now: datetime) -> Held | None:
    episode, quiet = _episode(words)
    latched = _latched(episode)
    if not episode or (quiet is not None and not latched and now >= quiet) or now >= _told_until(treatment, episode):
        return None
    told = [word.priority for word in episode if word.priority]
    is_high = code in _CRITICAL or (bool(told) and told[-1] == "high")
    return Held({_first(words, episode).name}, severe=is_high, expires=quiet is None)


def _episode(words: list[Word]) -> tuple[list[Word], datetime | None]:
    """Return the messages of the newest time that an alarm was on, and since when it is over, if it ended."""
    starts = [word for word in words if word.phase == "start"]
    episode: list[Word] = []
    quiet: datetime | None = None
    for word in words:
        if word.phase != "end":
            if quiet is not None and word.at > quiet and not _latched(episode):
                episode = []
            episode.append(word)
            quiet = None
        elif episode and (quiet is None or _latched(episode)):
            episode.append(word)
            quiet = word.at + (_FLOOD_WITHIN if len(_lately(starts, word.at)) >= _FLOOD else timedelta(0))
    return episode, quiet


def _first(words: list[Word], episode: list[Word]) -> Word:
    """Return with which message an alarm began: that of a flood with the first of its messages in a row."""
    newest = max(word.at for word in episode if word.phase != "end")
    starts = [word for word in words if word.phase == "start"]
    if len(_lately(starts, newest)) < _FLOOD:
        return episode[0]
    first = next(word for word in words if word.at == newest)
    for word in reversed([word for word in words if word.at < newest]):
        if first.at - word.at > _FLOOD_WITHIN:
            break
        first = word
    return first


def _ordered(words: dict[str, Word]) -> list[Word]:
    return sorted(words.values(), key=lambda word: (word.at, word.name))


def _lately(starts: Iterable[Word], at: datetime) -> list[Word]:
    return [word for word in starts if at - _FLOOD_WITHIN < word.at <= at]


def _latched(episode: Iterable[Word]) -> bool:
    return next((word.latched for word in reversed(list(episode)) if word.latched is not None), False)


def _told_until(treatment: Treatment, episode: list[Word]) -> datetime:
    """Return until when an alarm counts that does not end: with its treatment, or as long as it is told of."""
    said = [word for word in episode if word.phase != "end"]
    if all(word.phase == "start" for word in said[-2:]):
        silence = _UNKNOWN
    else:
        silence = 3 * max(_KEEP_ALIVE, said[-1].heard - said[-2:][0].heard)
    return max(treatment.over, said[-1].at + silence)


# -- data_quality ------------------------------------------------------------------------------------------------------


def contradictions(patient: Patient, now: datetime) -> Iterator[tuple[str, Held]]:
    """E07 of what is no result: a session that contradicts itself, a symptom that ended before it began."""
    for treatment in patient.treatments.values():
        if treatment.contradicted and now < treatment.over + STANDS:
            yield f"session:{treatment.name}", Held({treatment.name})
    for symptom in _backwards(patient):
        if now < symptom.heard + _SAID_FOR:
            yield f"symptom:{symptom.name}", Held({symptom.name})


def _backwards(patient: Patient) -> list[Symptom]:
    """Return the symptoms that are said to have ended before they began."""
    symptoms = patient.symptoms.values()
    return [one for one in symptoms if one.ended_at is not None and one.ended_at < one.at and not one.erroneous]


# -- when to look again ------------------------------------------------------------------------------------------------


def machine_deadlines(patient: Patient) -> Iterator[datetime]:
    """When the clock alone may change what holds of a patient's machines, and of what contradicts itself."""
    yield from (symptom.heard + _SAID_FOR for symptom in _backwards(patient))
    for treatment in patient.treatments.values():
        yield treatment.over
        if (due := _silent_at(treatment)) is not None:
            yield due
            yield _watched_until(treatment)
        if treatment.contradicted:
            yield treatment.over + STANDS
        found = treatment.temperature
        yield from found.reached.values()
        if found.reached and found.newest is not None:
            yield found.newest + SAMPLE_LASTS + _BACK
        if found.back is not None:
            yield found.back + _BACK
        for words in treatment.alarms.values():
            episode, quiet = _episode(_ordered(words))
            if episode:
                yield _told_until(treatment, episode)
                yield quiet or treatment.over

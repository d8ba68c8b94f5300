"""`recurrent_cramps` (R31): cramps that come back ask for a review of the prescription, not of one session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority
from models.records import Symptom
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts import bedside
from streams.rules.facts.cramps import CRAMPS, in_treatment, silence
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import SESSION, symptom
from streams.rules.shapes.relay import Report, episodes
from streams.rules.thresholds import Days


class RecurrentCrampLimits(Limits):
    """How many cramps recur, and how many sessions without one end that."""

    in_session: int = Field(default=2, ge=2, le=20, description="cramps in one session (R31)")
    in_sessions: int = Field(default=2, ge=2, le=20, description="sessions with a cramp among the last ones (R31)")
    last_sessions: int = Field(default=3, ge=2, le=20, description="how many sessions the last ones are (R31)")
    in_days: int = Field(default=3, ge=2, le=20, description="cramps within the days (R31)")
    days: Days = Field(default=30, description="days within which they count, and after which they are forgotten (R31)")
    clear_sessions: int = Field(default=3, ge=1, le=20, description="sessions in a row without a cramp end it (R31)")


_PRESCRIPTION: Final = guidance(
    "Review the prescription: ultrafiltration rate and treatment time, target weight and weight gain, dialysate "
    "temperature.",
    "article L24-L29; clinical.md R31, 2.6",
)
_ELECTROLYTES: Final = guidance(
    "Review magnesium, ionised calcium, potassium and phosphate, and nutrition.", "article L2-L8, L56; clinical.md R05"
)
_SODIUM: Final = guidance(
    "The article also raises and profiles the dialysate sodium; KDOQI advises against both, because the sodium "
    "balance becomes positive. Follow the prescriber.",
    "article L26-L27 against KDOQI 2006 HD guideline 5.3",
)
#: How many of the newest cramps are named; the summary tells how many there were.
_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class _Episode:
    """Cramps of one treatment that overlap; they count as one."""

    treatment: Treatment
    cramps: tuple[Symptom, ...]

    @property
    def at(self) -> datetime:
        return self.cramps[0].at


@dataclass(frozen=True, slots=True)
class _Recurrence:
    """Cramps that recur: the episode with which they did, the ones before it that count, and those since."""

    met: _Episode
    all: tuple[_Episode, ...]


def find(view: PatientView) -> Iterator[Outcome]:
    """Two cramps in one session, in two of the last three sessions, or three in 30 days.

    Overlapping cramps of a session are one, as in `intradialytic_cramp`; cramps outside of sessions do not count. It
    ends with the third session in a row without a cramp, or when there was none for 30 days (ours).
    """
    limits = view.limits(RecurrentCrampLimits)
    found = _recurrence(view, limits)
    if found is None:
        return
    forgotten = found.all[-1].at + timedelta(days=limits.days)
    view.look_at(forgotten)
    if view.now < forgotten:
        yield _finding(view, found)


def _recurrence(view: PatientView, limits: RecurrentCrampLimits) -> _Recurrence | None:
    """Go through the sessions: cramps recur from an episode on until enough sessions in a row had none."""
    by_session = _by_session(view)
    if not by_session:
        return None
    window = timedelta(days=limits.days)
    sessions = [one for one in bedside.sessions(view) if not one.is_mistake or one.key in by_session]
    before: list[_Episode] = []
    recurring: _Recurrence | None = None
    clear = 0
    for number, session in enumerate(sessions):
        here = by_session.get(session.key, [])
        if not here:
            if recurring is not None:
                view.look_at(session.over_at)
            clear += session.over_at <= view.now
            recurring = recurring if clear < limits.clear_sessions else None
            continue
        clear = 0
        last = sessions[max(0, number + 1 - limits.last_sessions) : number + 1]
        many_sessions = sum(one.key in by_session for one in last) >= limits.in_sessions
        for count, episode in enumerate(here, start=1):
            before = [one for one in before if one.at > episode.at - window] + [episode]
            if recurring is not None:
                recurring = _Recurrence(recurring.met, (*recurring.all, episode))
            elif many_sessions or count >= limits.in_session or len(before) >= limits.in_days:
                recurring = _Recurrence(episode, tuple(before))
    return recurring


def _by_session(view: PatientView) -> dict[str, list[_Episode]]:
    """Return the episodes of each treatment by its key.

    Late charting makes no cramp longer here: what is counted is how often it came, not whether it goes on.
    """
    reports = (
        Report(session.key, cramp.at, bedside.end_of(cramp), cramp.at, (cramp, session))
        for cramp, session in in_treatment(view)
    )
    found = episodes(view, reports, silence(view))
    return {key: [_episode(group) for group in groups] for key, groups in found.items()}


def _episode(group: list[Report]) -> _Episode:
    return _Episode(group[0].item[1], tuple(report.item[0] for report in group))


def _finding(view: PatientView, found: _Recurrence) -> Finding:
    known = [[bedside.known_at(view, cramp) for cramp in episode.cramps] for episode in found.all]
    # An episode counted once the first of its cramps was known.
    met = max(min(times) for times, episode in zip(known, found.all, strict=True) if episode.at <= found.met.at)
    sessions = {episode.treatment.key: episode.treatment for episode in found.all}
    count, of = len(found.all), len(sessions)
    return Finding(
        key="recurrent",
        anchors=tuple(bedside.symptom_ref(cramp) for cramp in _from(found.met, found.all)),
        priority=Priority.LOW,
        onset_at=found.met.at,
        known_at=max(max(times) for times in known),
        level_known_at=met,
        summary=f"Cramps recur: {count} in {of} session{'' if of == 1 else 's'}",
        guidance=(_PRESCRIPTION, _ELECTROLYTES, _SODIUM),
        evidence=tuple(_evidence(found.all[-_SHOWN:])),
    )


def _from(met: _Episode, every: tuple[_Episode, ...]) -> Iterator[Symptom]:
    """Yield the cramps, first those of the episode that completed the condition."""
    yield from met.cramps
    for episode in every:
        if episode is not met:
            yield from episode.cramps


def _evidence(every: tuple[_Episode, ...]) -> Iterator[EvidenceRecord]:
    """Yield each session and the cramps in it."""
    for key, group in groupby(every, key=lambda episode: episode.treatment.key):
        here = list(group)
        start = here[0].treatment.start
        yield EvidenceRecord(kind="session", id=key, name="session", value=None, unit=None, at=start)
        for episode in here:
            yield from map(bedside.symptom_evidence, episode.cramps)


RULE: Final = PatientRule(
    name="recurrent_cramps",
    version=1,
    family="cramp",
    ids="R31",
    title="Cramps that recur from session to session",
    inputs=(symptom(*CRAMPS), SESSION),
    needs=(symptom(*CRAMPS),),
    limits=RecurrentCrampLimits,
    find=find,
    named_by=bedside.every_symptom,
    sources=("article L24-L29", "clinical.md R31"),
)

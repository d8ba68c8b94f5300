"""Whether the clinical picture suggests aluminium (R20); shared by the three aluminium rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Final

from pydantic import Field

from models.analytes import NMOL_L, UG_L, UMOL_L, Analyte
from models.events import SymptomKind
from models.records import Symptom
from streams.rules.api import Limits, PatientView
from streams.rules.facts import bedside, labs
from streams.rules.facts.treatments import Treatment
from streams.rules.inputs import SESSION, Input, lab, symptom
from streams.rules.thresholds import Days, Hours, Silences

K = SymptomKind
#: The rule to which its thresholds belong.
NAME: Final = "aluminum_suspicion"
JERKS: Final = frozenset({K.JERK, K.MYOCLONUS, K.TWITCH})
COMPANIONS: Final = frozenset(
    {K.SPEECH_DISTURBANCE, K.PERSONALITY_CHANGE, K.HALLUCINATION, K.DISORIENTATION, K.MOTOR_APRAXIA}
)
#: The inputs of the picture.
INPUTS: Final[tuple[Input, ...]] = (symptom(*JERKS, *COMPANIONS, K.SEIZURE), lab(Analyte.ALUMINUM), SESSION)


class AluminumSuspicionLimits(Limits):
    """Windows of `aluminum_suspicion` and the level that excludes it."""

    together_days: Annotated[Days, Silences.LOWERED] = Field(
        default=7, description="days within which jerk and companion count as one picture (ours)"
    )
    after_session_hours: Annotated[Hours, Silences.LOWERED] = Field(
        default=5, le=24, description="`shortly after dialysis`: hours after the end of a session, L53"
    )
    excluded_below: Annotated[labs.AluminumBound, Silences.RAISED] = Field(
        default={UG_L: 20, UMOL_L: 0.741, NMOL_L: 741},
        description="a level below this, collected after onset, excludes it; KDOQI baseline",
    )


def suspicion_limits(view: PatientView) -> AluminumSuspicionLimits:
    """Return the thresholds in force, for every rule that uses the picture."""
    return view.settings.limits(NAME, AluminumSuspicionLimits)


@dataclass(frozen=True, slots=True)
class _Sign:
    """A jerk with what gives it weight: a companion symptom, or a session that it followed, or worsening after one."""

    jerk: Symptom
    companion: Symptom | None = None
    session: Treatment | None = None

    @property
    def complete_at(self) -> datetime:
        return max(self.jerk.at, self.companion.at) if self.companion else self.jerk.at

    @property
    def completed_by(self) -> Symptom:
        return self.companion if self.companion and self.companion.at > self.jerk.at else self.jerk


@dataclass(frozen=True, slots=True)
class Suspicion:
    """The picture: symptoms in the order of onset, when it began and when it became complete."""

    symptoms: tuple[Symptom, ...]
    seizures: tuple[Symptom, ...]
    sessions: tuple[Treatment, ...]
    completed_by: Symptom
    complete_at: datetime

    @property
    def onset_at(self) -> datetime:
        """Return the onset of the first symptom."""
        return self.symptoms[0].at

    @property
    def newest_at(self) -> datetime:
        """Return the onset of the newest symptom, seizures included."""
        return max(symptom.at for symptom in (*self.symptoms, *self.seizures))

    @property
    def anchors(self) -> tuple[str, ...]:
        """Return first the symptom that completed the picture, then the others."""
        others = [symptom for symptom in self.symptoms if symptom is not self.completed_by]
        return tuple(bedside.symptom_ref(symptom) for symptom in (self.completed_by, *others))


def present_suspicion(view: PatientView, limits: AluminumSuspicionLimits) -> Suspicion | None:
    """Return the picture since the newest level that excludes aluminium; without a jerk there is none."""
    if not bedside.present(view, JERKS):
        return None
    return suspicion(view, limits, excluded_at(view, limits))


def excluded_at(view: PatientView, limits: AluminumSuspicionLimits) -> datetime | None:
    """Return the collection time of the newest final level that excludes aluminium."""
    low = exclusions(view, limits)
    return low[-1] if low else None


def exclusions(view: PatientView, limits: AluminumSuspicionLimits) -> list[datetime]:
    """Return the collection time of every final level that excludes aluminium, in order."""
    return [
        result.at
        for result in labs.results(view, Analyte.ALUMINUM)
        if not result.is_preliminary and result.below(limits.excluded_below) is True
    ]


def suspicion(
    view: PatientView,
    limits: AluminumSuspicionLimits,
    after: datetime | None,
    until: datetime | None = None,
) -> Suspicion | None:
    """Return the picture of symptoms that began after `after` (and not after `until`), if there is one."""
    view.read(*INPUTS)
    return view.fact((Suspicion, id(limits), after, until), lambda: _suspicion(view, limits, after, until))


def _suspicion(
    view: PatientView, limits: AluminumSuspicionLimits, after: datetime | None, until: datetime | None
) -> Suspicion | None:
    def counts(symptom: Symptom) -> bool:
        return (after is None or symptom.at > after) and (until is None or symptom.at <= until)

    jerks = [symptom for symptom in bedside.present(view, JERKS) if counts(symptom)]
    if not jerks:
        return None
    companions = [symptom for symptom in bedside.present(view, COMPANIONS) if counts(symptom)]
    signs = list(_signs(view, limits, jerks, companions))
    if not signs:
        return None
    first = min(signs, key=lambda sign: (sign.complete_at, sign.completed_by.symptom_id))
    symptoms = {sign.jerk.symptom_id: sign.jerk for sign in signs}
    symptoms |= {sign.companion.symptom_id: sign.companion for sign in signs if sign.companion}
    ordered = sorted(symptoms.values(), key=lambda symptom: (symptom.at, symptom.symptom_id))
    together = timedelta(days=limits.together_days)
    seizures = [
        seizure
        for seizure in bedside.present(view, [K.SEIZURE])
        if counts(seizure) and any(abs(seizure.at - sign.jerk.at) <= together for sign in signs)
    ]
    sessions = {sign.session.key: sign.session for sign in signs if sign.session}
    return Suspicion(tuple(ordered), tuple(seizures), tuple(sessions.values()), first.completed_by, first.complete_at)


def pictures(view: PatientView, limits: AluminumSuspicionLimits) -> list[Suspicion]:
    """Return every picture, in order: each between one level that excluded aluminium and the next."""
    if not bedside.present(view, JERKS):
        return []
    bounds = [None, *exclusions(view, limits), None]
    found = (suspicion(view, limits, after, until) for after, until in pairwise(bounds))
    return [picture for picture in found if picture]


def _signs(
    view: PatientView, limits: AluminumSuspicionLimits, jerks: list[Symptom], companions: list[Symptom]
) -> Iterator[_Sign]:
    together = timedelta(days=limits.together_days)
    after = timedelta(hours=limits.after_session_hours)
    ended = [treatment for treatment in bedside.sessions(view) if treatment.ended_at]
    for jerk in jerks:
        for companion in companions:
            if abs(companion.at - jerk.at) <= together:
                yield _Sign(jerk, companion)
        followed = [one for one in ended if timedelta(0) <= jerk.at - one.over_at < after]
        if followed:
            yield _Sign(jerk, session=followed[-1])
        elif jerk.worse_after_dialysis:
            yield _Sign(jerk)

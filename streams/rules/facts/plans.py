"""Treatments that are planned, by the newest word on each of them; and whether a patient is on dialysis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from models.alerts import EvidenceRecord
from models.records import Schedule
from models.state import LONGEST_WINDOW
from streams.rules.api import PatientView
from streams.rules.facts.bedside import sessions
from streams.rules.facts.days import start_of
from streams.rules.inputs import PROFILE, SCHEDULE, SESSION

#: A message under a session id that comes this long after the planned start means another treatment (ours).
ANOTHER: Final = timedelta(hours=12)
#: A plan without a treatment counts for so long after its start: treatments are postponed (ours).
POSTPONED: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """A treatment as the newest word on it plans it."""

    session_id: str
    start: datetime
    record: Schedule

    @property
    def is_cancelled(self) -> bool:
        """Return whether it will not take place."""
        return self.record.status == "cancelled"

    def evidence(self) -> EvidenceRecord:
        """Return the planned start as evidence."""
        return EvidenceRecord(
            kind="schedule", id=self.session_id, name="planned_start", value=None, unit=None, at=self.start
        )


def plans(view: PatientView) -> list[Plan]:
    """Return the planned treatments in the order of their start, cancelled ones included.

    A session id that is used again on another day means another treatment; one that is planned anew was moved.
    """
    state = view.read(SCHEDULE)
    return view.fact(Plan, lambda: _plans(list(state.schedules.values()))) if state.schedules else []


def _plans(words: list[Schedule]) -> list[Plan]:
    found: dict[str, list[Schedule]] = {}
    for word in sorted(words, key=lambda word: (word.at, word.planned_start, word.status)):
        held = found.setdefault(word.session_id, [])
        if held and word.at <= held[-1].planned_start + ANOTHER:
            held.pop()
        held.append(word)
    newest = [Plan(word.session_id, word.planned_start, word) for held in found.values() for word in held]
    return sorted(newest, key=lambda plan: (plan.start, plan.session_id))


@dataclass(frozen=True, slots=True)
class Dialysis:
    """That a patient is on dialysis: since when that is known to be so, and by what."""

    since: datetime
    evidence: EvidenceRecord


def on_dialysis(view: PatientView, moment: datetime) -> Dialysis | None:
    """Return what tells that a patient is on dialysis: one in the last 35 days, one planned, or a first in the profile.

    Args:
        view: the clock, and the inputs.
        moment: shown is the treatment before this moment, else the first one after it.
    """
    profile = view.read(PROFILE).profile
    known = [one for one in sessions(view) if not one.is_mistake and view.now - LONGEST_WINDOW < one.start <= view.now]
    ahead = [plan for plan in plans(view) if not plan.is_cancelled and view.now < plan.start + POSTPONED]
    for moment_of_change in (
        *(one.start for one in sessions(view)),
        *(one.start + LONGEST_WINDOW for one in known[-1:]),
        *(plan.start + POSTPONED for plan in ahead),
    ):
        view.look_at(moment_of_change)
    if profile is not None and profile.first_dialysis_on is not None:
        began = start_of(view, profile.first_dialysis_on)
        shown = EvidenceRecord(
            kind="patient_profile", id=view.subject, name="first_dialysis_on", value=None, unit=None, at=began
        )
        return Dialysis(began, shown)
    if known:
        near = next((one for one in reversed(known) if one.start <= moment), known[0])
        shown = EvidenceRecord(kind="session", id=near.session_id, name="session", value=None, unit=None, at=near.start)
        return Dialysis(known[0].start, shown)
    return Dialysis(ahead[0].record.at, ahead[0].evidence()) if ahead else None


#: What `on_dialysis` reads.
ON_DIALYSIS: Final = (SESSION, SCHEDULE, PROFILE)

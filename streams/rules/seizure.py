"""`seizure` (R24): a seizure stays before people until one of them has dealt with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import Priority
from models.events import SymptomKind
from models.records import Symptom
from models.state import LONGEST_WINDOW
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, Unchanged, guidance
from streams.rules.facts import bedside
from streams.rules.facts.responses import settled
from streams.rules.facts.treatments import Treatment, treatment_at
from streams.rules.inputs import RESPONSE, SESSION, symptom
from streams.rules.thresholds import Hours, Silences

NAME: Final = "seizure"
_KEY: Final = "seizure"
_SEIZURES: Final = (SymptomKind.SEIZURE,)


class SeizureLimits(Limits):
    """How long after a session a seizure counts as one of it."""

    after_session_hours: Annotated[Hours, Silences.LOWERED] = Field(
        default=5, le=24, description="hours after the end of a session; article L51, L53; R24"
    )


_CAUSES: Final = guidance(
    "Assess the patient now, per unit protocol. Check glucose, sodium, ionised calcium, magnesium and blood pressure; "
    "consider disequilibrium where urea fell fast.",
    "article L3-L8, L11; clinical.md R24; disequilibrium and glucose are ours",
)
_TOXIC: Final = guidance(
    "Aluminium and baclofen toxicity both give seizures: review a plasma aluminium level and the medication.",
    "article L9-L11; clinical.md section 0 against article L32",
)


def find(view: PatientView) -> Iterator[Outcome]:
    """A seizure: high during a session or within 5 h after one, medium at any other time.

    One alert a patient. It ends only by a person, or when the seizure was entered in error; another one makes an
    acknowledged alert active again, and raises a new one after a person resolved the last.
    """
    unsettled = bedside.present(view, _SEIZURES)
    over = settled(view, NAME, _KEY, bedside.every_symptom) if unsettled else None
    known = {id(seizure): bedside.known_at(view, seizure) for seizure in unsettled}
    unsettled = [seizure for seizure in unsettled if over is None or known[id(seizure)] > over]
    # One that is kept for an open alert only raises none: the answers to it are forgotten after the window.
    fresh = [seizure for seizure in unsettled if seizure.at > view.now - LONGEST_WINDOW]
    if not fresh:
        if unsettled:
            yield Unchanged(_KEY)
        return
    placed = [(seizure, *_place(view, seizure)) for seizure in fresh]
    of_session = [one for one in placed if one[1] is not None]
    _newest, treatment, where = (of_session or placed)[-1]
    decisive = of_session or placed
    many = f", {len(fresh)} seizures" if len(fresh) > 1 else ""
    yield Finding(
        key=_KEY,
        anchors=tuple(bedside.symptom_ref(seizure) for seizure in fresh),
        priority=Priority.HIGH if of_session else Priority.MEDIUM,
        onset_at=fresh[0].at,
        known_at=max(known[id(seizure)] for seizure in fresh),
        level_known_at=max(known[id(seizure)] for seizure, _, _ in decisive),
        summary=f"Seizure {where}{many}; open until a person resolves it",
        guidance=(_CAUSES, _TOXIC),
        evidence=tuple(bedside.symptom_evidence(seizure) for seizure in fresh),
        session_id=treatment.session_id if treatment else None,
    )


def _place(view: PatientView, seizure: Symptom) -> tuple[Treatment | None, str]:
    """Return the session that a seizure belongs to, if any, and where it lies in words."""
    found = [one for one in bedside.sessions(view) if not one.is_mistake]
    running = treatment_at(found, seizure.at)
    if running is not None:
        return running, "during dialysis"
    hours = timedelta(hours=view.limits(SeizureLimits).after_session_hours)
    over = [one for one in found if one.ended_at and timedelta(0) <= seizure.at - one.over_at <= hours]
    if over:
        minutes = (seizure.at - over[-1].over_at) / timedelta(minutes=1)
        return over[-1], f"{minutes / 60:.1f} h after dialysis"
    return None, "between sessions"


RULE: Final = PatientRule(
    name=NAME,
    version=1,
    family="aluminum",
    ids="R24",
    title="Seizure",
    inputs=(symptom(*_SEIZURES), SESSION, RESPONSE),
    needs=(symptom(*_SEIZURES),),
    limits=SeizureLimits,
    find=find,
    named_by=bedside.every_symptom,
    sources=("article L11, L51, L53", "clinical.md R24", "medium outside of sessions is ours"),
)

"""What was told of a patient before a treatment: the weight, the systolic pressure, and the last weight before it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from models.alerts import EvidenceRecord
from models.records import SessionStarted
from streams.rules.api import PatientView
from streams.rules.facts.dry_weight import LEAST_KG, MOST_KG
from streams.rules.facts.treatments import SKEW, Treatment
from streams.rules.inputs import SESSION, WEIGHT

#: A weight before dialysis belongs to a treatment that begins at most so long after it (ours).
_EARLIEST: Final = timedelta(hours=12)
#: Systolic pressures outside are errors (mmHg, ours): 0 is a cuff that was not asked.
_LEAST_MMHG: Final = 40.0
_MOST_MMHG: Final = 320.0


def weight_before(view: PatientView, treatment: Treatment, previous: Treatment | None) -> EvidenceRecord | None:
    """Return the newest weight (kg) before a treatment: of its start messages, or of a scale since the one before."""
    state = view.read(SESSION, WEIGHT)
    earliest = treatment.start - _EARLIEST
    if previous is not None:
        earliest = max(earliest, previous.over_at)
    weighed = [
        (one.at, one.kg)
        for one in state.weights.values()
        if one.moment == "pre" and earliest <= one.at <= treatment.over_at
    ]
    weighed += [(one.at, one.pre_weight_kg) for one in _starts(treatment) if one.pre_weight_kg is not None]
    return _newest(treatment.session_id, "pre_weight_kg", weighed)


def weight_at_end(view: PatientView, treatment: Treatment, until: datetime) -> EvidenceRecord | None:
    """Return the newest weight (kg) after a treatment and before a moment: of its end, or of a scale."""
    state = view.read(SESSION, WEIGHT)
    weighed = [
        (one.at, one.kg) for one in state.weights.values() if one.moment == "post" and treatment.start <= one.at < until
    ]
    weighed += [
        (end.at, end.post_weight_kg)
        for end in treatment.session.ends
        if end.post_weight_kg is not None and treatment.start <= end.at <= min(treatment.over_at + SKEW, until)
    ]
    return _newest(treatment.session_id, "post_weight_kg", weighed)


def systolic_before(view: PatientView, treatment: Treatment) -> EvidenceRecord | None:
    """Return the systolic pressure (mmHg) before a treatment, as its newest start message that gives one tells it."""
    view.read(SESSION)
    for started in reversed(_starts(treatment)):
        told = started.pre_systolic_mmhg
        if told is not None and _LEAST_MMHG <= told <= _MOST_MMHG:
            return EvidenceRecord(
                kind="session",
                id=treatment.session_id,
                name="pre_systolic_mmhg",
                value=float(told),
                unit="mm[Hg]",
                at=started.at,
            )
    return None


def _starts(treatment: Treatment) -> list[SessionStarted]:
    """Return the start messages of a treatment by time; a session that goes on may be told again without them all."""
    return [one for one in treatment.session.starts if treatment.start <= one.at <= treatment.over_at]


def _newest(name: str, field: str, weighed: list[tuple[datetime, float]]) -> EvidenceRecord | None:
    usable = [(at, kg) for at, kg in weighed if LEAST_KG <= kg <= MOST_KG]
    if not usable:
        return None
    at, kg = max(usable)
    return EvidenceRecord(kind="weight", id=name, name=field, value=float(kg), unit="kg", at=at)

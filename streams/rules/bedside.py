"""Reading symptoms, the electrocardiogram and sessions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from models.alerts import EvidenceRecord
from models.events import SymptomKind
from models.identity import symptom_key
from models.records import Rhythm, Symptom
from models.state import PatientState
from streams.rules.treatments import treatments

K = SymptomKind
#: Signs of nerve and muscle irritability that make a low magnesium urgent (contract, ruling on R01).
IRRITABILITY: Final = frozenset({K.JERK, K.SPASM, K.CRAMP, K.TWITCH, K.MYOCLONUS, K.SEIZURE})


def present(state: PatientState, kinds: Iterable[SymptomKind]) -> list[Symptom]:
    """Symptoms of some kinds that were not entered in error, in the order of onset."""
    wanted = frozenset(kinds)
    found = [s for s in state.symptoms.values() if s.kind in wanted and s.status == "present"]
    return sorted(found, key=lambda symptom: (symptom.at, symptom.symptom_id))


def symptom_ref(symptom: Symptom) -> str:
    """A symptom's name as an anchor."""
    return f"symptom:{symptom.symptom_id}"


def known_at(state: PatientState, symptom: Symptom) -> datetime:
    """When a symptom could be known: when it first arrived."""
    return state.arrivals.get(f"symptom:{symptom_key(symptom)}", symptom.at)


def end_of(symptom: Symptom) -> datetime | None:
    """When a symptom ended; an end before its onset is disbelieved."""
    return symptom.ended_at if symptom.ended_at is not None and symptom.ended_at >= symptom.at else None


def rhythm_known_at(state: PatientState, rhythm: Rhythm) -> datetime:
    """When a finding on the electrocardiogram could be known: when it first arrived."""
    return state.arrivals.get(rhythm_ref(rhythm), rhythm.at)


def rhythm_ref(rhythm: Rhythm) -> str:
    """The name of a finding on the electrocardiogram among the arrivals."""
    return f"rhythm:{rhythm.kind}|{rhythm.event_id or ''}|{rhythm.at.isoformat()}|{rhythm.qtc_ms}"


def every_symptom(state: PatientState, _key: str = "") -> list[str]:
    """Every symptom as an anchor, also those entered in error: before that they may have been one."""
    return [symptom_ref(symptom) for symptom in state.symptoms.values()]


def symptom_evidence(symptom: Symptom) -> EvidenceRecord:
    """A symptom as evidence; the value is its score, 1 to 10, where given."""
    value = None if symptom.score is None else float(symptom.score)
    return EvidenceRecord(
        kind="symptom", id=symptom.symptom_id, name=str(symptom.kind), value=value, unit=None, at=symptom.at
    )


def long_qtc(state: PatientState, since: datetime, limit_ms: float) -> Rhythm | None:
    """The newest QTc measured after `since`, if it is above the limit in milliseconds."""
    measured = [r for r in state.rhythms.values() if r.kind == "qtc" and r.qtc_ms is not None and r.at > since]
    newest = max(measured, key=lambda r: (r.at, r.qtc_ms), default=None)
    return newest if newest and newest.qtc_ms and newest.qtc_ms > limit_ms else None


def rhythm_evidence(rhythm: Rhythm) -> EvidenceRecord:
    """A QTc as evidence."""
    ref = rhythm.event_id or rhythm.at.isoformat()
    return EvidenceRecord(kind="rhythm", id=ref, name=rhythm.kind, value=rhythm.qtc_ms, unit="ms", at=rhythm.at)


def water_loop(state: PatientState) -> str | None:
    """The water loop the patient was last dialysed on."""
    for treatment in reversed(treatments(state)):
        if treatment.started and treatment.started.water_loop_id:
            return treatment.started.water_loop_id
    return None

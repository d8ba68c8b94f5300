"""Facts about symptoms, the electrocardiogram and sessions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from models.alerts import EvidenceRecord
from models.events import Symptom as SymptomModel
from models.events import SymptomKind
from models.identity import symptom_key
from models.records import Rhythm, Symptom
from models.state import PatientState
from streams.rules.api import PatientView
from streams.rules.facts.treatments import Treatment, treatment_at, treatments
from streams.rules.inputs import ANY_SYMPTOM, RHYTHM, SESSION
from streams.rules.inputs import symptom as symptom_input

K = SymptomKind
#: Signs of nerve and muscle irritability that make a low magnesium urgent (contract, ruling on R01).
IRRITABILITY: Final = frozenset({K.JERK, K.SPASM, K.CRAMP, K.TWITCH, K.MYOCLONUS, K.SEIZURE})

_DAY: Final = timedelta(days=1)
_SAID: Final = sorted(
    set(SymptomModel.model_fields) - {"type", "received_at", "merged_from", "patient_id", "symptom_id", "status"}
)


def sessions(view: PatientView) -> list[Treatment]:
    """Return the patient's treatments in the order of their start; do not change the list, others share it."""
    state = view.read(SESSION)
    return view.fact(Treatment, lambda: treatments(state))


def treated(view: PatientView) -> list[Treatment]:
    """Return the treatments without those that were opened by mistake, likewise in order and shared."""
    found = sessions(view)
    return view.fact(treated, lambda: [one for one in found if not one.is_mistake])


def running(view: PatientView) -> Treatment | None:
    """Return the treatment that runs now."""
    found = sessions(view)
    return view.fact(running, lambda: treatment_at(found, view.now, timedelta(0)))


def just_ended(view: PatientView) -> list[Treatment]:
    """Return the treatments that ended within a day, but for one that runs; conditions of them may have to end."""
    found, still = sessions(view), running(view)
    return view.fact(
        just_ended, lambda: [one for one in found if one is not still and view.now - _DAY <= one.over_at <= view.now]
    )


def present(view: PatientView, kinds: Iterable[SymptomKind]) -> list[Symptom]:
    """Return symptoms of some kinds that were not entered in error, in the order of onset.

    Which messages are about one symptom depends on the sessions, too (see `_words`); where it does, a change of a
    session counts as a change of the symptoms.
    """
    wanted = frozenset(kinds)
    state = view.read(symptom_input(*wanted))
    if not state.symptoms:
        return []
    found = [s for s in view.fact(Symptom, lambda: _symptoms(state)) if s.kind in wanted and s.status == "present"]
    return sorted(found, key=lambda symptom: (symptom.at, symptom.symptom_id))


def symptoms(view: PatientView) -> list[Symptom]:
    """Return the patient's symptoms, each merged from all its messages."""
    state = view.read(ANY_SYMPTOM)
    return view.fact(Symptom, lambda: _symptoms(state))


def _symptoms(state: PatientState) -> list[Symptom]:
    return [words[0] if len(words) == 1 else as_one(words) for words in _words(state)]


def as_one(words: Sequence[Symptom]) -> Symptom:
    """Merge the messages of one symptom field by field, keeping the greatest value; a missing value loses.

    An older message never undoes an end or an `entered_in_error`. The order of the messages does not matter.
    """
    status = "present" if all(word.status == "present" for word in words) else "entered_in_error"
    greatest = {}
    for name in _SAID:
        said = [value for word in words if (value := getattr(word, name)) is not None]
        greatest[name] = max(said, default=None)
    return msgspec.structs.replace(words[0], **greatest, status=status)  # type: ignore[type-var]


def _words(state: PatientState) -> list[list[Symptom]]:
    """Group the messages by symptom, in the order of their times.

    Messages under one id are about one symptom in one treatment; outside treatments, about one a day.
    """
    held = state.symptoms.values()
    if len({symptom.symptom_id for symptom in held}) == len(held):
        return [[symptom] for symptom in held]
    found = treatments(state)
    groups: list[list[Symptom]] = []
    newest: dict[str, tuple[Treatment | None, list[Symptom]]] = {}
    for word in sorted(held, key=lambda symptom: symptom.at):
        treatment = treatment_at(found, word.at)
        before, group = newest.get(word.symptom_id, (None, []))
        if not group or not _is_one(group[-1], before, word, treatment):
            group = []
            groups.append(group)
        group.append(word)
        newest[word.symptom_id] = treatment, group
    return groups


def _is_one(before: Symptom, then: Treatment | None, word: Symptom, now: Treatment | None) -> bool:
    if then is not None and now is not None:
        return then is now
    return before.at.date() == word.at.date()


def symptom_ref(symptom: Symptom) -> str:
    """Return a symptom's name as an anchor."""
    return f"symptom:{symptom.symptom_id}"


def known_at(view: PatientView, symptom: Symptom) -> datetime:
    """Return when a symptom became known: when its first message arrived."""
    state = view.read(symptom_input(symptom.kind))
    known = heard_at(state, symptom)
    if known == state.arrivals.get(symptom_ref(symptom), known):  # the first message under this id at all
        return known
    words = next((group for group in _words(state) if as_one(group) == symptom), [symptom])
    return min(heard_at(state, word) for word in words)


def heard_at(state: PatientState, word: Symptom) -> datetime:
    """Return when a symptom's message first arrived."""
    return state.arrivals.get(f"symptom:{symptom_key(word)}", word.at)


def end_of(symptom: Symptom) -> datetime | None:
    """Return when a symptom ended; an end before its onset counts as none."""
    return symptom.ended_at if symptom.ended_at is not None and symptom.ended_at >= symptom.at else None


def qtc_known_at(view: PatientView, rhythm: Rhythm) -> datetime:
    """Return when a finding on the electrocardiogram became known."""
    return rhythm_known_at(view.read(RHYTHM), rhythm)


def rhythm_known_at(state: PatientState, rhythm: Rhythm) -> datetime:
    """Return when a finding on the electrocardiogram became known: when it first arrived."""
    return state.arrivals.get(rhythm_ref(rhythm), rhythm.at)


def rhythm_ref(rhythm: Rhythm) -> str:
    """Return the name of a finding on the electrocardiogram among the arrivals."""
    return f"rhythm:{rhythm.kind}|{rhythm.event_id or ''}|{rhythm.at.isoformat()}|{rhythm.qtc_ms}"


def rhythms_of(view: PatientView, kinds: Iterable[str]) -> list[Rhythm]:
    """Return the findings of some kinds on the electrocardiogram in the order of their times."""
    wanted = frozenset(kinds)
    found = (one for one in view.read(RHYTHM).rhythms.values() if one.kind in wanted)
    return sorted(found, key=lambda one: (one.at, one.kind, one.qtc_ms or 0.0, one.event_id or ""))


def every_rhythm(state: PatientState, _key: str = "") -> list[str]:
    """Return every finding on the electrocardiogram as an anchor."""
    return [rhythm_ref(found) for found in state.rhythms.values()]


def every_symptom(state: PatientState, _key: str = "") -> list[str]:
    """Return every symptom as an anchor, also those entered in error: before that they may have been one."""
    return [symptom_ref(symptom) for symptom in state.symptoms.values()]


def symptom_evidence(symptom: Symptom) -> EvidenceRecord:
    """Return a symptom as evidence; the value is its score, 1 to 10, where given."""
    value = None if symptom.score is None else float(symptom.score)
    return EvidenceRecord(
        kind="symptom", id=symptom.symptom_id, name=str(symptom.kind), value=value, unit=None, at=symptom.at
    )


def long_qtc(view: PatientView, since: datetime, limit_ms: float) -> Rhythm | None:
    """Return the newest QTc measured after `since`, if it is above the limit in milliseconds."""
    rhythms = view.read(RHYTHM).rhythms.values()
    measured = [r for r in rhythms if r.kind == "qtc" and r.qtc_ms is not None and r.at > since]
    newest = max(measured, key=lambda r: (r.at, r.qtc_ms), default=None)
    return newest if newest and newest.qtc_ms and newest.qtc_ms > limit_ms else None


def rhythm_evidence(rhythm: Rhythm) -> EvidenceRecord:
    """Return a finding on the electrocardiogram as evidence; that of a QTc has a value (ms)."""
    ref = rhythm.event_id or rhythm.at.isoformat()
    value, unit = (rhythm.qtc_ms, "ms") if rhythm.kind == "qtc" else (None, None)
    return EvidenceRecord(kind="rhythm", id=ref, name=rhythm.kind, value=value, unit=unit, at=rhythm.at)


def water_loop(state: PatientState) -> str | None:
    """Return the water loop on which the patient was last dialysed."""
    for treatment in reversed(treatments(state)):
        if treatment.started and treatment.started.water_loop_id:
            return treatment.started.water_loop_id
    return None

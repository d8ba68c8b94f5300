"""The electrocardiogram: `qtc_prolonged` (R63), `arrhythmia_event` (R61) and `arrhythmia_risk` (R62)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import BoundRecord, EvidenceRecord, Priority, Reason, Status
from models.analytes import Analyte
from models.records import Rhythm
from models.state import MAX_EVIDENCE, PatientState
from streams.rules.api import Ending, Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import bedside
from streams.rules.facts.arrhythmia import (
    ELECTROLYTES,
    LOW_ELECTROLYTES,
    Abnormal,
    abnormal,
    electrolyte_inputs,
    heart,
)
from streams.rules.facts.long_qtc import NAME as LONG_QTC
from streams.rules.facts.long_qtc import QtcLimits, bound_of, long_in_a_row, longer_than
from streams.rules.facts.places import watched_treatment, watched_until
from streams.rules.facts.responses import settled
from streams.rules.facts.treatments import Treatment, treatments
from streams.rules.inputs import PROFILE, RESPONSE, RHYTHM, SESSION, holds
from streams.rules.thresholds import Days, Silences

# -- qtc_prolonged ----------------------------------------------------------------------------------------------------

_QTC_REVIEW: Final = guidance(
    "Review the medicines that lengthen the QTc, potassium, magnesium and ionised calcium, and the dialysate. Consider "
    "a trace that a person measures: below 480 ms nearly half of what machines call long on dialysis is not.",
    "article L51; PACE; clinical.md 2.9, R63",
)
_TORSADES: Final = guidance(
    "Above 500 ms with a low electrolyte: assess the patient and the rhythm now, and review that electrolyte first, "
    "per unit protocol.",
    "article L51; clinical.md 2.9, R63 (AHA)",
)


def find_qtc(view: PatientView) -> Iterator[Outcome]:
    """The newest QTc is long: low, above 480 ms medium, above 500 ms high while a low electrolyte holds.

    The electrolytes are potassium, magnesium and ionised calcium. A newer QTc that is not long ends it. Without a
    newer one it expires after 7 days (ours): it tells of the treatments of a week, then nobody knows.
    """
    run = long_in_a_row(view)
    if not run:
        return
    over = run[0].at + timedelta(days=view.limits(QtcLimits).counts_days)
    if view.now >= over:
        yield Ending("qtc", Status.EXPIRED, Reason.UNCONFIRMED_END)
        return
    view.look_at(over)
    yield _qtc_finding(view, run, abnormal(view, LOW_ELECTROLYTES))


def _qtc_finding(view: PatientView, run: list[Rhythm], low: list[Abnormal]) -> Finding:
    limits = view.limits(QtcLimits)
    priority, bound, at_level = Priority.LOW, bound_of(view), run
    if longer := longer_than(run, limits.medium_ms):
        priority, bound, at_level = Priority.MEDIUM, limits.medium_ms, longer
    if low and (longest := longer_than(run, limits.high_ms)):
        priority, bound, at_level = Priority.HIGH, limits.high_ms, longest
    known, level_known = _known(view, run[0]), min(_known(view, one) for one in at_level)
    with_low = low if priority is Priority.HIGH else []
    if with_low:
        known = max(known, *(one.run[0].known_at for one in low))
        level_known = max(level_known, min(one.since for one in low))
    return Finding(
        key="qtc",
        anchors=tuple(bedside.rhythm_ref(one) for one in reversed(run)),
        priority=priority,
        onset_at=run[-1].at,
        known_at=known,
        level_known_at=level_known,
        summary=f"QTc {run[0].qtc_ms:g} ms, above {bound:g}" + (f", with {_named(with_low)}" if with_low else ""),
        guidance=tuple_of(_TORSADES if with_low else None, _QTC_REVIEW),
        evidence=(bedside.rhythm_evidence(run[0]), *(one.run[0].evidence() for one in with_low)),
        bound=BoundRecord(value=float(bound), unit="ms"),
    )


def _known(view: PatientView, found: Rhythm) -> datetime:
    return bedside.rhythm_known_at(view.read(RHYTHM), found)


def _named(found: list[Abnormal]) -> str:
    return " and ".join(f"{one.analyte.words} {one.run[0].shown()}" for one in found)


QTC_RULE: Final = PatientRule(
    name=LONG_QTC,
    version=1,
    family="rhythm",
    ids="R63",
    title="QTc above the limit",
    inputs=(RHYTHM, PROFILE, *electrolyte_inputs(LOW_ELECTROLYTES)),
    needs=(RHYTHM,),
    limits=QtcLimits,
    find=find_qtc,
    named_by=bedside.every_rhythm,
    sources=("article L51", "PACE", "AHA", "clinical.md 2.9"),
    without=("the formula of a QTc, and whether a machine or a person measured it",),
)

# -- arrhythmia_event -------------------------------------------------------------------------------------------------

_EVENT: Final = "arrhythmia_event"
#: From the least to the greatest.
_WORDS: Final = {
    "pvc_frequent": "frequent premature ventricular beats",
    "vt": "ventricular tachycardia",
    "vf": "ventricular fibrillation",
    "asystole": "asystole",
}
_GRAVE: Final = frozenset({"vt", "vf", "asystole"})


class EventLimits(Limits):
    """For how long an event that nobody answers stays open."""

    open_days: Annotated[Days, Silences.LOWERED] = Field(
        default=30, description="days for which ventricular tachycardia or worse stays open without an answer (ours)"
    )
    pvc_days: Days = Field(
        default=3, description="days for which premature beats alone stay open: until the next treatment (ours)"
    )


_ASSESS: Final = guidance(
    "Assess the patient and the pulse now, per unit protocol. Check the electrodes, potassium, magnesium, ionised "
    "calcium, blood pressure and the dialysate.",
    "article L51, L53; clinical.md R61; the electrodes are ours",
)
_BEATS: Final = guidance(
    "Check the rhythm, potassium, magnesium and ionised calcium. Review the dialysate, the ultrafiltration rate and "
    "the medicines that lengthen the QTc.",
    "article L51, L53; clinical.md R61",
)


@dataclass(slots=True)
class _Group:
    """The events of one treatment with the hours after it; or those of a day (UTC) outside of all treatments."""

    treatment: Treatment | None
    events: list[Rhythm]


def _groups(found: list[Treatment], events: list[Rhythm]) -> dict[str, _Group]:
    """Return the events in groups, by names that no other message changes."""
    groups: dict[str, _Group] = {}
    for event in events:
        treatment = watched_treatment(found, event.at)
        key = f"day|{event.at.date()}" if treatment is None else f"{treatment.session_id}|{treatment.start.date()}"
        groups.setdefault(key, _Group(treatment, [])).events.append(event)
    return groups


def find_events(view: PatientView) -> Iterator[Outcome]:
    """Ventricular tachycardia, fibrillation or asystole: high in a treatment and for 5 h after it, else medium.

    Frequent premature beats are medium then, else low (ours: nothing is more urgent outside). The events of a
    treatment are one alert, and so are those of a day (UTC) outside. It ends only by a person, after which a further
    event raises it again; without an answer it expires 30 days after the last event, of premature beats alone 3 days.
    """
    limits, events = view.limits(EventLimits), bedside.rhythms_of(view, _WORDS)
    view.read(SESSION, RESPONSE)
    if not events:
        return
    for key, group in _groups(bedside.sessions(view), events).items():
        over = settled(view, _EVENT, key, _events_of)
        fresh = [one for one in group.events if over is None or _known(view, one) > over]
        if not fresh:
            continue
        until = max(one.at + timedelta(days=_days(limits, one)) for one in fresh)
        if view.now >= until:
            yield Ending(key, Status.EXPIRED, Reason.UNCONFIRMED_END)
            continue
        view.look_at(until)
        yield _event_finding(view, key, group.treatment, fresh)


def _days(limits: EventLimits, event: Rhythm) -> float:
    return limits.open_days if event.kind in _GRAVE else limits.pvc_days


def _event_finding(view: PatientView, key: str, treatment: Treatment | None, events: list[Rhythm]) -> Finding:
    grave = [one for one in events if one.kind in _GRAVE]
    kinds = {one.kind for one in events}
    named = [words for kind, words in reversed(_WORDS.items()) if kind in kinds]
    where = "outside dialysis" if treatment is None else _where(treatment, (grave or events)[-1])
    many = f", {len(events)} events" if len(events) > 1 else ""
    known = [_known(view, one) for one in events]
    # Further premature beats are no news to who acknowledged some; a further tachycardia is.
    level_known = max(_known(view, one) for one in grave) if grave else min(known)
    return Finding(
        key=key,
        anchors=tuple(bedside.rhythm_ref(one) for one in events),
        priority=_event_priority(is_grave=bool(grave), is_watched=treatment is not None),
        onset_at=events[0].at,
        known_at=max(known),
        level_known_at=level_known,
        summary=f"{', '.join(named).capitalize()} {where}{many}; open until a person resolves it",
        guidance=(_ASSESS if grave else _BEATS,),
        evidence=tuple(bedside.rhythm_evidence(one) for one in _shown(events)),
        session_id=treatment.session_id if treatment else None,
    )


def _event_priority(*, is_grave: bool, is_watched: bool) -> Priority:
    if is_grave:
        return Priority.HIGH if is_watched else Priority.MEDIUM
    return Priority.MEDIUM if is_watched else Priority.LOW


def _where(treatment: Treatment, event: Rhythm) -> str:
    after = event.at - treatment.over_at
    if treatment.ended_at is None or after <= timedelta(0):
        return "during dialysis"
    return f"{after / timedelta(hours=1):.1f} h after dialysis"


def _shown(events: list[Rhythm]) -> list[Rhythm]:
    """Return the events to show: of more than an alert holds the greatest, then the newest, in their order."""
    greatest = sorted(events, key=lambda one: (one.kind in _GRAVE, one.at))[-MAX_EVIDENCE:]
    return sorted(greatest, key=lambda one: (one.at, one.kind))


def _events_of(state: PatientState, key: str) -> list[str]:
    """Return the events that belong to the group of `key`."""
    events = [one for one in state.rhythms.values() if one.kind in _WORDS]
    group = _groups(treatments(state), events).get(key)
    return [bedside.rhythm_ref(one) for one in group.events] if group else []


EVENT_RULE: Final = PatientRule(
    name=_EVENT,
    version=1,
    family="rhythm",
    ids="R61",
    title="Ventricular arrhythmia or asystole",
    inputs=(RHYTHM, SESSION, RESPONSE),
    needs=(RHYTHM,),
    limits=EventLimits,
    find=find_events,
    named_by=_events_of,
    sources=("article L51, L53", "clinical.md R61"),
    without=(
        "atrial fibrillation: R61 names ventricular arrhythmia and asystole, and many patients live with it",
        "a finding on the electrocardiogram that is taken back: no message says so, a person resolves it",
    ),
)

# -- arrhythmia_risk --------------------------------------------------------------------------------------------------

_HYPOTENSION: Final = holds("intradialytic_hypotension")
_IS_LONG: Final = holds(LONG_QTC)


class RiskLimits(Limits):
    """How many factors are a risk: LVH counts 0.5, every other one 1."""

    ascending = (("risk_score", "high_score"),)

    risk_score: float = Field(default=2.0, gt=1, le=5, description="factors from which it is medium; clinical.md R62")
    high_score: Annotated[float, Silences.RAISED] = Field(
        default=3.0, gt=1, le=5, description="factors from which an abnormal potassium or magnesium makes it high; R62"
    )


_RISK_REVIEW: Final = guidance(
    "Review potassium, magnesium, ionised calcium and the ultrafiltration rate, and the medicines that lengthen the "
    "QTc. Check the rhythm during dialysis and for 4 to 5 h after it, per unit protocol.",
    "article L51, L53; clinical.md R62",
)


@dataclass(frozen=True, slots=True)
class _Factor:
    """One factor: its weight, in words, since when it is known, when its newest evidence became known, and that."""

    weight: float
    words: str
    since: datetime
    newest: datetime
    evidence: tuple[EvidenceRecord, ...]


def find_risk(view: PatientView) -> Iterator[Outcome]:
    """Two factors of an arrhythmia in a treatment or the 5 h after it, three with a potassium or magnesium: high.

    Factors are cardiomyopathy or ischaemic heart disease, a long QTc, an abnormal potassium, a low magnesium or ionised
    calcium, and hypotension, while their rules find them; left ventricular hypertrophy counts a half. One alert a
    treatment, over when a factor ends or the window closes.
    """
    treatment = watched_treatment(bedside.sessions(view), view.now)
    if treatment is None:
        return
    limits, found = view.limits(RiskLimits), abnormal(view, ELECTROLYTES)
    factors = list(_factors(view, treatment, found))
    score = sum(one.weight for one in factors)
    if score < limits.risk_score:
        return
    view.look_at(watched_until(treatment) + timedelta(microseconds=1))
    salts = [one.since for one in found if one.analyte is not Analyte.IONIZED_CALCIUM]
    is_high = score >= limits.high_score and bool(salts)
    begun = _reached(factors, limits.high_score if is_high else limits.risk_score)
    yield Finding(
        key=treatment.key,
        anchors=(f"session:{treatment.key}",),
        priority=Priority.HIGH if is_high else Priority.MEDIUM,
        onset_at=max(treatment.start, _reached(factors, limits.risk_score)),
        known_at=max(treatment.start, *(one.newest for one in factors)),
        level_known_at=max(treatment.start, begun, *([min(salts)] if is_high else [])),
        summary=f"Risk of an arrhythmia: {', '.join(one.words for one in factors)}",
        guidance=(_RISK_REVIEW,),
        evidence=tuple(item for one in factors for item in one.evidence),
        session_id=treatment.session_id,
    )


def _factors(view: PatientView, treatment: Treatment, found: list[Abnormal]) -> Iterator[_Factor]:
    for weight, _, item in heart(view.read(PROFILE)):
        # A profile is sent again and again: that is no news of the heart.
        yield _Factor(weight, str(item.value).replace("_", " "), treatment.start, treatment.start, (item,))
    if view.holds(_IS_LONG) is not None and (run := long_in_a_row(view)):
        since, newest = min(_known(view, one) for one in run), _known(view, run[0])
        yield _Factor(1.0, f"QTc {run[0].qtc_ms:g} ms", since, newest, (bedside.rhythm_evidence(run[0]),))
    if found:
        since, newest = min(one.since for one in found), max(one.run[0].known_at for one in found)
        yield _Factor(1.0, _named(found), since, newest, tuple(one.run[0].evidence() for one in found))
    if view.holds(_HYPOTENSION) is not None:
        yield _Factor(1.0, "hypotension", treatment.start, treatment.start, ())


def _reached(factors: list[_Factor], score: float) -> datetime:
    """Return when the factors, in the order in which they became known, came to a score."""
    total, ordered = 0.0, sorted(factors, key=lambda one: one.since)
    for one in ordered:
        total += one.weight
        if total >= score:
            return one.since
    return ordered[-1].since


def _the_session(state: PatientState, key: str) -> list[str]:
    return [f"session:{one.key}" for one in treatments(state) if one.key == key]


RISK_RULE: Final = PatientRule(
    name="arrhythmia_risk",
    version=1,
    family="rhythm",
    ids="R62",
    title="Factors of an arrhythmia in a treatment and after it",
    inputs=(SESSION, PROFILE, RHYTHM, _IS_LONG, _HYPOTENSION, *electrolyte_inputs(ELECTROLYTES)),
    needs=(PROFILE, RHYTHM, *electrolyte_inputs(ELECTROLYTES)[-1:]),
    limits=RiskLimits,
    find=find_risk,
    named_by=_the_session,
    sources=("article L51, L53", "clinical.md R62"),
    without=("hypotension that is over: it counts while its rule finds it, and shows no reading of its own",),
)
RULES: Final[tuple[PatientRule, ...]] = (QTC_RULE, EVENT_RULE, RISK_RULE)

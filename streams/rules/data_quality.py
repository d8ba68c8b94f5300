"""`data_quality` (E07): input that cannot be evaluated, reported once and closed by the first usable input."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from models.alerts import EvidenceRecord, Priority
from models.drugs import drugs_of
from models.identity import analyte_of, medication_key
from models.records import LabResult, Medication
from models.state import LONGEST_WINDOW, PatientState
from streams.rules.api import (
    Finding,
    Limits,
    Outcome,
    PatientPart,
    PatientRule,
    PatientView,
    Rule,
    SettingsView,
    guidance,
)
from streams.rules.drops import dropped
from streams.rules.facts import bedside, labs, orders
from streams.rules.facts.late_clocks import is_behind, is_machine
from streams.rules.facts.replaced_results import circles
from streams.rules.fences import outside
from streams.rules.inputs import (
    ANY_DRUG,
    ANY_LAB,
    ANY_SYMPTOM,
    CLOCK,
    DROPPED,
    FAILING,
    MERGE,
    PROFILE,
    SESSION,
    WEIGHT,
    lab,
)
from streams.rules.session_doubts import contradictory_sessions
from streams.rules.standing_sensors import standing
from streams.rules.weight_doubts import impossible_numbers, pounds

log = logging.getLogger(__name__)

#: How long a contradiction in a symptom's times is shown.
_SAID_FOR: Final = timedelta(hours=24)

_UNKNOWN: Final = "an unknown code"
#: How many unknown drugs a summary names.
_SHOWN_NAMES: Final = 3
#: Keys of accepted risks, and their anchors: an input may anchor another alert of this rule, too.
_RISK: Final = "risk:"
_ASK: Final = "Review this patient as if the alert had come: this site's settings keep it silent."


class DataQualityLimits(Limits):
    """None of its own: units and fences are in `models.analytes`, the clock's 5 min in `engine.sender_clocks`."""


def find(view: PatientView) -> Iterator[Outcome]:
    """Unknown codes and units, implausible or undecidable values, contradictory flags, wrong clocks.

    Also numbers of machines, sessions and weights that cannot be, which are left out (looked for 2, 10 and 30 min after
    a session began, then each half hour), sensors that stand still, weights in pounds, sessions that contradict
    themselves or last for days, and what would be high with the shipped thresholds where this site accepts that it is
    not (`accept_risk`). Only the newest result of an analyte counts: a usable one after it closes the alert.
    """
    for part in _PARTS:
        yield from part.find(view)


def _results(view: PatientView) -> Iterator[Finding]:
    view.read(ANY_LAB)
    newest: dict[str, LabResult] = {}
    for analyte, records in labs.by_analyte(view).items():
        name, known = analyte or _UNKNOWN, None
        for record in reversed(records):  # mostly the newest first, so the others are skipped soon
            if known is not None and record.at < known.at and analyte is not None:
                continue
            if not labs.is_live(record) or not labs.is_of_patient(record):
                continue
            # Of unknown codes the first stays: a feed full of them is one condition, not many.
            if known is None or _is_later(view, record, known) != (analyte is None):
                newest[name] = known = record
    for name, record in sorted(newest.items()):
        problem = labs.trouble(record) or _doubt(view, record)
        if problem:
            arrived = labs.known_at(view.read(ANY_LAB), record)
            yield _finding(
                key=f"lab_result:{name}",
                anchor=f"lab_result:{record.result_id}|{name}",
                moment=record.at,
                known=arrived,
                summary=f"Result of {name} not evaluated: {problem}",
                evidence=labs.evidence(record, analyte_of(record)),
                advice="Check the result with the laboratory; a usable result or a correction closes this.",
            )


def _named_by(state: PatientState, key: str) -> Iterator[str]:
    """Yield every result of the analyte that the key names; for an accepted risk every result, symptom and rhythm."""
    if key.startswith(_RISK):
        yield from (f"{key}:{ref}" for ref in labs.every_ref(state))
        yield from (f"{key}:{ref}" for ref in bedside.every_symptom(state))
        yield from (f"{key}:{ref}" for ref in bedside.every_rhythm(state))
        return
    for record in (*state.labs.values(), *state.versions.values()):
        if key == _key(record):
            yield f"lab_result:{record.result_id}|{_name(record)}"
            yield f"lab_result:{record.result_id}"


def _key(record: LabResult) -> str:
    return f"lab_result:{_name(record)}"


def _name(record: LabResult) -> str:
    return analyte_of(record) or _UNKNOWN


def _is_later(view: PatientView, one: LabResult, other: LabResult) -> bool:
    """Return whether one result comes after another: by collection, then report, then result id, then code."""
    if one.at != other.at:
        return one.at > other.at
    first, second = (labs.order_of(view.read(ANY_LAB), record) for record in (one, other))
    return (first, one.loinc or "") > (second, other.loinc or "")


def _doubt(view: PatientView, record: LabResult) -> str | None:
    """Return the first doubt that the rules that read an analyte have of a readable result of it."""
    if record.comparator is None and not record.flags:
        return None  # nearly every result: a plain value has its place
    result = labs.read(view.read(ANY_LAB), record)
    if result is None:
        return None
    (facet,) = lab(result.analyte).facets
    doubts = (rule.doubts(view.of_rule(rule), result) for rule in view.settings.doubting(facet) if rule.doubts)
    return next((doubt for doubt in doubts if doubt), None)


def _clocks(view: PatientView) -> Iterator[Finding]:
    for source, problem in sorted(view.read(CLOCK).problems.items()):
        if view.now >= problem.at:
            continue
        view.look_at(problem.at)
        yield _finding(
            key=f"clock:{source}",
            anchor=f"clock:{source}:{problem.id}",
            moment=problem.since,
            known=problem.since,
            summary=f"Clock of {source} is {problem.ahead_s:.0f} s ahead",
            evidence=EvidenceRecord(
                kind="clock",
                id=source,
                name="ahead",
                value=problem.ahead_s,
                unit="s",
                at=problem.since,
            ),
            advice="Check the clock of the sending device: its samples are filed at a time that has not come.",
        )


def _contradictory_symptoms(view: PatientView) -> Iterator[Finding]:
    """Report symptoms that end before they begin."""
    for symptom in bedside.symptoms(view):
        if symptom.ended_at is None or bedside.end_of(symptom) is not None or symptom.status != "present":
            continue
        known = bedside.known_at(view, symptom)
        if view.now >= known + _SAID_FOR:
            continue
        view.look_at(known + _SAID_FOR)
        name = f"symptom:{symptom.symptom_id}|{symptom.at.date().isoformat()}"
        yield _finding(
            key=name,
            anchor=name,
            moment=symptom.at,
            known=known,
            summary=f"A {symptom.kind} is said to have ended before it began; its end is disbelieved",
            evidence=bedside.symptom_evidence(symptom),
            advice="Check the times of the symptom, and the clocks of the devices that sent them.",
        )


def _behind(view: PatientView) -> Iterator[Finding]:
    """Report senders whose clock is behind."""
    state = view.read(CLOCK, SESSION)
    for source, lags in sorted(state.behind.items()):
        if not is_behind(lags, state.heard.get(source), of_machine=is_machine(state, source)):
            continue
        newest = lags[-1]
        yield _finding(
            key=f"behind:{source}",
            anchor=f"behind:{source}",
            moment=newest.at,
            known=newest.at,
            summary=f"Clock of {source} is {newest.value / 60:.0f} min behind",
            evidence=EvidenceRecord(kind="clock", id=source, name="behind", value=newest.value, unit="s", at=newest.at),
            advice="Check the clock and the time zone of the sending device: its events are filed too early.",
        )


def _circles(view: PatientView) -> Iterator[Finding]:
    """Report results that replace each other in a circle; all of them count meanwhile."""
    for analyte, records in circles(view.read(ANY_LAB)):
        known = max(labs.known_at(view.read(ANY_LAB), record) for record in records)
        if view.now >= known + _SAID_FOR:
            continue
        view.look_at(known + _SAID_FOR)
        names = list(dict.fromkeys(record.result_id for record in records))
        yield _finding(
            key=f"replaces:{analyte}",
            anchor=f"replaces:{analyte}|{min(names)}",
            moment=records[0].at,
            known=known,
            summary=f"Results of {analyte} replace each other in a circle of {len(names)}; all of them count",
            evidence=labs.evidence(records[-1], analyte_of(records[-1])),
            advice="Ask the laboratory which of these results is the valid one.",
        )


def _unknown_drugs(view: PatientView) -> Iterator[Finding]:
    """Report drugs whose names nobody knows: rules about medicines do not see them. One alert a patient for all."""
    steps: dict[str, Medication] = {}
    for step in sorted(view.read(ANY_DRUG).medications.values(), key=lambda step: (step.at, medication_key(step))):
        if drugs_of(step.drug) is None:
            steps.setdefault(step.drug.casefold(), step)
    since = view.now - LONGEST_WINDOW
    news = [step for step in steps.values() if step.at > since]
    if not news:
        return
    view.look_at(min(step.at for step in news) + LONGEST_WINDOW)
    first, names = news[0], ", ".join(step.drug for step in news[:_SHOWN_NAMES])
    more = f" and {len(news) - _SHOWN_NAMES} more" if len(news) > _SHOWN_NAMES else ""
    state = view.read(ANY_DRUG)
    known = max(orders.step_known_at(state, step) for step in news)
    yield _finding(
        key="drugs",
        anchor=f"drug:{first.drug.casefold()}",
        moment=first.at,
        known=known,
        summary=f"Unknown drug: {names}{more}; rules about medicines do not see it",
        evidence=orders.step_evidence(first),
        advice="Check the name with the sender: the contract asks for the generic name.",
        priority=Priority.INFO,
    )


def _rules(view: PatientView) -> Iterator[Finding]:
    for rule, since in sorted(view.read(FAILING).failing.items()):
        yield _finding(
            key=f"rule:{rule}",
            anchor=f"rule:{rule}:{since.isoformat()}",
            moment=since,
            known=since,
            summary=f"Rule {rule} failed and watches no longer; the other rules do",
            evidence=EvidenceRecord(kind="rule", id=rule, name="failed", value=None, unit=None, at=since),
            advice="Tell the operator of this processor: its log names the fault.",
        )


def _risks(view: PatientView) -> Iterator[Finding]:
    """Report what the site's settings silence, where it is true of the patient: one alert for each rule."""
    for risk in view.settings.risks:
        found = _unheard(view, risk.rule) if risk.rule is not None else None
        if found is None:
            continue
        yield Finding(
            key=f"{_RISK}{risk.name}",
            anchors=tuple(f"{_RISK}{risk.name}:{anchor}" for anchor in found.anchors),
            priority=Priority.LOW,
            onset_at=found.onset_at,
            known_at=found.known_at,
            level_known_at=found.level_known_at,
            summary=f"{found.summary}: high as shipped, not by this site's settings; accepted: {risk.accepted}",
            guidance=(guidance(_ASK, "the site's rule settings"), *found.guidance),
            evidence=found.evidence,
            session_id=found.session_id,
        )


def _unheard(view: PatientView, rule: Rule[Any]) -> Finding | None:
    """Return a finding of priority high with the shipped thresholds that is not high with the site's."""
    try:
        shipped = _high(view, rule, view.settings.shipped)
        heard = _high(view, rule, view.settings) if shipped and view.settings.is_on(rule) else {}
    except Exception:  # a faulty rule, perhaps off for that reason, must not blind this one
        log.exception("rule %s failed; whether an accepted risk is true of a patient is not known", rule.name)
        return None
    return next((shipped[key] for key in sorted(shipped.keys() - heard.keys())), None)


def _high(view: PatientView, rule: Rule[Any], settings: SettingsView) -> dict[str, Finding]:
    asked = view.under(rule, settings)
    found = [outcome for outcome in rule.find(asked) if isinstance(outcome, Finding)]
    if asked.next_look is not None:
        view.look_at(asked.next_look)
    return {finding.key: finding for finding in found if finding.priority is Priority.HIGH}


def _merges(view: PatientView) -> Iterator[Finding]:
    """Report merges that contradict each other: a record into itself, or records in a circle."""
    known = {other: at for other, at in view.read(MERGE).contradictions.items() if at >= view.now - LONGEST_WINDOW}
    if not known:
        return
    first = min(known.values())
    view.look_at(first + LONGEST_WINDOW + timedelta(microseconds=1))
    circle = view.subject not in known or len(known) > 1
    yield _finding(
        key="merge",
        anchor=f"merge:{first.isoformat()}",
        moment=first,
        known=max(known.values()),
        summary="Records were merged in a circle; this one stays" if circle else "The record was merged into itself",
        evidence=EvidenceRecord(kind="merge", id=min(known), name="merged", value=None, unit=None, at=first),
        advice="Check with the patient administration which record stays; the merge is not carried out.",
    )


def _finding(
    key: str,
    anchor: str,
    moment: datetime,
    known: datetime,
    summary: str,
    evidence: EvidenceRecord,
    advice: str,
    priority: Priority = Priority.LOW,
) -> Finding:
    return Finding(
        key=key,
        anchors=(anchor,),
        priority=priority,
        onset_at=moment,
        known_at=known,
        level_known_at=known,
        summary=summary,
        guidance=(guidance(advice, "clinical.md E07"),),
        evidence=(evidence,),
    )


_PARTS: Final = (
    PatientPart((ANY_LAB,), _results),
    PatientPart((ANY_LAB,), _circles),
    PatientPart((SESSION,), contradictory_sessions),
    PatientPart((SESSION,), outside),
    PatientPart((SESSION,), standing),
    PatientPart((SESSION, PROFILE, WEIGHT), impossible_numbers),
    PatientPart((SESSION, PROFILE, WEIGHT), pounds),
    PatientPart((SESSION, ANY_SYMPTOM), _contradictory_symptoms),
    PatientPart((CLOCK,), _clocks),
    PatientPart((CLOCK, SESSION), _behind),
    PatientPart((FAILING,), _rules),
    PatientPart((ANY_LAB, ANY_SYMPTOM, SESSION, CLOCK, DROPPED, FAILING, MERGE), _risks),
    PatientPart((ANY_DRUG,), _unknown_drugs),
    PatientPart((DROPPED,), dropped),
    PatientPart((MERGE,), _merges),
)

RULE: Final = PatientRule(
    name="data_quality",
    version=1,
    family="data-quality",
    ids="E07",
    title="Input that cannot be evaluated",
    inputs=(ANY_LAB, ANY_SYMPTOM, ANY_DRUG, SESSION, PROFILE, WEIGHT, CLOCK, DROPPED, FAILING, MERGE),
    limits=DataQualityLimits,
    find=find,
    parts=_PARTS,
    named_by=_named_by,
    sources=("clinical.md 3.2, 3.3, E07", "fences of samples are ours"),
    without=(
        "a patient not bound to a machine: the contract's events always name one",
        "doses that cannot be: the rules on drugs show the dose, and no message says that mg stands for mmol",
        "a laboratory whose codes are unknown: patients are watched apart, so it is one alert a patient",
        "numbers of samples that no other rule watches: to look at each would cost every sample",
    ),
)

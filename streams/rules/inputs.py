"""Declared inputs of rules: a rule is evaluated when one of its inputs changed, and its view gives it no other.

An input is a set of facets, the parts of a subject's state whose change filing notes. Results are distinguished by
analyte, symptoms by kind, orders by drug, so that a potassium does not evaluate rules that read magnesium.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Final

from models.analytes import Analyte
from models.drugs import Drug
from models.events import SymptomKind

Facets = frozenset[str]

#: How far a stated time may lie ahead of the record's timestamp before the sender's clock counts as wrong.
AHEAD: Final = timedelta(minutes=5)

#: A sample that comes longer than this after the one before it is news to rules on silence; other samples are none.
HEARD_ANEW: Final = timedelta(minutes=1)

_RESULT: Final = "lab_result"
_SYMPTOM: Final = "symptom"
_MEDICATION: Final = "medication"
_HOLDS: Final = "holds"
_CHANNEL: Final = "channel"
_SETTING: Final = "setting"


@dataclass(frozen=True, slots=True)
class Input:
    """Something that a rule may read.

    Attributes:
        facets: a change of one of them evaluates the rule; a rule that reads the input must declare them all.
    """

    facets: Facets


# Cached, because facts call these functions at every evaluation.
@lru_cache(maxsize=256)
def lab(*analytes: Analyte) -> Input:
    """Return the input of the results of some analytes."""
    return Input(frozenset(f"{_RESULT}:{analyte}" for analyte in analytes))


@lru_cache(maxsize=256)
def symptom(*kinds: SymptomKind) -> Input:
    """Return the input of the symptoms of some kinds."""
    return Input(frozenset(f"{_SYMPTOM}:{kind}" for kind in kinds))


@lru_cache(maxsize=256)
def drug(*drugs: Drug) -> Input:
    """Return the input of the orders that bring some drugs."""
    return Input(frozenset(f"{_MEDICATION}:{each}" for each in drugs))


@lru_cache(maxsize=256)
def channel(field: str) -> Input:
    """Return the input of one numeric field of a session's samples, by the field's name in the contract."""
    return Input(channel_facets(field))


@lru_cache(maxsize=256)
def channel_facets(field: str) -> Facets:
    """Return the facet that a sample changes where a channel crosses a bound that a rule watches."""
    return frozenset({f"{_CHANNEL}:{field}"})


@lru_cache(maxsize=256)
def setting(field: str) -> Input:
    """Return the input of one setting of a session's machine, by the field of a sample that tells it."""
    return Input(frozenset({f"{_SETTING}:{field}"}))


def channels_of(facets: Facets) -> list[str]:
    """Return the channels whose facets are among some."""
    return [facet.removeprefix(f"{_CHANNEL}:") for facet in sorted(facets) if facet.startswith(f"{_CHANNEL}:")]


def holds(rule: str) -> Input:
    """Return the input of whether a condition of another rule holds; that rule is evaluated first."""
    return Input(frozenset({f"{_HOLDS}:{rule}"}))


def held_rules(facets: Facets) -> list[str]:
    """Return the rules whose conditions are among some facets."""
    start = f"{_HOLDS}:"
    return sorted(facet.removeprefix(start) for facet in facets if facet.startswith(start))


def kinds_of(facets: Facets) -> tuple[str, ...]:
    """Return the kinds of some facets, such as `lab_result`."""
    return tuple(sorted({facet.partition(":")[0] for facet in facets}))


#: What a patient's state holds of a kind of input; a rule that needs another kind is always asked.
HELD: Final = {
    _RESULT: attrgetter("labs"),
    _SYMPTOM: attrgetter("symptoms"),
    _MEDICATION: attrgetter("medications"),
    "rhythm": attrgetter("rhythms"),
    "schedule": attrgetter("schedules"),
    "patient_profile": attrgetter("profile"),
    "machine_alarm": attrgetter("machine_alarms"),
    "session": attrgetter("sessions"),
}


#: Every result, also one of an unknown analyte.
ANY_LAB: Final = Input(frozenset({_RESULT, *(f"{_RESULT}:{analyte}" for analyte in Analyte)}))
ANY_SYMPTOM: Final = Input(frozenset({_SYMPTOM, *(f"{_SYMPTOM}:{kind}" for kind in SymptomKind)}))
ANY_DRUG: Final = Input(frozenset({_MEDICATION, *(f"{_MEDICATION}:{each}" for each in Drug)}))
SCHEDULE: Final = Input(frozenset({"schedule"}))
SESSION: Final = Input(frozenset({"session"}))
#: Whether the blood of the running session stands.
PAUSE: Final = Input(frozenset({"pause"}))
#: When a sample of a session arrived last: changes with the first one, and with the first after a silence.
HEARD: Final = Input(frozenset({"heard"}))
PROFILE: Final = Input(frozenset({"patient_profile"}))
WEIGHT: Final = Input(frozenset({"weight"}))
RHYTHM: Final = Input(frozenset({"rhythm"}))
#: The alarms of machines themselves.
MACHINE_ALARM: Final = Input(frozenset({"machine_alarm"}))
RESPONSE: Final = Input(frozenset({"alert_response"}))
UNIT_SIGNAL: Final = Input(frozenset({"unit_signal"}))
#: Who is dialysed on a chair; of a patient, that another one is on the same.
CHAIR: Final = Input(frozenset({"chair"}))
#: Senders whose clock is wrong; rules that fail; inputs that were dropped; merges that contradict each other.
CLOCK: Final = Input(frozenset({"clock"}))
FAILING: Final = Input(frozenset({"failing"}))
DROPPED: Final = Input(frozenset({"dropped"}))
MERGE: Final = Input(frozenset({"patient_merged"}))

#: The facets that a filed event may change, besides those of types that have one facet only.
ALL_RESULTS: Final = ANY_LAB.facets
ALL_SYMPTOMS: Final = ANY_SYMPTOM.facets
ALL_DRUGS: Final = ANY_DRUG.facets


@lru_cache(maxsize=len(Analyte) + 1)
def result_facets(analyte: Analyte | None) -> Facets:
    """Return the facets that a result changes; None stands for an unknown analyte."""
    return frozenset({_RESULT} if analyte is None else {_RESULT, f"{_RESULT}:{analyte}"})


@lru_cache(maxsize=256)
def symptom_facets(kinds: frozenset[SymptomKind]) -> Facets:
    """Return the facets that messages of one symptom change; they may name several kinds."""
    return frozenset({_SYMPTOM, *(f"{_SYMPTOM}:{kind}" for kind in kinds)})


@lru_cache(maxsize=256)
def drug_facets(drugs: frozenset[Drug]) -> Facets:
    """Return the facets that messages of one order change; they may name several drugs."""
    return frozenset({_MEDICATION, *(f"{_MEDICATION}:{each}" for each in drugs)})


def shown(inputs: Iterable[Input]) -> list[str]:
    """Return inputs as text for people: `lab_result (magnesium)`, or `lab_result` for all of them."""
    facets = frozenset[str]().union(*(each.facets for each in inputs))
    kinds: dict[str, list[str]] = {}
    for facet in sorted(facets):
        kind, _, which = facet.partition(":")
        kinds.setdefault(kind, [])
        if which and kind not in facets:
            kinds[kind].append(which)
    return [f"{kind} ({', '.join(which)})" if which else kind for kind, which in sorted(kinds.items())]

"""What a rule may read, declared: a rule is asked when one of its inputs changed, and its view gives it no other.

An input is a set of facets, the parts of a subject's state whose change is noted when an event is filed. Results and
symptoms are told apart by analyte and kind, so that a potassium does not wake what reads magnesium.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from models.analytes import Analyte
from models.events import SymptomKind

Facets = frozenset[str]

_RESULT: Final = "lab_result"
_SYMPTOM: Final = "symptom"
_HOLDS: Final = "holds"


@dataclass(frozen=True, slots=True)
class Input:
    """Something that a rule may read.

    Attributes:
        facets: a change of one of them wakes the rule; all of them must be declared by who reads the input.
    """

    facets: Facets


# Cached: facts ask for them anew at every evaluation.
@lru_cache(maxsize=256)
def lab(*analytes: Analyte) -> Input:
    """The results of some analytes."""
    return Input(frozenset(f"{_RESULT}:{analyte}" for analyte in analytes))


@lru_cache(maxsize=256)
def symptom(*kinds: SymptomKind) -> Input:
    """The symptoms of some kinds."""
    return Input(frozenset(f"{_SYMPTOM}:{kind}" for kind in kinds))


def holds(rule: str) -> Input:
    """Whether a condition of another rule holds; that rule is asked first."""
    return Input(frozenset({f"{_HOLDS}:{rule}"}))


def held_rules(facets: Facets) -> list[str]:
    """The rules whose conditions are among some facets."""
    return [facet.removeprefix(f"{_HOLDS}:") for facet in sorted(facets) if facet.startswith(f"{_HOLDS}:")]


#: Every result, also one whose analyte nobody knows.
ANY_LAB: Final = Input(frozenset({_RESULT, *(f"{_RESULT}:{analyte}" for analyte in Analyte)}))
ANY_SYMPTOM: Final = Input(frozenset({_SYMPTOM, *(f"{_SYMPTOM}:{kind}" for kind in SymptomKind)}))
SESSION: Final = Input(frozenset({"session"}))
RHYTHM: Final = Input(frozenset({"rhythm"}))
RESPONSE: Final = Input(frozenset({"alert_response"}))
UNIT_SIGNAL: Final = Input(frozenset({"unit_signal"}))
#: Senders whose clock is wrong; rules that fail; inputs that were dropped; merges that contradict each other.
CLOCK: Final = Input(frozenset({"clock"}))
FAILING: Final = Input(frozenset({"failing"}))
DROPPED: Final = Input(frozenset({"dropped"}))
MERGE: Final = Input(frozenset({"patient_merged"}))

#: What a filed event changed, besides the facets of a type that nothing tells apart.
ALL_RESULTS: Final = ANY_LAB.facets
ALL_SYMPTOMS: Final = ANY_SYMPTOM.facets


@lru_cache(maxsize=len(Analyte) + 1)
def result_facets(analyte: Analyte | None) -> Facets:
    """What a result changes; None where nobody knows its analyte."""
    return frozenset({_RESULT} if analyte is None else {_RESULT, f"{_RESULT}:{analyte}"})


@lru_cache(maxsize=256)
def symptom_facets(kinds: frozenset[SymptomKind]) -> Facets:
    """What messages on one symptom change; they may name several kinds."""
    return frozenset({_SYMPTOM, *(f"{_SYMPTOM}:{kind}" for kind in kinds)})


def shown(inputs: Iterable[Input]) -> list[str]:
    """Inputs for people: `lab_result (magnesium)`, or `lab_result` where it is every one."""
    facets = frozenset[str]().union(*(each.facets for each in inputs))
    kinds: dict[str, list[str]] = {}
    for facet in sorted(facets):
        kind, _, which = facet.partition(":")
        kinds.setdefault(kind, [])
        if which and kind not in facets:
            kinds[kind].append(which)
    return [f"{kind} ({', '.join(which)})" if which else kind for kind, which in sorted(kinds.items())]

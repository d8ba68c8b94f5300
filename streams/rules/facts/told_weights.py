"""The weights that are told of a patient, the newest of each kind, and which of them is in pounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import permutations
from typing import Final

from models.alerts import EvidenceRecord
from streams.rules.api import PatientView
from streams.rules.facts.implausible import WEIGHT as RANGE
from streams.rules.inputs import PROFILE, SESSION, WEIGHT

#: Pounds in a kilogram, and how far a ratio may differ from it (ours): a person gains some kg between treatments.
POUNDS: Final = 2.2046
_TOLERANCE: Final = 0.05

#: The kinds of weights, as evidence names them; a weight of one kind replaces the one before it.
_TARGET: Final = "target_weight_kg"
_PRE: Final = "pre_weight_kg"
_POST: Final = "post_weight_kg"


@dataclass(frozen=True, slots=True, order=True)
class ToldWeight:
    """A weight in kg, when it was told, and by what: the id of a session, or of the patient.

    Attributes:
        is_replaced: it is the target before the newest one, which shows a change of unit.
    """

    at: datetime
    kg: float
    kind: str
    source: str
    is_replaced: bool = False

    @property
    def is_plausible(self) -> bool:
        """Return whether a person can weigh that."""
        return RANGE.holds(self.kg)

    @property
    def evidence(self) -> EvidenceRecord:
        """Return it as evidence."""
        return EvidenceRecord(
            kind="weight", id=self.source, name=self.kind, value=float(self.kg), unit="kg", at=self.at
        )


def told_weights(view: PatientView) -> list[ToldWeight]:
    """Return the newest weight of each kind: targets of session and profile, before, after a treatment; in order."""
    state = view.read(SESSION, PROFILE, WEIGHT)

    def make() -> list[ToldWeight]:
        found: dict[str, list[ToldWeight]] = {}
        targets: list[ToldWeight] = []
        for session in state.sessions.values():
            for start in session.starts:
                if start.target_weight_kg is not None:
                    targets.append(ToldWeight(start.at, start.target_weight_kg, _TARGET, session.session_id))
                if start.pre_weight_kg is not None:
                    one = ToldWeight(start.at, start.pre_weight_kg, _PRE, session.session_id)
                    found.setdefault(_PRE, []).append(one)
            for end in session.ends:
                if end.post_weight_kg is not None:
                    one = ToldWeight(end.at, end.post_weight_kg, _POST, session.session_id)
                    found.setdefault(_POST, []).append(one)
        for weighed in state.weights.values():
            kind = f"{weighed.moment}_weight_kg"
            found.setdefault(kind, []).append(ToldWeight(weighed.at, weighed.kg, kind, state.id))
        profile = state.profile
        if profile is not None and profile.target_weight_kg is not None:
            found["profile"] = [ToldWeight(profile.at, profile.target_weight_kg, _TARGET, state.id)]
        targets.sort()
        before = [replace(one, is_replaced=True) for one in targets[-2:-1]]
        return sorted([*before, *targets[-1:], *(max(each) for each in found.values())])

    return view.fact(told_weights, make)


def in_pounds(view: PatientView) -> list[tuple[ToldWeight, ToldWeight]]:
    """Return the weights that are another one times the pounds in a kilogram, each with that other one."""

    def make() -> list[tuple[ToldWeight, ToldWeight]]:
        told = [one for one in told_weights(view) if one.is_plausible]
        found: dict[ToldWeight, ToldWeight] = {}
        for greater, lower in permutations(told, 2):
            if not greater.is_replaced and is_pounds(greater.kg, lower.kg):
                found.setdefault(greater, lower)
        return sorted(found.items())

    return view.fact(in_pounds, make)


def is_pounds(greater: float, lower: float) -> bool:
    """Return whether the first weight is the second one in pounds, within what a person gains or loses."""
    return abs(greater / lower / POUNDS - 1) <= _TOLERANCE

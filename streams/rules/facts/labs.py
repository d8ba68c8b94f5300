"""Laboratory results: which are usable, and how a value compares with a bound.

A bound belongs to the unit for which it was given: 1.7 mg/dL is 0.6994 mmol/L, so converting would raise an alert on
a normal value (clinical.md, section 0). Nothing is compared after conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import Annotated, Final

from models.alerts import BoundRecord, EvidenceRecord
from models.analytes import (
    LOINC,
    PATIENT_SPECIMENS,
    Analyte,
    Specimen,
    canonical_unit,
    is_plausible,
    units_of,
)
from models.events import Comparator, ResultStatus
from models.identity import analyte_of, value_ref
from models.records import LabResult
from models.state import PatientState
from streams.rules.api import PatientView
from streams.rules.inputs import AHEAD, lab
from streams.rules.thresholds import UnitsOf

#: A bound for each unit in which an analyte is reported.
PerUnit = dict[str, float]

_LIVE: Final = frozenset({ResultStatus.PRELIMINARY, ResultStatus.FINAL, ResultStatus.CORRECTED})


MagnesiumBound = Annotated[PerUnit, UnitsOf(Analyte.MAGNESIUM)]
AluminumBound = Annotated[PerUnit, UnitsOf(Analyte.ALUMINUM)]
SodiumBound = Annotated[PerUnit, UnitsOf(Analyte.SODIUM)]


@dataclass(frozen=True, slots=True)
class Result:
    """A result whose analyte, unit and specimen are known; `unit` is canonical."""

    record: LabResult
    analyte: Analyte
    unit: str
    value: float
    state: PatientState = field(repr=False, compare=False)

    @property
    def known_at(self) -> datetime:
        """Return when its value became known (see `known_at` below)."""
        return known_at(self.state, self.record)

    @property
    def at(self) -> datetime:
        """Return when the specimen was collected."""
        return self.record.at

    @property
    def ref(self) -> str:
        """Return its name as an anchor."""
        return f"lab_result:{self.record.result_id}"

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """Return its place among the results of its analyte."""
        return order_of(self.state, self.record)

    @property
    def is_preliminary(self) -> bool:
        """Return whether the laboratory may still change it."""
        return self.record.status is ResultStatus.PRELIMINARY

    def below(self, bound: PerUnit) -> bool | None:
        """Return whether the true value lies strictly below the bound; None if `<` or `>` leaves it open."""
        limit = bound[self.unit]
        match self.record.comparator:
            case None:
                return self.value < limit
            case Comparator.LT:
                return True if self.value <= limit else None
            case Comparator.LE:
                return True if self.value < limit else None
            case Comparator.GT | Comparator.GE:
                return False if self.value >= limit else None

    def above(self, bound: PerUnit) -> bool | None:
        """Return whether the true value lies strictly above the bound; None if `<` or `>` leaves it open."""
        limit = bound[self.unit]
        match self.record.comparator:
            case None:
                return self.value > limit
            case Comparator.GT:
                return True if self.value >= limit else None
            case Comparator.GE:
                return True if self.value > limit else None
            case Comparator.LT | Comparator.LE:
                return False if self.value <= limit else None

    def at_least(self, bound: PerUnit) -> bool | None:
        """Return whether the true value lies on the bound or above it; None if `<` or `>` leaves it open."""
        below = self.below(bound)
        return None if below is None else not below

    def at_most(self, bound: PerUnit) -> bool | None:
        """Return whether the true value lies on the bound or below it; None if `<` or `>` leaves it open."""
        above = self.above(bound)
        return None if above is None else not above

    def shown(self) -> str:
        """Return value and unit as reported, for a summary."""
        return f"{self.record.comparator or ''}{self.value:g} {self.record.unit}"

    def evidence(self) -> EvidenceRecord:
        """Return the result as evidence."""
        return evidence(self.record, self.analyte)


#: Flags with which a laboratory marks a value as critical.
CALLED_HIGH: Final = frozenset({"HH", ">"})
CALLED_LOW: Final = frozenset({"LL", "<"})


def is_flagged(result: Result, flags: frozenset[str]) -> bool:
    """Return whether the laboratory gave a result one of some flags."""
    return bool(flags & {flag.strip().upper() for flag in result.record.flags})


def known_at(state: PatientState, record: LabResult) -> datetime:
    """Return when a result's value became known: when it first arrived, however early it was drawn or reported.

    A corrected value is another value, known from its own arrival: an answer covers the value that was seen. An
    arrival before the specimen was drawn is that of an equal value of another day under the same id.
    """
    arrived = arrived_at(state, record)
    if arrived is None or record.at - arrived > AHEAD:
        return record.reported_at or record.at
    return arrived


def arrived_at(state: PatientState, record: LabResult) -> datetime | None:
    """Return when a result's value first arrived: with the first message of its id, unless stored apart."""
    return state.arrivals.get(value_ref(record)) or state.arrivals.get(f"lab_result:{record.result_id}")


@lru_cache(maxsize=4096)
def as_compared(value: float) -> float:
    """Round a value to six significant digits, as summaries show it: noise of single precision lies beyond them."""
    return float(f"{value:.6g}")


def specimen_of(record: LabResult) -> Specimen | None:
    """Return the specimen, as stated or as the LOINC code implies."""
    if record.specimen is not None:
        return record.specimen
    known = LOINC.get(record.loinc or "")
    return known.specimen if known else None


def is_of_patient(record: LabResult) -> bool:
    """Return whether the specimen shows the patient's blood (not urine, red cells or the citrate circuit)."""
    specimen = specimen_of(record)
    return specimen is None or specimen in PATIENT_SPECIMENS


def is_live(record: LabResult) -> bool:
    """Return whether the laboratory stands by the result."""
    return record.status in _LIVE


def trouble(record: LabResult) -> str | None:
    """Return why a live result cannot be evaluated, as the text of a `data_quality` alert, or None."""
    analyte = analyte_of(record)
    if analyte is None:
        return f"LOINC {record.loinc} is not one of ours"
    return _trouble(record, analyte, canonical_unit(analyte, record.unit))


def _trouble(record: LabResult, analyte: Analyte, unit: str | None) -> str | None:
    coded = LOINC.get(record.loinc) if record.loinc else None
    if coded and coded.analyte is not analyte:
        return f"its LOINC code says {coded.analyte}"
    if unit is None:
        return f"unit {record.unit!r} is not one of {', '.join(units_of(analyte))}"
    if record.value is not None and not is_plausible(analyte, record.value, unit, record.comparator):
        return "its value is not plausible in that unit"
    return None


def read(state: PatientState, record: LabResult) -> Result | None:
    """Return the result ready to compare, or None if it is withdrawn, not the patient's, or cannot be evaluated."""
    analyte = analyte_of(record)
    if analyte is None or not is_live(record) or record.value is None or not is_of_patient(record):
        return None
    unit = canonical_unit(analyte, record.unit)
    if unit is None or _trouble(record, analyte, unit):
        return None
    return Result(record, analyte, unit, as_compared(record.value), state)


def results(view: PatientView, analyte: Analyte) -> list[Result]:
    """Return usable results of an analyte in the order of collection; do not change the list, others share it."""
    state = view.read(lab(analyte))
    return view.fact((Result, analyte), lambda: _results(state, _in_order(view, state, analyte)))


def newest_first(view: PatientView, analyte: Analyte) -> Iterator[Result]:
    """Return usable results of an analyte from the newest on, for callers that need only some of them."""
    state = view.read(lab(analyte))
    return iter(view.fact((_Newest, analyte), lambda: _Newest(state, _in_order(view, state, analyte))))


class _Newest:
    """Usable results from the newest on, each read once, when an iteration first reaches it."""

    __slots__ = ("_left", "_read", "_state")

    def __init__(self, state: PatientState, records: list[LabResult]) -> None:
        self._state = state
        self._left = records
        self._read: list[Result] = []

    def __iter__(self) -> Iterator[Result]:
        number = 0
        while number < len(self._read) or self._go_on():
            yield self._read[number]
            number += 1

    def _go_on(self) -> bool:
        """Read one more; return whether there was one."""
        while self._left:
            if (result := read(self._state, self._left.pop())) is not None:
                self._read.append(result)
                return True
        return False


def _results(state: PatientState, records: Iterable[LabResult]) -> list[Result]:
    found = (read(state, record) for record in records)
    return [result for result in found if result is not None]


def by_analyte(view: PatientView) -> dict[Analyte | None, list[LabResult]]:
    """Return every result by its analyte, None for an unknown one, usable or not; do not change it.

    Of an analyte that a rule does not declare it may read nothing.
    """
    return view.fact(by_analyte, lambda: _by_analyte(view.read().labs.values()))


def _by_analyte(records: Iterable[LabResult]) -> dict[Analyte | None, list[LabResult]]:
    found: dict[Analyte | None, list[LabResult]] = {}
    for record in records:
        # Most records name it and need no call: this is the innermost loop of every rule on results.
        analyte = record.analyte or analyte_of(record)
        if analyte in found:
            found[analyte].append(record)
        else:
            found[analyte] = [record]
    return found


def _in_order(view: PatientView, state: PatientState, analyte: Analyte) -> list[LabResult]:
    """Return results of an analyte in the order of collection, usable or not, as a list of the caller's own."""
    found = sorted(by_analyte(view).get(analyte, ()), key=_COLLECTED)
    if any(one.at == other.at for one, other in pairwise(found)):
        found.sort(key=lambda record: order_of(state, record))
    return found


_COLLECTED: Final = attrgetter("at")


def order_of(state: PatientState, record: LabResult) -> tuple[datetime, datetime, str]:
    """Return the sort key of a result: by collection; of one collection time the later report comes last."""
    return record.at, record.reported_at or known_at(state, record), record.result_id


def of_analyte(view: PatientView, analyte: Analyte) -> Iterator[LabResult]:
    """Return live results of an analyte from the patient's blood, usable or not."""
    view.read(lab(analyte))
    return (record for record in by_analyte(view).get(analyte, ()) if is_live(record) and is_of_patient(record))


def every_ref(state: PatientState, _key: str = "") -> list[str]:
    """Return every result as an anchor, also those that no longer count: before a correction they may have."""
    held = (*state.labs.values(), *state.versions.values())
    return [f"lab_result:{name}" for name in dict.fromkeys(record.result_id for record in held)]


def refs_of(analyte: Analyte) -> Callable[[PatientState, str], list[str]]:
    """Make a `Rule.named_by` that returns every result of an analyte as an anchor, also those that no longer count."""

    def refs(state: PatientState, _key: str) -> list[str]:
        held = (*state.labs.values(), *state.versions.values())
        names = (record.result_id for record in held if analyte_of(record) is analyte)
        return [f"lab_result:{name}" for name in dict.fromkeys(names)]

    return refs


def evidence(record: LabResult, analyte: Analyte | None) -> EvidenceRecord:
    """Return a result as evidence: value and unit as reported."""
    value: float | str | None = record.value
    if record.value is not None and record.comparator:
        value = f"{record.comparator}{record.value:g}"
    name = str(analyte or record.loinc)
    return EvidenceRecord(
        kind="lab_result", id=record.result_id, name=name, value=value, unit=record.unit, at=record.at
    )


def bound_record(bound: Mapping[str, float], result: Result) -> BoundRecord:
    """Return the bound in the unit of the result, for a plot."""
    return BoundRecord(value=float(bound[result.unit]), unit=result.record.unit)


def shown_bound(bound: Mapping[str, float], result: Result) -> str:
    """Return the bound in the unit of the result, for a summary."""
    return f"{bound[result.unit]:g} {result.record.unit}"

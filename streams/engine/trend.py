"""The values before the one that decided: what a screen plots beside an alert (contract, `context`).

The first piece of a finding's evidence is what decided. A result, a channel of a machine, a weight and a QTc have
values before it; of other inputs there is nothing to plot.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from models.alerts import EarlierRecord, EvidenceRecord
from models.analytes import Analyte, canonical_unit
from models.identity import analyte_of
from models.state import PatientState, SubjectState
from streams.rules.api import Finding
from streams.rules.facts import labs

#: The most values that an alert carries (contract, `context`).
MOST: Final = 10
_MINUTE_S: Final = 60
_ANALYTES: Final[Mapping[str, Analyte]] = {str(analyte): analyte for analyte in Analyte}


def earlier_values(state: SubjectState, finding: Finding) -> list[EarlierRecord]:
    """Return up to ten values from before the one that decided, the oldest first, in its unit; empty if none is kept.

    Results, weights and QTc are the newest ten. A channel is kept by the minute: ten minutes of those that are kept
    are chosen evenly, each with the middle of its extremes. Of a setting these are its values before.
    """
    if not finding.evidence or not isinstance(state, PatientState):
        return []
    newest = _newest_of_first(finding.evidence)
    values_of = _VALUES.get(newest.kind)
    return [] if values_of is None else values_of(state, newest)


def _newest_of_first(evidence: Iterable[EvidenceRecord]) -> EvidenceRecord:
    """Return the newest piece on the same thing as the first: a change shows the value before it, too."""
    first, *others = evidence
    same = [one for one in others if (one.kind, one.name, one.unit) == (first.kind, first.name, first.unit)]
    return max([first, *same], key=lambda one: one.at)


def _results(state: PatientState, decided: EvidenceRecord) -> list[EarlierRecord]:
    analyte = _ANALYTES.get(decided.name)
    if analyte is None or decided.unit is None:
        return []
    unit = canonical_unit(analyte, decided.unit)
    before = [
        one
        for one in state.labs.values()
        # Most records name their analyte and need no call.
        if (one.analyte or analyte_of(one)) is analyte and one.at < decided.at and one.comparator is None
    ]
    before.sort(key=lambda record: labs.order_of(state, record), reverse=True)
    read = (result for record in before if (result := labs.read(state, record)) is not None and result.unit == unit)
    newest = list(itertools.islice(read, MOST))
    return [EarlierRecord(at=one.at, value=one.value, unit=one.record.unit) for one in reversed(newest)]


def _samples(state: PatientState, decided: EvidenceRecord) -> list[EarlierRecord]:
    session = state.sessions.get(decided.id)
    if session is None:
        return []
    if (setting := session.settings.get(decided.name)) is not None:
        runs = {datetime.fromtimestamp(run.first, UTC): run.value for run in setting.runs}
        return _newest(runs, decided)
    kept = session.channels.get(decided.name)
    if kept is None:
        return []
    minutes = {one.number: (one.number * _MINUTE_S, one.value) for one in kept.older or ()}
    minutes |= {one.number: (one.number * _MINUTE_S + one.first, one.middle) for one in kept.minutes}
    before = int(decided.at.timestamp()) // _MINUTE_S
    chosen = _evenly([minutes[number] for number in sorted(minutes) if number < before])
    return [
        EarlierRecord(at=datetime.fromtimestamp(second, UTC), value=value, unit=decided.unit)
        for second, value in chosen
    ]


def _evenly(rows: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return `MOST` rows at even distances, the first and the last among them; all if there are no more."""
    if len(rows) <= MOST:
        return rows
    return [rows[place * (len(rows) - 1) // (MOST - 1)] for place in range(MOST)]


def _weights(state: PatientState, decided: EvidenceRecord) -> list[EarlierRecord]:
    """The weights of the same moment, told by a scale or with a session."""
    told = {one.at: one.kg for one in state.weights.values() if f"{one.moment}_weight_kg" == decided.name}
    for session in state.sessions.values():
        for message in (*session.starts, *session.ends):
            kg: float | None = getattr(message, decided.name, None)
            if kg is not None:
                told.setdefault(message.at, kg)
    return _newest(told, decided)


def _intervals(state: PatientState, decided: EvidenceRecord) -> list[EarlierRecord]:
    if decided.name != "qtc":
        return []
    found = [one for one in state.rhythms.values() if one.kind == "qtc"]
    return _newest({one.at: one.qtc_ms for one in found if one.qtc_ms is not None}, decided)


def _newest(values: Mapping[datetime, float], decided: EvidenceRecord) -> list[EarlierRecord]:
    before = sorted((at, value) for at, value in values.items() if at < decided.at)
    return [EarlierRecord(at=at, value=float(value), unit=decided.unit) for at, value in before[-MOST:]]


_VALUES: Final[Mapping[str, Callable[[PatientState, EvidenceRecord], list[EarlierRecord]]]] = {
    "lab_result": _results,
    "telemetry": _samples,
    "weight": _weights,
    "rhythm": _intervals,
}

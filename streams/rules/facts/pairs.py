"""The last result before a session and the first one after it (R14): what a session changed.

Both are final and of one unit: nothing is compared after conversion.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from models.alerts import EvidenceRecord
from models.analytes import Analyte
from models.events import Comparator
from streams.rules.api import Limits, PatientView
from streams.rules.facts import bedside, labs
from streams.rules.facts.treatments import SKEW, Treatment
from streams.rules.inputs import lab
from streams.rules.thresholds import Hours

_RISES: Final = frozenset({Comparator.GT, Comparator.GE})
_FALLS: Final = frozenset({Comparator.LT, Comparator.LE})


class PairLimits(Limits):
    """How far from a session its results may lie."""

    before_hours: Hours = Field(default=12, le=48, description="hours before the start, for the last result (ours)")
    after_hours: Hours = Field(default=5, le=24, description="hours after the end, for the first one; article L53")


@dataclass(frozen=True, slots=True)
class Pair:
    """The last result before a session, and one after it, of one unit."""

    treatment: Treatment
    before: labs.Result
    after: labs.Result

    @property
    def known_at(self) -> datetime:
        """Return when the later of them became known."""
        return max(self.before.known_at, self.after.known_at)

    @property
    def refs(self) -> tuple[str, ...]:
        """Return the results as anchors: first the one that came last, which completed the pair."""
        return tuple(one.ref for one in sorted((self.before, self.after), key=lambda one: one.known_at, reverse=True))

    @property
    def is_exact(self) -> bool:
        """Return whether neither lies off the scale."""
        return self.before.record.comparator is None and self.after.record.comparator is None

    def fall(self) -> float:
        """Return by how much the value fell at least; 0 where `<` or `>` leaves that open."""
        return _certain_fall(self.before, self.after)

    def rise(self) -> float:
        """Return by how much it rose at least."""
        return _certain_fall(self.after, self.before)

    def evidence(self) -> tuple[EvidenceRecord, ...]:
        """Return both, and the session between them."""
        session = EvidenceRecord(
            kind="session",
            id=self.treatment.session_id,
            name="session",
            value=None,
            unit=None,
            at=self.treatment.start,
        )
        return self.before.evidence(), session, self.after.evidence()


def _certain_fall(high: labs.Result, low: labs.Result) -> float:
    if high.record.comparator in _FALLS or low.record.comparator in _RISES:
        return 0.0
    return max(0.0, labs.as_compared(high.value - low.value))


def pairs(
    view: PatientView, analyte: Analyte, limits: PairLimits, counts: Callable[[labs.Result], bool]
) -> Iterator[Pair]:
    """Yield the pairs of the sessions that are over, the newest first, of final results that count."""
    view.read(lab(analyte))
    times = sorted(record.at for record in labs.by_analyte(view).get(analyte, ()))
    found = bedside.treated(view) if len(times) > 1 else []
    before_start, after_end = timedelta(hours=limits.before_hours), timedelta(hours=limits.after_hours)
    for number in reversed(range(len(found))):
        treatment = found[number]
        if treatment.ended_at is None or treatment.over_at > view.now:
            continue
        begun, over = treatment.start + SKEW, treatment.over_at - SKEW
        earliest, latest = treatment.start - before_start, treatment.over_at + after_end
        # Sessions without results around them are many, and cost little.
        if not _has(times, earliest, begun) or not _has(times, begun, latest):
            continue
        if number:
            earliest = max(earliest, _last_known(found[number - 1]))
        if number + 1 < len(found):
            latest = min(latest, found[number + 1].start)
        results = [one for one in labs.results(view, analyte) if counts(one) and not one.is_preliminary]
        before = next((one for one in reversed(results) if earliest < one.at <= begun), None)
        after = next((one for one in results if begun < one.at and over <= one.at <= latest), None)
        if before is not None and after is not None and before.unit == after.unit:
            yield Pair(treatment, before, after)


def _has(times: list[datetime], after: datetime, until: datetime) -> bool:
    """Return whether one of some moments, which are in order, lies after one moment and not after another."""
    place = bisect_right(times, after)
    return place < len(times) and times[place] <= until


def _last_known(treatment: Treatment) -> datetime:
    """Return the last moment at which a treatment is known to have run: without an end, that of its last sample."""
    return treatment.ended_at or treatment.flowed_until or treatment.start

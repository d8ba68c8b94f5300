"""Results that are expected after something happened: absent when their time is over, they are one alert."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from pydantic import Field, create_model

from models.alerts import EvidenceRecord, GuidanceRecord, Priority, Reason, Status
from models.analytes import Analyte
from models.state import PatientState
from streams.rules.api import Ending, Finding, Limits, Outcome, PatientRule, PatientView, Rule
from streams.rules.facts import labs
from streams.rules.inputs import Input, lab
from streams.rules.thresholds import Hours

_KEY = "missing"


@dataclass(frozen=True, slots=True)
class Since:
    """Something after which results are expected.

    Attributes:
        anchor: the input (`kind:id`) after which the alert may be named.
        at: when it happened.
        known: returns when it could be known; asked only where results are missing.
        evidence: returns what the alert shows of it.
        over_at: when nobody waits any more, if that is before the time that the shape gives.
        why: why results are expected of this patient, as evidence.
    """

    anchor: str
    at: datetime
    known: Callable[[], datetime]
    evidence: Callable[[], EvidenceRecord]
    over_at: datetime | None = None
    why: tuple[EvidenceRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """How long after it results may be missing.

    Attributes:
        name: the name of the time among a site's settings, in hours.
        hours: the time as shipped.
        priority: that of the alert from then on.
        source: where the time comes from.
        words: what the summary adds from then on.
    """

    name: str
    hours: float
    priority: Priority
    source: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class _Missing:
    """Results that are missing after one thing, and since when they are overdue."""

    since: Since
    analytes: tuple[Analyte, ...]
    due: datetime
    step: Step


@dataclass(frozen=True, slots=True)
class ExpectedShape:
    """What results are expected after, and when they are missed.

    A usable result counts if it was collected at most `before` ahead, or at any time later: a late panel is a panel.

    Attributes:
        name: the contract's name of the rule.
        since: after what results are expected.
        wants: the analytes, all of them.
        before: how much earlier than `since` a specimen may have been collected.
        steps: when results are overdue, and with which priority; the earliest first.
        forgotten: when nobody waits any more; its priority means nothing.
        what: begins the summary, such as "Work-up of cramp".
        advice: what to review.
        note: what the document adds: of whom results are expected, and when nobody waits any more.
        limits: the times, which `expected_results` makes of the steps.
    """

    name: str
    since: Callable[[PatientView], Iterable[Since]]
    wants: tuple[Analyte, ...]
    before: timedelta
    steps: tuple[Step, ...]
    forgotten: Step
    what: str
    advice: tuple[GuidanceRecord, ...]
    note: str = ""
    limits: type[Limits] = Limits

    def find(self, view: PatientView) -> Iterator[Outcome]:
        """One alert for all that is missing; over when nobody waits any more."""
        found = list(self._missing(view))
        waiting = [one for one in found if view.now < self._over_at(view, one.since)]
        if waiting:
            yield self._finding(waiting)
        elif found:
            yield Ending(_KEY, Status.EXPIRED, Reason.UNCONFIRMED_END)

    def _hours(self, view: PatientView, step: Step) -> timedelta:
        """The time of a step, as the site sets it."""
        return timedelta(hours=getattr(view.limits(self.limits), step.name))

    def _over_at(self, view: PatientView, since: Since) -> datetime:
        """When nobody waits any more for what is missing after something."""
        forgotten = since.at + self._hours(view, self.forgotten)
        return forgotten if since.over_at is None else min(forgotten, since.over_at)

    def _missing(self, view: PatientView) -> Iterator[_Missing]:
        """What is missing and overdue after each thing, those included for which nobody waits any more."""
        happened = list(self.since(view))
        newest = {analyte: _newest_at(view, analyte) for analyte in self.wants} if happened else {}
        for one in happened:
            earliest = one.at - self.before
            absent = tuple(analyte for analyte, at in newest.items() if at is None or at < earliest)
            if absent and (passed := self._passed(view, one)) is not None:
                yield _Missing(one, absent, *passed)

    def _passed(self, view: PatientView, since: Since) -> tuple[datetime, Step] | None:
        """Return when the last of the times after something passed, and which it is; None if none has."""
        over = self._over_at(view, since)
        view.look_at(over)
        if view.now >= over:
            return over, self.forgotten
        passed, known = None, since.known()
        for step in self.steps:
            moment = max(since.at + self._hours(view, step), known)
            view.look_at(moment)
            if view.now >= moment:
                passed = moment, step
        return passed

    def _finding(self, waiting: list[_Missing]) -> Finding:
        waiting.sort(key=lambda one: (one.due, one.since.anchor))
        step = max((one.step for one in waiting), key=lambda step: step.priority.rank)
        absent = {analyte for one in waiting for analyte in one.analytes}
        listed = ", ".join(analyte.words for analyte in self.wants if analyte in absent)
        return Finding(
            key=_KEY,
            anchors=tuple(one.since.anchor for one in waiting),
            priority=step.priority,
            onset_at=waiting[0].due,
            known_at=max(one.due for one in waiting),
            level_known_at=min(one.due for one in waiting if one.step.priority is step.priority),
            summary=f"{self.what} incomplete: no {listed}" + (f"; {step.words}" if step.words else ""),
            guidance=self.advice,
            evidence=tuple(chain.from_iterable(map(_evidence, waiting))),
            reason=Reason.DEADLINE_PASSED,
        )


def expected_results(
    shape: ExpectedShape,
    *,
    also: tuple[Input, ...],
    settings: Mapping[str, tuple[Any, Any]] | None = None,
    **described: Any,
) -> PatientRule:
    """A rule that misses results: one alert a patient, whatever they are missing after.

    Args:
        shape: what results are expected after, and when they are missed.
        also: what `since` reads.
        settings: further thresholds of a site, as pydantic fields.
        described: family, ids, title, sources and so on of the `Rule`.
    """
    times = (*shape.steps, shape.forgotten)
    fields: Any = {step.name: (Hours, Field(default=step.hours, description=f"hours; {step.source}")) for step in times}
    fields |= settings or {}
    title = "".join(part.capitalize() for part in shape.name.split("_"))
    doc = f"Times of `{shape.name}`."
    limits: type[Limits] = create_model(f"{title}Limits", __base__=Limits, __doc__=doc, **fields)
    limits.ascending = (tuple(step.name for step in times),)
    shape = replace(shape, limits=limits)

    def find(view: PatientView) -> Iterator[Outcome]:
        return shape.find(view)

    find.__doc__ = (
        f"No usable result of one of {', '.join(analyte.words for analyte in shape.wants)} in time. "
        f"One alert a patient lists all that is missing;\n"
        f"it ends when all are there, and expires when nobody waits any more."
        + (f"\n{shape.note}" if shape.note else "")
    )
    inputs = (lab(*shape.wants), *also)
    return Rule[PatientState](name=shape.name, version=1, inputs=inputs, limits=limits, find=find, **described)


def _evidence(one: _Missing) -> tuple[EvidenceRecord, ...]:
    return one.since.evidence(), *one.since.why


def _newest_at(view: PatientView, analyte: Analyte) -> datetime | None:
    """Collection of the newest usable result of an analyte."""
    newest = next(labs.newest_first(view, analyte), None)
    return None if newest is None else newest.at

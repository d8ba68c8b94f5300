"""Results that are expected after something happened: absent when their time is over, they are one alert."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
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
    """

    anchor: str
    at: datetime
    known: Callable[[], datetime]
    evidence: Callable[[], EvidenceRecord]


@dataclass(frozen=True, slots=True)
class Step:
    """How long after it results may be missing.

    Attributes:
        name: the name of the time among a site's settings, in hours.
        hours: the time as shipped.
        priority: that of the alert from then on.
        source: where the time comes from.
    """

    name: str
    hours: float
    priority: Priority
    source: str


@dataclass(frozen=True, slots=True)
class _Missing:
    """Results that are missing after one thing, and since when they are overdue."""

    since: Since
    analytes: tuple[Analyte, ...]
    due: datetime
    priority: Priority


def expected_results(
    name: str,
    *,
    since: Callable[[PatientView], Iterable[Since]],
    wants: tuple[Analyte, ...],
    before: timedelta,
    steps: tuple[Step, ...],
    forgotten: Step,
    what: str,
    advice: tuple[GuidanceRecord, ...],
    also: tuple[Input, ...],
    **described: Any,
) -> PatientRule:
    """A rule that misses results: one alert a patient, whatever they are missing after.

    A usable result counts if it was collected at most `before` ahead, or at any time later: a late panel is a panel.

    Args:
        name: the contract's name of the rule.
        since: after what results are expected.
        wants: the analytes, all of them.
        before: how much earlier than `since` a specimen may have been collected.
        steps: when results are overdue, and with which priority; the earliest first.
        forgotten: when nobody waits any more; its priority means nothing.
        what: begins the summary, such as "Work-up of cramp".
        advice: what to review.
        also: what `since` reads.
        described: family, ids, title, sources and so on of the `Rule`.
    """
    fields: Any = {
        step.name: (Hours, Field(default=step.hours, description=f"hours; {step.source}"))
        for step in (*steps, forgotten)
    }
    title = "".join(part.capitalize() for part in name.split("_"))
    limits: type[Limits] = create_model(f"{title}Limits", __base__=Limits, __doc__=f"Times of `{name}`.", **fields)
    limits.ascending = (tuple(step.name for step in (*steps, forgotten)),)

    def missing(view: PatientView) -> Iterator[_Missing]:
        chosen = view.limits(limits)
        happened = list(since(view))
        newest = {analyte: _newest_at(view, analyte) for analyte in wants} if happened else {}
        for one in happened:
            earliest = one.at - before
            absent = tuple(analyte for analyte, at in newest.items() if at is None or at < earliest)
            if not absent:
                continue
            over = one.at + timedelta(hours=getattr(chosen, forgotten.name))
            view.look_at(over)
            passed = None if view.now < over else forgotten
            due, known = over, one.known() if passed is None else over
            for step in steps if passed is None else ():
                moment = max(one.at + timedelta(hours=getattr(chosen, step.name)), known)
                view.look_at(moment)
                if view.now >= moment:
                    passed, due = step, moment
            if passed is not None:
                yield _Missing(one, absent, due, passed.priority)

    def find(view: PatientView) -> Iterator[Outcome]:
        over = timedelta(hours=getattr(view.limits(limits), forgotten.name))
        found = list(missing(view))
        waiting = [one for one in found if view.now < one.since.at + over]
        if waiting:
            yield _finding(waiting, wants, what, advice)
        elif found:
            yield Ending(_KEY, Status.EXPIRED, Reason.UNCONFIRMED_END)

    names = ", ".join(str(analyte).replace("_", " ") for analyte in wants)
    find.__doc__ = (
        f"No usable result of one of {names} in time. One alert a patient lists all that is missing;\n"
        f"it ends when all are there, and expires when nobody waits any more."
    )
    return Rule[PatientState](name=name, version=1, inputs=(lab(*wants), *also), limits=limits, find=find, **described)


def _newest_at(view: PatientView, analyte: Analyte) -> datetime | None:
    """Collection of the newest usable result of an analyte."""
    newest = next(labs.newest_first(view, analyte), None)
    return None if newest is None else newest.at


def _finding(
    waiting: list[_Missing], wants: tuple[Analyte, ...], what: str, advice: tuple[GuidanceRecord, ...]
) -> Finding:
    waiting.sort(key=lambda one: (one.due, one.since.anchor))
    highest = max((one.priority for one in waiting), key=lambda priority: priority.rank)
    absent = {analyte for one in waiting for analyte in one.analytes}
    listed = ", ".join(str(analyte).replace("_", " ") for analyte in wants if analyte in absent)
    return Finding(
        key=_KEY,
        anchors=tuple(one.since.anchor for one in waiting),
        priority=highest,
        onset_at=waiting[0].due,
        known_at=max(one.due for one in waiting),
        level_known_at=min(one.due for one in waiting if one.priority is highest),
        summary=f"{what} incomplete: no {listed}",
        guidance=advice,
        evidence=tuple(one.since.evidence() for one in waiting),
        reason=Reason.DEADLINE_PASSED,
    )

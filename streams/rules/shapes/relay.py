"""Episodes that somebody reports as begun and as ended: those of one thing that overlap are one condition.

A condition is over when every report of it has ended. One of which no end is known may go on, or nobody may have told
of its end: after a silence it expires.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models.alerts import Reason, Status
from streams.rules.api import Ending, Finding, Outcome, PatientView
from streams.rules.facts.late_clocks import LATE


@dataclass(frozen=True, slots=True)
class Report:
    """One episode as it was reported.

    Attributes:
        key: what it is an episode of; reports of one key that overlap are one condition, the newest group counts.
        at: when it began.
        ended_at: when it ended; None if that is not known.
        known_at: when it became known.
        item: what the rule makes a finding of.
    """

    key: str
    at: datetime
    ended_at: datetime | None
    known_at: datetime
    item: Any


def relay(
    view: PatientView,
    reports: Iterable[Report],
    silence: timedelta,
    describe: Callable[[list[Report]], Finding],
) -> Iterator[Outcome]:
    """Find the conditions that go on, and end those of which nothing was heard.

    Args:
        view: the moment.
        reports: in the order in which they began; those ahead of the clock are not begun yet.
        silence: for how long a report without an end counts.
        describe: makes a finding of the reports of one condition, the earliest first.
    """
    for key, groups in episodes(view, reports, silence).items():
        group = groups[-1]
        over = over_at(group, silence)
        view.look_at(over)
        if view.now < over:
            yield describe(group)
        elif any(report.ended_at is None for report in group):
            yield Ending(key, Status.EXPIRED, Reason.UNCONFIRMED_END)


def episodes(view: PatientView, reports: Iterable[Report], silence: timedelta) -> dict[str, list[list[Report]]]:
    """Group the reports of each key by the conditions that they are of, in the order in which these began.

    Ask for a look when one begins that lies ahead of the clock.
    """
    found: dict[str, list[list[Report]]] = {}
    for report in reports:
        if report.at > view.now:
            view.look_at(report.at)
            continue
        groups = found.setdefault(report.key, [])
        if groups and report.at <= over_at(groups[-1], silence):
            groups[-1].append(report)
        else:
            groups.append([report])
    return found


def over_at(group: list[Report], silence: timedelta) -> datetime:
    """Return when overlapping reports are over: at the last end, or `silence` after the last known time.

    One that came late, and of which no end is known, may go on: the silence counts from its arrival.
    """
    times = [moment for report in group for moment in (report.at, report.ended_at) if moment]
    open_ones = [report for report in group if report.ended_at is None]
    if not open_ones:
        return max(times)
    return max(times + [one.known_at for one in open_ones if one.known_at - one.at > LATE]) + silence


def minutes_late(group: list[Report]) -> float:
    """Return how late the reports without an end arrived, by the promptest of them; 0 if there is none."""
    delays = [report.known_at - report.at for report in group if report.ended_at is None]
    return min(delays, default=timedelta(0)).total_seconds() / 60

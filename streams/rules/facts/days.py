"""Local days of the site: daily and monthly rules count them, across changes of daylight saving time and leap days."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from streams.rules.api import PatientView


def day_of(view: PatientView, moment: datetime) -> date:
    """Return the local day of a moment."""
    return moment.astimezone(view.settings.zone).date()


def start_of(view: PatientView, day: date) -> datetime:
    """Return the moment at which a local day begins; where midnight is left out, the first moment after it."""
    return datetime.combine(day, time(), view.settings.zone).astimezone(UTC)


def next_day(view: PatientView) -> datetime:
    """Return the moment at which the local day after the present one begins."""
    return start_of(view, day_of(view, view.now) + timedelta(days=1))

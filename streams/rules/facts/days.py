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


def days_after(day: date, days: float) -> date:
    """Return a day so many days later, at most the last one that a date can name: senders write 9999-12-31."""
    return day + timedelta(days=min(days, (date.max - day).days - 1))


def next_day(view: PatientView) -> datetime:
    """Return the moment at which the local day after the present one begins."""
    return start_of(view, days_after(day_of(view, view.now), 1))

"""Settings that the samples of machines tell: only a sample that says something new about one is a change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final

from models.records import Telemetry
from models.state import Session, Setting
from models.state.machine_setting import PEAKED, SETTINGS, Origin
from streams.rules.facts.implausible import SAMPLES
from streams.rules.inputs import SESSION, Facets, setting

#: What a sample tells: a value or None for each setting, then their origin.
Words = tuple[Any, ...]

told_of: Final[Callable[[Telemetry], Words]] = attrgetter(*SETTINGS, "setting_origin")
_NOTHING: Final = (None,) * len(SETTINGS)
_RANGES: Final = tuple((field, SAMPLES[field]) for field in SETTINGS)
_NO_FACETS: Final[Facets] = frozenset()


def file_settings(session: Session, told: Words, at: datetime) -> Facets:
    """File the settings of a sample, without those that cannot be; return the facets of those that are news."""
    if told[:-1] == _NOTHING:
        return _NO_FACETS
    facets, origin, second = _NO_FACETS, told[-1], int(at.timestamp())
    for (field, edges), value in zip(_RANGES, told, strict=False):
        if value is None:
            continue
        if not edges.holds(value):
            if edges.is_strange(value) and session.leave_out(field, second, value):
                facets |= SESSION.facets
            continue
        known = session.settings.get(field)
        if known is None:
            known = session.settings[field] = Setting(peaks=[] if field in PEAKED else None)
        elif second > known.runs[-1].last and known.repeats(second, value, origin):
            _move(known, second, origin)
            continue
        if known.add(second, value, origin):
            facets |= setting(field).facets
    return facets


def repeat_settings(session: Session, told: Words, second: int) -> bool:
    """Return whether a sample after all others says nothing new about a setting."""
    for (field, edges), value in zip(_RANGES, told, strict=False):
        if value is not None and edges.is_strange(value):
            return False
        if value is not None and edges.holds(value):
            known = session.settings.get(field)
            if known is None or not known.repeats(second, value, told[-1]):
                return False
    return True


def told_until(session: Session) -> int:
    """Return the second of the newest sample that tells a setting; before all time if there is none."""
    return max((one.runs[-1].last for one in session.settings.values()), default=-1)


def samples_of(session: Session) -> Iterator[tuple[datetime, Origin | None, str, float]]:
    """Yield samples that give the settings of a session again: their times, origins, fields and values."""
    for field, one in session.settings.items():
        for run in one.runs:
            for second in dict.fromkeys((run.first, run.last)):
                yield _moment(second), None, field, run.value
        if one.ordered is not None:
            yield _moment(one.ordered.at), "ordered", field, one.ordered.value
        if one.user is not None:
            yield _moment(one.user.at), "user", field, one.user.value
        for peak in one.peaks or ():
            yield _moment(peak.at), None, field, peak.value


def _move(known: Setting, second: int, origin: Origin | None) -> None:
    known.runs[-1].last = second
    told = known.ordered if origin == "ordered" else known.user if origin == "user" else None
    if told is not None:
        told.at = second


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)

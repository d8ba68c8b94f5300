"""The alarm load of the last 24 h: counts in slices of five minutes, so memory is bounded whatever comes. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Final

from models.alerts import Priority

#: How far back the load goes.
SPAN: Final = timedelta(hours=24)
_SLICE_S: Final = 300
#: Waits that a slice keeps, in number, and names of chairs that it counts.
_MOST_WAITS: Final = 200
_MOST_CHAIRS: Final = 2000
_MOST_RULES: Final = 500
_MOST_SESSIONS: Final = 20_000
_NOISIEST: Final = 10
#: What a pager would ring for.
_PAGED: Final = (Priority.HIGH, Priority.MEDIUM)


@dataclass(slots=True)
class _Slice:
    raised: Counter[tuple[str, str]] = field(default_factory=Counter)
    chairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    pages: int = 0
    unanswered: int = 0


class AlarmLoad:
    """Counts transitions at their own time; what is older than 24 h is left out."""

    def __init__(self) -> None:
        self._slices: dict[int, _Slice] = {}
        self._sessions: OrderedDict[str, datetime] = OrderedDict()

    def raised(self, at: datetime, now: datetime, rule: str, priority: Priority, chair: tuple[str, str] | None) -> None:
        """Count an alert that was raised; `chair` is unit and name."""
        found = self._slice(at, now)
        if found is None:
            return
        if (rule, priority.value) in found.raised or len(found.raised) < _MOST_RULES:
            found.raised[rule, priority.value] += 1
        if chair and (chair in found.chairs or len(found.chairs) < _MOST_CHAIRS):
            found.chairs[chair] += 1

    def paged(self, at: datetime, now: datetime, priority: Priority) -> None:
        """Count a call: an alert of priority high or medium that was raised or that nobody had answered."""
        if priority in _PAGED and (found := self._slice(at, now)):
            found.pages += 1

    def answered(self, at: datetime, now: datetime, seconds: float) -> None:
        """Count how long an alert waited for its first answer."""
        found = self._slice(at, now)
        if found is not None and len(found.waits) < _MOST_WAITS:
            found.waits.append(max(0.0, seconds))

    def unanswered(self, at: datetime, now: datetime, number: int = 1) -> None:
        """Count an alert that ended without an answer; -1 takes it back."""
        if found := self._slice(at, now):
            found.unanswered += number

    def session(self, session_id: str, at: datetime) -> None:
        """Note that a session ran at a time."""
        self._sessions[session_id] = max(at, self._sessions.pop(session_id, at))
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)

    def report(self, now: datetime) -> dict[str, Any]:
        """Return the load as the interface names it; times to acknowledge in seconds, null where there is none."""
        self._prune(now)
        raised: Counter[tuple[str, str]] = Counter()
        chairs: Counter[tuple[str, str]] = Counter()
        waits: list[float] = []
        for each in self._slices.values():
            raised.update(each.raised)
            chairs.update(each.chairs)
            waits += each.waits
        pages = sum(each.pages for each in self._slices.values())
        return {
            "since": (now - SPAN).isoformat(),
            "alerts_by_rule": [
                {"rule": rule, "priority": priority, "count": count}
                for (rule, priority), count in sorted(raised.items(), key=lambda item: (-item[1], item[0]))
            ],
            "pages": pages,
            "sessions": len(self._sessions),
            "pages_per_session": round(pages / len(self._sessions), 2) if self._sessions else None,
            "unanswered": max(0, sum(each.unanswered for each in self._slices.values())),
            "median_seconds_to_acknowledge": round(median(waits), 1) if waits else None,
            "noisiest_chairs": [
                {"unit_id": unit, "chair": chair, "count": count}
                for (unit, chair), count in sorted(chairs.items(), key=lambda item: (-item[1], item[0]))[:_NOISIEST]
            ],
        }

    def _slice(self, at: datetime, now: datetime) -> _Slice | None:
        if not now - SPAN < at <= now + timedelta(seconds=_SLICE_S):
            return None
        number = int(at.timestamp()) // _SLICE_S
        if number not in self._slices:
            self._prune(now)
        return self._slices.setdefault(number, _Slice())

    def _prune(self, now: datetime) -> None:
        first = int((now - SPAN).timestamp()) // _SLICE_S
        for number in [number for number in self._slices if number < first]:
            del self._slices[number]
        for name in [name for name, at in self._sessions.items() if now - at > SPAN]:
            del self._sessions[name]

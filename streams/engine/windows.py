"""Windows of inputs: which kinds are kept, for how long, how many, and which of them are never dropped."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, TypeVar

from models.state import (
    MAX_LABS,
    MAX_MEDICATIONS,
    MAX_OTHERS,
    MAX_RESPONSES,
    MAX_SESSIONS,
    MAX_SIGNALS,
    MAX_SYMPTOMS,
    MAX_VERSIONS,
    SubjectState,
)
from streams.rules.inputs import ALL_DRUGS, ALL_RESULTS, ALL_SYMPTOMS, MACHINE_ALARM, Facets

ItemT = TypeVar("ItemT")
#: When an event happened.
AT: Final[Callable[[Any], datetime]] = attrgetter("at")


def _about_nothing(_item: Any) -> object:
    return None


@dataclass(frozen=True, slots=True)
class Window:
    """One kind of input of a subject.

    Attributes:
        name: the attribute of the state that holds it, by identity.
        cap: how many are kept.
        facets: what changes for the rules where one of them is dropped.
        moment: when one happened; those before the horizon (`LONGEST_WINDOW`) are dropped.
        about: what one is about, such as its analyte: the newest on a thing is dropped after all others; None if it
            is no more needed than others.
        ground: the kind and the field by which an alert names one as its ground; those of open alerts are kept.
        stays: whether the newest on a thing is never dropped for lack of room.
    """

    name: str
    cap: int
    facets: Facets
    moment: Callable[[Any], datetime] = AT
    about: Callable[[Any], object] = _about_nothing
    ground: tuple[str, str] | None = None
    stays: bool = False

    def of(self, state: SubjectState) -> dict[str, Any]:
        """Return this window of a subject; empty where its kind of subject has none."""
        window: dict[str, Any] = getattr(state, self.name, {})
        return window

    def prune(self, state: SubjectState, horizon: datetime, stay: Callable[[], Set[str]] = frozenset) -> int:
        """Drop what is too old, then the oldest above the cap; no ground of an open alert, nor what `stay` names."""
        return prune(self.of(state), self.cap, horizon, self.moment, lambda: stay() | self.grounds(state))

    def grounds(self, state: SubjectState) -> Set[str]:
        """Return the keys of inputs of this kind that an open alert rests on."""
        if self.ground is None:
            return frozenset()
        kind, field = self.ground
        prefix = f"{kind}:"
        names = {
            ground.removeprefix(prefix)
            for alert in state.alerts.values()
            if alert.over_at is None
            for ground in alert.grounds
            if ground.startswith(prefix)
        }
        return {key for key, item in self.of(state).items() if getattr(item, field) in names} if names else names


#: The newest moment of a session or signal that its fields give.
_SESSION_BEGAN: Final[Callable[[Any], datetime]] = attrgetter("first_at")


def _last_at(signal: Any) -> datetime:
    last: datetime = signal.last_at or signal.at
    return last


VERSIONS: Final = Window("versions", MAX_VERSIONS, ALL_RESULTS)
ALARMS: Final = Window("machine_alarms", MAX_OTHERS, MACHINE_ALARM.facets)
SCHEDULES: Final = Window("schedules", MAX_OTHERS, frozenset({"schedule"}))
WEIGHTS: Final = Window("weights", MAX_OTHERS, frozenset({"weight"}), about=attrgetter("moment"))
RHYTHMS: Final = Window("rhythms", MAX_OTHERS, frozenset({"rhythm"}), about=attrgetter("kind"))
RESPONSES: Final = Window("responses", MAX_RESPONSES, frozenset({"alert_response"}), stays=True)
SYMPTOMS: Final = Window("symptoms", MAX_SYMPTOMS, ALL_SYMPTOMS, ground=("symptom", "symptom_id"))
SESSIONS: Final = Window(
    "sessions",
    MAX_SESSIONS,
    frozenset({"session"}),
    _SESSION_BEGAN,
    about=lambda session: not session.ends,
    ground=("session_ended", "session_id"),
    stays=True,
)
LABS: Final = Window(
    "labs",
    MAX_LABS,
    ALL_RESULTS,
    about=lambda result: result.analyte or result.loinc,
    ground=("lab_result", "result_id"),
)
MEDICATIONS: Final = Window("medications", MAX_MEDICATIONS, ALL_DRUGS, about=attrgetter("order_id"))
SIGNALS: Final = Window("signals", MAX_SIGNALS, frozenset({"unit_signal"}), _last_at, ground=("alert", "alert_id"))
#: Every window, the least needed first: so they are emptied where a subject has too much.
WINDOWS: Final = (
    VERSIONS,
    ALARMS,
    SCHEDULES,
    WEIGHTS,
    RHYTHMS,
    RESPONSES,
    SYMPTOMS,
    SESSIONS,
    LABS,
    MEDICATIONS,
    SIGNALS,
)


def prune(
    window: dict[str, ItemT],
    cap: int,
    horizon: datetime,
    moment: Callable[[ItemT], datetime],
    kept: Callable[[], Set[str]],
) -> int:
    """Drop what lies before the horizon, then the oldest above the cap, but never what is in `kept`.

    `kept` is called only where something would be dropped, because it costs more than the rest.

    Returns:
        How many the cap dropped, though they were still within the window.
    """
    if len(window) <= cap and (not window or min(map(moment, window.values())) >= horizon):
        return 0  # nearly always, and without a step of Python an item
    old = [key for key, item in window.items() if moment(item) < horizon]
    if not old and len(window) <= cap:
        return 0
    stay = kept()
    for key in old:
        if key not in stay:
            del window[key]
    surplus = len(window) - cap
    if surplus <= 0:
        return 0
    oldest = sorted((key for key in window if key not in stay), key=lambda key: (moment(window[key]), key))
    for key in oldest[:surplus]:
        del window[key]
    return min(surplus, len(oldest))

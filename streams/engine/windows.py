"""Bounds of windows: drop what is too old, then the oldest above the cap."""

from __future__ import annotations

from collections.abc import Callable, Set
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, TypeVar

ItemT = TypeVar("ItemT")
#: When an event happened.
AT: Final[Callable[[Any], datetime]] = attrgetter("at")


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

"""Bounds of windows: drop what is too old, then the oldest above the cap."""

from __future__ import annotations

from collections.abc import Callable, Set
from datetime import datetime
from typing import TypeVar

ItemT = TypeVar("ItemT")


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

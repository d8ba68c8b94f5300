"""What other processes of the machine use while something is measured: a screen that must wait for a core lags."""

from __future__ import annotations

import contextlib
import time

import psutil


class Others:
    """Counts from its making on; what this process has started, and what that has started, is not of others."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._all, self._ours = _all(), _ours()

    def cores(self) -> float:
        """How many cores they used on average until now."""
        used = (_all() - self._all) - (_ours() - self._ours)
        return max(0.0, used / (time.monotonic() - self._since))


def _all() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _ours() -> float:
    own, total = psutil.Process(), 0.0
    for process in (own, *own.children(recursive=True)):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            times = process.cpu_times()
            total += times.user + times.system
    return total

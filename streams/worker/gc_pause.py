"""Keep Python's cyclic garbage collector from scanning patients: millions of objects that references free.

A full collection of 60,000 patients takes a quarter of a second, in which no alert leaves.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator
from typing import Final

#: A full collection that took so many seconds is the last that scans what it found alive.
LONGEST_S: Final = 0.01
_OLDEST: Final = 2
_resting = 0
_began = 0.0


def shorten_collections() -> None:
    """Let no full collection scan what a long one before it found alive. Call it once a process."""
    if _after_collection not in gc.callbacks:
        gc.callbacks.append(_after_collection)


def _after_collection(phase: str, info: dict[str, int]) -> None:
    global _began  # noqa: PLW0603 (so is the collector: one a process)
    if info["generation"] != _OLDEST:
        return
    if phase == "start":
        _began = time.perf_counter()
    elif time.perf_counter() - _began > LONGEST_S:
        gc.freeze()


@contextlib.contextmanager
def collector_rests() -> Iterator[None]:
    """Suspend collection inside the block, and never scan the objects that exist at its end: references free them.

    Taking over the state of 50,000 patients takes half the time, and no later pause pays for them. Blocks may overlap:
    the last one to end counts. They must not wait for anything else: cycles accumulate meanwhile.
    """
    global _resting  # noqa: PLW0603 (so is the collector: one a process)
    _resting += 1
    gc.disable()
    try:
        yield
    finally:
        _resting -= 1
        if not _resting:
            gc.freeze()
            gc.enable()

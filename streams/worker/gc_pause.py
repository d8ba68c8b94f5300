"""Pause Python's cyclic garbage collector while many lasting objects are made."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_resting = 0


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

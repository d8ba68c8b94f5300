"""Python's cyclic garbage collector out of the way while much is made that stays."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_resting = 0


@contextlib.contextmanager
def collector_rests() -> Iterator[None]:
    """No collection inside the block; what was made in it is never looked at again, it is freed by its last reference.

    Taking over the state of 50,000 patients takes half the time, and no later pause pays for them. Blocks may overlap:
    the last one to end counts. They must not wait for anybody else, cycles pile up meanwhile.
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

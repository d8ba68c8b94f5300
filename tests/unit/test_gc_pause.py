"""The garbage collector scans no patient twice in a long collection."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from streams.worker import gc_pause


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    before = list(gc.callbacks)
    gc.unfreeze()  # what an earlier test left
    yield
    gc.callbacks[:] = before
    gc.unfreeze()


@pytest.mark.parametrize("longest_s", [0.0, 60.0])
def test_a_long_full_collection_is_the_last_that_scans_what_it_found(
    monkeypatch: pytest.MonkeyPatch, longest_s: float
) -> None:
    monkeypatch.setattr(gc_pause, "LONGEST_S", longest_s)
    gc_pause.shorten_collections()
    gc_pause.shorten_collections()
    assert gc.callbacks.count(gc_pause._after_collection) == 1
    kept = [[number] for number in range(1000)]
    gc.collect(1)
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert (gc.get_freeze_count() >= len(kept)) == (longest_s == 0.0)

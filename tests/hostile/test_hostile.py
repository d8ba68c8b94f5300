"""Part of `make hostile`: the attacks that once stopped a worker, or alerts."""

from __future__ import annotations

from typing import Final

import pytest

from tests.chaos.run import percentile
from tests.hostile.cases import BY_NAME
from tests.hostile.stage import run

_SUBSET: Final = ("poisoned-patient", "hot-loop", "idle-connections", "bad-state")
#: Other tests run on the same cores, so the worst of some forty alerts may take so many times what is promised; the
#: median may not. `make hostile` holds the worst to it. What this is about took 44 s, more than 80 times.
_SLACK: Final = 6


@pytest.mark.parametrize("name", _SUBSET)
async def test_everybody_else_is_alerted(bootstrap: str, name: str) -> None:
    case = BY_NAME[name]
    outcome = await run(case, bootstrap)
    assert not outcome.wrong, outcome.told()
    assert len(outcome.delays) >= 8, "so few prove nothing"
    if case.worst_s is not None:
        assert percentile(outcome.delays, 50) <= case.worst_s, outcome.told()
        assert outcome.worst_s <= _SLACK * case.worst_s, outcome.told()

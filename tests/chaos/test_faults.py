"""Two minutes of `make soak`: faults of every family, short, several side by side."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.faults import BY_NAME
from tests.chaos.run import Result, run

#: Faults of workers, on one broker; minutes of unit time are seconds of ours.
SHARED = {"kill-soon": 15, "kill-twice": 16, "terminate": 12, "freeze": 15, "join-and-leave": 14, "rebalance-storm": 14}
#: Those that need a broker of their own.
ALONE = {"broker-killed": 14, "broker-frozen": 14}
_SEED = 7


@pytest.fixture(scope="module")
async def results(bootstrap: str) -> dict[str, Result]:
    places = asyncio.Semaphore(4)

    async def one(name: str, minutes: float) -> Result:
        async with places:
            return await run(BY_NAME[name], _SEED, None if name in ALONE else bootstrap, minutes=minutes)

    wanted = ALONE | SHARED
    found = await asyncio.gather(*(one(name, minutes) for name, minutes in wanted.items()))
    return dict(zip(wanted, found, strict=True))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", [*SHARED, *ALONE])
async def test_nothing_is_lost_or_made_up(results: dict[str, Result], fault: str) -> None:
    """How long it took is for `make soak` on a machine at rest to say; here other tests run."""
    result = results[fault]
    assert not result.failure, f"{result.failure}\nagain: {result.again}"
    assert not result.verdict.findings, f"{result.verdict.explained()}\nagain: {result.again}"
    assert result.verdict.must > 80
    assert result.verdict.at_log_end

"""Bugs planted in a worker are found by the oracle, each by its own words; a worker without one passes."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.chaos.faults import BY_NAME
from tests.chaos.run import Result, run
from tests.chaos.sabotage import BUGS

#: The shortest fault that shows each bug, minutes of unit time (seconds of ours), and words of what is found.
SHOWN_BY = {
    "nothing": ("kill-twice", 16, ""),
    "commit-before-send": ("kill-twice", 16, "[no effect]"),
    "outbox-forgotten": ("kill-twice", 16, "[effect not sent]"),
    "deadline-forgotten": ("kill-twice", 16, "aluminum_result_overdue"),
    "revision-reused": ("kill-twice", 16, "differing repeat"),
    "repeat-differs": ("kill-twice", 16, "differing repeat"),
    "drop-on-revoke": ("join-and-leave", 11, "[no effect]"),
    "samples-unasked": ("none", 6, "dialysate_temperature"),
    "wall-clock": ("none", 6, "wrong time"),
    "picture-forgotten": ("none", 6, "wrong picture"),
    "dead-letter-forgotten": ("garbage-storm", 6, "dead letter"),
}
#: Runs side by side: they mostly wait for the session timeout.
_AT_ONCE = 5
#: A busy machine shifts a rebalance past the moment that would show the bug: then another seed gets the chance, and
#: twice the time. A sound worker has one run, and nothing may be found in it.
_SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
async def results(bootstrap: str) -> dict[str, Result]:
    places = asyncio.Semaphore(_AT_ONCE)

    async def sabotaged(bug: str) -> Result:
        fault, minutes, _ = SHOWN_BY[bug]
        command = (sys.executable, "-m", "tests.chaos.sabotage", bug, "worker")
        for seed in _SEEDS:
            async with places:
                result = await run(BY_NAME[fault], seed, bootstrap, command, minutes * min(seed, 2))
            if bug == "nothing" or result.failure or _is_found(bug, result):
                break
        return result

    found = await asyncio.gather(*map(sabotaged, SHOWN_BY))
    return dict(zip(SHOWN_BY, found, strict=True))


def _is_found(bug: str, result: Result) -> bool:
    words = SHOWN_BY[bug][2]
    return any(words in str(finding) for finding in result.verdict.findings)


def test_every_bug_has_a_run() -> None:
    assert SHOWN_BY.keys() == BUGS.keys()


@pytest.mark.timeout(900)  # the first of them waits for all runs, up to three of each bug
@pytest.mark.parametrize("bug", SHOWN_BY)
async def test_it_is_found(results: dict[str, Result], bug: str) -> None:
    result = results[bug]
    assert not result.failure, result.failure
    # A worker that cannot even start again loses everything: that proves nothing.
    assert result.recover_s or result.restart_s or not result.injuries, result.notes
    if bug == "nothing":
        assert not result.verdict.findings, result.verdict.explained()
    else:
        assert _is_found(bug, result), result.verdict.explained()

"""The engine makes of the recorded corpus, byte for byte, what it made when the corpus was recorded."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from models.alerts import Transition
from streams.rules.catalogue import ALL_RULES
from tests.contract.corpus import Case, cases, expected, run

CASES = cases()
EXPECTED = expected()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_transitions_are_the_recorded_bytes(case: Case) -> None:
    assert run(case) == EXPECTED[case.name]


def test_the_corpus_holds_many_rules_and_every_transition() -> None:
    told = [json.loads(line) for lines in EXPECTED.values() for line in lines]
    # Rules that came later are held by their tables (tests/rules); those that were there are all in it.
    assert len({alert["rule"] for alert in told} & {spec.name for spec in ALL_RULES}) >= 9
    assert {alert["transition"] for alert in told} >= {str(kind) for kind in Transition}
    assert len(told) > 3_000


def test_a_case_that_lost_an_event_differs() -> None:
    """The comparison can fail: most events matter."""
    differ: Counter[bool] = Counter()
    for case in CASES[-30:]:
        if case.name.startswith("random/28"):
            continue
        shorter = replace(case, lines=case.lines[: len(case.lines) // 2])
        differ[run(shorter) != EXPECTED[case.name]] += 1
    assert differ[True] > 20

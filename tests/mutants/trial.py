"""Tries mutants in the tree that mutmut made, the cheap checks first: `python -m tests.mutants.trial NAMES OUTCOMES`.

A mutant runs in a fork of a process that has everything imported. One that lives, or is made at import, where a fork
comes too late, runs once more in a process of its own (`python -m tests.mutants.trial`).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from streams.rules.document import documents
from tests.contract.corpus import cases as recorded
from tests.contract.corpus import expected
from tests.contract.corpus import run as play
from tests.rules.day_events import EVENTS, day, events_document
from tests.rules.table import Runner, cases
from tests.rules.worked_day import PATH, document

#: mutmut's switches read it at every call.
UNDER_TEST: Final = "MUTANT_UNDER_TEST"
#: Longer than that a fork takes only if a fault makes it go on for ever.
_MOST_S: Final = 300
_LIVES: Final = 0
#: Tests that take long, and those that follow from the cases of the tables: they repeat what others find.
_SLOW: Final = (
    "test_properties.py",
    "test_bounds.py",
    "test_output.py",
    "test_simulated_alerts.py",
    "test_simulator.py",
)
_DERIVED: Final = (
    "test_every_event_twice",
    "test_a_restart_between_any_two_events",
    "test_no_order_of_arrival_changes_what_is_open",
    "test_what_was_entered_in_error_counts_for_nothing",
    "test_advice_names_its_basis_and_orders_nothing",
    "test_no_order_no_repetition_and_no_restart_changes_what_is_open",
)
_ARGUMENTS: Final = (
    "-q",
    "-x",
    "-n0",
    "-p",
    "no:cacheprovider",
    *(f"--ignore=tests/unit/{name}" for name in _SLOW),
    "-k",
    " and ".join(f"not {name}" for name in _DERIVED),
    "tests/rules",
    "tests/unit",
)
_CASES, _RECORDED, _EXPECTED = cases(), recorded(), expected()


def tables() -> bool:
    """Whether a case of a table fails."""
    return any(Runner(case).run().unmet() for case in _CASES)


def texts() -> bool:
    """Whether a generated document differs."""
    if any(path.read_text(encoding="utf-8") != text for path, text in documents().items()):
        return True
    the_day = day()
    written = EVENTS.read_text(encoding="utf-8"), PATH.read_text(encoding="utf-8")
    return written != (events_document(the_day), document(the_day))


def corpus() -> bool:
    """Whether a recorded case tells other bytes."""
    return any(play(case) != _EXPECTED[case.name] for case in _RECORDED)


def tests() -> bool:
    """Whether a test of rules or engine fails."""
    return pytest.main([*_ARGUMENTS]) != pytest.ExitCode.OK


_IN_A_FORK: Final = (tables, texts)
_ALONE: Final = (tables, texts, corpus, tests)


def outcome(checks: tuple[Callable[[], bool], ...]) -> int:
    """The number of the check that finds the fault; 0 if none does."""
    for number, check in enumerate(checks, start=1):
        try:
            if check():
                return number
        except BaseException:  # noqa: BLE001 (whatever a fault raises, it is found)
            return number
    return _LIVES


def forked(name: str) -> int:
    """Begin to try a mutant in a fork; return the fork's process id."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(_MOST_S)
        os.environ[UNDER_TEST] = name
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.dup2(nowhere, sys.stderr.fileno())
        os._exit(outcome(_IN_A_FORK))
    return pid


def try_all(names: list[str], outcomes: Path, processes: int) -> None:
    """Try mutants, so many at once; write each with its outcome, 0 for one that lives."""
    running: dict[int, str] = {}
    with outcomes.open("a", encoding="utf-8", buffering=1) as told:
        while names or running:
            while names and len(running) < processes:
                name = names.pop()
                running[forked(name)] = name
            pid, status = os.wait()
            print(running.pop(pid), os.waitstatus_to_exitcode(status), file=told)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        raise SystemExit(outcome(_ALONE))
    try_all(Path(sys.argv[1]).read_text(encoding="utf-8").split(), Path(sys.argv[2]), int(sys.argv[3]))

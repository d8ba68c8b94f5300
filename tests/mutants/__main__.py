"""Mutates `streams/rules` and `streams/engine` and counts which faults the tests find: `make mutants`.

`mutmut` makes the mutants in a copy of the tree. For each of a seeded sample it runs the tests that reach it, but none
of `_SLOW`, nor those that follow from the cases of the tables (`_DERIVED`): they repeat what others find, at many
times the cost. Who survives that, or is run at import alone, which mutmut does not change, runs `_AGAIN` in a process
of its own: documents, the corpus, and the cases. So the share that dies is at least the one that is printed.

mutmut and Faust disagree on click, so mutmut and what it needs lie in a folder of their own, `.venv/mutants`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
#: How many mutants are tried, and which share of them must die.
SAMPLE: Final = 400
LEAST: Final = 0.9
_SLOW: Final = (
    "test_properties.py",
    "test_bounds.py",
    "test_output.py",
    "test_parsing_details.py",
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
_CHOSEN: Final = " and ".join(f"not {name}" for name in _DERIVED)
#: Tests that many mutants fail at once, the cheap ones first. None reads the source: it holds every mutant as text.
_AGAIN: Final = (
    "tests/contract/test_documents.py",
    "tests/contract/test_corpus.py",
    "tests/contract/test_worked_day.py",
    "tests/unit/test_rule_settings.py",
    "tests/unit/test_rules_command.py",
    "tests/rules",
)
_COPIED: Final = ("streams", "models", "tests", "benchmarks", "docs", "deploy", "README.md", "CHANGELOG.md", "Makefile")
#: Exit statuses of a run that found the fault: a failed test, an error in one, or no end in time.
_KILLED: Final = frozenset({1, 3, 24, -24, 36, 152, 255})
_SURVIVED: Final = 0
#: Longer than that no test takes.
_MOST_S: Final = 900
#: mutmut makes all mutants, and learns which tests reach them, when it is asked for any of them.
_ANY: Final = "streams.rules.shapes.bands.x__limits__mutmut_1"
_PACKAGES: Final = Path(sys.prefix) / "mutants"


def main() -> int:
    """Try a sample of mutants; return 0 if enough of them die."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--sample", type=int, default=SAMPLE, help="how many mutants")
    options.add_argument("--seed", type=int, default=1, help="the same seed takes the same mutants")
    options.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="dialysis-mutants-") as made:
        folder = Path(made)
        _copy(folder)
        first = _mutmut(folder, asked.processes, [_ANY])
        if first:
            return first
        if _again(folder, ""):
            raise SystemExit("the second round's tests fail without a mutant: their output is above")
        names = sorted(_statuses(folder))
        chosen = random.Random(asked.seed).sample(names, min(asked.sample, len(names)))
        _mutmut(folder, asked.processes, chosen)
        statuses = _statuses(folder)
        found = {name: statuses[name] for name in chosen}
        if set(found.values()) == {None}:
            raise SystemExit("mutmut ran no mutant")
        alive = [name for name in chosen if found[name] not in _KILLED]
        print(f"first round: {len(alive)} of {len(chosen)} alive", flush=True)
        with ThreadPoolExecutor(asked.processes) as pool:
            found |= dict(zip(alive, pool.map(lambda name: _again(folder, name), alive), strict=True))
        return _report(found, folder, len(names))


def _copy(folder: Path) -> None:
    """Copy the tree, with mutmut's settings."""
    ignored = shutil.ignore_patterns("__pycache__", ".*cache*")
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    for name in ("CONTRIBUTING.md", ".importlinter", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    ignore = [f"--ignore=tests/unit/{name}" for name in _SLOW]
    settings = {
        "source_paths": ["streams/rules", "streams/engine"],
        "also_copy": [*_COPIED, "CONTRIBUTING.md", ".importlinter", "LICENSE"],
        "pytest_add_cli_args_test_selection": ["tests/rules", "tests/unit"],
        "pytest_add_cli_args": ["-n0", "-x", "-p", "no:cacheprovider", *ignore, "-k", _CHOSEN],
    }
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(f"{text}\n[tool.mutmut]\n{lines}", encoding="utf-8")


def _mutmut(folder: Path, processes: int, names: Iterable[str]) -> int:
    return _run(folder, ["run", "--max-children", str(processes), *names]).returncode


def _run(folder: Path, words: list[str], *, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(_PACKAGES)}
    command = [sys.executable, "-m", "mutmut", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=quiet, text=True, check=False)


def _again(folder: Path, mutant: str) -> int:
    """Run `_AGAIN` with a mutant, from the import on; return 0 if it survives, else 1."""
    environment = {**os.environ, "PYTHONPATH": str(_PACKAGES), "MUTANT_UNDER_TEST": mutant}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", "-k", _CHOSEN, *_AGAIN]
    try:
        ended = subprocess.run(
            command,
            cwd=folder / "mutants",
            env=environment,
            capture_output=bool(mutant),
            check=False,
            timeout=_MOST_S,
        )
    except subprocess.TimeoutExpired:
        return 1
    return int(ended.returncode != _SURVIVED)


def _statuses(folder: Path) -> dict[str, int | None]:
    """Return the exit status of each mutant's tests by its name; None where they were not run."""
    found: dict[str, int | None] = {}
    for path in (folder / "mutants").rglob("*.meta"):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def _report(found: Mapping[str, int | None], folder: Path, of: int) -> int:
    """Print the survivors with their changes, and the share that died."""
    alive = sorted(name for name, status in found.items() if status not in _KILLED)
    for name in alive:
        why = "survived" if found[name] == _SURVIVED else f"no test ran (status {found[name]})"
        print(f"\n{name}: {why}")
        print(_run(folder, ["show", name], quiet=True).stdout)
    share = 1 - len(alive) / len(found)
    print(f"{len(found)} of {of} mutants, {len(found) - len(alive)} died: {share:.1%}; at least {LEAST:.0%} must")
    return 0 if share >= LEAST else 1


if __name__ == "__main__":
    raise SystemExit(main())

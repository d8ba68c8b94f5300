"""Mutates `streams/rules` and `streams/engine` and counts which faults the tests find: `make mutants`.

`mutmut` makes the mutants in a copy of the tree. Each of a seeded sample is tried by the cases of the tables and the
generated documents in a fork (`tests.mutants.trial`). Who lives runs once more in a process of its own, from the import
on, with the recorded corpus and most tests of rules and engine beside. Some are left out that take long and find what
others find, so the share that dies is at least the one that is printed.

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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
#: How many mutants are tried, and which share of them must die.
SAMPLE: Final = 400
LEAST: Final = 0.9
_COPIED: Final = ("streams", "models", "tests", "benchmarks", "docs", "deploy", "README.md", "CHANGELOG.md", "Makefile")
#: Longer than that no mutant takes in a process of its own.
_MOST_S: Final = 1800
#: Cheap tests by which mutmut learns that its mutants can be switched on.
_FEW: Final = "tests/unit/test_rules_command.py"
#: mutmut makes all mutants, and learns which tests reach them, when it is asked for any of them.
_ANY: Final = "streams.rules.shapes.bands.x__limits__mutmut_1"
_ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(Path(sys.prefix) / "mutants")}


def main() -> int:
    """Try a sample of mutants; return 0 if enough of them die."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--sample", type=int, default=SAMPLE, help="how many mutants")
    options.add_argument("--seed", type=int, default=1, help="the same seed takes the same mutants")
    options.add_argument("--only", nargs="*", default=(), help="modules, such as streams.rules.hypotension")
    options.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="dialysis-mutants-") as made:
        folder = Path(made)
        _copy(folder)
        if status := _mutmut(folder, "run", "--max-children", str(asked.processes), _ANY).returncode:
            return status
        tree = folder / "mutants"
        if _alone(tree, ""):
            raise SystemExit("the tests fail without a mutant")
        names = sorted(name for name in _names(tree) if not asked.only or name.rpartition(".")[0] in asked.only)
        chosen = random.Random(asked.seed).sample(names, min(asked.sample, len(names)))
        alive = _in_forks(tree, chosen, asked.processes)
        print(f"first round: {len(alive)} of {len(chosen)} alive", flush=True)
        with ThreadPoolExecutor(asked.processes) as pool:
            found = pool.map(lambda name: _alone(tree, name), alive)
        alive = [name for name, is_found in zip(alive, found, strict=True) if not is_found]
        return _report(alive, chosen, folder, len(names))


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
    mutmut = {
        "source_paths": ["streams/rules", "streams/engine"],
        "also_copy": [*_COPIED, "CONTRIBUTING.md", ".importlinter", "LICENSE"],
        "pytest_add_cli_args_test_selection": [_FEW],
        "pytest_add_cli_args": ["-n0", "-x", "-p", "no:cacheprovider"],
    }
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in mutmut.items())
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(f"{text}\n[tool.mutmut]\n{lines}", encoding="utf-8")


def _mutmut(folder: Path, *words: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mutmut", *words]
    return subprocess.run(command, cwd=folder, env=_ENVIRONMENT, capture_output=quiet, text=True, check=False)


def _in_forks(tree: Path, names: Sequence[str], processes: int) -> list[str]:
    """Try mutants in forks of one process; return those that live."""
    asked, told = tree / "names.txt", tree / "outcomes.txt"
    asked.write_text("\n".join(names), encoding="utf-8")
    command = [sys.executable, "-m", "tests.mutants.trial", asked.name, told.name, str(processes)]
    subprocess.run(command, cwd=tree, env=_ENVIRONMENT, check=True)
    outcomes = dict(line.split() for line in told.read_text(encoding="utf-8").splitlines())
    return [name for name in names if outcomes[name] == "0"]


def _alone(tree: Path, name: str) -> bool:
    """Try a mutant in a process of its own; return whether it is found."""
    command = [sys.executable, "-m", "tests.mutants.trial"]
    environment = {**_ENVIRONMENT, "MUTANT_UNDER_TEST": name}
    try:
        ended = subprocess.run(
            command, cwd=tree, env=environment, capture_output=bool(name), check=False, timeout=_MOST_S
        )
    except subprocess.TimeoutExpired:
        return True
    return ended.returncode != 0


def _names(tree: Path) -> Iterator[str]:
    """Yield the names of all mutants."""
    for path in tree.rglob("*.meta"):
        yield from json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]


def _report(alive: Sequence[str], chosen: Sequence[str], folder: Path, of: int) -> int:
    """Print the survivors with their changes, and the share that died."""
    for name in sorted(alive):
        print(f"\n{name}")
        print(_mutmut(folder, "show", name, quiet=True).stdout)
    share = 1 - len(alive) / len(chosen)
    print(f"{len(chosen)} of {of} mutants, {len(chosen) - len(alive)} died: {share:.1%}; at least {LEAST:.0%} must")
    return 0 if share >= LEAST else 1


if __name__ == "__main__":
    raise SystemExit(main())

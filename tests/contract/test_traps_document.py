"""docs/traps.md names tests that exist, and every test of a trap is in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = {"U": ROOT / "tests/unit", "I": ROOT / "tests/integration"}
NAMED = set(re.findall(r"`([UI])/(\w+\.py)::(\w+)`", (ROOT / "docs/traps.md").read_text(encoding="utf-8")))


def names_in(path: Path) -> set[str]:
    found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names = (node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {name for name in names if name.startswith("test_")}


def test_the_tests_that_are_named_exist() -> None:
    missing = {
        f"{folder}/{file}::{test}"
        for folder, file, test in NAMED
        if not (FOLDERS[folder] / file).exists() or test not in names_in(FOLDERS[folder] / file)
    }
    assert NAMED
    assert not missing


def test_every_test_of_a_trap_is_named() -> None:
    written = {
        (folder, path.name, test)
        for folder, where in FOLDERS.items()
        for path in where.glob("test_traps*.py")
        for test in names_in(path)
    }
    assert not written - NAMED

"""Every file, heading, section and rule that code, comments and documents cite is there.

A citation that leads nowhere costs its reader more than none: the reason that it promises cannot be found.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = (".ci", "benchmarks", "deploy", "docs", "models", "streams", "tests")
#: What is searched for citations. This file is not: it plants bad ones.
SUFFIXES: Final = (".md", ".py", ".toml")
NAMES: Final = (".importlinter", "Makefile")
#: How docs/traps.md shortens folders.
SHORT: Final = {"U/": "tests/unit/", "I/": "tests/integration/"}
CLINICAL: Final = "docs/clinical.md"

_URL: Final = re.compile(r"https?://\S+")
_MENTION: Final = re.compile(r"(?<![\w./*<>{}$-])((?:\.{1,2}/)*(?:[\w.-]+/)*[\w-][\w.-]*\.(?:md|py))(?![\w/])")
_FENCE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`[^`\n]*`")
_LINK: Final = re.compile(r"\]\(<?([^()\s<>]+)>?\)")
_DEFINITION: Final = re.compile(r"^\[([^\]]+)\]: *<?([^\s<>]+)>?$", re.MULTILINE)
_REFERENCE: Final = re.compile(r"\]\[([^\]\n]+)\]")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_NUMBERED: Final = re.compile(r"^#{2,4} (\d(?:\.\d+)?|[RE]\d\d)\b", re.MULTILINE)
_WRAPPED: Final = re.compile(r"\s*\n\s*(?:#:? )?")
_ITEM: Final = r"(?:\d(?:\.\d+)?|[RE]\d\d)(?![\w%])"
_ITEMS: Final = rf"{_ITEM}(?:(?:, (?:and )?| and |/){_ITEM})*"
_CITED: Final = re.compile(rf"\bclinical(?:\.md)?,? (?:section )?({_ITEMS})")
_SECTIONS: Final = re.compile(rf"\b[Ss]ections? ({_ITEMS})")
_RULE: Final = re.compile(r"(?<![\w^-])[RE]\d\d(?![\w-])")  # ORA^R41 is a message of HL7


@dataclass(frozen=True)
class Tree:
    """The files of the repository, by their paths from its root."""

    texts: dict[str, str]

    @cached_property
    def endings(self) -> frozenset[str]:
        """Every path, and every end of one that begins at a folder: `task.py` names `streams/worker/task.py`."""
        return frozenset("/".join(parts[start:]) for parts in self._parts for start in range(len(parts)))

    @cached_property
    def folders(self) -> frozenset[str]:
        return frozenset(path for parts in self._parts for path in accumulate(parts[:-1], posixpath.join)) | {"."}

    @property
    def _parts(self) -> Iterator[list[str]]:
        return (path.split("/") for path in self.texts)


def _read() -> Tree:
    paths = [path for path in ROOT.iterdir() if path.is_file()]
    paths += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    return Tree(
        {
            path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") if _is_searched(path) else ""
            for path in paths
            if "__pycache__" not in path.parts
        }
    )


def _is_searched(path: Path) -> bool:
    return path != Path(__file__).resolve() and (path.suffix in SUFFIXES or path.name in NAMES)


TREE: Final = _read()


# -- finders ----------------------------------------------------------------------------------------------------------


def missing_files(where: str, text: str, tree: Tree) -> list[str]:
    """The names of Markdown and Python files in a text that are no file of the repository."""
    missing = []
    for match in _MENTION.finditer(_URL.sub("", text)):
        name = match[1]
        if name.startswith("."):
            found = posixpath.normpath(posixpath.join(posixpath.dirname(where), name)) in tree.texts
        else:
            short = SHORT.get(name[:2]) if where.endswith("traps.md") else None
            found = (name if short is None else short + name[2:]) in tree.endings
        if not found:
            missing.append(name)
    return missing


def broken_links(where: str, text: str, tree: Tree) -> list[str]:
    """The links of a Markdown text whose file, heading or definition does not exist."""
    prose = _CODE.sub("", _FENCE.sub("", text))
    defined = {label.casefold(): target for label, target in _DEFINITION.findall(prose)}
    broken = [label for label in _REFERENCE.findall(prose) if label.casefold() not in defined]
    for target in (*_LINK.findall(prose), *defined.values()):
        if _SCHEME.match(target):
            continue
        path, _, anchor = target.partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(where), path)) if path else where
        there = text if file == where else tree.texts.get(file)
        if there is None and file in tree.folders:
            there = ""
        if there is None or (anchor and anchor not in anchors(there)):
            broken.append(target)
    return broken


def anchors(text: str) -> set[str]:
    """The anchors that a renderer gives the headings of a Markdown text."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\]\([^)]*\)|[`*\[\]]", "", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def unknown_sections(where: str, text: str, numbered: set[str]) -> list[str]:
    """The sections and rules of the clinical base that a text cites and that are no heading there."""
    flat = _WRAPPED.sub(" ", _URL.sub("", text))
    lists = _CITED.findall(flat) + (_SECTIONS.findall(flat) if where == CLINICAL else [])
    cited = [item for items in lists for item in re.findall(_ITEM, items)]
    return [item for item in [*cited, *_RULE.findall(flat)] if item not in numbered]


# -- the repository ---------------------------------------------------------------------------------------------------

SEARCHED: Final = sorted(path for path, text in TREE.texts.items() if text)
DOCUMENTS: Final = [path for path in SEARCHED if path.endswith(".md")]
NUMBERED: Final = set(_NUMBERED.findall(TREE.texts.get(CLINICAL, "")))


@pytest.mark.parametrize("path", SEARCHED)
def test_every_file_that_is_cited_exists(path: str) -> None:
    assert missing_files(path, TREE.texts[path], TREE) == []


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_link_leads_somewhere(path: str) -> None:
    assert broken_links(path, TREE.texts[path], TREE) == []


@pytest.mark.parametrize("path", SEARCHED)
def test_every_section_and_rule_of_the_clinical_base_exists(path: str) -> None:
    assert unknown_sections(path, TREE.texts[path], NUMBERED) == []


def test_the_clinical_base_has_the_sections_and_rules_that_the_contract_counts() -> None:
    rules = {item for item in NUMBERED if item[0] in "RE"}
    assert {f"E{number:02}" for number in range(1, 13)} <= rules
    assert {"R01", "R14", "R20", "R26", "R30", "R40", "R50", "R57", "R60", "R67"} <= rules
    assert {"0", "1.5", "2.10", "3.8", "5", "7"} <= NUMBERED


# -- the finders themselves -------------------------------------------------------------------------------------------

_SMALL: Final = Tree(
    {
        "README.md": "# Title\n\n## Run it\n",
        "docs/architecture.md": "# Map\n\n## Rooms\n\n## Rooms\n",
        "docs/traps.md": "# Traps\n",
        "streams/worker/task.py": "",
        "tests/unit/test_task.py": "",
    }
)


@pytest.mark.parametrize(
    ("where", "text", "missing"),
    [
        ("streams/worker/task.py", "# The fence of design.md, Failure.", ["design.md"]),
        ("streams/worker/task.py", "# see docs/architecture.md, Rooms", []),
        ("streams/worker/task.py", "# see architecture.md; task.py; worker/task.py", []),
        ("README.md", "`streams/task.py` and `orker/task.py`", ["streams/task.py", "orker/task.py"]),
        ("README.md", "in ../elsewhere/house.md and ./README.md", ["../elsewhere/house.md"]),
        ("README.md", "https://example.org/a/b.md, then c.md.", ["c.md"]),
        ("docs/traps.md", "`U/test_task.py::test_a`, `I/test_task.py::test_b`", ["I/test_task.py"]),
        ("README.md", "`U/test_task.py::test_a`", ["U/test_task.py"]),
        ("pyproject.toml", 'readme = "LIESMICH.md"', ["LIESMICH.md"]),
    ],
)
def test_a_file_that_is_missing_is_found(where: str, text: str, missing: list[str]) -> None:
    assert missing_files(where, text, _SMALL) == missing


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("[map](architecture.md) and [again](architecture.md#rooms-1), [rooms](#here)\n\n## Here", []),
        ("[map](design.md)", ["design.md"]),
        ("[map](architecture.md#walls)", ["architecture.md#walls"]),
        ("[run](../README.md#run-it), [task](../streams/worker/task.py), [room](../streams/worker)", []),
        ("[run](README.md)", ["README.md"]),
        ("[out](../../README.md)", ["../../README.md"]),
        ("[web](https://example.org/none.md#x) and `[code](none.md)`\n```\n[fence](none.md)\n```\n", []),
        ("[Kost] and [a page][Kots]\n\n[Kost]: https://example.org", ["Kots"]),
        ("[map]\n\n[map]: design.md", ["design.md"]),
        ("[here](#nowhere)", ["#nowhere"]),
    ],
)
def test_a_link_that_leads_nowhere_is_found(text: str, broken: list[str]) -> None:
    assert broken_links("docs/planted.md", text, _SMALL) == broken


def test_anchors_are_those_of_a_renderer() -> None:
    text = "# `make soak`: 0. What, and *why*\n```\n# no heading\n```\n## A_b (c)\n## A_b (c)\n"
    assert anchors(text) == {"make-soak-0-what-and-why", "a_b-c", "a_b-c-1"}


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("bounds (clinical.md 2.5), clinical 2.1, clinical.md, section 0; R01 and E07", []),
        ("clinical.md 2.5 and 2.11", ["2.11"]),
        ("clinical.md 2.1, 2.7 and 9", ["2.7", "9"]),
        ("clinical.md section 4", ["4"]),
        ("#: codes of clinical.md\n#: 3.9 and so on", ["3.9"]),
        ("clinical.md R99", ["R99", "R99"]),
        ("implements R41", ["R41"]),
        ("clinical.md 2.1: 24 h, a band of 36% and S101, ER01, R-01, ORA^R41", []),
    ],
)
def test_a_section_or_rule_that_is_missing_is_found(text: str, unknown: list[str]) -> None:
    assert unknown_sections("streams/rules/magnesium.py", text, {"0", "2.1", "2.5", "3.2", "R01", "E07"}) == unknown

"""No advice orders a treatment, and each names its basis (decision 0010; contract, field `guidance`).

Read is every text that a run of the recorded corpus and of the rules' tables tells, and every text that stands in the
rules' code, also one that no run reaches.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from streams.rules.catalogue import ALL_RULES
from tests.contract.corpus import expected
from tests.rules.table import Runner
from tests.rules.table import cases as table_cases

ROOT: Final = Path(__file__).resolve().parents[2]
#: Stands for what a formatted text fills in.
_FILLED: Final = "…"

#: What orders a treatment when it begins a sentence, a part of one, or follows "and", "or" or "then".
ORDERS: Final = frozenset(
    """
    adjust administer apply avoid begin bolus cancel cease change continue convert correct decrease deliver
    dialyse dialyze discontinue double dose elevate extend give halt halve hold increase infuse initiate
    inject interrupt lengthen limit lower make omit pause place prescribe prolong provide push put raise
    reduce remove repeat replace restart resume set shorten skip start stop substitute supplement switch take
    taper titrate transfuse treat use wean withdraw withhold
    """.split()  # noqa: SIM905 (a list of words reads better as words)
)
#: "should be given", "must be stopped": an order without an imperative.
_MUST: Final = re.compile(
    r"\b(?:should|must|shall|has to|have to|needs? to)\b(?: \w+)? be "
    r"(?:\w+ )?(?:given|started|stopped|administered|increased|reduced|raised|lowered|switched|changed|held|tapered|"
    r"discontinued|withheld|replaced|removed|treated|infused|injected)\b",
    re.IGNORECASE,
)
#: A word with what stands before it: the beginning, a stop, a comma, or a word that joins or forbids.
_WORD: Final = re.compile(r"[a-z]+", re.IGNORECASE)
_BEFORE: Final = re.compile(
    r"(?:^|[.;:!?,(]|\b(?:and|then|or|but|please|always|immediately|now|never|not))\s*$", re.IGNORECASE
)
#: What follows a word that is a noun there: "the route, dose and timing", "change of weight".
_NOUN: Final = re.compile(r"\s+(?:of|is|was|were|are|has|and|or|per|as)\b|\s*(?:[.,;:!?)]|$)", re.IGNORECASE)

#: A second source: a guideline, a study, a laboratory's notes, a section or rule of clinical.md, a ruling.
_SOURCES: Final = re.compile(
    r"\b(?:KDOQI|KDIGO|KCQA|EBPG|ARUP|Mayo|Kost|IEC 60601|PACE|Flythe|JAMA|Di Mario|MSD|Houston|Iowa|WakeMed|ICU|"
    r"FDA|ERA|IHE|ours|catalogues|contract|rule settings|clinical\.md|doi|trial|cohort|guideline|label)\b"
)
_ARTICLE: Final = re.compile(r"\barticle\b[^;]*?\bL(\d+)(?:-L?(\d+))?")
_LINES_OF_ARTICLE: Final = 63
_IN_CLINICAL: Final = re.compile(r"\b([RE]\d\d)\b")


@cache
def advice() -> frozenset[tuple[str, str, str]]:
    """Every advice: where it is told, its text and its basis."""
    return frozenset((*_told(), *_written()))


def _told() -> Iterator[tuple[str, str, str]]:
    for alert in (json.loads(line) for lines in expected().values() for line in lines):
        yield from ((alert["rule"], one["text"], one["basis"]) for one in alert["guidance"])
    for case in table_cases():
        for told in Runner(case).run().unit.told:
            yield from ((told.rule, one.text, one.basis) for one in told.guidance)


def _written() -> Iterator[tuple[str, str, str]]:
    """The advice in the code: both arguments of every call of `guidance`, and every `advice=` that is a text."""
    for path in sorted((ROOT / "streams" / "rules").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = path.relative_to(ROOT / "streams").as_posix()
            if isinstance(node.func, ast.Name) and node.func.id == "guidance" and len(node.args) == 2:
                text, basis = (_text(argument) for argument in node.args)
                if text and basis:
                    yield name, text, basis
            for keyword in node.keywords:
                if keyword.arg == "advice" and (text := _text(keyword.value)):
                    yield name, text, "clinical.md E07"


def _text(node: ast.expr) -> str:
    """A text of the code; what a formatted one fills in is `…`; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else _FILLED for part in node.values)
    return ""


def orders(text: str) -> list[str]:
    """The parts of a text that order a treatment."""
    found = [match[0] for match in _MUST.finditer(text)]
    found += [
        text[match.start() : match.end() + 20]
        for match in _WORD.finditer(text)
        if match[0].lower() in ORDERS and _BEFORE.search(text[: match.start()]) and not _NOUN.match(text[match.end() :])
    ]
    return found


def lacks(basis: str) -> list[str]:
    """What is wrong with a basis."""
    lines = [int(number) for match in _ARTICLE.finditer(basis) for number in match.groups() if number]
    found = [f"the article has no line {line}" for line in lines if not 1 <= line <= _LINES_OF_ARTICLE]
    if not lines and not _SOURCES.search(basis):
        found.append("it names no line of the article and no other source")
    clinical = (ROOT / "docs" / "clinical.md").read_text(encoding="utf-8")
    found += [f"clinical.md has no {name}" for name in _IN_CLINICAL.findall(basis) if name not in clinical]
    return found


def test_no_advice_orders_a_treatment() -> None:
    found = {(where, text): parts for where, text, _ in advice() if (parts := orders(text))}
    assert not found, "\n".join(f"{where}: {parts} in {text!r}" for (where, text), parts in sorted(found.items()))


def test_every_advice_names_its_basis() -> None:
    found = {(where, basis): parts for where, _, basis in advice() if (parts := lacks(basis))}
    assert not found, "\n".join(f"{where}: {parts} in {basis!r}" for (where, basis), parts in sorted(found.items()))


def test_every_rule_advises() -> None:
    """Each rule of the catalogue has been read: a rule whose advice no run reaches would pass unseen."""
    assert {rule.name for rule in ALL_RULES} <= {where for where, _, _ in advice()}


def test_every_advice_is_a_sentence() -> None:
    found = {(where, text) for where, text, _ in advice() if not text.endswith(".") or text != text.strip()}
    found |= {(where, text) for where, text, _ in advice() if text[0].islower() and not text.startswith(_FILLED)}
    assert {(where, text) for where, text in found if not _begins_with_a_name(text)} == set()


def _begins_with_a_name(text: str) -> bool:
    """Whether a text is whole but begins with a name that is written small: a drug's, as its order spells it."""
    return text.endswith(".") and " was " in text.partition(",")[0]


@pytest.mark.parametrize(
    "text",
    [
        "Give magnesium.",
        "Review magnesium and give calcium.",
        "Check the level, then start deferoxamine.",
        "Magnesium is low: increase the dialysate magnesium.",
        "Review the order; stop baclofen.",
        "Baclofen should be stopped.",
        "The rate must be reduced.",
        "Search for and remove sources.",
        "Do not give potassium.",
        "Never administer intravenous magnesium.",
        "Please switch to ionised calcium.",
    ],
)
def test_an_order_is_found(text: str) -> None:
    assert orders(text)


@pytest.mark.parametrize(
    "text",
    [
        "Review a longer treatment: a lower rate needs more time.",
        "An abrupt stop gives seizures, too.",
        "Consider a repeat in a trace-element tube.",
        "Review the start of the session, and change of weight.",
        "Review the route, dose and timing of the drug, and use.",
        "The article advises to reduce the rate; KDOQI warns of it.",
    ],
)
def test_what_is_no_order_is_not(text: str) -> None:
    assert not orders(text)


def test_a_basis_without_a_source_is_found() -> None:
    assert lacks("common sense")
    assert lacks("article L64")
    assert lacks(f"clinical.md {'R'}99")  # in two parts: the test of citations reads this file, too
    assert not lacks("article L10, L63; KDOQI")
    assert not lacks("clinical.md 2.1")

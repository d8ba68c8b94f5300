"""Writes docs/coverage.md: what answers each line of the source article, `python -m streams.rules.coverage`.

A line is answered by a rule that cites it (its sources, the descriptions of its thresholds), by a text for people whose
basis cites it, or by a sentence of `UNANSWERED` that says why nothing does. A test fails for a line without any of
these, and for a sentence that a rule or a text has made superfluous.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.rules.catalogue import ALL_RULES

PATH: Final = Path(__file__).parents[2] / "docs" / "coverage.md"
_RULES: Final = Path(__file__).parent

#: What each line of the article is about, in our words.
LINES: Final = {
    1: "the title",
    2: "magnesium first; its target by mass",
    3: "heading: the work-up at once",
    4: "which electrolytes to check",
    5: "magnesium, which is often forgotten",
    6: "ionised calcium rather than total",
    7: "potassium",
    8: "phosphate",
    9: "jerks with signs of the brain, or worse after dialysis",
    10: "plasma aluminium and its ranges",
    11: "the picture, and where it leads untreated",
    12: "heading: treatment",
    13: "the order in which electrolytes are corrected",
    14: "magnesium comes before the others",
    15: "magnesium by way of the dialysate",
    16: "the target of magnesium in molar units",
    17: "no intravenous magnesium on dialysis",
    18: "calcium and potassium do not respond before it",
    19: "what follows magnesium",
    20: "low ionised calcium",
    21: "low potassium",
    22: "calcium and potassium of the dialysate",
    23: "heading: the prescription of dialysis",
    24: "jerks or spasms that come again",
    25: "slower fluid removal, longer treatment",
    26: "dialysate sodium of 148",
    27: "a profile of sodium",
    28: "cooler dialysate, and the risk of hypothermia",
    29: "isolated ultrafiltration after a large weight gain",
    30: "heading: drugs",
    31: "a first drug for symptoms that stay",
    32: "baclofen: first dose, steps and the most of it",
    33: "what to watch on baclofen",
    34: "baclofen is tapered, not stopped",
    35: "heading: other drugs",
    36: "midodrine before dialysis",
    37: "vitamin E",
    38: "heading: the acute episode",
    39: "while a muscle is in spasm",
    40: "hypertonic saline",
    41: "ice and massage",
    42: "oxygen",
    43: "heading: mechanism and risk factors",
    44: "electrolytes that swing; fluid removal as a trigger",
    45: "heading: who has more cramps",
    46: "a higher body mass index",
    47: "a large weight gain between treatments",
    48: "a short time on dialysis",
    49: "sitting long, moving little",
    50: "heading: arrhythmia",
    51: "arrhythmia during dialysis and hours after it; its factors",
    52: "heading: monitoring",
    53: "electrolytes in the hours after dialysis",
    54: "electrolytes and creatinine in the first month",
    55: "weight gain and pressure under a high sodium",
    56: "nutrition",
    57: "heading: aluminium",
    58: "signs of dialysis encephalopathy",
    59: "jerks, twitching, motor apraxia",
    60: "disturbed speech",
    61: "changes of personality, perception and orientation",
    62: "worse shortly after dialysis",
    63: "acute aluminium neurotoxicity; the article ends",
}

_HEADING: Final = "A heading: it states nothing."
#: Why neither a rule nor a text answers a line. Take a sentence out once something does: the test asks for it.
UNANSWERED: Final = {
    1: "The title: it states nothing.",
    12: _HEADING,
    23: _HEADING,
    30: _HEADING,
    35: _HEADING,
    43: _HEADING,
    50: _HEADING,
    52: _HEADING,
    57: _HEADING,
}

_HEAD: Final = """\
# Coverage of the source article

What answers each line of the article on which the rules rest ([clinical.md](clinical.md#the-cited-lines) restates the
lines that are cited). A *rule* names the line among its sources or thresholds; a *text* is an advice in an alert whose
basis names it. Where neither does, the table says why not.

`python -m streams.rules.coverage` writes it from the catalogue; a test fails for a line without an answer.

| line | what it is about | rules | texts |
|---|---|---|---|
"""
#: How many texts of a line are shown, and how many letters of each.
_SHOWN: Final = 3
_LETTERS: Final = 60

_CITED: Final = re.compile(r"\barticle (L\d+(?:-L?\d+)?(?:(?:, | and )L\d+(?:-L?\d+)?)*)")
_RANGE: Final = re.compile(r"L(\d+)(?:-L?(\d+))?")


@dataclass(frozen=True, slots=True)
class Answers:
    """What answers a line: the names and families of rules, and the beginnings of texts."""

    rules: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Return whether anything does."""
        return bool(self.rules or self.texts)


def cited(words: str) -> set[int]:
    """Return the lines of the article that a source or a basis names."""
    ranges = [one for group in _CITED.findall(words) for one in _RANGE.findall(group)]
    return {line for first, last in ranges for line in range(int(first), int(last or first) + 1)}


def answers() -> dict[int, Answers]:
    """Return what answers each line, and any other line that is cited."""
    rules: dict[int, set[tuple[str, str]]] = {}
    texts: dict[int, set[str]] = {}
    for rule in ALL_RULES:
        fields = (each.description or "" for each in rule.limits.model_fields.values())
        for words in (*rule.sources, *fields):
            for line in cited(words):
                rules.setdefault(line, set()).add((rule.name, rule.family))
    for text, basis in _texts():
        for line in cited(basis):
            texts.setdefault(line, set()).add(text)
    return {
        line: Answers(tuple(sorted(rules.get(line, ()))), tuple(sorted(texts.get(line, ()))))
        for line in sorted({*LINES, *rules, *texts})
    }


def _texts() -> Iterator[tuple[str, str]]:
    """Yield text and basis of every advice in the code of the rules."""
    for path in sorted(_RULES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "guidance":
                words = [_words(argument) for argument in node.args]
                if len(words) == 2 and all(words):
                    yield words[0], words[1]


def _words(node: ast.expr) -> str:
    """Return a text of the code, with `…` for what a formatted one fills in; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_words(part) or "…" for part in node.values)
    return ""


def document() -> str:
    """Return the text of the document."""
    found = answers()
    return _HEAD + "".join(f"{_row(line, about, found[line])}\n" for line, about in LINES.items())


def _row(line: int, about: str, found: Answers) -> str:
    if not found.found:
        return f"| L{line} | {about} | none | {UNANSWERED.get(line, '')} |"
    rules = ", ".join(f"[`{name}`](rules/{family}.md#{name})" for name, family in found.rules)
    texts = [_short(text) for text in found.texts[:_SHOWN]]
    if more := len(found.texts) - _SHOWN:
        texts += [f"and {more} more"] if more > 0 else []
    return f"| L{line} | {about} | {rules or 'none'} | {'; '.join(texts) or 'none'} |"


def _short(text: str) -> str:
    """Return the beginning of a text, up to the end of a word."""
    plain = text.replace("|", "/")
    if len(plain) <= _LETTERS:
        return f"“{plain}”"
    return f"“{plain[:_LETTERS].rpartition(' ')[0]} …”"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")

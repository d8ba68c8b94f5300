"""Checks of one table of a site's rule settings: all its faults at once, and what it silences."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Generic, TypeVar, cast

from pydantic import ValidationError

from models.text import printable
from streams.rules.api import Limits, LimitsT, parse_limits
from streams.rules.thresholds import Lasting, Silences, UnitsOf

ItemT = TypeVar("ItemT")
#: The key of the sentence that accepts what a table silences.
ACCEPT_RISK: Final = "accept_risk"
#: The longest such sentence, in characters: the summary of an alert contains it.
MAX_WORDS: Final = 200
_MAX_NAME: Final = 80

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 60


@dataclass
class Checked(Generic[LimitsT]):
    """Thresholds of a table, the problems found in it, and the fields that are wrong."""

    limits: LimitsT
    problems: list[str]
    wrong: set[str]


def check(kind: type[LimitsT], name: str, table: Mapping[str, Any]) -> Checked[LimitsT]:
    """Check the thresholds of the table `name`: types and ranges, then units and order of the valid ones."""
    checked = Checked(cast("LimitsT", kind.model_construct()), [], set())
    if not table:
        return checked  # as shipped: pydantic builds a model at its first use, which takes milliseconds
    try:
        checked.limits = parse_limits(kind, table)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            checked.problems.append(_problem(kind, name, item))
            checked.wrong.add(str(item["loc"][0]) if item["loc"] else "")
        checked.limits = parse_limits(kind, {key: value for key, value in table.items() if key not in checked.wrong})
    for problem in (*_disagreeing(checked), *_disordered(checked)):
        checked.problems.append(f"{name}.{problem}")
    return checked


def silenced(limits: Limits, wrong: set[str]) -> list[str]:
    """Return the thresholds that make fewer findings high than shipped, one sentence each without the table's name."""
    shipped, found = type(limits).model_construct(), []
    for field, way in marked(type(limits), Silences):
        if field in wrong:
            continue
        pairs = zip(_parts(limits, field), _parts(shipped, field), strict=True)
        moved = [(unit, new, old) for (unit, new), (_, old) in pairs if way.lost(new, old)]
        if moved:
            values = ", ".join(f"{new:g} (shipped {old:g}) {unit}".rstrip() for unit, new, old in moved)
            found.append(f"{field}: is {values}: {way.value} than shipped, so that less is called high")
    return found


def has_critical_band(kind: type[Limits]) -> bool:
    """Return whether a rule with such thresholds has a critical band."""
    return any(True for _ in marked(kind, Silences))


def marked(kind: type[Limits], marker: type[ItemT]) -> Iterator[tuple[str, ItemT]]:
    """Yield the thresholds that carry a mark of some type, with the mark."""
    for field, info in kind.model_fields.items():
        for item in info.metadata:
            if isinstance(item, marker):
                yield field, item


def words_of(value: Any) -> str | None:
    """Return the sentence of an `accept_risk`, trimmed; None if it is not a printable text of that length."""
    if not isinstance(value, str):
        return None
    words = value.strip()
    return words if words and len(words) <= MAX_WORDS and words.isprintable() else None


def shown(value: Any) -> str:
    """Return a value of the file in short, whatever it is."""
    try:
        text = _repr.repr(value)
    except (ValueError, RecursionError):
        return "a value too large to show"
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 1] + "…"


def plain(text: str, longest: int = _MAX_NAME) -> str:
    """Return a foreign name as one line of at most `longest` characters."""
    line = printable(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _problem(kind: type[Limits], name: str, item: Any) -> str:
    field = plain(".".join(str(part) for part in (name, *item["loc"])))
    wanted = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if item["type"] == "extra_forbidden":
        wanted = f"no such threshold; there are {', '.join((*kind.model_fields, ACCEPT_RISK))}"
    return f"{field}: is {shown(item['input'])}: {wanted}"


def _disagreeing(checked: Checked[Any]) -> Iterator[str]:
    """Yield a problem for each bound that means another concentration than the others of its threshold."""
    for field, units in marked(type(checked.limits), UnitsOf):
        if field not in checked.wrong:
            default = getattr(type(checked.limits)(), field)
            for sentence in units.disagreements(getattr(checked.limits, field), default):
                checked.wrong.add(field)
                yield f"{field}: {sentence}"


def _disordered(checked: Checked[Any]) -> Iterator[str]:
    """Yield a problem for each two thresholds that do not lie in the order that the rule needs."""
    limits = checked.limits
    lasting = dict(marked(type(limits), Lasting))
    for low, high in (pair for chain in type(limits).ascending for pair in pairwise(chain)):
        if checked.wrong & {low, high}:
            continue
        both = zip(_parts(limits, low), _parts(limits, high), strict=True)
        for (unit, lesser), (_, greater) in both:
            scale = [lasting[field].one.total_seconds() if field in lasting else 1.0 for field in (low, high)]
            if lesser * scale[0] >= greater * scale[1]:
                yield (
                    f"{low}: is {lesser:g} {unit}".rstrip()
                    + f": must lie below {high}, which is {greater:g} {unit}".rstrip()
                )
                checked.wrong |= {low, high}
                break


def _parts(limits: Limits, field: str) -> list[tuple[str, float]]:
    """Return the numbers of a threshold with their units; "" if it has no unit of its own."""
    value = getattr(limits, field)
    if isinstance(value, dict):
        return [(unit, value[unit]) for unit in getattr(type(limits)(), field)]
    return [("", value)]

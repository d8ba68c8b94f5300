"""The part of `docs/reliability.md` that `make hostile` writes; the rest of it is that of `make soak`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.machine import machine_in_a_line
from tests.hostile.stage import LOST_S, Outcome

PATH: Final = Path(__file__).parents[2] / "docs" / "reliability.md"
_BEGIN: Final = "<!-- hostile: written by `make hostile` -->"
_END: Final = "<!-- /hostile -->"
_SECTION: Final = re.compile(re.escape(_BEGIN) + ".*?" + re.escape(_END) + "\n", re.DOTALL)

_HEAD: Final = f"""## What strangers, senders and operators do

A real worker (two partitions, its own supervisor) is attacked while critical results of other patients are planted
several times a second, half of them on the partition that is attacked. Lost: not told {LOST_S:g} s after the attack was
over. Made up: an alert that nothing called for, of the others or of somebody whose message must not count. A delay is
the broker's: from when it appended a result to when it appended the alert. Memory is the worker's, when it was ready
and at its highest. A case is missed as well where the worker gave up, or did not say what it must
(`tests/hostile`). Where a case restarts the worker, or lays work before others on their own partition (hot-patient,
garbage), their delays have that in them. Each repeats with `make hostile ARGS="--case NAME"`.
"""

DOES: Final = "what happens"
COLUMNS: Final = (
    "case",
    DOES,
    "planted",
    "lost",
    "made up",
    "others' worst s",
    "s promised",
    "memory MB",
    "MB promised",
    "",
)


def cells(outcome: Outcome) -> list[str]:
    """A row under `COLUMNS`."""
    case = outcome.case
    limit = "" if case.growth_mb is None else f"+{case.growth_mb:g}"
    return [
        case.name,
        case.does,
        str(outcome.planted),
        str(len(outcome.lost)),
        str(len(outcome.made_up)),
        f"{outcome.worst_s:.2f}",
        "" if case.worst_s is None else f"{case.worst_s:g}",
        f"{outcome.start_mb:.0f} to {outcome.peak_mb:.0f}",
        limit,
        "kept" if outcome.kept else "**MISSED**",
    ]


def section(outcomes: Sequence[Outcome], took_s: float, load: float) -> str:
    """The whole of it, markers included.

    Args:
        outcomes: of all cases.
        took_s: how long it took.
        load: the load average before it, which tells of other work on the same cores.
    """
    use = f"one case at a time, load {load:.1f} before"
    numbers = [cells(outcome) for outcome in outcomes]
    missed = [f"- {o.case.name}: {text}" for o in outcomes for text in o.wrong]
    notes = "; ".join(f"{o.case.name}: {note}" for o in outcomes for note in o.notes)
    parts = [
        _BEGIN,
        _HEAD,
        "| " + " | ".join(COLUMNS) + " |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|---|",
        *("| " + " | ".join(row) + " |" for row in numbers),
        "",
        *(["Missed:\n", *missed, ""] if missed else []),
        *([f"Notes: {notes}.\n"] if notes else []),
        f"Measured on {datetime.now(UTC):%Y-%m-%d} in {took_s / 60:.0f} min: {machine_in_a_line(use)}.",
        _END,
        "",
    ]
    return "\n".join(parts)


def with_section(text: str, written: str) -> str:
    """A document with the part renewed, or put at its end; as it is where nothing was written."""
    if not written:
        return text
    if _SECTION.search(text):
        return _SECTION.sub(lambda _: written, text)
    return text.rstrip("\n") + "\n\n" + written


def section_of(text: str) -> str:
    """The part as it stands in a document; empty where it has none."""
    found = _SECTION.search(text)
    return found[0] if found else ""

"""`make hostile`: every case, one after the other; writes its part of docs/reliability.md when all were run."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from streams.broker.kafka import EmbeddedKafka
from tests.hostile.cases import BY_NAME, CASES
from tests.hostile.report import COLUMNS, DOES, PATH, cells, section, with_section
from tests.hostile.stage import Case, Outcome, run

_out = Console(soft_wrap=True, highlight=False)
app = typer.Typer(add_completion=False)


async def _play(chosen: Sequence[Case]) -> list[Outcome]:
    """One after the other, with nothing beside them: delays are measured."""
    found = []
    broker = EmbeddedKafka()
    await asyncio.to_thread(broker.start)
    try:
        for case in chosen:
            found.append(await run(case, broker.bootstrap))
            _say(found[-1])
    finally:
        await asyncio.to_thread(broker.close)
    return found


def _say(outcome: Outcome) -> None:
    _out.print(("[green]kept  [/]" if outcome.kept else "[red]MISSED[/]") + f" {outcome.told()}")
    late = [] if outcome.in_time else [f"{outcome.worst_s:.2f} s, {outcome.case.worst_s:g} promised"]
    for text in (*outcome.wrong, *late, *outcome.notes):
        _out.print(f"       {text}", markup=False)


@app.command()
def hostile(
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be given again.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the cases and end.")] = False,
) -> None:
    """Attack a worker, and see what it costs everybody else."""
    if list_:
        for one in CASES:
            _out.print(f"{one.name:22} {one.does}", markup=False)
        return
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # Whoever ends this ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    unknown = set(case or ()) - BY_NAME.keys()
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(BY_NAME)}")
    started, load = time.monotonic(), os.getloadavg()[0]
    outcomes = asyncio.run(_play([BY_NAME[name] for name in case] if case else CASES))
    # Without what happens: `--list` says it, and a terminal is narrow.
    table = Table(*(name for name in COLUMNS if name != DOES))
    table.columns[0].no_wrap = True
    for outcome in outcomes:
        table.add_row(*(cell for name, cell in zip(COLUMNS, cells(outcome), strict=True) if name != DOES))
    _out.print(table)
    if case is None:
        written = section(outcomes, time.monotonic() - started, load)
        PATH.write_text(with_section(PATH.read_text(encoding="utf-8"), written), encoding="utf-8")
        _out.print(f"written: {PATH.name}")
    if not all(outcome.kept for outcome in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()

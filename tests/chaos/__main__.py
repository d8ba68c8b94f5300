"""`make soak`: every fault with its seeds, several runs side by side; writes docs/reliability.md when all were run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from streams.broker.kafka import EmbeddedKafka
from tests.chaos.faults import BY_NAME, FAULTS, Fault
from tests.chaos.recovery import PATIENTS, Recovered, recovered
from tests.chaos.report import PATH, document, lines
from tests.chaos.run import Result, percentile, run
from tests.hostile.report import section_of, with_section

_out = Console(soft_wrap=True, highlight=False)
app = typer.Typer(add_completion=False)


class _Places:
    """Runs side by side, so many at once; a run that is timed or brings a broker takes the place of two."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = asyncio.Semaphore(count)
        self._queue = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def taken(self, fault: Fault) -> AsyncIterator[None]:
        timed = fault.pause_s is not None or (fault.recover_s or 10) < 10
        wanted = min(self._count, 2 if timed or fault.own_broker or fault.backlog else 1)
        async with self._queue:
            for _ in range(wanted):
                await self._free.acquire()
        try:
            yield
        finally:
            for _ in range(wanted):
                self._free.release()


async def _soak(chosen: Sequence[tuple[Fault, int]], jobs: int) -> list[Result]:
    places = _Places(jobs)
    broker = EmbeddedKafka()
    await asyncio.to_thread(broker.start)

    async def one(fault: Fault, seed: int) -> Result:
        async with places.taken(fault):
            result = await run(fault, seed, broker.bootstrap)
        _say(result)
        return result

    try:
        return list(await asyncio.gather(*(one(fault, seed) for fault, seed in chosen)))
    finally:
        await asyncio.to_thread(broker.close)


def _say(result: Result) -> None:
    _out.print(("[green]kept  [/]" if result.kept else "[red]MISSED[/]") + f" {result.told()}")
    for text in (result.failure, result.verdict.explained() if result.verdict.findings else "", *result.notes):
        if text:
            _out.print(f"       {text}", markup=False)
    if not result.kept:
        _out.print(f"       again: {result.again}", markup=False)


async def _recoveries() -> list[Recovered]:
    """One after the other, and nothing beside them."""
    found = []
    broker = EmbeddedKafka()
    await asyncio.to_thread(broker.start)
    try:
        for patients in PATIENTS:
            found.append(await recovered(broker.bootstrap, patients))
            _out.print(f"       {found[-1]}", markup=False)
    finally:
        await asyncio.to_thread(broker.close)
    return found


async def _all(
    chosen: Sequence[tuple[Fault, int]], jobs: int, *, recovery: bool
) -> tuple[list[Result], list[Recovered]]:
    with ThreadPoolExecutor(256) as pool:
        asyncio.get_running_loop().set_default_executor(pool)
        recoveries = await _recoveries() if recovery else []
        return await _soak(chosen, jobs), recoveries


def _table(results: Sequence[Result]) -> Table:
    table = Table("fault", "runs", "lost", "extra", "differing", "p50 s", "p99 s", "recovered s")
    for name in dict.fromkeys(result.fault for result in results):
        mine = [result for result in results if result.fault == name]
        latencies = [latency for result in mine for latency in result.latencies]
        counts = [sum(getattr(r.verdict, what) for r in mine) for what in ("lost", "extra", "differing")]
        recovered_in = max((t for r in mine for t in (*r.recover_s, *r.restart_s)), default=0.0)
        times = [f"{percentile(latencies, share):.2f}" for share in (50, 99)]
        table.add_row(name, str(len(mine)), *map(str, counts), *times, f"{recovered_in:.1f}" if recovered_in else "")
    return table


@app.command()
def soak(
    fault: Annotated[list[str] | None, typer.Option(help="Only this fault; may be given again.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only this seed.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="So many seeds of each; else 20 or 3.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs side by side.")] = 4,
) -> None:
    """Play faults at the worst moments and let an oracle say what was lost."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # Whoever ends this ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    unknown = set(fault or ()) - BY_NAME.keys()
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(BY_NAME)}")
    wanted = [BY_NAME[name] for name in fault] if fault else list(FAULTS)
    chosen = [
        (one, number)
        for one in wanted
        for number in ([seed] if seed is not None else range(1, (seeds or one.seeds) + 1))
    ]
    whole = fault is None and seed is None
    started = time.monotonic()
    _out.print(f"{len(chosen)} runs: " + ", ".join(f"{one.name}:{number}" for one, number in chosen))
    results, recoveries = asyncio.run(_all(chosen, jobs, recovery=whole))
    _out.print(_table(results))
    if whole:
        # The part of `make hostile` stays as it is.
        attacked = section_of(PATH.read_text(encoding="utf-8"))
        written = with_section(document(results, recoveries, time.monotonic() - started), attacked)
        PATH.write_text(written, encoding="utf-8")
        _out.print(f"written: {PATH.name}")
    verdicts = list(lines(results, recoveries))
    for line in verdicts:
        _out.print(("[green]kept  [/]" if line.kept else "[red]MISSED[/]") + f" {line.text}")
    if not all(line.kept for line in verdicts) or not all(result.kept for result in results):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()

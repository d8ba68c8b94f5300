"""`docs/reliability.md`: what is promised, how it was measured, and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.machine import machine_in_a_line
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.recovery import Recovered
from tests.chaos.run import Result, percentile

PATH: Final = Path(__file__).parents[2] / "docs" / "reliability.md"

_HEAD: Final = """# Reliability

Written by `make soak`, its last part by `make hostile`; do not edit. What the worker promises
([0002-at-least-once.md](decisions/0002-at-least-once.md)): a transition is stored before it is sent, and sent before
its input is committed. So a crash, a rebalance or an absent broker makes alerts late or repeated, never missing, and a
repeat has the same bytes. Here that is held against faults.

## How it is measured

Real workers (`dialysis-alerts worker`) on a real Kafka, 4 partitions. A seeded virtual unit is played at 60 times real
time, so that deadlines of half an hour and of a day fall due in the middle of a fault: low magnesium, cramps with and
without word of their end, suspicions of aluminium with and without a specimen, levels, unknown units, panels and doses,
and of machines a temperature that stays wrong, a pressure that falls, silence, alarms, a long QTc, and messages that
contradict each other; on every partition a patient's magnesium falls or recovers every half second. A supervisor starts
at once what has ended.

An oracle of its own, written from the clinical base and not from the engine (`tests/chaos/clinical.py`, of machines
`tests/chaos/machines_judged.py`), says what must be told of what was planted: *must* <= *observed* <= *must* or *may*.
It judges at least one rule of each shape; alerts of the others are held to their form. It reads every topic by offsets
to the log's end and holds alerts to their evidence, priority and time, deadlines to their exact moment, garbage to its
dead letter, revisions to having no gap, repeats to their bytes, `alerts.active` to the alerts that are open, and the
committed offsets to the end of every input partition. What is missing it finds on its way: not accepted, not consumed,
no effect, effect not sent, sent not read. `tests/chaos/test_sabotage.py` plants bugs in a worker and proves that it
finds them.

Event to alert counts from when the broker acknowledged the message that made it so to when a reader had the alert in
its hands. Recovered: from a kill, a SIGTERM or the return of the broker to the first alert of a message that came
after it. A worker that is killed while it joins, soon after another was killed, costs two session timeouts: the group
misses it only when it has missed the first. Each row repeats with `make soak ARGS="--fault NAME --seed N"`.
"""


#: How the machine was used.
_USE: Final = "several runs side by side"
_COLUMNS: Final = (
    "| fault | what happens | seeds | planted | lost | extra | differing repeats | same repeats | at the log's end "
    "| p50 s | p99 s | recovered s, median (worst) |"
)
#: Records of the changelog a second that recovery reads at least.
READ_RATE: Final = 50_000


@dataclass(frozen=True)
class Line:
    """An acceptance line with what was measured."""

    text: str
    kept: bool


def lines(results: Sequence[Result], recoveries: Sequence[Recovered] = ()) -> Iterator[Line]:
    """Each promise, and whether it was kept."""
    if recoveries:
        slowest = min(r.rate for r in recoveries)
        text = f"the changelog is read at {slowest:,.0f} records/s or more, {READ_RATE:,} promised"
        yield Line(text, slowest >= READ_RATE)
    twenty = [name for fault in FAULTS if fault.seeds >= 20 for name in [fault.name]]
    for what, chosen in (
        ("kills and rebalances", [r for r in results if r.fault in twenty]),
        ("every other fault", [r for r in results if r.fault not in twenty]),
    ):
        if chosen:
            v = [r.verdict for r in chosen]
            lost, extra, differing = sum(x.lost for x in v), sum(x.extra for x in v), sum(x.differing for x in v)
            ends, failed = sum(x.at_log_end for x in v), sum(bool(r.failure) for r in chosen)
            text = (
                f"{what}, {len(chosen)} runs: {lost} lost, {extra} extra, {differing} differing repeats, "
                f"{ends} with all offsets committed to the log's end"
                + (f", {failed} could not be run" if failed else "")
            )
            yield Line(text, not any((lost, extra, differing, failed)) and ends == len(chosen))
    for fault in FAULTS:
        mine = [r for r in results if r.fault == fault.name]
        if fault.recover_s is not None and (times := [t for r in mine for t in r.recover_s]):
            worst = max(times)
            text = (
                f"{fault.does}: first alert within {worst:.1f} s ({len(times)} times), {fault.recover_s:g} s promised"
            )
            yield Line(text, worst <= fault.recover_s)
        if fault.restart_s is not None and (times := [t for r in mine for t in r.restart_s]):
            worst = max(times)
            what = f"within {worst:.1f} s ({len(times)} times), {fault.restart_s:g} s promised"
            yield Line(f"kill -9 of a worker that has just joined after another kill: {what}", worst <= fault.restart_s)
        if fault.pause_s is not None and (pauses := [t for r in mine for t in r.pause_s]):
            worst = max(pauses)
            longest = f"{worst:.2f} s at most ({len(pauses)} times)"
            text = f"a joining worker stops alerts for {longest}, {fault.pause_s:g} s promised"
            yield Line(text, worst <= fault.pause_s)


def document(results: Sequence[Result], recoveries: Sequence[Recovered], took_s: float) -> str:
    """The whole of it."""
    rows = [_row(fault, [r for r in results if r.fault == fault.name]) for fault in FAULTS]
    recovery = [
        f"| {r.patients:,} | {r.ready_s:.1f} | {r.taking_s:.2f} | {r.reading_s:.2f} | {r.records:,} | {r.rate:,.0f} | "
        f"{r.changelog_mb:.0f} | {r.worker_mb:.0f} |"
        for r in recoveries
    ]
    notes = sorted({f"{r.fault}, seed {r.seed}: {note}" for r in results for note in r.notes})
    parts = [
        _HEAD,
        "## Faults\n",
        _COLUMNS,
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        *rows,
        "",
        *(["Notes: " + "; ".join(notes) + ".\n"] if notes else []),
        "## Start with the state of many patients\n",
        "From the start of the process to `/readyz`. A patient has three results, a symptom and a session,",
        "which of every tenth patient still runs.\n",
        "| patients | ready s | of that state s | reading s | records | records/s | changelog MB | worker MB |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
        *recovery,
        "",
        "## Promises\n",
        *(f"- {'kept' if line.kept else '**MISSED**'}: {line.text}" for line in lines(results, recoveries)),
        "",
        f"Measured on {datetime.now(UTC):%Y-%m-%d} in {took_s / 60:.0f} min: {machine_in_a_line(_USE)}.",
        "",
    ]
    return "\n".join(parts)


def _row(fault: Fault, results: Sequence[Result]) -> str:
    verdicts = [r.verdict for r in results]
    latencies = [latency for r in results for latency in r.latencies]
    times = [t for r in results for t in (*r.recover_s, *r.restart_s)]
    recovered = f"{median(times):.1f} ({max(times):.1f})" if times else ""
    ends = sum(v.at_log_end and not r.failure for v, r in zip(verdicts, results, strict=True))
    cells = [
        fault.name,
        fault.does,
        len(results),
        f"{sum(v.must for v in verdicts):,}",
        sum(v.lost for v in verdicts),
        sum(v.extra for v in verdicts),
        sum(v.differing for v in verdicts),
        f"{sum(v.repeats for v in verdicts):,}",
        f"{ends} of {len(results)}",
        f"{percentile(latencies, 50):.2f}",
        f"{percentile(latencies, 99):.2f}",
        recovered,
    ]
    return "| " + " | ".join(map(str, cells)) + " |"

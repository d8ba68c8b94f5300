"""`make bench`: measures this worker against an idiomatic Faust app, both on a real Kafka on this machine."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import past, with_past
from benchmarks.catch_up import CatchUp
from benchmarks.latency import Latency
from benchmarks.machine import machine_in_a_line
from benchmarks.reference import Check
from benchmarks.runner import MANY_PATIENTS, Results, measure

#: What the project promises, and what an honest peer must reach: 3,400 events a CPU-second were measured for plain
#: Faust (docs/decisions/0003-batches-through-faust.md).
LEAST_RATIO: Final = 15.0
MOST_LOADED_P99_MS: Final = 250.0
MOST_SLOW_P99_MS: Final = 50.0
LEAST_IDIOMATIC_PER_CPU_S: Final = 0.8 * 100_000 / 29.41


def main() -> int:
    """Measure, print, judge; exit status 1 when a promise is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: a look, not a figure to quote")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    costs, kept = past.measure()
    print(f"\n{machine()}\n")
    past.show(costs, kept)
    results = asyncio.run(
        measure(
            rounds=1 if arguments.quick else 3, quick=arguments.quick, say=lambda line: print(line, file=sys.stderr)
        )
    )
    print_catch_up(results)
    with_past.show(results.with_past)
    print()
    print_latency(results)
    print(f"Other processes used {results.others:.2f} cores meanwhile; on a machine at rest the figures are better.\n")
    verdicts = judge(results)
    for text, is_kept in verdicts:
        print(f"{'kept  ' if is_kept else 'MISSED'}  {text}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({**figures(results), "engine": [asdict(cost) for cost in costs], "kept": kept}, indent=2) + "\n",
            encoding="utf-8",
        )
    return 0 if all(is_kept for _, is_kept in verdicts) else 1


def machine() -> str:
    """The machine in a line, and how it was used."""
    return machine_in_a_line("worker on one, broker and generator on another")


def print_catch_up(results: Results) -> None:
    """Rates, CPU and memory of both peers: median [least-most] over the rounds."""
    print(
        f"{'catch-up':34} {'events/s':>24} {'CPU us/event':>13} {'events/CPU-s':>13} "
        f"{'core busy':>10} {'RSS MB':>7}  alerts"
    )
    rows = [("this worker", results.worker), ("idiomatic Faust", results.idiomatic)]
    if results.many:
        rows.append((f"this worker, {MANY_PATIENTS:,} patients", [results.many]))
    checks = (results.worker_checks[0], results.idiomatic_checks[0], results.worker_checks[-1])
    for (name, rounds), check in zip(rows, checks, strict=False):
        busy, rss = median(one.cpu / one.seconds for one in rounds), median(one.rss_after for one in rounds) / 1e6
        print(
            f"{name:34} {spread([one.rate for one in rounds]):>24} {median(one.cpu_us for one in rounds):13.1f} "
            f"{median(one.per_cpu_second for one in rounds):13,.0f} {busy:10.0%} {rss:7.0f}  {check}"
        )
    if results.many:
        alone = results.many.rss_before / 1e6
        print(f"memory: {memory(results.many):.1f} MB per 1,000 patients, and {alone:.0f} MB without any")
    print()


def print_latency(results: Results) -> None:
    """Event to alert of the worker, each the median of the runs."""
    print(
        f"{'event to alert':34} {'p50 ms':>8} {'p99 ms':>8} {'worst ms':>9} {'core busy':>10} {'CPU us/event':>13} "
        f"{'sender late':>11}  alerts"
    )
    rows: list[tuple[str, list[Latency]]] = [
        ("at 70 % of the rate", results.loaded),
        ("at 1,000 events/s", results.slow),
        ("a sample a second a patient", [results.unfolded] if results.unfolded else []),
    ]
    for name, runs in rows:
        if runs:
            print(
                f"{name + f' ({median(r.rate for r in runs):,.0f}/s)':34} {median(r.p50 for r in runs):8.1f} "
                f"{median(r.p99 for r in runs):8.1f} {median(r.worst for r in runs):9.1f} "
                f"{median(r.busy for r in runs):10.0%} {median(r.cpu_us for r in runs):13.1f} "
                f"{median(r.sender_late_ms for r in runs):8.0f} ms  "
                f"{sum(r.alerts for r in runs)}, {sum(r.missing for r in runs)} missing"
            )
    print()


def judge(results: Results) -> list[tuple[str, bool]]:
    """Each promise with its figure, and whether it was kept."""
    idiomatic = median(one.per_cpu_second for one in results.idiomatic)
    loaded, slow = median(r.p99 for r in results.loaded), median(r.p99 for r in results.slow)
    missing = sum(run.missing for run in (*results.loaded, *results.slow))
    checks: list[Check] = [*results.worker_checks, *results.idiomatic_checks]
    for example in [text for check in checks for text in check.examples][:6]:
        print(f"  {example}")
    return [
        (f"{results.ratio:.1f} times the idiomatic app's rate, at least {LEAST_RATIO:g}", results.ratio >= LEAST_RATIO),
        (
            f"the idiomatic app reaches {idiomatic:,.0f} events a CPU-second, {LEAST_IDIOMATIC_PER_CPU_S:,.0f} wanted",
            idiomatic >= LEAST_IDIOMATIC_PER_CPU_S,
        ),
        (f"p99 at 70 % {loaded:.0f} ms, at most {MOST_LOADED_P99_MS:g}", loaded <= MOST_LOADED_P99_MS),
        (f"p99 at 1,000/s {slow:.0f} ms, at most {MOST_SLOW_P99_MS:g}", slow <= MOST_SLOW_P99_MS),
        ("the alerts are those of the engine", not missing and all(check.passed for check in checks)),
    ]


def spread(values: list[float]) -> str:
    """Median, and least and most."""
    return f"{median(values):,.0f} [{min(values):,.0f}-{max(values):,.0f}]"


def memory(many: CatchUp) -> float:
    """Resident megabytes that 1,000 patients add; what waits for a checkpoint in catch-up is included."""
    return (many.rss_after - many.rss_before) / 1e6 / (MANY_PATIENTS / 1000)


def figures(results: Results) -> dict[str, Any]:
    """Everything as JSON, alerts themselves left out."""

    def bare(one: CatchUp) -> dict[str, Any]:
        return {key: value for key, value in asdict(one).items() if key != "alerts"} | {"rate": one.rate}

    return {
        "machine": machine(),
        "worker": [bare(one) for one in results.worker],
        "idiomatic": [bare(one) for one in results.idiomatic],
        "loaded": [asdict(one) for one in results.loaded],
        "slow": [asdict(one) for one in results.slow],
        "unfolded": asdict(results.unfolded) if results.unfolded else None,
        "many": bare(results.many) if results.many else None,
        "with_past": {name: [bare(run) for run in runs] for name, runs in results.with_past.items()},
        "cores_used_by_others": results.others,
    }


if __name__ == "__main__":
    sys.exit(main())

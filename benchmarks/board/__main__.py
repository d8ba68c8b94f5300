"""`make bench-board`: measures the unit screen, server and browser, on a real Kafka on this machine."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from typing import Final

from benchmarks.board.judging import Figures, judge, median_picture
from benchmarks.board.runs import Plan, measure
from benchmarks.machine import machine_in_a_line

_ROW: Final = "{:46} {:>10} {:>10} {:>10}"


def main() -> int:
    """Measure, print, judge; exit status 1 when a promise is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.board", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long transitions are followed: 10")
    parser.add_argument("--seed", type=int, default=1, help="of the made-up unit: 1")
    arguments = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # topics without a leader yet: it tries again
    plan = Plan(minutes=arguments.minutes, seed=arguments.seed)
    figures = asyncio.run(measure(plan, lambda line: print(line, file=sys.stderr)))
    show(figures)
    verdicts = judge(figures)
    for text, is_kept in verdicts:
        print(f"{'kept  ' if is_kept else 'MISSED'}  {text}")
    return 0 if all(is_kept for _, is_kept in verdicts) else 1


def show(figures: Figures) -> None:
    """Print the machine and the tables."""
    print(f"\n{machine_in_a_line('Kafka, sender, screen and browser share them')}\n")
    middle, following, crowded = median_picture(figures.pictures), figures.following, figures.crowded
    worst = max(figures.pictures, key=lambda each: each.whole)
    print(_ROW.format("first picture, ms", "server", "browser", "whole"))
    for name, each in ((f"median of {len(figures.pictures)}", middle), ("worst", worst)):
        print(_ROW.format(name, f"{each.server:.0f}", f"{each.browser:.0f}", f"{each.whole:.0f}"))
    print()
    lags = following.lags
    print(_ROW.format("from sending to being drawn, ms", "median", "p99", "worst"))
    name = f"{len(lags.seconds):,} transitions, {following.rate:.0f} a second"
    print(_ROW.format(name, *(f"{lags.at(share) * 1000:.0f}" for share in (50, 99, 100))))
    print()
    print(_ROW.format("memory, MB", "at first", "at the end", "growth"))
    for name, heap in (("JS heap of the page", following.page_heap), ("the server", following.server_heap)):
        print(_ROW.format(name, f"{heap.level / 1e6:.1f}", f"{heap.end / 1e6:.1f}", f"{heap.growth:+.1%}"))
    print()
    print(_ROW.format("cost of the server", "cores", "MB/s", "changes"))
    print(_ROW.format("1 browser", f"{following.server_busy:.2f}", "", ""))
    name = f"{crowded.browsers} browsers"
    print(_ROW.format(name, f"{crowded.busy:.2f}", f"{crowded.megabytes:.1f}", str(crowded.changes)))
    print(
        f"\nOther processes used {following.others:.2f} cores meanwhile: what waits for a core is late, and the figures"
        " are better on a machine at rest.\n"
    )


if __name__ == "__main__":
    sys.exit(main())

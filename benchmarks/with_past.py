"""Catch-up of telemetry over Kafka for patients with a past: folded, and with nothing to fold.

A first worker handles the past and stops; what is measured is how a second one, which recovers it, works off a log of
samples. Folded, a patient's samples between two checkpoints are stored as one; with nothing to fold, a checkpoint is
due before any patient has changed twice.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.catch_up import CatchUp, catch_up, fresh
from benchmarks.history import history
from benchmarks.peers import OTHERS_CPU, Peer, pin
from benchmarks.workload import Generator, Load, Message
from models.settings import Settings
from streams.broker.kafka import EmbeddedKafka

PATIENTS: Final = 1000
SAMPLES: Final = 200
_ROUNDS: Final = 3
FOLDED: Final = "with a past"
UNFOLDED: Final = "with a past, nothing to fold"


async def measure(
    brokers: str, folder: Path, say: Callable[[str], None], rounds: int = _ROUNDS
) -> dict[str, list[CatchUp]]:
    """Run both; about a minute a round."""
    found: dict[str, list[CatchUp]] = {FOLDED: [], UNFOLDED: []}
    for number in range(1, rounds + 1):
        for name, runs in found.items():
            runs.append(await _round(brokers, folder, fold=name == FOLDED))
            say(f"round {number}, {name}: {runs[-1].rate:,.0f} events/s")
    return found


async def _round(brokers: str, folder: Path, *, fold: bool) -> CatchUp:
    now = datetime.now(UTC) - timedelta(seconds=SAMPLES + 120)
    async with fresh(brokers, recorded=True) as settings:
        await catch_up(settings, Peer, sorted(_pasts(now), key=lambda message: message.sent_ms), folder)
        start = int(now.timestamp() * 1000) + 10_000
        samples = Generator(Load(PATIENTS, SAMPLES, start)).messages()
        return await catch_up(settings if fold else _unfolded(settings), Peer, samples, folder)


def _unfolded(settings: Settings) -> Settings:
    # A turn handles samples of half of a partition's patients, and a checkpoint is due after it.
    half = PATIENTS // settings.partitions // 2
    return settings.model_copy(update={"checkpoint_patients": half // 2, "batch_max": half})


def _pasts(now: datetime) -> Iterator[Message]:
    for number in range(PATIENTS):
        name = f"p{number:05d}"
        for at, topic, value in history(name, now):
            yield Message(int(at.timestamp() * 1000) + number, topic, name.encode(), value)


def show(found: dict[str, list[CatchUp]]) -> None:
    """Print rates and CPU, the median of the rounds."""
    for name, runs in found.items():
        rates = [run.rate for run in runs]
        print(
            f"{name:34} {median(rates):11,.0f} [{min(rates):,.0f}-{max(rates):,.0f}] events/s, "
            f"{median(run.cpu_us for run in runs):.1f} us of CPU an event"
        )


async def _alone(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="dialysis-bench-") as name:
        pin({OTHERS_CPU})
        with EmbeddedKafka(cpus={OTHERS_CPU}) as kafka:
            began = time.monotonic()
            show(await measure(kafka.bootstrap, Path(name), lambda line: print(line, file=sys.stderr), rounds))
            print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    asyncio.run(_alone(int(sys.argv[1]) if len(sys.argv) > 1 else _ROUNDS))

"""All measurements of one run: catch-up rounds of both peers in turn, then latencies of the worker."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import psutil

from benchmarks import with_past
from benchmarks.catch_up import CatchUp, catch_up, fresh
from benchmarks.latency import Latency, latency
from benchmarks.peers import OTHERS_CPU, Idiomatic, Peer, pin
from benchmarks.reference import Check, expected_alerts, same_ends, same_transitions
from benchmarks.workload import Generator, Load, Message
from streams.broker.kafka import EmbeddedKafka

#: 2,000 patients, 200 samples each, 1 % laboratory results (the issue's workload).
PATIENTS: Final = 2000
SAMPLES: Final = 200
#: The same stream's beginning for the slower peer.
IDIOMATIC_SAMPLES: Final = 20
#: So many patients that a checkpoint folds nothing, and that memory is theirs.
MANY_PATIENTS: Final = 60_000
MANY_SAMPLES: Final = 4
_WARM_UP_SAMPLES: Final = 20
#: Alerts that a latency run should have at least.
_ALERTS: Final = 400
_SHARE: Final = 0.7
_SLOW_RATE: Final = 1000.0


@dataclass
class Results:
    """What a run measured."""

    worker: list[CatchUp] = field(default_factory=list)
    idiomatic: list[CatchUp] = field(default_factory=list)
    worker_checks: list[Check] = field(default_factory=list)
    idiomatic_checks: list[Check] = field(default_factory=list)
    loaded: list[Latency] = field(default_factory=list)
    slow: list[Latency] = field(default_factory=list)
    #: A sample a second of every patient in real time: no checkpoint folds two changes of one.
    unfolded: Latency | None = None
    #: The same in catch-up: hardly a patient changes twice between two checkpoints.
    many: CatchUp | None = None
    #: The rounds of patients with a past, folded and with nothing to fold.
    with_past: dict[str, list[CatchUp]] = field(default_factory=dict)
    #: Cores that processes of others used meanwhile.
    others: float = 0.0

    @property
    def rate(self) -> float:
        """Events a second of the worker in catch-up, median."""
        return median(one.rate for one in self.worker)

    @property
    def ratio(self) -> float:
        """How many times the idiomatic app's rate that is."""
        return self.rate / median(one.rate for one in self.idiomatic)


async def measure(*, rounds: int, quick: bool, say: Callable[[str], None]) -> Results:
    """Run everything; about 10 minutes with three rounds, three with `quick`."""
    results, began, busy_before = Results(), time.time(), _busy()
    samples = SAMPLES // 4 if quick else SAMPLES
    few = IDIOMATIC_SAMPLES // 2 if quick else IDIOMATIC_SAMPLES
    with tempfile.TemporaryDirectory(prefix="dialysis-bench-") as name:
        folder = Path(name)
        pin({OTHERS_CPU})
        with EmbeddedKafka(cpus={OTHERS_CPU}) as kafka:
            # The first minute of a Java process says nothing about the next.
            async with fresh(kafka.bootstrap, recorded=True) as settings:
                await catch_up(settings, Peer, _past(PATIENTS, _WARM_UP_SAMPLES), folder)
            for number in range(1, rounds + 1):
                await _round(results, kafka.bootstrap, folder, samples, few)
                say(
                    f"round {number}: worker {results.worker[-1].rate:,.0f} events/s, "
                    f"idiomatic Faust {results.idiomatic[-1].rate:,.0f} events/s"
                )
            rate = _SHARE * results.rate
            for number in range(1, rounds + 1):
                results.loaded.append(await latency(kafka.bootstrap, _load(rate, 4 if quick else 8), folder))
                results.slow.append(await latency(kafka.bootstrap, _load(_SLOW_RATE, 6 if quick else 15), folder))
                say(
                    f"latency {number}: p99 {results.loaded[-1].p99:.0f} ms at {rate:,.0f} events/s, "
                    f"{results.slow[-1].p99:.0f} ms at {_SLOW_RATE:,.0f}"
                )
            results.unfolded = await latency(kafka.bootstrap, _load(float(PATIENTS), 8 if quick else 20), folder)
            results.with_past = await with_past.measure(kafka.bootstrap, folder, say, 1 if quick else 2)
            if not quick:
                messages = _past(MANY_PATIENTS, MANY_SAMPLES)
                async with fresh(kafka.bootstrap, recorded=True) as settings:
                    results.many = await catch_up(settings, Peer, messages, folder)
                results.worker_checks.append(same_transitions(expected_alerts(messages), results.many.alerts))
    results.others = max(0.0, _busy() - busy_before) / (time.time() - began)
    return results


async def _round(results: Results, brokers: str, folder: Path, samples: int, few: int) -> None:
    messages = _past(PATIENTS, samples)
    async with fresh(brokers, recorded=True) as settings:
        results.worker.append(await catch_up(settings, Peer, messages, folder))
    results.worker_checks.append(same_transitions(expected_alerts(messages), results.worker[-1].alerts))
    messages = _past(PATIENTS, few)
    async with fresh(brokers, recorded=True) as settings:
        results.idiomatic.append(await catch_up(settings, Idiomatic, messages, folder))
    results.idiomatic_checks.append(same_ends(expected_alerts(messages), results.idiomatic[-1].alerts))
    gc.collect()


def _past(patients: int, samples: int) -> list[Message]:
    """A recorded log that ended a minute ago."""
    start = int((time.time() - samples - 60) * 1000)
    return list(Generator(Load(patients, samples, start)).messages())


def _busy() -> float:
    """CPU seconds of this machine that were not ours: neither of this process nor of those it has waited for."""
    times, ours = psutil.cpu_times(), os.times()
    return float(times.user + times.system) - (ours.user + ours.system + ours.children_user + ours.children_system)


def _load(rate: float, seconds: float) -> Load:
    """A steady load in real time with enough causes of alerts; `start_ms` is set when it starts."""
    events = rate * seconds
    return Load(
        PATIENTS,
        max(1, round(events / PATIENTS)),
        start_ms=0,
        period_ms=PATIENTS * 1000 / rate,
        causes=min(0.04, _ALERTS / events),
    )

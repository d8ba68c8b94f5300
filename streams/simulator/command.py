"""`dialysis-alerts simulate`: a seeded virtual unit, to Kafka or to a file."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from rich.console import Console

from models.settings import Settings
from streams.exit_status import DONE, FAILED, WRONG_USE
from streams.simulator.lines import write_jsonl
from streams.simulator.pace import AS_FAST_AS_POSSIBLE
from streams.simulator.planned import Scenario, TimedMessage
from streams.simulator.publish import PublishSummary, publish
from streams.simulator.target import PublishError
from streams.simulator.timetable import PATIENTS_PER_CHAIR
from streams.simulator.unit import unit_events

#: A Monday morning; it makes every run write the same file.
FIXED_START: Final = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
SAMPLE_SECONDS: Final = 5.0
#: Simulated hours in a file, without `hours` or `limit`.
_FILE_HOURS: Final = 24.0
#: Share of the chairs that are occupied on average.
_OCCUPIED: Final = 0.8


def run(
    settings: Settings,
    patients: int = 48,
    rate: float | None = None,
    seed: int = 1,
    speed: float = 1.0,
    scenario: Scenario = Scenario.NORMAL,
    *,
    start: datetime | None = None,
    backfill_hours: float = 0.0,
    sample_seconds: float | None = None,
    hours: float | None = None,
    limit: int | None = None,
    out: Path | None = None,
) -> int:
    """Simulate a unit until the messages end, SIGINT or SIGTERM.

    Args:
        settings: Where Kafka is, and the names of topics.
        patients: How many; two take turns on a chair.
        rate: About so many messages a second: it determines the interval of samples, so that event times keep to the
            clock. With speed 0 exactly so many, and event times are independent of the clock.
        seed: The same seed gives the same events, counted from the start.
        speed: Simulated seconds a second; 0 is as fast as possible.
        scenario: How much goes wrong.
        start: When the unit goes live, with an offset; by default now, or for a file a fixed morning.
        backfill_hours: How much of the past is sent first, as fast as possible.
        sample_seconds: Time between samples of a machine; 5 unless `rate` determines it.
        hours: Simulated hours from the start; without end, for a file 24.
        limit: Not more messages than this.
        out: A file of JSON lines in place of Kafka; `-` is standard output.

    Returns:
        The exit status.
    """
    live = start or (FIXED_START if out else datetime.now(UTC))
    try:
        if hours is None and limit is None and out:
            hours = _FILE_HOURS
        spacing = sample_seconds or _spacing(patients, rate, speed)
        backfill = timedelta(hours=backfill_hours)
        messages = unit_events(seed, live, patients, scenario, spacing, backfill=backfill)
        until = live + timedelta(hours=hours) if hours is not None else None
        paced = rate if speed == AS_FAST_AS_POSSIBLE else None
        plan = _Plan(paced, speed, live, start is None, until, limit)
    except (ValueError, OverflowError) as error:
        _complain(f"{error}.")
        return WRONG_USE
    try:
        if out:
            return _to_file(messages, out, plan)
        return _to_kafka(settings, messages, plan)
    except PublishError as error:
        _complain(str(error))
        return FAILED


@dataclass(frozen=True, slots=True)
class _Plan:
    """Pace and end of a run: `publish` explains each field."""

    rate: float | None
    speed: float
    live_at: datetime
    wall_clock: bool
    until: datetime | None
    limit: int | None


def _spacing(patients: int, rate: float | None, speed: float) -> float:
    """Compute the seconds between samples of one machine so that all together send `rate` messages a second."""
    if rate is None or speed == AS_FAST_AS_POSSIBLE:
        return SAMPLE_SECONDS
    if rate <= 0:
        raise ValueError(f"The rate {rate} is not above 0")
    running = max(1.0, _OCCUPIED * patients / PATIENTS_PER_CHAIR)
    spacing = running * speed / rate
    if not 0.001 <= spacing <= 60:
        low, high = running * speed / 60, running * speed / 0.001
        raise ValueError(
            f"{patients} patients at speed {speed:g} send between {low:.3g} and {high:.3g} messages a second, "
            f"not {rate:g}: choose another number of patients"
        )
    return spacing


def _to_file(messages: Iterator[TimedMessage], out: Path, plan: _Plan) -> int:
    try:
        if str(out) == "-":
            write_jsonl(messages, sys.stdout.buffer, until=plan.until, limit=plan.limit)
        else:
            with out.open("wb") as file:
                write_jsonl(messages, file, until=plan.until, limit=plan.limit)
    except BrokenPipeError:
        # The reader has enough; Python would report the error again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return DONE
    except OSError as error:
        _complain(f"Cannot write {out}: {error.strerror}.")
        return FAILED
    return DONE


def _to_kafka(settings: Settings, messages: Iterator[TimedMessage], plan: _Plan) -> int:
    # Log lines of its retries would bury the one sentence that states the error.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    _say(f"Simulating against {settings.brokers}; Ctrl-C stops it.")
    summary = asyncio.run(_publish(settings, messages, plan))
    counts = ", ".join(f"{topic} {count}" for topic, count in sorted(summary.by_topic.items()))
    _say(f"Sent {summary.sent} messages in {summary.seconds:.1f} s ({counts or 'none'}).")
    if summary.append_time and plan.speed != 1:
        _say("The topics stamp records on arrival, so event times and record times ran apart (speed is not 1).")
    return DONE


async def _publish(settings: Settings, messages: Iterator[TimedMessage], plan: _Plan) -> PublishSummary:
    """Publish until a signal; messages sent before it are still delivered."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return await publish(
        settings,
        messages,
        rate=plan.rate,
        speed=plan.speed,
        live_at=plan.live_at,
        wall_clock=plan.wall_clock,
        until=plan.until,
        limit=plan.limit,
        stop=stop,
    )


def _say(sentence: str) -> None:
    Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)


def _complain(sentence: str) -> None:
    Console(stderr=True).print(sentence, style="red", highlight=False, markup=False, soft_wrap=True)

"""Run the demo's parts: topics, worker, simulated unit, reader, nurse, and the loop that shows them."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from rich.console import Console

from models.alerts import Alert, Status
from models.settings import Settings
from streams.broker.command import ending_signals
from streams.broker.kafka import EmbeddedKafka
from streams.demo import hints
from streams.demo.gauges import watch
from streams.demo.nurse import attend
from streams.demo.plain import Plain
from streams.demo.programs import DemoError, Program
from streams.demo.reader import read
from streams.demo.scene import Scene
from streams.demo.screen import Screen
from streams.kafka.topic_setup import ensure_topics
from streams.simulator.timetable import CHAIRS_PER_UNIT, PATIENTS_PER_CHAIR

BACKFILL: Final = timedelta(hours=4)
SEED: Final = 1
_FRAME_S: Final = 0.25
_METRICS_S: Final = 0.5
#: The past takes some seconds; if it takes this long, something is wrong.
_CATCH_UP_S: Final = 300.0
#: How long a started program may take to end in good order; without a broker it cannot, and has less time.
_STOP_S: Final = 10.0
_STOP_ALONE_S: Final = 1.0


class Stage:
    """Starts the programs, shows their results, and reports why the demo cannot continue."""

    def __init__(
        self,
        settings: Settings,
        kafka: EmbeddedKafka,
        folder: Path,
        started: contextlib.ExitStack,
        programs: Sequence[Program] = (),
    ) -> None:
        """Set it up; nothing starts before `play`.

        Args:
            settings: With the addresses of this demo.
            kafka: The running broker.
            folder: For logs and commands.
            started: Ends the programs that are started here.
            programs: Those that run already; if one ends, the demo ends.
        """
        now = datetime.now(UTC)
        self.scene = Scene(settings, folder, now - BACKFILL, now)
        self._settings = settings
        self._kafka = kafka
        self._folder = folder
        self._programs: list[Program] = list(programs)
        self._stop = asyncio.Event()
        started.callback(self._end_programs)
        self._urgent: str | None = None

    async def play(self, seconds: float | None) -> float | None:
        """Run until the time is over or a signal comes.

        Returns:
            How many seconds the unit was live; None if the signal came before it was.

        Raises:
            DemoError: The broker or a program has ended, or the worker does not catch up.
            KafkaFailedError: The broker does not do what is needed.
        """
        loop = asyncio.get_running_loop()
        for number in ending_signals():
            loop.add_signal_handler(number, self._stop.set)
        await self._start_programs()
        console = Console()
        on_terminal = console.is_terminal and not console.is_dumb_terminal
        show = Screen(self.scene, console) if on_terminal else Plain(self.scene)
        tasks = [
            asyncio.create_task(read(self._settings, self.scene.screen_state, show.transition)),
            asyncio.create_task(watch(self.scene.gauges, self._settings.http, _METRICS_S)),
            asyncio.create_task(attend(self._settings, self.scene.screen_state, SEED, lambda: self.scene.live)),
        ]
        try:
            with show:
                return await self._show(show, tasks, seconds)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_STOP_S)

    async def _start_programs(self) -> None:
        outcome = await ensure_topics(self._settings, producer_time=True)
        if outcome.existing:
            raise DemoError(f"The data folder {self._kafka.data} holds an earlier run: delete it or choose another.")
        self._start("worker", "worker")
        patients = str(CHAIRS_PER_UNIT * PATIENTS_PER_CHAIR)
        hours = str(BACKFILL / timedelta(hours=1))
        now = datetime.now(UTC)
        self.scene.begin, self.scene.start = now - BACKFILL, now
        options = ("--scenario", "dense", "--patients", patients, "--seed", str(SEED), "--backfill-hours", hours)
        self._start("simulator", "simulate", *options)

    def _start(self, name: str, *arguments: str) -> None:
        program = Program(name, arguments, self._settings, self._folder)
        self._programs.append(program)

    def _end_programs(self) -> None:
        """End all programs at once, so that their times to end do not add up."""
        patience = _STOP_S if self._kafka.running else _STOP_ALONE_S
        for program in self._programs:
            program.ask_to_end()
        for program in self._programs:
            program.end(patience)

    async def _show(self, show: Screen | Plain, tasks: list[asyncio.Task[None]], seconds: float | None) -> float | None:
        began, live_at = time.monotonic(), None
        while True:
            self._check(tasks)
            now = time.monotonic()
            if live_at is None and self.scene.gauges.has_caught_up(time.time()):
                live_at = now
                self._go_live(show)
            if live_at is None and now - began > _CATCH_UP_S:
                raise DemoError(
                    f"The worker has not worked off the past after {_CATCH_UP_S:.0f} s: see the logs in {self._folder}."
                )
            self._keep_hints()
            show.show(datetime.now(UTC))
            if self._stop.is_set():
                return None if live_at is None else now - live_at
            if live_at is not None and seconds is not None and now - live_at >= seconds:
                return now - live_at
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _FRAME_S)

    def _check(self, tasks: list[asyncio.Task[None]]) -> None:
        """Raise an error if the broker, a program or a task has ended."""
        if not self._kafka.running:
            raise DemoError(f"Kafka has ended by itself: {self._kafka.why_it_ended()}.")
        for program in self._programs:
            if complaint := program.complaint():
                raise DemoError(complaint)
        for task in tasks:
            if task.done():
                task.result()

    def _go_live(self, show: Screen | Plain) -> None:
        self.scene.live = True
        self.scene.gauges.go_live()
        self._write_hints(None)
        show.went_live()

    def _keep_hints(self) -> None:
        """Keep the written acknowledgement command on an alert that waits for an answer."""
        waiting = (a for a in self.scene.screen_state.ranked() if a.patient_id and a.status is Status.ACTIVE)
        urgent = next(waiting, None)
        if self.scene.live and urgent and urgent.alert_id != self._urgent:
            self._write_hints(urgent)

    def _write_hints(self, alert: Alert | None) -> None:
        self._urgent = alert.alert_id if alert else None
        hints.write(self._settings, self._folder, [program.log for program in self._programs], alert)

"""The two that are measured, each a process on a core of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import psutil

from models.settings import Settings

WORKER_CPU: Final = 0
OTHERS_CPU: Final = 1
_START_S: Final = 60.0
_STOP_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Usage:
    """A moment of a process: wall clock, CPU seconds of all its threads, resident bytes."""

    at: float
    cpu: float
    rss: int


class PeerError(Exception):
    """A peer did not start, or ended; the text has the end of its log."""


class Peer:
    """A running worker; use it as a context manager. Pinned to `WORKER_CPU` where the system can."""

    name = "worker"
    arguments: tuple[str, ...] = ("-c", "from streams.cli import main; main()", "worker")

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self._log = folder / f"{settings.group}.log"
        self._port_file = settings.http
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: psutil.Process | None = None

    async def __aenter__(self) -> Peer:
        env = os.environ | environment(self.settings) | {"APP_DATADIR": str(self._log.parent / self.settings.group)}
        others = pin({WORKER_CPU})  # a child inherits it
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: ASYNC220 (before anything is measured)
                    [sys.executable, *self.arguments], env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )
        finally:
            if others is not None:
                pin(others)
        self._watched = psutil.Process(self._process.pid)
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, _STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def usage(self) -> Usage:
        """What it has used until now."""
        self._check()
        assert self._watched is not None
        times = self._watched.cpu_times()
        return Usage(time.time(), times.user + times.system, self._watched.memory_info().rss)

    def log_end(self) -> str:
        """The last lines of its log."""
        return self._log.read_text(errors="replace")[-2000:]

    def _check(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise PeerError(f"{self.name} ended:\n{self.log_end()}")

    async def first(self) -> Usage:
        """Wait for the first event; what was used at the last look before it, so that nothing is left out."""
        deadline = time.monotonic() + _START_S
        before = self.usage()
        async with aiohttp.ClientSession() as session:
            while True:
                now = self.usage()
                if await self._handled(session) > 0:
                    return before
                before = now
                if time.monotonic() > deadline:
                    raise PeerError(f"{self.name} handled nothing in {_START_S:.0f} s:\n{self.log_end()}")
                await asyncio.sleep(0.01)

    async def ready(self) -> None:
        """Wait until it says that it is ready."""
        deadline = time.monotonic() + _START_S
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < deadline:
                self._check()
                try:
                    async with session.get(f"http://{self.settings.http}/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)
        raise PeerError(f"{self.name} is not ready after {_START_S:.0f} s:\n{self.log_end()}")

    async def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        async with aiohttp.ClientSession() as session:
            return await self._metric(session, name)

    async def _handled(self, session: aiohttp.ClientSession) -> float:
        return await self._metric(session, "dialysis_events_total")

    async def _metric(self, session: aiohttp.ClientSession, name: str) -> float:
        try:
            async with session.get(f"http://{self.settings.http}/metrics") as answer:
                lines = (await answer.text()).splitlines()
        except aiohttp.ClientError:
            return 0.0
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))


class Idiomatic(Peer):
    """The Faust app of `benchmarks.idiomatic`; it writes its first event into its log."""

    name = "idiomatic Faust"
    arguments = ("-m", "benchmarks.idiomatic")

    async def first(self) -> Usage:
        """Wait for the first event; the app says itself what it had used."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            now = self.usage()
            for line in self._log.read_text(errors="replace").splitlines():
                if line.startswith("FIRST "):
                    _, at, cpu = line.split()
                    return Usage(float(at), float(cpu), now.rss)
            await asyncio.sleep(0.02)
        raise PeerError(f"{self.name} handled nothing in {_START_S:.0f} s:\n{self.log_end()}")


#: The settings that a peer is told; all others are the defaults.
_SAID: Final = {"brokers", "topic_prefix", "partitions", "group", "http", "checkpoint_patients", "batch_max"}


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables."""
    values = settings.model_dump(include=_SAID)
    return {f"DIALYSIS_{name.upper()}": str(value) for name, value in values.items()} | {
        "DIALYSIS_LOG_LEVEL": "warning"
    }


def pin(cpus: set[int]) -> set[int] | None:
    """Bind this thread, and what it starts from now on, to processors; what it had before, None if it cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    before = os.sched_getaffinity(0)
    if not cpus <= before | {WORKER_CPU, OTHERS_CPU} or (os.cpu_count() or 1) < 2:
        return None
    os.sched_setaffinity(0, cpus)
    return before

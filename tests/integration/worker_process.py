"""`dialysis-alerts worker` as an operating-system process: its log, its HTTP, and how it ends."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

COMMAND: Final = Path(sys.executable).with_name("dialysis-alerts")


async def until(
    condition: Callable[[], Awaitable[Any] | Any], seconds: float, what: str = "it", every: float = 0.05
) -> Any:
    """Wait until a condition is true; returns what it said."""
    deadline = time.monotonic() + seconds
    while True:
        said = condition()
        found = await said if isinstance(said, Awaitable) else said
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        await asyncio.sleep(every)


class WorkerProcess:
    """A worker as an operating-system process."""

    def __init__(self, environment: Mapping[str, str], command: Sequence[str | Path] = (COMMAND, "worker")) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DIALYSIS_")}
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**clean, **environment},
        )
        # A thread of its own: the loop's executor has few, and each worker would keep one.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        """Its log so far."""
        return "\n".join(list(self.lines))

    @property
    def port(self) -> int | None:
        """The port that the kernel gave it."""
        found = re.search(r"metrics and health on port (\d+)", self.said)
        return int(found[1]) if found else None

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of an HTTP request; (0, why) where there is no answer in time."""
        if self.port is None:
            return 0, "no port yet"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, repr(error)

    async def until(self, condition: Callable[[], Awaitable[Any] | Any], seconds: float, what: str) -> Any:
        """Wait for a condition while this worker runs."""

        async def look() -> Any:
            assert self.running, f"the worker ended while {what} was waited for:\n{self.said[-6000:]}"
            said = condition()
            return await said if isinstance(said, Awaitable) else said

        try:
            return await until(look, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said[-6000:]}") from None

    async def until_said(self, text: str, seconds: float = 30) -> None:
        """Wait for words in its log."""
        await self.until(lambda: re.search(text, self.said), seconds, text)

    async def until_ready(self, seconds: float = 30) -> Self:
        """Wait until `/readyz` says yes."""
        said: tuple[int, str] = (0, "")

        async def ready() -> bool:
            nonlocal said
            said = await self.get("/readyz")
            return said[0] == 200

        try:
            await self.until(ready, seconds, "/readyz")
        except AssertionError as error:
            raise AssertionError(f"/readyz said last: {said}\n{error}") from None
        return self

    async def is_ready(self) -> None:
        """Assert that `/readyz` says yes; a failure shows which check said no."""
        status, body = await self.get("/readyz")
        assert status == 200, f"/readyz: {status} {body}\n{self.said[-3000:]}"

    async def metric(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where there is no such sample."""
        _, text = await self.get("/metrics")
        for line in text.splitlines():
            found = re.fullmatch(re.escape(name) + r"(?:\{(.*)\})? (\S+)", line)
            if found and dict(re.findall(r'(\w+)="([^"]*)"', found[1] or "")) == labels:
                return float(found[2])
        return 0.0

    def freeze(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    async def until_frozen(self, seconds: float = 20) -> None:
        """Wait until it has stopped, by its own hand or ours."""
        asked = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        await self.until(lambda: os.waitid(os.P_PID, self.process.pid, asked), seconds, "SIGSTOP")

    def kill(self) -> None:
        """`kill -9`."""
        if self.running:
            self.process.kill()
        self.process.wait(10)

    async def ended(self, seconds: float = 20) -> int:
        """Wait for its end; returns the exit status."""
        try:
            status = await asyncio.to_thread(self.process.wait, seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end within {seconds:g} s:\n{self.said[-6000:]}") from None
        await asyncio.to_thread(self._reader.join, 5)
        return status

    async def stop(self, seconds: float = 5) -> None:
        """SIGTERM, obeyed in time and with status 0."""
        self.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert await self.ended() == 0, self.said[-6000:]
        took = time.monotonic() - started
        assert took < seconds, f"it took {took:.1f} s to end:\n{self.said[-3000:]}"


@dataclass
class Pulse:
    """What `/healthz` of a worker answered, asked again and again."""

    answers: list[tuple[float, int]] = field(default_factory=list)

    @property
    def statuses(self) -> set[int]:
        return {status for _, status in self.answers}

    @property
    def longest_s(self) -> float:
        """The longest time that an answer took, or that none was asked for."""
        moments = [moment for moment, _ in self.answers]
        return max((after - before for before, after in itertools.pairwise(moments)), default=0.0)

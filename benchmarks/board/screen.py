"""The screen's process, started as its users start it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import aiohttp
import psutil

from benchmarks.peers import Usage
from models.settings import Settings
from streams.board.topic_reader import STORY_TOPICS

_START_S: Final = 60.0
_READ_S: Final = 300.0
_STOP_S: Final = 15.0
_RECORDS: Final = "dialysis_board_records_total"
_FIRST_WORDS: Final = "The unit screen is on "


class ScreenError(Exception):
    """The screen did not start, or ended; the text has the end of its log."""


class Screen:
    """A running `dialysis-alerts board`; use it as a context manager."""

    def __init__(self, settings: Settings, site: str, folder: Path) -> None:
        self.url = ""
        self._settings = settings
        self._log = folder / "board.log"
        self._site = folder / "site.toml"
        self._site.write_text(site, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: psutil.Process | None = None

    async def __aenter__(self) -> Screen:
        env = os.environ | {
            "DIALYSIS_BROKERS": self._settings.brokers,
            "DIALYSIS_TOPIC_PREFIX": self._settings.topic_prefix,
            "DIALYSIS_PARTITIONS": str(self._settings.partitions),
            "DIALYSIS_BOARD_HTTP": "127.0.0.1:0",
            "DIALYSIS_BOARD_SITE": str(self._site),
            "DIALYSIS_LOG_LEVEL": "warning",
        }
        command = [sys.executable, "-c", "from streams.cli import main; main()", "board", "--user", "anna"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 (before anything is measured)
                command, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._watched = psutil.Process(self._process.pid)
        deadline = time.monotonic() + _START_S
        while not self.url:
            self._check(deadline)
            said = [line for line in self._log_text().splitlines() if line.startswith(_FIRST_WORDS)]
            self.url = said[0].removeprefix(_FIRST_WORDS).strip() if said else ""
            await asyncio.sleep(0.05)
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

    def usage(self) -> Usage:
        """What it has used until now.

        Raises:
            ScreenError: It has ended.
        """
        self._check()
        assert self._watched is not None
        times = self._watched.cpu_times()
        return Usage(time.time(), times.user + times.system, self._watched.memory_info().rss)

    async def has_read(self, records: int) -> None:
        """Wait until it has taken so many records of its story, and has read its picture."""
        deadline = time.monotonic() + _READ_S
        async with aiohttp.ClientSession(self.url) as session:
            while await self._taken(session) < records or await self._is_blind(session):
                self._check(deadline)
                await asyncio.sleep(0.5)

    @staticmethod
    async def _taken(session: aiohttp.ClientSession) -> float:
        async with session.get("/metrics") as answer:
            lines = (await answer.text()).splitlines()
        found = [line.removeprefix(_RECORDS) for line in lines if line.startswith(_RECORDS)]
        counts = dict(line.rsplit(" ", 1) for line in found)
        return sum(float(counts.get(f'{{topic="{topic}"}}', 0)) for topic in STORY_TOPICS)

    @staticmethod
    async def _is_blind(session: aiohttp.ClientSession) -> bool:
        async with session.get("/api/room") as answer:
            return bool((await answer.json())["blind"]["is_blind"])

    def _log_text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _check(self, deadline: float | None = None) -> None:
        if self._process is None or self._process.poll() is not None:
            raise ScreenError(f"the screen ended:\n{self._log_text()[-2000:]}")
        if deadline is not None and time.monotonic() > deadline:
            raise ScreenError(f"the screen is not ready in time:\n{self._log_text()[-2000:]}")

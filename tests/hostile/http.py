"""Attacks on the worker's HTTP: connections that say nothing, and connections that ask all the time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from tests.hostile.stage import Case, Stage
from tests.integration.worker_process import COMMAND

_DESCRIPTORS: Final = 64
_IDLE: Final = _DESCRIPTORS + 40
_ASKING: Final = 200
_LOG_MB: Final = 1.0
#: Whoever was sent away comes again after so long.
_AGAIN_S: Final = 0.25
_LIMITED: Final = ("sh", "-c", f'ulimit -n {_DESCRIPTORS}; exec "$0" "$@"', COMMAND, "worker")

_Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


@contextlib.asynccontextmanager
async def _connections(stage: Stage, count: int, talk: _Talk) -> AsyncIterator[None]:
    """So many connections at once to a worker; what it closes is opened again."""
    port = stage.worker.port
    assert port

    async def hold() -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(5):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    await talk(reader, writer)
                finally:
                    writer.close()
            await asyncio.sleep(_AGAIN_S)

    holding = [asyncio.create_task(hold()) for _ in range(count)]
    try:
        yield
    finally:
        for task in holding:
            task.cancel()
        await asyncio.gather(*holding, return_exceptions=True)


async def _idle(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n")
    await writer.drain()
    await reader.read()


async def _descriptors(stage: Stage) -> None:
    """Nothing left to open a connection with; then a second worker joins and leaves, and 8 alerts must be told."""
    await stage.opened()
    async with _connections(stage, _IDLE, _idle):
        await asyncio.sleep(1)
        second = stage.scene.hire()
        await stage.scene.ready(second)
        await asyncio.sleep(1)
        await stage.scene.terminate(second, again=False)
        stage.begins()
        await stage.plant(*stage.unit.subjects(8, "eight"))
        async with stage.others():
            await stage.in_time(stage.all_told, 30, "8 alerts were not told within 30 s")
            await asyncio.sleep(2)
    log_mb = len(stage.worker.said.encode()) / 1e6
    stage.holds(log_mb < _LOG_MB, f"the log has {log_mb:.0f} MB")


async def _metrics(stage: Stage) -> None:
    await stage.opened()
    async with _connections(stage, _ASKING, _ask):
        await asyncio.sleep(1)
        stage.begins()
        async with stage.others(every=0.1):
            await asyncio.sleep(8)


CASES: Final = (
    Case("idle-connections", f"{_IDLE} idle connections, {_DESCRIPTORS} descriptors", _descriptors, command=_LIMITED),
    Case("metrics", f"{_ASKING} connections ask for `/metrics` all the time", _metrics, worst_s=0.25),
)

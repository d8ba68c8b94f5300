"""The unit screen as it runs, on a unit under test: its address, a client of its interface, words of a worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiokafka.errors import KafkaError

from models.settings import Settings
from streams.board.command import running
from streams.board.front_end import FrontEnd
from streams.board.site_file import Room, Site
from streams.board.visitors import Doors, Visitors
from tests.board.records import status_value
from tests.board.web import Browser, front
from tests.integration.messages import Message
from tests.integration.unit_under_test import UnitUnderTest
from tests.integration.worker_process import until

SITE: Final = Site("UTC", (Room("Room 1", None, ("c1", "01")),))


def anna() -> Visitors:
    """Nobody signs in: anna answers."""
    return Visitors(Doors(is_open=True, open_user="anna"), None)


@contextlib.asynccontextmanager
async def shown(
    settings: Settings, visitors: Visitors, front_end: FrontEnd | None = None, port: int = 0
) -> AsyncIterator[str]:
    """The screen on Kafka, with the pages that ship unless told otherwise; its address."""
    ours = settings.model_copy(update={"board_http": f"127.0.0.1:{port}"})
    async with running(ours, SITE, visitors, front_end) as server:
        yield f"http://127.0.0.1:{server.port}"


@contextlib.asynccontextmanager
async def screen(settings: Settings, folder: Path) -> AsyncIterator[Browser]:
    """A screen on Kafka, and a client of somebody who may answer."""
    async with (
        shown(settings, anna(), front(folder)) as base,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        yield Browser(session, base)


async def until_seeing(browser: Browser, *, sees: bool = True, seconds: float = 20) -> Any:
    """The room once the screen sees, or no longer does."""

    async def look() -> Any:
        room = await browser.json("/api/room")
        return room if room["blind"]["is_blind"] is not sees else None

    return await until(look, seconds, f"the screen to {'see' if sees else 'be blind'}", every=0.1)


def alerts_of(room: Any) -> dict[str, Any]:
    tiles = [tile for each in room["rooms"] for tile in each["chairs"]] + room["elsewhere"]
    found = [alert for tile in tiles for alert in tile["alerts"]] + room["without_chair"] + room["unit_alerts"]
    return {alert["alert_id"]: alert for alert in found}


@contextlib.asynccontextmanager
async def words_of_a_worker(unit: UnitUnderTest) -> AsyncIterator[None]:
    """Send `worker-status` of all partitions every second, whenever the broker takes them."""

    async def send() -> None:
        while True:
            now = datetime.now(UTC)
            with contextlib.suppress(KafkaError):
                await unit.publish(
                    Message("worker-status", str(number).encode(), status_value(number, now), partition=0)
                    for number in range(unit.partitions)
                )
            await asyncio.sleep(1)

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

"""The Faust app: settings that keep its promises, and what the layers above may ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import faust

from models.settings import Settings
from streams.transport.api import TP, Batch, Listener, TopicSet


class App(faust.App):
    """Faust's app with the batching transport."""

    settings: Settings

    def attach(self, topics: TopicSet, listener: Listener) -> Any:
        """Registers the table of `topics` and who is told of their partitions; returns the topic for an agent."""
        raise NotImplementedError

    def pause(self, tps: Iterable[TP]) -> None:
        """No more batches of these partitions, but for at most one each that is on its way."""
        raise NotImplementedError

    def resume(self, tps: Iterable[TP]) -> None:
        """Batches of these partitions again, at once. A new generation begins with nothing paused."""
        raise NotImplementedError

    def end_confirmed_at(self, tp: TP) -> float | None:
        """When a fetch last confirmed (`time.monotonic()`) that everything up to the log's end was handed over.

        None while records are known that no agent has taken yet, or before the first answer.
        """
        raise NotImplementedError

    def lag(self, tp: TP) -> int | None:
        """How many offsets the broker has beyond what an agent has taken; None while unknown."""
        raise NotImplementedError

    def end_offset(self, tp: TP) -> int | None:
        """The log's end as of the last answer; None while unknown."""
        raise NotImplementedError

    @property
    def polled_at(self) -> float:
        """When the delivery loop last went round (`time.monotonic()`): it does even while nothing comes."""
        raise NotImplementedError

    @property
    def heartbeat_at(self) -> float | None:
        """When the last heartbeat that the group's coordinator answered was sent (`time.monotonic()`)."""
        raise NotImplementedError

    def owns(self, table: str, partition: int) -> bool:
        """Whether writes for this partition are (still) ours to make."""
        raise NotImplementedError


def create_app(settings: Settings) -> App:
    """An app with every setting that the project relies on; nothing is connected yet."""
    raise NotImplementedError


async def batches(stream: Any) -> AsyncIterator[Batch]:
    """The batches of an agent's stream; nothing is acknowledged but by `Batch.ack`. Stale ones are left out."""
    raise NotImplementedError
    yield


async def run(app: App, stop: asyncio.Event) -> None:
    """Runs the app until `stop` is set, then releases its partitions and stops; raises what crashed it."""
    raise NotImplementedError

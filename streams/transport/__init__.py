"""The only package that uses Faust's private names: batches, partitions, recovery, the app.

A task layer uses it like this:

    app = create_app(settings)
    source = app.attach(TopicSet("patients", (labs, machines, clinical), settings.partitions), listener)

    @app.agent(source)
    async def patients(stream):
        async for batch in batches(stream):
            await tasks[batch.partition].put(batch)      # quick; app.pause({batch.tp}) when it has enough

    await check_partitions(settings, {topic: count, ...})
    await run(app, stop)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streams.transport.api import (
    TP,
    Batch,
    Listener,
    PartitionCountError,
    StaleGenerationError,
    TopicSet,
)

if TYPE_CHECKING:
    from streams.transport.app import App, batches, create_app, run
    from streams.transport.partition_check import TopicMadeAnewError, TopicWatch, check_partitions

__all__ = [
    "TP",
    "App",
    "Batch",
    "Listener",
    "PartitionCountError",
    "StaleGenerationError",
    "TopicMadeAnewError",
    "TopicSet",
    "TopicWatch",
    "batches",
    "check_partitions",
    "create_app",
    "run",
]

# Imported at first use: they load Faust, which takes half a second; `replay` needs only `api` and must not pay for it.
_MODULES = {
    "App": "app",
    "batches": "app",
    "create_app": "app",
    "run": "app",
    "check_partitions": "partition_check",
    "TopicMadeAnewError": "partition_check",
    "TopicWatch": "partition_check",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(name)

"""The only place that knows Faust's private names: batches, partitions, recovery, the app.

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

from streams.transport.api import (
    TP,
    Batch,
    Listener,
    PartitionCountError,
    StaleGenerationError,
    TopicSet,
)
from streams.transport.app import App, batches, create_app, run
from streams.transport.topics import check_partitions

__all__ = [
    "TP",
    "App",
    "Batch",
    "Listener",
    "PartitionCountError",
    "StaleGenerationError",
    "TopicSet",
    "batches",
    "check_partitions",
    "create_app",
    "run",
]

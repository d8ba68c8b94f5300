"""Do the topics on the broker have the partitions that this worker counts on?"""

from __future__ import annotations

from collections.abc import Mapping

from models.settings import Settings


async def check_partitions(settings: Settings, topics: Mapping[str, int]) -> None:
    """Returns when every topic exists with the number of partitions given for it.

    A broker that does not answer is waited for, for ever, with a log line now and then; the event loop stays
    free meanwhile.

    Raises:
        PartitionCountError: A topic is missing or has another number; the text names every such topic.
    """
    raise NotImplementedError

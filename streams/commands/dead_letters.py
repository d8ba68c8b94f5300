"""`dialysis-alerts dead-letters`: count dead letters by reason and topic."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from models.settings import Settings
from models.topics import DEAD_LETTERS
from streams.commands.console import complain, print_table, say
from streams.exit_status import DONE, FAILED
from streams.kafka.clients import (
    KafkaFailedError,
    admin_client,
    consumer_client,
    explained,
    partition_counts,
    read_to_end,
)
from streams.kafka.dead_letter import Origin


@dataclass(slots=True)
class _Row:
    count: int = 0
    cut: int = 0
    came_back: int = 0
    last: int = -1
    detail: str = ""

    def add(self, origin: Origin, timestamp: int) -> None:
        self.count += 1
        self.cut += origin.cut
        self.came_back += origin.came_back
        if timestamp >= self.last:
            self.last, self.detail = timestamp, origin.detail


def list_dead_letters(settings: Settings, reason: str | None = None, topic: str | None = None) -> int:
    """Print the number of dead letters of each reason and topic, with the last one's time and detail.

    Args:
        settings: Where the broker is.
        reason: Only of this reason.
        topic: Only from this topic, by its full name.

    Returns:
        The exit status.
    """
    try:
        rows, foreign = asyncio.run(_tally(settings, reason, topic))
    except KafkaFailedError as error:
        complain(str(error))
        return FAILED
    if rows:
        cells = [
            (name, origin, str(row.count), str(row.cut), str(row.came_back), _time(row.last), row.detail)
            for (name, origin), row in sorted(rows.items(), key=lambda item: -item[1].count)
        ]
        columns = ("reason", "topic", "count", "cut", "came back", "last", "for example")
        print_table("Dead letters", columns, cells)
    else:
        say("No dead letters.")
    if foreign:
        say(f"{foreign} messages there are not dead letters of ours.")
    return DONE


async def _tally(settings: Settings, reason: str | None, topic: str | None) -> tuple[dict[tuple[str, str], _Row], int]:
    rows: dict[tuple[str, str], _Row] = {}
    foreign = 0
    async with explained(settings):
        partitions = await dead_letter_partitions(settings)
        async with consumer_client(settings) as consumer:
            async for records in read_to_end(consumer, settings.topic(DEAD_LETTERS), partitions):
                for record in records:
                    origin = Origin.of(record)
                    if origin is None:
                        foreign += 1
                    elif origin.matches(reason, topic):
                        row = rows.setdefault((origin.reason, origin.topic), _Row())
                        row.add(origin, record.timestamp)
    return rows, foreign


async def dead_letter_partitions(settings: Settings) -> int:
    """Return the number of partitions of `dead-letters`.

    Raises:
        KafkaFailedError: There is no such topic.
    """
    name = settings.topic(DEAD_LETTERS)
    async with admin_client(settings) as admin:
        found = (await partition_counts(admin)).get(name)
    if found is None:
        raise KafkaFailedError(f"There is no topic {name}: `dialysis-alerts topics --create` makes it.")
    return found


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")

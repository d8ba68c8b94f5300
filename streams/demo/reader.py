"""Read the worker's output topics into a `ScreenState`, as any screen may."""

from collections.abc import Callable
from typing import Final

from aiokafka.structs import TopicPartition

from models.alerts import Alert
from models.settings import Settings
from models.topics import ALERTS_ACTIVE, ALERTS_UNIT, DEAD_LETTERS, FAMILIES, SESSIONS_ACTIVE, WORKER_STATUS
from streams.demo.screen_state import ScreenState
from streams.kafka.clients import Record, consumer_client, explained
from streams.kafka.topic_setup import wanted_topics

_POLL_MS: Final = 200
_MAX_RECORDS: Final = 1000
_READ: Final = (
    *(f"alerts.{family}" for family in FAMILIES),
    ALERTS_UNIT,
    ALERTS_ACTIVE,
    SESSIONS_ACTIVE,
    WORKER_STATUS,
    DEAD_LETTERS,
)


async def read(settings: Settings, screen_state: ScreenState, told: Callable[[Alert], None]) -> None:
    """Read from the beginning, for ever.

    Args:
        settings: Where the broker is, and the names of topics.
        screen_state: Receives the records.
        told: Called with each transition, once.

    Raises:
        KafkaFailedError: The broker does not do what is needed.
    """
    names = {settings.topic(name): name for name in _READ}
    async with explained(settings), consumer_client(settings) as consumer:
        consumer.assign(
            [
                TopicPartition(topic.name, number)
                for topic in wanted_topics(settings)
                if topic.name in names
                for number in range(topic.partitions)
            ]
        )
        while True:
            fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
            for tp, records in fetched.items():
                for record in records:
                    take(screen_state, names[tp.topic], record, told)


def take(screen_state: ScreenState, name: str, record: Record, told: Callable[[Alert], None]) -> None:
    """Add one record to the screen state; `name` is the contract's name of its topic."""
    key = (record.key or b"").decode(errors="replace")
    if name == ALERTS_ACTIVE:
        screen_state.alert(key, record.value)
    elif name == SESSIONS_ACTIVE:
        screen_state.session(key, record.value)
    elif name == WORKER_STATUS:
        screen_state.worker_status(record.value)
    elif name == DEAD_LETTERS:
        screen_state.dead_letters += 1
    elif alert := screen_state.transition(record.value):
        told(alert)

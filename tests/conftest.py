"""One real Kafka for all tests that need one; each test uses topics of its own."""

from collections.abc import Iterator

import pytest

from streams.broker.kafka import EmbeddedKafka


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka]:
    """A running broker that the whole session shares: do not stop it, start one of your own for that."""
    with EmbeddedKafka() as broker:
        yield broker


@pytest.fixture(scope="session")
def bootstrap(kafka: EmbeddedKafka) -> str:
    return kafka.bootstrap

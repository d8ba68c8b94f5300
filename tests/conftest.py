"""One real Kafka and one Chromium for all tests that need them; each uses topics, and a page, of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from streams.broker.kafka import EmbeddedKafka
from tests.board_front.browser import chromium

#: Folders whose tests mostly wait for brokers and workers; all others compute.
_WAITING: Final = frozenset({"chaos", "hostile", "integration"})
#: The files that take longest. They go first: a long one that begins last is waited for alone. Those that wait come
#: before those that compute, so that a worker which 100,000 events wait for has a processor.
_LONGEST: Final = (
    "test_worker_crash.py",
    "test_faults.py",
    "test_demo.py",
    "test_sabotage.py",
    "test_board_browser.py",
    "test_broker.py",
    "test_simulated_alerts.py",
    "test_tables.py",
    "test_properties.py",
    "test_bounds.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mix the files whose tests wait with those whose tests compute: together they fill the processors."""
    files = list(dict.fromkeys(item.path for item in items))
    places: dict[Path, float] = {}
    for waits in (True, False):
        group = [path for path in files if (path.parent.name in _WAITING) is waits]
        places |= {path: number / len(group) for number, path in enumerate(group)}
    for number, name in enumerate(reversed(_LONGEST), start=1):
        places |= {path: -float(number) for path in files if path.name == name}
    items.sort(key=lambda item: places[item.path])


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka]:
    """A running broker that the whole session shares: do not stop it, start one of your own for that."""
    with EmbeddedKafka() as broker:
        yield broker


@pytest.fixture(scope="session")
def bootstrap(kafka: EmbeddedKafka) -> str:
    return kafka.bootstrap


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A running Chromium that the whole session shares: see `watched_page`."""
    async with chromium() as running:
        yield running

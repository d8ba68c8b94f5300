"""Fixtures of the unit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.fake_port import FakeKafka, install
from tests.unit.fake_thread import Bench


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    """A broker without a broker, and a clock that moves only when told to."""
    made = FakeKafka()
    install(made.clock, monkeypatch)
    return made


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """The whole transport on a pretended broker, not started."""
    made = Bench(monkeypatch)
    yield made
    await made.end()

"""Fixtures of the unit tests."""

from __future__ import annotations

import pytest

from tests.unit.fake_port import FakeKafka, install


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    """A broker without a broker, and a clock that moves only when told to."""
    made = FakeKafka()
    install(made.clock, monkeypatch)
    return made

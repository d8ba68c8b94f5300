"""A takeover that a rebalance interrupts leaves no count behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from streams.rules.catalogue import parse_settings
from streams.transport.api import Recovered
from streams.worker import assignment
from streams.worker.assignment import Assignment
from streams.worker.process import Worker
from streams.worker.sender import Outgoing
from tests.unit.fake_port import FakeKafka, Host
from tests.unit.task_events import P1


class _Hung(FakeKafka):
    """A broker that takes no message."""

    async def send_all(self, messages: Sequence[Outgoing]) -> None:
        await asyncio.Event().wait()


async def test_an_interrupted_takeover_leaves_no_open_alerts_behind(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka.lab(P1, 0, 1.5)
    host = await Host(kafka).settle()
    ports: list[FakeKafka] = [kafka, _Hung(clock=kafka.clock)]
    monkeypatch.setattr(assignment, "KafkaPort", lambda *_: ports.pop())
    worker: Any = Worker(host.settings, parse_settings({}))
    app: Any = SimpleNamespace(settings=host.settings, attach=lambda *_: None, agent=lambda *_, **__: lambda _: None)
    taken: Any = Assignment(
        app, host.kind, host.settings, worker._metrics, worker._health, worker._assignment, worker._fail
    )
    worker._assignments = [taken]

    def open_alerts() -> float:
        families = {family.name: family.samples for family in worker._metrics.registry.collect()}
        return float(sum(sample.value for sample in families["dialysis_alerts_active"]))

    taking = asyncio.create_task(taken.on_assigned({0}, {0: Recovered(kafka.changelog)}))
    await asyncio.sleep(0.01)
    assert open_alerts() == 1
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    await taken.on_revoked({0})
    assert open_alerts() == 0
    await taken.on_assigned({0}, {0: Recovered(kafka.changelog)})
    assert open_alerts() == 1
    await taken.on_revoked({0})

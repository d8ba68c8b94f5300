"""What readers of `worker-status` see of partitions that work and of those that are being recovered."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from streams.rules.catalogue import parse_settings
from streams.worker.process import Worker
from tests.unit.fake_port import PREFIX, FakeKafka, Host
from tests.unit.task_events import P1, at, telemetry


async def test_a_partition_that_is_being_recovered_says_so(kafka: FakeKafka) -> None:
    telemetry(kafka, P1, 5)
    host = await Host(kafka).settle()
    worker: Any = Worker(host.settings, parse_settings({}))
    worker._assignments = [SimpleNamespace(kind=host.kind, tasks={0: host.task, 1: host.task})]
    app: Any = SimpleNamespace(recovering={"patients": {1, 2}})
    messages = worker._statuses(app)
    assert {message.topic for message in messages} == {PREFIX + "worker-status"}
    told = [json.loads(message.value) for message in messages]
    assert [message.key for message in messages] == [b"0", b"1", b"2"]
    assert [status["recovering"] for status in told] == [False, True, True]
    assert [status["current"] for status in told] == [True, False, False]
    assert told[0]["now"].startswith(at(5).removesuffix("Z"))
    # What the last generation knew is not shown while the next one reads it back.
    assert [status["now"] for status in told[1:]] == [None, None]
    assert [status["patients"] for status in told] == [1, 0, 0]


def test_accepted_risks_are_a_metric() -> None:
    host = Host(FakeKafka())
    rules = {"low_magnesium": {"enabled": False, "accept_risk": "Dr Roe: why"}}
    worker: Any = Worker(host.settings, parse_settings(rules))
    (family,) = worker._metrics.accepted_risks.collect()
    assert [(sample.labels, sample.value) for sample in family.samples] == [({"rule": "low_magnesium"}, 1.0)]

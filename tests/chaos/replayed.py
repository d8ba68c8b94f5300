"""A run in which nothing goes wrong, without a broker: the logs that `replay` leaves of a plan."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from aiokafka.partitioner import DefaultPartitioner

from models.alerts import AlertRecord
from models.parsing import Rejected
from streams.engine.replay import Replay, parse_line
from streams.rules.catalogue import default_settings
from tests.chaos.logs import Logs, Record, Sent
from tests.chaos.plan import Shape, plan

PARTITIONS = 4
_START = datetime(2026, 11, 23, 8, tzinfo=UTC)
_partition_of = DefaultPartitioner()
_encode = msgspec.json.Encoder().encode


def place(key: bytes) -> int:
    numbers = list(range(PARTITIONS))
    return int(_partition_of(key, numbers, numbers))


def subjects(count: int, prefix: str) -> list[str]:
    """Names that lie on all partitions in turn."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        if place(f"{prefix}{number}".encode()) == len(found) % PARTITIONS:
            found.append(f"{prefix}{number}")
        number += 1
    return found


class _Topics:
    """Gives out offsets."""

    def __init__(self) -> None:
        self.ends: Counter[tuple[str, int]] = Counter()

    def record(
        self, topic: str, partition: int, stamp: int, key: bytes, value: bytes | None, *headers: tuple[str, bytes]
    ) -> Record:
        offset = self.ends[topic, partition]
        self.ends[topic, partition] += 1
        return Record(topic, partition, offset, stamp, key, value, headers)


def replayed(seed: int, shape: Shape) -> Logs:
    """Plan a run and replay it."""
    made = plan(seed, _START, shape, subjects, PARTITIONS)
    logs, topics, outputs = Logs(sent=made.messages), _Topics(), _Topics()
    replay = Replay(default_settings())
    for sent in made.messages:
        record = topics.record(sent.topic, place(sent.key), sent.stamp, sent.key, sent.value)
        sent.acknowledged = record.moment.timestamp()
        logs.inputs.append(record)
        reason = next((plant.reason for plant in sent.plants if plant.reason), None)
        if reason:
            logs.dead.append(_letter(outputs, record, reason))
            continue
        line = parse_line(sent.value or b"")
        assert not isinstance(line, Rejected), (sent, line)
        _tell(logs, outputs, sent, replay.take(msgspec.structs.replace(line, received_at=record.moment)))
    logs.ends = dict(topics.ends)
    logs.committed = dict(topics.ends)
    return logs


def _letter(outputs: _Topics, record: Record, reason: str) -> Record:
    headers = {
        "dl_topic": record.topic,
        "dl_partition": str(record.partition),
        "dl_offset": str(record.offset),
        "dl_reason": reason,
    }
    encoded = [(name, value.encode()) for name, value in headers.items()]
    return outputs.record("dead-letters", record.partition, record.stamp, record.key or b"", record.value, *encoded)


def _tell(logs: Logs, outputs: _Topics, sent: Sent, alerts: Iterable[AlertRecord]) -> None:
    for one in alerts:
        value = _encode(one)
        alert = json.loads(value)
        headers = (
            ("ce_id", f"{alert['alert_id']}:{alert['revision']}".encode()),
            ("ce_type", f"dialysis.alert.{alert['transition']}".encode()),
            ("ce_time", b"now"),
        )
        key = str(alert["patient_id"] or alert["water_loop_id"]).encode()
        partition = 0 if alert["family"] == "unit" else place(key)
        record = outputs.record(f"alerts.{alert['family']}", partition, sent.stamp, key, value, *headers)
        logs.alerts.append(record)
        logs.seen[record.place] = (sent.acknowledged or 0.0) + 0.5
        logs.active.append(
            outputs.record("alerts.active", partition, sent.stamp, alert["alert_id"].encode(), value, *headers)
        )

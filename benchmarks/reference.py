"""What the alerts of a run must be: the pure engine over the same messages, and comparisons with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec

from benchmarks.workload import Message
from models.alerts import AlertRecord
from models.parsing import Rejected
from models.settings import Settings
from models.topics import ALERTS_UNIT, FAMILIES
from streams.engine.replay import Replay, parse_line
from streams.kafka.clients import admin_client, consumer_client, partition_counts, read_to_end
from streams.rules.catalogue import parse_settings

_decode: Final = msgspec.json.Decoder(AlertRecord).decode


@dataclass(slots=True)
class Check:
    """How alerts compare with the reference: transitions expected, missing, extra and repeated."""

    expected: int
    missing: int
    extra: int
    repeated: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether they are the same."""
        return not self.missing and not self.extra

    def __str__(self) -> str:
        return f"{self.expected} expected, {self.missing}/{self.extra}/{self.repeated} missing/extra/repeated"


def expected_alerts(messages: Iterable[Message]) -> list[AlertRecord]:
    """The transitions that `replay` makes of the messages, taken in the order of their timestamps.

    Without escalations of unanswered alerts: response times run in a worker only while it keeps up with the wall
    clock (docs/decisions/0006-event-time-and-task-clock.md), and a recorded log is long past.
    """
    replay = Replay(parse_settings({"responses": {"high": [], "medium": [], "accept_risk": "an oracle"}}))
    found: list[AlertRecord] = []
    for message in messages:
        parsed = parse_line(message.value)
        if isinstance(parsed, Rejected):
            raise TypeError(f"the workload makes an unusable message: {parsed.detail}")
        moment = datetime.fromtimestamp(message.sent_ms / 1000, UTC)
        found += replay.take(msgspec.structs.replace(parsed, received_at=moment))
    return found


async def alerts_sent(settings: Settings) -> list[AlertRecord]:
    """Every transition on the alert topics."""
    found = []
    names = [settings.topic(name) for name in (*(f"alerts.{family}" for family in FAMILIES), ALERTS_UNIT)]
    async with admin_client(settings) as admin:
        counts = await partition_counts(admin)
    async with consumer_client(settings) as consumer:
        for name in names:
            async for records in read_to_end(consumer, name, counts[name]):
                found += [_decode(record.value) for record in records if record.value]
    return found


def same_transitions(expected: list[AlertRecord], found: list[AlertRecord]) -> Check:
    """Every transition of every patient, by id, revision, kind, status and priority.

    Alerts of water loops are compared by how they end: the worker hears of them through a topic, later than
    `replay`, which hands them over at once.
    """
    check = _compare(
        Counter(_transition(alert) for alert in expected if alert.patient_id),
        Counter(_transition(alert) for alert in found if alert.patient_id),
    )
    loops = same_ends([a for a in expected if not a.patient_id], [a for a in found if not a.patient_id])
    check.expected += loops.expected
    check.missing += loops.missing
    check.extra += loops.extra
    check.examples += loops.examples
    return check


def same_ends(expected: list[AlertRecord], found: list[AlertRecord]) -> Check:
    """The alerts that are open in the end, by rule, subject, status and priority.

    This is what the contract promises for any order between topics, of which Faust keeps none: in another order
    an alert may pass other stations, and an episode be named after another input.
    """
    return _compare(_ends(expected), _ends(found))


def _transition(alert: AlertRecord) -> str:
    return f"{alert.rule} {alert.alert_id} {alert.revision} {alert.transition} {alert.status} {alert.priority}"


def _ends(alerts: list[AlertRecord]) -> Counter[str]:
    newest: dict[str, AlertRecord] = {}
    for alert in alerts:
        if alert.alert_id not in newest or alert.revision > newest[alert.alert_id].revision:
            newest[alert.alert_id] = alert
    return Counter(
        f"{alert.rule} {alert.patient_id or alert.water_loop_id} {alert.status} {alert.priority}"
        for alert in newest.values()
        if alert.status.is_open
    )


def _compare(expected: Counter[str], found: Counter[str]) -> Check:
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    repeated = sum(count - 1 for count in found.values())
    examples = [f"missing {name}" for name in sorted(missing)[:3]] + [f"extra {name}" for name in sorted(extra)[:3]]
    return Check(len(expected), len(missing), len(extra), repeated, examples)

"""Where an alert was lost: the first place on its way, from the producer to the reader, that it did not reach."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from tests.chaos.logs import Logs, Record


class Lost(StrEnum):
    """The places, in the order of the way."""

    NOT_ACCEPTED = "not accepted"
    NOT_CONSUMED = "not consumed"
    NO_EFFECT = "no effect"
    NOT_SENT = "effect not sent"
    NOT_READ = "sent not read"


def where_lost(logs: Logs, record: Record, subject: str, rule: str, ids: Iterable[str], statuses: set[str]) -> Lost:
    """Where a transition was lost that lies on no alert topic, though `record` is on its input topic.

    Args:
        logs: what the run left.
        record: what should have brought it about.
        subject: the patient.
        rule: that should have told of it.
        ids: what its evidence should show.
        statuses: what the alert should have become.
    """
    stored = logs.stored.get(subject, {})
    applied = stored.get("offsets", {}).get(record.topic, -1)
    committed = logs.committed.get((record.topic, record.partition), 0)
    if applied < record.offset and committed <= record.offset:
        return Lost.NOT_CONSUMED
    return Lost.NOT_SENT if _has_effect(stored, rule, set(ids), statuses) else Lost.NO_EFFECT


def _has_effect(stored: dict[str, Any], rule: str, ids: set[str], statuses: set[str]) -> bool:
    alerts = stored.get("alerts", {})
    for alert in alerts.values() if isinstance(alerts, dict) else alerts:
        shown = json.dumps(alert)
        if alert["rule"] == rule and alert["status"] in statuses and any(f'{name}"' in shown for name in ids):
            return True
    return False

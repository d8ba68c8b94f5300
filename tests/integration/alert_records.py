"""Alert records as a test judges them: the different transitions, and whether repeats are the same."""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from models.topics import FAMILIES

ALERT_TOPICS: Final = (*(f"alerts.{family}" for family in FAMILIES), "alerts.unit")


def headers_of(record: Any) -> dict[str, bytes]:
    return dict(record.headers)


def matching(records: Iterable[Any], **fields: Any) -> list[dict[str, Any]]:
    """The different transitions among alert records that have these fields, in the order of the log."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for record in records:
        alert = json.loads(record.value)
        if all(alert[name] == value for name, value in fields.items()):
            found.setdefault((alert["alert_id"], alert["revision"]), alert)
    return list(found.values())


def by_revision(records: Iterable[Any]) -> dict[tuple[str, int], set[Any]]:
    """Key, value and headers but `ce_time` of every alert record, under its (alert_id, revision)."""
    found: dict[tuple[str, int], set[Any]] = defaultdict(set)
    for record in records:
        alert = json.loads(record.value)
        headers = tuple(header for header in record.headers if header[0] != "ce_time")
        found[alert["alert_id"], alert["revision"]].add((record.topic, record.key, record.value, headers))
    return dict(found)


def repeats_are_identical(records: Iterable[Any]) -> None:
    """Every repeat of one (alert_id, revision) has the same key, value and headers but `ce_time`."""
    different = {name: bodies for name, bodies in by_revision(records).items() if len(bodies) > 1}
    shown = "\n".join(differences(*list(bodies)[:2]) for bodies in list(different.values())[:5])
    assert not different, f"{len(different)} were told in two ways, such as\n{shown}"


def differences(one: Sequence[Any], other: Sequence[Any]) -> str:
    """Where two records differ, line by line; each is (topic, key, value …), its value a JSON object."""

    def lines(record: Sequence[Any]) -> list[str]:
        topic, key, value, *rest = record
        body = json.dumps(json.loads(value), indent=1, sort_keys=True)
        return [f"{topic} {key!r}", *(str(part) for part in rest), *body.splitlines()]

    return "\n".join(difflib.unified_diff(lines(one), lines(other), "one", "other", lineterm=""))

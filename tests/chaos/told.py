"""What was told: alert records put together to alerts, and each alert to the episodes it was raised for."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tests.chaos.logs import Record

OPEN: Final = frozenset({"active", "acknowledged", "snoozed"})


@dataclass(frozen=True)
class Transition:
    """One revision of an alert, as it first lies on its topic."""

    record: Record
    alert: dict[str, Any]

    @property
    def ids(self) -> set[str]:
        return {item["id"] for item in self.alert["evidence"]}

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.alert["at"])

    def __str__(self) -> str:
        a = self.alert
        whom = a["patient_id"] or a["water_loop_id"]
        return f"{a['rule']} of {whom} {a['transition']} at {a['at']} ({a['alert_id']}:{a['revision']})"


@dataclass
class Episode:
    """An alert from where it was raised to where it ended."""

    transitions: list[Transition]

    @property
    def raised(self) -> Transition:
        return self.transitions[0]

    @property
    def end(self) -> Transition | None:
        last = self.transitions[-1]
        return None if last.alert["status"] in OPEN else last

    @property
    def ids(self) -> set[str]:
        return set().union(*(transition.ids for transition in self.transitions))

    @property
    def highest(self) -> bool:
        """Whether it was ever of the highest priority."""
        return any(transition.alert["priority"] == "high" for transition in self.transitions)


@dataclass
class Told:
    """All alerts by id, each with its revisions in the order in which they first appeared, and the repeats."""

    alerts: dict[str, list[Transition]]
    #: Forms (key, value, headers but `ce_time`) of each revision: more than one is a repeat that differs.
    forms: dict[tuple[str, int], dict[Any, Record]]

    @classmethod
    def of(cls, records: Iterable[Record]) -> Told:
        """Read the alert topics."""
        alerts: dict[str, list[Transition]] = defaultdict(list)
        forms: dict[tuple[str, int], dict[Any, Record]] = defaultdict(dict)
        for record in records:
            alert = json.loads(record.value or b"{}")
            name = (alert["alert_id"], alert["revision"])
            if name not in forms:
                alerts[name[0]].append(Transition(record, alert))
            headers = tuple(header for header in record.headers if header[0] != "ce_time")
            forms[name].setdefault((record.topic, record.key, record.value, headers), record)
        return cls(dict(alerts), dict(forms))

    def episodes(self) -> list[Episode]:
        """Every alert cut where it was raised anew, in the order of revisions."""
        found: list[Episode] = []
        for transitions in self.alerts.values():
            current: Episode | None = None
            for transition in sorted(transitions, key=lambda one: one.alert["revision"]):
                if current is None or transition.alert["transition"] == "raised":
                    current = Episode([])
                    found.append(current)
                current.transitions.append(transition)
        return found

    def open(self) -> dict[str, int]:
        """The alerts that are open, with their newest revision."""
        newest = {name: max(found, key=lambda one: one.alert["revision"]) for name, found in self.alerts.items()}
        return {name: one.alert["revision"] for name, one in newest.items() if one.alert["status"] in OPEN}

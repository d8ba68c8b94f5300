"""Records as a worker writes them, and a screen without Kafka."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from streams.board.board_metrics import BoardMetrics
from streams.board.site_file import Room, Site
from streams.board.tiles import Filters
from streams.board.unit_board import UnitBoard

NOW: Final = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SITE: Final = Site(
    "Europe/Berlin", (Room("Room 1", "U1", ("01", "02")), Room("Room 2", "U1", ("03",))), {"U1-A": "Ring A"}
)


def alert_value(alert_id: str, revision: int = 1, **fields: Any) -> bytes:
    """The value of an alert record: a high one of patient p1 on chair 01 unless said otherwise."""
    message = {
        "alert_id": alert_id,
        "revision": revision,
        "rule": "low_magnesium",
        "rule_version": 3,
        "family": "low-magnesium",
        "status": "active",
        "transition": "raised",
        "reason": "condition_met",
        "priority": "high",
        "escalation": 0,
        "patient_id": "p1",
        "unit_id": "U1",
        "session_id": "s1",
        "chair": "01",
        "water_loop_id": "U1-A",
        "onset_at": NOW.isoformat(),
        "at": NOW.isoformat(),
        "summary": "Magnesium 0.8 mg/dL",
        "guidance": [{"text": "Correct magnesium first", "basis": "article line 16"}],
        "evidence": [
            {
                "kind": "lab_result",
                "id": "r1",
                "name": "magnesium",
                "value": 0.8,
                "unit": "mg/dL",
                "at": NOW.isoformat(),
            }
        ],
        "inhibited_by": [],
        "inhibits": [],
    }
    return json.dumps(message | fields).encode()


def session_value(session_id: str = "s1", patient_id: str | None = "p1", **fields: Any) -> bytes:
    """The value of a running session: on chair 01 of U1 for half an hour unless said otherwise."""
    message = {
        "session_id": session_id,
        "patient_id": patient_id,
        "unit_id": "U1",
        "machine_id": "M1",
        "chair": "01",
        "water_loop_id": "U1-A",
        "modality": "HD",
        "since": (NOW - timedelta(minutes=30)).isoformat(),
        "planned_minutes": 240,
        "elapsed_minutes": 30,
        "systolic_mmhg": 118.0,
        "systolic_at": NOW.isoformat(),
        "uf_rate_ml_h": 600.0,
        "uf_rate_at": NOW.isoformat(),
        "at": NOW.isoformat(),
    }
    return json.dumps(message | fields).encode()


def status_value(partition: int, at: datetime = NOW, **fields: Any) -> bytes:
    """The value of a healthy partition's status."""
    message = {
        "partition": partition,
        "now": at.isoformat(),
        "lag_seconds": 0.0,
        "recovering": False,
        "current": True,
        "patients": 3,
        "rules_hash": "x",
        "at": at.isoformat(),
    }
    return json.dumps(message | fields).encode()


class Unit:
    """A screen whose records and clocks a test moves by hand."""

    def __init__(self, site: Site = SITE, partitions: int = 2) -> None:
        self.time = NOW
        self.board = UnitBoard(site, partitions, BoardMetrics(), now=lambda: self.time, mono=self._mono)

    def _mono(self) -> float:
        return self.time.timestamp()

    def later(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def alert(self, alert_id: str, revision: int = 1, **fields: Any) -> None:
        self.board.take("alerts.active", alert_id.encode(), alert_value(alert_id, revision, **fields))

    def session(self, session_id: str = "s1", patient_id: str | None = "p1", **fields: Any) -> None:
        self.board.take("sessions.active", session_id.encode(), session_value(session_id, patient_id, **fields))

    def status(self, *partitions: int, **fields: Any) -> None:
        for partition in partitions:
            self.board.take("worker-status", str(partition).encode(), status_value(partition, self.time, **fields))

    def sees(self) -> None:
        """Let everything be well."""
        self.board.blindness.broker_answers(answers=True)
        self.board.blindness.is_read(done=True)
        self.status(0, 1)

    def answered(self, alert_id: str, by: str, action: str = "acknowledge", **fields: Any) -> None:
        message = {"type": "alert_response", "patient_id": "p1", "at": self.time.isoformat(), "alert_id": alert_id}
        value = json.dumps(message | {"by": by, "action": action} | fields).encode()
        self.board.take("clinical-events", b"p1", value)

    def reasons(self) -> dict[str, list[int]]:
        """Why the screen is blind, with the partitions."""
        return {reason["code"]: reason["partitions"] for reason in self.board.status()["blind"]["reasons"]}

    def room(self, **filters: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(json.dumps(self.board.room(Filters(filters))))
        return found

    def tile(self, chair: str = "01") -> dict[str, Any]:
        tiles = [tile for room in self.room()["rooms"] for tile in room["chairs"]] + self.room()["elsewhere"]
        found: dict[str, Any] = next(tile for tile in tiles if tile["chair"] == chair)
        return found

    def unreadable(self, topic: str, reason: str) -> float:
        return float(self.board.metrics.unreadable.labels(topic, reason)._value.get())

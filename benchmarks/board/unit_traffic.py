"""A made-up unit as its workers tell of it on Kafka: sessions, the life of its alerts, answers of its nurses. Pure.

Everything follows from the seed. Each transition has a number, which stands at the end of the alert's summary: so a
browser that shows it says which one it shows.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from benchmarks.board.unit_messages import KINDS, Kind, alert_value, encode
from models.topics import ALERTS_ACTIVE, ALERTS_UNIT, CLINICAL_EVENTS, SESSIONS_ACTIVE, WORKER_STATUS

CHAIRS_A_ROOM: Final = 25
ROOMS_A_UNIT: Final = 4
#: One alert in so many is of a patient who sits on no chair, or of a water loop.
_WITHOUT_CHAIR: Final = 40
_UNIT_ALERTS: Final = 200
#: How long a worker keeps an alert that is over on `alerts.active` here: days in the field, which no run waits for.
KEPT: Final = timedelta(seconds=30)
#: No alert ends sooner: raised, answered and over within one look of the screen, it would never be on it.
_LEAST_LIFE: Final = timedelta(seconds=5)
#: How long the unit has lived at the start, and how many transitions an alert of it has had in that time: three lives.
_LIVED: Final = timedelta(minutes=30)
_STEPS: Final = 24
#: A running session is told of every 30 s (contract, Topics).
SESSION_EVERY_S: Final = 30.0
#: Of a hundred transitions of alerts that are open: so many acknowledge or snooze one that waits for an answer.
_ANSWERS: Final = 20
_BEGIN_OR_END: Final = 25
_PRIORITIES: Final = ("high", "medium", "medium", "low", "low", "low")
_NURSES: Final = ("anna", "ben", "chiara", "deniz")


@dataclass(frozen=True, slots=True)
class Record:
    """A record to send; `owner` decides the partition, `at` is its timestamp."""

    topic: str
    key: str
    value: bytes | None
    owner: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What one transition puts on Kafka; without a `number` it is a tombstone."""

    alert_id: str
    number: int | None
    records: list[Record]


@dataclass(slots=True, eq=False)
class LiveAlert:
    """An alert and how far its life has come."""

    alert_id: str
    kind: Kind
    subject: dict[str, Any]
    onset: datetime
    priority: str
    status: str = "active"
    revision: int = 0
    escalation: int = 0
    value: float = 0.0

    @property
    def owner(self) -> str:
        """Who decides its partition."""
        return str(self.subject["patient_id"] or self.subject["water_loop_id"])


@dataclass
class UnitTraffic:
    """The unit, which `transition` moves on by one step."""

    seed: int = 1
    chairs: int = 500
    wanted: int = 2000
    open: list[LiveAlert] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._over: deque[tuple[datetime, LiveAlert]] = deque()
        self._session = 0

    # -- what stands still

    def site(self) -> str:
        """Return the site's file."""
        lines = ['zone = "Europe/Berlin"']
        for room in range(-(-self.chairs // CHAIRS_A_ROOM)):
            names = [self._chair(number) for number in self._of_room(room)]
            unit = self._unit(room * CHAIRS_A_ROOM)
            lines += ["", "[[rooms]]", f'name = "Room {room + 1}"', f'unit = "{unit}"', f"chairs = {names}"]
        for unit in dict.fromkeys(self._unit(number) for number in range(self.chairs)):
            lines += ["", "[[water_loops]]", f'id = "{unit}-A"', f'name = "Ring {unit}"']
        return "\n".join(lines).replace("'", '"') + "\n"

    def _of_room(self, room: int) -> range:
        return range(room * CHAIRS_A_ROOM, min(self.chairs, (room + 1) * CHAIRS_A_ROOM))

    @staticmethod
    def _chair(number: int) -> str:
        return f"{number // CHAIRS_A_ROOM + 1:02}-{number % CHAIRS_A_ROOM + 1:02}"

    @staticmethod
    def _unit(number: int) -> str:
        return f"U{number // (CHAIRS_A_ROOM * ROOMS_A_UNIT) + 1}"

    def _subject(self, number: int) -> dict[str, Any]:
        unit = self._unit(number)
        return {
            "patient_id": f"P-{10_000 + number}", "unit_id": unit, "session_id": f"S-{10_000 + number}",
            "chair": self._chair(number), "water_loop_id": f"{unit}-A",
        }  # fmt: skip

    # -- sessions and statuses

    def session(self, number: int, now: datetime) -> Record:
        """Return the session on a chair as it is told of now."""
        subject = self._subject(number)
        elapsed = 15 + number * 37 % 200
        at = (now - timedelta(seconds=number % 30)).isoformat()
        message = {
            **subject, "machine_id": f"M-{number}", "modality": "HD", "planned_minutes": 240,
            "since": (now - timedelta(minutes=elapsed)).isoformat(), "elapsed_minutes": elapsed,
            "systolic_mmhg": self._random.randint(95, 160), "systolic_at": at,
            "uf_rate_ml_h": self._random.randint(300, 900), "uf_rate_at": at, "at": now.isoformat(),
        }  # fmt: skip
        return Record(SESSIONS_ACTIVE, subject["session_id"], encode(message), subject["patient_id"])

    def next_session(self, now: datetime) -> Record:
        """Return the session of the next chair in turn."""
        self._session = (self._session + 1) % self.chairs
        return self.session(self._session, now)

    @staticmethod
    def status(partition: int, now: datetime) -> Record:
        """Return what the owner of a partition says of it, as a healthy one does."""
        message = {
            "partition": partition, "now": now.isoformat(), "lag_seconds": 0.1, "recovering": False, "current": True,
            "patients": 40, "rules_hash": "0" * 16, "at": now.isoformat(),
        }  # fmt: skip
        return Record(WORKER_STATUS, str(partition), encode(message), str(partition))

    # -- alerts

    def opening(self, now: datetime) -> Iterator[Sent]:
        """Yield how the wanted number of alerts came to be as it will stay: some old, some new, half of them answered.

        A unit whose alerts were all raised just now would change its make-up while it is measured, and its memory too.
        """
        start, steps = now - _LIVED, _STEPS * self.wanted
        for _ in range(self.wanted):
            yield self._step(self._new(start), start, "raised", "condition_met")
        for step in range(steps):
            at = start + (step + 1) / steps * _LIVED
            yield self.transition(at)
            yield from self.tombstones(at)

    def past(self, alerts: int, now: datetime) -> Iterator[Record]:
        """Yield the lives of alerts of the last 23 h that are over: only their stories are left on Kafka."""
        for index in range(alerts):
            at = now - timedelta(hours=23) * (1 - index / alerts)
            for step in self._life(at):
                yield from (record for record in step.records if record.topic != ALERTS_ACTIVE)

    def _life(self, at: datetime) -> Iterator[Sent]:
        alert = self._new(at)
        yield self._step(alert, at, "raised", "condition_met")
        for minute in range(1, 4):
            yield self._update(alert, at + timedelta(minutes=minute))
        yield self._answer(alert, at + timedelta(minutes=4))
        for minute in range(5, 7):
            yield self._update(alert, at + timedelta(minutes=minute))
        self._close(alert)
        alert.status = "resolved"
        yield self._step(alert, at + timedelta(minutes=8), "resolved", "condition_cleared")

    def transition(self, now: datetime) -> Sent:
        """Move one alert on by a step of its life; about the wanted number stays open."""
        die = self._random.randrange(100)
        if die < _BEGIN_OR_END:
            if len(self.open) < self.wanted:
                return self._step(self._new(now), now, "raised", "condition_met")
            return self._end(now)
        alert = self._random.choice(self.open)
        if alert.status == "active" and die < _BEGIN_OR_END + 2 * _ANSWERS:  # half of the alerts wait for an answer
            return self._answer(alert, now)
        return self._update(alert, now)

    def tombstones(self, now: datetime) -> Iterator[Sent]:
        """Yield the tombstones of alerts that have been over for long enough."""
        while self._over and now - self._over[0][0] >= KEPT:
            _, alert = self._over.popleft()
            yield Sent(alert.alert_id, None, [Record(ALERTS_ACTIVE, alert.alert_id, None, alert.owner)])

    def _new(self, at: datetime) -> LiveAlert:
        kind = self._random.choice(KINDS)
        subject = self._subject(self._random.randrange(self.chairs))
        if self._random.randrange(_UNIT_ALERTS) == 0:
            subject |= {"patient_id": None, "session_id": None, "chair": None}
        elif self._random.randrange(_WITHOUT_CHAIR) == 0:
            subject |= {"patient_id": f"P-{self._random.randrange(90_000, 90_100)}", "session_id": None, "chair": None}
        alert = LiveAlert(
            str(UUID(int=self._random.getrandbits(128))), kind, subject, at, self._random.choice(_PRIORITIES)
        )
        self.open.append(alert)
        return alert

    def _end(self, now: datetime) -> Sent:
        """End an alert; every other try passes over one that nobody has answered."""
        alert = self._random.choice(self.open)
        if alert.status == "active":
            alert = self._random.choice(self.open)
        if now - alert.onset < _LEAST_LIFE:
            return self._update(alert, now)
        self._close(alert)
        alert.status = "resolved"
        self._over.append((now, alert))
        return self._step(alert, now, "resolved", "condition_cleared")

    def _close(self, alert: LiveAlert) -> None:
        """Take an alert out of the open ones; the last one takes its place."""
        last = self.open.pop()
        if last is not alert:
            self.open[self.open.index(alert)] = last

    def _update(self, alert: LiveAlert, now: datetime) -> Sent:
        if alert.status == "active" and alert.escalation < 2 and self._random.randrange(8) == 0:
            alert.escalation += 1
            return self._step(alert, now, "escalated", "unacknowledged")
        if alert.status != "active" and self._random.randrange(3) == 0:
            alert.status = "active"
            return self._step(alert, now, "updated", "unacknowledged_by_person")
        return self._step(alert, now, "updated", "evidence_changed")

    def _answer(self, alert: LiveAlert, now: datetime) -> Sent:
        snoozes = self._random.randrange(4) == 0
        alert.status, action = ("snoozed", "snooze") if snoozes else ("acknowledged", "acknowledge")
        done = self._step(alert, now, alert.status, alert.status)
        said = {
            "type": "alert_response", "patient_id": alert.owner, "alert_id": alert.alert_id, "action": action,
            "by": self._random.choice(_NURSES), "at": now.isoformat(), "reason": None,
            "until": (now + timedelta(minutes=15)).isoformat() if snoozes else None,
        }  # fmt: skip
        done.records.insert(0, Record(CLINICAL_EVENTS, alert.owner, encode(said), alert.owner, now))
        return done

    def _step(self, alert: LiveAlert, now: datetime, transition: str, reason: str) -> Sent:
        self.number += 1
        alert.revision += 1
        alert.value = round(self._random.uniform(*alert.kind.span), 2)
        message = {
            "alert_id": alert.alert_id, "revision": alert.revision, "status": alert.status, "transition": transition,
            "reason": reason, "priority": alert.priority, "escalation": alert.escalation, **alert.subject,
            "onset_at": alert.onset.isoformat(), "at": now.isoformat(),
        }  # fmt: skip
        value = alert_value(alert.kind, message, alert.value, self.number, now)
        topic = f"alerts.{alert.kind.family}" if alert.subject["patient_id"] else ALERTS_UNIT
        records = [
            Record(ALERTS_ACTIVE, alert.alert_id, value, alert.owner, now),
            Record(topic, alert.owner, value, alert.owner, now),
        ]
        return Sent(alert.alert_id, self.number, records)

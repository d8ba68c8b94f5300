"""A simulated nurse who acknowledges some of the alerts, so that the demo shows a whole life cycle."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from models.alerts import Alert, Priority, Status
from models.settings import Settings
from models.topics import CLINICAL_EVENTS
from streams.demo.screen_state import ScreenState
from streams.kafka.clients import explained, producer_client

#: The share of alerts that get an answer, and the bounds of its delay, seconds.
_ANSWERED: Final = 0.6
_SOONEST: Final = 20.0
_LATEST: Final = 40.0
_BY: Final = "demo-nurse"
_LOOK_S: Final = 0.5


class Nurse:
    """Decides once for each alert and priority whether and when to acknowledge it."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)  # noqa: S311 (a simulation, no secret)
        self._plans: dict[tuple[str, Priority], float | None] = {}

    def due(self, alerts: Iterable[Alert], now: float) -> Alert | None:
        """Return the next alert to acknowledge now, if any; `now` is in seconds of any clock."""
        for alert in alerts:
            if alert.status is not Status.ACTIVE or alert.patient_id is None:
                continue
            plan = alert.alert_id, alert.priority
            if plan not in self._plans:
                willing = self._rng.random() < _ANSWERED
                delay = self._rng.uniform(_SOONEST, _LATEST)
                self._plans[plan] = now + delay if willing else None
            at = self._plans[plan]
            if at is not None and at <= now:
                self._plans[plan] = None
                return alert
        return None


def answer(alert: Alert, at: datetime) -> bytes:
    """Encode the `alert_response` that acknowledges an alert."""
    return msgspec.json.encode(
        {
            "type": "alert_response",
            "patient_id": alert.patient_id,
            "at": at,
            "alert_id": alert.alert_id,
            "by": _BY,
            "action": "acknowledge",
        }
    )


async def attend(settings: Settings, screen_state: ScreenState, seed: int, is_live: Callable[[], bool]) -> None:
    """Acknowledge alerts for ever, once the unit is live.

    Raises:
        KafkaFailedError: The broker does not do what is needed.
    """
    nurse, topic = Nurse(seed), settings.topic(CLINICAL_EVENTS)
    async with explained(settings), producer_client(settings) as producer:
        while True:
            await asyncio.sleep(_LOOK_S)
            if is_live() and (alert := nurse.due(screen_state.ranked(), time.monotonic())):
                key = (alert.patient_id or "").encode()
                await producer.send_and_wait(topic, answer(alert, datetime.now(UTC)), key)

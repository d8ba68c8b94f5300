"""The state of a screen: open alerts, patients by chair, transitions, and whether the worker sends its status.

Pure: it receives records and never reads a clock. It follows the contract: it drops repeats of an (alert_id, revision),
no alert goes back to an older revision, a tombstone removes its entry.
"""

from collections import Counter, deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec
from pydantic import ValidationError

from models.alerts import Alert, Priority, Status

#: A reader that has seen no `worker-status` for this long is blind (contract, Topics).
BLIND: Final = timedelta(seconds=10)
#: The number of newest transitions that are kept for the screen.
_KEPT: Final = 50


class Seat(msgspec.Struct, frozen=True):
    """A running session: the fields of `sessions.active` that the screen uses."""

    session_id: str
    patient_id: str
    chair: str | None
    since: datetime
    at: datetime
    systolic_mmhg: float | None = None


class WorkerWord(msgspec.Struct, frozen=True):
    """The status of a partition's owner: the fields of `worker-status` that the screen uses."""

    partition: int
    at: datetime
    recovering: bool = False


_seat: Final = msgspec.json.Decoder(Seat)
_word: Final = msgspec.json.Decoder(WorkerWord)


class ScreenState:
    """The present state, from all records so far."""

    def __init__(self) -> None:
        #: Alerts that are not over, by id.
        self.open: dict[str, Alert] = {}
        #: Running sessions, by id.
        self.seats: dict[str, Seat] = {}
        #: Number of transitions by (rule, kind), without repeats.
        self.counts: Counter[tuple[str, str]] = Counter()
        #: The newest transitions, oldest first.
        self.latest: deque[Alert] = deque(maxlen=_KEPT)
        self.dead_letters = 0
        #: Number of the worker's records that could not be decoded; there should be none.
        self.strange = 0
        self._newest: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._words: dict[int, WorkerWord] = {}

    # -- records

    def alert(self, alert_id: str, value: bytes | None) -> None:
        """Take a record of `alerts.active`."""
        if value is None:
            self.open.pop(alert_id, None)
            return
        alert = self._decode(value)
        if alert is None or alert.revision <= self._newest.get(alert_id, 0):
            return
        self._newest[alert_id] = alert.revision
        if alert.status.is_open:
            self.open[alert_id] = alert
        else:
            self.open.pop(alert_id, None)

    def transition(self, value: bytes | None) -> Alert | None:
        """Take a record of an alert family; return its transition if it is new."""
        alert = None if value is None else self._decode(value)
        if alert is None or alert.revision <= self._told.get(alert.alert_id, 0):
            return None
        self._told[alert.alert_id] = alert.revision
        self.counts[alert.rule, alert.transition] += 1
        self.latest.append(alert)
        return alert

    def session(self, session_id: str, value: bytes | None) -> None:
        """Take a record of `sessions.active`."""
        if value is None:
            self.seats.pop(session_id, None)
            return
        try:
            seat = _seat.decode(value)
        except msgspec.DecodeError:
            self.strange += 1
            return
        before = self.seats.get(session_id)
        if before is None or seat.at >= before.at:
            self.seats[session_id] = seat

    def worker_status(self, value: bytes | None) -> None:
        """Take a record of `worker-status`."""
        if value is None:
            return
        try:
            word = _word.decode(value)
        except msgspec.DecodeError:
            self.strange += 1
            return
        self._words[word.partition] = word

    def _decode(self, value: bytes) -> Alert | None:
        try:
            return Alert.model_validate_json(value)
        except ValidationError:
            self.strange += 1
            return None

    # -- queries

    def silence(self, now: datetime) -> timedelta | None:
        """Return the time since the newest status of any partition's owner; None if none ever came."""
        newest = max((word.at for word in self._words.values()), default=None)
        return None if newest is None else now - newest

    def is_blind(self, now: datetime) -> bool:
        """Whether a reader cannot know that alerts still come."""
        silence = self.silence(now)
        return silence is None or silence > BLIND

    def partitions(self, now: datetime) -> int:
        """Count the partitions whose owner sent a status recently and has recovered its state."""
        return sum(now - word.at <= BLIND and not word.recovering for word in self._words.values())

    def by_priority(self) -> dict[Priority, int]:
        """Count the open alerts by priority, the highest first."""
        tally = Counter(alert.priority for alert in self.open.values())
        return {priority: tally[priority] for priority in reversed(Priority)}

    def ranked(self) -> list[Alert]:
        """Return the open alerts that a screen shows, the most urgent first; `info` is shown on request only."""
        shown = [alert for alert in self.open.values() if alert.priority is not Priority.INFO]
        return sorted(shown, key=_urgency)

    def chairs(self) -> dict[str, Seat]:
        """Return the session on each chair; if an old one has not ended yet, the newer one."""
        found: dict[str, Seat] = {}
        for seat in sorted(self.seats.values(), key=lambda seat: seat.since):
            if seat.chair is not None:
                found[seat.chair] = seat
        return found

    def worst_by_patient(self) -> dict[str, Alert]:
        """Return the most urgent open alert of each patient."""
        found: dict[str, Alert] = {}
        for alert in self.ranked():
            if alert.patient_id is not None:
                found.setdefault(alert.patient_id, alert)
        return found


def _urgency(alert: Alert) -> tuple[int, bool, int, float]:
    """Sort by priority, then the unanswered, then the most escalated, then the newest."""
    return -alert.priority.rank, alert.status is not Status.ACTIVE, -alert.escalation, -alert.at.timestamp()


def kinds(counts: Counter[tuple[str, str]]) -> Iterable[tuple[str, dict[str, int]]]:
    """Yield each rule with its number of transitions by kind, the rule with the most first."""
    totals: Counter[str] = Counter()
    for (rule, _), number in counts.items():
        totals[rule] += number
    for rule, _ in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        yield rule, {kind: number for (name, kind), number in sorted(counts.items()) if name == rule}

"""The newest state of the topics: open alerts, running sessions, and what changed since it was last asked.

Pure. It follows the contract: repeats of an (alert_id, revision) are dropped, no alert goes back to an older revision,
a tombstone removes its entry. Everything in it is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from streams.board.foreign_records import (
    ShownAlert,
    ShownSession,
    Unreadable,
    UnreadableError,
    read_alert,
    read_session,
)

#: More alerts and sessions than these come from no unit; further ones are refused and counted.
MOST_ALERTS: Final = 20_000
MOST_SESSIONS: Final = 10_000
#: The most bytes of messages that are kept.
MOST_BYTES: Final = 256 * 1024 * 1024
#: How many alerts that were removed are remembered by revision, so that an older record does not bring one back.
_MOST_BURIED: Final = 20_000

#: A chair by unit and name; the unit is null where nobody says it.
ChairKey = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class KeptAlert:
    """An alert with the bytes of its newest message, from which its own page is read."""

    alert: ShownAlert
    raw: bytes


@dataclass(slots=True)
class Changes:
    """What changed: alerts by id (also removed ones), and chairs."""

    alerts: set[str] = field(default_factory=set)
    chairs: set[ChairKey] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.alerts or self.chairs)


class Picture:
    """Alerts by id, sessions by id, and who sits where."""

    def __init__(self) -> None:
        self.alerts: dict[str, KeptAlert] = {}
        self.sessions: dict[str, ShownSession] = {}
        self._by_patient: dict[str, set[str]] = {}
        self._bytes = 0
        self._buried: dict[str, int] = {}
        self._changes = Changes()
        self._seated: dict[str, ChairKey] = {}
        self._seats: dict[ChairKey, ShownSession] | None = None
        self._places: dict[str, ChairKey] = {}

    # -- records

    def take_alert(self, key: str, raw: bytes | None) -> ShownAlert | None:
        """Take a record of `alerts.active`; return its alert if it is news.

        Raises:
            UnreadableError: It cannot be used; nothing has changed.
        """
        if raw is None:
            self._bury(key)
            return None
        alert = read_alert(raw)
        if alert.alert_id != key:
            raise UnreadableError(Unreadable.OTHER_KEY)
        kept = self.alerts.get(key)
        if kept is not None and alert.revision <= kept.alert.revision:
            return None
        if alert.revision < self._buried.get(key, 0):
            return None
        if kept is None and (len(self.alerts) >= MOST_ALERTS or self._bytes >= MOST_BYTES):
            raise UnreadableError(Unreadable.FULL)
        self._forget(key)
        self.alerts[key] = KeptAlert(alert, raw)
        self._bytes += len(raw)
        if alert.patient_id is not None:
            self._by_patient.setdefault(alert.patient_id, set()).add(key)
        self.touch(key)
        return alert

    def take_session(self, key: str, raw: bytes | None) -> ShownSession | None:
        """Take a record of `sessions.active`; return its session if it is news.

        Raises:
            UnreadableError: It cannot be used; nothing has changed.
        """
        if raw is None:
            if before := self.sessions.pop(key, None):
                self._moved(before)
            return None
        session = read_session(raw)
        if session.session_id != key:
            raise UnreadableError(Unreadable.OTHER_KEY)
        before = self.sessions.get(key)
        if before is None and len(self.sessions) >= MOST_SESSIONS:
            raise UnreadableError(Unreadable.FULL)
        if before is not None and session.at < before.at:
            return None
        self.sessions[key] = session
        for each in (before, session):
            if each is not None:
                self._moved(each)
        return session

    def _moved(self, session: ShownSession) -> None:
        self._seats = None
        if session.chair is not None:
            self._changes.chairs.add((session.unit_id, session.chair))

    def _bury(self, key: str) -> None:
        kept = self._forget(key)
        if kept is None:
            return
        # The newest record of a key is the truth: the same revision after a tombstone is the owner's correction.
        self._buried[key] = kept.alert.revision
        while len(self._buried) > _MOST_BURIED:
            del self._buried[next(iter(self._buried))]
        self._changes.alerts.add(key)
        self._touch_chair(kept.alert)

    def _forget(self, key: str) -> KeptAlert | None:
        kept = self.alerts.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept.raw)
        if kept is not None and kept.alert.patient_id is not None:
            ids = self._by_patient.get(kept.alert.patient_id, set())
            ids.discard(key)
            if not ids:
                self._by_patient.pop(kept.alert.patient_id, None)
        return kept

    # -- changes

    def touch(self, key: str) -> None:
        """Note that what is shown of an alert has changed."""
        kept = self.alerts.get(key)
        if kept is not None:
            self._changes.alerts.add(key)
            self._touch_chair(kept.alert)

    def _touch_chair(self, alert: ShownAlert) -> None:
        place = self.place_of(alert.patient_id)
        if place is not None:
            self._changes.chairs.add(place)

    def changes(self) -> Changes:
        """Return what changed since the last call, alerts of patients who moved included."""
        seats = self.seats()
        seated = {session.patient_id: key for key, session in seats.items() if session.patient_id is not None}
        if seated != self._seated:
            for patient in self._seated.keys() | seated.keys():
                if self._seated.get(patient) != seated.get(patient):
                    self._changes.alerts |= self._by_patient.get(patient, set())
                    self._changes.chairs |= {at for at in (self._seated.get(patient), seated.get(patient)) if at}
            self._seated = seated
        changes, self._changes = self._changes, Changes()
        return changes

    # -- queries

    def seats(self) -> dict[ChairKey, ShownSession]:
        """Return the session on each chair; where an older one has not ended, the newer."""
        if self._seats is None:
            found: dict[ChairKey, ShownSession] = {}
            for session in sorted(self.sessions.values(), key=lambda each: (each.since, each.at)):
                if session.chair is not None:
                    found[session.unit_id, session.chair] = session
            self._seats = found
            self._places = {each.patient_id: key for key, each in found.items() if each.patient_id is not None}
        return self._seats

    def place_of(self, patient_id: str | None) -> ChairKey | None:
        """Return the chair on which a patient sits now."""
        self.seats()
        return self._places.get(patient_id) if patient_id is not None else None

    def session_of(self, patient_id: str | None) -> ShownSession | None:
        """Return the session of a patient who sits on a chair."""
        place = self.place_of(patient_id)
        return self.seats()[place] if place is not None else None

    def of_patient(self, patient_id: str | None) -> list[ShownAlert]:
        """Return the alerts of a patient, in no order."""
        return [self.alerts[key].alert for key in self._by_patient.get(patient_id or "", ())]

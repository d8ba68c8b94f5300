"""The JSON of the interface: tiles of chairs, alerts in short and in full. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from models.alerts import Priority, Status
from streams.board.answer_desk import AnswerDesk, Limits, planned_end
from streams.board.foreign_records import AlertDetail, Measured, ShownAlert, ShownSession, read_detail
from streams.board.journal import Journal, Story
from streams.board.picture import ChairKey, Changes, Picture
from streams.board.seating import Place, Seating
from streams.board.site_file import Site
from streams.rules.catalogue import ALL_RULES

Json = dict[str, Any]
#: Filters of a screen's address; each may name several values, separated by commas.
FILTERS: Final = ("unit", "room", "priority", "family")


@cache
def _titles() -> dict[str, str]:
    return {rule.name: rule.title for rule in ALL_RULES}


def title(rule: str) -> str:
    """Return what a rule is called; a rule of a newer version has its name in place of a title."""
    return _titles().get(rule) or rule.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Filters:
    """What a screen shows: everything, where a filter is empty."""

    words: dict[str, str] = field(default_factory=dict)

    def allows(self, name: str, value: str | None) -> bool:
        """Return whether a value passes a filter."""
        wanted = self.words.get(name)
        return not wanted or value in wanted.split(",")

    def allows_alert(self, alert: ShownAlert) -> bool:
        """Return whether an alert is shown."""
        return self.allows("priority", alert.priority.value) and self.allows("family", alert.family)

    def allows_place(self, place: Place) -> bool:
        """Return whether a chair is shown."""
        return self.allows("room", place.room) and self.allows("unit", place.unit_id)


class Tiles:
    """Draws picture, journal and answers as the interface names them."""

    def __init__(self, site: Site, picture: Picture, journal: Journal, desk: AnswerDesk, limits: Limits) -> None:
        self._site, self._picture, self._journal, self._desk, self._limits = site, picture, journal, desk, limits
        # The first room that names a chair; searched for each alert that is drawn.
        named = [((room.unit, chair), room.name) for room in site.rooms for chair in room.chairs]
        self._rooms = dict(reversed(named))
        #: Where each chair that is taken was drawn when changes were last told of.
        self._drawn = self._seating().seated

    # -- whole pages

    def room(self, filters: Filters, now: datetime) -> Json:
        """Return rooms, chairs elsewhere, alerts without a chair and unit alerts."""
        seating = self._seating()
        rooms = []
        for room, drawn in seating.rooms:
            chairs = [
                self.tile(place, session, filters, now) for place, session in drawn if filters.allows_place(place)
            ]
            if chairs:
                rooms.append({"name": room.name, "unit_id": room.unit, "chairs": chairs})
        elsewhere = [
            self.tile(place, session, filters, now)
            for place, session in seating.elsewhere
            if filters.allows_place(place)
        ]
        loose = [
            kept.alert
            for kept in self._picture.alerts.values()
            if self.is_shown(kept.alert)
            and filters.allows_alert(kept.alert)
            and filters.allows("unit", kept.alert.unit_id)
            and self._picture.place_of(kept.alert.patient_id) is None
        ]
        return {
            "rooms": rooms,
            "elsewhere": elsewhere,
            "without_chair": self._ranked((alert for alert in loose if alert.patient_id is not None), now),
            "unit_alerts": self._ranked((alert for alert in loose if alert.patient_id is None), now),
        }

    def change(self, changes: Changes, now: datetime) -> Json | None:
        """Return what changed as an event; None where nothing of it is shown."""
        tiles = self._changed_tiles(changes.chairs, now)
        shown, gone = [], []
        for name in sorted(changes.alerts):
            kept = self._picture.alerts.get(name)
            if kept is not None and self.is_shown(kept.alert):
                shown.append(self.short(kept.alert, now))
            else:
                gone.append(name)
        return {"tiles": tiles, "alerts": shown, "gone": gone} if tiles or shown or gone else None

    def _changed_tiles(self, chairs: set[ChairKey], now: datetime) -> list[Json]:
        """Return the tiles of chairs, and of those that another session moves: two units may have a chair of one name.

        What was left comes first, empty: whoever sits there now is drawn over it.
        """
        seats, before, after = self._picture.seats(), self._drawn, self._seating().seated
        self._drawn = after
        moved = {key for key, place in before.items() if after.get(key, place) != place}
        touched = sorted(chairs | moved, key=lambda each: (each[0] or "", each[1]))
        left = [before[key] for key in touched if key in before and before[key] != after.get(key)]
        return [self.tile(place, None, Filters(), now) for place in left] + [
            self.tile(after[key], seats[key], Filters(), now) for key in touched if key in after
        ]

    def _seating(self) -> Seating:
        return Seating(self._site, self._picture.seats())

    # -- parts

    def is_shown(self, alert: ShownAlert) -> bool:
        """Return whether a room shows an alert: while it is open, and after it while nobody has answered or looked."""
        return alert.priority is not Priority.INFO and (alert.status.is_open or self._is_unacknowledged(alert))

    def _is_unacknowledged(self, alert: ShownAlert) -> bool:
        """Return whether an alert is over and nobody answered (ISA-18.2), until somebody looks."""
        if alert.status.is_open or alert.priority is Priority.INFO:
            return False
        story = self._journal.story(alert.alert_id)
        return alert.acknowledged_at is None and not story.is_answered() and not story.is_seen

    def tile(self, place: Place, session: ShownSession | None, filters: Filters, now: datetime) -> Json:
        """Return a chair with the session on it, if any: times as ISO 8601, systolic in mm[Hg], UF rate in mL/h."""
        alerts = [
            alert
            for alert in self._picture.of_patient(session.patient_id if session else None)
            if self.is_shown(alert) and filters.allows_alert(alert)
        ]
        opened = [alert for alert in alerts if alert.status.is_open]
        return {
            "chair": place.chair,
            "room": place.room,
            "unit_id": place.unit_id,
            **_seen(session, now),
            "priority": max((alert.priority for alert in opened), key=lambda each: each.rank, default=None),
            "unacknowledged": sum(alert.status is Status.ACTIVE for alert in opened),
            "alerts": self._ranked(alerts, now),
        }

    def _ranked(self, alerts: Iterable[ShownAlert], now: datetime) -> list[Json]:
        return [self.short(alert, now) for alert in sorted(alerts, key=_urgency)]

    def short(self, alert: ShownAlert, now: datetime) -> Json:
        """Return an alert in short."""
        story = self._journal.story(alert.alert_id)
        by, at, until = _answered(alert, story)
        answer = self._desk.of(alert.alert_id)
        place = self._picture.place_of(alert.patient_id)
        drawn = self._seating_place(place) if place else None
        return {
            "alert_id": alert.alert_id,
            "rule": alert.rule,
            "title": title(alert.rule),
            "family": alert.family,
            "priority": alert.priority.value,
            "status": alert.status.value,
            "revision": alert.revision,
            "escalation": alert.escalation,
            "summary": alert.summary,
            "at": alert.at.isoformat(),
            "raised_at": alert.onset_at.isoformat(),
            "acknowledged_by": by,
            "acknowledged_at": at.isoformat() if at else None,
            "snoozed_until": until.isoformat() if until else None,
            "inhibited_by": alert.inhibited_by[0] if alert.inhibited_by else None,
            "ended_unacknowledged": self._is_unacknowledged(alert),
            "answer": answer.told(now) if answer else None,
            "patient_id": alert.patient_id,
            "unit_id": alert.unit_id,
            "chair": place[1] if place else alert.chair,
            "room": drawn.room if drawn else None,
            "place": "chair" if place else "unit" if alert.patient_id is None else "without_chair",
            "water_loop_id": alert.water_loop_id,
            "water_loop": self._site.water_loops.get(alert.water_loop_id or "", alert.water_loop_id),
        }

    def _seating_place(self, key: tuple[str | None, str]) -> Place:
        return Place(key[1], self._rooms.get(key) or self._rooms.get((None, key[1])), key[0])

    def full(self, alert_id: str, now: datetime) -> Json | None:
        """Return an alert in full; None if it is not known."""
        kept = self._picture.alerts.get(alert_id)
        if kept is None:
            return None
        detail = read_detail(kept.raw)
        return {
            **self.short(kept.alert, now),
            "guidance": [{"text": each.text, "basis": each.basis} for each in detail.guidance],
            "evidence": [_measured(each) for each in detail.evidence],
            "context": _curve(detail),
            "context_unit": _unit(detail),
            "bound": {"value": detail.bound.value, "unit": detail.bound.unit} if detail.bound else None,
            "inhibits": list(kept.alert.inhibits),
            "inhibited_by_all": list(kept.alert.inhibited_by),
            "history": self._journal.story(alert_id).told(),
            "snooze_most_minutes": self._limits.of(kept.alert.priority) // timedelta(minutes=1),
            "session_end": _iso(planned_end(self._picture.session_of(kept.alert.patient_id))),
        }


def _urgency(alert: ShownAlert) -> tuple[bool, int, bool, int, float, str]:
    """Sort open ones first, then by priority, the unanswered, the most escalated, the newest; by id where all agree."""
    return (
        not alert.status.is_open,
        -alert.priority.rank,
        alert.status is not Status.ACTIVE,
        -alert.escalation,
        -alert.at.timestamp(),
        alert.alert_id,
    )


def _answered(alert: ShownAlert, story: Story) -> tuple[str | None, datetime | None, datetime | None]:
    """Return who acknowledged or snoozed an alert, when, and until when it is snoozed."""
    if alert.status is Status.ACTIVE:
        return None, None, None
    moment = story.acknowledged()
    answer = story.answer_of(moment) if moment else None
    by = alert.acknowledged_by or (answer.by if answer else None)
    at = alert.acknowledged_at or (moment.at if moment else None)
    until = alert.snoozed_until or (answer.until if answer else None)
    return by, at, until if alert.status is Status.SNOOZED else None


def _seen(session: ShownSession | None, now: datetime) -> Json:
    if session is None:
        names = (
            "patient_id", "session_id", "since", "planned_minutes", "planned_end", "elapsed_minutes", "systolic_mmhg",
            "systolic_at", "uf_rate_ml_h", "uf_rate_at", "machine_id",
        )  # fmt: skip
        return dict.fromkeys(names)
    return {
        "patient_id": session.patient_id,
        "session_id": session.session_id,
        "since": session.since.isoformat(),
        "planned_minutes": session.planned_minutes,
        "planned_end": _iso(planned_end(session)),
        "elapsed_minutes": max(0, (now - session.since) // timedelta(minutes=1)),
        "systolic_mmhg": session.systolic_mmhg,
        "systolic_at": _iso(session.systolic_at),
        "uf_rate_ml_h": session.uf_rate_ml_h,
        "uf_rate_at": _iso(session.uf_rate_at),
        "machine_id": session.machine_id,
    }


def _measured(each: Measured) -> Json:
    return {
        "kind": each.kind,
        "id": each.id,
        "name": each.name,
        "value": each.value,
        "unit": each.unit,
        "at": each.at.isoformat(),
    }


def _values(detail: AlertDetail) -> list[Measured]:
    return [] if isinstance(detail.context, dict) else [each for each in detail.context if _is_number(each.value)]


def _curve(detail: AlertDetail) -> list[list[Any]]:
    """Return the earlier values and the one that decided as pairs of time and number; what is no number is left out."""
    return [[each.at.isoformat(), each.value] for each in (*_values(detail), *_decided(detail))]


def _decided(detail: AlertDetail) -> list[Measured]:
    """Return what decided: the first piece of evidence and the later ones on the same thing, if they are numbers."""
    if not detail.evidence:
        return []
    first = detail.evidence[0]
    same = [one for one in detail.evidence if (one.kind, one.name, one.unit) == (first.kind, first.name, first.unit)]
    told = {each.at for each in _values(detail)}
    return sorted((one for one in same if _is_number(one.value) and one.at not in told), key=lambda one: one.at)


def _unit(detail: AlertDetail) -> str | None:
    return next((each.unit for each in (*_values(detail), *_decided(detail)) if each.unit), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None

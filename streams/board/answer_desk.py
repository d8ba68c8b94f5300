"""People's answers: what a browser asks for becomes an `alert_response`, which is followed until it comes back.

Pure. An answer is `sent` once Kafka has it, `done` when the alert's transition comes back, `late` after 5 s without it.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from models.alerts import Priority, Status
from models.events import ResponseAction
from models.text import one_line
from models.topics import CLINICAL_EVENTS, UNIT_SIGNALS
from streams.board.foreign_records import ShownAlert, ShownSession
from streams.board.languages import filled

#: An answer whose transition has not come back after so many seconds is late.
LATE_S: Final = 5.0
_LONGEST_REASON: Final = 500
_MOST: Final = 5000
_FIELDS: Final = frozenset({"action", "minutes", "until", "until_session_end", "reason"})
#: The status that tells that an answer has arrived; a resolve ends the alert.
_COMES_BACK: Final = {
    ResponseAction.ACKNOWLEDGE: Status.ACKNOWLEDGED,
    ResponseAction.UNACKNOWLEDGE: Status.ACTIVE,
    ResponseAction.SNOOZE: Status.SNOOZED,
}
#: The statuses to which an action has nothing to add.
_NOTHING_TO_DO: Final = {
    (ResponseAction.ACKNOWLEDGE, Status.ACKNOWLEDGED): ("refused_acknowledged", "The alert is acknowledged already."),
    (ResponseAction.UNACKNOWLEDGE, Status.ACTIVE): (
        "refused_unacknowledged",
        "The alert is not acknowledged, so there is nothing to take back.",
    ),
}
_TOO_LONG: Final = {
    True: ("refused_snooze_high", "An alert of priority high rests at most {minutes} min: choose a shorter snooze."),
    False: ("refused_snooze", "An alert rests at most {minutes} min: choose a shorter snooze."),
}
_encode: Final = msgspec.json.Encoder().encode


class AnswerRefusedError(Exception):
    """The answer cannot be given: the HTTP status, the field at fault, and one sentence with the fix.

    A sentence that a person can meet on a page has a key among the texts, and values for their places; one that only
    a program can meet has none, and stays English.
    """

    def __init__(
        self, status: int, sentence: str, field: str | None = None, key: str = "", **values: str | int
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.field = field
        self.key = key
        self.values = values


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest snooze of an alert of priority high, and of every other one."""

    high: timedelta = timedelta(minutes=30)
    other: timedelta = timedelta(hours=12)

    def of(self, priority: Priority) -> timedelta:
        """Return how long an alert of a priority may be snoozed."""
        return self.high if priority is Priority.HIGH else self.other


#: Where no setting says otherwise.
USUAL: Final = Limits()


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: topic without prefix, key and value."""

    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A checked answer of a person to an alert at one of its revisions; `until` ends a snooze."""

    alert_id: str
    revision: int
    action: ResponseAction
    by: str
    at: datetime
    until: datetime | None = None
    reason: str | None = None
    is_done: bool = False

    def told(self, now: datetime) -> dict[str, Any]:
        """Return the answer as the interface names it."""
        late = now - self.at >= timedelta(seconds=LATE_S)
        return {
            "action": self.action.value,
            "state": "done" if self.is_done else "late" if late else "sent",
            "by": self.by,
            "at": self.at.isoformat(),
        }

    def message(self, alert: ShownAlert) -> Message:
        """Build the `alert_response`: on the topic, and under the key, where the worker looks for it."""
        value = {
            "type": "alert_response",
            "event_id": f"board-{uuid.uuid4()}",
            "source": "board",
            "at": self.at.astimezone(UTC),
            "alert_id": self.alert_id,
            "by": self.by,
            "action": self.action,
        }
        if self.until is not None:
            value["until"] = self.until.astimezone(UTC)
        if self.reason:
            value["reason"] = self.reason
        if alert.patient_id is not None:
            value["patient_id"] = alert.patient_id
            return Message(CLINICAL_EVENTS, alert.patient_id.encode(), _encode(value))
        loop = alert.water_loop_id or alert.unit_id or ""
        value["water_loop_id"] = loop
        return Message(UNIT_SIGNALS, loop.encode(), _encode(value))


def checked(
    body: Any, alert: ShownAlert, session: ShownSession | None, by: str, now: datetime, limits: Limits
) -> Answer:
    """Check a browser's answer.

    Args:
        body: The parsed JSON.
        alert: What it answers, as it is now.
        session: The patient's running session, if any.
        by: Who answers.
        now: The time.
        limits: How long a snooze may be.

    Raises:
        AnswerRefusedError: 409 where the alert is not open, or is already so; 422 for anything else.
    """
    if not isinstance(body, dict):
        raise AnswerRefusedError(422, 'The body is no JSON object: send {"action": "acknowledge"}.', "body")
    if unknown := sorted(str(key)[:40] for key in body.keys() - _FIELDS):
        raise AnswerRefusedError(422, f"{one_line(unknown[0])} is no field: use {', '.join(sorted(_FIELDS))}.", "body")
    try:
        action = ResponseAction(str(body.get("action")))
    except ValueError:
        words = ", ".join(ResponseAction)
        raise AnswerRefusedError(422, f"action is none of them: use one of {words}.", "action") from None
    if not alert.status.is_open:
        raise _refused(409, None, "refused_over", "The alert is over, so it takes no answer.")
    if (action, alert.status) in _NOTHING_TO_DO:
        raise _refused(409, None, *_NOTHING_TO_DO[action, alert.status])
    reason = _reason(body, action)
    until = _until(body, alert, session, now, limits) if action is ResponseAction.SNOOZE else None
    return Answer(alert.alert_id, alert.revision, action, by, now, until, reason)


def _refused(status: int, field: str | None, key: str, sentence: str, **values: str | int) -> AnswerRefusedError:
    """Make a refusal that a person can meet: key and sentence side by side, as the texts have them."""
    return AnswerRefusedError(status, filled(sentence, values), field, key, **values)


def _reason(body: dict[str, Any], action: ResponseAction) -> str | None:
    reason = body.get("reason")
    if reason is not None and not isinstance(reason, str):
        raise AnswerRefusedError(422, "reason is no text: write why, in words.", "reason")
    reason = one_line(reason).strip() if reason else ""
    if len(reason) > _LONGEST_REASON:
        raise _refused(
            422,
            "reason",
            "refused_reason_long",
            "The reason is too long: use at most {most} characters.",
            most=_LONGEST_REASON,
        )
    if action is ResponseAction.RESOLVE and not reason:
        raise _refused(422, "reason", "refused_reason_missing", "The reason is missing: say why the alert is resolved.")
    return reason or None


def _until(
    body: dict[str, Any], alert: ShownAlert, session: ShownSession | None, now: datetime, limits: Limits
) -> datetime:
    given = [name for name in ("minutes", "until", "until_session_end") if body.get(name) not in (None, False)]
    if len(given) != 1:
        raise AnswerRefusedError(
            422, "A snooze needs exactly one of minutes, until and until_session_end.", given[1] if given else "minutes"
        )
    name = given[0]
    until = _moment(name, body[name], session, now)
    longest = limits.of(alert.priority)
    if until <= now:
        raise _refused(422, name, "refused_past", "The snooze would end in the past: choose a later time.")
    if until > now + longest:
        raise _refused(
            422,
            name,
            *_TOO_LONG[alert.priority is Priority.HIGH],
            minutes=longest // timedelta(minutes=1),
        )
    return until


def _moment(name: str, value: Any, session: ShownSession | None, now: datetime) -> datetime:
    if name == "minutes":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 7 * 24 * 60:
            raise AnswerRefusedError(422, "minutes is no number of minutes: send such as 15.", name)
        return now + timedelta(minutes=value)
    if name == "until":
        try:
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            moment = None
        if moment is None or moment.tzinfo is None:
            raise AnswerRefusedError(422, "until is no time with an offset, as 2026-11-23T07:30:00+01:00 has.", name)
        return moment
    end = planned_end(session)
    if value is not True or end is None:
        raise _refused(
            422,
            name,
            "refused_session_end",
            "The end of the session is not known: snooze for some minutes or until a time.",
        )
    return end


def planned_end(session: ShownSession | None) -> datetime | None:
    """Return when a session is planned to end; None if nobody says it."""
    if session is None or session.planned_minutes is None or not 0 < session.planned_minutes < 7 * 24 * 60:
        return None
    return session.since + timedelta(minutes=session.planned_minutes)


class AnswerDesk:
    """The newest answer to each alert that was given here, until it has come back and the alert has moved on."""

    def __init__(self) -> None:
        self._given: OrderedDict[str, Answer] = OrderedDict()

    def of(self, alert_id: str) -> Answer | None:
        """Return the newest answer to an alert that was given here."""
        return self._given.get(alert_id)

    def sent(self, answer: Answer) -> None:
        """Note that an answer is on its way."""
        self._given.pop(answer.alert_id, None)
        self._given[answer.alert_id] = answer
        while len(self._given) > _MOST:
            self._given.popitem(last=False)

    def failed(self, answer: Answer) -> None:
        """Forget an answer that Kafka did not take."""
        if self._given.get(answer.alert_id) == answer:
            del self._given[answer.alert_id]

    def came_back(self, alert: ShownAlert) -> None:
        """Compare a new transition with the answer that waits for it."""
        answer = self._given.get(alert.alert_id)
        if answer is None or alert.revision <= answer.revision:
            return
        if not alert.status.is_open or alert.status is _COMES_BACK.get(answer.action):
            self._given[alert.alert_id] = replace(answer, is_done=True)
        elif answer.is_done:
            del self._given[alert.alert_id]  # the alert has moved on: what was answered before is history

    def became_late(self, before: datetime, now: datetime) -> list[str]:
        """Return the alerts whose answers became late after one moment and up to another."""
        wait = timedelta(seconds=LATE_S)
        return [name for name, answer in self._given.items() if not answer.is_done and before < answer.at + wait <= now]

"""What an alert's owner answers to what somebody else has said of it on `alerts.active`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Generic

from models.alerts import AlertRecord
from models.state import AlertState
from streams.engine.partition import Partition
from streams.rules.api import StateT
from streams.worker.answer_backoff import Repeats
from streams.worker.outbox import Mail
from streams.worker.ports import Kind, Shown, Word
from streams.worker.sender import Outgoing

#: Who is further behind than this does not know whether a word is wrong, or ahead.
CURRENT: Final = timedelta(seconds=30)
#: A later revision than ours is outdone so often in a row, and if it is not beyond all reason.
MOST_RESTATED: Final = 3
LAST_REVISION: Final = 2**31


@dataclass(slots=True)
class Answers(Generic[StateT]):
    """What is to be sent, what was told anew and of whom, and the alerts of which it is too soon for an answer."""

    messages: list[Outgoing] = field(default_factory=list)
    restated: list[tuple[StateT, AlertRecord]] = field(default_factory=list)
    put_off: set[str] = field(default_factory=set)


class Corrector(Generic[StateT]):
    """Judges the last words on alerts, as one partition's task knows them.

    An older word than ours, or our own revision with other bytes: ours is sent again. A later one: readers never go
    back to an earlier revision, so the alert is told once more, in a revision above it. What is not known here is left
    alone: another consumer group may know it. Two groups that contradict each other do not race: see `Repeats`.
    """

    def __init__(
        self, kind: Kind[StateT], subjects: Partition[StateT], mail: Mail, by_key: Mapping[bytes, StateT]
    ) -> None:
        self._kind, self._subjects, self._mail, self._by_key = kind, subjects, mail, by_key
        self._repeats = Repeats()

    def answer(self, words: Iterable[Word], lag: timedelta) -> Answers[StateT]:
        """Judge words; `lag` is how far the task is behind the world."""
        answers: Answers[StateT] = Answers()
        for alert_id, shown in words:
            if shown is None:
                # Who lags may be about to end it, as whoever wrote the tombstone did.
                again = self._mail.open_again(alert_id, self._by_key.values()) if lag < CURRENT else None
                answers.messages += [again] if again else []
            elif (state := self._owner_of(alert_id, shown)) is not None:
                self._judge(state, state.alerts[alert_id], shown, lag, answers)
        return answers

    def _judge(self, state: StateT, alert: AlertState, shown: Shown, lag: timedelta, answers: Answers[StateT]) -> None:
        ours = None if alert.tombstoned else bytes(alert.value)
        if shown.revision == alert.revision and ours is not None and shown.value in (None, ours):
            return
        if ours is not None and shown.revision >= alert.revision:
            count = self._repeats.take(alert.alert_id) if lag < CURRENT else None
            if count is None:
                answers.put_off.add(alert.alert_id)
                return
            if alert.revision < shown.revision <= LAST_REVISION and count < MOST_RESTATED:
                told = self._subjects.restate(state, alert.alert_id, shown.revision)
                answers.restated += [(state, record) for record in told]
                return
        answers.messages.append(self._mail.shown_again(alert.alert_id, ours))

    def _owner_of(self, alert_id: str, shown: Shown) -> StateT | None:
        """Whose alert it is: the subject's that is named or, where another or none is, that of an open alert."""
        name = shown.patient_id if self._kind.subject == "patient_id" else shown.water_loop_id
        state = self._by_key.get(name.encode(errors="replace")) if name is not None else None
        if state is not None and alert_id in state.alerts:
            return state
        if not self._mail.is_open(alert_id):
            return None
        return next((state for state in self._by_key.values() if alert_id in state.alerts), None)

"""Decide how an alert's owner corrects what somebody else wrote about it to `alerts.active`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Generic

from models.alerts import AlertRecord
from models.state import AlertState, LoopState, PatientState, SubjectState
from streams.engine.partition import Partition
from streams.rules.api import StateT
from streams.worker.answer_backoff import Repeats
from streams.worker.outbox import TaskOutput
from streams.worker.ports import Kind, NamedRecord, Shown
from streams.worker.sender import Outgoing

#: A task further behind than this cannot tell whether a record is wrong or ahead of it.
CURRENT: Final = timedelta(seconds=30)
#: A later revision than ours is exceeded so often in a row, and only up to `LAST_REVISION`.
MOST_RESTATED: Final = 3
LAST_REVISION: Final = 2**31


@dataclass(slots=True)
class Answers(Generic[StateT]):
    """The messages to send, the transitions that restate alerts, and the alerts that it is too soon to correct."""

    messages: list[Outgoing] = field(default_factory=list)
    restated: list[tuple[StateT, AlertRecord]] = field(default_factory=list)
    put_off: set[str] = field(default_factory=set)


class Corrector(Generic[StateT]):
    """Compares the last records of alerts with what one partition's task knows.

    An older revision than ours, or our revision with other bytes: the owner sends its own again. A later revision:
    readers never go back to an earlier one, so the owner restates the alert in a revision above it. An unknown alert is
    left alone: another consumer group may know it. Two groups that contradict each other do not race: see `Repeats`.
    """

    def __init__(
        self, kind: Kind[StateT], subjects: Partition[StateT], output: TaskOutput, by_key: Mapping[bytes, StateT]
    ) -> None:
        self._kind, self._subjects, self._output, self._by_key = kind, subjects, output, by_key
        self._repeats = Repeats()

    def answer(self, records: Iterable[NamedRecord], lag: timedelta) -> Answers[StateT]:
        """Judge last records; `lag` is how far the task is behind the world."""
        answers: Answers[StateT] = Answers()
        for alert_id, shown in records:
            if shown is None:
                # A task that lags may be about to end the alert, as the writer of the tombstone did.
                again = self._output.open_again(alert_id, self._by_key.values()) if lag < CURRENT else None
                answers.messages += [again] if again else []
            elif (state := self._owner_of(alert_id, shown)) is not None:
                self._judge(state, alert_id, shown, lag, answers)
        return answers

    def _judge(self, state: StateT, alert_id: str, shown: Shown, lag: timedelta, answers: Answers[StateT]) -> None:
        alert = _known(state)[alert_id]
        ours = bytes(alert.value) if alert_id in state.alerts else None
        if shown.revision == alert.revision and ours is not None and shown.value in (None, ours):
            return
        if ours is not None and shown.revision >= alert.revision:
            count = self._repeats.take(alert.alert_id) if lag < CURRENT else None
            if count is None:
                answers.put_off.add(alert.alert_id)
                return
            if alert.revision < shown.revision <= LAST_REVISION and count < MOST_RESTATED:
                transitions = self._subjects.restate(state, alert.alert_id, shown.revision)
                answers.restated += [(state, record) for record in transitions]
                return
        answers.messages.append(self._output.shown_again(alert.alert_id, ours))

    def _owner_of(self, alert_id: str, shown: Shown) -> StateT | None:
        """Find the alert's subject: the one named or, if that is wrong or missing, the one that has it open."""
        name = shown.patient_id if self._kind.subject == "patient_id" else shown.water_loop_id
        state = self._by_key.get(name.encode(errors="replace")) if name is not None else None
        if state is not None and alert_id in _known(state):
            return state
        if not self._output.is_open(alert_id):
            return None
        return next((state for state in self._by_key.values() if alert_id in state.alerts), None)


def _known(state: SubjectState) -> Mapping[str, AlertState]:
    """Return the alerts of a subject, the buried ones among them."""
    assert isinstance(state, PatientState | LoopState)  # noqa: S101 (for the type checker)
    return state.alerts | state.buried

"""The subjects of one partition, their clock and their deadlines: the engine as replay and the worker run it.

Pure: no I/O and no clock of its own. `take` files an event and returns the transitions it made; the deadlines up to
the clock that the event brings fire before it, each at its own time.

Two moments: `now` also runs while nothing arrives, so that silence is noticed. `read_to` is how far the input alone
shows that time has gone: an event is evaluated there, so its transitions do not depend on how long somebody waited
for it.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic

from models.alerts import AlertRecord
from models.state import RETIRE_AFTER, PatientState, StateCodec, SubjectState
from streams.engine.change import SAMPLED, Change
from streams.engine.evaluate import Evaluator
from streams.engine.lifecycle import NEW_SETTINGS, Cause
from streams.engine.size_bounds import Budget, begin_anew, forget_alarms, note, reduce
from streams.engine.waits import NOTHING_WAITS, Waits
from streams.rules.api import StateT

log = logging.getLogger(__name__)

#: The rule that reports what was dropped.
DATA_QUALITY: Final = "data_quality"
#: Moved deadlines stay in the heap until they would fire, or until there are about this many of them.
_STALE_DEADLINES = 1000
#: How often in a row a subject may be evaluated at one moment because its look is due at once.
_MOST_LOOKS = 20

#: Where the clock stands before any event.
BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SubjectTransition(Generic[StateT]):
    """A transition and the subject whose outbox holds it."""

    state: StateT
    alert: AlertRecord


class Partition(Generic[StateT]):
    """State, clock and deadlines of one partition.

    Args:
        codec: makes the state of a subject seen for the first time.
        file: files an event: (state, event, received_at, now, the records that merges moved it from, if any) -> change.
        evaluator: rules and life cycle.
        go_on: puts into a subject's outbox what had no room in it before; True if there was something.
        waiting: the samples that need not be filed at once.
    """

    def __init__(
        self,
        codec: StateCodec[StateT],
        file: Callable[..., Change],
        evaluator: Evaluator[StateT],
        go_on: Callable[[StateT], bool] | None = None,
        waiting: Waits = NOTHING_WAITS,
    ) -> None:
        self._states: dict[str, StateT] = {}
        self.now = BEGINNING
        #: The highest arrival of the events taken, at most `now`.
        self.read_to = BEGINNING
        self._new = codec.new
        self._file = file
        self._go_on = go_on
        self._evaluator = evaluator
        self._deadlines: list[tuple[datetime, str]] = []
        self._armed: dict[str, datetime] = {}
        self._fired: list[StateT] = []
        self._budget = Budget()
        evaluator.on_buried = self._budget.charge
        self.waiting = waiting

    def __len__(self) -> int:
        return len(self._states)

    @property
    def states(self) -> dict[str, StateT]:
        """The subjects by their ids."""
        self.waiting.settle_all()
        return self._states

    @property
    def ran_since(self) -> datetime:
        """Since when the clock has run without standing."""
        return self._evaluator.ran_since

    def stood_until(self, moment: datetime) -> None:
        """Note that the clock stood until a moment: for as long nobody could be heard, so nobody was silent."""
        self._evaluator.ran_since = max(self._evaluator.ran_since, moment)

    def adopt(self, states: Iterable[StateT]) -> list[SubjectTransition[StateT]]:
        """Take over subjects from the changelog; those evaluated under other settings are evaluated again."""
        transitions: list[SubjectTransition[StateT]] = []
        for state in states:
            self._states[state.id] = state
            if state.now is not None:
                self.now = max(self.now, state.now)
                self.read_to = max(self.read_to, state.now)
                if state.rules != self._evaluator.settings.hash:
                    alerts = self._evaluator.evaluate_all(state, state.now, NEW_SETTINGS)
                    transitions += [SubjectTransition(state, alert) for alert in alerts]
                    self._fired.append(state)  # to be stored, so that this happens only once
            self._arm(state)
        return transitions

    def state_of(self, subject: str) -> StateT:
        """Return the state of a subject, a new one for an unknown subject."""
        state = self._states.get(subject)
        if state is None:
            state = self._states[subject] = self._new(subject)
            state.rules = self._evaluator.settings.hash
            self._budget.begin(subject)
        return state

    def take(
        self, subject: str, event: Any, received_at: datetime, way: tuple[str, ...] = ()
    ) -> tuple[StateT, Change, list[AlertRecord]]:
        """File and evaluate an event at the highest arrival so far; `advance` to `received_at` first.

        A subject that was already evaluated later, because a deadline passed meanwhile, is evaluated at that time.

        Args:
            subject: whom it is about.
            event: what happened.
            received_at: when it arrived.
            way: the records from which merges moved it here.

        Returns:
            The subject's state, what filing changed, and the transitions that followed.
        """
        if received_at > self.read_to:  # noqa: PLR1730 (of every record; a call costs more)
            self.read_to = received_at
        if (change := self.waiting.take(subject, event, received_at.timestamp())) is not None:
            return self._states[subject], change, []
        state = self._states.get(subject) or self.state_of(subject)
        if received_at > state.heard_at:  # noqa: PLR1730 (of every record; a call costs more)
            state.heard_at = received_at
        change = self._file(state, event, received_at, self.read_to, *([way] if way else ()))
        if not change.facets:
            if change.looks:
                self._arm(state)
            if change is SAMPLED:
                self.waiting.begin(state, event, received_at)
            return state, change, []
        change = self._budget.keep(state, event, change, self.read_to)
        transitions = self._evaluator.evaluate(
            state, change.facets, self.read_to, Cause(change.corrected, change.reason)
        )
        self.waiting.resume(state)
        self._arm(state)
        return state, change, transitions

    def advance(self, to: datetime) -> Iterator[SubjectTransition[StateT]]:
        """Move the clock on, firing every deadline up to and including `to` at its own time.

        Deadlines of one moment fire together: endings before escalations, then by rule and id.
        """
        while self._deadlines and self._deadlines[0][0] <= to:
            moment = self._deadlines[0][0]
            yield from self._fire(moment)
        self.now = max(self.now, to)

    def _fire(self, moment: datetime) -> list[SubjectTransition[StateT]]:
        self.now = max(self.now, moment)
        due = []
        while self._deadlines and self._deadlines[0][0] == moment:
            _, subject = heapq.heappop(self._deadlines)
            if self._armed.get(subject) == moment:
                del self._armed[subject]
                due.append(self._states[subject])
        transitions = []
        for state in due:
            self.waiting.stop(state.id)
            transitions += self._look(state, moment)
            self._arm(state)
        self._fired += due
        return sorted(transitions, key=lambda one: (one.alert.status.is_open, one.alert.rule, one.alert.alert_id))

    def _look(self, state: StateT, moment: datetime) -> list[SubjectTransition[StateT]]:
        """Evaluate a subject until none of its looks is due; after an exception due looks wait for its next event."""
        transitions: list[SubjectTransition[StateT]] = []
        try:
            for _ in range(_MOST_LOOKS):
                alerts = self._evaluator.evaluate(state, frozenset(), moment)
                transitions += [SubjectTransition(state, alert) for alert in alerts]
                stuck = [name for name, look in state.looks.items() if look <= moment]
                if not stuck:
                    return transitions
            log.error("%s ask to be looked at for ever; they wait for the next event", ", ".join(stuck))
        except Exception:  # one subject must not stop the clock of all
            log.exception("a deadline of one subject failed; it waits for its next event")
            self._evaluator.on_rule_error("deadline")
        state.looks = {name: look for name, look in state.looks.items() if look > moment}
        return transitions

    def take_fired(self) -> list[StateT]:
        """Return and clear the subjects evaluated at a deadline, or under new settings, since the last call."""
        fired, self._fired = self._fired, []
        return fired

    def first_deadline(self) -> datetime | None:
        """Return a moment before which no deadline is due."""
        return self._deadlines[0][0] if self._deadlines else None

    def pass_quietly(self, to: datetime) -> bool:
        """Move the clock on where no deadline lies at or before a moment; False where `advance` must."""
        if self._deadlines and self._deadlines[0][0] <= to:
            return False
        if to > self.now:  # noqa: PLR1730 (of every record; a call costs more)
            self.now = to
        return True

    def rearm(self, state: StateT) -> None:
        """Set the deadline anew after looks were changed outside an evaluation."""
        self._arm(state)

    def go_on(self, state: StateT) -> bool:
        """Fill a subject's outbox again after it was sent; return whether there is more to send."""
        return self._go_on is not None and self._go_on(state)

    def seen(self, state: StateT) -> bool:
        """Record that the subject's open alerts can be seen from the present clock on; return whether that is new."""
        if not self._evaluator.seen(state, self.now):
            return False
        self._arm(state)
        return True

    def restate(self, state: StateT, alert_id: str, above: int) -> list[AlertRecord]:
        """Repeat an alert as it stands, in a revision above one that somebody else sent."""
        return self._evaluator.restate(state, alert_id, above, self.now)

    def next_deadline(self) -> datetime | None:
        """Return the next moment at which the clock alone changes something."""
        while self._deadlines and self._armed.get(self._deadlines[0][1]) != self._deadlines[0][0]:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def retire(self) -> list[str]:
        """Drop subjects without messages for `RETIRE_AFTER` and with nothing live; return their ids.

        No window reaches back that far, so no later event would find any of their inputs.
        """
        horizon = self.now - RETIRE_AFTER if self.now > BEGINNING else BEGINNING
        self.waiting.settle_all()
        gone = [state.id for state in self._states.values() if state.heard_at < horizon and not _is_live(state)]
        for subject in gone:
            self.waiting.stop(subject)
            del self._states[subject]
            self._budget.forget(subject)
        return gone

    def reduce(self, state: StateT) -> None:
        """Reduce a subject to what its open alerts need; `data_quality` reports it at the next look."""
        self.waiting.stop(state.id)
        reduce(state, self.now)
        self._lessened(state, "records reduced")

    def forget_alarms(self, state: StateT) -> bool:
        """Drop the alarms of machines and the alerts that repeat them; return whether there was one."""
        self.waiting.stop(state.id)
        if not forget_alarms(state, self.now):
            return False
        self._lessened(state, "records without alarms")
        return True

    def begin_anew(self, state: StateT) -> None:
        """Drop all of a subject but how far its input was applied; `data_quality` reports it at the next look."""
        self.waiting.stop(state.id)
        begin_anew(state)
        self._lessened(state, "records set aside")

    def _lessened(self, state: StateT, what: str) -> None:
        note(state, {what: 1}, self.now)
        self._budget.forget(state.id)
        if isinstance(state, PatientState):
            state.looks[DATA_QUALITY] = self.now
        self._arm(state)

    def _arm(self, state: StateT) -> None:
        moment = min(state.looks.values(), default=None)
        if moment is None:
            self._armed.pop(state.id, None)
        elif self._armed.get(state.id) != moment:
            self._armed[state.id] = moment
            heapq.heappush(self._deadlines, (moment, state.id))
            if len(self._deadlines) > 2 * len(self._armed) + _STALE_DEADLINES:
                self._deadlines = [(at, subject) for subject, at in self._armed.items()]
                heapq.heapify(self._deadlines)


def _is_live(state: SubjectState) -> bool:
    """Return whether something of a subject is open, due or still to be sent."""
    # A record given up sends its events on, however late they arrive.
    merged = isinstance(state, PatientState) and state.merged_into is not None
    return bool(merged or state.looks or state.outbox or any(alert.over_at is None for alert in state.alerts.values()))

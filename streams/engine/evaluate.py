"""Evaluation of a subject in stages: find what holds, hold, inhibit, match with the alerts, publish what changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Generic

from models.alerts import AlertRecord, Reason, Status
from models.state import LoopState, PatientState, SubjectState
from models.state.sampled import SESSIONS_LOOK
from streams.engine import chair_signals, lifecycle
from streams.engine.find import Finder, Found
from streams.engine.inhibit import inhibit, lesser_of, open_alerts
from streams.engine.lifecycle import ORDINARY, Cause, Step
from streams.engine.messages import tell
from streams.engine.over_alerts import bury
from streams.rules.api import ALWAYS, Ending, Outcome, Rule, StateT, View
from streams.rules.catalogue import RuleSettings
from streams.rules.inputs import Facets

log = logging.getLogger(__name__)
_NONE: Final[frozenset[tuple[str, str]]] = frozenset()
_LATER: Final = datetime.max.replace(tzinfo=UTC)

#: The life cycle's own place among the moments to look again.
LIFECYCLE: Final = "lifecycle"
#: The looks of no rule: with one of them there is something to do beside what rules find.
_BESIDE_RULES: Final = (LIFECYCLE, SESSIONS_LOOK, chair_signals.LOOK)


@dataclass
class Evaluator(Generic[StateT]):
    """Evaluates the subjects of one kind.

    Args:
        catalogue: the kind's rules; the alerts of those that the settings turn off are closed.
        settings: thresholds and response times.
        retention: how long an alert that is over stays on `alerts.active`.
        after: what else follows from an evaluation, for this kind of subject; its view may read everything.
        on_rule_error: called with the name of a rule that raised.
        closed: why a subject has no alerts, if so; its rules are not asked, and all of them when it is open again.
    """

    catalogue: tuple[Rule[StateT], ...]
    settings: RuleSettings
    retention: timedelta
    after: Callable[[View[StateT]], None] | None = None
    on_rule_error: Callable[[str], None] = field(default=lambda _rule: None)
    closed: Callable[[StateT], Reason | None] | None = None
    #: Since when the clock has run without standing.
    ran_since: datetime = field(default=ALWAYS, init=False)
    #: Called with a subject's id and the bytes of its alerts that were buried.
    on_buried: Callable[[str, int], None] = field(default=lambda _subject, _size: None, init=False)

    def __post_init__(self) -> None:
        self._finder = Finder(self.settings.rules(self.catalogue), self.on_rule_error)
        self._names = {rule.name: rule for rule in self.catalogue}
        self._inhibitors = frozenset(each.by for rule in self.catalogue for each in rule.yields_to)

    def evaluate(self, state: StateT, facets: Facets, now: datetime, cause: Cause = ORDINARY) -> list[AlertRecord]:
        """Evaluate a subject after `facets` of it changed, or at a deadline; returns the transitions made.

        The subject's clock never goes back: it is evaluated at the later of `now` and its last evaluation.
        Transitions are in the outbox, in order, when this returns.
        """
        if state.now is not None and state.now > now:
            now = state.now
        state.now = now
        if self.closed is not None and (reason := self.closed(state)) is not None:
            return self._close(state, reason, now)
        is_quiet = not facets and all(state.looks.get(name, _LATER) > now for name in _BESIDE_RULES)
        view = self._view(state, now, None if state.closed else facets)
        before = self._greater(_known(state)) if state.alerts else _NONE
        steps = self._steps(self._finder.find(view, facets), view, cause)
        if state.alerts and (raised := self._greater(_known(state)) - before):
            steps += self._lesser(raised, view)
        if is_quiet and not steps:
            return []  # a look of a rule that found nothing new: neither alerts nor sessions have anything to do
        return self._finish(state, steps, view)

    def _view(self, state: StateT, now: datetime, changed: Facets | None = None) -> View[StateT]:
        return View(state, now, self.settings, changed=changed, ran_since=self.ran_since)

    def _steps(self, all_found: Iterable[Found[StateT]], view: View[StateT], cause: Cause) -> list[Step]:
        """Inhibit what was found and match it with the alerts, greater rules first."""
        steps: list[Step] = []
        for found in all_found:
            outcomes = inhibit(_known(view.read()), found.rule, found.outcomes)
            steps += self._match(view.read(), found.rule, outcomes, view.now, cause)
        return steps

    def evaluate_all(self, state: StateT, now: datetime, cause: Cause) -> list[AlertRecord]:
        """Evaluate a subject by every rule, closing the alerts of rules that are off or gone."""
        gone = {alert.rule for alert in state.alerts.values() if alert.over_at is None} - set(self._finder.by_name)
        later = max(now, state.now or now)
        steps: list[Step] = []
        for name in sorted(gone & set(self._names)):
            steps += self._match(state, self._names[name], [], later, cause)
        self._finder.forget_unused(state)
        state.rules = self.settings.hash
        transitions = self._finish(state, steps, self._view(state, later)) if steps else []
        return transitions + self.evaluate(state, self._finder.facets, now, cause)

    def _close(self, state: StateT, reason: Reason, now: datetime) -> list[AlertRecord]:
        """End every open alert of a closed subject; nothing is due of it but what is left of its alerts."""
        state.closed, state.failing, state.conditions, state.held, state.held_since = True, {}, {}, {}, {}
        rules = self._finder.by_name
        state.looks = {name: moment for name, moment in state.looks.items() if moment > now and name not in rules}
        ending: dict[str, list[Outcome]] = {}
        for alert in state.alerts.values():
            if alert.over_at is None and alert.rule in self._names:
                ending.setdefault(alert.rule, []).append(Ending(alert.key, Status.RESOLVED, reason))
        steps: list[Step] = []
        for rule, ends in ending.items():
            steps += self._match(state, self._names[rule], ends, now, ORDINARY)
        return self._finish(state, steps, self._view(state, now))

    @staticmethod
    def _match(state: StateT, rule: Rule[StateT], outcomes: list[Outcome], now: datetime, cause: Cause) -> list[Step]:
        if not outcomes and not state.alerts:
            return []  # nearly always a rule finds nothing, and there is no alert to end
        assert isinstance(state, PatientState | LoopState)  # noqa: S101 (for the type checker)
        return lifecycle.match(state, rule, outcomes, now, cause)

    def _finish(self, state: StateT, steps: list[Step], view: View[StateT]) -> list[AlertRecord]:
        """Publish the steps, follow people and the clock, and do what else follows."""
        now = view.now
        assert isinstance(state, PatientState | LoopState)  # noqa: S101 (for the type checker)
        transitions = self._tell(state, steps, now)
        if state.alerts:
            before = self._greater(state)
            transitions += self._tell(state, lifecycle.tend(state, self._names, self.settings.responses, now), now)
            if (freed := before - self._greater(state)) and not state.closed:
                transitions += self._tell(state, self._lesser(freed, view), now)
            if buried := bury(state, now, self.retention):
                self.on_buried(state.id, buried)
            deadline = lifecycle.next_deadline(state, self._names, self.settings.responses, self.retention)
            if deadline is None:
                state.looks.pop(LIFECYCLE, None)
            else:
                state.looks[LIFECYCLE] = deadline
        if self.after is not None:
            try:
                self.after(view)
            except Exception:  # as with a rule: what follows from alerts must not cost the alerts
                log.exception("what follows from an evaluation failed")
                self.on_rule_error("after")
        return transitions

    def _greater(self, state: PatientState | LoopState) -> set[tuple[str, str]]:
        """Return the open alerts that may lower others, each with its rule."""
        if not self._inhibitors:
            return set()
        return {(alert.rule, alert.alert_id) for alert in open_alerts(state, self._inhibitors)}

    def _lesser(self, greater: set[tuple[str, str]], view: View[StateT]) -> list[Step]:
        """Evaluate the lesser rules again of greater alerts that a person ended, or that were raised anew after it."""
        names = {rule for rule, _ in greater}
        lesser = [rule.name for rule in self.catalogue if any(each.by in names for each in rule.yields_to)]
        again = self._view(view.read(), view.now)
        return self._steps(self._finder.ask(again, lesser), again, ORDINARY)

    def _tell(self, state: PatientState | LoopState, steps: list[Step], now: datetime) -> list[AlertRecord]:
        """Publish steps in order, and greater alerts whose links to lesser ones have changed."""
        for alert in open_alerts(state, self._inhibitors) if self._inhibitors else ():
            if alert.inhibits != (lesser := lesser_of(state, alert)):
                alert.inhibits = lesser
                mine = [step for step in steps if step.alert.alert_id == alert.alert_id]
                for step in mine:
                    step.alert.inhibits = lesser
                if not mine:
                    steps.append(lifecycle.update(alert, now))
        return [tell(state, self._names[step.alert.rule], step) for step in sorted(steps, key=lifecycle.order)]

    def restate(self, state: StateT, alert_id: str, above: int, now: datetime) -> list[AlertRecord]:
        """Publish an alert as it stands once more, in a revision above `above`; nothing for a newer version's rule."""
        alert = state.alerts[alert_id]
        if alert.rule not in self._names:
            return []
        now = max(now, state.now or now)
        return self._finish(state, [lifecycle.restate(alert, above, now)], self._view(state, now))

    def seen(self, state: StateT, now: datetime) -> bool:
        """Let response times of the open alerts count from `now`, when somebody can see them; True if that is new."""
        fresh = [a for a in state.alerts.values() if a.over_at is None and a.seen_at is None]
        for alert in fresh:
            alert.seen_at = now
        if fresh:
            assert isinstance(state, PatientState | LoopState)  # noqa: S101 (for the type checker)
            deadline = lifecycle.next_deadline(state, self._names, self.settings.responses, self.retention)
            if deadline is not None:
                state.looks[LIFECYCLE] = deadline
        return bool(fresh)


def _known(state: SubjectState) -> PatientState | LoopState:
    assert isinstance(state, PatientState | LoopState)  # noqa: S101 (for the type checker)
    return state

"""Evaluation: ask the rules that could answer differently, compare with the open alerts, tell what changed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Generic

from models.alerts import AlertRecord, Reason, Status
from models.state import LONGEST_WINDOW, MAX_OVER_ALERTS, NO_VALUE, AlertState, LoopState, PatientState, SubjectState
from streams.engine import lifecycle
from streams.engine.dependencies import in_order
from streams.engine.lifecycle import ORDINARY, Cause, Step
from streams.engine.messages import tell, tombstone
from streams.engine.size_bounds import anchors_of, surplus_over
from streams.engine.windows import prune
from streams.rules.api import Ending, Finding, Outcome, Rule, StateT, View
from streams.rules.catalogue import RuleSettings
from streams.rules.inputs import FAILING, Facets, held_rules

log = logging.getLogger(__name__)

#: The life cycle's own place among the moments to look again.
LIFECYCLE: Final = "lifecycle"


@dataclass
class Evaluator(Generic[StateT]):
    """Evaluates the subjects of one kind.

    Args:
        catalogue: the kind's rules; those that the settings turn off are closed and not asked.
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

    def __post_init__(self) -> None:
        self._rules = {rule.name: rule for rule in in_order(self.settings.rules(self.catalogue))}
        #: Whose conditions each rule asks for, and all rules that are asked.
        self._asks = {name: set(held_rules(rule.reads)) for name, rule in self._rules.items()}
        self._held = set[str]().union(*self._asks.values()) & set(self._rules)
        self._readers: dict[frozenset[str], tuple[Rule[StateT], ...]] = {}
        self._names = {rule.name: rule for rule in self.catalogue}

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
        view = View(state, now, self.settings, changed=None if state.closed else facets)
        rules = self._to_ask(state, facets, now)
        failing = set(state.failing)
        steps: list[Step] = []
        if not self._held.isdisjoint(rules):
            steps += self._ask_on(state, rules, view, cause)
        else:
            for rule in rules.values():
                steps += self._ask(state, rule, view, cause)
        if set(state.failing) != failing:
            for rule in self._reading(FAILING.facets):
                steps += self._ask(state, rule, view, cause)
        return self._finish(state, steps, view)

    def evaluate_all(self, state: StateT, now: datetime, cause: Cause) -> list[AlertRecord]:
        """Evaluate a subject by every rule, closing the alerts of rules that are off or gone."""
        gone = {alert.rule for alert in state.alerts.values() if alert.over_at is None} - set(self._rules)
        later = max(now, state.now or now)
        steps = [
            step
            for name in sorted(gone & set(self._names))
            for step in self._match(state, self._names[name], [], later, cause)
        ]
        facets = frozenset(facet for rule in self._rules.values() for facet in rule.reads)
        state.conditions = {
            name: held for name, held in state.conditions.items() if name in self._held & set(self._rules)
        }
        state.rules = self.settings.hash
        told = self._finish(state, steps, View(state, later, self.settings)) if steps else []
        return told + self.evaluate(state, facets, now, cause)

    def _to_ask(self, state: StateT, facets: frozenset[str], now: datetime) -> dict[str, Rule[StateT]]:
        """The rules that could answer differently now: all of them when the subject is open again."""
        rules = {rule.name: rule for rule in self._reading(facets)}
        for name, moment in list(state.looks.items()):
            if moment <= now:
                del state.looks[name]
                if name in self._rules:
                    rules[name] = self._rules[name]
        if state.closed:
            state.closed, rules = False, dict(self._rules)
        return rules

    def _ask_on(self, state: StateT, rules: dict[str, Rule[StateT]], view: View[StateT], cause: Cause) -> list[Step]:
        """Ask rules in the order of their dependencies; one whose condition changed wakes those that ask for it."""
        steps: list[Step] = []
        woken: set[str] = set()
        for rule in self._rules.values():
            if rule.name in rules or (woken and not woken.isdisjoint(self._asks[rule.name])):
                before = state.conditions.get(rule.name)
                steps += self._ask(state, rule, view, cause)
                if state.conditions.get(rule.name) != before:
                    woken.add(rule.name)
        return steps

    def _close(self, state: StateT, reason: Reason, now: datetime) -> list[AlertRecord]:
        """End every open alert of a closed subject; nothing is due of it but what is left of its alerts."""
        state.closed, state.failing, state.conditions = True, {}, {}
        state.looks = {name: moment for name, moment in state.looks.items() if moment > now and name not in self._rules}
        ending: dict[str, list[Outcome]] = {}
        for alert in state.alerts.values():
            if alert.over_at is None and alert.rule in self._names:
                ending.setdefault(alert.rule, []).append(Ending(alert.key, Status.RESOLVED, reason))
        steps = [
            step for rule, ends in ending.items() for step in self._match(state, self._names[rule], ends, now, ORDINARY)
        ]
        return self._finish(state, steps, View(state, now, self.settings))

    def _reading(self, facets: frozenset[str]) -> tuple[Rule[StateT], ...]:
        readers = self._readers.get(facets)
        if readers is None:
            readers = tuple(rule for rule in self._rules.values() if rule.reads & facets)
            self._readers[facets] = readers
        return readers

    def _ask(self, state: StateT, rule: Rule[StateT], moment: View[StateT], cause: Cause) -> list[Step]:
        """One rule's outcomes against its alerts. A rule that raises leaves its alerts as they are."""
        view, now = moment.of_rule(rule), moment.now
        # Out of the state while it is asked: `data_quality` must not see a failure of its own that is just ending.
        since = state.failing.pop(rule.name, now)
        try:
            outcomes = list(rule.find(view))
        except Exception:  # a faulty rule must not blind the others
            log.exception("rule %s failed; its alerts stay as they are", rule.name)
            self.on_rule_error(rule.name)
            state.failing[rule.name] = since
            return []
        if view.next_look is None:
            state.looks.pop(rule.name, None)
        else:
            state.looks[rule.name] = view.next_look
        if rule.name in self._held:
            _note_conditions(state, rule.name, outcomes)
        # Nearly always a rule has nothing to say, and no alert to end.
        return self._match(state, rule, outcomes, now, cause) if outcomes or state.alerts else []

    @staticmethod
    def _match(state: Any, rule: Rule[Any], outcomes: list[Outcome], now: datetime, cause: Cause) -> list[Step]:
        return lifecycle.match(state, rule, outcomes, now, cause)

    def _finish(self, state: StateT, steps: list[Step], view: View[StateT]) -> list[AlertRecord]:
        now = view.now
        assert isinstance(state, PatientState | LoopState)  # noqa: S101 (for the type checker)
        told = self._tell(state, steps)
        if state.alerts:
            told += self._tell(state, lifecycle.tend(state, self._names, self.settings.responses, now))
            self._bury(state, now)
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
        return told

    def _tell(self, state: PatientState | LoopState, steps: list[Step]) -> list[AlertRecord]:
        return [tell(state, self._names[step.alert.rule], step) for step in sorted(steps, key=lifecycle.order)]

    def _bury(self, state: PatientState | LoopState, now: datetime) -> None:
        """Tombstones for alerts that have been over long enough; forget those that no event could open again.

        The newest results are kept however old they get, and the alerts that they anchor with them: forgotten, such
        an alert would begin again at revision 1.
        """
        for alert in self._overdue(state, now):
            alert.tombstoned = True
            # Nothing resends it, and raised again it is worded anew; what it showed is most of its size.
            alert.value, alert.grounds = NO_VALUE, []
            state.outbox.append(tombstone(alert.alert_id))
        over = {name: alert for name, alert in state.alerts.items() if alert.tombstoned}
        before, horizon = len(over), now - LONGEST_WINDOW
        prune(
            over,
            MAX_OVER_ALERTS,
            horizon,
            lambda alert: alert.over_at or now,
            lambda: {name for name, alert in over.items() if _is_anchored(state, alert)},
        )
        if len(over) != before:
            state.alerts = {name: a for name, a in state.alerts.items() if not a.tombstoned or name in over}

    def _overdue(self, state: PatientState | LoopState, now: datetime) -> list[AlertState]:
        """Alerts whose time on `alerts.active` is up; the oldest early where more are over than are kept."""
        standing = [(alert.over_at, alert) for alert in state.alerts.values() if alert.over_at and not alert.tombstoned]
        standing.sort(key=lambda over: (over[0], over[1].alert_id))
        surplus = max(len(standing) - MAX_OVER_ALERTS, surplus_over(standing))
        return [a for number, (at, a) in enumerate(standing) if number < surplus or at + self.retention <= now]

    def restate(self, state: StateT, alert_id: str, above: int, now: datetime) -> list[AlertRecord]:
        """Say an alert as it stands once more, in a revision above `above`; nothing where a newer version made it."""
        alert = state.alerts[alert_id]
        if alert.rule not in self._names:
            return []
        now = max(now, state.now or now)
        return self._finish(state, [lifecycle.restate(alert, above, now)], View(state, now, self.settings))

    def seen(self, state: StateT, now: datetime) -> bool:
        """Somebody can see the open alerts from `now` on: response times count from here. True if new."""
        fresh = [a for a in state.alerts.values() if a.over_at is None and a.seen_at is None]
        for alert in fresh:
            alert.seen_at = now
        if fresh:
            assert isinstance(state, PatientState | LoopState)  # noqa: S101 (for the type checker)
            deadline = lifecycle.next_deadline(state, self._names, self.settings.responses, self.retention)
            if deadline is not None:
                state.looks[LIFECYCLE] = deadline
        return bool(fresh)


def _note_conditions(state: SubjectState, rule: str, outcomes: list[Outcome]) -> None:
    """Keep which conditions of a rule hold, for the rules that ask."""
    held = {outcome.key: outcome.priority for outcome in outcomes if isinstance(outcome, Finding)}
    if held:
        state.conditions[rule] = held
    else:
        state.conditions.pop(rule, None)


def _is_anchored(state: PatientState | LoopState, alert: AlertState) -> bool:
    """Whether an input that may open the alert again is still held."""
    if isinstance(state, LoopState):
        return any(anchor.removeprefix("alert:") in state.signals for anchor in alert.anchors)
    # `arrivals` holds the ids of the inputs that are held, among others.
    return any(anchor in state.arrivals for anchor in anchors_of(alert))

"""The first stage of an evaluation: which rules could answer differently now, and what they find."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic

from models.state import PatientState, SubjectState
from streams.engine.dependencies import in_order
from streams.engine.hold import hold
from streams.engine.watches import forget_watches, keep_watches
from streams.rules.api import Finding, Outcome, Rule, StateT, Unchanged, View
from streams.rules.inputs import FAILING, HELD, Facets, held_rules

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Found(Generic[StateT]):
    """What a rule found: all of its conditions that hold now, and its endings."""

    rule: Rule[StateT]
    outcomes: list[Outcome]


@dataclass
class Finder(Generic[StateT]):
    """Asks the rules of one kind of subject.

    Args:
        rules: the rules that are on.
        on_rule_error: called with the name of a rule that raised.
    """

    rules: Iterable[Rule[StateT]]
    on_rule_error: Callable[[str], None]
    by_name: dict[str, Rule[StateT]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_name = {rule.name: rule for rule in in_order(self.rules)}
        #: Whose conditions each rule asks for, and all rules whose conditions are asked for.
        self._asks = {name: set(held_rules(rule.reads)) for name, rule in self.by_name.items()}
        self._asked = set[str]().union(*self._asks.values()) & set(self.by_name)
        self._readers: dict[tuple[Facets, frozenset[str]], tuple[Rule[StateT], ...]] = {}
        #: The rules whose look is due at the evaluation that runs.
        self._due: set[str] = set()

    @property
    def facets(self) -> Facets:
        """Everything that a rule reads."""
        return frozenset(facet for rule in self.by_name.values() for facet in rule.reads)

    def find(self, view: View[StateT], facets: Facets) -> list[Found[StateT]]:
        """Ask the rules that read a changed facet, those whose look is due, and those that ask for what changed.

        A rule comes after those whose conditions it asks for. A rule that raises is left out: its alerts stay as
        they are.
        """
        state = view.read()
        rules = self._to_ask(state, facets, view.now)
        failing = set(state.failing)
        found = self._ask_in_order(rules, view) if not self._asked.isdisjoint(rules) else self._ask_all(rules, view)
        if set(state.failing) != failing:
            found += self._ask_all({rule.name: rule for rule in self._reading(FAILING.facets)}, view.of_any_change())
        return found

    def ask(self, view: View[StateT], names: Collection[str]) -> list[Found[StateT]]:
        """Ask some rules, whatever changed."""
        return self._ask_all({name: rule for name, rule in self.by_name.items() if name in names}, view)

    def forget_unused(self, state: StateT) -> None:
        """Forget what is kept for rules that are off, and conditions that nobody asks for any more."""
        state.conditions = {name: held for name, held in state.conditions.items() if name in self._asked}
        state.held = {name: keys for name, keys in state.held.items() if name in self.by_name}
        state.held_since = {name: keys for name, keys in state.held_since.items() if name in self.by_name}
        forget_watches(state, self.by_name)

    def _to_ask(self, state: StateT, facets: Facets, now: datetime) -> dict[str, Rule[StateT]]:
        """The rules that could answer differently now: all of them when the subject is open again."""
        rules = {rule.name: rule for rule in self._reading(facets, _absent(state))}
        self._due.clear()
        for name, moment in list(state.looks.items()):
            rule, is_due = self.by_name.get(name), moment <= now
            if is_due:
                del state.looks[name]
                self._due.add(name)
            # With a look to come it keeps something, whatever is absent.
            if rule is not None and (is_due or not rule.reads.isdisjoint(facets)):
                rules[name] = rule
        if state.closed:
            state.closed, rules = False, dict(self.by_name)
        return rules

    def _reading(self, facets: Facets, absent: frozenset[str] = frozenset()) -> tuple[Rule[StateT], ...]:
        """The rules that read one of some facets, without those that find nothing because what they need is absent."""
        readers = self._readers.get((facets, absent))
        if readers is None:
            reading = (rule for rule in self.by_name.values() if rule.reads & facets)
            readers = tuple(rule for rule in reading if not rule.needed or not absent.issuperset(rule.needed))
            self._readers[facets, absent] = readers
        return readers

    def _ask_all(self, rules: dict[str, Rule[StateT]], view: View[StateT]) -> list[Found[StateT]]:
        return [found for rule in rules.values() if (found := self._ask(rule, view)) is not None]

    def _ask_in_order(self, rules: dict[str, Rule[StateT]], view: View[StateT]) -> list[Found[StateT]]:
        """Ask rules in the order of their dependencies; one whose condition changed wakes those that ask for it."""
        all_found: list[Found[StateT]] = []
        conditions = view.read().conditions
        woken: set[str] = set()
        for name, rule in self.by_name.items():
            if name in rules or (woken and not woken.isdisjoint(self._asks[name])):
                before = conditions.get(name)
                if (found := self._ask(rule, view)) is not None:
                    all_found.append(found)
                if conditions.get(name) != before:
                    woken.add(name)
        return all_found

    def _ask(self, rule: Rule[StateT], moment: View[StateT]) -> Found[StateT] | None:
        """What one rule finds; None where it raised."""
        state, view = moment.read(), moment.of_rule(rule)
        # Out of the state while it is asked: `data_quality` must not see a failure of its own that is just ending.
        since = state.failing.pop(rule.name, view.now)
        try:
            outcomes = list(rule.find(view)) if self._is_whole(rule, view, state) else _of_parts(rule, view)
        except Exception:  # a faulty rule must not blind the others
            log.exception("rule %s failed; its alerts stay as they are", rule.name)
            self.on_rule_error(rule.name)
            state.failing[rule.name] = since
            return None
        outcomes = hold(rule, view, outcomes)
        if rule.channels:
            keep_watches(rule, state, view.watches or {}, view.older)
        if view.next_look is None:
            state.looks.pop(rule.name, None)
        else:
            state.looks[rule.name] = view.next_look
        if rule.name in self._asked:
            _keep_conditions(state, rule.name, outcomes)
        return Found(rule, outcomes)

    def _is_whole(self, rule: Rule[StateT], view: View[StateT], state: StateT) -> bool:
        """Return whether a rule must be asked for all of its conditions: it has no parts, or one of them may hold."""
        if not rule.parts or view.changed is None or rule.name in self._due or rule.name in state.looks:
            return True
        return any(alert.rule == rule.name for alert in state.alerts.values())


def _absent(state: SubjectState) -> frozenset[str]:
    """Return the kinds of inputs of which nothing is held; none where something but a look is kept for a rule."""
    if not isinstance(state, PatientState) or state.alerts or state.held or state.conditions or state.failing:
        return frozenset()
    return frozenset(kind for kind, held in HELD.items() if not held(state))


def _of_parts(rule: Rule[StateT], view: View[StateT]) -> list[Outcome]:
    """What the conditions find whose inputs changed; all others held neither before nor now."""
    changed = view.changed or frozenset()
    return [outcome for part in rule.parts if not part.reads.isdisjoint(changed) for outcome in part.find(view)]


def _keep_conditions(state: SubjectState, rule: str, outcomes: list[Outcome]) -> None:
    """Keep which conditions of a rule hold, for the rules that ask for them."""
    before = state.conditions.get(rule, {})
    held = {outcome.key: outcome.priority for outcome in outcomes if isinstance(outcome, Finding)}
    held |= {one.key: before[one.key] for one in outcomes if isinstance(one, Unchanged) and one.key in before}
    if held:
        state.conditions[rule] = held
    else:
        state.conditions.pop(rule, None)

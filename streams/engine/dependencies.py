"""The order of evaluation: a rule that takes another's condition as an input comes after it."""

from __future__ import annotations

from collections.abc import Iterable

from streams.rules.api import Rule, StateT
from streams.rules.inputs import held_rules


class RuleCircleError(Exception):
    """Rules take each other's conditions as inputs in a circle: none of them can be evaluated first."""


def in_order(rules: Iterable[Rule[StateT]]) -> tuple[Rule[StateT], ...]:
    """Return the rules, each after those whose conditions it takes as inputs, else in the order given.

    Raises:
        RuleCircleError: there is no such order; it names the rules.
    """
    left = {rule.name: rule for rule in rules}
    asked = {name: held_rules(rule.reads) for name, rule in left.items()}
    ordered: list[Rule[StateT]] = []
    while left:
        ready = next((name for name in left if left.keys().isdisjoint(asked[name])), None)
        if ready is None:
            raise RuleCircleError(f"rules ask for each other's conditions in a circle: {', '.join(sorted(left))}")
        ordered.append(left.pop(ready))
    return tuple(ordered)

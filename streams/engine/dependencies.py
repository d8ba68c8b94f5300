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
    left = list(rules)
    ordered: list[Rule[StateT]] = []
    while left:
        waiting = {rule.name for rule in left}
        ready = next((rule for rule in left if waiting.isdisjoint(held_rules(rule.reads))), None)
        if ready is None:
            raise RuleCircleError(f"rules ask for each other's conditions in a circle: {', '.join(sorted(waiting))}")
        ordered.append(ready)
        left.remove(ready)
    return tuple(ordered)

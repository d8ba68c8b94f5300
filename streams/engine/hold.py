"""The second stage of an evaluation: conditions that must hold for a while, and those that are kept for a while.

A condition counts from `Finding.counts_from` on, which is a function of the inputs. Once it counted it is kept for the
rule's `keep_for` after it is no longer found: a value that swings around its bound is one alert. What counts is stored
with the subject, so both survive a restart.
"""

from __future__ import annotations

from datetime import datetime

from streams.rules.api import Ending, Finding, Outcome, Rule, StateT, Unchanged, View


def hold(rule: Rule[StateT], view: View[StateT], outcomes: list[Outcome]) -> list[Outcome]:
    """Return the outcomes that count now; ask for a look when that changes without an event."""
    state = view.read()
    held = state.held.get(rule.name, {})
    passing: list[Outcome] = []
    for outcome in outcomes:
        if isinstance(outcome, Finding) and outcome.counts_from is not None and view.now < outcome.counts_from:
            view.look_at(outcome.counts_from)
            if outcome.key in held:  # it came back before it was over: nothing that a reader must know
                passing.append(Unchanged(outcome.key))
        else:
            passing.append(outcome)
    if rule.keep_for is None:
        return passing
    now_held: dict[str, datetime | None] = {outcome.key: None for outcome in passing if not isinstance(outcome, Ending)}
    for key in sorted(held.keys() - {outcome.key for outcome in passing}):
        gone_at = held[key] or view.now
        until = gone_at + rule.keep_for(view)
        view.look_at(until)
        if view.now < until:
            now_held[key] = gone_at
            passing.append(Unchanged(key))
    if now_held:
        state.held[rule.name] = now_held
    elif held:
        del state.held[rule.name]
    return passing

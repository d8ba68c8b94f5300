"""The second stage of an evaluation: conditions that must hold for a while, and those that are kept for a while.

A condition counts from `Finding.counts_from` on. Once it counted it is kept until `Lingering.until` after it is no
longer found: a value that swings around its bound is one alert. Both moments are functions of the inputs. Which
conditions count is stored with the subject, so a restart changes nothing.
"""

from __future__ import annotations

from streams.rules.api import Ending, Finding, Lingering, Outcome, Rule, StateT, Unchanged, View


def hold(rule: Rule[StateT], view: View[StateT], outcomes: list[Outcome]) -> list[Outcome]:
    """Return the outcomes that count now; ask for a look when that changes without an event."""
    if not rule.lingers:
        return outcomes
    state = view.read()
    held = state.held.get(rule.name, [])
    passing: list[Outcome] = []
    for outcome in outcomes:
        counts = not isinstance(outcome, Lingering)
        until = outcome.until if isinstance(outcome, Lingering) else None
        if isinstance(outcome, Finding):
            until, counts = outcome.counts_from, outcome.counts_from is None or outcome.counts_from <= view.now
        if until is not None:
            view.look_at(until)
        if counts:
            passing.append(outcome)
        elif outcome.key in held and until is not None and view.now < until:
            passing.append(Unchanged(outcome.key))  # it may be over soon, or came back: nothing that a reader must know
    count = sorted({outcome.key for outcome in passing if not isinstance(outcome, Ending)})
    if count:
        state.held[rule.name] = count
    elif held:
        del state.held[rule.name]
    return passing

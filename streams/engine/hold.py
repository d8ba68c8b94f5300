"""The second stage of an evaluation: conditions that must hold for a while, and those that are kept for a while.

A condition counts from `Finding.counts_from` on. Once it counted it is kept until `Lingering.until` after it is no
longer found: a value that swings around its bound is one alert. Both moments are functions of the inputs. Which
conditions count, and since when, is stored with the subject, so a restart changes nothing.

An input that comes late may show that a condition was over before it counted: it is not kept then.
"""

from __future__ import annotations

from datetime import datetime

from models.state import SubjectState
from streams.rules.api import Ending, Finding, Lingering, Outcome, Rule, StateT, Unchanged, View


def hold(rule: Rule[StateT], view: View[StateT], outcomes: list[Outcome]) -> list[Outcome]:
    """Return the outcomes that count now; ask for a look when that changes without an event."""
    if not rule.lingers:
        return outcomes
    state = view.read()
    held, since = state.held.get(rule.name, []), state.held_since.get(rule.name, {})
    passing: list[Outcome] = []
    for outcome in outcomes:
        counts = not isinstance(outcome, Lingering)
        until = outcome.until if isinstance(outcome, Lingering) else None
        if isinstance(outcome, Finding):
            until, counts = outcome.counts_from, outcome.counts_from is None or outcome.counts_from <= view.now
            if counts and until is not None:
                since[outcome.key] = min(until, since.get(outcome.key, until))
        if until is not None:
            view.look_at(until)
        if counts:
            passing.append(outcome)
        elif outcome.key in held and until is not None and view.now < until and not _never_counted(outcome, since):
            passing.append(Unchanged(outcome.key))  # it may be over soon, or came back: nothing that a reader must know
    _keep(state, rule.name, {outcome.key for outcome in passing if not isinstance(outcome, Ending)}, since)
    return passing


def _never_counted(outcome: Outcome, since: dict[str, datetime]) -> bool:
    """Return whether a condition that is no longer found was over before it was taken to count."""
    if not isinstance(outcome, Finding | Lingering) or outcome.unmet_at is None:
        return False
    return outcome.key in since and outcome.unmet_at <= since[outcome.key]


def _keep(state: SubjectState, rule: str, count: set[str], since: dict[str, datetime]) -> None:
    """Keep which conditions of a rule count, and since when."""
    state.held.pop(rule, None)
    state.held_since.pop(rule, None)
    if count:
        state.held[rule] = sorted(count)
    if since := {key: moment for key, moment in since.items() if key in count}:
        state.held_since[rule] = since

"""Bounds of channels that rules watch: a sample between them is filed and evaluates nobody."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from models.state import Bound, Channel, PatientState, Session, SubjectState
from models.state.channel import NEVER_S
from streams.rules.api import Rule
from streams.rules.facts.treatments import SKEW

Place = tuple[str, str]


def keep_watches(
    rule: Rule[Any],
    state: SubjectState,
    watches: Mapping[Place, Mapping[str, Bound]],
    older: frozenset[Place] = frozenset(),
) -> None:
    """Keep the bounds that a rule asked for at its evaluation, and drop those that it no longer asks for.

    Of the channels in `older` the minutes before the envelope are kept from now on.
    """
    if not isinstance(state, PatientState):
        return
    for session in state.sessions.values():
        for field in rule.channels:
            wanted = watches.get((session.session_id, field))
            known = session.channels.get(field)
            if wanted is None and known is None:
                continue
            kept = known or Channel()
            others = {name: bound for name, bound in kept.bounds.items() if not name.startswith(f"{rule.name}:")}
            kept.watch(others | {f"{rule.name}:{name}": bound for name, bound in (wanted or {}).items()})
            session.channels[field] = kept
            if kept.older is None and (session.session_id, field) in older:
                kept.older = []
            for name in wanted or ():
                kept.bounds[f"{rule.name}:{name}"].due = NEVER_S  # the evaluation has set looks of its own
        if _is_over(session) and not any(channel.bounds for channel in session.channels.values()):
            session.channels = {}  # nobody looks at an ended session


def _is_over(session: Session) -> bool:
    """Return whether the last word of a session is an end: no start came after it, and no blood flows."""
    if not session.ends:
        return False
    ended = session.ends[-1].at
    if session.starts and session.starts[-1].at > ended:
        return False
    return not session.flows or session.flows[-1].until <= ended + SKEW


def forget_watches(state: SubjectState, rules: Container[str]) -> None:
    """Drop the bounds of all other rules: a rule that is off must not be asked for a look at every crossing."""
    if not isinstance(state, PatientState):
        return
    for session in state.sessions.values():
        for channel in session.channels.values():
            channel.watch({name: one for name, one in channel.bounds.items() if name.partition(":")[0] in rules})

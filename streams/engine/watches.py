"""Bounds of channels that rules watch: a sample between them is filed and evaluates nobody."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from models.state import Bound, Channel, PatientState, Session, SubjectState
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
    prefix, watched = f"{rule.name}:", {session_id for session_id, _ in watches}
    for session in state.sessions.values():
        if not session.channels and session.session_id not in watched:
            continue  # as nearly all, which have ended
        for field in rule.channels:
            place = session.session_id, field
            wanted, known = watches.get(place), session.channels.get(field)
            if wanted is None and known is None:
                continue
            kept = known or Channel()
            kept.watch({prefix + name: bound for name, bound in (wanted or {}).items()}, of=prefix)
            session.channels[field] = kept
            if kept.older is None and place in older:
                kept.older = []
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
            channel.bounds = {name: one for name, one in channel.bounds.items() if name.partition(":")[0] in rules}

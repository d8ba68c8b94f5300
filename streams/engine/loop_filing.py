"""Filing for water loops and chairs: signals of patients, and people's answers to the loop's own alerts."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from models.alerts import Reason
from models.records import ChairSignal, LoopRecord, UnitSignal
from models.state import LONGEST_WINDOW, LoopState
from streams.engine.answers import file_response
from streams.engine.chair_conflicts import file_seat
from streams.engine.change import NOT_FILED, Change
from streams.engine.loop_signals import is_newer, last_at
from streams.engine.windows import SIGNALS

_SIGNAL: Final = frozenset({"unit_signal"})


def apply_loop(state: LoopState, event: LoopRecord, received_at: datetime, now: datetime) -> Change:
    """File an event into a water loop's windows; idempotent and commutative like `filing.apply`."""
    horizon = now - LONGEST_WINDOW
    if isinstance(event, UnitSignal):
        return NOT_FILED if last_at(event) < horizon else _signal(state, event, horizon)
    if isinstance(event, ChairSignal):
        return NOT_FILED if event.at < horizon else file_seat(state, event, horizon)
    return NOT_FILED if event.at < horizon else file_response(state, event, received_at, horizon)


def _signal(state: LoopState, event: UnitSignal, horizon: datetime) -> Change:
    known = state.signals.get(event.alert_id)
    if known is not None and not is_newer(event, known):
        return NOT_FILED
    state.signals[event.alert_id] = event
    dropped = SIGNALS.prune(state, horizon)
    if known is not None and event.retracted and not known.retracted:
        return Change(_SIGNAL, f"alert:{event.alert_id}", Reason.ENTERED_IN_ERROR, dropped)
    return Change(_SIGNAL, dropped=dropped)

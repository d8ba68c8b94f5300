"""Filing for water loops: signals of patients' alerts, and what people said about the loop's own alerts."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from models.alerts import Reason
from models.records import LoopRecord, UnitSignal
from models.state import LONGEST_WINDOW, MAX_RESPONSES, MAX_SIGNALS, LoopState
from streams.engine.apply import NOT_FILED, Change
from streams.engine.signals import is_newer
from streams.engine.windows import prune

_SIGNAL: Final = frozenset({"unit_signal"})
_RESPONSE: Final = frozenset({"alert_response"})


def apply_loop(state: LoopState, event: LoopRecord, _received_at: datetime, now: datetime) -> Change:
    """File an event into a water loop's windows; idempotent and commutative like `engine.apply`."""
    horizon = now - LONGEST_WINDOW
    if event.at < horizon:
        return NOT_FILED
    if isinstance(event, UnitSignal):
        return _signal(state, event, horizon)
    key = f"{event.alert_id}|{event.action}|{event.event_id or event.at.isoformat()}"
    if state.responses.get(key) == event:
        return NOT_FILED
    state.responses[key] = event
    dropped = prune(state.responses, MAX_RESPONSES, horizon, lambda response: response.at, frozenset())
    return Change(_RESPONSE, dropped=dropped)


def _signal(state: LoopState, event: UnitSignal, horizon: datetime) -> Change:
    known = state.signals.get(event.alert_id)
    if known is not None and not is_newer(event, known):
        return NOT_FILED
    state.signals[event.alert_id] = event
    used = {
        ground.removeprefix("alert:")
        for alert in state.alerts.values()
        if alert.over_at is None
        for ground in alert.grounds
    }
    dropped = prune(state.signals, MAX_SIGNALS, horizon, lambda signal: signal.at, used)
    if known is not None and event.retracted and not known.retracted:
        return Change(_SIGNAL, f"alert:{event.alert_id}", Reason.ENTERED_IN_ERROR, dropped)
    return Change(_SIGNAL, dropped=dropped)

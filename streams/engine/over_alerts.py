"""Alerts that are over: how long they stay on `alerts.active`, and when they are forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from models.state import LONGEST_WINDOW, MAX_OVER_ALERTS, NO_VALUE, AlertState, LoopState, PatientState
from streams.engine.messages import tombstone
from streams.engine.size_bounds import anchors_of, remains, surplus_over
from streams.engine.windows import prune

#: Kinds of anchors that name a session.
_OF_SESSIONS: Final = frozenset({"session", "setting"})


def bury(state: PatientState | LoopState, now: datetime, retention: timedelta) -> int:
    """Put a tombstone into the outbox for each alert that has been over for `retention`; forget unreachable ones.

    The newest results are kept however old they get, and the alerts that they anchor with them: a forgotten alert
    would begin again at revision 1.

    Returns:
        The bytes of the alerts that were buried.
    """
    size = 0
    for alert in _overdue(state, now, retention):
        del state.alerts[alert.alert_id]
        # Nothing sends it again, and raised again it is worded anew; what it showed is most of its size.
        alert.value, alert.shown, alert.grounds = NO_VALUE, "", []
        state.buried[alert.alert_id] = alert
        size += remains(alert)
        state.buried_until = max(state.buried_until or alert.at, alert.over_at or now)
        state.outbox.append(tombstone(alert.alert_id))
    if state.buried_until is None:
        return 0
    prune(
        state.buried,
        MAX_OVER_ALERTS,
        now - LONGEST_WINDOW,
        lambda alert: alert.over_at or now,
        lambda: {name for name, alert in state.buried.items() if _is_anchored(state, alert)},
    )
    return size


def _overdue(state: PatientState | LoopState, now: datetime, retention: timedelta) -> list[AlertState]:
    """Alerts whose time on `alerts.active` is up; the oldest leave early where more are over than are kept."""
    standing = [(alert.over_at, alert) for alert in state.alerts.values() if alert.over_at]
    standing.sort(key=lambda over: (over[0], over[1].alert_id))
    surplus = max(len(standing) - MAX_OVER_ALERTS, surplus_over(standing))
    return [a for number, (at, a) in enumerate(standing) if number < surplus or at + retention <= now]


def _is_anchored(state: PatientState | LoopState, alert: AlertState) -> bool:
    """Whether an input that may open the alert again is still held."""
    if isinstance(state, LoopState):
        return any(anchor.removeprefix("alert:") in state.signals for anchor in alert.anchors)
    # `arrivals` holds the ids of the inputs that are held, among others; sessions are held under their own.
    anchors = anchors_of(alert)
    return any(anchor in state.arrivals for anchor in anchors) or any(_names_session(state, one) for one in anchors)


def _names_session(state: PatientState, anchor: str) -> bool:
    """Whether an anchor is about a session that is held, one of its treatments, or a setting of its machine."""
    kind, _, name = anchor.partition(":")
    if kind not in _OF_SESSIONS:
        return False
    return any(name == each or name.startswith((f"{each}@", f"{each}:")) for each in state.sessions)

"""Filing what people said about alerts, of patients and of water loops alike."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from models.alerts import alert_id
from models.events import ResponseAction
from models.records import AlertResponse, UnitAlertResponse
from models.state import MAX_RESPONSES, MAX_TEXT, LoopState, PatientState
from streams.engine.change import NOT_FILED, Change, identity, wins
from streams.engine.clocks import AHEAD, SKEW
from streams.engine.windows import prune


def file_response(
    state: PatientState | LoopState,
    event: AlertResponse | UnitAlertResponse,
    received_at: datetime,
    horizon: datetime,
) -> Change:
    """File what a person said of an alert; words on open alerts are not pushed out by others.

    Nobody answers for what is yet to come: where the device's clock was ahead, it was said when it arrived.
    """
    # Alert ids are UUIDs: their case means nothing.
    event = msgspec.structs.replace(event, alert_id=event.alert_id.lower())  # type: ignore[type-var]
    key = f"{event.alert_id}|{event.action}|{identity(event)}"
    if event.at - received_at > AHEAD or abs(event.at - received_at) <= SKEW:
        event = msgspec.structs.replace(event, at=received_at)  # type: ignore[type-var]
    if event.reason and len(event.reason) > MAX_TEXT:
        event = msgspec.structs.replace(event, reason=event.reason[:MAX_TEXT])  # type: ignore[type-var]
    window: dict[str, Any] = state.responses
    if key in window and not wins(event, window[key]):
        return NOT_FILED
    window[key] = event
    dropped = prune(window, MAX_RESPONSES, horizon, lambda response: response.at, _newest_words(state) | {key})
    return Change(frozenset({"alert_response"}), dropped=dropped)


def _newest_words(state: PatientState | LoopState) -> set[str]:
    """The newest response of each kind to every open alert, and the newest `resolve` of those that are over."""
    ids = {
        name: alert.alert_id
        for alert in state.alerts.values()
        for name in (alert.alert_id, *(alert_id(alert.rule, state.id, ref) for ref in alert.anchors))
    }
    newest: dict[tuple[str, str], tuple[datetime, str]] = {}
    for key, response in state.responses.items():
        alert = state.alerts.get(ids.get(response.alert_id, ""))
        if alert and (alert.over_at is None or response.action is ResponseAction.RESOLVE):
            about = (ids[response.alert_id], response.action)
            newest[about] = max(newest.get(about, (response.at, key)), (response.at, key))
    return {key for _, key in newest.values()}

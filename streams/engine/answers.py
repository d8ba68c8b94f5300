"""Filing of people's answers to alerts, for patients and water loops alike."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from models.alerts import alert_id
from models.events import ResponseAction
from models.identity import identity
from models.records import AlertResponse, UnitAlertResponse
from models.state import MAX_TEXT, LoopState, PatientState
from streams.engine.change import NOT_FILED, Change, wins
from streams.engine.windows import RESPONSES


def file_response(
    state: PatientState | LoopState,
    event: AlertResponse | UnitAlertResponse,
    received_at: datetime,
    horizon: datetime,
) -> Change:
    """File a person's answer to an alert; the cap never drops the newest answers to open alerts.

    An answer covers what was known when it arrived, whatever the device's clock showed, so it is kept with the time of
    its first arrival. Alert ids are UUIDs and compared without case.
    """
    event = msgspec.structs.replace(  # type: ignore[type-var]
        event,
        alert_id=event.alert_id.lower(),
        reason=event.reason[:MAX_TEXT] if event.reason else event.reason,
    )
    key = f"{event.alert_id}|{event.action}|{identity(event)}"
    event = msgspec.structs.replace(event, at=received_at)  # type: ignore[type-var]
    window: dict[str, Any] = state.responses
    known = window.get(key)
    if known is not None:
        as_known = msgspec.structs.replace(event, at=known.at)  # type: ignore[type-var]
        if as_known == known:
            if event.at >= known.at:
                return NOT_FILED
        elif not wins(as_known, known):
            return NOT_FILED
    window[key] = event
    dropped = RESPONSES.prune(state, horizon, lambda: _newest_words(state) | {key})
    return Change(frozenset({"alert_response"}), dropped=dropped, unmatched=not _fits(state, event.alert_id))


def _fits(state: PatientState | LoopState, name: str) -> bool:
    """Return whether an answer names an alert that the subject has or had."""
    known = state.alerts | state.buried
    return name in known or any(
        name == alert_id(alert.rule, state.id, anchor) for alert in known.values() for anchor in alert.anchors
    )


def _newest_words(state: PatientState | LoopState) -> set[str]:
    """Return the keys of the newest answer of each kind to every open alert, and the newest `resolve` of ended ones."""
    known = state.alerts | state.buried
    ids = {
        name: alert.alert_id
        for alert in known.values()
        for name in (alert.alert_id, *(alert_id(alert.rule, state.id, ref) for ref in alert.anchors))
    }
    newest: dict[tuple[str, str], tuple[datetime, str]] = {}
    for key, response in state.responses.items():
        alert = known.get(ids.get(response.alert_id, ""))
        if alert and (alert.over_at is None or response.action is ResponseAction.RESOLVE):
            about = (ids[response.alert_id], response.action)
            newest[about] = max(newest.get(about, (response.at, key)), (response.at, key))
    return {key for _, key in newest.values()}

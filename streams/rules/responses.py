"""What persons said about an episode. A response names an alert id; any input of the episode may have named it.

The id of an alert depends on the order of arrival (the input that happened to complete the condition first, and
may since have been corrected), so a response is matched against the ids that every input which could have named
the alert would have given: order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from models.alerts import alert_id
from models.events import ResponseAction

if TYPE_CHECKING:
    from models.records import AlertResponse, UnitAlertResponse
    from models.state import LoopState, PatientState


def responses_to(
    state: PatientState | LoopState, rule: str, key: str, anchors: Iterable[str]
) -> list[AlertResponse | UnitAlertResponse]:
    """Responses to the condition of `key`, oldest first."""
    if not state.responses:
        return []
    ids = {
        alert.alert_id
        for alert in state.alerts.values()
        if alert.rule == rule and alert.key == key and alert.over_at is None
    }
    ids.update(alert_id(rule, state.id, anchor) for anchor in anchors)
    found = [response for response in state.responses.values() if response.alert_id in ids]
    return sorted(found, key=lambda response: (response.at, response.action, response.by))


def settled_at(state: PatientState | LoopState, rule: str, key: str, anchors: Iterable[str]) -> datetime | None:
    """When a person last declared the condition of `key` over, or None."""
    resolved = [
        response.at for response in responses_to(state, rule, key, anchors) if response.action is ResponseAction.RESOLVE
    ]
    return resolved[-1] if resolved else None

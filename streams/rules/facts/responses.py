"""People's answers to an episode. An answer names an alert id; any input of the episode may have given that id.

The id of an alert depends on the order of arrival (the input that happened to complete the condition first, and may
since have been corrected). So an answer is matched against the ids of all inputs that could have been the anchor, and
the order does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from models.alerts import alert_id
from models.events import ResponseAction
from models.state import LoopState, PatientState
from streams.rules.api import PatientView
from streams.rules.inputs import RESPONSE


@dataclass(frozen=True, slots=True)
class CountedAnswer:
    """A person's answer: from when it counts, and until when a snooze lasts."""

    at: datetime
    action: ResponseAction
    by: str
    until: datetime | None


def responses_to(state: PatientState | LoopState, rule: str, key: str, anchors: Iterable[str]) -> list[CountedAnswer]:
    """Return the answers to the condition of `key`, oldest first.

    A person who names an alert knew of it, and so of the input that gave it its id: an answer counts from the arrival
    of that input on, if its own time lies before (clocks differ, and messages may be read in another order).
    """
    if not state.responses:
        return []
    known: dict[str, datetime | None] = {
        alert.alert_id: None
        for alert in state.alerts.values()
        if alert.rule == rule and alert.key == key and alert.over_at is None
    }
    arrivals = state.arrivals if isinstance(state, PatientState) else {}
    for anchor in anchors:
        for name in (anchor, f"{anchor}@{key}"):
            known[alert_id(rule, state.id, name)] = arrivals.get(anchor)
    found = []
    for response in state.responses.values():
        if response.alert_id in known:
            since = known[response.alert_id]
            counts_at = max(response.at, since) if since else response.at
            found.append(CountedAnswer(counts_at, response.action, response.by, response.until))
    return sorted(found, key=lambda answer: (answer.at, answer.action, answer.by))


def settled_at(state: PatientState | LoopState, rule: str, key: str, anchors: Iterable[str]) -> datetime | None:
    """Return when a person last resolved the condition of `key`, or None."""
    return last_resolved(responses_to(state, rule, key, anchors))


def last_resolved(answers: list[CountedAnswer]) -> datetime | None:
    """Return when the last of the answers, oldest first, that resolves was given, or None."""
    resolved = [answer.at for answer in answers if answer.action is ResponseAction.RESOLVE]
    return resolved[-1] if resolved else None


def settled(
    view: PatientView, rule: str, key: str, named_by: Callable[[PatientState, str], Iterable[str]]
) -> datetime | None:
    """Return when a person last resolved the condition of `key`, or None; `named_by` as the rule declares it."""
    state = view.read(RESPONSE)
    return settled_at(state, rule, key, named_by(state, key)) if state.responses else None

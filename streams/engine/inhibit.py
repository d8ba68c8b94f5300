"""The third stage of an evaluation: greater alerts that are open lower the lesser ones, or hold them back.

The pairs are declared on the lesser rule (`Rule.yields_to`), which is evaluated after the greater one. Everything of a
subject is one record, so there is no moment in which a greater alert is not known yet. A pair may be about some of the
conditions alone (`Inhibition.applies`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from models.alerts import Priority, Reason
from models.state import AlertState, LoopState, PatientState
from streams.rules.api import Finding, Outcome, Rule
from streams.rules.inhibition import Inhibition

State = PatientState | LoopState
_BY_RANK: Final = {priority.rank: priority for priority in Priority}


def inhibit(state: State, rule: Rule[Any], outcomes: list[Outcome]) -> list[Outcome]:
    """Return the outcomes of a rule under the greater alerts that are open now."""
    if not rule.yields_to or not outcomes:
        return outcomes
    by = [(each, alert) for each in rule.yields_to for alert in open_alerts(state, {each.by})]
    if not by:
        return outcomes
    found = [_under(state, rule, outcome, by) if isinstance(outcome, Finding) else outcome for outcome in outcomes]
    return [outcome for outcome in found if outcome is not None]


def _under(state: State, rule: Rule[Any], finding: Finding, by: list[tuple[Inhibition, AlertState]]) -> Finding | None:
    """Return a finding lowered by greater alerts and linked to them; None where they hold it back."""
    by = [
        (each, alert)
        for each, alert in by
        if alert.priority.rank >= each.least.rank and each.is_about(finding.key, alert.key)
    ]
    if not by or finding.priority is Priority.HIGH:
        return finding
    is_open = any(alert.key == finding.key for alert in open_alerts(state, {rule.name}))
    if not is_open and any(each.holds_back for each, _ in by):
        return None
    rank = max(0, finding.priority.rank - max(each.lower_by for each, _ in by))
    ids = sorted({alert.alert_id for _, alert in by})
    return replace(finding, priority=_BY_RANK[rank], inhibited_by=tuple(ids), reason=Reason.INHIBITED)


def open_alerts(state: State, rules: Iterable[str]) -> list[AlertState]:
    """Return the open alerts of some rules."""
    return [alert for alert in state.alerts.values() if alert.over_at is None and alert.rule in rules]


def lesser_of(state: State, greater: AlertState) -> list[str]:
    """Return the ids of the open alerts that an alert lowers."""
    if greater.over_at is not None:
        return []
    found = (one for one in state.alerts.values() if one.over_at is None and greater.alert_id in one.inhibited_by)
    return sorted(alert.alert_id for alert in found)

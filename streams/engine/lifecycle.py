"""The life cycle of alerts: compares what holds now with the open alerts, and yields transitions.

The whole state machine is in this file. `match` follows the conditions (raised, updated, escalated by severity,
over); `tend` follows people and the clock (acknowledged, snoozed, unanswered). Both are functions of the windows
and the clock: an answer counts only for what was known when it arrived, so no order of arrival changes where an
alert ends up.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from models.alerts import Reason, Status, Transition, alert_id
from models.events import ResponseAction
from models.state import MAX_EVIDENCE, AlertState, LoopState, PatientState
from streams.engine.size_bounds import bounded
from streams.rules.api import Ending, Finding, Outcome, Rule
from streams.rules.catalogue import ResponseLimits
from streams.rules.facts.responses import CountedAnswer, last_resolved, responses_to, settled_at

State = PatientState | LoopState
#: The rules of a subject's kind by their names.
Rules = Mapping[str, Rule[Any]]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the engine evaluates: an input changed after the fact, or the rule settings changed."""

    corrected: str | None = None
    reason: Reason | None = None


#: A new event, or the clock.
ORDINARY: Final = Cause()
#: The rule settings differ from those of the last evaluation.
NEW_SETTINGS: Final = Cause(reason=Reason.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class Step:
    """A transition to publish: the alert after it, and the finding that the message shows.

    Without a finding the message shows what the one before it showed.
    """

    alert: AlertState
    transition: Transition
    reason: Reason
    finding: Finding | None = None


def match(state: State, rule: Rule[Any], outcomes: Iterable[Outcome], now: datetime, cause: Cause) -> list[Step]:
    """Bring a rule's open alerts in line with its present outcomes.

    An alert is matched by its rule and key; it keeps its id while it is open, whichever input began it.
    """
    findings: dict[str, Finding] = {}
    endings: dict[str, Ending] = {}
    unchanged: set[str] = set()
    for outcome in outcomes:
        if isinstance(outcome, Finding):
            findings[outcome.key] = bounded(_bounded(outcome))
        elif isinstance(outcome, Ending):
            endings[outcome.key] = outcome
        else:
            unchanged.add(outcome.key)
    steps = []
    for alert in [a for a in state.alerts.values() if a.rule == rule.name and a.over_at is None]:
        finding = findings.pop(alert.key, None)
        if finding is None and alert.key in unchanged:
            continue  # a person's `resolve` of it is followed by `tend`
        if finding is None:
            steps.append(_end(state, rule, alert, endings.get(alert.key), now, cause))
        else:
            steps += _follow(state, rule, alert, finding, now, cause)
    steps += [step for finding in findings.values() if (step := _raise(state, rule, finding, now))]
    return steps


def tend(state: State, rules: Rules, limits: ResponseLimits, now: datetime) -> list[Step]:
    """Apply people's answers to the open alerts, and escalate those that nobody answered in time.

    Alerts of other rules than `rules` (a newer version's) stay as they are.
    """
    steps = []
    for alert in state.alerts.values():
        if alert.over_at is not None or (rule := rules.get(alert.rule)) is None:
            continue
        said = _responses(state, rule, alert)
        if _is_settled(alert, said):
            steps.append(_close(alert, Status.RESOLVED, Reason.RESOLVED_BY_PERSON, now))
            continue
        status = _answered(alert, said, now)
        if status is not alert.status:
            steps.append(_answer(alert, said, status, now))
        elif (due := _unanswered_at(alert, limits)) and due <= now:
            alert.escalation += 1
            steps.append(_step(alert, Transition.ESCALATED, Reason.UNACKNOWLEDGED, now))
    return steps


def restate(alert: AlertState, above: int, now: datetime) -> Step:
    """Repeat the alert as it stands in a revision above one that somebody else sent: readers never go back."""
    alert.revision = max(alert.revision, above)
    transition = Transition.UPDATED if alert.over_at is None else _CLOSINGS[alert.status]
    return _step(alert, transition, Reason.CONTRADICTED, now)


def next_deadline(state: State, rules: Rules, limits: ResponseLimits, retention: timedelta) -> datetime | None:
    """Return when the clock alone changes an alert: a snooze ends, nobody answered, a tombstone is due."""
    moments = []
    for alert in state.alerts.values():
        if alert.over_at is not None:
            moments.append(alert.over_at + retention)
            continue
        if (rule := rules.get(alert.rule)) is None:
            continue
        if alert.status is Status.SNOOZED and (until := _snoozed_until(state, rule, alert)):
            moments.append(until)
        if due := _unanswered_at(alert, limits):
            moments.append(due)
    return min(moments, default=None)


# -- conditions -------------------------------------------------------------------------------------------------------


def _bounded(finding: Finding) -> Finding:
    """Limit a finding to `MAX_EVIDENCE` anchors and inputs: the first anchors, the first and the newest evidence."""
    if len(finding.evidence) <= MAX_EVIDENCE and len(finding.anchors) <= MAX_EVIDENCE:
        return finding
    rest = 1 - MAX_EVIDENCE
    return replace(
        finding,
        anchors=finding.anchors[:MAX_EVIDENCE],
        evidence=finding.evidence
        if len(finding.evidence) <= MAX_EVIDENCE
        else (finding.evidence[0], *finding.evidence[rest:]),
    )


def _raise(state: State, rule: Rule[Any], finding: Finding, now: datetime) -> Step | None:
    """Raise an alert for a condition without an open one, unless a person has resolved what is known of it."""
    settled = settled_at(state, rule.name, finding.key, _names(state, rule, finding.key, finding.anchors))
    if settled is not None and settled >= finding.known_at:
        return None
    ids = _free_ids(state, rule.name, finding)
    alert = next((known for name in ids if (known := _ended(state, name)) is not None), None)
    if alert is None:
        alert = AlertState(
            alert_id=ids[0],
            rule=rule.name,
            key=finding.key,
            revision=0,
            status=Status.ACTIVE,
            priority=finding.priority,
            onset_at=finding.onset_at,
            at=now,
            value=msgspec.Raw(b""),
            shown="",
            anchors=[],
            grounds=[],
            known_at=finding.known_at,
            level_known_at=finding.level_known_at,
        )
    state.alerts[alert.alert_id] = alert
    alert.key, alert.over_at = finding.key, None
    _adopt(alert, finding)
    _call_again(alert)
    alert.status = Status.ACTIVE
    return _step(alert, Transition.RAISED, finding.reason, now, finding)


def _ended(state: State, name: str) -> AlertState | None:
    """Return an alert of this id, which is over, out of the buried ones if it is there."""
    return state.alerts.get(name) or state.buried.pop(name, None)


def _free_ids(state: State, rule: str, finding: Finding) -> list[str]:
    """Return the alert ids that the anchors give, without those of the rule's open alerts for other conditions.

    Senders use ids again: the second symptom "1" of a day is another condition than the first.
    """
    ids = [alert_id(rule, state.id, anchor) for anchor in finding.anchors]
    taken = {name for name in ids if (alert := state.alerts.get(name)) and alert.over_at is None}
    free = [name for name in ids if name not in taken]
    return free or [alert_id(rule, state.id, f"{finding.anchors[0]}@{finding.key}")]


def _follow(
    state: State, rule: Rule[Any], alert: AlertState, finding: Finding, now: datetime, cause: Cause
) -> list[Step]:
    """Continue an open alert whose condition still holds: worse, milder, shown differently, or unchanged."""
    before, shown, grounds, was_under = alert.priority, alert.shown, alert.grounds, alert.inhibited_by
    _adopt(alert, finding)
    turned = _turned(was_under, alert.inhibited_by)
    said = _responses(state, rule, alert)
    if _is_settled(alert, said):
        return [_close(alert, Status.RESOLVED, Reason.RESOLVED_BY_PERSON, now)]
    if alert.priority is not before:
        worse = alert.priority.rank > before.rank
        status = _answered(alert, said, now)
        if status is Status.ACTIVE and (worse or alert.status is not Status.ACTIVE):
            _call_again(alert)
        alert.status = status
        transition = Transition.ESCALATED if worse else Transition.DEESCALATED
        return [_step(alert, transition, turned or Reason.SEVERITY_CHANGED, now, finding)]
    if alert.shown != shown:
        corrected = cause.corrected in grounds or cause.reason is Reason.SUPERSEDED
        reason = cause.reason if corrected and cause.reason else turned or Reason.EVIDENCE_CHANGED
        return [_step(alert, Transition.UPDATED, reason, now, finding)]
    return []


def _turned(before: list[str], after: list[str]) -> Reason | None:
    """Return the reason that an inhibition gives which began, changed or ended."""
    if before == after:
        return None
    return Reason.INHIBITED if after else Reason.INHIBITION_ENDED


def update(alert: AlertState, now: datetime) -> Step:
    """Show an open alert again, whose links to lesser alerts have changed."""
    return _step(alert, Transition.UPDATED, Reason.EVIDENCE_CHANGED, now)


def _end(state: State, rule: Rule[Any], alert: AlertState, ending: Ending | None, now: datetime, cause: Cause) -> Step:
    """End an open alert whose condition no longer holds; withdraw it if its ground was corrected away."""
    if ending is not None:
        return _close(alert, ending.status, ending.reason, now)
    if cause.corrected in alert.grounds and cause.reason:
        return _close(alert, Status.WITHDRAWN, cause.reason, now)
    if _is_settled(alert, _responses(state, rule, alert)):
        return _close(alert, Status.RESOLVED, Reason.RESOLVED_BY_PERSON, now)
    return _close(alert, Status.RESOLVED, cause.reason or Reason.CONDITION_CLEARED, now)


def _adopt(alert: AlertState, finding: Finding) -> None:
    """Copy the content of a finding into the alert."""
    alert.priority = finding.priority
    alert.onset_at = finding.onset_at
    alert.known_at = finding.known_at
    alert.level_known_at = finding.level_known_at
    alert.inhibited_by = list(finding.inhibited_by)
    alert.anchors = list(finding.anchors)
    alert.grounds = [f"{item.kind}:{item.id}" for item in finding.evidence]
    alert.shown = _digest(finding)


def _digest(finding: Finding) -> str:
    shown: list[Any] = [finding.onset_at, finding.summary, finding.guidance, finding.evidence]
    if finding.news is not None:
        shown = [finding.news, finding.guidance]
    content = msgspec.json.encode([*shown, finding.inhibited_by] if finding.inhibited_by else shown)
    return hashlib.blake2s(content, digest_size=8).hexdigest()


# -- people and the clock ---------------------------------------------------------------------------------------------


def _is_settled(alert: AlertState, said: list[CountedAnswer]) -> bool:
    """Return whether a person has resolved what is known of the alert's condition."""
    settled = last_resolved(said)
    return settled is not None and settled >= alert.known_at


def _responses(state: State, rule: Rule[Any], alert: AlertState) -> list[CountedAnswer]:
    """Return people's answers to an alert, oldest first."""
    if not state.responses:
        return []
    return responses_to(state, rule.name, alert.key, _names(state, rule, alert.key, alert.anchors))


def _names(state: State, rule: Rule[Any], key: str, anchors: Iterable[str]) -> Iterable[str]:
    """Return the inputs that may have been the anchor of a condition's alert."""
    if rule.named_by is None or not state.responses:
        return anchors
    return {*anchors, *rule.named_by(state, key)}


def _answered(alert: AlertState, said: list[CountedAnswer], now: datetime) -> Status:
    """Return the status that people's newest answer to the present priority gives.

    Answers before a `resolve` belong to what it ended, not to what came after.
    """
    for response in reversed(said):
        if response.at < alert.level_known_at or response.action is ResponseAction.RESOLVE:
            break
        if response.action is ResponseAction.UNACKNOWLEDGE:
            break
        if response.action is ResponseAction.ACKNOWLEDGE:
            return Status.ACKNOWLEDGED
        if response.action is ResponseAction.SNOOZE and response.until:
            return Status.SNOOZED if response.until > now else Status.ACTIVE
    return Status.ACTIVE


def _snoozed_until(state: State, rule: Rule[Any], alert: AlertState) -> datetime | None:
    snoozes = [r.until for r in _responses(state, rule, alert) if r.action is ResponseAction.SNOOZE]
    return snoozes[-1] if snoozes else None


_ANSWERS: Final = {
    Status.ACKNOWLEDGED: (Transition.ACKNOWLEDGED, Reason.ACKNOWLEDGED),
    Status.SNOOZED: (Transition.SNOOZED, Reason.SNOOZED),
    Status.ACTIVE: (Transition.REMINDED, Reason.SNOOZE_ENDED),
}


def _answer(alert: AlertState, said: list[CountedAnswer], status: Status, now: datetime) -> Step:
    transition, reason = _ANSWERS[status]
    if status is Status.ACTIVE:
        if said and said[-1].action is ResponseAction.UNACKNOWLEDGE:
            transition, reason = Transition.UPDATED, Reason.UNACKNOWLEDGED_BY_PERSON
        elif alert.status is not Status.SNOOZED:
            transition, reason = Transition.UPDATED, Reason.EVIDENCE_CHANGED
        _call_again(alert)
    alert.status = status
    return _step(alert, transition, reason, now)


def _call_again(alert: AlertState) -> None:
    """Start the response times anew; they count from when the alert can be seen."""
    alert.escalation, alert.seen_at = 0, None


def _unanswered_at(alert: AlertState, limits: ResponseLimits) -> datetime | None:
    if alert.status is not Status.ACTIVE or alert.seen_at is None:
        return None
    delays = limits.delays(alert.priority)
    if alert.escalation >= len(delays):
        return None
    return alert.seen_at + timedelta(seconds=delays[alert.escalation])


def _close(alert: AlertState, status: Status, reason: Reason, now: datetime) -> Step:
    alert.status, alert.over_at, alert.seen_at, alert.inhibits = status, now, None, []
    return _step(alert, _CLOSINGS[status], reason, now)


_CLOSINGS: Final = {
    Status.RESOLVED: Transition.RESOLVED,
    Status.WITHDRAWN: Transition.WITHDRAWN,
    Status.EXPIRED: Transition.EXPIRED,
}


def _step(
    alert: AlertState, transition: Transition, reason: Reason, now: datetime, finding: Finding | None = None
) -> Step:
    alert.revision += 1
    alert.at = max(alert.at, now)
    return Step(copy.copy(alert), transition, reason, finding)


def order(step: Step) -> tuple[bool, str, str, int]:
    """Return the sort key for transitions of one moment: endings before escalations, then rule, then id."""
    return step.alert.over_at is None, step.alert.rule, step.alert.alert_id, step.alert.revision

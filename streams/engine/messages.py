"""From a step of the life cycle to the exact bytes of its message, stored in the outbox before they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from models.alerts import AlertRecord
from models.state import Entry, LoopState, PatientState
from models.text import all_on_one_line, is_plain
from models.topics import ALERTS_ACTIVE, ALERTS_UNIT
from streams.engine.lifecycle import Step
from streams.engine.trend import earlier_values
from streams.rules.api import Rule
from streams.rules.facts import bedside
from streams.rules.facts.treatments import treatment_at, treatments

_encode = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(AlertRecord)


@dataclass(frozen=True, slots=True)
class Place:
    """The patient and the place that an alert names."""

    patient_id: str | None
    unit_id: str | None
    session_id: str | None
    chair: str | None
    water_loop_id: str | None


def tell(state: PatientState | LoopState, rule: Rule[Any], step: Step) -> AlertRecord:
    """Encode a step once, keep its bytes as the alert's newest and put them into the outbox."""
    alert = step.alert
    if step.finding is None:
        shown = _decoder.decode(state.alerts[alert.alert_id].value)
        summary, guidance, evidence = shown.summary, shown.guidance, shown.evidence
        session_id = shown.session_id
        context, bound = shown.context, shown.bound
    else:
        finding = step.finding
        summary, guidance, evidence = finding.summary, list(finding.guidance), list(finding.evidence)
        session_id = finding.session_id
        context, bound = earlier_values(state, finding), finding.bound
    place = _place(state, step, session_id)
    message = AlertRecord(
        alert_id=alert.alert_id,
        revision=alert.revision,
        rule=rule.name,
        rule_version=rule.version,
        family=rule.family,
        status=alert.status,
        transition=step.transition,
        reason=step.reason,
        priority=alert.priority,
        escalation=alert.escalation,
        patient_id=place.patient_id,
        unit_id=place.unit_id,
        session_id=place.session_id,
        chair=place.chair,
        water_loop_id=place.water_loop_id,
        onset_at=alert.onset_at,
        at=alert.at,
        summary=summary,
        guidance=guidance,
        evidence=evidence,
        context=context,
        bound=bound,
        inhibited_by=alert.inhibited_by,
        inhibits=alert.inhibits,
    )
    encoded = _encode(message)
    if not is_plain(encoded):
        # A summary is one line, whatever a rule or an older version's state holds (contract, Details and text).
        message = msgspec.convert(all_on_one_line(msgspec.to_builtins(message)), AlertRecord)
        encoded = _encode(message)
    value = msgspec.Raw(encoded)
    state.alerts[alert.alert_id].value = value
    state.outbox.append(
        Entry(
            topic=ALERTS_UNIT if rule.family == "unit" else f"alerts.{rule.family}",
            key=state.id,
            value=value,
            ce_id=f"{alert.alert_id}:{alert.revision}",
            ce_type=f"dialysis.alert.{step.transition}",
        )
    )
    return message


def tombstone(alert_id: str) -> Entry:
    """Return the record that removes an alert from `alerts.active`."""
    return Entry(topic=ALERTS_ACTIVE, key=alert_id)


def _place(state: PatientState | LoopState, step: Step, session_id: str | None) -> Place:
    """Return patient and place by the condition's session, else by the one that runs now; null where unknown."""
    if isinstance(state, LoopState):
        return Place(None, None, None, None, state.id)
    found = treatments(state)
    of_condition = [one for one in found if one.session_id == session_id]
    session = of_condition[-1] if of_condition else None if session_id else treatment_at(found, step.alert.at)
    chair = session.started.chair if session and session.started else None
    return Place(
        patient_id=state.id,
        unit_id=state.unit_id,
        session_id=session.session_id if session else session_id,
        chair=chair,
        water_loop_id=bedside.water_loop(state),
    )

"""What a patient's aluminium alerts mean for the water loop: signals, and their retraction.

A signal stands for an alert of `aluminum_suspicion`, or of `aluminum_level` from priority medium (60 ug/L) on,
whether open or over; only a withdrawn alert takes it back, and a patient who moves to another loop takes it along.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from models.alerts import AlertRecord, Priority, Status
from models.records import UnitSignal
from models.state import Entry, PatientState
from models.topics import UNIT_SIGNALS
from streams.rules import aluminum, aluminum_level, bedside

#: A signal counts for 30 days on the loop; kept a little longer for late retractions.
_KEPT: Final = timedelta(days=35)
_encode = msgspec.json.Encoder().encode


def send_signals(state: PatientState, told: list[AlertRecord], now: datetime) -> None:
    """Put into the outbox what changed for a water loop since the last look."""
    for alert in told:
        if _tells(alert):
            _signal(state, alert, retracted=alert.status is Status.WITHDRAWN)
    if not state.signals:
        return
    loop = bedside.water_loop(state)
    for signal in list(state.signals.values()):
        if signal.at < now - _KEPT:
            del state.signals[signal.alert_id]
        elif loop is not None and signal.water_loop_id != loop:
            if signal.water_loop_id and not signal.retracted:
                _send(state, msgspec.structs.replace(signal, retracted=True))  # type: ignore[type-var]
            _send(state, msgspec.structs.replace(signal, water_loop_id=loop))  # type: ignore[type-var]


def _tells(alert: AlertRecord) -> bool:
    if alert.rule == aluminum.SUSPICION:
        return True
    return alert.rule == aluminum_level.NAME and alert.priority.rank >= Priority.MEDIUM.rank


def _signal(state: PatientState, alert: AlertRecord, *, retracted: bool) -> None:
    known = state.signals.get(alert.alert_id)
    if known is not None and known.retracted == retracted:
        return
    loop = known.water_loop_id if known else bedside.water_loop(state)
    _send(
        state,
        UnitSignal(
            at=alert.onset_at,
            water_loop_id=loop or "",
            patient_id=state.id,
            alert_id=alert.alert_id,
            revision=alert.revision,
            sequence=1,
            rule=alert.rule,
            retracted=retracted,
        ),
    )


def _send(state: PatientState, signal: UnitSignal) -> None:
    """Number a signal, remember it, and tell the loop if there is one to tell."""
    state.signal_sequence += 1
    numbered: UnitSignal = msgspec.structs.replace(signal, sequence=state.signal_sequence)  # type: ignore[type-var]
    state.signals[signal.alert_id] = numbered
    if signal.water_loop_id:
        entry = Entry(topic=UNIT_SIGNALS, key=signal.water_loop_id, value=msgspec.Raw(_encode(numbered)))
        state.outbox.append(entry)


def is_newer(signal: UnitSignal, known: UnitSignal) -> bool:
    """Whether a signal replaces what a loop knows: the higher revision, then the higher sequence."""
    return (signal.revision, signal.sequence) > (known.revision, known.sequence)

"""Signals from a patient's aluminium alerts to the water loop, and their retraction.

A signal stands for a suspicion of aluminium, or for levels from priority medium (60 ug/L) on. Like a finding it is
a function of the patient's windows, so no order of arrival changes what the loop knows. A suspicion that a level
excluded later, or that a person resolved, still counts; one whose inputs were in error does not. The signals of a
patient who moves to another loop move along.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from models.alerts import Priority, alert_id
from models.records import UnitSignal
from models.state import LONGEST_WINDOW, Entry, PatientState
from models.topics import UNIT_SIGNALS
from streams.rules import aluminum, aluminum_level
from streams.rules.api import PatientView
from streams.rules.facts import bedside
from streams.rules.facts.suspicion import INPUTS, NAME, pictures, suspicion_limits
from streams.rules.inputs import Facets

_encode = msgspec.json.Encoder().encode
_READS: Final = frozenset[str]().union(*(each.facets for each in INPUTS))


@dataclass(frozen=True, slots=True)
class _Meaning:
    """The content of a signal for one rule of a patient: from when to when, and known since when."""

    alert_id: str
    revision: int
    rule: str
    at: datetime
    last_at: datetime
    known_at: datetime


def send_signals(view: PatientView) -> None:
    """Put the signals that changed since the last evaluation into the outbox."""
    state, horizon = view.read(), view.now - LONGEST_WINDOW
    if not state.signals and not _may_mean_something(state, view.changed):
        return  # none was sent that could be untrue now
    # The record that stays sends the signals of a record given up.
    told = _meanings(view, horizon) if state.merged_into is None else ()
    meanings = {meaning.alert_id: meaning for meaning in told}
    if not meanings and not state.signals:
        return
    loop = bedside.water_loop(state)
    for meaning in meanings.values() if loop is not None else ():  # a session that names a loop brings this here again
        known = state.signals.get(meaning.alert_id)
        if known and not known.retracted and known.water_loop_id != loop:
            _send(state, msgspec.structs.replace(known, retracted=True))  # type: ignore[type-var]
        _tell(state, meaning, loop or "")
    # Retract after sending what is new: a loop must see no gap where one alert follows another.
    for signal in list(state.signals.values()):
        if signal.alert_id in meanings and loop is not None:
            continue
        if last_at(signal) < horizon:
            del state.signals[signal.alert_id]
        elif not signal.retracted:
            _send(state, msgspec.structs.replace(signal, retracted=True))  # type: ignore[type-var]


def _may_mean_something(state: PatientState, changed: Facets | None) -> bool:
    """Return whether an input of a signal is held, and may have changed."""
    return (changed is None or not changed.isdisjoint(_READS)) and bool(state.labs or state.symptoms)


def _tell(state: PatientState, meaning: _Meaning, loop: str) -> None:
    known = state.signals.get(meaning.alert_id)
    if known and not known.retracted and _told(known) == (meaning.at, meaning.last_at, meaning.known_at):
        return
    signal = UnitSignal(
        at=meaning.at,
        last_at=meaning.last_at,
        known_at=meaning.known_at,
        water_loop_id=loop,
        patient_id=state.id,
        alert_id=meaning.alert_id,
        revision=meaning.revision,
        sequence=1,
        rule=meaning.rule,
        retracted=False,
    )
    _send(state, signal)


def _meanings(view: PatientView, horizon: datetime) -> Iterator[_Meaning]:
    settings, state = view.settings, view.read()
    if settings.is_on(aluminum.SUSPICION_RULE):
        found = [picture for picture in pictures(view, suspicion_limits(view)) if picture.newest_at >= horizon]
        if found:
            moments = [moment for picture in found for moment in (picture.onset_at, picture.newest_at)]
            yield _meaning(state, NAME, found[-1].anchors[0], moments, max(moments))
    if settings.is_on(aluminum_level.RULE):
        limits = settings.limits(aluminum_level.NAME, aluminum_level.AluminumLevelLimits)
        high = [level for level in aluminum_level.levels_from(view, limits, Priority.MEDIUM) if level.at >= horizon]
        if high:
            known = max(level.known_at for level in high)
            yield _meaning(state, aluminum_level.NAME, high[-1].ref, [level.at for level in high], known)


def _meaning(state: PatientState, rule: str, anchor: str, moments: list[datetime], known_at: datetime) -> _Meaning:
    """Build a signal's content under the id of the rule's newest alert, or the id that its first one would have."""
    alerts = [alert for alert in (*state.alerts.values(), *state.buried.values()) if alert.rule == rule]
    newest = max(alerts, key=lambda alert: (alert.at, alert.alert_id), default=None)
    name = newest.alert_id if newest else alert_id(rule, state.id, anchor)
    return _Meaning(name, newest.revision if newest else 1, rule, min(moments), max(moments), known_at)


def _told(signal: UnitSignal) -> tuple[datetime, datetime, datetime | None]:
    return signal.at, last_at(signal), signal.known_at


def _send(state: PatientState, signal: UnitSignal) -> None:
    """Number a signal, remember it and put it into the outbox."""
    state.signal_sequence += 1
    numbered: UnitSignal = msgspec.structs.replace(signal, sequence=state.signal_sequence)  # type: ignore[type-var]
    state.signals[signal.alert_id] = numbered
    state.outbox.append(Entry(topic=UNIT_SIGNALS, key=signal.water_loop_id, value=msgspec.Raw(_encode(numbered))))


def last_at(signal: UnitSignal) -> datetime:
    """Return the newest moment that a signal covers."""
    return signal.last_at or signal.at


def is_newer(signal: UnitSignal, known: UnitSignal) -> bool:
    """Return whether a signal replaces the known one: the higher revision wins, then the higher sequence."""
    return (signal.revision, signal.sequence) > (known.revision, known.sequence)

"""Filing of machines' alarms: a flood of one alarm, or of many, must not make the record grow.

Kept of one alarm are its newest starts and ends, the newest two of its `continue`, the stretches in which it was told
to be on, and the message that began each. Whatever the order, that is a function of what arrived: stretches only grow
together, and only what is newer pushes a message out. (Where more stretches lie apart than are kept, and the messages
between them come last, messages of the oldest ones may be missing.)
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from models.identity import alarm_key, alarm_name, alarm_ref
from models.machine_codes import one_name
from models.records import MachineAlarm
from models.state import MAX_ALARM_RUNS, MAX_ALARM_STARTS, MAX_ALARMS, MAX_TEXT, Flow, PatientState
from streams.engine.change import NOT_FILED, Change, standing
from streams.engine.results import forget_arrivals
from streams.engine.sender_clocks import arrived, tamed
from streams.engine.sessions import merged
from streams.engine.windows import ALARMS

#: How many of the newest messages of a phase are kept of one alarm.
_KEPT: Final = {"start": MAX_ALARM_STARTS, "continue": 2, "end": 5}
#: Words that it is on are of one stretch if they are at most so far apart.
_APART: Final = timedelta(minutes=5)


def file_alarm(state: PatientState, event: MachineAlarm, received_at: datetime, horizon: datetime) -> Change:
    """File a message of a machine's alarm under the one name of its code."""
    event = tamed(event, received_at)
    text = event.text[:MAX_TEXT] if event.text else None
    named: MachineAlarm = msgspec.structs.replace(event, code=one_name(event.code), text=text)  # type: ignore[type-var]
    held, key = state.machine_alarms, alarm_key(named)
    named = standing(named, held.get(key))
    sooner = arrived(state, alarm_ref(key), received_at, anew=False)
    if held.get(key) == named:
        return Change(ALARMS.facets, filed=False) if sooner else NOT_FILED
    held[key] = named
    runs, name = state.alarm_runs, alarm_name(named)
    if named.phase != "end":
        runs[name] = merged([*runs.get(name, ()), Flow(named.at, named.at)], _APART)[-MAX_ALARM_RUNS:]
    for old in _folded(state, named):
        del held[old]
    ALARMS.prune(state, horizon, lambda: _needed(state))
    if len(runs) > MAX_ALARMS:
        forget_runs(state)
    forget_arrivals(state)
    return Change(ALARMS.facets) if key in held else NOT_FILED


def forget_runs(state: PatientState) -> None:
    """Drop the stretches of alarms of which no message is kept."""
    if state.alarm_runs:
        alive = {alarm_name(one) for one in state.machine_alarms.values()}
        state.history.alarm_runs = {name: runs for name, runs in state.alarm_runs.items() if name in alive}


def _folded(state: PatientState, alarm: MachineAlarm) -> list[str]:
    """Return the keys of an alarm's messages that need not be kept beside the others."""
    name, phases = alarm_name(alarm), dict[str, list[tuple[datetime, str]]]()
    began = {run.since for run in state.alarm_runs.get(name, ())}
    for key, one in state.machine_alarms.items():
        if one.session_id == alarm.session_id and one.code == alarm.code:
            phases.setdefault(one.phase, []).append((one.at, key))
    return [
        key
        for phase, words in phases.items()
        for at, key in sorted(words)[: -_KEPT[phase]]
        if phase == "end" or at not in began
    ]


def _needed(state: PatientState) -> set[str]:
    """Return what stays of the alarms that were heard of last, however many messages there are.

    Of each that is the newest message, the newest start, and the message that began its newest stretch.
    """
    alarms: dict[str, list[tuple[datetime, str, str]]] = {}
    for key, one in state.machine_alarms.items():
        alarms.setdefault(alarm_name(one), []).append((one.at, key, one.phase))
    needed: set[str] = set()
    for words in sorted(map(sorted, alarms.values()), key=lambda words: words[-1], reverse=True)[:MAX_ALARMS]:
        name = alarm_name(state.machine_alarms[words[-1][1]])
        starts = [key for _, key, phase in words if phase == "start"]
        began = {run.since for run in state.alarm_runs.get(name, ())[-1:]}
        needed |= {words[-1][1], *starts[-1:], *(key for at, key, phase in words if at in began and phase != "end")}
    return needed

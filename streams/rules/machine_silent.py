"""`machine_silent` (R67): nothing comes any more from the machine of a running treatment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority, Reason, Status
from models.identity import alarm_ref
from models.state import PatientState
from streams.rules.api import Ending, Finding, Limits, Outcome, PatientRule, PatientView, Unchanged, guidance
from streams.rules.facts import bedside
from streams.rules.facts.treatments import GOES_ON, SKEW, Treatment, is_still, treatments
from streams.rules.inputs import HEARD, HEARD_ANEW, MACHINE_ALARM, PAUSE, SESSION
from streams.rules.thresholds import Minutes

_CHECK: Final = guidance(
    "Check the patient, the machine and its network at the chair: nothing that it measures arrives here, so what this "
    "system shows of the treatment may be out of date.",
    "clinical.md R67 (ours); IEC 60601-1-8 (clinical.md 3.7)",
)


#: How many of its intervals a machine may be silent.
_THREE: Final = 3


#: By then a machine has shown how often it sends.
_LEARNT: Final = timedelta(minutes=15)


class MachineSilentLimits(Limits):
    """How long a machine may be silent."""

    silent_minutes: Minutes = Field(
        default=3,
        ge=HEARD_ANEW / timedelta(minutes=1),
        description="min without a message, or three intervals of a machine that sends less often; clinical.md R67",
    )


def find(view: PatientView) -> Iterator[Outcome]:
    """From the machine of a running treatment, which has sent samples in it, nothing has arrived for 3 min.

    A machine that sends less often than each minute is silent after three of its own intervals, and one that has sent
    a single sample after 33 min: nobody knows its interval yet, and blood flow counts as going on for 30.

    Silence is measured on the task's clock, by arrivals, and only for as long as the clock has run: while the broker
    is away or this system recovers, nobody is silent. Any message of the session ends it, and so does the end of the
    treatment. A treatment whose blood has stood for 30 min is not watched, nor is one that never had a sample: there
    are machines that tell only of its start and end.
    """
    wait = timedelta(minutes=view.limits(MachineSilentLimits).silent_minutes)
    for treatment in bedside.sessions(view):
        if view.now < treatment.over_at:
            yield from _outcomes(view, treatment, wait)
        elif treatment.ended_at is None:
            yield Ending(treatment.key, Status.EXPIRED, Reason.UNCONFIRMED_END)


def _outcomes(view: PatientView, treatment: Treatment, wait: timedelta) -> Iterator[Outcome]:
    heard = _heard_at(view, treatment)
    if heard is None:
        if view.now < treatment.start + GOES_ON + wait:
            view.look_at(view.now + wait)  # an ordinary first sample asks nobody; a late one is news by itself
        return
    if is_still(view.read(PAUSE).sessions[treatment.session_id]):
        left_at = (treatment.flowed_until or treatment.start) + GOES_ON
        if view.now >= left_at:
            yield Ending(treatment.key, Status.EXPIRED, Reason.UNCONFIRMED_END)
            return
        view.look_at(left_at)
    since, gap_s = view.silent_since(heard), treatment.session.gap_s
    own = _THREE * timedelta(seconds=max(0, gap_s))
    # Samples that ask nobody may have shown a shorter interval by then.
    view.look_at(since + max(wait, min(own / 2, _LEARNT)))
    wait = GOES_ON + wait if gap_s < 0 else max(wait, own)
    silent_at = since + wait
    view.look_at(silent_at)
    if view.now >= silent_at:
        view.look_at(treatment.over_at)
        yield _finding(view, treatment, heard, silent_at)
    elif view.now >= heard + wait:
        yield Unchanged(treatment.key)  # the clock stood: an alert that is open stays, none is raised


def _heard_at(view: PatientView, treatment: Treatment) -> datetime | None:
    """Return when a message of a treatment arrived last; None if it has not told a sample."""
    heard = view.read(HEARD).sessions[treatment.session_id].heard_at
    if heard is None or heard < treatment.start - SKEW:
        return None  # of an earlier treatment under the same id, if at all
    state = view.read(MACHINE_ALARM)
    alarms = [
        state.arrivals.get(alarm_ref(key), alarm.at)
        for key, alarm in state.machine_alarms.items()
        if alarm.session_id == treatment.session_id
    ]
    moved = [min(treatment.started.at, view.now)] if treatment.started else []
    return max([heard, *alarms, *moved])


def _finding(view: PatientView, treatment: Treatment, heard: datetime, silent_at: datetime) -> Finding:
    told = EvidenceRecord(kind="session", id=treatment.session_id, name="last_message", value=None, unit=None, at=heard)
    return Finding(
        key=treatment.key,
        anchors=(_ref(treatment),),
        priority=Priority.MEDIUM,
        onset_at=heard,
        known_at=silent_at,
        level_known_at=silent_at,
        summary=f"Technical: no message from the machine since {heard.astimezone(view.settings.zone):%H:%M}",
        guidance=(_CHECK,),
        evidence=(told,),
        session_id=treatment.session_id,
        reason=Reason.DEADLINE_PASSED,
    )


def _ref(treatment: Treatment) -> str:
    return f"session:{treatment.key}"


def _named_by(state: PatientState, _key: str) -> list[str]:
    return [_ref(treatment) for treatment in treatments(state)]


RULE: Final = PatientRule(
    name="machine_silent",
    version=1,
    family="monitoring",
    ids="R67",
    title="The machine of a running treatment is silent",
    inputs=(HEARD, SESSION, PAUSE, MACHINE_ALARM),
    needs=(SESSION,),
    limits=MachineSilentLimits,
    find=find,
    named_by=_named_by,
    sources=("clinical.md R67, 3.4",),
    without=(
        "the interval of a machine: it is taken from its newest samples",
        "a keep-alive of its own: any sample or alarm of the session is one",
    ),
)

"""`identity_conflict` (E08): data under one patient's id that cannot all be of one person, or two ids on one chair.

What a processor of one patient's events can see of a mix-up, and no more: see `without` of the rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from pydantic import Field

from models.alerts import EvidenceRecord, Priority
from models.state import PatientState
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts import bedside
from streams.rules.facts.days import day_of
from streams.rules.facts.dry_weight import LEAST_KG, MOST_KG
from streams.rules.facts.labs import as_compared
from streams.rules.facts.places import BEFORE
from streams.rules.facts.told_weights import is_pounds
from streams.rules.facts.treatments import GOES_ON, READING_LASTS, SKEW, Treatment, machines_together, treatments
from streams.rules.inputs import CHAIR, PROFILE, SESSION, WEIGHT

#: How long a contradiction of treatments is shown after them: messages about them can no longer be put right.
_SAID_FOR: Final = timedelta(hours=24)


class IdentityConflictLimits(Limits):
    """How far data of one person may differ."""

    ascending = (("least_bmi", "most_bmi"),)

    weight_kg: float = Field(
        default=10, gt=0, le=100, description="kg between two weights before, or two targets of, one session (ours)"
    )
    least_bmi: float = Field(default=10, gt=0, le=30, description="kg/m2: height and weight are of two people (ours)")
    most_bmi: float = Field(default=80, ge=40, le=300, description="kg/m2: height and weight are of two people (ours)")


@dataclass(frozen=True, slots=True)
class _Conflict:
    """Data that contradict each other: what names an alert, since when, in words, and the data.

    `of_two_ids`: they are of two patients, not of one id.
    """

    anchor: str
    at: datetime
    words: str
    evidence: tuple[EvidenceRecord, ...]
    of_two_ids: bool = False


def find(view: PatientView) -> Iterator[Outcome]:
    """Data under one id that cannot be of one person, in one alert of priority medium that lists them.

    Two sessions at the same time on two machines, or samples of two machines under one session id, with blood flow in
    both for more than 5 min; two weights before one session, or the targets of the machine and the profile, more than
    10 kg apart; a session before the first dialysis; a height that the weight does not fit. It ends when they agree
    again; what sessions contradict is shown for a day after them. And two patients on one chair, whose blood flows at
    the same time for more than 5 min: at the one of them whose blood began to flow there last, until one of both ends,
    moves, or has stood for 30 min.
    """
    limits = view.limits(IdentityConflictLimits)
    found = [*_sessions(view, limits), *_chairs(view), *_profile(view, limits)]
    if not found:
        return
    found.sort(key=lambda conflict: (conflict.at, conflict.anchor, conflict.words))
    evidence = {
        (item.kind, item.id, item.name, item.at, item.value): item for conflict in found for item in conflict.evidence
    }
    yield Finding(
        key="identity",
        anchors=tuple(dict.fromkeys(conflict.anchor for conflict in found)),
        priority=Priority.MEDIUM,
        onset_at=found[0].at,
        known_at=found[-1].at,
        level_known_at=found[0].at,
        summary=_summary(found),
        guidance=(_CHECK,),
        evidence=tuple(evidence.values()),
    )


def _summary(found: list[_Conflict]) -> str:
    of_one = "; ".join(conflict.words for conflict in found if not conflict.of_two_ids)
    of_two = "; ".join(conflict.words for conflict in found if conflict.of_two_ids)
    return "; ".join(filter(None, (of_one and f"Data of two patients under one id? {of_one}", of_two)))


_CHECK: Final = guidance(
    "Check whose data these are: patient and machine at the chair, the scale, the record. Other alerts of this patient "
    "may rest on another's data until that is clear.",
    "clinical.md E08 (the article says nothing of it)",
)


# -- sessions ---------------------------------------------------------------------------------------------------------


def _sessions(view: PatientView, limits: IdentityConflictLimits) -> Iterator[_Conflict]:
    found = [treatment for treatment in bedside.sessions(view) if not treatment.is_mistake]
    if not found:
        return
    newest = found[-1]
    # Samples of another machine extend its treatment without an evaluation: one after a sample is no longer valid, and
    # one after a gap that would begin a new stretch.
    view.look_at(newest.start + SKEW + READING_LASTS)
    view.look_at(newest.start + SKEW + GOES_ON)
    for earlier, later in _overlapping(found):
        until = _together_until(earlier, later)
        if until is not None and _is_shown(view, until):
            yield _Conflict(
                f"session:{later.key}",
                later.start,
                f"sessions on {earlier.machine_id} and {later.machine_id} at the same time",
                (_session(earlier, "machine_id", earlier.machine_id), _session(later, "machine_id", later.machine_id)),
            )
    yield from _machines(view, found)
    if _is_shown(view, newest.over_at):
        yield from _weights(view, newest, limits)
        yield from _targets(view, newest, limits)


def _machines(view: PatientView, found: list[Treatment]) -> Iterator[_Conflict]:
    """Compare the samples under one session id: two machines told of blood flow at the same time."""
    for treatment in found:
        together = machines_together(treatment.session) if treatment.session.machine_flows else None
        if together is None or not treatment.contains(together.since, SKEW) or not _is_shown(view, together.until):
            continue
        one, other = together.machines
        yield _Conflict(
            f"session:{treatment.key}",
            together.since,
            f"samples of {one} and {other} in one session at the same time",
            tuple(_machine(treatment, machine, together.since) for machine in together.machines),
        )


def _overlapping(found: list[Treatment]) -> Iterator[tuple[Treatment, Treatment]]:
    """Yield the pairs of treatments, in the order of their start, of which one went on when the next one began."""
    for number, earlier in enumerate(found):
        until = earlier.flowed_until or earlier.ended_at
        for later in islice(found, number + 1, None):
            if until is None or later.start + SKEW >= until:
                break
            yield earlier, later


def _is_shown(view: PatientView, until: datetime) -> bool:
    view.look_at(until + _SAID_FOR)
    return view.now < until + _SAID_FOR


def _together_until(earlier: Treatment, later: Treatment) -> datetime | None:
    """Return until when two treatments ran on two machines at the same time; None if they did not.

    Blood that flows tells it within the skew of clocks. An end that somebody told may have been charted late.
    """
    if earlier.session is later.session or not earlier.machine_id or not later.machine_id:
        return None
    if earlier.machine_id == later.machine_id:
        return None
    if (flowed := earlier.flowed_until) is not None:
        proved, tolerance = flowed, SKEW
    elif earlier.ended_at is not None:
        proved, tolerance = earlier.ended_at, GOES_ON
    else:
        return None
    if proved <= later.start + tolerance:
        return None
    return min(proved, later.flowed_until or later.over_at)


def _weights(view: PatientView, newest: Treatment, limits: IdentityConflictLimits) -> Iterator[_Conflict]:
    """Compare the newest weight before a session with those before it: weighing again settles it."""
    since, until = newest.start - BEFORE, newest.over_at
    told = [(start.at, start.pre_weight_kg) for start in newest.session.starts if start.pre_weight_kg is not None]
    told += [(one.at, one.kg) for one in view.read(WEIGHT).weights.values() if one.moment == "pre"]
    weights = sorted({(at, kg) for at, kg in told if since <= at <= until and LEAST_KG <= kg <= MOST_KG})
    if len(weights) < 2:
        return
    (first_at, first), (second_at, second) = weights[-2:]
    if _in_pounds(first, second):
        return
    if all(as_compared(abs(second - kg)) > limits.weight_kg for _, kg in weights[:-1]):
        yield _Conflict(
            f"session:{newest.key}",
            second_at,
            f"weights before one session of {first:g} and {second:g} kg",
            (
                _weight(newest.session_id, "pre_weight_kg", first, first_at),
                _weight(newest.session_id, "pre_weight_kg", second, second_at),
            ),
        )


def _in_pounds(one: float, other: float) -> bool:
    """Return whether two weights differ by their unit: `data_quality` reports that."""
    return is_pounds(max(one, other), min(one, other))


def _targets(view: PatientView, newest: Treatment, limits: IdentityConflictLimits) -> Iterator[_Conflict]:
    """Compare the target of the machine with that of the profile: another patient's prescription may be in it."""
    started, profile = newest.started, view.read(PROFILE).profile
    if started is None or profile is None or started.target_weight_kg is None or profile.target_weight_kg is None:
        return
    machine, known = started.target_weight_kg, profile.target_weight_kg
    if as_compared(abs(machine - known)) > limits.weight_kg and not _in_pounds(machine, known):
        yield _Conflict(
            f"session:{newest.key}",
            max(started.at, profile.at),
            f"targets of {machine:g} kg in the machine and {known:g} kg in the profile",
            (
                _weight(newest.session_id, "target_weight_kg", machine, started.at),
                _weight(view.subject, "target_weight_kg", known, profile.at),
            ),
        )


# -- the chair --------------------------------------------------------------------------------------------------------


def _chairs(view: PatientView) -> Iterator[_Conflict]:
    """Tell of other patients on the chair of a running session, as the chair tells it."""
    for told in view.read(CHAIR).chair_conflicts.values():
        if told.other_id is None or told.other_session_id is None or told.since is None:
            continue
        here = next((one for one in reversed(bedside.sessions(view)) if one.session_id == told.session_id), None)
        if here is None or here.over_at <= view.now:
            continue
        view.look_at(here.over_at)
        where = f"chair {told.chair}" + (f" of {told.unit_id}" if told.unit_id else "")
        yield _Conflict(
            f"session:{here.key}",
            told.since,
            f"Two patients on {where} at the same time: {told.other_id} and {view.subject}",
            (
                _patient(told.other_session_id, told.other_id, told.since),
                _patient(told.session_id, view.subject, told.since),
            ),
            of_two_ids=True,
        )


# -- the profile ------------------------------------------------------------------------------------------------------


def _profile(view: PatientView, limits: IdentityConflictLimits) -> Iterator[_Conflict]:
    state = view.read(PROFILE)
    if state.profile is None:
        return
    profile, anchor = state.profile, _profile_ref(state)
    if (first := profile.first_dialysis_on) is not None:
        # A date of the site and a moment in another time zone may be a day apart.
        before = [one for one in _real_sessions(view) if (first - day_of(view, one.start)).days > 1]
        if before:
            told = _told(view, "first_dialysis_on", first.isoformat(), None)
            yield _Conflict(
                anchor,
                max(profile.at, before[0].start),
                f"a session on {day_of(view, before[0].start)}, the first dialysis on {first}",
                (told, _session(before[0], "session_started", None)),
            )
    weight = _newest_weight(view)
    if profile.height_cm is None or weight is None:
        return
    evidence, kg = weight
    square = (profile.height_cm / 100) ** 2
    if not limits.least_bmi * square <= kg <= limits.most_bmi * square:
        yield _Conflict(
            anchor,
            max(profile.at, evidence.at),
            f"a height of {profile.height_cm:g} cm with a weight of {kg:g} kg",
            (_told(view, "height_cm", float(profile.height_cm), "cm"), evidence),
        )


def _real_sessions(view: PatientView) -> list[Treatment]:
    """Return the sessions in which blood flowed, or of which the end was told."""
    return [one for one in bedside.sessions(view) if (one.flows or one.ended_at) and not one.is_mistake]


def _newest_weight(view: PatientView) -> tuple[EvidenceRecord, float] | None:
    """Return the newest weight that may be one: the target of the profile, or a weighing."""
    state = view.read(PROFILE, WEIGHT)
    told = [(one.at, one.kg, f"{one.moment}_weight_kg") for one in state.weights.values()]
    if state.profile is not None and state.profile.target_weight_kg is not None:
        told.append((state.profile.at, state.profile.target_weight_kg, "target_weight_kg"))
    plausible = [one for one in told if LEAST_KG <= one[1] <= MOST_KG]
    if not plausible:
        return None
    at, kg, name = max(plausible)
    return _weight(view.subject, name, kg, at), kg


# -- evidence ---------------------------------------------------------------------------------------------------------


def _session(treatment: Treatment, name: str, value: str | None) -> EvidenceRecord:
    at = treatment.start
    return EvidenceRecord(kind="session", id=treatment.session_id, name=name, value=value, unit=None, at=at)


def _machine(treatment: Treatment, machine_id: str, since: datetime) -> EvidenceRecord:
    return EvidenceRecord(
        kind="session", id=treatment.session_id, name="machine_id", value=machine_id, unit=None, at=since
    )


def _patient(session_id: str, patient_id: str, since: datetime) -> EvidenceRecord:
    """Return a session with its patient as evidence; `since` is when blood began to flow in both."""
    return EvidenceRecord(kind="session", id=session_id, name="patient_id", value=patient_id, unit=None, at=since)


def _weight(source: str, name: str, kg: float, at: datetime) -> EvidenceRecord:
    return EvidenceRecord(kind="weight", id=source, name=name, value=float(kg), unit="kg", at=at)


def _told(view: PatientView, name: str, value: float | str, unit: str | None) -> EvidenceRecord:
    profile = view.read(PROFILE).profile
    at = view.now if profile is None else profile.at
    return EvidenceRecord(kind="patient_profile", id=view.subject, name=name, value=value, unit=unit, at=at)


def _profile_ref(state: PatientState) -> str:
    return f"patient_profile:{state.profile.at.isoformat() if state.profile else ''}"


def _named_by(state: PatientState, _key: str) -> Iterator[str]:
    """Yield every session and the profile."""
    yield from (f"session:{treatment.key}" for treatment in treatments(state))
    yield _profile_ref(state)


RULE: Final = PatientRule(
    name="identity_conflict",
    version=1,
    family="data-quality",
    ids="E08",
    title="Data under one patient's id that cannot be of one person",
    inputs=(SESSION, PROFILE, WEIGHT, CHAIR),
    limits=IdentityConflictLimits,
    find=find,
    named_by=_named_by,
    sources=("clinical.md E08", "bounds are ours"),
    without=(
        "two patients on one machine whose chair nobody tells: only the chair sees the events of both",
        "a result that moves to another patient: its sender withdraws it here, and that is no conflict",
        "a change of sex or height: the newest profile replaces the one before it, which may have been wrong",
        "a sample or two of another machine in a session: two machines must show blood flow for more than 5 min",
    ),
)

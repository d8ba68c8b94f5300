"""The part of `data_quality` that reports weights, and numbers of a session's messages, that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from models.alerts import EvidenceRecord, Priority
from models.state import PatientState
from streams.rules.api import Finding, PatientView, guidance
from streams.rules.facts.implausible import MESSAGES, WEIGHT
from streams.rules.facts.told_weights import POUNDS, ToldWeight, in_pounds
from streams.rules.inputs import PROFILE, SESSION
from streams.rules.inputs import WEIGHT as WEIGHED

#: How long it is said: messages about what is past can no longer be put right.
_SAID_FOR: Final = timedelta(hours=24)
_PROFILE: Final = "profile"


def impossible_numbers(view: PatientView) -> Iterator[Finding]:
    """Report weights and plans that cannot be, which count as not told: one alert a field.

    A later one of the same field that can be ends it, else a day; one of the profile stands until the next profile.
    """
    state = view.read(SESSION, PROFILE, WEIGHED)
    for field, (at, value, source) in sorted(_newest(state).items()):
        if field != _PROFILE:
            if _usable_at(state, field) >= at or view.now >= at + _SAID_FOR:
                continue
            view.look_at(at + _SAID_FOR)
        name = "target_weight_kg" if field == _PROFILE else field
        unit = MESSAGES[name].unit
        where = "of the profile" if field == _PROFILE else f"of {source}" if source != state.id else "on the scale"
        yield Finding(
            key=f"number:{field}",
            anchors=(f"number:{field}:{at.isoformat()}",),
            priority=Priority.LOW,
            onset_at=at,
            known_at=at,
            level_known_at=at,
            summary=f"{name} {where} cannot be {value:g} {unit}; it counts as not told",
            guidance=(
                guidance(
                    "Check the number, its unit and its decimal point where it was entered; a new weighing settles it.",
                    "clinical.md E07; bounds are ours",
                ),
            ),
            evidence=(
                EvidenceRecord(
                    kind=_kind(state, field, source), id=source, name=name, value=float(value), unit=unit, at=at
                ),
            ),
        )


def _kind(state: PatientState, field: str, source: str) -> str:
    if field == _PROFILE:
        return "patient_profile"
    return "weight" if source == state.id else "session"


def _newest(state: PatientState) -> dict[str, tuple[datetime, float, str]]:
    """Return of each field the newest number that cannot be: when, which, and by what it was told."""
    found: dict[str, list[tuple[datetime, float, str]]] = {}
    for session in state.sessions.values():
        for field, each in session.strange.items():
            if field in MESSAGES:
                at = datetime.fromtimestamp(each.last, UTC)
                found.setdefault(field, []).append((at, each.value, session.session_id))
    for weighed in state.weights.values():
        if not WEIGHT.holds(weighed.kg):
            found.setdefault(f"{weighed.moment}_weight_kg", []).append((weighed.at, weighed.kg, state.id))
    profile = state.profile
    if profile is not None and profile.target_weight_kg is not None and not WEIGHT.holds(profile.target_weight_kg):
        found[_PROFILE] = [(profile.at, profile.target_weight_kg, state.id)]
    return {field: max(each) for field, each in found.items()}


def _usable_at(state: PatientState, field: str) -> datetime:
    """Return when the newest number of a field was told that can be."""
    sessions = state.sessions.values()
    messages = [message for session in sessions for message in (*session.starts, *session.ends)]
    told = [message.at for message in messages if getattr(message, field, None) is not None]
    told += [
        weighed.at
        for weighed in state.weights.values()
        if field == f"{weighed.moment}_weight_kg" and WEIGHT.holds(weighed.kg)
    ]
    return max(told, default=datetime.min.replace(tzinfo=UTC))


def pounds(view: PatientView) -> Iterator[Finding]:
    """Report weights that are another weight of the patient in pounds: one alert, for a day after the newest of them.

    Rates per kg take the lower one, so that a rate is never thought lower than it is.
    """
    found = in_pounds(view)
    pairs = [pair for pair in found if view.now < _told_at(pair) + _SAID_FOR]
    if not pairs:
        return
    moments = sorted(map(_told_at, pairs))
    view.look_at(moments[0] + _SAID_FOR)
    told = list(dict.fromkeys([*(greater for greater, _ in pairs), pairs[0][1]]))
    yield Finding(
        key="pounds",
        anchors=tuple(dict.fromkeys(f"pounds:{greater.kind}:{greater.at.isoformat()}" for greater, _ in pairs)),
        priority=Priority.MEDIUM,
        onset_at=moments[0],
        known_at=moments[-1],
        # Whoever acknowledged one attends to the unit: neither another one nor the end of its day calls again.
        level_known_at=min(map(_told_at, found)),
        summary=f"In pounds? {' and '.join(map(_shown, told[:-1]))} would be {POUNDS:.1f} times {_shown(told[-1])}; "
        "rates per kg take the lower one",
        guidance=(
            guidance(
                "Check the unit of the weights in the machine, the scale and the record, and what was calculated from "
                "them: the goal of ultrafiltration, and doses per kg.",
                "clinical.md E07; the tolerance is ours",
            ),
        ),
        evidence=tuple(one.evidence for one in told),
    )


def _told_at(pair: tuple[ToldWeight, ToldWeight]) -> datetime:
    """Return when both weights of a pair were told."""
    return max(weight.at for weight in pair)


def _shown(weight: ToldWeight) -> str:
    return f"{weight.kind} of {weight.kg:g} kg"

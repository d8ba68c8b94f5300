"""Filing of laboratory results: which messages are versions of one result, and which version stands.

A result is identified by (`result_id`, analyte): laboratories number the report, not the result. Every version is kept;
what stands is a function of the versions, so no order of arrival changes it.

- Messages of one collection time are versions of one result. A message with a correcting status (corrected, cancelled,
  entered in error) and another collection time replaces the version nearest in time. Two final messages of different
  times are two results: tubes before and after a session.
- The later `reported_at` stands, as the laboratory sent it. Where a version has none, or one more than a day after its
  arrival, the status decides, then the arrival; never the time of collection.
- A result that another names in `replaces` does not stand. Results that replace each other in a circle all stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sized
from datetime import datetime, timedelta
from typing import Final

import msgspec

from models.alerts import Reason
from models.analytes import LOINC
from models.events import ResultStatus
from models.identity import alarm_ref, analyte_of, group_of, value_ref, version_key
from models.records import LabResult
from models.state import MAX_VERSIONS_OF_RESULT, PatientState
from models.state.migrations import NEVER
from streams.engine.change import NOT_FILED, Change, canonical
from streams.engine.windows import LABS, VERSIONS
from streams.rules.facts import labs
from streams.rules.facts.bedside import rhythm_ref
from streams.rules.facts.dry_weight import weight_ref
from streams.rules.facts.replaced_results import connected, held_results, links_of, replaced_by_another
from streams.rules.inputs import AHEAD, ALL_RESULTS, result_facets

#: How far a laboratory's clock may be ahead; a report time further ahead gives no order.
REPORT_AHEAD: Final = timedelta(days=1)

_RANK: Final = {status: rank for rank, status in enumerate(ResultStatus)}
_CORRECTS: Final = frozenset({ResultStatus.CORRECTED, ResultStatus.CANCELLED, ResultStatus.ENTERED_IN_ERROR})
_REASONS: Final = {
    ResultStatus.CANCELLED: Reason.RESULT_CANCELLED,
    ResultStatus.ENTERED_IN_ERROR: Reason.ENTERED_IN_ERROR,
}


def file_result(state: PatientState, event: LabResult, received_at: datetime, horizon: datetime) -> Change:
    """File a version of a result."""
    event = _believed(event, received_at)
    if _is_unread(event):
        return Change(unread=True)
    group = group_of(event)
    key = version_key(event)
    ref = f"lab_result:{event.result_id}"
    # A person answers what is known under the id: its first arrival decides which answers count, whatever stands.
    moved, sooner = _arrived(state, event, ref, received_at)
    known = key in state.labs or key in state.versions
    if known and not sooner and not moved:
        return NOT_FILED
    before = _of_group(state.labs, group)
    if known or before or _of_group(state.versions, group) or _is_linked(state, event):
        if not known:
            state.versions[key] = event
        _settle(state, event)
        dropped = _bound_versions(state, group)
    else:  # the first message of a result, as nearly all are: it stands
        state.labs[key] = event
        dropped = 0
    dropped += _prune(state, horizon, event)
    # A result that the cap dropped may be of any analyte.
    facets = ALL_RESULTS if dropped else result_facets(analyte_of(event))
    if known:
        return Change(facets, filed=False, dropped=dropped)
    if event.replaces:
        return Change(facets, f"lab_result:{event.replaces}", Reason.RESULT_REPLACED, dropped)
    after = _of_group(state.labs, group)
    if before - after:
        return Change(facets, ref, _REASONS.get(event.status, Reason.RESULT_CORRECTED), dropped)
    return Change(facets, dropped=dropped) if moved or after - before else Change(dropped=dropped)


def _of_group(window: Iterable[str], group: str) -> set[str]:
    """Return the keys of one result's versions among those of a window."""
    return {key for key in window if key.startswith(group)}


def _is_linked(state: PatientState, event: LabResult) -> bool:
    """Return whether a result replaces another, or a kept one replaces it."""
    if event.replaces:
        return True
    return any(record.replaces == event.result_id for record in held_results(state))


def _arrived(state: PatientState, event: LabResult, ref: str, received_at: datetime) -> tuple[bool, bool]:
    """Record when a result's id and its value first arrived; return whether each did so sooner than was known.

    A value that arrived with the first message of its id, as nearly all do, has no entry of its own
    (`labs.arrived_at`).
    """
    first = state.arrivals.get(ref)
    if first is None:
        state.arrivals[ref] = received_at
        return True, True
    name = value_ref(event)
    held = {value_ref(record) for record in held_results(state) if record.result_id == event.result_id}
    known = state.arrivals.get(name, first if name in held else None)
    if moved := received_at < first:
        for other in held:
            state.arrivals.setdefault(other, first)
        state.arrivals[ref] = received_at
    sooner = known is None or received_at < known
    if sooner and received_at == state.arrivals[ref]:
        state.arrivals.pop(name, None)
    elif sooner:
        state.arrivals[name] = received_at
    return moved, sooner


_LOINC: Final = re.compile(r"\d{1,7}-\d\Z", re.ASCII)


def _is_unread(record: LabResult) -> bool:
    """Return whether no rule can read the analyte: an ordinary result such as a haemoglobin, by a well-formed code."""
    return record.analyte is None and record.loinc not in LOINC and bool(_LOINC.match(record.loinc or ""))


def _believed(event: LabResult, received_at: datetime) -> LabResult:
    """Correct times of a result that lie in the future: a specimen is drawn before its result arrives."""
    at = received_at if event.at - received_at > AHEAD else event.at
    reported = event.reported_at
    if reported is not None and reported - received_at > REPORT_AHEAD:
        reported = None
    if at == event.at and reported == event.reported_at:
        return event
    return msgspec.structs.replace(event, at=at, reported_at=reported)  # type: ignore[type-var]


def _settle(state: PatientState, event: LabResult) -> None:
    """Decide anew which versions stand, of this result and of those linked to it by `replaces`."""
    analyte = analyte_of(event) or event.loinc
    links = links_of(held_results(state), analyte)
    names = connected(event.result_id, links) if links else {event.result_id}
    replaced = replaced_by_another(links)
    for name in names:
        group = f"{name}|{analyte}|"
        held = {
            key: record
            for window in (state.labs, state.versions)
            for key, record in window.items()
            if key.startswith(group)
        }
        standing = set() if name in replaced else _standing(state, held)
        for key, record in held.items():
            window, other = (state.labs, state.versions) if key in standing else (state.versions, state.labs)
            other.pop(key, None)
            window[key] = record


def _standing(state: PatientState, held: dict[str, LabResult]) -> set[str]:
    """Return the keys of the versions of one result that stand; several where they are tubes of different times."""
    if len(held) == 1:
        return set(held)
    reported = all(record.reported_at is not None for record in held.values())

    def order(key: str) -> tuple[datetime, int, datetime, bytes]:
        record = held[key]
        first = record.reported_at if reported and record.reported_at else NEVER
        return first, _RANK[record.status], labs.arrived_at(state, record) or NEVER, canonical(record)

    standing: dict[datetime, str] = {}
    for key in sorted(held, key=order):
        record = held[key]
        if record.status in _CORRECTS and record.at not in standing and standing:
            del standing[min(standing, key=lambda at: (abs(at - record.at), at))]
        standing[record.at] = key
    return set(standing.values())


# -- bounds ---------------------------------------------------------------------------------------------------------


def _prune(state: PatientState, horizon: datetime, newest: LabResult) -> int:
    """Keep the windows of results and of replaced versions within their bounds."""

    def stay() -> set[str]:
        named = {key for key, record in state.labs.items() if record.result_id == newest.result_id}
        return named | _newest(state)

    dropped = LABS.prune(state, horizon, stay) + VERSIONS.prune(state, horizon)
    forget_arrivals(state)
    return dropped


def _bound_versions(state: PatientState, group: str) -> int:
    """Keep the versions of one result within their bound; return how many were dropped.

    A sender that gives all its results one id must not fill the window with results that an open alert keeps there.
    """
    dropped = _keep_newest(state.labs, group, lambda key: state.labs[key].at)
    return dropped + _keep_newest(state.versions, group, lambda key: _age(state, key))


def _keep_newest(window: dict[str, LabResult], group: str, age: Callable[[str], datetime]) -> int:
    """Drop the oldest of one result's versions above `MAX_VERSIONS_OF_RESULT`; return how many."""
    held = _of_group(window, group)
    surplus = len(held) - MAX_VERSIONS_OF_RESULT
    if surplus <= 0:
        return 0
    for key in sorted(held, key=lambda key: (age(key), key))[:surplus]:
        del window[key]
    return surplus


def _age(state: PatientState, key: str) -> datetime:
    record = state.versions[key]
    return record.reported_at or labs.arrived_at(state, record) or NEVER


def _newest(state: PatientState) -> set[str]:
    """Return the keys of the three newest results of each analyte: they describe the patient however old they get."""
    newest: dict[object, list[tuple[datetime, str, str]]] = {}
    for key, record in state.labs.items():
        if (analyte := analyte_of(record)) is not None:
            newest.setdefault(analyte, []).append((record.at, record.result_id, key))
    return {key for group in newest.values() for _, _, key in sorted(group)[-3:]}


def forget_arrivals(state: PatientState) -> None:
    """Drop the arrivals of inputs that have left their window once there are many."""
    windows: tuple[Sized, ...] = (
        state.labs,
        state.versions,
        state.symptoms,
        state.rhythms,
        state.weights,
        state.medications,
        state.machine_alarms,
    )
    if len(state.arrivals) > 4 * sum(len(window) for window in windows) + 8:
        sweep_arrivals(state)


def sweep_arrivals(state: PatientState) -> None:
    """Drop the arrivals of inputs that have left their window."""
    held = [*state.labs.values(), *state.versions.values()]
    if state.arrivals:
        refs = {f"lab_result:{record.result_id}" for record in held} | {value_ref(record) for record in held}
        refs |= {f"symptom:{name}" for name in state.symptoms} | {rhythm_ref(found) for found in state.rhythms.values()}
        refs |= {f"symptom:{symptom.symptom_id}" for symptom in state.symptoms.values()}
        refs |= {f"medication:{key}" for key in state.medications} | set(map(weight_ref, state.weights.values()))
        refs |= {alarm_ref(key) for key in state.machine_alarms}
        state.history.arrivals = {ref: at for ref, at in state.arrivals.items() if ref in refs}

"""Bounds in bytes of what is kept of one subject: which inputs go first, and which stay.

What is dropped is a function of the state alone: a replay and a worker drop the same. The running credit only saves
measuring; it never shrinks more slowly than the state grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import structs

from models.alerts import EvidenceRecord, alert_id
from models.identity import alarm_name, alarm_ref, value_ref
from models.state import AlertState, PatientState, SubjectState
from models.state.bounds import (
    DROPS_FORGOTTEN,
    KEPT_INPUT_BYTES,
    LEAST_INPUT_BYTES,
    MAX_ALARM_BYTES,
    MAX_EVIDENCE_BYTES,
    MAX_INPUT_BYTES,
    MAX_OVER_BYTES,
    Drops,
)
from streams.engine.alarm_filing import forget_runs
from streams.engine.change import Change
from streams.engine.results import sweep_arrivals
from streams.engine.windows import ALARMS, RESPONSES, SIGNALS, WINDOWS, Window
from streams.rules.api import Finding
from streams.rules.facts.bedside import rhythm_ref
from streams.rules.facts.dry_weight import weight_ref
from streams.rules.inputs import DROPPED

_encode: Final = msgspec.json.Encoder().encode

#: At most how many copies of an event are kept: itself, and its ids in the window's key, the arrivals and the sources.
_COPIES: Final = 4
#: Bytes around these copies: field names and times.
_AROUND: Final = 512
#: Bytes that the evaluation after it may add: the bounds of channels that rules then watch in its session.
_WATCHED: Final = 2048

#: Kept with the windows, and bounded in number; not dropped here.
_BESIDE: Final = (
    "arrivals",
    "alarm_runs",
    "heard",
    "behind",
    "problems",
    "profile",
    "merges",
    "contradictions",
    "seats",
    "chair_conflicts",
)
#: What is kept of alerts and conditions.
_OF_ALERTS: Final = ("alerts", "buried", "looks", "failing", "conditions", "held")
#: Fields by which an alert may name an input as its ground.
_IDS: Final = ("result_id", "symptom_id", "session_id", "order_id", "alert_id", "event_id")


class Budget:
    """Keeps the inputs of the subjects of one partition within `MAX_INPUT_BYTES`."""

    def __init__(self) -> None:
        #: How many bytes may be filed of a subject before it must be measured again.
        self._credit: dict[str, int] = {}

    def keep(self, state: SubjectState, event: object, change: Change, now: datetime) -> Change:
        """Drop what is beyond the bound after `event` was filed; return the change with what that added."""
        credit = self._credit.get(state.id, 0) - _COPIES * len(_encode(event)) - _AROUND
        if credit < 0:
            size = size_of(state)
            if size > MAX_INPUT_BYTES:
                dropped = trim(state, KEPT_INPUT_BYTES, now)
                change = structs.replace(
                    change, facets=change.facets | _facets(dropped), dropped=change.dropped + len(dropped)
                )
                size = size_of(state)
            credit = MAX_INPUT_BYTES - size - _WATCHED
        self._credit[state.id] = credit
        return change

    def charge(self, subject: str, size: int) -> None:
        """Note that an evaluation buried alerts of so many bytes: only then they count as inputs do (`size_of`)."""
        self._credit[subject] = self._credit.get(subject, 0) - size

    def begin(self, subject: str) -> None:
        """Begin with a new subject, of which nothing is kept."""
        self._credit[subject] = MAX_INPUT_BYTES

    def forget(self, subject: str) -> None:
        """Drop the credit of a subject that left the partition or has another state."""
        self._credit.pop(subject, None)


def size_of(state: SubjectState) -> int:
    """Return the bytes of all inputs kept of a subject, and of its alerts with a tombstone."""
    parts = [window.of(state) for window in WINDOWS] + [getattr(state, name, None) for name in _BESIDE]
    return len(_encode(parts)) + sum(remains(alert) for alert in _buried(state).values())


def _buried(state: SubjectState) -> dict[str, AlertState]:
    buried: dict[str, AlertState] = getattr(state, "buried", {})
    return buried


def remains(alert: AlertState) -> int:
    """Return the bytes of an alert whose tombstone was sent."""
    return len(_encode(alert))


# -- what is dropped --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Candidate:
    rank: int
    at: datetime
    window: str
    key: str
    size: int


def trim(state: SubjectState, limit: int, now: datetime) -> list[str]:
    """Drop the least needed inputs, the oldest first, until `limit` bytes are left, but no ground of an open alert.

    Of the alerts that repeat machines' alarms only so many keep their grounds as fit into `MAX_ALARM_BYTES`.

    Returns:
        The window of each dropped input; empty if nothing could go, or need not.
    """
    _sweep(state)
    surplus = size_of(state) - limit
    dropped: list[str] = []
    for one in sorted(_candidates(state), key=lambda one: (one.rank, one.at, one.window, one.key)):
        if surplus <= 0:
            break
        surplus -= one.size + _forget(state, one)
        dropped.append(one.window)
    if dropped:
        _sweep(state)
        note(state, Counter(dropped), now)
    return dropped


def _sweep(state: SubjectState) -> None:
    """Drop what was noted about inputs that are gone."""
    if isinstance(state, PatientState):
        sweep_arrivals(state)
        forget_runs(state)


def _facets(dropped: list[str]) -> frozenset[str]:
    """Return the facets of the windows that something was dropped from."""
    if not dropped:
        return frozenset()
    return DROPPED.facets.union(*(window.facets for window in WINDOWS if window.name in dropped))


def note(state: SubjectState, counts: Mapping[str, int], now: datetime) -> None:
    """Add what was dropped to what was dropped before, unless that is forgotten by now."""
    known = state.drops if state.drops and now < state.drops.at + DROPS_FORGOTTEN else None
    total = dict(known.counts) if known else {}
    for name, number in counts.items():
        total[name] = total.get(name, 0) + number
    told = known.told if known and sum(total.values()) < 2 * sum(known.told.values()) else dict(total)
    state.drops = Drops(since=known.since if known else now, at=now, counts=total, told=told)


def _candidates(state: SubjectState) -> Iterator[_Candidate]:
    grounds = _grounds(state)
    for place, window in enumerate(WINDOWS):
        if isinstance(state, PatientState) and window is SIGNALS:
            continue  # a signal that was sent must stay, so that it can be retracted
        newest = _newest(state, window)
        alarms = _alarms_that_stay(state) if window is ALARMS else None
        for key, item in window.of(state).items():
            if key in alarms if alarms is not None else _rests_on(grounds, key, item):
                continue
            if window.stays and key in newest:
                continue
            rank = place + len(WINDOWS) * (key in newest)
            yield _Candidate(rank, window.moment(item), window.name, key, _size(key, item))
    # Last, because an alert that begins again after it was dropped repeats revisions that readers know.
    for alert in _buried(state).values():
        yield _Candidate(2 * len(WINDOWS), alert.over_at or alert.at, "buried", alert.alert_id, remains(alert))


def _grounds(state: SubjectState) -> set[str]:
    """Return the ids of the inputs that open alerts rest on, or are named after."""
    return {
        ground.partition(":")[2]
        for alert in state.alerts.values()
        if alert.over_at is None
        for ground in (*alert.grounds, *anchors_of(alert))
    }


def _rests_on(grounds: set[str], key: str, item: Any) -> bool:
    return key in grounds or any(getattr(item, field, None) in grounds for field in _IDS)


def _size(key: str, item: Any) -> int:
    return len(_encode(item)) + len(_encode(key)) + 2


def _alarms_that_stay(state: SubjectState) -> set[str]:
    """Return the keys of the alarms that open alerts rest on, the most urgent and the newest first, within their bound.

    A machine alarms by itself: however many alarms it has, they push out nothing else that an open alert rests on.
    """
    held, urgency = ALARMS.of(state), dict[str, int]()
    for alert in state.alerts.values():
        for ground in (*alert.grounds, *alert.anchors) if alert.over_at is None else ():
            kind, _, key = ground.partition(":")
            if kind == "machine_alarm" and key in held:
                urgency[key] = max(urgency.get(key, 0), alert.priority.rank)
    left, stay = MAX_ALARM_BYTES, set[str]()
    runs: dict[str, Any] = getattr(state, "alarm_runs", {})
    for key in sorted(urgency, key=lambda key: (urgency[key], held[key].at, key), reverse=True):
        name = alarm_name(held[key])
        left -= _size(key, held[key]) + len(_encode(alarm_ref(key))) + _ARRIVAL + _size(name, runs.get(name, ()))
        if left < 0:
            break
        stay.add(key)
    return stay


def anchors_of(alert: AlertState) -> list[str]:
    """Return the anchors of an alert as `kind:id`; an accepted risk has them as `risk:rule:kind:id`."""
    if not alert.key.startswith("risk:"):
        return alert.anchors
    return [anchor.split(":", 2)[-1] for anchor in alert.anchors]


def _newest(state: SubjectState, window: Window) -> set[str]:
    """Return the keys of the newest input on each thing still needed, such as an analyte, an order or an open alert."""
    newest: dict[object, tuple[datetime, str]] = {}
    names = _open_names(state) if window is RESPONSES else {}
    for key, item in window.of(state).items():
        if window is RESPONSES:
            alert = names.get(item.alert_id)
            thing: object = (alert, item.action) if alert else None
        else:
            thing = window.about(item)
        if thing is not None:
            newest[thing] = max(newest.get(thing, (window.moment(item), key)), (window.moment(item), key))
    return {key for _, key in newest.values()}


def _open_names(state: SubjectState) -> dict[str, str]:
    """Map every id by which people may have answered an open alert to its alert id."""
    return {
        name: alert.alert_id
        for alert in state.alerts.values()
        if alert.over_at is None
        for name in (alert.alert_id, *(alert_id(alert.rule, state.id, anchor) for anchor in alert.anchors))
    }


#: Bytes of an arrival beside its name.
_ARRIVAL: Final = 30
#: The name of an input's arrival, by its window.
_REFS: Final[Mapping[str, Callable[[str, Any], str]]] = {
    "labs": lambda _key, result: value_ref(result),
    "versions": lambda _key, result: value_ref(result),
    "symptoms": lambda key, _symptom: f"symptom:{key}",
    "medications": lambda key, _step: f"medication:{key}",
    "rhythms": lambda _key, found: rhythm_ref(found),
    "weights": lambda _key, weight: weight_ref(weight),
    "machine_alarms": lambda key, _alarm: alarm_ref(key),
}


def _forget(state: SubjectState, one: _Candidate) -> int:
    """Drop a candidate and its arrival; return about how many bytes the arrival took."""
    item = getattr(state, one.window).pop(one.key)
    if not isinstance(state, PatientState) or (named := _REFS.get(one.window)) is None:
        return 0
    ref = named(one.key, item)
    return 0 if state.arrivals.pop(ref, None) is None else len(_encode(ref)) + _ARRIVAL


# -- single alerts ----------------------------------------------------------------------------------------------------


def surplus_over(standing: Sequence[tuple[datetime, AlertState]]) -> int:
    """Return how many of the ended alerts, oldest first, leave early because their messages are too large."""
    left = sum(len(memoryview(alert.value)) for _, alert in standing) - MAX_OVER_BYTES
    for number, (_, alert) in enumerate(standing):
        if left <= 0:
            return number
        left -= len(memoryview(alert.value))
    return len(standing)


def bounded(finding: Finding) -> Finding:
    """Cut a finding's anchors and evidence to the bound: the first anchors, the first and the newest evidence stay."""
    characters = sum(len(item.id) + len(item.name) for item in finding.evidence)
    most = max(_WIDEST * characters + _ITEM * len(finding.evidence), _WIDEST * sum(map(len, finding.anchors)))
    if most <= MAX_EVIDENCE_BYTES:  # an upper estimate that fits, nearly always
        return finding
    return replace(finding, anchors=_first(finding.anchors), evidence=_newest_evidence(finding.evidence))


#: The most bytes of one character in JSON, and of the rest of a piece of evidence.
_WIDEST: Final = 6
_ITEM: Final = 300


def _first(anchors: tuple[str, ...]) -> tuple[str, ...]:
    left, kept = MAX_EVIDENCE_BYTES, 0
    for anchor in anchors:
        left -= len(_encode(anchor))
        if left < 0:
            break
        kept += 1
    return anchors[: max(kept, 1)]


def _newest_evidence(evidence: tuple[EvidenceRecord, ...]) -> tuple[EvidenceRecord, ...]:
    left = MAX_EVIDENCE_BYTES - sum(len(_encode(item)) for item in evidence[:1])
    kept: list[EvidenceRecord] = []
    for item in reversed(evidence[1:]):
        left -= len(_encode(item))
        if left < 0:
            break
        kept.append(item)
    return (*evidence[:1], *reversed(kept))


# -- what cannot be stored --------------------------------------------------------------------------------------------


def reduce(state: SubjectState, now: datetime) -> None:
    """Reduce the state of a record that the broker refused to what its open alerts need."""
    trim(state, LEAST_INPUT_BYTES, now)
    _buried(state).clear()


def _is_alarm(ground: str) -> bool:
    return ground.startswith("machine_alarm:")


def forget_alarms(state: SubjectState, now: datetime) -> bool:
    """Drop the alarms of machines, and the alerts that repeat them; return whether there was one that is open.

    Their machines go on alarming. What such an alert showed stays on `alerts.active`: nobody has seen its end.
    """
    repeats = [
        alert.alert_id
        for alert in state.alerts.values()
        if alert.over_at is None and alert.grounds and all(map(_is_alarm, alert.grounds))
    ]
    if not isinstance(state, PatientState) or not repeats:
        return False
    note(state, {ALARMS.name: len(state.machine_alarms)}, now)
    for name in repeats:
        del state.alerts[name]
    state.machine_alarms.clear()
    _sweep(state)
    return True


def begin_anew(state: SubjectState) -> None:
    """Drop everything of a subject but how far its input was applied, and into which record it was merged."""
    if isinstance(state, PatientState):
        state.profile, state.unit_id, state.unit_id_at = None, None, None
    for name in (*(window.name for window in WINDOWS), *_BESIDE, *_OF_ALERTS):
        held = getattr(state, name, None)
        if isinstance(held, dict):
            held.clear()
    state.outbox.clear()

"""What an event costs the engine, and a patient in memory: patients with a past beside those without. No Kafka.

For the past see `benchmarks.history`. Figures are processor time, best of
several rounds; bytes are those of the record that a checkpoint writes.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psutil

from benchmarks.history import PANEL, event, history
from models.alerts import Priority
from models.analytes import Analyte, units_of
from models.parsing import Parsed, parse_patient_event
from models.state import PatientState, StateCodec
from streams.engine.factory import patient_partition
from streams.engine.partition import Partition
from streams.rules.api import PatientRule
from streams.rules.catalogue import PATIENT_RULES, RuleSettings, default_settings
from streams.rules.shapes.bands import Band, lab_bands

#: How many band rules are switched on beside the catalogue.
MORE_RULES: Final = 45
_SAMPLE: Final = "a sample"
_POTASSIUM: Final = "a result (potassium)"
_NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_RETENTION: Final = timedelta(minutes=15)
_PATIENTS: Final = 150
_ROUNDS: Final = 5
_IN_MEMORY: Final = {False: 40_000, True: 2000}


@dataclass(frozen=True, slots=True)
class Cost:
    """One kind of event: microseconds to file and evaluate it, to encode the record after it, and its bytes."""

    name: str
    without_us: float
    with_us: float
    encode_us: float
    record_bytes: float


def measure() -> tuple[list[Cost], dict[str, float]]:
    """Cost of each kind of event, and kilobytes a patient and microseconds to decode one, without and with a past."""
    costs = [_cost(name, make) for name, make in _KINDS.items()]
    more = _with_more_rules()
    costs += [_cost(f"{name}, {MORE_RULES} more", _KINDS[name], *more) for name in (_SAMPLE, _POTASSIUM)]
    kept: dict[str, float] = {}
    for name, past in (("without a past", False), ("with a past", True)):
        kept |= {f"{name}, {what}": value for what, value in _kept(past=past).items()}
    return costs, kept


def show(costs: list[Cost], kept: dict[str, float]) -> None:
    """Print the figures."""
    print(f"{'engine, us of CPU':30} {'no past':>9} {'a past':>9} {'encode':>9} {'bytes':>9}")
    for cost in costs:
        print(
            f"{cost.name:30} {cost.without_us:9.1f} {cost.with_us:9.1f} {cost.encode_us:9.1f} {cost.record_bytes:9,.0f}"
        )
    for name, value in kept.items():
        print(f"{name:42} {value:9.1f}")
    print()


def _event(type_: str, at: datetime, **fields: Any) -> bytes:
    return event(type_, "p", at, **fields)


def _result(number: int, at: datetime) -> bytes:
    analyte, value, unit = PANEL[0]
    return _event("lab_result", at, result_id=f"new-{number}", analyte=analyte, value=value, unit=unit)


def _potassium(number: int, at: datetime) -> bytes:
    analyte, value, unit = PANEL[1]
    return _event("lab_result", at, result_id=f"new-{number}", analyte=analyte, value=value, unit=unit)


def _low_result(number: int, at: datetime) -> bytes:
    return _event("lab_result", at, result_id=f"new-{number}", analyte="magnesium", value=1.5, unit="mg/dL")


def _symptom(number: int, at: datetime) -> bytes:
    return _event("symptom", at, symptom_id=f"new-{number}", kind="nausea")


def _sample(number: int, at: datetime) -> bytes:
    return _event(
        "telemetry", at, session_id="today", machine_id="m1", blood_flow_ml_min=300.0, systolic_mmhg=120.0 + number % 7,
        uf_rate_ml_h=600.0, venous_pressure_mmhg=150.0, conductivity_ms_cm=14.0, dialysate_temperature_c=36.5,
    )  # fmt: skip


def _start(number: int, at: datetime) -> bytes:
    return _event("session_started", at, session_id=f"new-{number}", machine_id="m1", water_loop_id="loop-1")


_KINDS: Final[dict[str, Callable[[int, datetime], bytes]]] = {
    _SAMPLE: _sample,
    "a result (magnesium)": _result,
    _POTASSIUM: _potassium,
    "a low magnesium": _low_result,
    "a symptom": _symptom,
    "a session start": _start,
}


def _with_more_rules() -> tuple[RuleSettings, tuple[PatientRule, ...]]:
    """The catalogue with further band rules, spread over all analytes; their bounds are those of no living patient."""
    shipped, analytes = default_settings(), list(Analyte)
    rules = [_far_band(f"more_{number}", analytes[number % len(analytes)]) for number in range(MORE_RULES)]
    settings = replace(shipped, by_rule={**shipped.by_rule, **{rule.name: rule.limits() for rule in rules}})
    return settings, (*PATIENT_RULES, *rules)


def _far_band(name: str, analyte: Analyte) -> PatientRule:
    far = dict.fromkeys(units_of(analyte), 1e6)
    band = Band("far", Priority.LOW, far, "a bench", "far")
    return lab_bands(
        name,
        analyte,
        above=True,
        bands=(band,),
        advice=lambda _view, _result: (),
        family="electrolytes",
        ids="E01",
        title="A rule of the bench",
    )


def _made(settings: RuleSettings, rules: tuple[PatientRule, ...]) -> Partition[PatientState]:
    return patient_partition(settings, _RETENTION, rules=rules)


def _partition(
    patients: int, settings: RuleSettings, rules: tuple[PatientRule, ...], *, past: bool
) -> Partition[PatientState]:
    """Patients who started today's session an hour ago, all alike."""
    partition = _made(settings, rules)
    codec = StateCodec(PatientState)
    events = sorted((at, raw) for at, _, raw in history("p", _NOW)) if past else []
    start = _NOW - timedelta(hours=1)
    events.append((start, _event("session_started", start, session_id="today", machine_id="m1")))
    for at, raw in events:
        for _ in partition.advance(at):
            pass
        state, _, _ = partition.take("p", _parsed(raw), at)
        state.outbox.clear()
    for _ in partition.advance(_NOW):
        pass
    state.outbox.clear()
    stored = codec.encode(state)
    fresh = _made(settings, rules)
    copies = (codec.decode(stored.replace(b'"id":"p"', b'"id":"p%d"' % number, 1)) for number in range(patients))
    fresh.adopt(copies)
    for _ in fresh.advance(_NOW):
        pass
    return fresh


def _parsed(raw: bytes) -> Any:
    parsed = parse_patient_event(raw)
    assert isinstance(parsed, Parsed), parsed
    return parsed.record


def _cost(
    name: str,
    make: Callable[[int, datetime], bytes],
    settings: RuleSettings | None = None,
    rules: tuple[PatientRule, ...] = PATIENT_RULES,
) -> Cost:
    chosen = settings or default_settings()
    without = _seconds(make, _partition(_PATIENTS, chosen, rules, past=False))[0]
    with_past, encode, size = _seconds(make, _partition(_PATIENTS, chosen, rules, past=True))
    return Cost(name, without * 1e6, with_past * 1e6, encode * 1e6, size)


def _seconds(make: Callable[[int, datetime], bytes], partition: Partition[PatientState]) -> tuple[float, float, float]:
    """Seconds an event and an encoding, the best of the rounds, and bytes of the record."""
    codec = StateCodec(PatientState)
    states = list(partition.states.values())
    best = encoding = float("inf")
    size = 0
    for number in range(_ROUNDS):
        at = _NOW + timedelta(seconds=number)
        record = _parsed(make(number, at))
        gc.collect()
        began = time.process_time()
        for state in states:
            partition.take(state.id, record, at)
        best = min(best, (time.process_time() - began) / len(states))
        for state in states:
            state.outbox.clear()
        began = time.process_time()
        size = sum(len(codec.encode(state)) for state in states)
        encoding = min(encoding, (time.process_time() - began) / len(states))
    return best, encoding, size / len(states)


def _kept(*, past: bool) -> dict[str, float]:
    """What a quiet patient takes in memory, in kB, and the times to recover one and to wake their history, in us."""
    partition = _partition(1, default_settings(), PATIENT_RULES, past=past)
    codec = StateCodec(PatientState)
    (state,) = partition.states.values()
    stored = codec.encode(state)
    process, count = psutil.Process(), _IN_MEMORY[past]
    gc.collect()
    before = process.memory_info().rss
    recovering = time.process_time()
    held = []
    for _ in range(count):
        one = codec.decode(bytes(bytearray(stored)))  # a buffer of its own, as a record of the changelog has
        one.check()
        held.append(one)
    recovered = time.process_time()
    for one in held:
        one.pack()
    packed = time.process_time()
    gc.collect()
    taken = process.memory_info().rss - before
    waking = time.process_time()
    for one in held[: count // 2]:
        assert one.history is not None
    woken = time.process_time()
    return {
        "kB in memory, quiet": taken / count / 1000,
        "us to recover": (recovered - recovering) / count * 1e6,
        "us to pack": (packed - recovered) / count * 1e6,
        "us to wake": (woken - waking) / (count // 2) * 1e6,
    }


if __name__ == "__main__":
    show(*measure())
    sys.exit(0)

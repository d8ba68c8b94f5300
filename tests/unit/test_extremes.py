"""Every accepted event at the edge of what is accepted: nothing of it may raise, at filing or at a deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from models.parsing import Rejected, parse_patient_event
from models.state import PatientState, StateCodec
from streams.engine.factory import patient_partition
from streams.rules.catalogue import parse_settings
from tests.unit.fake_port import EPOCH

TIMES = st.sampled_from(
    [
        "1900-01-01T00:00:00Z",
        "1900-01-01T00:00:00-23:59",
        "2199-12-31T23:59:59Z",
        "2199-12-31T23:59:59.999999-00:00",
        "2199-12-31T23:59:59+23:59",
        EPOCH.isoformat(),
        (EPOCH + timedelta(minutes=4)).isoformat(),
        (EPOCH - timedelta(days=34)).isoformat(),
    ]
)
NUMBERS = st.sampled_from([0.0, -0.0, 5e-324, 1e-300, 0.5, 1.5, 20.0, 1e300, 1.7976931348623157e308, -1e308])
IDS = st.sampled_from(["a", "b", "\U0010ffff" * 200, "\ue000"])
ANALYTES = st.sampled_from(["magnesium", "aluminum", "potassium", "ionized_calcium", "creatinine"])
UNITS = st.sampled_from(["mg/dL", "mmol/L", "ug/L", "mEq/L"])
COMPARATORS = st.sampled_from([None, "<", "<=", ">", ">="])


def kind(name: str, required: dict[str, Any], optional: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    fields = {"type": st.just(name), "patient_id": st.just("p1"), "at": TIMES, **required}
    return st.fixed_dictionaries(fields, optional=optional or {})


EVENTS = st.one_of(
    kind(
        "lab_result",
        {"result_id": IDS, "analyte": ANALYTES, "value": NUMBERS, "unit": UNITS},
        {"comparator": COMPARATORS, "reported_at": TIMES, "status": st.sampled_from(["preliminary", "corrected"])},
    ),
    kind(
        "symptom", {"symptom_id": IDS, "kind": st.sampled_from(["cramp", "seizure", "myoclonus"])}, {"ended_at": TIMES}
    ),
    kind("session_started", {"session_id": IDS, "machine_id": IDS}, {"planned_minutes": NUMBERS, "chair": IDS}),
    kind("session_ended", {"session_id": IDS}),
    kind("telemetry", {"session_id": IDS, "machine_id": IDS}, {"systolic_mmhg": NUMBERS, "uf_rate_ml_h": NUMBERS}),
    kind("schedule", {"session_id": IDS, "planned_start": TIMES}),
    kind(
        "alert_response",
        {"alert_id": IDS, "by": IDS, "action": st.sampled_from(["snooze", "resolve"]), "until": TIMES},
    ),
    kind("medication", {"order_id": IDS, "drug": st.sampled_from(["baclofen", "a"]), "action": st.just("ordered")}),
    kind("rhythm", {"kind": st.just("qtc")}, {"qtc_ms": NUMBERS}),
    kind("weight", {"kg": NUMBERS, "moment": st.just("pre")}),
)
GAPS = st.sampled_from([0.0, 60.0, 86_400.0, 40 * 86_400.0])


@given(st.lists(st.tuples(EVENTS, GAPS), max_size=12))
def test_no_accepted_event_raises(events: list[tuple[dict[str, Any], float]]) -> None:
    partition = patient_partition(parse_settings({}), timedelta(minutes=15))
    codec, clock = StateCodec(PatientState), EPOCH
    snoozed: set[str] = set()
    for fields, gap in events:
        clock += timedelta(seconds=gap)
        parsed = parse_patient_event(msgspec.json.encode(fields))
        if isinstance(parsed, Rejected):
            continue
        list(partition.advance(clock))
        state, _, _ = partition.take("p1", parsed.record, clock)
        partition.seen(state)
        for alert in set(state.alerts) - snoozed:
            snoozed.add(alert)
            answer = {"type": "alert_response", "patient_id": "p1", "at": clock.isoformat(), "alert_id": alert}
            answer |= {"by": "n", "action": "snooze", "until": "2199-12-31T23:59:59-00:00"}
            word = parse_patient_event(msgspec.json.encode(answer))
            assert not isinstance(word, Rejected), word
            partition.take("p1", word.record, clock)
        assert not state.failing
        assert codec.decode(codec.encode(state)).id == "p1"
    evaluator = partition._evaluator
    failed: list[str] = []
    evaluator.on_rule_error = failed.append
    list(partition.advance(datetime(2199, 12, 31, tzinfo=UTC)))
    assert not failed

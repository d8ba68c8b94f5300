"""When each value of a result arrived: noted once an id, apart only where it came later than the id did."""

from __future__ import annotations

from datetime import datetime
from itertools import permutations
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from models.events import ResultStatus
from models.records import LabResult
from models.state import LONGEST_WINDOW, PatientState, StateCodec
from streams.engine.results import file_result
from streams.rules.facts import labs
from tests.unit.timeline import moment

#: A word on a result: its id, its value and when it arrived.
Word = tuple[str, float, str]


def filed(words: list[Word], analyte: str = "magnesium") -> PatientState:
    state = StateCodec(PatientState).new("p1")
    for name, value, received in words:
        file_result(state, result(name, value, analyte), moment(received), moment(received) - LONGEST_WINDOW)
    return state


def result(name: str, value: float, analyte: str) -> LabResult:
    fields: dict[str, Any] = {"patient_id": "p1", "result_id": name, "analyte": analyte, "unit": "mg/dL"}
    fields |= {"at": "2026-11-23T06:00:00Z", "value": value, "status": ResultStatus.FINAL, "flags": []}
    return msgspec.convert({"type": "lab_result", **fields}, LabResult)


def known(state: PatientState) -> dict[tuple[str, float | None], datetime]:
    held = (*state.labs.values(), *state.versions.values())
    return {(record.result_id, record.value): labs.known_at(state, record) for record in held}


def test_an_ordinary_result_has_one_arrival() -> None:
    state = filed([("r1", 2.0, "08:00"), ("r1", 2.0, "08:30"), ("r2", 1.9, "09:00")])
    assert state.arrivals == {"lab_result:r1": moment("08:00"), "lab_result:r2": moment("09:00")}


def test_a_corrected_value_is_known_from_its_own_arrival_in_any_order() -> None:
    words = [("r1", 2.0, "08:00"), ("r1", 0.8, "10:00"), ("r1", 0.8, "09:00")]
    for order in permutations(words):
        state = filed(list(order))
        assert known(state) == {("r1", 2.0): moment("08:00"), ("r1", 0.8): moment("09:00")}
        assert len(state.arrivals) == 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["r1", "r2"]),
            st.sampled_from([0.8, 1.6, 2.0]),
            st.sampled_from(["08:00", "08:10", "08:20", "08:30"]),
        ),
        min_size=1,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_each_value_is_known_from_its_first_arrival(words: list[Word], random: Any) -> None:
    first: dict[tuple[str, float | None], datetime] = {}
    for name, value, received in words:
        first[name, value] = min(first.get((name, value), moment(received)), moment(received))
    shuffled = list(words)
    random.shuffle(shuffled)
    state = filed(shuffled)
    assert known(state) == first
    assert state.arrivals == filed(words).arrivals

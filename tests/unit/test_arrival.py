"""When something was known, and clocks that are wrong: what arrives late, ahead, twice or without end."""

from typing import Any

import pytest

from models.state import MAX_RESPONSES, MAX_SYMPTOMS, PatientState, StateCodec
from streams.engine.filing import apply
from tests.events import event
from tests.unit.timeline import Unit, moment, to_line

MG, SUSPICION, CRAMP, LEVEL, QUALITY = (
    "low_magnesium",
    "aluminum_suspicion",
    "intradialytic_cramp",
    "aluminum_level",
    "data_quality",
)


def low_since_eight() -> tuple[Unit, str]:
    ward = Unit(watch=MG)
    ward.lab("magnesium", 1.6, "mg/dL", at="08:00")
    return ward, ward.expect("08:00", "raised", priority="medium").alert_id


def test_a_result_that_arrives_after_a_resolve_is_new_evidence() -> None:
    ward, alert = low_since_eight()
    ward.respond(alert, "resolve", at="10:00")
    ward.expect("10:00", "resolved", reason="resolved_by_person")
    ward.lab("magnesium", 0.8, "mg/dL", at="09:30", received="11:30")
    ward.expect("11:30", "raised", priority="high", status="active")


def test_a_result_that_arrives_after_an_acknowledgement_calls_again() -> None:
    ward, alert = low_since_eight()
    ward.respond(alert, "acknowledge", at="10:00")
    ward.expect("10:00", "acknowledged")
    ward.lab("magnesium", 0.8, "mg/dL", at="09:30", received="11:30")
    ward.expect("11:30", "escalated", priority="high", status="active", reason="severity_changed")


def test_a_symptom_charted_after_a_resolve_is_new_evidence() -> None:
    ward = Unit(watch=SUSPICION)
    ward.symptom("jerk", at="08:00", name="j")
    ward.symptom("hallucination", at="08:30", name="h")
    alert = ward.expect("08:30", "raised").alert_id
    ward.respond(alert, "resolve", at="10:00")
    ward.expect("10:00", "resolved")
    ward.symptom("seizure", at="09:50", name="s", received="10:20")
    ward.expect("10:20", "raised", priority="high", alert_id=alert)


def test_a_report_from_the_future_can_be_corrected() -> None:
    ward = Unit(watch=LEVEL)
    ward.lab("aluminum", 450, "ug/L", at="08:00", name="a1", reported="d300 08:00", received="08:00")
    ward.expect("08:00", "raised", priority="high")
    ward.lab("aluminum", 5, "ug/L", at="08:00", name="a1", status="corrected", reported="09:00", received="09:00")
    ward.expect("09:00", "withdrawn", reason="result_corrected")


def test_a_normal_result_from_the_future_hides_no_low_one() -> None:
    ward = Unit(watch=MG)
    ward.lab("magnesium", 2.0, "mg/dL", at="d300 08:00", received="08:00", name="future")
    ward.lab("magnesium", 0.5, "mg/dL", at="09:00", name="low")
    ward.expect("09:00", "raised", priority="high")


def test_a_hundred_answers_do_not_close_the_door_for_the_next() -> None:
    ward, alert = low_since_eight()
    for number in range(MAX_RESPONSES + 20):
        ward.respond(alert, "acknowledge", at=f"09:{number // 60:02d}:{number % 60:02d}")
    ward.expect("09:00", "acknowledged")
    ward.symptom("cramp", at="12:00")
    ward.expect("12:00", "escalated", status="active")
    ward.respond(alert, "acknowledge", at="12:05")
    ward.expect("12:05", "acknowledged", priority="high")


def test_a_full_window_takes_the_next_symptom() -> None:
    ward = Unit(watch=CRAMP)
    for number in range(MAX_SYMPTOMS):
        ward.symptom("jerk", at=f"0{number // 60 + 1}:{number % 60:02d}", name=f"j{number}", worse_after_dialysis=True)
    ward.session(at="08:00")
    ward.symptom("cramp", at="09:00", name="c")
    ward.expect("09:00", "raised")


def test_a_clock_at_the_edge_does_not_flap() -> None:
    ward = Unit(watch=QUALITY)
    for second in range(0, 58, 2):
        ward.telemetry(at=f"08:05:{second:02d}", received=f"08:00:{second:02d}")
        ward.telemetry(at=f"08:05:{second + 1:02d}", received=f"08:00:{second:02d}")
    ward.expect("08:00", "raised")
    ward.expect_nothing_more()


@pytest.mark.parametrize("order", ["abc", "acb", "bca", "bac", "cab", "cba"])
def test_a_start_that_loses_its_tie_still_moves_the_session(order: str) -> None:
    ward = Unit(watch=CRAMP)
    for which in order:
        match which:
            case "a":
                ward.session(at="10:00", received="10:01", chair="1")
            case "b":
                ward.session(at="09:50", received="10:01", chair="1")
            case "c":
                ward.symptom("cramp", at="10:00:30", received="10:01")
    assert {rule for rule, *_ in ward.open} == {CRAMP}


def test_one_sample_from_yesterday_does_not_end_the_session() -> None:
    ward = Unit(watch=CRAMP)
    ward.session(at="d3 08:00")
    ward.telemetry(at="d2 07:00", received="d3 08:01")
    ward.symptom("cramp", at="d3 09:00")
    ward.expect("d3 09:00", "raised")


def test_an_end_typed_with_the_wrong_year_is_no_end() -> None:
    ward = Unit(watch=CRAMP)
    ward.session(at="08:00")
    ward.symptom("cramp", at="09:00", name="c")
    ward.expect("09:00", "raised")
    ward.symptom("cramp", at="09:00", name="c", ended="d300 09:05", received="09:05")
    ward.symptom("cramp", at="09:00", name="c", ended="09:05", received="09:06")
    ward.expect("09:06", "resolved")


@pytest.mark.parametrize("ended", ["d4 08:00", "12:00:02"])
def test_a_session_that_ends_ahead_of_its_record_ends(ended: str) -> None:
    """The end counts from its arrival; nothing looks for it for ever."""
    ward = Unit(watch=CRAMP)
    ward.session(at="08:00")
    ward.telemetry(at="09:00")
    ward.session_end(at=ended, received="12:00")
    ward.clock("d9 08:00")
    ward.symptom("cramp", at="d9 08:00")
    ward.expect_nothing_more()


def test_unknown_codes_are_one_condition() -> None:
    ward = Unit(watch=QUALITY)
    for number in range(300):
        ward.lab(None, 1.0, "x", at="08:00", name=f"r{number}", loinc=f"local-{number}")
    ward.expect("08:00", "raised", priority="low")
    ward.expect_nothing_more()


def test_an_earlier_arrival_that_is_read_later_counts_and_is_evaluated() -> None:
    """Topics are read side by side: a repeat that arrived first may be read second."""
    state = StateCodec(PatientState).new("p1")
    now = moment("10:00")
    symptom: Any = to_line(event("symptom", "p1", "2026-11-23T08:00:00Z", symptom_id="s1", kind="cramp")).record
    filed = apply(state, symptom, moment("09:00"), now)
    assert (filed.filed, filed.dropped) == (True, 0)
    sooner = apply(state, symptom, moment("08:30"), now)
    assert not sooner.filed
    assert "symptom:cramp" in sooner.facets
    assert apply(state, symptom, moment("08:40"), now).facets == frozenset()


def test_a_result_that_is_corrected_twice_drops_nothing() -> None:
    state = StateCodec(PatientState).new("p1")
    fields: dict[str, Any] = {"analyte": "magnesium", "value": 1.5, "unit": "mg/dL"}
    for number in range(3):
        reported = f"2026-11-23T0{number + 1}:00:00Z"
        line = event("lab_result", "p1", "2026-11-23T00:30:00Z", result_id="r1", reported_at=reported, **fields)
        record: Any = to_line(line | {"status": "corrected"}).record
        assert apply(state, record, moment("08:00"), moment("08:00")).dropped == 0


def test_a_sample_of_days_ago_starts_no_session() -> None:
    """A clock that went back by days would otherwise have the patient dialysed then."""
    state = StateCodec(PatientState).new("p1")
    line = event("telemetry", "p1", "2026-11-23T08:00:00Z", session_id="s1", machine_id="m1", blood_flow_ml_min=300.0)
    record: Any = to_line(line).record
    assert not apply(state, record, moment("d2 08:01"), moment("d2 08:01")).filed
    assert state.sessions == {}
    assert apply(state, record, moment("d2 08:00"), moment("d2 08:00")).filed
    assert list(state.sessions) == ["s1"]

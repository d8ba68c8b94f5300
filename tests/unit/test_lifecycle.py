"""The life of an alert: people's answers, calling again, and every way of being over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.state import MAX_OVER_ALERTS, MAX_RESPONSES, NO_VALUE
from models.topics import ALERTS_ACTIVE
from streams.engine.factory import patient_partition
from streams.rules.catalogue import default_settings
from tests.unit.timeline import RETENTION, Unit, id_of, moment, to_line

RULE = "low_magnesium"
LOW = id_of(RULE, "lab_result:r1")


def low(*, calls: bool = False) -> Unit:
    """Magnesium low on the first day at 08:00."""
    ward = Unit(watch=RULE, calls=calls)
    ward.lab("magnesium", 1.5, at="08:00", name="r1")
    ward.expect("08:00", "raised", priority="medium", status="active", revision=1, escalation=0)
    return ward


# -- answers -------------------------------------------------------------------------------------------------------


def test_acknowledged_stays_acknowledged_while_it_lasts() -> None:
    ward = low(calls=True)
    ward.respond(LOW, "acknowledge", at="08:03")
    ward.expect("08:03", "acknowledged", status="acknowledged", reason="acknowledged", revision=2)
    ward.clock("d3 08:00")
    ward.lab("magnesium", 1.5, at="d3 08:00")
    assert {str(a.status) for a in ward.watched[1:]} == {"acknowledged"}


def test_snoozed_until_then_reminded_and_called_again() -> None:
    ward = low(calls=True)
    ward.respond(LOW, "snooze", at="08:03", until="09:00")
    ward.expect("08:03", "snoozed", status="snoozed", reason="snoozed")
    ward.clock("09:04")
    ward.expect("09:00", "reminded", status="active", reason="snooze_ended")
    ward.clock("09:40")
    ward.expect("09:05", "escalated", reason="unacknowledged", escalation=1)
    ward.expect("09:30", "escalated", reason="unacknowledged", escalation=2)
    ward.expect_nothing_more()


def test_a_snooze_may_be_lengthened() -> None:
    ward = low()
    ward.respond(LOW, "snooze", at="08:03", until="09:00")
    ward.respond(LOW, "snooze", at="08:50", until="10:00")
    ward.clock("12:00")
    ward.expect("08:03", "snoozed")
    ward.expect("10:00", "reminded")
    ward.expect_nothing_more()


def test_the_last_word_counts() -> None:
    ward = low()
    ward.respond(LOW, "snooze", at="08:03", until="09:00")
    ward.respond(LOW, "acknowledge", at="08:10")
    ward.clock("12:00")
    assert ward.watched[-1].status == "acknowledged"


def test_a_repeated_answer_is_told_once() -> None:
    ward = low()
    for _ in range(3):
        ward.respond(LOW, "acknowledge", at="08:03")
    ward.expect("08:03", "acknowledged")
    ward.expect_nothing_more()


def test_an_answer_to_an_unknown_alert_does_nothing() -> None:
    ward = low()
    ward.respond("no-such-alert", "resolve", at="08:03")
    ward.expect_nothing_more()


def test_an_answer_of_another_patient_does_nothing() -> None:
    ward = low()
    ward.respond(LOW, "resolve", at="08:03", patient_id="p2")
    ward.expect_nothing_more()


@pytest.mark.parametrize(
    ("action", "until", "status"),
    [("acknowledge", None, "acknowledged"), ("snooze", "12:00", "snoozed")],
)
def test_an_answer_before_its_alert_is_kept_for_it(action: str, until: str | None, status: str) -> None:
    ward = Unit(watch=RULE, calls=True)
    ward.respond(LOW, action, at="08:03", until=until)
    ward.lab("magnesium", 1.5, at="08:00", name="r1", received="08:10")
    ward.expect("08:10", "raised")
    ward.expect("08:10", {"acknowledge": "acknowledged", "snooze": "snoozed"}[action], status=status)
    ward.clock("11:00")
    ward.expect_nothing_more()


def test_a_resolve_before_its_alert_leaves_nothing_open() -> None:
    ward = Unit(watch=RULE)
    ward.respond(LOW, "resolve", at="08:03")
    ward.lab("magnesium", 1.5, at="08:00", name="r1", received="08:10")
    assert ward.open == set()


def test_resolved_by_a_person_is_silent_until_new_evidence() -> None:
    ward = low()
    ward.respond(LOW, "resolve", at="08:10")
    ward.expect("08:10", "resolved", status="resolved", reason="resolved_by_person")
    ward.lab("magnesium", 1.5, at="08:00", name="r1")  # a repeat is no evidence
    ward.lab("potassium", 4.5, "mmol/L", at="09:00")
    ward.clock("12:00")
    ward.expect_nothing_more()
    ward.lab("magnesium", 1.5, at="12:30")
    ward.expect("12:30", "raised", status="active", revision=3)


def test_a_symptom_is_new_evidence() -> None:
    ward = low()
    ward.respond(LOW, "resolve", at="08:10")
    ward.expect("08:10", "resolved")
    ward.symptom("jerk", at="09:00")
    ward.expect("09:00", "raised", priority="high", revision=3)


def test_an_older_acknowledgement_does_not_outlive_a_resolve() -> None:
    """Acknowledged, then declared over: what is raised on new evidence is for somebody to see."""
    ward = low()
    ward.respond(LOW, "acknowledge", at="08:05")
    ward.respond(LOW, "resolve", at="08:10")
    ward.lab("magnesium", 1.5, at="12:00")
    ward.expect("08:05", "acknowledged")
    ward.expect("08:10", "resolved")
    ward.expect("12:00", "raised", status="active")
    ward.expect_nothing_more()


def test_the_same_evidence_reported_late_does_not_undo_a_resolve() -> None:
    ward = low()
    ward.lab("magnesium", 1.5, at="07:00", received="08:05")
    ward.respond(LOW, "resolve", at="08:10")
    ward.lab("magnesium", 1.5, at="06:00", received="09:00")
    assert ward.open == set()


# -- severity ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "until"), [("acknowledge", None), ("snooze", "20:00")])
def test_a_rising_priority_makes_it_active_again(action: str, until: str | None) -> None:
    ward = low()
    ward.respond(LOW, action, at="08:05", until=until)
    ward.symptom("seizure", at="09:00")
    ward.expect("08:05", {"acknowledge": "acknowledged", "snooze": "snoozed"}[action])
    ward.expect("09:00", "escalated", status="active", priority="high", reason="severity_changed")
    ward.expect_nothing_more()


def test_a_falling_priority_does_not_call_again() -> None:
    ward = Unit(watch=RULE)
    ward.lab("magnesium", 0.9, at="08:00", name="r1")
    ward.respond(LOW, "acknowledge", at="08:05")
    ward.lab("magnesium", 1.5, at="09:00")
    assert (ward.watched[-1].transition, ward.watched[-1].priority) == ("deescalated", "medium")
    assert ward.watched[-1].status == "acknowledged"


# -- nobody answers --------------------------------------------------------------------------------------------------


def test_medium_calls_again_after_5_and_30_minutes() -> None:
    ward = low(calls=True)
    ward.clock("d2 08:00")
    ward.expect("08:05", "escalated", reason="unacknowledged", escalation=1, priority="medium", status="active")
    ward.expect("08:30", "escalated", reason="unacknowledged", escalation=2, priority="medium")
    ward.expect_nothing_more()


def test_high_calls_again_after_60_seconds_and_5_minutes() -> None:
    ward = Unit(watch=RULE, calls=True)
    ward.lab("magnesium", 0.9, at="08:00")
    ward.clock("d2 08:00")
    ward.expect("08:00", "raised", priority="high", escalation=0)
    ward.expect("08:01", "escalated", reason="unacknowledged", escalation=1, priority="high")
    ward.expect("08:05", "escalated", reason="unacknowledged", escalation=2, priority="high")
    ward.expect_nothing_more()


@pytest.mark.parametrize(("value", "priority"), [(12, "info"), (30, "low")])
def test_low_and_info_never_call(value: float, priority: str) -> None:
    ward = Unit(watch="aluminum_level", calls=True)
    ward.lab("aluminum", value, "ug/L", at="08:00")
    ward.clock("d3 08:00")
    ward.expect("08:00", "raised", priority=priority)
    ward.expect_nothing_more()


def test_an_answer_stops_the_calls() -> None:
    ward = low(calls=True)
    ward.respond(LOW, "acknowledge", at="08:06")
    ward.clock("12:00")
    ward.expect("08:05", "escalated", escalation=1)
    ward.expect("08:06", "acknowledged", escalation=1)
    ward.expect_nothing_more()


def test_a_rise_counts_the_times_anew() -> None:
    ward = low(calls=True)
    ward.clock("08:06")
    ward.symptom("jerk", at="08:10")
    ward.clock("09:00")
    ward.expect("08:05", "escalated", reason="unacknowledged", escalation=1)
    ward.expect("08:10", "escalated", reason="severity_changed", escalation=0, priority="high")
    ward.expect("08:11", "escalated", reason="unacknowledged", escalation=1)
    ward.expect("08:15", "escalated", reason="unacknowledged", escalation=2)
    ward.expect_nothing_more()


@pytest.mark.parametrize("restart_at", ["08:00", "08:04:59", "08:05", "08:20"])
def test_response_times_survive_a_restart(restart_at: str) -> None:
    ward = low(calls=True)
    ward.clock(restart_at)
    ward.restart()
    ward.clock("09:00")
    ward.expect("08:05", "escalated", escalation=1)
    ward.expect("08:30", "escalated", escalation=2)
    ward.expect_nothing_more()


def test_a_site_sets_the_times() -> None:
    ward = Unit(watch=RULE, rules={"responses": {"medium": [90.0]}})
    ward.lab("magnesium", 1.5, at="08:00")
    ward.clock("d2 08:00")
    ward.expect("08:00", "raised")
    ward.expect("08:01:30", "escalated", escalation=1)
    ward.expect_nothing_more()


def test_calls_fire_before_a_later_event_and_each_at_its_own_time() -> None:
    ward = low(calls=True)
    ward.lab("magnesium", 2.0, at="09:00")
    ward.expect("08:05", "escalated")
    ward.expect("08:30", "escalated")
    ward.expect("09:00", "resolved")


def test_a_deadline_due_exactly_at_an_event_fires_first() -> None:
    ward = low(calls=True)
    ward.respond(LOW, "acknowledge", at="08:05")
    ward.expect("08:05", "escalated", reason="unacknowledged")
    ward.expect("08:05", "acknowledged")


def test_an_alert_counts_only_from_when_it_could_be_seen() -> None:
    """The raise was acknowledged late: until then nobody could have seen it."""
    partition = patient_partition(default_settings(), RETENTION)
    event = to_line(
        {
            "type": "lab_result", "patient_id": "p1", "at": moment("08:00").isoformat(), "result_id": "r1",
            "analyte": "magnesium", "value": 1.5, "unit": "mg/dL",
        }
    ).record  # fmt: skip
    list(partition.advance(moment("08:00")))
    state, _, _ = partition.take("p1", event, moment("08:00"))
    assert list(partition.advance(moment("10:00"))) == []
    assert partition.seen(state)
    told = list(partition.advance(moment("12:00")))
    assert [f"{one.alert.at:%H:%M}" for one in told] == ["10:05", "10:30"]


# -- over ----------------------------------------------------------------------------------------------------------


def test_the_same_anchor_keeps_its_id_and_counts_on() -> None:
    ward = low()
    ward.lab("magnesium", 2.0, at="09:00", name="r2")
    ward.lab("magnesium", None, at="09:00", name="r2", status="entered_in_error", reported="10:00", received="10:00")
    ward.expect("09:00", "resolved", revision=2)
    ward.expect("10:00", "raised", revision=3, alert_id=LOW)


@pytest.mark.parametrize("over_since", ["d20 08:00", "d50 08:00"])
def test_revisions_go_on_however_long_it_was_over(over_since: str) -> None:
    """The result is still the newest of its analyte, so its episode can open again."""
    ward = low()
    ward.respond(LOW, "resolve", at="08:10")
    ward.expect("08:10", "resolved", revision=2)
    ward.clock(over_since)
    ward.respond("another", "acknowledge", at=over_since)
    ward.qtc(430, at=over_since)
    ward.expect_nothing_more()  # the person's word still stands
    ward.qtc(500, at=over_since, event_id="long")
    ward.expect(over_since, "raised", revision=3, priority="high")


def test_revisions_go_on_while_the_session_runs_however_many_alerts_are_over() -> None:
    """More alerts are over than are kept: those of a session that is held can still open again."""
    ward = Unit(watch="intradialytic_hypotension")
    ward.session(at="08:00", pre_systolic_mmhg=130)
    ward.telemetry(at="08:10", systolic_mmhg=85)
    ward.expect("08:10", "raised", revision=1)
    ward.telemetry(at="08:12", systolic_mmhg=120)
    ward.telemetry(at="08:14", systolic_mmhg=120)
    ward.clock("08:22")
    ward.expect("08:22", "resolved", revision=2)
    for minute in range(MAX_OVER_ALERTS + 1):
        at = f"{9 + minute // 60:02}:{minute % 60:02}"
        ward.lab("magnesium", 1.5, at=f"{at}:00")
        ward.lab("magnesium", 2.0, at=f"{at}:30")
    ward.telemetry(at="12:00", systolic_mmhg=85)
    ward.expect("12:00", "raised", revision=3)


def test_old_symptoms_leave_with_the_window_whatever_else_happens() -> None:
    """Past the longest window a suspicion that a person ended must not come back by itself."""
    ward = Unit(watch="aluminum_suspicion")
    ward.symptom("jerk", at="08:00", worse_after_dialysis=True)
    raised = ward.expect("08:00", "raised")
    ward.respond(raised, "resolve", at="09:00")
    ward.expect("09:00", "resolved")
    for at in ("d50 07:00", "d50 08:00"):
        ward.respond("another", "acknowledge", at=at)
    ward.lab("aluminum", 15, "ug/L", at="d50 09:00")
    ward.expect_nothing_more()


def partition_after_resolve() -> tuple[Unit, str]:
    ward = low()
    ward.lab("magnesium", 2.0, at="09:00")
    return ward, LOW


def test_fifteen_minutes_after_its_end_a_tombstone_is_due() -> None:
    ward, alert = partition_after_resolve()
    partition = ward.replay._patients
    state = partition.states["p1"]
    list(partition.advance(moment("09:14:59")))
    assert state.outbox == []
    list(partition.advance(moment("09:15")))
    (entry,) = state.outbox
    assert (entry.topic, entry.key, entry.value) == (ALERTS_ACTIVE, alert, NO_VALUE)
    state.outbox.clear()
    list(partition.advance(moment("d9 09:15")))
    assert state.outbox == []


def test_an_alert_raised_again_in_time_gets_no_tombstone() -> None:
    ward = low()
    ward.lab("magnesium", 2.0, at="09:00", name="r2")
    ward.lab("magnesium", None, at="09:00", name="r2", status="cancelled", reported="09:10", received="09:10")
    partition = ward.replay._patients
    list(partition.advance(moment("12:00")))
    assert partition.states["p1"].outbox == []


def test_every_transition_is_in_the_outbox_with_its_headers() -> None:
    ward = low()
    partition = ward.replay._patients
    event = to_line(
        {
            "type": "lab_result", "patient_id": "p1", "at": moment("09:00").isoformat(), "result_id": "r2",
            "analyte": "magnesium", "value": 2.0, "unit": "mg/dL",
        }
    ).record  # fmt: skip
    list(partition.advance(moment("09:00")))
    state, _, told = partition.take("p1", event, moment("09:00"))
    assert [(e.topic, e.key, e.ce_id, e.ce_type) for e in state.outbox] == [
        ("alerts.low-magnesium", "p1", f"{LOW}:2", "dialysis.alert.resolved")
    ]
    assert len(told) == 1


# -- bounds --------------------------------------------------------------------------------------------------------


def test_unmatched_responses_are_capped_and_never_push_out_a_matched_one() -> None:
    ward = low(calls=True)
    ward.respond(LOW, "acknowledge", at="08:01")
    for number in range(MAX_RESPONSES + 20):
        at = (moment("08:02") + timedelta(seconds=number)).isoformat()
        ward.respond(f"unknown-{number}", "acknowledge", at=at)
    assert len(ward.replay._patients.states["p1"].responses) <= MAX_RESPONSES
    ward.clock("12:00")
    assert ward.open == {(RULE, "p1/magnesium", "acknowledged", "medium")}

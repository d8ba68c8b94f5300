"""The metrics of the contract, by name, kind and labels: what dashboards and alerting rules rely on."""

import pytest
from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.worker.metrics import Metrics

CONTRACT = {
    "dialysis_events_total": ("counter", {"topic", "type"}),
    "dialysis_dead_letters_total": ("counter", {"topic", "reason"}),
    "dialysis_late_events_total": ("counter", {"topic"}),
    "dialysis_duplicate_events_total": ("counter", {"topic"}),
    "dialysis_alert_transitions_total": ("counter", {"rule", "priority", "transition"}),
    "dialysis_alerts_active": ("gauge", {"rule", "priority"}),
    "dialysis_event_to_alert_seconds": ("histogram", {"family"}),
    "dialysis_batch_size": ("histogram", set()),
    "dialysis_checkpoint_seconds": ("histogram", set()),
    "dialysis_checkpointed_keys_total": ("counter", set()),
    "dialysis_state_set_aside_total": ("counter", {"table"}),
    "dialysis_records_ahead_total": ("counter", {"table"}),
    "dialysis_consumer_lag": ("gauge", {"topic", "partition"}),
    "dialysis_clock_timestamp_seconds": ("gauge", {"partition"}),
    "dialysis_state_recovery_seconds": ("gauge", set()),
    "dialysis_last_tick_timestamp_seconds": ("gauge", set()),
    "dialysis_build_info": ("gauge", {"version"}),
}
EXTRA = {
    "dialysis_unknown_fields_total": ("counter", {"topic"}),
    "dialysis_details_left_out_total": ("counter", {"type", "field"}),
    "dialysis_misplaced_records_total": ("counter", {"topic"}),
    "dialysis_events_moved_total": ("counter", {"topic"}),
    "dialysis_cap_drops_total": ("counter", {"cap"}),
    "dialysis_unread_results_total": ("counter", set()),
    "dialysis_unmatched_responses_total": ("counter", set()),
    "dialysis_loop_clock_timestamp_seconds": ("gauge", {"partition"}),
    "dialysis_assignments_total": ("counter", set()),
    "dialysis_rule_errors_total": ("counter", {"rule"}),
    "dialysis_accepted_risks": ("gauge", {"rule"}),
    "dialysis_records_refused_total": ("counter", {"how"}),
    "dialysis_subjects_set_aside": ("gauge", {"table", "partition"}),
    "dialysis_event_loop_pause_seconds": ("histogram", set()),
    "dialysis_event_loop_pause_worst_seconds": ("gauge", set()),
}


@pytest.fixture(scope="module")
def families() -> dict[str, Metric]:
    """What Prometheus reads from a worker that has used every metric once."""
    metrics = Metrics()
    topic = metrics.topic("dialysis.lab-results")
    topic.events["lab_result"].inc()
    metrics.details_left_out.labels("symptom", "score").inc()
    metrics.alert_transitions.labels("low_magnesium", "high", "raised").inc()
    metrics.open_alerts.moved(("patients", 0), "low_magnesium", None, "high")
    metrics.event_to_alert_seconds.labels("low-magnesium").observe(0.007)
    metrics.lag("dialysis.lab-results", 0, 1)
    metrics.clock_timestamp_seconds.labels("0").set(1)
    metrics.loop_clock_timestamp_seconds.labels("0").set(1)
    metrics.events_moved.labels("dialysis.lab-results").inc()
    metrics.cap_drops.labels("unmatched_responses").inc()
    metrics.rule_errors.labels("low_magnesium").inc()
    metrics.accepted_risks.labels("low_magnesium").set(1)
    metrics.records_refused.labels("reduced").inc()
    metrics.subjects_set_aside.labels("patients", "0").set(1)
    metrics.state_set_aside.labels("patients").inc()
    metrics.records_ahead.labels("patients").inc()
    text = generate_latest(metrics.registry).decode()
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in text_string_to_metric_families(text)
    }


@pytest.mark.parametrize("name", [*CONTRACT, *EXTRA])
def test_name_kind_and_labels(families: dict[str, Metric], name: str) -> None:
    kind, labels = (CONTRACT | EXTRA)[name]
    family = families[name]
    assert family.type == kind
    assert family.documentation
    assert family.samples
    for sample in family.samples:
        assert set(sample.labels) - {"le"} == labels


def test_nothing_else_has_the_prefix(families: dict[str, Metric]) -> None:
    assert {name for name in families if name.startswith("dialysis_")} == set(CONTRACT | EXTRA)


def test_no_label_could_hold_a_patient_or_a_machine() -> None:
    bounded = {
        "topic",
        "type",
        "reason",
        "rule",
        "how",
        "table",
        "priority",
        "transition",
        "family",
        "partition",
        "version",
        "cap",
        "field",
    }
    assert set().union(*(labels for _, labels in (CONTRACT | EXTRA).values())) <= bounded


def test_process_metrics_are_there(families: dict[str, Metric]) -> None:
    assert {
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
    } <= set(families)


def test_alert_latency_is_measured_from_5_ms_to_60_s(families: dict[str, Metric]) -> None:
    bounds = [
        float(sample.labels["le"])
        for sample in families["dialysis_event_to_alert_seconds"].samples
        if "le" in sample.labels
    ]
    assert bounds[0] == 0.005
    assert bounds[-2:] == [60.0, float("inf")]

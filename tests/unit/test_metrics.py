from models.parsing import RejectReason
from streams.worker.metrics import EVENT_TYPES, OTHER, Metrics

LABS = "dialysis.lab-results"


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_two_processes_in_one_test_do_not_share_counts() -> None:
    one, other = Metrics(), Metrics()
    one.topic(LABS).late.inc(3)
    assert value(one, "dialysis_late_events_total", topic=LABS) == 3
    assert value(other, "dialysis_late_events_total", topic=LABS) is None


def test_children_are_resolved_once() -> None:
    topic = Metrics().topic(LABS)
    assert topic.events["lab_result"] is topic.events["lab_result"]
    assert "lab_result" in topic.events


def test_an_unknown_label_value_is_counted_as_other() -> None:
    metrics = Metrics()
    topic = metrics.topic(LABS)
    for kind in ("patient-4711", "patient-4712", OTHER):
        topic.events[kind].inc()
        topic.dead_letters[kind].inc()
    assert value(metrics, "dialysis_events_total", topic=LABS, type=OTHER) == 3
    assert value(metrics, "dialysis_dead_letters_total", topic=LABS, reason=OTHER) == 3
    labels = {
        value for family in metrics.registry.collect() for sample in family.samples for value in sample.labels.values()
    }
    assert not [label for label in labels if "patient-" in label]


def test_event_types_are_those_of_the_models() -> None:
    assert {"lab_result", "telemetry", "alert_response", "unit_signal"} <= EVENT_TYPES
    assert len(EVENT_TYPES) == 18


def test_dead_letters_start_at_zero_so_that_a_first_one_is_an_increase() -> None:
    metrics = Metrics()
    metrics.topic(LABS)
    for reason in RejectReason:
        assert value(metrics, "dialysis_dead_letters_total", topic=LABS, reason=reason) == 0


def test_open_alerts_follow_priorities_and_partitions() -> None:
    metrics = Metrics()
    alerts = metrics.open_alerts

    def active(priority: str) -> float | None:
        return value(metrics, "dialysis_alerts_active", rule="low_magnesium", priority=priority)

    alerts.replace(("patients", 0), {("low_magnesium", "high"): 2, ("low_magnesium", "low"): 0})
    alerts.moved(("patients", 1), "low_magnesium", None, "low")
    assert (active("high"), active("low")) == (2, 1)
    alerts.moved(("patients", 0), "low_magnesium", "high", "low")
    assert (active("high"), active("low")) == (1, 2)
    alerts.moved(("patients", 0), "low_magnesium", "low", "low")
    alerts.moved(("patients", 1), "low_magnesium", "low", None)
    assert (active("high"), active("low")) == (1, 1)
    alerts.replace(("patients", 0), {("low_magnesium", "high"): 5})
    assert (active("high"), active("low")) == (5, 0)
    alerts.clear()
    assert (active("high"), active("low")) == (0, 0)


def test_a_revoked_partition_is_no_longer_spoken_for() -> None:
    metrics = Metrics()
    metrics.lag(LABS, 3, 17)
    metrics.lag(LABS, 3, 18)
    metrics.clock_timestamp_seconds.labels("3").set(1e9)
    metrics.open_alerts.moved(("patients", 3), "seizure", None, "high")
    assert value(metrics, "dialysis_consumer_lag", topic=LABS, partition="3") == 18
    metrics.partitions_revoked()
    assert value(metrics, "dialysis_consumer_lag", topic=LABS, partition="3") is None
    assert value(metrics, "dialysis_clock_timestamp_seconds", partition="3") is None
    assert value(metrics, "dialysis_alerts_active", rule="seizure", priority="high") == 0
    metrics.lag(LABS, 3, 1)
    assert value(metrics, "dialysis_consumer_lag", topic=LABS, partition="3") == 1

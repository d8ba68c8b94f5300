"""Every Prometheus metric of a worker, declared in one place.

Label values come from bounded sets (topics, event types, rules, priorities, reasons, partitions), never from a patient
or a machine. The label `topic` is the full name, as in Kafka's own exporters.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Final, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from models import events
from models.parsing import FaultReason, RejectReason
from streams.engine.left_out import OnceASource
from streams.worker.open_alert_count import OpenAlerts

#: Stands for every label value outside its bounded set.
OTHER: Final = "other"

EVENT_TYPES: Final = frozenset(
    str(model.model_fields["type"].default)
    for union in (events.PatientEvent, events.LoopEvent)
    for model in get_args(get_args(union)[0])
)

_REASONS: Final = frozenset[str]((*RejectReason, *FaultReason))
_ALERT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_CHECKPOINT_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PAUSE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_BATCH_BUCKETS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)

# The `_created` series would double the counters, and nothing reads them. The setting is process-wide.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Children(dict[str, Counter]):
    """The counters of one label, resolved once: a lookup is a dict access, without a lock.

    A value outside `allowed` counts under `other`, so that no input can add series.
    """

    def __init__(self, resolve: Callable[[str], Counter], allowed: frozenset[str]) -> None:
        super().__init__()
        self._resolve = resolve
        self._allowed = allowed

    def __missing__(self, value: str) -> Counter:
        if value not in self._allowed and value != OTHER:
            return self[OTHER]
        child = self[value] = self._resolve(value)
        return child


class TopicMetrics:
    """The children of one input topic; a task keeps this object and adds whole batches at once."""

    __slots__ = ("dead_letters", "duplicates", "events", "late", "misplaced", "unknown_fields")

    def __init__(self, metrics: "Metrics", topic: str) -> None:
        #: By event type.
        self.events = Children(lambda kind: metrics.events.labels(topic, kind), EVENT_TYPES)
        #: By reason. All exist from the start, so that `increase()` sees the first dead letter.
        self.dead_letters = Children(lambda reason: metrics.dead_letters.labels(topic, reason), _REASONS)
        for reason in _REASONS:
            self.dead_letters[reason]
        self.late = metrics.late_events.labels(topic)
        self.duplicates = metrics.duplicate_events.labels(topic)
        self.unknown_fields = metrics.unknown_fields.labels(topic)
        self.misplaced = metrics.misplaced_records.labels(topic)


class Metrics:
    """All metrics of a process, on a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry if registry is not None else CollectorRegistry()
        self._topics: dict[str, TopicMetrics] = {}
        self._lag: dict[tuple[str, int], Gauge] = {}
        self._input(registry)
        self._output(registry)
        self._state(registry)
        self._progress(registry)
        self._health(registry)
        #: Open alerts by partition; keeps `alerts_active` right when partitions come and go.
        self.open_alerts = OpenAlerts(self.alerts_active)

    # -- the metrics

    def _input(self, registry: CollectorRegistry) -> None:
        # Count: usable messages taken from an input topic, repeats and late ones included.
        self.events = Counter("dialysis_events", "Usable messages taken", ["topic", "type"], registry=registry)
        # Count: messages that could not be used and were sent to dead-letters.
        self.dead_letters = Counter(
            "dialysis_dead_letters", "Messages that could not be used", ["topic", "reason"], registry=registry
        )
        # Count: events that arrived more than 5 min after they happened, filed all the same.
        self.late_events = Counter("dialysis_late_events", "Events that came late", ["topic"], registry=registry)
        # Count: events that were known already, and records below the applied offset.
        self.duplicate_events = Counter(
            "dialysis_duplicate_events", "Events that were known already", ["topic"], registry=registry
        )
        # Count: fields of usable messages that no model knows; they are ignored.
        self.unknown_fields = Counter(
            "dialysis_unknown_fields", "Fields that no model knows, ignored", ["topic"], registry=registry
        )
        # Count: descriptive fields of usable messages that could not be used; they are left out.
        self.details_left_out = Counter(
            "dialysis_details_left_out", "Descriptive details left out", ["type", "field"], registry=registry
        )
        #: Which of them were logged, for all tasks.
        self.left_out_said = OnceASource()
        # Count: records that lay on another partition than their key's and were sent on.
        self.misplaced_records = Counter(
            "dialysis_misplaced_records",
            "Records sent on to the right partition",
            ["topic"],
            registry=registry,
        )
        # Count: events sent to the record that stays after a merge, repeats after a crash included.
        self.events_moved = Counter(
            "dialysis_events_moved", "Events sent on to the record that stays", ["topic"], registry=registry
        )
        # Number: records that a task receives at once.
        self.batch_size = Histogram(
            "dialysis_batch_size",
            "Records handed to a task at once",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )

    def _output(self, registry: CollectorRegistry) -> None:
        # Count: transitions that the broker acknowledged, repeats excluded.
        self.alert_transitions = Counter(
            "dialysis_alert_transitions",
            "Alert transitions sent",
            ["rule", "priority", "transition"],
            registry=registry,
        )
        # Number: alerts that are not over, of the partitions this worker owns. Written by `open_alerts`.
        self.alerts_active = Gauge("dialysis_alerts_active", "Open alerts", ["rule", "priority"], registry=registry)
        # Time: from the append of the input that made a transition to its acknowledgement by the broker.
        self.event_to_alert_seconds = Histogram(
            "dialysis_event_to_alert_seconds",
            "Input append to alert acknowledged by the broker",
            ["family"],
            buckets=_ALERT_BUCKETS,
            registry=registry,
        )

    def _state(self, registry: CollectorRegistry) -> None:
        # Time: writing the changed keys of a partition until the broker has acknowledged them.
        self.checkpoint_seconds = Histogram(
            "dialysis_checkpoint_seconds",
            "Duration of a checkpoint",
            buckets=_CHECKPOINT_BUCKETS,
            registry=registry,
        )
        # Count: keys written by checkpoints.
        self.checkpointed_keys = Counter("dialysis_checkpointed_keys", "Keys written", registry=registry)
        # Time: how long the last recovery of state from the changelogs took.
        self.state_recovery_seconds = Gauge(
            "dialysis_state_recovery_seconds", "Duration of the last recovery", registry=registry
        )
        # Count: records of a changelog that could not be read and were sent to dead-letters.
        self.state_set_aside = Counter(
            "dialysis_state_set_aside", "Changelog records that could not be read", ["table"], registry=registry
        )
        # Count: records whose timestamp lay ahead of the wall clock; they moved no clock beyond it.
        self.records_ahead = Counter(
            "dialysis_records_ahead", "Records with a timestamp ahead of the wall clock", ["table"], registry=registry
        )
        self.unmatched_responses = Counter(
            "dialysis_unmatched_responses", "Answers that fit no alert of their patient or loop", registry=registry
        )
        self.unread_results = Counter(
            "dialysis_unread_results",
            "Results and doses that no rule reads",
            registry=registry,
        )
        # Count: inputs that a bound removed from a subject's state, by the event that was filed.
        self.cap_drops = Counter(
            "dialysis_cap_drops", "Items pushed out of state by a size limit", ["cap"], registry=registry
        )
        # Count: records that the changelog refused, by remedy: `reduced` to the open alerts, or begun `anew`.
        self.records_refused = Counter(
            "dialysis_records_refused", "Records that the changelog refused", ["how"], registry=registry
        )
        # Number: subjects whose record was set aside and began anew within the last day.
        self.subjects_set_aside = Gauge(
            "dialysis_subjects_set_aside",
            "Subjects whose record was set aside",
            ["table", "partition"],
            registry=registry,
        )

    def _progress(self, registry: CollectorRegistry) -> None:
        # Number: records of a partition that no task has taken yet.
        self.consumer_lag = Gauge(
            "dialysis_consumer_lag", "Records not taken yet", ["topic", "partition"], registry=registry
        )
        # Time: the clock (`now`) of a partition's patient task, as Unix time.
        self.clock_timestamp_seconds = Gauge(
            "dialysis_clock_timestamp_seconds", "Clock of a patient task", ["partition"], registry=registry
        )
        # Time: the same of a partition's water loop task.
        self.loop_clock_timestamp_seconds = Gauge(
            "dialysis_loop_clock_timestamp_seconds",
            "Clock of a water loop task",
            ["partition"],
            registry=registry,
        )
        # Time: when the worker's timer last ran, as Unix time.
        self.last_tick_timestamp_seconds = Gauge(
            "dialysis_last_tick_timestamp_seconds", "When the timer last ran", registry=registry
        )
        # Count: times the group gave this worker partitions. Restarts: changes(process_start_time_seconds).
        self.assignments = Counter("dialysis_assignments", "Times partitions were assigned", registry=registry)

    def _health(self, registry: CollectorRegistry) -> None:
        # Count: rules that raised; each is a `data_quality` alert too.
        self.rule_errors = Counter("dialysis_rule_errors", "Rules that raised", ["rule"], registry=registry)
        # One for each rule table of the site's settings that silences a critical band and accepts that risk.
        self.accepted_risks = Gauge(
            "dialysis_accepted_risks", "Rule settings that silence a critical band", ["rule"], registry=registry
        )
        # Time: how much later than due the event loop ran a timer. Nothing is handled meanwhile.
        self.event_loop_pause_seconds = Histogram(
            "dialysis_event_loop_pause_seconds",
            "How long the event loop was held",
            buckets=_PAUSE_BUCKETS,
            registry=registry,
        )
        # Time: the longest such delay of the last minute.
        self.event_loop_pause_worst_seconds = Gauge(
            "dialysis_event_loop_pause_worst_seconds", "Longest hold of the last minute", registry=registry
        )
        # Always one, with the running version as its label.
        self.build_info = Gauge("dialysis_build_info", "Version", ["version"], registry=registry)
        self.build_info.labels(build_version()).set(1)
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    # -- their use

    def topic(self, name: str) -> TopicMetrics:
        """Return the pre-resolved children of an input topic, given by its full name."""
        found = self._topics.get(name)
        if found is None:
            found = self._topics[name] = TopicMetrics(self, name)
        return found

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Set the lag of a partition."""
        child = self._lag.get((topic, partition))
        if child is None:
            child = self._lag[topic, partition] = self.consumer_lag.labels(topic, str(partition))
        child.set(records)

    def partitions_revoked(self) -> None:
        """Clear the metrics of partitions: another worker reports them now."""
        self._lag.clear()
        for gauge in (
            self.consumer_lag,
            self.clock_timestamp_seconds,
            self.loop_clock_timestamp_seconds,
            self.subjects_set_aside,
        ):
            gauge.clear()
        self.open_alerts.clear()


def build_version() -> str:
    """Return the version of the installed package."""
    try:
        return version("dialysis-alerts")
    except PackageNotFoundError:  # a source tree that was never installed
        return "unknown"

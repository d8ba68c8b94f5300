"""The metrics of the unit screen. Labels come from bounded sets, never from a patient, a chair or a person."""

from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, ProcessCollector, disable_created_metrics

# The `_created` series would double the counters, and nothing reads them. The setting is process-wide.
disable_created_metrics()  # type: ignore[no-untyped-call]


def product_version() -> str:
    """Return the version of the product."""
    try:
        return version("dialysis-alerts")
    except PackageNotFoundError:
        return "unknown"


class BoardMetrics:
    """All of them, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"dialysis_board_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"dialysis_board_{name}", text, labels, registry=self.registry)

        self.records = counter("records", "Records read", "topic")
        self.unreadable = counter("unreadable_records", "Records that could not be used", "topic", "reason")
        self.answers = counter("answers", "Answers that people gave", "action", "outcome")
        self.sign_ins = counter("sign_ins", "Attempts to sign in", "outcome")
        self.refused_connections = counter("refused_connections", "Connections that found no place")
        self.dropped_streams = counter("dropped_streams", "Event streams whose reader was too slow")
        self.streams = gauge("streams", "Browsers that follow the event stream")
        self.blind = gauge("blind", "1 while the screen is blind, by reason", "code")
        self.alerts = gauge("alerts", "Alerts in the picture")
        self.sessions = gauge("sessions", "Running sessions in the picture")
        Gauge("dialysis_build_info", "The version", ["version"], registry=self.registry).labels(product_version()).set(
            1
        )

"""The topics of the contract, as names without prefix, and how each is to be created."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

LAB_RESULTS: Final = "lab-results"
MACHINE_EVENTS: Final = "machine-events"
CLINICAL_EVENTS: Final = "clinical-events"
UNIT_SIGNALS: Final = "unit-signals"
ALERTS_UNIT: Final = "alerts.unit"
ALERTS_ACTIVE: Final = "alerts.active"
SESSIONS_ACTIVE: Final = "sessions.active"
WORKER_STATUS: Final = "worker-status"
DEAD_LETTERS: Final = "dead-letters"
INGEST: Final = "ingest"

#: Co-partitioned by patient id: one task reads the same partition of all three.
PATIENT_TOPICS: Final = (LAB_RESULTS, MACHINE_EVENTS, CLINICAL_EVENTS)

#: Families of rules with an alert topic of their own, besides `unit`.
FAMILIES: Final = (
    "low-magnesium",
    "aluminum",
    "cramp",
    "electrolytes",
    "session",
    "medication",
    "rhythm",
    "monitoring",
    "data-quality",
)

#: Tables and so changelogs: of patients and of water loops.
TABLES: Final = ("patients", "loops")

_DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic: name without prefix, key, what it carries, and Kafka's topic settings."""

    name: str
    key: str
    carries: str
    config: dict[str, str] = field(default_factory=dict)
    internal: bool = False

    @property
    def compacted(self) -> bool:
        """Whether Kafka keeps the newest value of each key."""
        return self.config.get("cleanup.policy") == "compact"


def _deleted(days: int, **config: str) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)} | config


def _compacted(**config: str) -> dict[str, str]:
    # Small segments and a low dirty ratio keep the log short, so that a start reads little; the lag gives a
    # frozen worker's late record time to be told apart from its successor's.
    return {
        "cleanup.policy": "compact",
        "segment.bytes": str(16 * 1024 * 1024),
        "segment.ms": "600000",
        "min.cleanable.dirty.ratio": "0.1",
        "min.compaction.lag.ms": "600000",
    } | config


def all_topics(group: str, max_message_bytes: int) -> list[TopicSpec]:
    """Every topic of the contract, the changelogs of a consumer group included."""
    append_time = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(max_message_bytes)}
    # A state record, or a dead letter with its headers, may be larger than the message it came from.
    roomy = {"max.message.bytes": str(2 * max_message_bytes)}
    topics = [
        TopicSpec(LAB_RESULTS, "patient_id", "lab_result", _deleted(35, **append_time)),
        TopicSpec(
            MACHINE_EVENTS,
            "patient_id",
            "session_started, telemetry, machine_alarm, session_ended",
            _deleted(7, **append_time),
        ),
        TopicSpec(
            CLINICAL_EVENTS,
            "patient_id",
            "patient_profile, patient_merged, symptom, weight, medication, rhythm, schedule, alert_response",
            _deleted(35, **append_time),
        ),
    ]
    topics += [TopicSpec(f"alerts.{family}", "patient_id", "alert transitions", _deleted(35)) for family in FAMILIES]
    topics += [
        TopicSpec(ALERTS_UNIT, "water_loop_id or unit_id", "alerts about a water loop", _deleted(35)),
        TopicSpec(
            UNIT_SIGNALS,
            "water_loop_id",
            "what a patient's alerts mean for a loop; alert_response to unit alerts",
            _deleted(35, **append_time),
        ),
        TopicSpec(ALERTS_ACTIVE, "alert_id", "newest transition of every alert", _compacted(**roomy)),
        TopicSpec(SESSIONS_ACTIVE, "session_id", "who is on which chair", _compacted()),
        TopicSpec(WORKER_STATUS, "partition", "clock, lag and health of each partition", _compacted()),
        TopicSpec(DEAD_LETTERS, "original key", "raw bytes of what could not be used", _deleted(35, **roomy)),
        TopicSpec(INGEST, "any", "foreign messages to be normalised", _deleted(7, **append_time)),
    ]
    topics += [
        TopicSpec(
            changelog(group, table),
            table[:-1] + " id",
            f"state of {table}",
            _compacted(**roomy),
            internal=True,
        )
        for table in TABLES
    ]
    return topics


def changelog(group: str, table: str) -> str:
    """Name of a table's changelog topic, as Faust forms it: it takes no prefix."""
    return f"{group}-{table}-changelog"

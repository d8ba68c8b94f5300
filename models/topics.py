"""The topics of the contract, as names without prefix, and the settings with which each is created."""

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
_MACHINE_TYPES: Final = frozenset({"session_started", "telemetry", "machine_alarm", "session_ended"})


def topic_of(type_: str) -> str:
    """Return the input topic of a type of patient events, as the contract lists them."""
    if type_ in _MACHINE_TYPES:
        return MACHINE_EVENTS
    return LAB_RESULTS if type_ == "lab_result" else CLINICAL_EVENTS


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

#: Tables, each with a changelog: of patients and of water loops.
TABLES: Final = ("patients", "loops")

#: Kafka's name for the largest message, or batch of messages, that a topic takes.
MAX_MESSAGE: Final = "max.message.bytes"
#: The most bytes of an alert, a status or a signal, with room to spare; and of a state record.
ALERT_BYTES: Final = 128 * 1024
STATE_BYTES: Final = 1024 * 1024
#: How many bytes headers may add to a dead letter.
_HEADROOM_BYTES: Final = 64 * 1024

_DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic: name without prefix, key, content, and Kafka's topic settings.

    `needs` is the smallest `max.message.bytes` with which the worker can do its work; 0 for topics that it only reads.
    """

    name: str
    key: str
    carries: str
    config: dict[str, str] = field(default_factory=dict)
    internal: bool = False
    needs: int = 0

    @property
    def compacted(self) -> bool:
        """Return whether Kafka keeps the newest value of each key."""
        return self.config.get("cleanup.policy") == "compact"


def _deleted(days: int, **config: str) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)} | config


def _compacted(**config: str) -> dict[str, str]:
    # Small segments and a low dirty ratio keep the log short, so that a start reads little; during the lag, recovery
    # can still distinguish a frozen worker's late record from its successor's.
    return {
        "cleanup.policy": "compact",
        "segment.bytes": str(16 * 1024 * 1024),
        "segment.ms": "600000",
        "min.cleanable.dirty.ratio": "0.1",
        "min.compaction.lag.ms": "600000",
    } | config


def _patient_topics(append_time: dict[str, str]) -> list[TopicSpec]:
    return [
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


def all_topics(group: str, max_message_bytes: int) -> list[TopicSpec]:
    """Return every topic of the contract, the changelogs of a consumer group included."""
    append_time = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(max_message_bytes)}
    # A state record, or a dead letter with its headers, may be larger than the input message.
    roomy = {"max.message.bytes": str(2 * max_message_bytes)}
    topics = _patient_topics(append_time)
    topics += [
        TopicSpec(f"alerts.{family}", "patient_id", "alert transitions", _deleted(35), needs=ALERT_BYTES)
        for family in FAMILIES
    ]
    topics += [
        TopicSpec(
            ALERTS_UNIT, "water_loop_id or unit_id", "alerts about a water loop", _deleted(35), needs=ALERT_BYTES
        ),
        TopicSpec(
            UNIT_SIGNALS,
            "water_loop_id",
            "what a patient's alerts mean for a loop; who is dialysed on a chair; alert_response to unit alerts",
            _deleted(35, **append_time),
            needs=ALERT_BYTES,
        ),
        TopicSpec(
            ALERTS_ACTIVE, "alert_id", "newest transition of every alert", _compacted(**roomy), needs=ALERT_BYTES
        ),
        TopicSpec(SESSIONS_ACTIVE, "session_id", "who is on which chair", _compacted(), needs=ALERT_BYTES),
        TopicSpec(
            WORKER_STATUS, "partition", "clock, lag and health of each partition", _compacted(), needs=ALERT_BYTES
        ),
        TopicSpec(
            DEAD_LETTERS,
            "original key",
            "raw bytes of what could not be used",
            _deleted(35, **roomy),
            needs=max_message_bytes + _HEADROOM_BYTES,
        ),
        TopicSpec(INGEST, "any", "foreign messages to be normalised", _deleted(7, **append_time)),
    ]
    topics += [
        TopicSpec(
            changelog(group, table),
            table[:-1] + " id",
            f"state of {table}",
            _compacted(**roomy),
            internal=True,
            needs=STATE_BYTES,
        )
        for table in TABLES
    ]
    return topics


def too_small(name: str, found: str | None, needs: int) -> str | None:
    """Return a sentence with the fix if a topic does not take messages of the size that it needs, else None."""
    if found is None or not found.isdigit() or int(found) >= needs:
        return None
    return (
        f"{name} takes messages of {found} bytes, {needs} are needed: `kafka-configs.sh --alter --topic {name}"
        f" --add-config {MAX_MESSAGE}={needs}` mends it"
    )


def changelog(group: str, table: str) -> str:
    """Return the name of a table's changelog topic, as Faust forms it: without prefix."""
    return f"{group}-{table}-changelog"

"""What the parts of one task share: its subjects, their clock, and what leaves the task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic

from models.settings import Settings
from streams.engine.partition import Partition
from streams.rules.api import StateT
from streams.worker.clock import TaskClock
from streams.worker.metrics import Metrics
from streams.worker.outbox import TaskOutput
from streams.worker.ports import Kind


@dataclass
class Owned(Generic[StateT]):
    """One partition of one kind of subject, as its task owns it.

    Attributes:
        by_key: the subjects by their keys on the topics.
    """

    kind: Kind[StateT]
    partition: int
    settings: Settings
    metrics: Metrics
    subjects: Partition[StateT]
    clock: TaskClock
    output: TaskOutput
    by_key: dict[bytes, StateT] = field(default_factory=dict)

"""The same rules as an idiomatic Faust app: an agent for each topic, one table, one table write an event.

Started as a process with the settings of a worker in its environment. It decodes with the project's own parser,
keeps decoded states in the table and takes one record at a time, as the documentation of Faust shows it. It has no
deadlines (none falls due within a run), no outbox and no water loops: it does less than the worker.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import faust
from faust.serializers import codecs

from models.parsing import Parsed, parse_patient_event
from models.settings import Settings
from models.state import PatientState, StateCodec
from models.topics import FAMILIES, PATIENT_TOPICS
from streams.engine.factory import patient_partition
from streams.rules.catalogue import default_settings

settings: Final = Settings()
_states: Final = StateCodec(PatientState)


class EventCodec(codecs.Codec):
    """Input events; what cannot be used decodes to None."""

    def _loads(self, s: bytes) -> Any:
        parsed = parse_patient_event(s)
        return parsed.record if isinstance(parsed, Parsed) else None


class StateSerializer(codecs.Codec):
    """Patients, as the worker stores them."""

    def _loads(self, s: bytes) -> Any:
        return _states.decode(s)

    def _dumps(self, s: Any) -> bytes:
        return _states.encode(s)


codecs.register("event", EventCodec())
codecs.register("state", StateSerializer())

app: Final = faust.App(
    settings.group,
    broker=f"kafka://{settings.brokers}",
    store="memory://",
    topic_partitions=settings.partitions,
    topic_allow_declare=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    broker_commit_interval=0.5,
    producer_linger=0.002,
    producer_max_batch_size=256 * 1024,
    table_standby_replicas=0,
    web_enabled=False,
)
table: Any = app.Table("patients", partitions=settings.partitions, key_type=str)
table.value_serializer = "state"
alerts: Final = {
    f"alerts.{family}": app.topic(
        settings.topic(f"alerts.{family}"), key_type=str, value_type=bytes, value_serializer="raw"
    )
    for family in FAMILIES
}
engine: Final = patient_partition(default_settings(), timedelta(minutes=15))
began: list[float] = []


async def take(stream: Any) -> None:
    """One event after the other: file it, write the table, send the alerts."""
    async for event in stream.events():
        record = event.value
        if not began:
            began.append(time.time())
            os.write(1, f"\nFIRST {began[0]:.6f} {time.process_time():.6f}\n".encode())
        if record is None:
            continue
        key = event.key
        state = table.get(key)
        if state is not None:
            engine.states[key] = state
        now = engine.now = datetime.fromtimestamp(event.message.timestamp, UTC)
        state, _, _ = engine.take(key, record, now)
        outbox, state.outbox = state.outbox, []
        table[key] = state
        for entry in outbox:
            if entry.topic in alerts:
                await alerts[entry.topic].send(key=entry.key, value=bytes(entry.value))


for name in PATIENT_TOPICS:
    source = app.topic(settings.topic(name), key_type=str, value_serializer="event")
    app.agent(source, name=name)(take)

if __name__ == "__main__":
    # At `warn` and `error` mode makes records of all debug messages and drops them: a fifth slower than at `info`.
    sys.argv[1:] = ["worker", "--without-web", "-l", "info"]
    app.main()

"""How long a worker takes to be ready with the state of so many patients, all of it from the changelog."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import psutil

from models.topics import changelog
from tests.integration.messages import Message, ago, event, lab, session_started, symptom, telemetry
from tests.integration.unit_under_test import UnitUnderTest
from tests.integration.worker_process import WorkerProcess, until

#: How many patients the document tells of.
PATIENTS: Final = (20_000, 100_000)
_CHUNK: Final = 20_000
#: One patient in so many is being treated.
_RUNNING: Final = 10


@dataclass(frozen=True)
class Recovered:
    """One start of a worker.

    Attributes:
        ready_s: from the start of the process to /readyz.
        taking_s: of that, reading the changelog and taking over what it holds.
        reading_s: of that, reading the changelog.
        records: in the changelog, compacted or not.
        changelog_mb: their keys and values.
        worker_mb: memory of the worker once it is ready.
    """

    patients: int
    ready_s: float
    taking_s: float
    reading_s: float
    records: int
    changelog_mb: float
    worker_mb: float

    @property
    def rate(self) -> float:
        """Changelog records read a second."""
        return self.records / self.reading_s if self.reading_s else 0.0


async def recovered(bootstrap: str, patients: int) -> Recovered:
    """Let a worker make the state, stop it, and time the next one."""
    async with UnitUnderTest(bootstrap, partitions=8) as unit:
        names = unit.subjects(patients)
        messages = _histories(names)
        while chunk := list(itertools.islice(messages, _CHUNK)):
            await unit.publish(chunk)
        first = await unit.start_worker()
        await unit.until_done(600)
        await first.stop(20)
        records = await unit.read(changelog(unit.settings.group, "patients"))
        size = sum(len(record.key) + len(record.value or b"") for record in records)
        started = time.monotonic()
        worker = unit.worker()

        async def ready() -> bool:
            return (await worker.get("/readyz"))[0] == 200

        await until(ready, 60, "/readyz", every=0.02)
        ready_s = time.monotonic() - started
        taking_s = await _metric(worker)
        read = re.search(r"(\d+) changelog records read in (\S+) s", worker.said)
        assert read
        assert int(read[1]) >= len(records)
        memory = psutil.Process(worker.process.pid).memory_info().rss
        await worker.stop(20)
        await unit.remove()
    return Recovered(patients, ready_s, taking_s, float(read[2]), len(records), size / 1e6, memory / 1e6)


async def _metric(worker: WorkerProcess) -> float:
    """The gauge is set by a timer, a second after the recovery at most."""

    async def told() -> float:
        return await worker.metric("dialysis_state_recovery_seconds")

    return float(await until(told, 10, "the duration of the recovery"))


def _histories(names: list[str]) -> Iterator[Message]:
    """What is known of an ordinary patient: a session, which of every tenth still runs, three results, a symptom."""
    for number, name in enumerate(names):
        session = f"s-{name}"
        yield session_started(name, session, ago(9000), chair="1", water_loop_id="loop")
        for days in (9, 6, 2):
            yield lab(name, 2.1, ago(timedelta(days=days).total_seconds()))
        yield symptom(name, "nausea", f"y-{name}", ago(1800))
        if number % _RUNNING:
            yield event("machine-events", "session_ended", name, ago(1200), session_id=session)
        else:
            yield telemetry(name, session, ago(60), systolic_mmhg=130.0, uf_rate_ml_h=600.0)

"""A merge over two partitions, each with a worker of its own, which crashes at any moment (see `fake_port`)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from models.state import PatientState, StateCodec
from models.topics import PATIENT_TOPICS
from tests.unit.fake_port import PREFIX, Clock, Crash, FakeKafka, Host, place, subjects

SILENT = {"responses": {"high": [], "medium": [], "accept_risk": "a test that answers nothing"}}
A, B = subjects(0, 1)[0], subjects(1, 1)[0]
_INPUTS = {PREFIX + name: name for name in PATIENT_TOPICS}


@dataclass
class Cluster:
    """Two partitions; what a worker sends to an input topic arrives on the partition of its key."""

    clock: Clock
    partitions: list[FakeKafka] = field(default_factory=list)
    passed: list[int] = field(default_factory=lambda: [0, 0])
    dangers: int = 0
    restarts: int = 0

    def __post_init__(self) -> None:
        self.partitions = [FakeKafka(self.clock, partition=number) for number in (0, 1)]
        self.hosts = [self._host(kafka) for kafka in self.partitions]

    def _host(self, kafka: FakeKafka) -> Host:
        return Host(kafka, rules=SILENT)

    def of(self, patient: str) -> FakeKafka:
        return self.partitions[place(patient.encode())]

    def merge(self, merged_id: str, into: str, at: float) -> None:
        self.of(into).event("clinical-events", into, "patient_merged", at, merged_id=merged_id)

    async def settle(self) -> None:
        """Let both workers handle what there is until nothing is on its way; one that crashes starts anew."""
        while True:
            for number, kafka in enumerate(self.partitions):
                try:
                    await self.hosts[number].settle()
                except Crash:
                    self.restarts += 1
                    self.hosts[number] = self._host(kafka)
                    await self.hosts[number].settle()
            if not self._pass_on():
                return

    def _pass_on(self) -> bool:
        moved = False
        for number, kafka in enumerate(self.partitions):
            for message in kafka.sent[self.passed[number] :]:
                if message.topic in _INPUTS:
                    assert message.key is not None
                    target = self.partitions[place(message.key)]
                    target.put(_INPUTS[message.topic], message.key, message.value, self.clock.elapsed - 1000 + 3600)
                    moved = True
            self.passed[number] = len(kafka.sent)
        return moved

    def stored(self, patient: str) -> PatientState:
        return StateCodec(PatientState).decode(self.of(patient).changelog[patient.encode()])

    def open(self) -> set[tuple[str, str]]:
        found = {}
        for kafka in self.partitions:
            for alert in kafka.transitions():
                found[alert["alert_id"], alert["revision"]] = alert
        newest: dict[str, dict[str, object]] = {}
        for (name, _), alert in sorted(found.items()):
            newest[name] = alert
        return {(str(a["rule"]), str(a["patient_id"])) for a in newest.values() if a["status"] == "active"}


@pytest.fixture
def clock(kafka: FakeKafka) -> Clock:
    return kafka.clock


async def merged_in_steps(clock: Clock, crash: tuple[int, int] | None = None) -> Cluster:
    """A severe result and thirty others of A, then A is given up for B, then a later result of A."""
    cluster = Cluster(clock)
    kafka = cluster.of(A)
    kafka.lab(A, 0, 0.8, result_id="r0")
    for number in range(30):
        kafka.lab(A, 1 + number, 4.5, result_id=f"k{number}", analyte="potassium", unit="mmol/L")
    await cluster.settle()
    if crash is not None:
        cluster.partitions[crash[0]].crash_at = cluster.partitions[crash[0]].dangers + crash[1]
    before = [kafka.dangers for kafka in cluster.partitions]
    cluster.merge(A, B, 600)
    await cluster.settle()
    kafka.lab(A, 700, 6.5, result_id="late", analyte="potassium", unit="mmol/L")
    await cluster.settle()
    cluster.dangers = max(kafka.dangers - was for kafka, was in zip(cluster.partitions, before, strict=True))
    return cluster


def check(cluster: Cluster) -> None:
    there, left = cluster.stored(B), cluster.stored(A)
    assert {r.result_id for r in there.labs.values()} == {"r0", "late", *(f"k{n}" for n in range(30))}
    assert (left.merged_into, left.labs, left.outbox) == (B, {}, [])
    assert ("low_magnesium", B) in cluster.open()
    assert not {rule for rule, patient in cluster.open() if patient == A}
    assert cluster.of(A).told(rule="low_magnesium", patient_id=A) == ["raised", "resolved"]
    assert cluster.of(B).told(rule="low_magnesium", patient_id=B) == ["raised"]


async def test_a_merge_moves_over_partitions_in_steps(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.engine.merge.MOST_AT_ONCE", 2000)
    cluster = await merged_in_steps(clock)
    check(cluster)
    writes = [call for call in cluster.of(A).calls if call[0] == "send" and "lab-results" in call[1]]
    assert len(writes) > 3
    assert all(len(call[1]) < 20 for call in writes)
    moved = cluster.hosts[0].metric("dialysis_events_moved_total", topic=PREFIX + "lab-results")
    assert moved == 32


@pytest.mark.parametrize("partition", [0, 1])
async def test_a_crash_at_any_moment_of_the_move_loses_nothing(
    clock: Clock, partition: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.engine.merge.MOST_AT_ONCE", 2000)
    whole = await merged_in_steps(clock)
    restarts = 0
    for moment in range(1, whole.dangers + 1):
        cluster = await merged_in_steps(clock, (partition, moment))
        try:
            check(cluster)
        except AssertionError as error:
            raise AssertionError(f"after a crash at moment {moment} of {whole.dangers}: {error}") from error
        restarts += cluster.restarts
    assert restarts > 10


async def test_two_partitions_that_merge_into_each_other_at_once_keep_the_smaller(clock: Clock) -> None:
    cluster = Cluster(clock)
    cluster.of(A).lab(A, 0, 0.8, result_id="ra")
    cluster.of(B).lab(B, 0, 0.8, result_id="rb")
    await cluster.settle()
    cluster.merge(A, B, 600)
    cluster.merge(B, A, 600)
    await cluster.settle()
    small, great = sorted((A, B))
    assert cluster.open() == {("low_magnesium", small), ("data_quality", small)}
    assert {r.result_id for r in cluster.stored(small).labs.values()} == {"ra", "rb"}
    assert (cluster.stored(small).merged_into, cluster.stored(great).merged_into) == (None, small)
    sent = sum(len(kafka.sent) for kafka in cluster.partitions)
    await cluster.settle()
    assert sum(len(kafka.sent) for kafka in cluster.partitions) == sent

"""A busy day of one partition, and what readers must have of it however a worker fared."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.fake_port import PREFIX, FakeKafka, Host, frozen, stamp
from tests.unit.task_events import DAY, ELSEWHERE, P1, P2, P3, cramp, low_magnesium, session, telemetry


def busy_day(kafka: FakeKafka) -> None:
    """Raised, updated, escalated, resolved, withdrawn, expired, acknowledged; garbage; records that lie wrong."""
    session(kafka, P1, 0, water_loop_id="loop1")
    session(kafka, P2, 1, "s2")
    kafka.lab(P1, 10, 1.5)
    cramp(kafka, P2, 20, "c1")
    for at in range(30, 60, 3):
        telemetry(kafka, P1, at, systolic_mmhg=120.0 + at)
        telemetry(kafka, P3, at + 1, session_id="s3", uf_rate_ml_h=600.0)
    kafka.put("clinical-events", P1.encode(), b"no json", 60)
    kafka.lab(P1, 70, 0.9, reported_at=stamp(70))
    kafka.event(
        "clinical-events", P1, "alert_response", 80, alert_id=low_magnesium(P1, "r0"), by="nurse", action="acknowledge"
    )
    kafka.put("machine-events", ELSEWHERE.encode(), b"{}", 85)
    kafka.event("clinical-events", P1, "symptom", 90, symptom_id="j1", kind="jerk")
    kafka.event("clinical-events", P1, "symptom", 95, symptom_id="j2", kind="speech_disturbance")
    cramp(kafka, P2, 100, "c2")
    kafka.lab(P3, 110, 1.2)
    offset = len(kafka.logs[PREFIX + "lab-results"]) - 1
    kafka.lab(P3, 120, 1.2, result_id=f"r{offset}", status="entered_in_error", tells=110, reported_at=stamp(120))
    kafka.event(
        "clinical-events", P1, "symptom", 130, symptom_id="j1", kind="jerk", status="entered_in_error", tells=90
    )
    telemetry(kafka, P3, 2000, session_id="s3")  # expires the cramps, buries what is over
    kafka.lab(P1, 2010, 2.0)
    kafka.event("machine-events", P1, "session_ended", 2020, session_id="s1")
    telemetry(kafka, P3, 4000, session_id="s3")


async def run_day(kafka: FakeKafka, size: int) -> None:
    host = await Host(kafka).start()
    await host.settle(size=size)


def everything(kafka: FakeKafka) -> set[tuple[Any, ...]]:
    """What readers have, repeats left out; `sessions.active` is a picture and may differ."""
    return {frozen(message) for message in kafka.sent if not message.topic.endswith("sessions.active")}


async def undisturbed(kafka: FakeKafka, size: int) -> FakeKafka:
    kafka.clock.elapsed += DAY  # nobody sees the alerts in time, so nobody is called again
    whole = FakeKafka(kafka.clock)
    busy_day(whole)
    await run_day(whole, size)
    return whole


def pictures(kafka: FakeKafka) -> dict[bytes | None, Any]:
    """What a reader of each compacted topic ends with."""
    last: dict[bytes | None, Any] = {}
    for message in kafka.sent:
        if message.topic.endswith(("alerts.active", "sessions.active")):
            last[message.key] = message.value
    return last


def check_against(whole: FakeKafka, kafka: FakeKafka) -> None:
    assert everything(kafka) == everything(whole)
    revisions: dict[tuple[str, int], set[Any]] = {}
    for message in kafka.sent:
        if message.topic.startswith(PREFIX + "alerts.") and message.value:
            body = json.loads(message.value)
            revisions.setdefault((body["alert_id"], body["revision"]), set()).add(
                (message.value, tuple(h for h in message.headers if h[0] != "ce_time"))
            )
    assert all(len(bodies) == 1 for bodies in revisions.values())
    alerts = {k: v for k, v in pictures(kafka).items() if k not in (b"s1", b"s2", b"s3")}
    assert alerts == {k: v for k, v in pictures(whole).items() if k not in (b"s1", b"s2", b"s3")}
    newest: dict[bytes | None, int] = {}
    for message in kafka.topic("alerts.active"):
        revision = json.loads(message.value)["revision"] if message.value else 10_000
        newest[message.key] = max(revision, newest.get(message.key, 0))
    assert kafka.committed == whole.committed

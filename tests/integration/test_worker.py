"""A real worker on a real Kafka, end to end: events in, alerts out, as any reader sees them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from models.alerts import Alert, alert_id
from tests.integration.alert_records import ALERT_TOPICS, headers_of, matching, repeats_are_identical
from tests.integration.kcat import read_topic
from tests.integration.messages import ago, event, lab, response, session_started, symptom, telemetry
from tests.integration.unit_under_test import UnitUnderTest
from tests.integration.worker_process import WorkerProcess, until

RETENTION_S = 4.0


@pytest.fixture(scope="module")
async def unit(bootstrap: str) -> AsyncIterator[UnitUnderTest]:
    """One unit for these tests: each has patients of its own."""
    async with UnitUnderTest(bootstrap, environment={"DIALYSIS_RESOLVED_RETENTION": str(RETENTION_S)}) as made:
        await made.start_worker()
        yield made


@pytest.fixture(scope="module")
def worker(unit: UnitUnderTest) -> WorkerProcess:
    return unit.workers[0]


async def newest_active(unit: UnitUnderTest, alert: str) -> Any:
    return (await unit.compacted("alerts.active")).get(alert.encode())


# -- the three conditions ----------------------------------------------------------------------------------------------


async def test_low_magnesium_from_raised_to_resolved(unit: UnitUnderTest) -> None:
    await unit.publish([lab("mg1", 1.5, ago(60), result_id="mg1-a", unit_id="u1")])
    (raised,) = await unit.until_told(patient_id="mg1", rule="low_magnesium")
    assert raised["alert_id"] == alert_id("low_magnesium", "mg1", "lab_result:mg1-a")
    assert (raised["transition"], raised["status"], raised["priority"], raised["revision"]) == (
        "raised",
        "active",
        "medium",
        1,
    )
    assert (raised["unit_id"], raised["family"], raised["reason"]) == ("u1", "low-magnesium", "condition_met")
    assert raised["evidence"][0]["id"] == "mg1-a"
    assert raised["guidance"][0]["basis"]

    await unit.publish([response("mg1", raised["alert_id"], "acknowledge")])
    await unit.until_told(patient_id="mg1", transition="acknowledged", status="acknowledged")
    await unit.publish([lab("mg1", 0.9, result_id="mg1-b")])
    (escalated,) = await unit.until_told(patient_id="mg1", transition="escalated")
    assert (escalated["priority"], escalated["status"], escalated["reason"]) == ("high", "active", "severity_changed")
    await unit.publish([lab("mg1", 0.8, result_id="mg1-c")])
    await unit.until_told(patient_id="mg1", transition="updated", reason="evidence_changed")
    await unit.publish([lab("mg1", 2.0, result_id="mg1-d")])
    (resolved,) = await unit.until_told(patient_id="mg1", transition="resolved")
    assert (resolved["status"], resolved["reason"]) == ("resolved", "condition_cleared")
    told = matching((await unit.tail()).records, patient_id="mg1")
    assert [alert["revision"] for alert in told] == [1, 2, 3, 4, 5]
    assert {alert["alert_id"] for alert in told} == {raised["alert_id"]}


async def test_a_result_entered_in_error_withdraws_its_alert(unit: UnitUnderTest) -> None:
    wrong = lab("mg2", 1.2, ago(60), result_id="mg2-a")
    await unit.publish([wrong])
    await unit.until_told(patient_id="mg2", transition="raised")
    await unit.publish([lab("mg2", None, ago(60), result_id="mg2-a", status="entered_in_error", reported_at=now())])
    (withdrawn,) = await unit.until_told(patient_id="mg2", transition="withdrawn")
    assert (withdrawn["status"], withdrawn["reason"]) == ("withdrawn", "entered_in_error")


async def test_aluminium_suspected_and_measured(unit: UnitUnderTest) -> None:
    patient = "al1"
    await unit.publish(
        [
            symptom(patient, "jerk", "al1-j", ago(3600)),
            symptom(patient, "speech_disturbance", "al1-s", ago(1800)),
        ]
    )
    (suspected,) = await unit.until_told(patient_id=patient, rule="aluminum_suspicion", transition="raised")
    assert suspected["priority"] == "medium"
    fields: dict[str, Any] = {"analyte": "aluminum", "unit": "ug/L"}
    await unit.publish([lab(patient, 450, ago(600), **fields)])
    (acute,) = await unit.until_told(patient_id=patient, rule="aluminum_level", transition="raised")
    assert acute["priority"] == "high"
    await unit.until_told(patient_id=patient, rule="aluminum_suspicion", transition="deescalated")
    # Lower levels do not close it; a person does.
    await unit.publish([lab(patient, 5, ago(300), **fields), lab(patient, 5, ago(200), **fields)])
    await unit.until_told(patient_id=patient, rule="aluminum_suspicion", transition="resolved")
    assert not matching((await unit.tail()).records, rule="aluminum_level", patient_id=patient, status="resolved")
    await unit.publish([response(patient, acute["alert_id"], "resolve")])
    (resolved,) = await unit.until_told(patient_id=patient, rule="aluminum_level", transition="resolved")
    assert resolved["reason"] == "resolved_by_person"


async def test_a_cramp_during_treatment_and_what_screens_see_of_the_chair(unit: UnitUnderTest) -> None:
    patient, session = "cr1", "cr1-s"
    await unit.publish(
        [
            session_started(patient, session, ago(3600), chair="7", unit_id="u1", water_loop_id="cr-loop"),
            symptom(patient, "cramp", "cr1-c", ago(120), score=6),
        ]
    )
    (raised,) = await unit.until_told(patient_id=patient, rule="intradialytic_cramp", transition="raised")
    assert (raised["session_id"], raised["chair"], raised["water_loop_id"]) == (session, "7", "cr-loop")
    await unit.publish([symptom(patient, "cramp", "cr1-c", ago(120), score=8)])
    await unit.until_told(patient_id=patient, transition="updated")

    async def shown() -> Any:
        return (await unit.compacted("sessions.active")).get(session.encode())

    picture = json.loads((await until(shown, 10, "the session on sessions.active")).value)
    assert (picture["patient_id"], picture["chair"], picture["session_id"]) == (patient, "7", session)
    await unit.publish([symptom(patient, "cramp", "cr1-c", ago(120), ended_at=now())])
    (resolved,) = await unit.until_told(patient_id=patient, transition="resolved")
    assert resolved["reason"] == "condition_cleared"
    await unit.publish([event("machine-events", "session_ended", patient, session_id=session)])

    async def gone() -> bool:
        return (await shown()).value is None

    await until(gone, 10, "the tombstone of the session")


async def test_two_patients_on_one_chair_are_one_alert_that_names_both(unit: UnitUnderTest) -> None:
    """Of patients of two partitions, by way of the chair, which lies on one of them."""
    first, second = unit.subjects(2, "chair-p")
    place = {"chair": "2-chair", "unit_id": "u2"}
    for patient, since in ((first, 3600), (second, 1800)):
        samples = [
            telemetry(patient, f"{patient}-s", ago(age), blood_flow_ml_min=300.0) for age in range(since, 0, -60)
        ]
        await unit.publish([*samples, session_started(patient, f"{patient}-s", ago(since), **place)])
    (raised,) = await unit.until_told(rule="identity_conflict", patient_id=second, transition="raised")
    assert {item["value"] for item in raised["evidence"]} == {first, second}
    assert (raised["chair"], raised["unit_id"], raised["session_id"]) == ("2-chair", "u2", f"{second}-s")
    await unit.publish([event("machine-events", "session_ended", first, session_id=f"{first}-s")])
    await unit.until_told(rule="identity_conflict", patient_id=second, transition="resolved")
    told = matching((await unit.tail()).records, rule="identity_conflict")
    assert [(alert["patient_id"], alert["revision"]) for alert in told] == [(second, 1), (second, 2)]


async def test_two_patients_on_one_water_loop_are_an_alert_of_the_unit(unit: UnitUnderTest) -> None:
    loop = "loop-A"
    for number in range(2):
        patient = f"loop-p{number}"
        await unit.publish(
            [
                session_started(patient, f"{patient}-s", ago(7200), water_loop_id=loop),
                lab(patient, 80, ago(3600), analyte="aluminum", unit="ug/L"),
            ]
        )
        await unit.until_told(patient_id=patient, rule="aluminum_level", transition="raised")
    (raised,) = await unit.until_told(rule="aluminum_cluster", water_loop_id=loop)
    assert (raised["transition"], raised["priority"], raised["patient_id"]) == ("raised", "high", None)
    records = [r for r in await unit.read("alerts.unit") if json.loads(r.value)["water_loop_id"] == loop]
    assert {record.key for record in records} == {loop.encode()}
    await unit.publish(
        [event("unit-signals", "alert_response", loop, alert_id=raised["alert_id"], by="t", action="acknowledge")]
    )
    await unit.until_told(rule="aluminum_cluster", transition="acknowledged")
    await unit.publish(
        [event("unit-signals", "alert_response", loop, alert_id=raised["alert_id"], by="t", action="resolve")]
    )
    await unit.until_told(rule="aluminum_cluster", transition="resolved")


def now() -> str:
    return ago(0).isoformat()


# -- how it is told ----------------------------------------------------------------------------------------------------


async def test_alerts_are_on_the_topic_of_their_family_with_cloudevents_headers(unit: UnitUnderTest) -> None:
    patients = unit.subjects(3, "ce")
    for patient in patients:
        await unit.publish([lab(patient, 1.5, ago(60)), lab(patient, 2.0, ago(50))])
    for patient in patients:
        await unit.until_told(transition="resolved", patient_id=patient)
    for name in ALERT_TOPICS:
        for record in await unit.read(name):
            alert = Alert.model_validate_json(record.value)
            absent = {"inhibited_by", "inhibits", "context", "bound"}  # where there is none
            assert set(json.loads(record.value)) - absent == set(Alert.model_fields) - absent
            assert alert.bound is not None or alert.rule not in {"low_magnesium", "aluminum_level"}
            assert f"alerts.{alert.family}" == name
            key = alert.water_loop_id if name == "alerts.unit" else alert.patient_id
            assert key is not None
            assert record.key == key.encode()
            if name != "alerts.unit":
                assert record.partition == unit.place(record.key)
            headers = headers_of(record)
            assert set(headers) == {
                "ce_specversion",
                "ce_id",
                "ce_type",
                "ce_source",
                "ce_time",
                "content-type",
            }
            assert headers["ce_specversion"] == b"1.0"
            assert headers["ce_id"] == f"{alert.alert_id}:{alert.revision}".encode()
            assert headers["ce_type"] == f"dialysis.alert.{alert.transition}".encode()
            assert headers["content-type"] == b"application/json"
            assert datetime.fromisoformat(headers["ce_time"].decode()).tzinfo is not None
    repeats_are_identical(await unit.alerts())


async def test_a_plain_kcat_consumer_reads_an_alert_with_its_headers(unit: UnitUnderTest) -> None:
    await unit.publish([lab("kcat1", 1.4, ago(60), result_id="kcat1-a")])
    (raised,) = await unit.until_told(patient_id="kcat1")
    printed = await asyncio.to_thread(read_topic, unit.bootstrap, unit.topic("alerts.low-magnesium"), "%k\x1f%h\x1f%s")
    ((key, headers, value),) = [parts for text in printed if (parts := text.split("\x1f"))[0] == "kcat1"]
    assert key == "kcat1"
    assert json.loads(value) == raised
    shown = dict(pair.split("=", 1) for pair in headers.split(","))
    assert shown["ce_id"] == f"{raised['alert_id']}:1"
    assert shown["ce_type"] == "dialysis.alert.raised"
    assert (shown["ce_specversion"], shown["content-type"]) == ("1.0", "application/json")


async def test_alerts_active_holds_the_newest_of_each_alert_until_its_retention_is_over(unit: UnitUnderTest) -> None:
    await unit.publish([lab("act1", 1.5, ago(60), result_id="act1-a")])
    (raised,) = await unit.until_told(patient_id="act1", transition="raised")
    record = await newest_active(unit, raised["alert_id"])
    assert json.loads(record.value) == raised
    assert record.partition == unit.place(b"act1")
    first = next(r for r in await unit.read("alerts.low-magnesium") if r.key == b"act1")
    assert [h for h in record.headers if h[0] != "ce_time"] == [h for h in first.headers if h[0] != "ce_time"]

    await unit.publish([lab("act1", 2.0, ago(30), result_id="act1-b")])
    (resolved,) = await unit.until_told(patient_id="act1", transition="resolved")

    async def values() -> list[Any]:
        return [r.value for r in await unit.read("alerts.active") if r.key == raised["alert_id"].encode()]

    async def buried() -> bool:
        return (await values())[-1] is None

    await until(buried, RETENTION_S + 10, "the tombstone")
    # A resolve always has a value; only retention writes a tombstone.
    assert [json.loads(value)["transition"] for value in (await values())[:-1]] == ["raised", "resolved"]
    assert json.loads((await values())[-2]) == resolved
    # Topics other than alerts.active never carry a null.
    assert all(record.value for record in await unit.alerts())


async def test_worker_status_tells_every_partitions_clock_and_lag(unit: UnitUnderTest) -> None:
    await unit.publish([lab(patient, 2.0) for patient in unit.subjects(4, "st")])
    await unit.until_done()

    async def known() -> dict[bytes, Any]:
        found = {key: json.loads(r.value) for key, r in (await unit.compacted("worker-status")).items()}
        return found if all(status["now"] and status["current"] for status in found.values()) else {}

    statuses = await until(known, 15, "the status of every partition")
    assert set(statuses) == {b"0", b"1"}
    for number, status in statuses.items():
        assert status["partition"] == int(number)
        assert abs(status["lag_seconds"]) < 5
        assert status["recovering"] is False
        assert re.fullmatch("[0-9a-f]{16}", status["rules_hash"])
        assert status["patients"] > 0
    first = {r.timestamp for r in await unit.read("worker-status") if r.key == b"0"}

    async def more() -> bool:
        return len({r.timestamp for r in await unit.read("worker-status") if r.key == b"0"}) >= len(first) + 2

    await until(more, 13, "two more statuses")


async def test_metrics_count_what_happened_and_name_no_patient(unit: UnitUnderTest, worker: WorkerProcess) -> None:
    labs = unit.topic("lab-results")
    seen = await worker.metric("dialysis_events_total", topic=labs, type="lab_result")
    labels = {"rule": "low_magnesium", "priority": "medium", "transition": "raised"}
    raised = await worker.metric("dialysis_alert_transitions_total", **labels)
    opened = await worker.metric("dialysis_alerts_active", rule="low_magnesium", priority="medium")
    late = await worker.metric("dialysis_late_events_total", topic=labs)
    await unit.publish([lab("met1", 1.5, ago(900), result_id="met1-a"), lab("met1", 1.4, ago(1), result_id="met1-b")])
    await unit.until_told(patient_id="met1", transition="updated")

    async def counted() -> bool:
        return await worker.metric("dialysis_events_total", topic=labs, type="lab_result") == seen + 2

    await until(counted, 5, "the events to be counted")
    assert await worker.metric("dialysis_alert_transitions_total", **labels) == raised + 1
    assert await worker.metric("dialysis_alerts_active", rule="low_magnesium", priority="medium") == opened + 1
    assert await worker.metric("dialysis_late_events_total", topic=labs) == late + 1
    status, text = await worker.get("/metrics")
    assert status == 200
    assert "met1" not in text
    assert "machine-s" not in text
    for name in ("build_info", "consumer_lag", "clock_timestamp_seconds", "event_to_alert_seconds_count"):
        assert f"dialysis_{name}" in text
    assert (await worker.get("/healthz"))[0] == 200
    assert (await worker.get("/nothing"))[0] == 404


# -- how it ends -------------------------------------------------------------------------------------------------------


async def test_it_ends_in_order_and_the_next_one_goes_on(bootstrap: str) -> None:
    async with UnitUnderTest(bootstrap) as unit:
        patients = unit.subjects(6)
        worker = await unit.start_worker()
        await unit.publish([lab(patient, 1.5, ago(60)) for patient in patients])
        await unit.publish([telemetry(patient, f"s-{patient}", ago(5)) for patient in patients])
        for patient in patients:
            await unit.until_told(patient_id=patient, transition="raised")
        await worker.stop()
        assert "everything handled is stored" in worker.said
        assert await unit.handled() == 12
        stored = await unit.stored()
        assert set(stored) == {patient.encode() for patient in patients}
        assert not any(state.get("outbox") for state in stored.values())
        after = await unit.start_worker()
        assert await after.metric("dialysis_alerts_active", rule="low_magnesium", priority="medium") == 6
        assert await after.metric("dialysis_alert_transitions_total") == 0
        assert await after.metric("dialysis_events_total", topic=unit.topic("lab-results"), type="lab_result") == 0
        await unit.publish([lab(patients[0], 2.0, ago(10))])
        (resolved,) = await unit.until_told(transition="resolved")
        assert resolved["revision"] == 2

        async def counted() -> bool:  # a reader may have the alert before the worker has the acknowledgement
            return await after.metric("dialysis_alerts_active", rule="low_magnesium", priority="medium") == 5

        await until(counted, 5, "the resolved alert to be counted")
        assert len(await unit.alerts()) == 7
        await after.stop()

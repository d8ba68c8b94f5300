"""The keys of events in their windows, and the name of a result's value among the arrivals."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from models.analytes import LOINC, Analyte
from models.records import LabResult, MachineAlarm, Medication, PatientRecord, Symptom, UnitAlertResponse

_encode = msgspec.json.Encoder().encode
#: The most characters of an identifier.
_LONGEST_KEY: Final = 200


_by_loinc: Final = {code: known.analyte for code, known in LOINC.items()}.get


def analyte_of(record: LabResult) -> Analyte | None:
    """Return the analyte, by name or by LOINC code; None if the code is unknown."""
    return record.analyte or _by_loinc(record.loinc or "")


def group_of(record: LabResult) -> str:
    """Return the common prefix of the keys of a result's versions: a result is identified by (`result_id`, analyte)."""
    return f"{record.result_id}|{analyte_of(record) or record.loinc}|"


def version_key(record: LabResult) -> str:
    """Return the window key of a version of a result: repeats that differ only in descriptions are one version."""
    content = (
        record.at,
        record.reported_at,
        record.status,
        record.value,
        record.comparator,
        record.unit,
        record.specimen,
        record.haemolysed,
        record.replaces,
        record.flags,
    )
    return group_of(record) + hashlib.blake2s(_encode(content), digest_size=6).hexdigest()


def value_ref(record: LabResult) -> str:
    """Return the name of a result's value among the arrivals."""
    value = f"{record.comparator or ''}{record.value}{record.unit}"
    return f"value:{record.result_id}|{record.analyte or record.loinc}|{value}"


def symptom_key(symptom: Symptom) -> str:
    """Return the window key of a symptom's messages: its id and the hour (UTC) of its onset.

    Devices count from 1 each session; which messages are about one symptom is derived from all that are kept.
    """
    return f"{symptom.symptom_id}|{symptom.at.isoformat()[:13]}"


def identity(event: PatientRecord | UnitAlertResponse) -> str:
    """Return the identity of an event: its `event_id` with its day (UTC), else when it happened.

    The day belongs to it because senders count from 1 again on another day.
    """
    return f"{event.event_id}|{event.at.date().isoformat()}" if event.event_id else event.at.isoformat()


def medication_key(step: Medication) -> str:
    """Return the window key of a step of an order."""
    return f"{step.order_id}|{step.action}|{identity(step)}"


def alarm_name(alarm: MachineAlarm) -> str:
    """Return the name of a machine's alarm: its session and its code."""
    return f"{alarm.session_id}|{alarm.code}"


def alarm_key(alarm: MachineAlarm) -> str:
    """Return the window key of a message of a machine's alarm."""
    return f"{alarm_name(alarm)}|{alarm.phase}|{identity(alarm)}"


def alarm_ref(key: str) -> str:
    """Return the name of such a message as an anchor and among the arrivals, from its window key."""
    return f"machine_alarm:{key}"


def chair_key(unit_id: str | None, chair: str) -> str:
    """Return the key of a chair among the water loops; two chairs never share one.

    A water loop may have the same name all the same: what is kept of both lies side by side.
    """
    unit, name = ((text or "").replace("%", "%25").replace("/", "%2F") for text in (unit_id, chair))
    key = f"chair:{unit}/{name}"
    if len(key) <= _LONGEST_KEY:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"{key[: _LONGEST_KEY - len(digest) - 1]}~{digest}"

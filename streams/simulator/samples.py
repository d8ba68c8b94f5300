"""The telemetry of one session: the samples of its dialysis machine."""

from collections.abc import Iterator
from math import ceil
from typing import Any, Final

import msgspec

from models.topics import MACHINE_EVENTS
from streams.simulator.chance import noise
from streams.simulator.course import BP_EVERY, PUMP_STOP, REDUCED_UF, Course
from streams.simulator.planned import Planted, Scribe, TimedMessage
from streams.simulator.population import HOUR, MINUTE
from streams.simulator.timetable import Slot

#: From the session's start to the first sample, seconds.
_FIRST: Final = 2.0
#: From machine to broker, seconds.
_DELAY: Final = 0.4
_RAMP: Final = 3 * MINUTE
_BP_IN_DIP: Final = BP_EVERY / 3
_encode: Final = msgspec.json.Encoder().encode


def samples(scribe: Scribe, slot: Slot, course: Course, sample_seconds: float, begin: float) -> Iterator[TimedMessage]:
    """Yield the telemetry of a session, in order.

    Blood pressure comes every 15 min (5 min in a hypotension), settings once a minute, body temperature once an hour,
    the rest in each sample. A sample depends only on its position, so a unit that begins in mid-session yields the same
    samples from there on.

    Args:
        scribe: Converts offsets to instants.
        slot: Patient and chair.
        course: The course of the session.
        sample_seconds: Time between samples.
        begin: No sample arrives before this, seconds from the unit's start.
    """
    patient_id, pumps = slot.person.patient_id, _pump_stops(course)
    base = {
        "type": "telemetry",
        "patient_id": patient_id,
        "at": None,
        "session_id": slot.session_id,
        "machine_id": slot.machine_id,
    }
    index = max(0, ceil((begin - _DELAY - _FIRST - slot.start) / sample_seconds))
    while (elapsed := _FIRST + index * sample_seconds) < course.length:
        happened = scribe.at(slot.start + elapsed)
        received = scribe.at(slot.start + elapsed + _DELAY)
        before = elapsed - sample_seconds if index else -1.0
        body: dict[str, Any] = base | _measured(slot, course, elapsed, index, pumps)
        body["at"] = happened
        planted = None
        if elapsed // MINUTE != before // MINUTE:
            body |= _settings(course, elapsed)
        if elapsed // _BP_IN_DIP != before // _BP_IN_DIP:
            body |= _pressure(course, elapsed, index)
            planted = _hypotension(slot, course, elapsed, body, happened)
        if elapsed // HOUR != before // HOUR:
            body["body_temp_c"] = round(36.5 + 0.1 * max(-2.0, min(2.0, noise(course.noise + 11 * index))), 1)
        yield TimedMessage(received, happened, MACHINE_EVENTS, patient_id, _encode(body), planted)
        index += 1


def _pump_stops(course: Course) -> list[tuple[float, float]]:
    return [(alarm.start, alarm.end) for alarm in course.alarms if alarm.code == PUMP_STOP]


def _in_dip(course: Course, elapsed: float) -> bool:
    return course.dip is not None and course.dip[0] <= elapsed < course.dip[1]


def _measured(
    slot: Slot, course: Course, elapsed: float, index: int, stops: list[tuple[float, float]]
) -> dict[str, float]:
    """Compute the values of every sample; isolated ultrafiltration has no dialysate to measure."""
    wobble = noise(course.noise + index)
    flow = slot.person.blood_flow_ml_min * min(1.0, 0.5 + elapsed / _RAMP / 2)
    uf_rate = course.uf_rate_ml_h * (REDUCED_UF if _in_dip(course, elapsed) else 1.0)
    if stops and any(start <= elapsed < end for start, end in stops):
        flow = uf_rate = 0.0
    measured = {
        "uf_rate_ml_h": round(uf_rate * (1 + 0.004 * wobble)),
        "uf_removed_ml": round(course.removed_ml(elapsed)),
        "blood_flow_ml_min": round(flow),
        "venous_pressure_mmhg": round(30 + 0.42 * flow + 4 * noise(course.noise + 3 * index)),
        "relative_blood_volume_pct": round(100 - 2.4 * elapsed / HOUR + 0.2 * wobble, 1),
    }
    if course.modality != "IUF":
        measured["dialysate_temp_c"] = round(course.temperature_c + 0.05 * wobble, 2)
        measured["conductivity_ms_cm"] = round(_sodium(course, elapsed) / 9.9 + 0.02 * wobble, 2)
    return measured


def _sodium(course: Course, elapsed: float) -> float:
    sodium = course.sodium_mmol_l
    for minute, value in course.sodium_profile:
        if elapsed >= minute * MINUTE:
            sodium = value
    return sodium


def _settings(course: Course, elapsed: float) -> dict[str, Any]:
    if course.modality == "IUF":
        return {"setting_origin": course.setting_origin}
    return {
        "dialysate_temp_setting_c": course.temperature_c,
        "dialysate_na_mmol_l": _sodium(course, elapsed),
        "dialysate_k_mmol_l": course.potassium_mmol_l,
        "dialysate_ca_mmol_l": 1.5 if course.noise % 3 == 0 else 1.25,
        "dialysate_mg_mmol_l": 0.5,
        "setting_origin": course.setting_origin,
    }


def _pressure(course: Course, elapsed: float, index: int) -> dict[str, float]:
    """Compute a reading of the cuff, if one is due in this sample."""
    if _in_dip(course, elapsed):
        systolic = course.nadir_mmhg + 2 * (index % 2)
    elif elapsed // _BP_IN_DIP % 3:
        return {}
    else:
        wobble = max(-2.0, min(2.0, noise(course.noise + 7 * index)))
        systolic = course.systolic_mmhg - course.fall_mmhg * elapsed / course.length + 3 * wobble
        systolic = round(max(systolic, 106 - wobble))
    return {
        "systolic_mmhg": systolic,
        "diastolic_mmhg": round(0.55 * systolic + 2),
        "heart_rate_bpm": round(72 + 4 * noise(course.noise + 5 * index) + max(0, 110 - systolic) / 2),
    }


def _hypotension(slot: Slot, course: Course, elapsed: float, body: dict[str, Any], at: Any) -> Planted | None:
    """Plant a hypotension at its first reading."""
    if course.dip is None or "systolic_mmhg" not in body or not _in_dip(course, elapsed):
        return None
    if elapsed - course.dip[0] >= _BP_IN_DIP:
        return None
    return Planted("intradialytic_hypotension", slot.person.patient_id, at, ids=(slot.session_id,))

"""An event of the worked day in words, for people who read no JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from models.analytes import Analyte
from tests.rules.day_events import ZONE
from tests.unit.timeline import FIRST_DAY

Event = Mapping[str, Any]
_CHANNELS: Final = {
    "blood_flow_ml_min": "blood flow {} mL/min",
    "uf_rate_ml_h": "ultrafiltration {} mL/h",
    "dialysate_na_mmol_l": "dialysate sodium {} mmol/L",
    "systolic_mmhg": "systolic pressure {} mmHg",
}
_STEPS: Final = {
    "ordered": "Order",
    "administered": "Given",
    "changed": "Order changed",
    "held": "Order paused",
    "stopped": "Order stopped",
    "cancelled": "Order cancelled",
}
_ACTIONS: Final = {
    "acknowledge": "acknowledges",
    "unacknowledge": "takes back the acknowledgement of",
    "snooze": "puts off",
    "resolve": "closes",
}
#: Of results and symptoms; what says nothing (final, present) is left out.
_STATUSES: Final = {
    "preliminary": "preliminary",
    "corrected": "a correction",
    "cancelled": "cancelled",
    "entered_in_error": "entered in error",
}
#: Of a sample, what is no reading.
_NO_CHANNEL: Final = frozenset(("type", "patient_id", "at", "received_at", "session_id", "machine_id"))


def clock(moment: datetime | str) -> str:
    """A time of the unit, with its date where that is not the day's."""
    local = (datetime.fromisoformat(moment) if isinstance(moment, str) else moment).astimezone(ZONE)
    text = f"{local:%H:%M:%S}".removesuffix(":00")
    return text if local.date() == FIRST_DAY.date() else f"{local.day} {local:%B} {text}"


def in_words(event: Event, rule: str = "") -> str:
    """An event in one sentence, without the time of its arrival.

    Args:
        event: as its line in the file.
        rule: of an answer, the rule whose alert it answers.
    """
    if event["type"] == "alert_response":
        return _answer(event, rule)
    return _WORDS[event["type"]](event)


def samples(event: Event, number: int) -> str:
    """A number of samples with the same readings, in words."""
    told = ", ".join(
        _CHANNELS.get(name, name + " {}").format(_number(event[name])) for name in event if name not in _NO_CHANNEL
    )
    return f"Machine {event['machine_id']}, {number} sample{'s' if number > 1 else ''}: {told}"


def _number(value: float) -> str:
    return f"{value:g}"


def _joined(head: str, parts: Iterator[str]) -> str:
    found = ", ".join(filter(None, parts))
    return f"{head}: {found}" if found else head


def _lab(event: Event) -> str:
    def parts() -> Iterator[str]:
        value = f"{event.get('comparator', '')}{_number(event['value'])} {event['unit']}" if "value" in event else ""
        name = Analyte(event["analyte"]).words if "analyte" in event else event["loinc"]
        yield f"{name} {value}".strip()
        yield f"drawn {clock(event['at'])}"
        yield "haemolysed" if event.get("haemolysed") else ""
        yield _STATUSES.get(event.get("status", ""), "")
        yield f"in place of result {event['replaces']}" if "replaces" in event else ""

    return _joined("Laboratory", parts())


def _symptom(event: Event) -> str:
    def parts() -> Iterator[str]:
        yield event["kind"].replace("_", " ")
        yield f"since {clock(event['at'])}" if "ended_at" not in event else ""
        yield f"from {clock(event['at'])} to {clock(event['ended_at'])}" if "ended_at" in event else ""
        yield f"score {_number(event['score'])} of 10" if "score" in event else ""
        yield "worse after dialysis" if event.get("worse_after_dialysis") else ""
        yield _STATUSES.get(event.get("status", ""), "")

    return _joined("Symptom", parts())


def _started(event: Event) -> str:
    def parts() -> Iterator[str]:
        yield f"weight {_number(event['pre_weight_kg'])} kg" if "pre_weight_kg" in event else ""
        yield f"target {_number(event['target_weight_kg'])} kg" if "target_weight_kg" in event else ""
        yield f"{_number(event['planned_minutes'])} min planned" if "planned_minutes" in event else ""

    chair = f", chair {event['chair']}" if "chair" in event else ""
    return _joined(f"Dialysis begins on machine {event['machine_id']}{chair}", parts())


def _ended(event: Event) -> str:
    weight = f"weight {_number(event['post_weight_kg'])} kg" if "post_weight_kg" in event else ""
    return _joined("Dialysis ends", iter([weight]))


def _medication(event: Event) -> str:
    def parts() -> Iterator[str]:
        doses = [f" {_number(event[f'dose_{unit}'])} {unit}" for unit in ("mg", "iu") if f"dose_{unit}" in event]
        yield event["drug"] + "".join(doses)
        yield f"{_number(event['doses_per_day'])} doses a day" if "doses_per_day" in event else ""
        yield event.get("route", "")
        late = event.get("received_at", event["at"]) != event["at"]
        yield f"of {clock(event['at'])}, told late" if late else ""

    return _joined(_STEPS[event["action"]], parts())


def _profile(event: Event) -> str:
    def parts() -> Iterator[str]:
        yield "in hospital" if event.get("inpatient") else ""
        yield f"first dialysis on {event['first_dialysis_on']}" if "first_dialysis_on" in event else ""
        yield f"target weight {_number(event['target_weight_kg'])} kg" if "target_weight_kg" in event else ""
        yield f"height {_number(event['height_cm'])} cm" if "height_cm" in event else ""
        yield from event.get("conditions", ())

    return _joined("Profile", parts())


def _answer(event: Event, rule: str) -> str:
    until = f" until {clock(event['until'])}" if "until" in event else ""
    reason = f": {event['reason']}" if "reason" in event else ""
    return f"{event['by']} {_ACTIONS[event['action']]} the alert `{rule}`{until}{reason}"


_WORDS: Final[dict[str, Callable[[Event], str]]] = {
    "lab_result": _lab,
    "symptom": _symptom,
    "session_started": _started,
    "session_ended": _ended,
    "medication": _medication,
    "patient_profile": _profile,
    "weight": lambda event: f"Weight {'before' if event['moment'] == 'pre' else 'after'} dialysis: {event['kg']:g} kg",
    "schedule": lambda event: (
        f"Plan: dialysis at {clock(event['planned_start'])}{', cancelled' if 'status' in event else ''}"
    ),
    "rhythm": lambda event: f"Electrocardiogram: QTc {event['qtc_ms']:g} ms",
    "telemetry": lambda event: samples(event, 1),
}

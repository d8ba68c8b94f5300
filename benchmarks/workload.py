"""The messages of a run: treatments with telemetry, laboratory results and symptoms, the same for the same `Load`.

A sample has 12 fields and about 350 bytes. One message in a hundred is a laboratory result, some of them low in
magnesium, raised in aluminium, corrected later or in a unit that does not exist; one in two thousand is a symptom.
Patients are spread over the sampling period, so that record timestamps differ as they do in a log of live traffic.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from models.topics import CLINICAL_EVENTS, LAB_RESULTS, MACHINE_EVENTS

_TRANSIT_MS: Final = 40
_ENDS_AFTER_MS: Final = 30_000
_PATIENTS_ON_A_LOOP: Final = 40
#: Sessions begin before the first sample, spread over so long.
SESSIONS_MS: Final = 2000


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `cause` is the id by which alerts name it as evidence, where it is sure to make a transition."""

    sent_ms: int
    topic: str
    key: bytes
    value: bytes
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What is generated.

    Attributes:
        start_ms: when it begins, Unix time in milliseconds.
        period_ms: from one sample of a patient to the next.
        labs: laboratory results per sample.
        symptoms: symptoms per sample.
        causes: per sample, results and cramps that are sure to make a transition. With these all other results
            are of analytes without rules: nothing else moves the alerts that they move.
    """

    patients: int
    samples: int
    start_ms: int
    period_ms: float = 1000.0
    labs: float = 0.01
    symptoms: float = 0.0005
    causes: float = 0.0
    seed: int = 7

    @property
    def rate(self) -> float:
        """Samples a second when sent in real time."""
        return self.patients * 1000 / self.period_ms

    @property
    def seconds(self) -> float:
        """How long it lasts in real time."""
        return self.samples * self.period_ms / 1000


class Generator:
    """Makes the messages of a load, in the order in which they are sent."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._random = random.Random(load.seed)
        self._numbers = 0
        self._results: dict[int, tuple[str, int, str]] = {}  # newest magnesium of a patient: id, collected, value
        self._later: deque[Message] = deque()  # ends of symptoms; the delay is fixed, so this stays in order

    def messages(self) -> Iterator[Message]:
        """All messages; sorted by `sent_ms`."""
        load, chance = self._load, self._random.random
        for patient in range(load.patients):
            yield self._session(patient)
        for sample in range(load.samples):
            for patient in range(load.patients):
                ms = load.start_ms + int((sample + patient / load.patients) * load.period_ms)
                while self._later and self._later[0].sent_ms <= ms + _TRANSIT_MS:
                    yield self._later.popleft()
                yield self._sample(patient, sample, ms)
                dice = chance()
                if dice < load.labs:
                    yield self._lab(patient, ms)
                elif dice < load.labs + load.symptoms:
                    yield self._symptom(patient, ms)
                elif dice < load.labs + load.symptoms + load.causes:
                    yield self._cause(patient, ms)

    def _message(self, topic: str, patient: int, ms: int, fields: str, cause: str = "", sent_ms: int = 0) -> Message:
        name = _patient(patient)
        value = f'{{"patient_id":"{name}","at":"{_rfc3339(ms)}",{fields}}}'
        return Message(sent_ms or ms + _TRANSIT_MS, topic, name.encode(), value.encode(), cause)

    def _next_id(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}-{self._load.seed}-{self._numbers}"

    # -- machine events

    def _session(self, patient: int) -> Message:
        fields = (
            f'"type":"session_started","session_id":"s{patient}","machine_id":"m{patient}","chair":"{patient % 40}",'
            f'"water_loop_id":"loop-{patient // _PATIENTS_ON_A_LOOP}","modality":"HDF","planned_minutes":240,'
            f'"pre_weight_kg":74.2,"target_weight_kg":72.0,"unit_id":"u{patient // _PATIENTS_ON_A_LOOP}"'
        )
        load = self._load
        began = load.start_ms - SESSIONS_MS + SESSIONS_MS * patient // load.patients - _TRANSIT_MS
        return self._message(MACHINE_EVENTS, patient, began, fields)

    def _sample(self, patient: int, sample: int, ms: int) -> Message:
        one, two = self._random.random(), self._random.random()
        fields = (
            f'"type":"telemetry","session_id":"s{patient}","machine_id":"m{patient}",'
            f'"uf_rate_ml_h":{300 + int(900 * one)},"uf_removed_ml":{sample * 4},'
            f'"blood_flow_ml_min":{250 + int(150 * two)},'
            f'"venous_pressure_mmhg":{100 + int(100 * one)},"dialysate_temp_c":36.5,"dialysate_na_mmol_l":138,'
            f'"conductivity_ms_cm":14.0,"systolic_mmhg":{95 + int(60 * two)},"diastolic_mmhg":{50 + int(40 * two)},'
            f'"heart_rate_bpm":{60 + int(50 * one)}'
        )
        return self._message(MACHINE_EVENTS, patient, ms, fields)

    # -- laboratory results

    def _lab(self, patient: int, ms: int) -> Message:  # noqa: PLR0911 (a table of shares)
        dice = self._random.random()
        if self._load.causes:
            return self._result(patient, ms, "potassium", f"{3.5 + 2 * dice:.1f}", "mmol/L")
        if dice < 0.03 and patient in self._results:
            return self._correction(patient, ms)
        if dice < 0.035:
            return self._result(patient, ms, "magnesium", "1.9", "mg")  # no such unit: data_quality
        if dice < 0.30:
            value = f"{self._random.triangular(0.8, 2.9, 2.2):.2f}"
            return self._result(patient, ms, "magnesium", value, "mg/dL")
        if dice < 0.34:
            return self._result(patient, ms, "aluminum", f"{self._random.expovariate(1 / 9):.0f}", "ug/L")
        if dice < 0.70:
            return self._result(patient, ms, "potassium", f"{self._random.gauss(4.8, 0.6):.1f}", "mmol/L")
        if dice < 0.85:
            return self._result(patient, ms, "phosphate", f"{self._random.gauss(5.0, 1.2):.1f}", "mg/dL")
        return self._result(patient, ms, "total_calcium", f"{self._random.gauss(9.0, 0.6):.1f}", "mg/dL")

    def _result(self, patient: int, ms: int, analyte: str, value: str, unit: str, *, is_cause: bool = False) -> Message:
        name = self._next_id("r")
        collected = ms - (0 if is_cause else 1_800_000)
        if analyte == "magnesium":
            self._results[patient] = name, collected, value
        cause = name if is_cause else ""
        return self._lab_message(patient, ms, name, collected, f'"value":{value},"unit":"{unit}"', analyte, cause)

    def _correction(self, patient: int, ms: int) -> Message:
        name, collected, value = self._results[patient]
        fields = f'"value":{float(value) + 0.6:.2f},"unit":"mg/dL","status":"corrected"'
        return self._lab_message(patient, ms, name, collected, fields, "magnesium", "")

    def _lab_message(
        self, patient: int, ms: int, name: str, collected: int, fields: str, analyte: str, cause: str
    ) -> Message:
        fields = (
            f'"type":"lab_result","result_id":"{name}","analyte":"{analyte}",{fields},"specimen":"serum",'
            f'"reported_at":"{_rfc3339(ms)}","source":"lab-1","flags":[]'
        )
        return self._message(LAB_RESULTS, patient, collected, fields, cause, sent_ms=ms + _TRANSIT_MS)

    # -- symptoms

    def _symptom(self, patient: int, ms: int) -> Message:
        dice = self._random.random()
        if self._load.causes or dice < 0.3:
            return self._noted(patient, ms, "nausea")
        if dice < 0.85:
            cramp = self._noted(patient, ms, "cramp", '"score":6')
            if dice < 0.6:
                end = cramp.value.decode().rstrip("}") + f',"ended_at":"{_rfc3339(ms + _ENDS_AFTER_MS)}"}}'
                self._later.append(Message(cramp.sent_ms + _ENDS_AFTER_MS, CLINICAL_EVENTS, cramp.key, end.encode()))
            return cramp
        return self._noted(patient, ms, "myoclonus", '"worse_after_dialysis":true')

    def _noted(self, patient: int, ms: int, kind: str, more: str = '"score":3', *, is_cause: bool = False) -> Message:
        name = self._next_id("y")
        fields = f'"type":"symptom","symptom_id":"{name}","kind":"{kind}",{more}'
        return self._message(CLINICAL_EVENTS, patient, ms, fields, name if is_cause else "")

    def _cause(self, patient: int, ms: int) -> Message:
        if self._random.random() < 0.5:
            return self._noted(patient, ms, "cramp", is_cause=True)
        value = f"{1.0 + 0.6 * self._random.random():.2f}"
        return self._result(patient, ms, "magnesium", value, "mg/dL", is_cause=True)


@lru_cache(100_000)
def _patient(number: int) -> str:
    return f"p{number:05d}"


@lru_cache(4096)
def _rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")

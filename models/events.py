"""The input events: one pydantic model a type, the authority on what is accepted (contract, Input events).

Times are RFC 3339 with an offset; units are in the field names. Parsing is strict: no string for a number, no
number for a flag, no unknown value of an enum; null is absent. Unknown fields are ignored (and counted by the
parser). A field marked `DESCRIPTIVE` only describes: an unusable value of it is left out (models.fields).
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from models.analytes import Analyte, Specimen
from models.fields import (
    DESCRIPTIVE,
    OR_DEFAULT,
    Descriptive,
    Flag,
    Identifier,
    Instant,
    Number,
    PatientId,
    Positive,
    Score,
    Text,
    Unit,
    Word,
)

#: Over at most how many merged records an event is sent on.
MAX_HOPS = 64


class Comparator(StrEnum):
    """The result lies off the instrument's scale, on the side it points to."""

    LT = "<"
    LE = "<="
    GE = ">="
    GT = ">"


class ResultStatus(StrEnum):
    """State of a laboratory result; declared in the order in which one supersedes another of equal time."""

    PRELIMINARY = "preliminary"
    FINAL = "final"
    CORRECTED = "corrected"
    CANCELLED = "cancelled"
    ENTERED_IN_ERROR = "entered_in_error"


class Modality(StrEnum):
    """Kind of treatment."""

    HD = "HD"
    HDF = "HDF"
    HF = "HF"
    IUF = "IUF"
    SLED = "SLED"


class SymptomKind(StrEnum):
    """The kind of symptom that the nurse or the patient noticed."""

    CRAMP = "cramp"
    SPASM = "spasm"
    JERK = "jerk"
    TWITCH = "twitch"
    MYOCLONUS = "myoclonus"
    MOTOR_APRAXIA = "motor_apraxia"
    SPEECH_DISTURBANCE = "speech_disturbance"
    PERSONALITY_CHANGE = "personality_change"
    HALLUCINATION = "hallucination"
    DISORIENTATION = "disorientation"
    SEIZURE = "seizure"
    DIZZINESS = "dizziness"
    SOMNOLENCE = "somnolence"
    WEAKNESS = "weakness"
    CONFUSION = "confusion"
    NAUSEA = "nausea"
    SHIVERING = "shivering"
    SYNCOPE = "syncope"


class ResponseAction(StrEnum):
    """What a person did about an alert."""

    ACKNOWLEDGE = "acknowledge"
    UNACKNOWLEDGE = "unacknowledge"
    SNOOZE = "snooze"
    RESOLVE = "resolve"


class Message(BaseModel):
    """The fields that all input events share; `at` is when it happened at the bedside."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", validate_default=False)

    at: Instant
    event_id: Annotated[Identifier | None, DESCRIPTIVE] = None
    unit_id: Annotated[Identifier | None, DESCRIPTIVE] = None
    source: Annotated[Identifier | None, DESCRIPTIVE] = None
    received_at: Instant | None = None


class Event(Message):
    """An event about one patient."""

    patient_id: PatientId
    #: Internal: the records that sent the event on (`patient_merged`), in order. With it, `received_at` counts.
    merged_from: Annotated[list[PatientId], Field(max_length=MAX_HOPS)] | None = None


class LabResult(Event):
    """A laboratory result; `at` is when the specimen was collected, `reported_at` orders corrections.

    Identified by (`result_id`, analyte). `replaces` is the id of the result that this one corrects, where the
    laboratory gives corrections an id of their own.
    """

    type: Literal["lab_result"] = "lab_result"
    result_id: Identifier
    replaces: Identifier | None = None
    analyte: Analyte | None = None
    loinc: Word | None = None
    value: Number | None = None
    comparator: Comparator | None = None
    unit: Unit
    status: Annotated[ResultStatus, OR_DEFAULT] = ResultStatus.FINAL
    reported_at: Instant | None = None
    specimen: Specimen | None = None
    haemolysed: Annotated[bool, OR_DEFAULT] = False
    flags: Annotated[list[Flag], Field(max_length=20), OR_DEFAULT, DESCRIPTIVE] = []

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.analyte is None and self.loinc is None:
            raise PydanticCustomError("missing_analyte", "needs `analyte` or `loinc`")
        withdrawn = self.status in (ResultStatus.CANCELLED, ResultStatus.ENTERED_IN_ERROR)
        if self.value is None and not withdrawn:
            raise PydanticCustomError("missing_value", "needs `value` unless `status` is cancelled or entered_in_error")
        return self


class SodiumStep(BaseModel):
    """One step of a sodium profile: dialysate sodium from a minute of the session on."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    minute: Number
    na_mmol_l: Number


class SessionStarted(Event):
    """A treatment began. Numbers outside `sodium_profile` only describe: one counts less than the start itself."""

    type: Literal["session_started"] = "session_started"
    session_id: Identifier
    machine_id: Identifier
    chair: Annotated[Word | None, DESCRIPTIVE] = None
    water_loop_id: Identifier | None = None
    modality: Annotated[Modality | None, DESCRIPTIVE] = None
    pre_weight_kg: Annotated[Positive | None, DESCRIPTIVE] = None
    target_weight_kg: Annotated[Positive | None, DESCRIPTIVE] = None
    planned_minutes: Annotated[Positive | None, DESCRIPTIVE] = None
    uf_goal_ml: Annotated[Number | None, DESCRIPTIVE] = None
    pre_systolic_mmhg: Annotated[Number | None, DESCRIPTIVE] = None
    sodium_profile: Annotated[list[SodiumStep], Field(max_length=100)] | None = None


class Telemetry(Event):
    """One sample of a dialysis machine: its measurements and its settings."""

    type: Literal["telemetry"] = "telemetry"
    session_id: Identifier
    machine_id: Identifier
    uf_rate_ml_h: Number | None = None
    uf_removed_ml: Number | None = None
    blood_flow_ml_min: Number | None = None
    venous_pressure_mmhg: Number | None = None
    dialysate_temp_c: Number | None = None
    dialysate_temp_setting_c: Number | None = None
    dialysate_na_mmol_l: Number | None = None
    dialysate_k_mmol_l: Number | None = None
    dialysate_ca_mmol_l: Number | None = None
    dialysate_mg_mmol_l: Number | None = None
    conductivity_ms_cm: Number | None = None
    systolic_mmhg: Number | None = None
    diastolic_mmhg: Number | None = None
    heart_rate_bpm: Number | None = None
    relative_blood_volume_pct: Number | None = None
    body_temp_c: Number | None = None
    setting_origin: Annotated[Literal["ordered", "user"] | None, DESCRIPTIVE] = None


class MachineAlarm(Event):
    """An alarm of the machine itself, relayed; `code` is its IEEE 11073 code or reference id."""

    type: Literal["machine_alarm"] = "machine_alarm"
    session_id: Identifier
    machine_id: Identifier
    code: Word
    phase: Literal["start", "continue", "end"]
    priority: Annotated[Literal["high", "medium", "low"] | None, DESCRIPTIVE] = None
    text: Annotated[Text | None, DESCRIPTIVE] = None
    latched: Annotated[bool | None, DESCRIPTIVE] = None


class SessionEnded(Event):
    """A treatment ended; the weight after it only describes."""

    type: Literal["session_ended"] = "session_ended"
    session_id: Identifier
    post_weight_kg: Annotated[Positive | None, DESCRIPTIVE] = None


class PatientProfile(Event):
    """Data of the patient that hold for a long time."""

    type: Literal["patient_profile"] = "patient_profile"
    first_dialysis_on: date | None = None
    sex: Annotated[Literal["female", "male", "other", "unknown"] | None, DESCRIPTIVE] = None
    height_cm: Annotated[Positive | None, DESCRIPTIVE] = None
    target_weight_kg: Annotated[Positive | None, DESCRIPTIVE] = None
    conditions: Annotated[Annotated[list[Word], Field(max_length=100)] | None, DESCRIPTIVE] = None
    inpatient: Annotated[bool | None, DESCRIPTIVE] = None
    low_activity: Annotated[bool | None, DESCRIPTIVE] = None
    status: Annotated[Literal["active", "transferred", "deceased"], OR_DEFAULT] = "active"


class PatientMerged(Event):
    """Two records are of one person: `patient_id` stays, `merged_id` is given up."""

    type: Literal["patient_merged"] = "patient_merged"
    merged_id: PatientId


class RecordGivenUp(Event):
    """Sent to the record that a merge gives up: `into` stays; internal to the product."""

    type: Literal["record_given_up"] = "record_given_up"
    into: PatientId


class RecordMoved(Event):
    """Sent on like the events of a record that was given up, so that a circle of merges shows; internal."""

    type: Literal["record_moved"] = "record_moved"


class ChairConflict(Event):
    """Tells a patient that another one, `other_id`, is dialysed on the same chair; without it, no more; internal."""

    type: Literal["chair_conflict"] = "chair_conflict"
    chair: Word
    session_id: Identifier
    sequence: Annotated[int, Field(ge=1)]
    other_id: PatientId | None = None
    other_session_id: Identifier | None = None
    since: Instant | None = None


class Symptom(Event):
    """A symptom from its onset (`at`) to `ended_at`, open while that is unknown; `score` is 1 to 10."""

    type: Literal["symptom"] = "symptom"
    symptom_id: Identifier
    kind: SymptomKind
    ended_at: Instant | None = None
    score: Annotated[Score | None, DESCRIPTIVE] = None
    worse_after_dialysis: Annotated[bool | None, DESCRIPTIVE] = None
    status: Annotated[Literal["present", "entered_in_error"], OR_DEFAULT] = "present"


class Weight(Event):
    """A weighing before or after treatment."""

    type: Literal["weight"] = "weight"
    kg: Positive
    moment: Literal["pre", "post"]


class Medication(Event):
    """A step in the life of a medication order; a dose is a single dose."""

    type: Literal["medication"] = "medication"
    order_id: Identifier
    drug: Word
    action: Literal["ordered", "administered", "changed", "held", "stopped", "cancelled"]
    route: Word | None = None
    dose_mg: Number | None = None
    dose_iu: Number | None = None
    doses_per_day: Number | None = None
    due_at: Instant | None = None


class Rhythm(Event):
    """A finding on the electrocardiogram; `qtc_ms` is the value of kind `qtc`, with other kinds it only describes."""

    type: Literal["rhythm"] = "rhythm"
    kind: Literal["qtc", "pvc_frequent", "vt", "vf", "asystole", "af"]
    qtc_ms: Annotated[Positive | None, Descriptive(unless=("kind", "qtc"))] = None


class Schedule(Event):
    """When a treatment is planned."""

    type: Literal["schedule"] = "schedule"
    session_id: Identifier
    planned_start: Instant
    status: Annotated[Literal["planned", "cancelled"], OR_DEFAULT] = "planned"


class Response(Message):
    """What a person did about an alert; `until` is required with snooze."""

    type: Literal["alert_response"] = "alert_response"
    alert_id: Word
    by: Word
    action: ResponseAction
    until: Instant | None = None
    reason: Annotated[Text | None, DESCRIPTIVE] = None

    @model_validator(mode="after")
    def _until(self) -> Self:
        if self.action is ResponseAction.SNOOZE and self.until is None:
            raise PydanticCustomError("missing_until", "needs `until` when `action` is snooze")
        return self


class AlertResponse(Event, Response):
    """A response to an alert about one patient."""


class UnitAlertResponse(Response):
    """A response to an alert about a water loop, on `unit-signals`."""

    water_loop_id: Identifier


class UnitSignal(Message):
    """What one patient's alert means for a water loop; internal to the product.

    Identified by (`alert_id`, `revision`, `sequence`): the highest stands. `at` is the onset of the condition,
    `last_at` the newest input that made it so, `known_at` when that became known.
    """

    type: Literal["unit_signal"] = "unit_signal"
    water_loop_id: Identifier
    patient_id: PatientId
    alert_id: Identifier
    revision: Annotated[int, Field(ge=1)]
    sequence: Annotated[int, Field(ge=1)]
    rule: Identifier
    retracted: bool
    last_at: Instant | None = None
    known_at: Instant | None = None


class ChairSignal(Message):
    """Who is dialysed on the chair whose key is `water_loop_id`, with flow from `since` to `until`; internal."""

    type: Literal["chair_signal"] = "chair_signal"
    water_loop_id: Identifier
    patient_id: PatientId
    chair: Word
    session_id: Identifier
    since: Instant
    until: Instant
    sequence: Annotated[int, Field(ge=1)]
    retracted: bool


PatientEvent = Annotated[
    LabResult
    | SessionStarted
    | Telemetry
    | MachineAlarm
    | SessionEnded
    | PatientProfile
    | PatientMerged
    | RecordGivenUp
    | RecordMoved
    | ChairConflict
    | Symptom
    | Weight
    | Medication
    | Rhythm
    | Schedule
    | AlertResponse,
    Field(discriminator="type"),
]
LoopEvent = Annotated[UnitSignal | ChairSignal | UnitAlertResponse, Field(discriminator="type")]

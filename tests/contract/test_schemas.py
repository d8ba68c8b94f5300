"""The models against contract.md, and the written schemas against the models."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import msgspec
import pytest

from models import contract_tables, schemas, topics
from models.alerts import Alert, Priority, Reason, Status, Transition
from models.events import Event, UnitAlertResponse, UnitSignal
from streams.rules.catalogue import ALL_RULES
from tests.rules.table import Runner, cases
from tests.unit.timeline import Unit

#: contract.md, Alerts: family (topic) and its rules.
FAMILIES = {
    "low-magnesium": "low_magnesium high_magnesium magnesium_unknown replacement_before_magnesium "
    "dialysate_magnesium_low iv_magnesium_during_dialysis",
    "electrolytes": "low_ionized_calcium high_ionized_calcium low_total_calcium low_potassium high_potassium "
    "low_phosphate high_phosphate electrolyte_swing dialysate_mismatch sodium_rise",
    "aluminum": "aluminum_suspicion aluminum_level aluminum_result_overdue citrate_with_aluminum seizure",
    "cramp": "intradialytic_cramp recurrent_cramps symptom_workup_incomplete",
    "session": "uf_rate_high dialysate_sodium_high high_sodium_follow_up sodium_profile dialysate_temperature "
    "hypothermia_watch interdialytic_weight_gain intradialytic_hypotension blood_volume_falling "
    "setting_deviation machine_alarm",
    "medication": "baclofen_on_dialysis baclofen_dose baclofen_before_electrolytes baclofen_abrupt_stop "
    "baclofen_adverse_effect midodrine_timing vitamin_e_dose",
    "rhythm": "arrhythmia_event arrhythmia_risk qtc_prolonged",
    "monitoring": "post_dialysis_labs_missing first_month_labs_overdue nutrition_review machine_silent",
    "data-quality": "data_quality identity_conflict",
    "unit": "aluminum_cluster",
}

#: contract.md, Topics: name and cleanup policy.
TOPICS = {
    "lab-results": "delete",
    "machine-events": "delete",
    "clinical-events": "delete",
    **{f"alerts.{family}": "delete" for family in FAMILIES},
    "unit-signals": "delete",
    "alerts.active": "compact",
    "sessions.active": "compact",
    "worker-status": "compact",
    "dead-letters": "delete",
    "ingest": "delete",
}

#: contract.md, Input events: fields besides the common ones; required ones marked with `*`.
EVENTS = {
    "lab_result": "*result_id analyte loinc value comparator *unit status reported_at specimen haemolysed flags",
    "session_started": "*session_id *machine_id chair water_loop_id modality pre_weight_kg target_weight_kg "
    "planned_minutes uf_goal_ml pre_systolic_mmhg sodium_profile",
    "telemetry": "*session_id *machine_id uf_rate_ml_h uf_removed_ml blood_flow_ml_min venous_pressure_mmhg "
    "dialysate_temp_c dialysate_temp_setting_c dialysate_na_mmol_l dialysate_k_mmol_l dialysate_ca_mmol_l "
    "dialysate_mg_mmol_l conductivity_ms_cm systolic_mmhg diastolic_mmhg heart_rate_bpm "
    "relative_blood_volume_pct body_temp_c setting_origin",
    "machine_alarm": "*session_id *machine_id *code *phase priority text latched",
    "session_ended": "*session_id post_weight_kg",
    "patient_profile": "first_dialysis_on sex height_cm target_weight_kg conditions inpatient low_activity",
    "patient_merged": "*merged_id",
    "symptom": "*symptom_id *kind ended_at score worse_after_dialysis status",
    "weight": "*kg *moment",
    "medication": "*order_id *drug *action route dose_mg dose_iu doses_per_day due_at",
    "rhythm": "*kind qtc_ms",
    "schedule": "*session_id *planned_start status",
    "alert_response": "*alert_id *by *action until reason",
}
COMMON = "*type *patient_id *at event_id unit_id source received_at"

#: contract.md, Alerts: every key of an alert.
ALERT = (
    "alert_id revision rule rule_version family status transition reason priority escalation patient_id unit_id "
    "session_id chair water_loop_id onset_at at summary guidance evidence"
)
REASONS = (
    "condition_met condition_cleared severity_changed evidence_changed gate_opened gate_closed result_corrected "
    "entered_in_error deadline_passed unacknowledged acknowledged snoozed snooze_ended resolved_by_person "
    "unconfirmed_end superseded"
)


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(schemas.schemas()[f"{name}.json"])
    return loaded


# -- the written files -----------------------------------------------------------------------------------------------


def test_the_written_schemas_are_those_of_the_models() -> None:
    written = {file.name: file.read_text(encoding="utf-8") for file in schemas.FOLDER.glob("*.json")}
    assert written == schemas.schemas(), "run `python -m models.schemas`"


def test_every_schema_is_one() -> None:
    for text in schemas.schemas().values():
        jsonschema.Draft202012Validator.check_schema(json.loads(text))


def test_there_is_one_for_every_event_of_the_contract_and_for_alerts() -> None:
    assert {name.removesuffix(".json") for name in schemas.schemas()} == {
        "alert",
        *EVENTS,
        UnitSignal.model_fields["type"].default,
        "chair_conflict",
        "chair_signal",
        "record_given_up",
        "record_moved",
        "unit_alert_response",
    }
    assert issubclass(UnitAlertResponse, object)
    assert not issubclass(UnitAlertResponse, Event)  # `water_loop_id` in place of `patient_id`


# -- fields, topics, rules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVENTS)
def test_fields_of_an_event(name: str) -> None:
    fields = f"{COMMON} {EVENTS[name]}".split()
    found = schema(name)
    assert {field.lstrip("*") for field in fields} <= set(found["properties"])
    assert {field[1:] for field in fields if field.startswith("*")} == set(found["required"])
    assert found["properties"]["type"]["const"] == name


def test_fields_of_an_alert_are_all_required() -> None:
    found = schema("alert")
    assert set(ALERT.split()) == set(found["required"])
    assert set(found["properties"]) == set(found["required"]) | {"inhibited_by", "inhibits", "context", "bound"}
    assert set(found["$defs"]["Earlier"]["required"]) == {"at", "value", "unit"}
    assert set(found["$defs"]["DecidingBound"]["required"]) == {"value", "unit"}
    assert set(found["$defs"]["Evidence"]["required"]) == {"kind", "id", "name", "value", "unit", "at"}
    assert set(found["$defs"]["Guidance"]["required"]) == {"text", "basis"}


def test_words_of_an_alert() -> None:
    assert " ".join(Status) == "active acknowledged snoozed resolved withdrawn expired"
    assert " ".join(Transition) == (
        "raised updated escalated deescalated acknowledged snoozed reminded resolved withdrawn expired"
    )
    assert set(Priority) == {"high", "medium", "low", "info"}
    assert set(Reason) >= set(REASONS.split())


def test_topics() -> None:
    found = {
        spec.name: spec.config["cleanup.policy"]
        for spec in topics.all_topics("dialysis-alerts", 1_000_000)
        if not spec.internal
    }
    assert found == TOPICS


def test_input_topics_carry_the_time_of_the_broker() -> None:
    by_name = {spec.name: spec for spec in topics.all_topics("g", 1_000_000)}
    for name in (*topics.PATIENT_TOPICS, topics.UNIT_SIGNALS):
        assert by_name[name].config["message.timestamp.type"] == "LogAppendTime"


def test_rules_are_of_the_contract_and_in_their_family() -> None:
    family_of = {rule: family for family, rules in FAMILIES.items() for rule in rules.split()}
    assert {rule.name: rule.family for rule in ALL_RULES}.items() <= family_of.items()
    assert set(topics.FAMILIES) == set(FAMILIES) - {"unit"}


def test_every_rule_names_article_or_source_and_rests_its_advice_on_one() -> None:
    for rule in ALL_RULES:
        assert rule.sources
        assert re.fullmatch(r"[RE]\d\d( [RE]\d\d)*", rule.ids)


# -- what the engine makes -------------------------------------------------------------------------------------------


def test_alerts_that_the_engine_makes_validate() -> None:
    ward = Unit(calls=True)
    ward.session(at="08:00", water_loop_id="loop-a", chair="3", unit_id="u1")
    ward.session("s2", at="08:00", patient_id="p2", machine="m2", water_loop_id="loop-a")
    ward.lab("magnesium", 1.2, comparator="<", at="08:10", name="r1")
    ward.lab("magnesium", 1.2, "?", at="08:20")
    ward.symptom("cramp", at="08:30", score=4)
    for patient in ("p1", "p2"):
        ward.symptom("jerk", at="08:40", worse_after_dialysis=True, patient_id=patient, name=f"jerk-{patient}")
    ward.respond(ward.told[0], "snooze", at="08:41", until="09:00")
    ward.lab("aluminum", 450, "ug/L", at="08:45")
    ward.qtc(500, at="08:50")
    ward.lab("magnesium", None, at="08:10", name="r1", status="cancelled", reported="09:30", received="09:30")
    ward.clock("d12 08:00")
    validator = jsonschema.Draft202012Validator(schema("alert"), format_checker=jsonschema.FormatChecker())
    told = ward.told + [alert for case in cases() for alert in Runner(case).run().unit.told]
    for alert in told:
        validator.validate(json.loads(msgspec.json.encode(alert)))
    assert {alert.rule for alert in told} == {rule.name for rule in ALL_RULES}
    assert {alert.transition for alert in ward.told} >= {"raised", "escalated", "snoozed", "reminded", "expired"}


def test_a_record_shows_every_key_and_null_where_unknown() -> None:
    ward = Unit()
    ward.lab("magnesium", 1.2, at="08:10")
    shown = json.loads(msgspec.json.encode(ward.told[0]))
    assert set(shown) == set(ALERT.split()) | {"bound"}  # of those that may be absent, what this alert has
    assert shown["unit_id"] is shown["session_id"] is shown["chair"] is shown["water_loop_id"] is None
    assert shown["escalation"] == 0
    Alert.model_validate_json(msgspec.json.encode(ward.told[0]))


@pytest.mark.parametrize("field", ["status", "transition", "reason", "priority"])
def test_the_schema_refuses_an_unknown_word(field: str) -> None:
    ward = Unit()
    ward.lab("magnesium", 1.2, at="08:10")
    shown = json.loads(msgspec.json.encode(ward.told[0])) | {field: "unheard-of"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(shown, schema("alert"))


def test_the_tables_of_the_contract_are_those_of_the_models() -> None:
    text = contract_tables.PATH.read_text(encoding="utf-8")
    assert contract_tables.with_tables(text) == text
    assert all(f"<!-- table: {name} -->" in text for name in contract_tables.tables())
    assert all(f"`{field}`" in text for field in schema("alert")["properties"])

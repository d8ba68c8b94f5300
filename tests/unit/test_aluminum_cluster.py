"""`aluminum_cluster` (R25): its evidence are the patients' alerts. Its cases are in `tests/rules/water_loop.toml`.

No table can write the ids of other rules' alerts.
"""

from __future__ import annotations

from tests.unit.timeline import Unit


def test_its_evidence_are_the_suspicions_of_its_patients() -> None:
    ward = Unit(watch="aluminum_cluster")
    for patient in ("p1", "p2"):
        ward.session(f"{patient}-s", at="06:00", patient_id=patient, machine=patient, water_loop_id="loop-a")
        ward.symptom("jerk", at="08:00", patient_id=patient, worse_after_dialysis=True)
    alert = ward.expect("08:00", "raised")
    assert {item.id for item in alert.evidence} == {a.alert_id for a in ward.told if a.rule == "aluminum_suspicion"}

"""What the profile of a patient tells, as evidence and as an anchor."""

from __future__ import annotations

from models.alerts import EvidenceRecord
from models.state import PatientState
from streams.rules.api import PatientView
from streams.rules.inputs import PROFILE


def profile_ref(state: PatientState) -> str:
    """Return the name of a patient's profile as an anchor."""
    return f"patient_profile:{state.id}"


def profile_evidence(view: PatientView, name: str, value: str | None = None) -> EvidenceRecord:
    """Return something that the profile tells as evidence; there must be a profile."""
    state = view.read(PROFILE)
    assert state.profile is not None  # noqa: S101 (for the type checker)
    at = state.profile.at
    return EvidenceRecord(kind="patient_profile", id=state.id, name=name, value=value, unit=None, at=at)

"""The events that tests publish or replay, as JSON objects: every builder of messages begins with this one."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def event(type_: str, subject: str, at: datetime | str, *, of_loop: bool = False, **fields: Any) -> dict[str, Any]:
    """Make an event of a patient, or of a water loop.

    Args:
        type_: as the contract names it.
        subject: the patient's or the loop's id.
        at: when it happened; text stays as it is, so that a test can write what no clock says.
        of_loop: whether it is about a water loop.
        fields: its own fields; None is null, which parsing takes for absent.
    """
    name = "water_loop_id" if of_loop else "patient_id"
    return {"type": type_, name: subject, "at": at if isinstance(at, str) else at.isoformat(), **fields}

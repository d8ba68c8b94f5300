"""All that is kept of one water loop."""

from __future__ import annotations

from models.records import UnitAlertResponse, UnitSignal
from models.state.subject import AlertState, SubjectState


class LoopState(SubjectState, omit_defaults=True, kw_only=True, gc=False):
    """All that is kept of one water loop."""

    signals: dict[str, UnitSignal] = {}
    responses: dict[str, UnitAlertResponse] = {}
    #: Alerts whose tombstone was sent; a late signal may raise one of them again.
    buried: dict[str, AlertState] = {}

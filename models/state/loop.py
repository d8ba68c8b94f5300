"""All that is kept of one water loop, or of one chair."""

from __future__ import annotations

from models.records import ChairConflict, ChairSignal, UnitAlertResponse, UnitSignal
from models.state.subject import AlertState, SubjectState


class LoopState(SubjectState, omit_defaults=True, kw_only=True, gc=False):
    """All that is kept of one water loop, or of one chair; of a loop that is named like a chair, side by side."""

    signals: dict[str, UnitSignal] = {}
    responses: dict[str, UnitAlertResponse] = {}
    #: Alerts whose tombstone was sent; a late signal may raise one of them again.
    buried: dict[str, AlertState] = {}
    #: The newest signal of each patient on a chair.
    seats: dict[str, ChairSignal] = {}
    #: What each patient was last told of the chair, unless that is over.
    chair_conflicts: dict[str, ChairConflict] = {}
    #: How many conflicts were told, or taken back.
    conflict_sequence: int = 0

"""The subjects that a changelog holds, whole and with the samples stored apart, as a worker recovers them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from models.state import PatientState, StateCodec, SubjectState
from models.state.sampled import PREFIX, complete, decode, key_of
from streams.rules.api import StateT
from streams.worker.ports import CLOCK_KEY


def subjects_of(values: Mapping[bytes, bytes], codec: StateCodec[StateT]) -> dict[bytes, StateT]:
    """The subjects of a changelog; the names of stored forms are left out, since they are random."""
    found = {key: codec.decode(raw) for key, raw in values.items() if key != CLOCK_KEY and key[:1] != PREFIX}
    for key, state in found.items():
        raw = values.get(key_of(key))
        if raw is not None and isinstance(state, PatientState):
            complete(state, decode(raw))
        state.stored_as = 0
        if isinstance(state, PatientState):
            assert state.history is not None  # decoded, so that equal subjects compare equal
    return found


def as_fields(state: SubjectState, codec: StateCodec[Any]) -> dict[str, Any]:
    """A subject's fields as JSON has them, those of its history among them."""
    fields: dict[str, Any] = json.loads(codec.encode(state))
    past: dict[str, Any] = fields.pop("past", {})
    return fields | past

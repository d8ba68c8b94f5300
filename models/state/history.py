"""A patient's inputs and buried alerts, apart from what every sample needs: encoded until a rule asks for them."""

from __future__ import annotations

import zlib
from datetime import datetime
from typing import Any, Final

import msgspec

from models.records import (
    AlertResponse,
    LabResult,
    MachineAlarm,
    Medication,
    Rhythm,
    Schedule,
    Symptom,
    Weight,
)
from models.state.session import Flow
from models.state.subject import AlertState

#: A history of fewer bytes of JSON is kept as it is: compression would save little.
_LEAST_PACKED: Final = 1024
#: zlib's fastest level: 28 kB become 5 kB in 70 us, and are read back in 33.
_LEVEL: Final = 1


class History(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The windows of a patient's inputs by identity, their arrivals, and alerts whose tombstone was sent."""

    #: The versions of results that stand, and those that were replaced (see `streams.engine.results`).
    labs: dict[str, LabResult] = {}
    versions: dict[str, LabResult] = {}
    symptoms: dict[str, Symptom] = {}
    rhythms: dict[str, Rhythm] = {}
    weights: dict[str, Weight] = {}
    medications: dict[str, Medication] = {}
    schedules: dict[str, Schedule] = {}
    machine_alarms: dict[str, MachineAlarm] = {}
    #: Of each machine alarm (`identity.alarm_name`) the stretches in which it was told to be on, at most 5 min apart.
    alarm_runs: dict[str, list[Flow]] = {}
    responses: dict[str, AlertResponse] = {}
    #: When each input (`kind:id`), and each value of a result, first arrived: it could not be known before.
    arrivals: dict[str, datetime] = {}
    #: Alerts whose tombstone was sent; a late event may raise one of them again.
    buried: dict[str, AlertState] = {}


class Packed:
    """A history as compressed JSON."""

    __slots__ = ("_data",)

    def __init__(self, raw: bytes) -> None:
        self._data = zlib.compress(raw, _LEVEL)

    def raw(self) -> msgspec.Raw:
        """Return the JSON."""
        return msgspec.Raw(zlib.decompress(self._data))


#: A history in memory: as it is, or encoded.
Held = History | Packed | msgspec.Raw

NO_HISTORY: Final = msgspec.Raw(b"{}")
_decode: Final = msgspec.json.Decoder(History).decode


def as_json(item: Any) -> msgspec.Raw:
    """Return what stands for a packed history in JSON; an encoder calls this for what it does not know."""
    if isinstance(item, Packed):
        return item.raw()
    raise NotImplementedError(f"{type(item).__name__} has no form in JSON")


encode: Final = msgspec.json.Encoder(enc_hook=as_json).encode


def unpack(held: Held) -> History:
    """Return a history to read and to change."""
    if isinstance(held, History):
        return held
    return _decode(held.raw() if isinstance(held, Packed) else held)


def pack(held: Held) -> Packed | msgspec.Raw:
    """Return the smallest form of a history; what refers to a larger buffer is copied out of it."""
    if isinstance(held, Packed) or held is NO_HISTORY:
        return held
    raw = encode(held) if isinstance(held, History) else bytes(held)
    return Packed(raw) if len(raw) >= _LEAST_PACKED else msgspec.Raw(raw)

"""What samples changed of a patient since the whole record was stored: a record of its own, of a few hundred bytes.

    key        ... | 1 whole | ... | 2 samples of 1 | ... | 3 samples of 1 | ... | 4 whole |
    recovered      |    1    |     |      1 + 2     |     |      1 + 3     |     |    4    |

The two lie under different keys, so compaction may leave samples that an older form of the whole preceded: samples
count only with the very form that they name.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from models.state.channel import Channel
from models.state.machine_setting import Setting
from models.state.packed_channel import Packed, PackedChannel, Times, pack, unpack, unpack_former
from models.state.patient import PatientState
from models.state.session import Flow, Reading, Strange

#: Begins the changelog key of such a record. No subject's key begins so: keys are UTF-8.
PREFIX: Final = b"\xfe"
#: The entry of `looks` that publishing a running session moves.
SESSIONS_LOOK: Final = "sessions"

#: The session and the machine of a sample.
Source = tuple[str, str]


class SampledSession(msgspec.Struct, omit_defaults=True, gc=False):
    """The fields of a session that samples change (`Session`); its start and end messages are in the whole record."""

    flows: list[Flow] = []
    #: Where it is not the machine of the session, as it nearly always is.
    flowed_by: str = ""
    machine_flows: dict[str, list[Flow]] | None = None
    systolic: Reading | None = None
    uf_rate: Reading | None = None
    still_at: datetime | None = None
    told_at: datetime | None = None
    #: Where it is not that of the patient, as it nearly always is.
    heard_at: datetime | None = None
    gap_s: int = 0
    #: Of records that were stored before channels were packed.
    channels: dict[str, Channel] = {}
    times: list[Times] = []
    #: Likewise before bounds were.
    packed: dict[str, PackedChannel] = {}
    strange: dict[str, Strange] = {}
    fields: dict[str, Packed] = {}
    #: How far samples moved the settings (`_moved`).
    moved: list[int] = []


class Sampled(msgspec.Struct, omit_defaults=True, gc=False):
    """The parts of a patient's state that samples change.

    Attributes:
        of: the stored form of the whole record that these complete (`SubjectState.stored_as`).
        sessions: the sessions with samples since then.
        heard: the newest arrival of each machine with samples since then.
    """

    of: int
    heard_at: datetime
    offsets: dict[str, int]
    sessions: dict[str, SampledSession] = {}
    heard: dict[str, datetime] = {}
    unit_id: str | None = None
    unit_id_at: datetime | None = None
    look: datetime | None = None


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Sampled).decode


def key_of(subject: bytes) -> bytes:
    """Return the changelog key of a subject's samples."""
    return PREFIX + subject


def sampled_of(state: PatientState, sources: Iterable[Source]) -> Sampled:
    """Return what the samples of these sources changed."""
    found = Sampled(
        of=state.stored_as,
        heard_at=state.heard_at,
        offsets=state.offsets,
        unit_id=state.unit_id,
        unit_id_at=state.unit_id_at,
        look=state.looks.get(SESSIONS_LOOK),
    )
    for session_id, machine_id in sources:
        if (session := state.sessions.get(session_id)) is not None:
            # A channel without a sample is in the whole record: what a machine does not tell costs nothing.
            times, fields = pack((name, one) for name, one in session.channels.items() if one.minutes)
            found.sessions[session_id] = SampledSession(
                flows=session.flows,
                flowed_by="" if session.flowed_by == session.machine_id else session.flowed_by,
                machine_flows=session.machine_flows,
                systolic=session.systolic,
                uf_rate=session.uf_rate,
                still_at=session.still_at,
                told_at=session.told_at,
                gap_s=session.gap_s,
                heard_at=None if session.heard_at == state.heard_at else session.heard_at,
                times=times,
                fields=fields,
                strange=session.strange,
                moved=_moved(session.settings, _second(session.flows, state.heard_at)),
            )
        if (heard := state.heard.get(machine_id)) is not None:
            found.heard[machine_id] = heard
    return found


def complete(state: PatientState, sampled: Sampled) -> bool:
    """Put samples into the whole record that they belong to; False if they belong to another form of it."""
    if sampled.of != state.stored_as or not sampled.of or not sampled.sessions.keys() <= state.sessions.keys():
        return False
    channels = {
        name: unpack(part.times, part.fields, state.sessions[name].channels) for name, part in sampled.sessions.items()
    }
    if None in channels.values():
        return False
    state.heard_at, state.offsets = sampled.heard_at, sampled.offsets
    for name, part in sampled.sessions.items():
        session = state.sessions[name]
        session.flows, session.systolic, session.uf_rate = part.flows, part.systolic, part.uf_rate
        session.flowed_by = part.flowed_by or (session.machine_id if part.flows else "")
        session.machine_flows = part.machine_flows
        session.still_at, session.told_at = part.still_at, part.told_at
        session.strange = part.strange
        session.channels = session.channels | part.channels | unpack_former(part.times, part.packed)
        session.channels |= channels[name] or {}
        _move(session.settings, part.moved, _second(part.flows, sampled.heard_at))
        session.heard_at = part.heard_at or sampled.heard_at
        session.gap_s = part.gap_s
    state.heard |= sampled.heard
    state.unit_id, state.unit_id_at = sampled.unit_id, sampled.unit_id_at
    if sampled.look is None:
        state.looks.pop(SESSIONS_LOOK, None)
    else:
        state.looks[SESSIONS_LOOK] = sampled.look
    return True


def sources_of(sampled: Sampled) -> set[Source]:
    """Return sources that name all that samples changed, to store it again."""
    return {(name, "") for name in sampled.sessions} | {("", machine) for machine in sampled.heard}


def _moved(settings: dict[str, Setting], since: int) -> list[int]:
    """Return how far samples moved settings; whatever else they change of one is stored with the whole record.

    Of each setting, in the order of their names, these are the seconds from its newest sample to `since`, from the
    newest ordered one, and from the newest of a user. What is the same of all settings is told once, and zeros not at
    all.
    """
    found = [[since - at for at in _moments(one)] for _, one in sorted(settings.items())]
    told = found[0] if found and all(one == found[0] for one in found) else [at for one in found for at in one]
    return told if any(told) else []


def _move(settings: dict[str, Setting], moved: list[int], since: int) -> None:
    widths = {name: len(_moments(one)) for name, one in sorted(settings.items())}
    total = sum(widths.values())
    left = moved * len(settings) if moved and len(moved) < total else moved or [0] * total
    for name, width in widths.items():
        (newest, *said), left = [since - ago for ago in left[:width]], left[width:]
        one = settings[name]
        one.runs[-1].last = newest
        for told, at in zip((told for told in (one.ordered, one.user) if told is not None), said, strict=True):
            told.at = at


def _moments(one: Setting) -> list[int]:
    return [one.runs[-1].last, *(told.at for told in (one.ordered, one.user) if told is not None)]


def _second(flows: list[Flow], heard_at: datetime) -> int:
    """Return the second of the newest sample, as far as it is known: with it, most times of settings are 0."""
    return int((flows[-1].until if flows else heard_at).timestamp())

"""Records of other processes, checked and cleaned: a record for the picture, or the reason why it cannot be used.

Nothing on a topic is trusted. What cannot be used is an `UnreadableError` with a reason of a bounded set, which is
counted; texts are put on one line without characters that a screen would act on (`models.text`), and cut to a length.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from models.alerts import Priority, Status
from models.fields import FIRST_YEAR, LAST_YEAR
from models.text import one_line, spelled
from models.topics import ALERT_BYTES

#: The largest record that is read, in bytes: a worker's alerts, statuses and sessions are smaller than half of it.
MAX_BYTES: Final = 2 * ALERT_BYTES
#: The most characters of an identifier; a longer one is no identifier of ours.
_LONGEST_ID: Final = 200
#: The most characters of a free text that are kept.
_LONGEST_TEXT: Final = 1000
#: The most entries that are kept of a list in an alert (evidence, guidance, context, ids).
_MOST: Final = 50


class Unreadable(StrEnum):
    """Why a record cannot be used."""

    NO_KEY = "no_key"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    BAD_FIELD = "bad_field"
    OTHER_KEY = "other_key"
    FULL = "full"


class UnreadableError(Exception):
    """The record cannot be used."""

    def __init__(self, reason: Unreadable) -> None:
        super().__init__(reason.value)
        self.reason = reason


class AdviceText(msgspec.Struct, frozen=True, gc=False):
    """One line of guidance and its source."""

    text: str
    basis: str = ""


class Measured(msgspec.Struct, frozen=True, gc=False):
    """An input of an alert (`kind`, `id`, `name` say which), or an earlier value of what decided; as reported."""

    at: datetime
    value: float | str | None = None
    unit: str | None = None
    kind: str = ""
    id: str = ""
    name: str = ""


class Bound(msgspec.Struct, frozen=True, gc=False):
    """The bound that decided, in the unit of the values."""

    value: float
    unit: str | None = None


class ShownAlert(msgspec.Struct, frozen=True, gc=False):
    """One transition of an alert: the fields of the message that a screen uses.

    `acknowledged_by`, `acknowledged_at` and `snoozed_until` are taken where a worker sends them.
    """

    alert_id: str
    revision: int
    rule: str
    family: str
    status: Status
    priority: Priority
    at: datetime
    onset_at: datetime
    summary: str
    transition: str = ""
    reason: str = ""
    escalation: int = 0
    patient_id: str | None = None
    unit_id: str | None = None
    session_id: str | None = None
    chair: str | None = None
    water_loop_id: str | None = None
    inhibited_by: tuple[str, ...] = ()
    inhibits: tuple[str, ...] = ()
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    snoozed_until: datetime | None = None


class AlertDetail(msgspec.Struct, frozen=True, gc=False):
    """The parts of an alert that only its own page shows."""

    guidance: tuple[AdviceText, ...] = ()
    evidence: tuple[Measured, ...] = ()
    context: tuple[Measured, ...] | dict[str, Any] = ()
    bound: Bound | None = None


class ShownSession(msgspec.Struct, frozen=True, gc=False):
    """A running session: systolic in mm[Hg], UF rate in mL/h, `at` when this was known."""

    session_id: str
    since: datetime
    at: datetime
    patient_id: str | None = None
    unit_id: str | None = None
    machine_id: str | None = None
    chair: str | None = None
    water_loop_id: str | None = None
    planned_minutes: float | None = None
    systolic_mmhg: float | None = None
    systolic_at: datetime | None = None
    uf_rate_ml_h: float | None = None
    uf_rate_at: datetime | None = None


class PartitionStatus(msgspec.Struct, frozen=True, gc=False):
    """What the owner of a partition says of it; `lag_seconds` is null where it has no subject yet."""

    partition: int
    at: datetime
    lag_seconds: float | None = None
    recovering: bool = False


class GivenAnswer(msgspec.Struct, frozen=True, gc=False):
    """A person's answer on the topics that the worker reads: who did what about which alert; `until` ends a snooze."""

    type: str
    alert_id: str
    by: str
    action: str
    at: datetime
    until: datetime | None = None
    reason: str | None = None


_alert: Final = msgspec.json.Decoder(ShownAlert)
_detail: Final = msgspec.json.Decoder(AlertDetail)
_session: Final = msgspec.json.Decoder(ShownSession)
_status: Final = msgspec.json.Decoder(PartitionStatus)
_answer: Final = msgspec.json.Decoder(GivenAnswer)
_IDS: Final = frozenset(
    {"alert_id", "patient_id", "unit_id", "session_id", "chair", "water_loop_id", "machine_id", "rule", "family", "id"}
)


def key_of(raw: bytes | None) -> str:
    """Return a record's key as text.

    Raises:
        UnreadableError: There is none, it is no UTF-8, or it is longer than any of ours.
    """
    if not raw:
        raise UnreadableError(Unreadable.NO_KEY)
    try:
        key = raw.decode()
    except UnicodeDecodeError:
        raise UnreadableError(Unreadable.BAD_FIELD) from None
    if len(key) > _LONGEST_ID:
        raise UnreadableError(Unreadable.TOO_LARGE)
    return spelled(key)


def read_alert(raw: bytes) -> ShownAlert:
    """Read a record of an alert topic.

    Raises:
        UnreadableError: It is none.
    """
    alert: ShownAlert = _read(_alert, raw)
    if alert.revision < 1 or not alert.alert_id:
        raise UnreadableError(Unreadable.BAD_FIELD)
    return alert


def read_detail(raw: bytes) -> AlertDetail:
    """Read guidance, evidence and context of a record that `read_alert` has taken; empty where they are unusable."""
    try:
        found: AlertDetail = _read(_detail, raw)
    except UnreadableError:
        return AlertDetail()
    if isinstance(found.context, dict):
        return _from_table(found)
    return found


def _from_table(found: AlertDetail) -> AlertDetail:
    """Take a context that holds values and bound as a table."""
    try:
        table: Any = msgspec.convert(found.context, dict[str, Any])
        values = msgspec.convert(table.get("values") or (), tuple[Measured, ...])
        bound = msgspec.convert(table.get("bound"), Bound | None)
    except msgspec.ValidationError:
        values, bound = (), None
    return msgspec.structs.replace(found, context=values[:_MOST], bound=bound or found.bound)


def read_session(raw: bytes) -> ShownSession:
    """Read a record of `sessions.active`.

    Raises:
        UnreadableError: It is none.
    """
    session: ShownSession = _read(_session, raw)
    if not session.session_id:
        raise UnreadableError(Unreadable.BAD_FIELD)
    return session


def read_status(raw: bytes) -> PartitionStatus:
    """Read a record of `worker-status`.

    Raises:
        UnreadableError: It is none.
    """
    status: PartitionStatus = _read(_status, raw)
    return status


def read_answer(raw: bytes) -> GivenAnswer | None:
    """Read an `alert_response`; None for every other event of its topic.

    Raises:
        UnreadableError: It says that it is one, and cannot be used.
    """
    if b'"alert_response"' not in raw:
        return None
    answer: GivenAnswer = _read(_answer, raw)
    return answer if answer.type == "alert_response" else None


def _read(decoder: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    if len(raw) > MAX_BYTES:
        raise UnreadableError(Unreadable.TOO_LARGE)
    try:
        found = decoder.decode(raw)
    except msgspec.ValidationError:
        raise UnreadableError(Unreadable.BAD_FIELD) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnreadableError(Unreadable.NOT_JSON) from None
    return _cleaned(found)


def _cleaned(record: Any) -> Any:
    """Return a record with every text fit to be shown, every list bounded and every time with an offset."""
    changed = {}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        fit = _fit(name, value)
        if fit is not value:
            changed[name] = fit
    return msgspec.structs.replace(record, **changed) if changed else record


def _fit(name: str, value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value
    if isinstance(value, str):
        return _fit_id(value) if name in _IDS else _fit_text(value)
    if isinstance(value, datetime):
        if value.tzinfo is None or not FIRST_YEAR <= value.year <= LAST_YEAR:
            raise UnreadableError(Unreadable.BAD_FIELD)
        return value
    if isinstance(value, tuple):
        return tuple(_fit(name, each) for each in value[:_MOST])
    return _cleaned(value) if isinstance(value, msgspec.Struct) else value


def _fit_id(value: str) -> str:
    if len(value) > _LONGEST_ID:
        raise UnreadableError(Unreadable.BAD_FIELD)
    return spelled(value)


def _fit_text(value: str) -> str:
    if len(value) > _LONGEST_TEXT:
        value = value[: _LONGEST_TEXT - 1] + "…"
    return one_line(value)

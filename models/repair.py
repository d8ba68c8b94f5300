"""Repair of unusable messages without a change of meaning (contract, Details and text).

Called only when a message is unusable or not plain as it is, so a clean one costs nothing here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
from pydantic import BaseModel
from pydantic_core import ErrorDetails, from_json

from models.fields import Cleaned, descriptive_fields
from models.records import record_type
from models.text import trimmed

_ENUMS: Final = ("enum", "literal_error")
_GONE: Final = object()
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class LeftOut(NamedTuple):
    """A detail that was left out: its field, and what it should have been."""

    field: str
    why: str


def read_json(raw: bytes) -> Any:
    """Read JSON bytes; spell out half of a character, where a text was cut.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return from_json(raw)
    except ValueError:
        if b"\\u" not in raw:
            raise
        text = json.dumps(json.loads(raw), ensure_ascii=False)
        return json.loads(_SURROGATE.sub(lambda half: rf"\\u{ord(half[0]):04x}", text))


def mend(
    message: dict[str, Any], errors: Iterable[ErrorDetails], model: type[BaseModel] | None, left_out: dict[str, str]
) -> list[ErrorDetails]:
    """Mend a message in place: trim values of enums, remove null items and descriptive fields that cannot be used.

    Args:
        message: the fields; changed.
        errors: what pydantic found.
        model: the model of the message; None if its type is wrong.
        left_out: the descriptive fields that were removed; added to.

    Returns:
        The errors that cannot be mended. Null in a required field is a missing field.
    """
    details = descriptive_fields(model, message) if model else frozenset[str]()
    rest = [error for error in errors if not _mend(message, error, details, left_out)]
    _purge(message)
    return rest


def _mend(message: dict[str, Any], error: ErrorDetails, details: frozenset[str], left_out: dict[str, str]) -> bool:
    path = ("type",) if error["type"] == "union_tag_invalid" else error["loc"][1:]
    holder: Any = _holder(message, path)
    if holder is None:
        return False
    key: Any = path[-1]
    value = holder[key]
    if isinstance(value, str) and (error["type"] in _ENUMS or path == ("type",)) and trimmed(value) != value:
        holder[key] = trimmed(value)
    elif value is None and isinstance(holder, list):
        holder[key] = _GONE
    elif path[0] in details:
        holder[key] = _GONE
        left_out.setdefault(str(path[0]), error["msg"].replace("Input s", "s"))
    else:
        if value is None and error["type"] != "union_tag_invalid":
            error["type"], error["msg"] = "missing", "Field required"
        return False
    return True


def _holder(message: Any, path: tuple[int | str, ...]) -> Any:
    """Return the container of the value at the end of a path, or None if there is no such value."""
    holder, value = None, message
    for part in path:
        holder = value
        try:
            value = holder[part]
        except (LookupError, TypeError):
            return None
    return holder


def _purge(value: Any) -> None:
    if isinstance(value, dict):
        for name in [name for name, item in value.items() if item is _GONE]:
            del value[name]
    elif isinstance(value, list):
        value[:] = [item for item in value if item is not _GONE]
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(item, dict | list):
            _purge(item)


# -- characters that must not be shown ---------------------------------------------------------------------------------


class UncleanError(ValueError):
    """A strict field has no character that can be shown. The argument is its name."""


_STRINGS: dict[type[msgspec.Struct], list[tuple[str, Cleaned]]] = {}


def strings_of(model: type[BaseModel]) -> list[tuple[str, Cleaned]]:
    """Return the fields of a model that hold foreign text, each with what makes it fit to be shown."""
    kind = record_type(model)
    if kind not in _STRINGS:
        found = ((name, next(_cleaned(field), None)) for name, field in model.model_fields.items())
        _STRINGS[kind] = [(name, how) for name, how in found if how and name in kind.__struct_fields__]
    return _STRINGS[kind]


def _cleaned(annotation: Any) -> Iterator[Cleaned]:
    extras: Any = getattr(annotation, "metadata", None) or getattr(annotation, "__metadata__", ())
    for part in (*extras, *getattr(annotation, "__args__", ())):
        if isinstance(part, Cleaned):
            yield part
        else:
            yield from _cleaned(part)
    if hasattr(annotation, "annotation"):
        yield from _cleaned(annotation.annotation)


def clean(record: Any, model: type[BaseModel], left_out: dict[str, str]) -> Any:
    """Return the record with every string fit to be shown.

    Raises:
        UncleanError: A strict field would be empty.
    """
    changes: dict[str, Any] = {}
    fit: Any
    for name, how in strings_of(model):
        value, fit = getattr(record, name), None
        if isinstance(value, list):
            fit = [item for item in map(how.clean, value) if item]
            lost = len(fit) < sum(map(bool, value))
            changed = fit != value
        elif value is None or value.isprintable():
            continue
        else:
            fit = how.clean(value) or None
            lost, changed = fit is None, True
        if lost and name not in descriptive_fields(model):
            raise UncleanError(name)
        if lost:
            left_out[name] = "should hold a character that can be shown"
        if changed:
            changes[name] = fit
    return msgspec.structs.replace(record, **changes) if changes else record
